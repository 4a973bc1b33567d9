//! Strays: the rows of the table `dead`, which nobody could read when their turn came.
//!
//! Which of them are kept for people is known in memory only: whoever starts reads every row once more, and may by
//! then be a newer version that can. Ids grow as long as the engine is open, so that a place in the table, once
//! passed, never holds anything new.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use postrider_contract::clock::Clock;
use postrider_contract::ports::{
    Lease, LeaseTicket, QueueError, Settlement, Stray, StrayCause, StrayContents, StrayPlace, StraySource,
    Strays,
};
use rusqlite::{Connection, OptionalExtension, params};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

use crate::engine::Running;
use crate::error::WriteError;
use crate::mailbox::Job;
use crate::mutex::lock;
use crate::reader::Reader;
use crate::shelf::Table;

/// After a failed reading.
const PAUSE: Duration = Duration::from_millis(500);

/// What is known of the table `dead`.
pub(crate) struct DeadRows {
    next_id: AtomicI64,
    state: Mutex<State>,
    changed: Notify,
}

struct State {
    /// Every row up to here was taken once; those to be taken again are `returned`.
    passed: i64,
    returned: BTreeSet<i64>,
    kept: BTreeSet<i64>,
    /// Rows that are neither in hand nor kept.
    waiting: u64,
    is_closed: bool,
}

/// A row as it is read.
struct DeadRow {
    id: i64,
    source: String,
    reason: String,
    payload: Bytes,
}

impl DeadRows {
    pub(crate) fn open(connection: &Connection) -> rusqlite::Result<Self> {
        let (count, last): (i64, Option<i64>) =
            connection
                .query_row("SELECT count(*), max(id) FROM dead", [], |row| Ok((row.get(0)?, row.get(1)?)))?;
        let state = State {
            passed: 0,
            returned: BTreeSet::new(),
            kept: BTreeSet::new(),
            waiting: count.unsigned_abs(),
            is_closed: false,
        };
        let next_id = AtomicI64::new(last.unwrap_or(0) + 1);
        Ok(DeadRows { next_id, state: Mutex::new(state), changed: Notify::new() })
    }

    /// For the writer, within its transaction.
    pub(crate) fn draw_id(&self) -> i64 {
        self.next_id.fetch_add(1, Ordering::Relaxed)
    }

    /// For the writer, after its commit.
    pub(crate) fn buried(&self) {
        lock(&self.state).waiting += 1;
        self.changed.notify_waiters();
    }

    pub(crate) fn waiting(&self) -> u64 {
        lock(&self.state).waiting
    }

    pub(crate) fn kept(&self) -> u64 {
        lock(&self.state).kept.len() as u64
    }

    pub(crate) fn close(&self) {
        lock(&self.state).is_closed = true;
        self.changed.notify_waiters();
    }

    fn is_closed(&self) -> bool {
        lock(&self.state).is_closed
    }

    /// Where the next row is to be read: one that was given back, or after a place.
    fn next_place(&self) -> Place {
        let state = lock(&self.state);
        state.returned.first().map_or(Place::After(state.passed), |id| Place::At(*id))
    }

    /// The row was read: `true` if nobody else has taken it meanwhile, and it is not one that is kept.
    fn take(&self, place: Place, id: i64) -> bool {
        let mut state = lock(&self.state);
        let is_ours = match place {
            Place::At(id) => state.returned.remove(&id),
            Place::After(_) => {
                let is_new = id > state.passed;
                state.passed = state.passed.max(id);
                is_new && !state.kept.contains(&id)
            }
        };
        if is_ours {
            state.waiting = state.waiting.saturating_sub(1);
        }
        is_ours
    }

    fn mark_kept(&self, not: i64, id: i64) {
        let mut state = lock(&self.state);
        state.kept.remove(&not);
        state.kept.insert(id);
    }

    /// It is not there any more.
    fn forget(&self, id: i64) {
        lock(&self.state).returned.remove(&id);
    }

