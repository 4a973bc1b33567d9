//! One kind of message: its table, and in memory the next ones to hand out.
//!
//! What the writer commits goes straight onto the shelf, without being read back, as long as the shelf has room
//! and nothing older waits in the table; else it stays in the table until the loader fetches it, in order. So
//! memory is bounded and order kept. A lease is held in memory only: after a restart every row is there to be
//! taken again, marked as redelivered.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use postrider_contract::ports::{Lease, LeaseTicket, QueueError, Settlement};
use postrider_contract::wire::WireError;
use rusqlite::{Connection, OptionalExtension, params};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

use crate::lanes::Lanes;
use crate::loader::Bell;
use crate::mailbox::{Acknowledged, Mailbox};
use crate::mutex::lock;
use crate::strays::DeadRows;

mod load;
mod table;

pub(crate) use table::Table;

/// What a table's payload is read into.
pub(crate) trait Stored: Sized + Send + 'static {
    fn decode(payload: Bytes) -> Result<Self, WireError>;
}

/// How much of one kind is kept ready in memory.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) messages: usize,
    pub(crate) bytes: usize,
}

/// A row just committed.
pub(crate) struct Committed<T> {
    pub(crate) id: i64,
    /// For a parked one, in milliseconds since 1970.
    pub(crate) due_at: Option<i64>,
    pub(crate) bytes: usize,
    pub(crate) message: T,
}

struct Ready<T> {
    id: i64,
    bytes: usize,
    message: T,
    redelivered: bool,
}

/// Rows that are in the table and not in memory.
enum Backlog {
    /// Those with ids from `from` to `to`, if any.
    Line(Option<Spilled>),
    Parked(Lanes),
}

#[derive(Clone, Copy)]
struct Spilled {
    from: i64,
    to: i64,
}

struct State<T> {
    ready: VecDeque<Ready<T>>,
    ready_bytes: usize,
    /// Given back: to be read again.
    returned: VecDeque<i64>,
    backlog: Backlog,
    /// The loader found the shelf too full to read on.
    waits_for_room: bool,
    stored: u64,
    leased: u64,
    is_closed: bool,
}

pub(crate) struct Shelf<T> {
    table: Table,
    limits: Limits,
    state: Mutex<State<T>>,
    available: Notify,
    bell: Arc<Bell>,
    mailbox: Arc<Mailbox>,
    next_id: AtomicI64,
    /// Rows with smaller ids were there when the file was opened: they may have been in hands.
    first_own_id: i64,
    dead: Arc<DeadRows>,
}

/// What every shelf of one engine shares.
#[derive(Clone)]
pub(crate) struct Shared {
    pub(crate) bell: Arc<Bell>,
    pub(crate) mailbox: Arc<Mailbox>,
    /// Where unreadable rows go.
    pub(crate) dead: Arc<DeadRows>,
}

enum Taken<T> {
    Message(Ready<T>),
    Nothing,
    Closed,
}

impl<T: Stored> Shelf<T> {
    /// Looks at what the table holds; nothing is read into memory yet.
    pub(crate) fn open(
        connection: &Connection,
        table: Table,
        limits: Limits,
        shared: Shared,
    ) -> rusqlite::Result<Self> {
        let (first, last): (Option<i64>, Option<i64>) =
            connection.query_row(table.bounds_sql(), [], |row| Ok((row.get(0)?, row.get(1)?)))?;
        let stored: i64 = connection.query_row(table.count_sql(), [], |row| row.get(0))?;
        let last_id = last.unwrap_or(0);
        let backlog = match table {
            Table::Retry => Backlog::Parked(Lanes::new(last_id, earliest_due(connection)?)),
            Table::First | Table::Release | Table::Large | Table::Journal => {
                Backlog::Line(first.zip(last).map(|(from, to)| Spilled { from, to }))
            }
        };
        let state = State {
            ready: VecDeque::new(),
            ready_bytes: 0,
            returned: VecDeque::new(),
            backlog,
            waits_for_room: false,
            stored: stored.unsigned_abs(),
            leased: 0,
            is_closed: false,
        };
        let Shared { bell, mailbox, dead } = shared;
        Ok(Shelf {
            table,
            limits,
            state: Mutex::new(state),
            available: Notify::new(),
            bell,
            mailbox,
            next_id: AtomicI64::new(last_id + 1),
            first_own_id: last_id + 1,
            dead,
        })
    }

    /// For the writer, within its transaction: the number of the next row. Numbers are used in the order of
    /// commits; those of a transaction that was rolled back are left out.
    pub(crate) fn draw_id(&self) -> i64 {
        self.next_id.fetch_add(1, Ordering::Relaxed)
    }

    pub(crate) fn table(&self) -> Table {
        self.table
    }

    /// For the writer, after its commit, in the order of the ids.
    pub(crate) fn put(&self, committed: impl IntoIterator<Item = Committed<T>>) {
        let mut state = lock(&self.state);
        for row in committed {
            state.put(row, self.limits);
        }
        let has_parked = matches!(state.backlog, Backlog::Parked(_));
        drop(state);
        if has_parked {
            self.bell.ring();
        }
        self.available.notify_waiters();
    }

    /// For the writer, after its commit: a row whose message is not at hand, to be read from the table in its turn.
    pub(crate) fn put_unread(&self, id: i64, due_at: Option<i64>) {
        let mut state = lock(&self.state);
        state.stored += 1;
        match &mut state.backlog {
            Backlog::Parked(lanes) => lanes.committed((due_at.unwrap_or(i64::MIN), id)),
            Backlog::Line(Some(spilled)) => spilled.to = id,
            Backlog::Line(none) => *none = Some(Spilled { from: id, to: id }),
        }
        drop(state);
        self.bell.ring();
    }

