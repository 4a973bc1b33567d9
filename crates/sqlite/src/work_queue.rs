//! The work queue: publishing into the writer's next group, consuming from the shelves.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use postrider_contract::clock::{Clock, Timestamp};
use postrider_contract::delivery::Work;
use postrider_contract::journal::JournalBatch;
use postrider_contract::ports::{
    Lease, Publication, PublishError, QueueDepths, QueueError, Route, WorkKind, WorkQueue, WorkSource,
};
use postrider_contract::wire::{self, WireError};
use rusqlite::{Connection, params};

use crate::engine::Running;
use crate::error::as_queue_error;
use crate::reader::Reader;
use crate::shelf::{Committed, Shelf, Source, Stored};
use crate::strays::DeadRows;

/// Bodies above this are consumed apart.
const LARGE_BODY: usize = 64 * 1024;

impl Stored for Work {
    fn decode(payload: Bytes) -> Result<Self, WireError> {
        wire::decode_work(payload)
    }
}

/// One shelf a kind.
pub(crate) struct Shelves {
    pub(crate) first: Arc<Shelf<Work>>,
    pub(crate) retry: Arc<Shelf<Work>>,
    pub(crate) release: Arc<Shelf<Work>>,
    pub(crate) large: Arc<Shelf<Work>>,
    pub(crate) journal: Arc<Shelf<JournalBatch>>,
}

pub(crate) struct SqliteWorkQueue {
    pub(crate) running: Arc<Running>,
    pub(crate) reader: Reader,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) dead: Arc<DeadRows>,
    pub(crate) published: AtomicU64,
}

/// A row to insert.
struct NewRow {
    shelf: Arc<Shelf<Work>>,
    payload: Bytes,
    due_at: Option<i64>,
}

impl SqliteWorkQueue {
    fn shelf(&self, kind: WorkKind) -> &Arc<Shelf<Work>> {
        match kind {
            WorkKind::First => &self.running.shelves.first,
            WorkKind::Retry => &self.running.shelves.retry,
            WorkKind::Release => &self.running.shelves.release,
            WorkKind::Large => &self.running.shelves.large,
        }
    }

    /// How many of them [`QueueDepths::published`] counts.
    fn first_and_large(&self, rows: &[NewRow]) -> u64 {
        let shelves = &self.running.shelves;
        let counted = |row: &&NewRow| {
            Arc::ptr_eq(&row.shelf, &shelves.first) || Arc::ptr_eq(&row.shelf, &shelves.large)
        };
        rows.iter().filter(counted).count() as u64
    }

    fn new_row(&self, publication: &Publication, now: Timestamp) -> NewRow {
        let (kind, due_at) = match publication.route {
            Route::Retry { delay } => (WorkKind::Retry, Some(due_at(now, delay))),
            Route::First | Route::Release if is_large(&publication.work) => (WorkKind::Large, None),
            Route::First => (WorkKind::First, None),
            Route::Release => (WorkKind::Release, None),
        };
        let shelf = Arc::clone(self.shelf(kind));
        NewRow { shelf, payload: wire::encode_work(&publication.work), due_at }
    }

    /// Publishes bytes as they are, to be taken at once as `kind`: what a damaged or newer installation may leave.
    pub(crate) async fn publish_encoded(&self, kind: WorkKind, payload: Bytes) -> Result<(), PublishError> {
        let due_at = (kind == WorkKind::Retry).then(|| self.clock.now().as_millis());
        let shelf = Arc::clone(self.shelf(kind));
        let rows = [NewRow { shelf: Arc::clone(&shelf), payload, due_at }];
        let size = rows[0].payload.len();
        let write = move |connection: &Connection| insert(connection, &rows);
        let hand_over = move |ids: Vec<i64>| ids.into_iter().for_each(|id| shelf.put_unread(id, due_at));
        Ok(self.running.writer.write(size, write, hand_over).await?)
    }
}

/// Never early: a clock that counts in milliseconds may be up to one behind.
fn due_at(now: Timestamp, delay: Duration) -> i64 {
    if delay.is_zero() {
        return now.as_millis();
    }
    let whole = now.plus(delay);
    whole.as_millis().saturating_add(1 + i64::from(!delay.subsec_nanos().is_multiple_of(1_000_000)))
}

fn is_large(work: &Work) -> bool {
    match work {
        Work::Deliver(delivery) => delivery.body.len() > LARGE_BODY,
        Work::FanOut(fan_out) => fan_out.bodies.iter().any(|body| body.len() > LARGE_BODY),
    }
}