    fn give_back(&self, ids: impl IntoIterator<Item = i64>) {
        let mut state = lock(&self.state);
        for id in ids {
            state.waiting += u64::from(state.returned.insert(id));
        }
        drop(state);
        self.changed.notify_waiters();
    }
}

#[derive(Clone, Copy)]
enum Place {
    At(i64),
    After(i64),
}

pub(crate) struct SqliteStrays {
    pub(crate) running: Arc<Running>,
    pub(crate) reader: Reader,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) dead: Arc<DeadRows>,
}

/// What becomes of a row that is put among the dead.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    ToBeRead,
    Kept,
}

impl SqliteStrays {
    pub(crate) async fn set_aside(
        &self,
        source: String,
        reason: String,
        payload: Bytes,
    ) -> Result<(), QueueError> {
        self.insert(source, reason, payload, Fate::ToBeRead).await
    }

    async fn insert(
        &self,
        source: String,
        reason: String,
        payload: Bytes,
        fate: Fate,
    ) -> Result<(), QueueError> {
        let (dead, at) = (Arc::clone(&self.dead), self.clock.now().as_millis());
        let size = payload.len();
        // The id of the last try to write it; one that is rolled back is not used again.
        let drawn = Arc::new(AtomicI64::new(0));
        let written_as = Arc::clone(&drawn);
        let write = move |connection: &Connection| {
            let id = dead.draw_id();
            let before = written_as.swap(id, Ordering::Relaxed);
            if fate == Fate::Kept {
                // Before anybody can see the row.
                dead.mark_kept(before, id);
            }
            let values = params![id, source, reason, at, payload.as_ref()];
            let sql = "INSERT INTO dead (id, source, reason, buried_at, payload) VALUES (?1, ?2, ?3, ?4, ?5)";
            connection.prepare_cached(sql)?.execute(values).map(|_| ())
        };
        let dead = Arc::clone(&self.dead);
        let on_commit = move |()| match fate {
            Fate::ToBeRead => dead.buried(),
            Fate::Kept => {}
        };
        let written = self.running.writer.write(size, write, on_commit).await;
        written.map_err(|error| {
            lock(&self.dead.state).kept.remove(&drawn.load(Ordering::Relaxed));
            QueueError::Unavailable { reason: error.to_string() }
        })
    }
}

#[async_trait]
impl Strays for SqliteStrays {
    async fn gather(&self, place: StrayPlace, prefetch: u16) -> Result<Box<dyn StraySource>, QueueError> {
        if self.dead.is_closed() {
            return Err(QueueError::Closed);
        }
        let (dead, running) = (Arc::clone(&self.dead), Arc::clone(&self.running));
        let slots = Arc::new(Semaphore::new(usize::from(prefetch.max(1))));
        Ok(Box::new(Source { dead, running, reader: self.reader.clone(), place, slots }))
    }

    async fn keep(&self, stray: &Stray) -> Result<(), QueueError> {
        let reason = match &stray.contents {
            StrayContents::Unreadable(error) => error.to_string(),
            StrayContents::Work(_) | StrayContents::Journal(_) | StrayContents::Produced(_) => {
                "it could not be put back".to_owned()
            }
        };
        self.insert(stray.origin.clone(), reason, stray.bytes.clone(), Fate::Kept).await
    }

    async fn review(&self) -> Result<u64, QueueError> {
        let kept = std::mem::take(&mut lock(&self.dead.state).kept);
        let count = kept.len() as u64;
        self.dead.give_back(kept);
        Ok(count)
    }
}

struct Source {
    dead: Arc<DeadRows>,
    running: Arc<Running>,
    reader: Reader,
    place: StrayPlace,
    slots: Arc<Semaphore>,
}