    /// Rows that nobody has in hand; parked ones included.
    pub(crate) fn waiting(&self) -> u64 {
        let state = lock(&self.state);
        state.stored.saturating_sub(state.leased)
    }

    pub(crate) fn leased(&self) -> u64 {
        lock(&self.state).leased
    }

    /// Ends every source; leases in hand may still be settled.
    pub(crate) fn close(&self) {
        lock(&self.state).is_closed = true;
        self.available.notify_waiters();
    }

    pub(crate) fn is_closed(&self) -> bool {
        lock(&self.state).is_closed
    }

    fn take(&self) -> Taken<T> {
        let mut state = lock(&self.state);
        if state.is_closed {
            return Taken::Closed;
        }
        let taken = state.ready.pop_front();
        if let Some(ready) = &taken {
            state.ready_bytes -= ready.bytes;
            state.leased += 1;
        }
        let has_unread = state.waits_for_room || matches!(state.backlog, Backlog::Line(Some(_)));
        let is_short = has_unread && self.has_room(&state);
        if is_short {
            state.waits_for_room = false;
        }
        drop(state);
        if is_short {
            self.bell.ring();
        }
        taken.map_or(Taken::Nothing, Taken::Message)
    }

    /// Reading goes on when half of the shelf is empty: then one reading fetches many rows.
    fn has_room(&self, state: &State<T>) -> bool {
        state.ready.len() <= self.limits.messages / 2 && state.ready_bytes <= self.limits.bytes / 2
    }

    fn acknowledged(&self, id: i64) {
        let mut state = lock(&self.state);
        state.leased = state.leased.saturating_sub(1);
        state.stored = state.stored.saturating_sub(1);
        drop(state);
        self.mailbox.acknowledge(Acknowledged { table: self.table, id });
        self.available.notify_waiters();
    }

    fn given_back(&self, id: i64) {
        let mut state = lock(&self.state);
        state.leased = state.leased.saturating_sub(1);
        state.returned.push_back(id);
        drop(state);
        self.bell.ring();
        self.available.notify_waiters();
    }
}

impl<T> State<T> {
    fn put(&mut self, row: Committed<T>, limits: Limits) {
        self.stored += 1;
        let is_full = self.ready.len() >= limits.messages
            || (!self.ready.is_empty() && self.ready_bytes.saturating_add(row.bytes) > limits.bytes);
        match &mut self.backlog {
            Backlog::Parked(lanes) => lanes.committed((row.due_at.unwrap_or(i64::MIN), row.id)),
            Backlog::Line(Some(spilled)) => spilled.to = row.id,
            Backlog::Line(none) if is_full => *none = Some(Spilled { from: row.id, to: row.id }),
            Backlog::Line(None) => {
                self.ready_bytes += row.bytes;
                let Committed { id, bytes, message, .. } = row;
                self.ready.push_back(Ready { id, bytes, message, redelivered: false });
            }
        }
    }
}

/// One consumer of a shelf, with its own bound on what is in hand.
pub(crate) struct Source<T> {
    shelf: Arc<Shelf<T>>,
    slots: Arc<Semaphore>,
}

impl<T: Stored> Source<T> {
    pub(crate) fn new(shelf: &Arc<Shelf<T>>, prefetch: u16) -> Self {
        shelf.bell.ring();
        Source { shelf: Arc::clone(shelf), slots: Arc::new(Semaphore::new(usize::from(prefetch.max(1)))) }
    }

    /// Safe to cancel: a message is taken only in the step that returns it.
    pub(crate) async fn next(&mut self) -> Result<Lease<T>, QueueError> {
        loop {
            let mut available = std::pin::pin!(self.shelf.available.notified());
            available.as_mut().enable();
            if self.shelf.is_closed() {
                return Err(QueueError::Closed);
            }
            if let Ok(slot) = Arc::clone(&self.slots).try_acquire_owned() {
                match self.shelf.take() {
                    Taken::Message(ready) => return Ok(self.lease(ready, slot)),
                    Taken::Closed => return Err(QueueError::Closed),
                    Taken::Nothing => {}
                }
            }
            available.await;
        }
    }

    fn lease(&self, ready: Ready<T>, slot: OwnedSemaphorePermit) -> Lease<T> {
        let Ready { id, message, redelivered, .. } = ready;
        let ticket = LeaseTicket::new(Box::new(Ticket { shelf: Arc::clone(&self.shelf), id, slot }));
        Lease { message, redelivered, ticket }
    }
}

struct Ticket<T> {
    shelf: Arc<Shelf<T>>,
    id: i64,
    slot: OwnedSemaphorePermit,
}

/// The slot is free before its source is woken.
impl<T: Stored> Settlement for Ticket<T> {
    fn acknowledge(self: Box<Self>) {
        let Ticket { shelf, id, slot } = *self;
        drop(slot);
        shelf.acknowledged(id);
    }

    fn give_back(self: Box<Self>) {
        let Ticket { shelf, id, slot } = *self;
        drop(slot);
        shelf.given_back(id);
    }
}

fn earliest_due(connection: &Connection) -> rusqlite::Result<Option<i64>> {
    connection
        .query_row("SELECT due_at FROM work_retry ORDER BY due_at LIMIT 1", params![], |row| row.get(0))
        .optional()
}