fn insert(connection: &Connection, rows: &[NewRow]) -> rusqlite::Result<Vec<i64>> {
    let mut ids = Vec::with_capacity(rows.len());
    for row in rows {
        let id = row.shelf.draw_id();
        let mut statement = connection.prepare_cached(row.shelf.table().insert_sql())?;
        match row.due_at {
            Some(due_at) => statement.execute(params![id, row.payload.as_ref(), due_at])?,
            None => statement.execute(params![id, row.payload.as_ref()])?,
        };
        ids.push(id);
    }
    Ok(ids)
}

/// Hands committed rows to their shelves: neighbours of one shelf together.
fn hand_over(ids: Vec<i64>, handed: Vec<(Arc<Shelf<Work>>, Committed<Work>)>) {
    let mut batch: Vec<Committed<Work>> = Vec::with_capacity(ids.len());
    let mut current: Option<Arc<Shelf<Work>>> = None;
    for (id, (shelf, row)) in ids.into_iter().zip(handed) {
        if let Some(other) = current.as_ref().filter(|other| !Arc::ptr_eq(other, &shelf)) {
            other.put(batch.drain(..));
        }
        current = Some(shelf);
        batch.push(Committed { id, ..row });
    }
    if let Some(shelf) = current {
        shelf.put(batch);
    }
}

#[async_trait]
impl WorkQueue for SqliteWorkQueue {
    async fn publish(&self, publications: Vec<Publication>) -> Result<(), PublishError> {
        if self.running.shelves.first.is_closed() {
            return Err(PublishError::Refused { reason: "the queue is closed".to_owned() });
        }
        if publications.is_empty() {
            return Ok(());
        }
        let now = self.clock.now();
        let rows: Vec<NewRow> =
            publications.iter().map(|publication| self.new_row(publication, now)).collect();
        self.published.fetch_add(self.first_and_large(&rows), Ordering::Relaxed);
        let size = rows.iter().map(|row| row.payload.len()).sum();
        let handed = rows.iter().zip(publications).map(|(row, publication)| {
            let bytes = row.payload.len();
            let committed = Committed { id: 0, due_at: row.due_at, bytes, message: publication.work };
            (Arc::clone(&row.shelf), committed)
        });
        let handed: Vec<_> = handed.collect();
        let write = move |connection: &Connection| insert(connection, &rows);
        Ok(self.running.writer.write(size, write, move |ids| hand_over(ids, handed)).await?)
    }

    async fn consume(&self, kind: WorkKind, prefetch: u16) -> Result<Box<dyn WorkSource>, QueueError> {
        let shelf = self.shelf(kind);
        if shelf.is_closed() {
            return Err(QueueError::Closed);
        }
        Ok(Box::new(SqliteWorkSource(Source::new(shelf, prefetch))))
    }

    async fn depths(&self) -> Result<QueueDepths, QueueError> {
        let now = self.clock.now().as_millis();
        let sql = "SELECT count(*) FROM work_retry WHERE due_at <= ?1";
        let due: i64 = self
            .reader
            .read(move |connection| connection.prepare_cached(sql)?.query_row([now], |row| row.get(0)))
            .await
            .map_err(as_queue_error)?;
        let shelves = &self.running.shelves;
        Ok(QueueDepths {
            first: shelves.first.waiting(),
            retry: due.unsigned_abs().saturating_sub(shelves.retry.leased()),
            release: shelves.release.waiting(),
            large: shelves.large.waiting(),
            journal: shelves.journal.waiting(),
            // Nobody publishes into this queue but us.
            put_off: 0,
            dead: self.dead.waiting(),
            // Nothing is routed here, so nothing can be unroutable.
            catch_all: 0,
            unreadable: self.dead.kept(),
            // They are tables of one file.
            missing: Vec::new(),
            published: self.published.load(Ordering::Relaxed),
        })
    }

    /// A commit each, for which every first try waits that comes meanwhile.
    fn worth_a_publish(&self) -> usize {
        12
    }

    fn check_writable(&self) -> Result<(), QueueError> {
        if self.running.shelves.first.is_closed() {
            return Err(QueueError::Closed);
        }
        self.running.writer.check_writable().map_err(|reason| QueueError::Unavailable { reason })
    }

    async fn close(&self) {
        self.running.shelves.close();
        self.dead.close();
        if let Err(error) = self.running.writer.flush().await {
            tracing::warn!(%error, "what was settled last is not written; it will be delivered again");
        }
        // Not left to the last handle: some are with tasks that end with the process.
        self.running.close().await;
    }
}

impl Shelves {
    pub(crate) fn close(&self) {
        for shelf in [&self.first, &self.retry, &self.release, &self.large] {
            shelf.close();
        }
        self.journal.close();
    }
}

struct SqliteWorkSource(Source<Work>);

#[async_trait]
impl WorkSource for SqliteWorkSource {
    async fn next(&mut self) -> Result<Lease<Work>, QueueError> {
        self.0.next().await
    }
}