impl Source {
    /// `None` if there is nothing to take now. Safe to cancel: it is taken only in the step that returns it.
    async fn take(&self) -> Option<DeadRow> {
        loop {
            let place = self.dead.next_place();
            let row = match self.reader.read(move |connection| read_row(connection, place)).await {
                Ok(row) => row,
                Err(error) => {
                    tracing::error!(%error, "cannot read what was set aside; trying again");
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
            };
            match (row, place) {
                (Some(row), place) if self.dead.take(place, row.id) => return Some(row),
                (Some(_), _) => {}
                (None, Place::At(id)) => self.dead.forget(id),
                (None, Place::After(_)) => return None,
            }
        }
    }
}

#[async_trait]
impl StraySource for Source {
    async fn next(&mut self) -> Result<Lease<Stray>, QueueError> {
        loop {
            let mut changed = std::pin::pin!(self.dead.changed.notified());
            changed.as_mut().enable();
            if self.dead.is_closed() {
                return Err(QueueError::Closed);
            }
            match self.place {
                // Nothing is routed here, so nothing can be unroutable.
                StrayPlace::CatchAll => {}
                StrayPlace::Dead => {
                    if let Ok(slot) = Arc::clone(&self.slots).try_acquire_owned()
                        && let Some(row) = self.take().await
                    {
                        return Ok(self.lease(row, slot));
                    }
                }
            }
            changed.await;
        }
    }
}

impl Source {
    fn lease(&self, row: DeadRow, slot: OwnedSemaphorePermit) -> Lease<Stray> {
        let DeadRow { id, source, reason, payload } = row;
        let contents = if source == Table::Journal.name() {
            StrayContents::of_journal(&payload)
        } else {
            StrayContents::of_work(&payload)
        };
        let cause = StrayCause::SetAside { reason };
        let message = Stray { cause, origin: source, contents, bytes: payload };
        let (dead, running) = (Arc::clone(&self.dead), Arc::clone(&self.running));
        let ticket = LeaseTicket::new(Box::new(Ticket { dead, running, id, slot }));
        // Whoever had it before is not known: a promise cannot be made.
        Lease { message, redelivered: true, ticket }
    }
}

struct Ticket {
    dead: Arc<DeadRows>,
    running: Arc<Running>,
    id: i64,
    slot: OwnedSemaphorePermit,
}

impl Settlement for Ticket {
    fn acknowledge(self: Box<Self>) {
        let Ticket { dead, running, id, slot } = *self;
        drop(slot);
        running.writer.mailbox().put_unbounded(Box::new(Discard(id)));
        dead.changed.notify_waiters();
    }

    fn give_back(self: Box<Self>) {
        let Ticket { dead, id, slot, .. } = *self;
        drop(slot);
        dead.give_back([id]);
    }
}

/// Deletes a row that was dealt with. If that fails, it is met again at the next start.
struct Discard(i64);

impl Job for Discard {
    fn write(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        connection.prepare_cached("DELETE FROM dead WHERE id = ?1")?.execute([self.0]).map(|_| ())
    }

    fn finish(self: Box<Self>, result: Result<(), WriteError>) {
        if let Err(error) = result {
            tracing::warn!(id = self.0, %error, "what was dealt with is still among the dead; it will be met again");
        }
    }
}

fn read_row(connection: &Connection, place: Place) -> rusqlite::Result<Option<DeadRow>> {
    let (sql, id) = match place {
        Place::At(id) => ("SELECT id, source, reason, payload FROM dead WHERE id = ?1", id),
        Place::After(id) => {
            ("SELECT id, source, reason, payload FROM dead WHERE id > ?1 ORDER BY id LIMIT 1", id)
        }
    };
    let read = |row: &rusqlite::Row<'_>| {
        let payload = Bytes::from(row.get::<_, Vec<u8>>(3)?);
        Ok(DeadRow { id: row.get(0)?, source: row.get(1)?, reason: row.get(2)?, payload })
    };
    connection.prepare_cached(sql)?.query_row([id], read).optional()
}
