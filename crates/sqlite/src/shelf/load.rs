//! Reading rows from the table onto the shelf: what was there at start, what did not fit, what was given back,
//! what is due. Runs on the loader's thread, with a connection of its own.

use std::sync::Arc;

use bytes::Bytes;
use postrider_contract::clock::Timestamp;
use postrider_contract::ports::GIVEN_OUT_AT_MOST;
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::counting::{COUNTED_PAGE, forget};
use super::{Backlog, Ready, Shelf, Spilled, Stored, Table};
use crate::error::WriteError;
use crate::lanes::{Place, Reading};
use crate::loader::{Load, Loaded};
use crate::mailbox::Job;
use crate::mutex::lock;

/// Rows read in one go: enough to be cheap, few enough that other kinds are not kept waiting.
const PAGE: usize = 1_000;

struct Plan {
    returned: Vec<i64>,
    unread: Unread,
    /// Rows to read, at most.
    page: usize,
    /// Rows that were there at the start are counted before they are given out.
    is_counted: bool,
}

enum Unread {
    Nothing,
    Line(Spilled),
    Due(Reading),
}

/// What a reading of rows gathered, within its bounds.
pub(super) struct Gathered<T> {
    ready: Vec<Ready<T>>,
    /// So many of those were given back, and have been here before.
    again: usize,
    bytes: usize,
    /// The place of the last row, readable or not; its due time where it has one.
    last: Option<Place>,
    /// It ended because of a bound, not because there was no more.
    is_cut: bool,
    unreadable: Vec<(i64, String)>,
}

impl<T> Gathered<T> {
    fn new() -> Self {
        Gathered { ready: Vec::new(), again: 0, bytes: 0, last: None, is_cut: false, unreadable: Vec::new() }
    }
}

impl<T: Stored> Load for Arc<Shelf<T>> {
    fn load(&self, connection: &Connection, now: Timestamp) -> rusqlite::Result<Loaded> {
        let Some(plan) = self.plan(now) else { return Ok(Loaded::Nothing(self.next_due())) };
        let read = self.read(connection, &plan).and_then(|(mut gathered, next_due)| {
            let old = if plan.is_counted { self.old_among(&gathered) } else { 0 };
            if plan.is_counted {
                self.count(connection, &mut gathered, now)?;
            }
            Ok((gathered, next_due, old))
        });
        let (mut gathered, next_due, old) = match read {
            Ok(read) => read,
            Err(error) => {
                self.abandon(plan);
                return Err(error);
            }
        };
        for (id, reason) in std::mem::take(&mut gathered.unreadable) {
            let burial = Burial { shelf: Arc::clone(self), id, grave: Grave::Unreadable(reason), at: now };
            self.mailbox.put_unbounded(Box::new(burial));
        }
        self.shelve(&plan, gathered, next_due, old);
        Ok(Loaded::Some)
    }
}

impl<T: Stored> Shelf<T> {
    fn next_due(&self) -> Option<Timestamp> {
        let state = lock(&self.state);
        match &state.backlog {
            // While the shelf is full, it is a consumer that asks for more.
            Backlog::Parked(lanes) if self.has_room(&state) => lanes.next_due().map(Timestamp::from_millis),
            Backlog::Parked(_) | Backlog::Line(_) => None,
        }
    }

    fn plan(&self, now: Timestamp) -> Option<Plan> {
        let mut state = lock(&self.state);
        if state.is_closed {
            return None;
        }
        if !self.has_room(&state) {
            state.waits_for_room = true;
            return None;
        }
        let is_counted = state.to_be_counted > 0;
        if is_counted && !state.has_source {
            return None;
        }
        let page = if is_counted { COUNTED_PAGE } else { PAGE };
        let count = state.returned.len().min(page);
        let returned: Vec<i64> = state.returned.drain(..count).collect();
        let unread = match &mut state.backlog {
            Backlog::Line(Some(spilled)) => Unread::Line(*spilled),
            Backlog::Line(None) => Unread::Nothing,
            Backlog::Parked(lanes) if lanes.next_due().is_some_and(|due| due <= now.as_millis()) => {
                Unread::Due(lanes.begin_reading(now.as_millis(), page))
            }
            Backlog::Parked(_) => Unread::Nothing,
        };
        let has_work = !returned.is_empty() || !matches!(unread, Unread::Nothing);
        has_work.then_some(Plan { returned, unread, page, is_counted })
    }

    fn read(&self, connection: &Connection, plan: &Plan) -> rusqlite::Result<(Gathered<T>, Option<i64>)> {
        let mut gathered = Gathered::new();
        self.gather(connection, plan, &mut gathered)?;
        let next_due = match &plan.unread {
            Unread::Due(reading) => earliest_due_after(connection, reading.due_by)?,
            Unread::Nothing | Unread::Line(_) => None,
        };
        Ok((gathered, next_due))
    }

    fn abandon(&self, plan: Plan) {
        let mut state = lock(&self.state);
        state.returned.extend(plan.returned);
        if let (Backlog::Parked(lanes), Unread::Due(reading)) = (&mut state.backlog, plan.unread) {
            lanes.abandon_reading(reading);
        }
    }

    fn gather(
        &self,
        connection: &Connection,
        plan: &Plan,
        gathered: &mut Gathered<T>,
    ) -> rusqlite::Result<()> {
        for id in &plan.returned {
            self.gather_one(connection, *id, true, gathered)?;
        }
        gathered.last = None;
        gathered.again = gathered.ready.len();
        match &plan.unread {
            Unread::Nothing => Ok(()),
            Unread::Line(spilled) => {
                let mut statement = connection.prepare_cached(self.table.range_sql())?;
                let rows = statement.query(params![spilled.from, spilled.to])?;
                self.gather_rows(rows, plan.page, gathered, |row| Ok((0, row.get(0)?)))
            }
            Unread::Due(reading) => {
                for (_, id) in &reading.late {
                    self.gather_one(connection, *id, *id < self.first_own_id, gathered)?;
                }
                let mut statement = connection.prepare_cached(
                    "SELECT id, payload, due_at FROM work_retry \
                     WHERE (due_at, id) > (?1, ?2) AND due_at <= ?3 AND id <= ?4 ORDER BY due_at, id",
                )?;
                let (due_at, id) = reading.after;
                let rows = statement.query(params![due_at, id, reading.due_by, reading.told])?;
                self.gather_rows(rows, reading.limit, gathered, |row| Ok((row.get(2)?, row.get(0)?)))
            }
        }
    }

    fn gather_one(
        &self,
        connection: &Connection,
        id: i64,
        redelivered: bool,
        gathered: &mut Gathered<T>,
    ) -> rusqlite::Result<()> {
        let mut statement = connection.prepare_cached(self.table.payload_sql())?;
        let payload: Option<Vec<u8>> = statement.query_row([id], |row| row.get(0)).optional()?;
        if let Some(payload) = payload {
            gathered.add(id, payload, redelivered);
        }
        Ok(())
    }

    fn gather_rows(
        &self,
        mut rows: rusqlite::Rows<'_>,
        limit: usize,
        gathered: &mut Gathered<T>,
        place: impl Fn(&Row<'_>) -> rusqlite::Result<Place>,
    ) -> rusqlite::Result<()> {
        let mut count = 0;
        while count < limit && gathered.bytes < self.limits.bytes / 2 {
            let Some(row) = rows.next()? else { return Ok(()) };
            let place = place(row)?;
            gathered.add(place.1, row.get(1)?, place.1 < self.first_own_id);
            gathered.last = Some(place);
            count += 1;
        }
        gathered.is_cut = true;
        Ok(())
    }

    /// How many of them were there at the start, readable or not, and are read for the first time.
    fn old_among(&self, gathered: &Gathered<T>) -> u64 {
        let readable = gathered.first_read().iter().map(|ready| ready.id);
        let unreadable = gathered.unreadable.iter().map(|(id, _)| *id);
        readable.chain(unreadable).filter(|id| *id < self.first_own_id).count() as u64
    }

    fn shelve(&self, plan: &Plan, gathered: Gathered<T>, next_due: Option<i64>, old: u64) {
        let mut state = lock(&self.state);
        state.to_be_counted = state.to_be_counted.saturating_sub(old);
        state.ready_bytes += gathered.bytes;
        state.ready.extend(gathered.ready);
        match (&mut state.backlog, &plan.unread) {
            (Backlog::Line(spilled), Unread::Line(read)) => {
                let last = if gathered.is_cut {
                    gathered.last.map_or(read.from - 1, |last| last.1)
                } else {
                    read.to
                };
                *spilled = spilled
                    .map(|spilled| Spilled { from: last + 1, ..spilled })
                    .filter(|spilled| spilled.from <= spilled.to);
            }
            (Backlog::Parked(lanes), Unread::Due(reading)) => {
                let last = gathered.last.or(Some(reading.after)).filter(|_| gathered.is_cut);
                lanes.end_reading(reading, last, next_due);
            }
            (Backlog::Line(_) | Backlog::Parked(_), _) => {}
        }
        drop(state);
        self.available.notify_waiters();
    }

    fn buried(&self) {
        let mut state = lock(&self.state);
        state.stored = state.stored.saturating_sub(1);
        drop(state);
        self.dead.buried();
    }
}

impl<T> Gathered<T> {
    /// Without those that were given back.
    pub(super) fn first_read(&self) -> &[Ready<T>] {
        self.ready.get(self.again..).unwrap_or_default()
    }

    pub(super) fn remove(&mut self, id: i64) {
        if let Some(place) = self.ready.iter().position(|ready| ready.id == id) {
            self.bytes -= self.ready.remove(place).bytes;
        }
    }
}

impl<T: Stored> Gathered<T> {
    fn add(&mut self, id: i64, payload: Vec<u8>, redelivered: bool) {
        let bytes = payload.len();
        match T::decode(Bytes::from(payload)) {
            Ok(message) => {
                self.bytes += bytes;
                self.ready.push(Ready { id, bytes, message, redelivered });
            }
            Err(error) => self.unreadable.push((id, error.to_string())),
        }
    }
}

fn earliest_due_after(connection: &Connection, time: i64) -> rusqlite::Result<Option<i64>> {
    let sql = "SELECT due_at FROM work_retry WHERE due_at > ?1 ORDER BY due_at LIMIT 1";
    connection.prepare_cached(sql)?.query_row([time], |row| row.get(0)).optional()
}

/// Why a row is set aside.
pub(super) enum Grave {
    Unreadable(String),
    GivenOutTooOften,
}

/// Sets a row aside. If that fails the row stays where it is, and is met again at the next start.
pub(super) struct Burial<T> {
    pub(super) shelf: Arc<Shelf<T>>,
    pub(super) id: i64,
    pub(super) grave: Grave,
    pub(super) at: Timestamp,
}

impl<T> Burial<T> {
    fn reason(&self) -> String {
        match &self.grave {
            Grave::Unreadable(reason) => reason.clone(),
            Grave::GivenOutTooOften => {
                format!("given out {GIVEN_OUT_AT_MOST} times, and the process ended before it was settled")
            }
        }
    }
}

impl<T: Stored> Job for Burial<T> {
    fn write(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        let table: Table = self.shelf.table;
        let dead_id = self.shelf.dead.draw_id();
        let is_too_often = matches!(self.grave, Grave::GivenOutTooOften);
        let values =
            params![self.id, table.name(), self.reason(), self.at.as_millis(), dead_id, is_too_often];
        connection.prepare_cached(table.bury_sql())?.execute(values)?;
        connection.prepare_cached(table.delete_sql())?.execute([self.id])?;
        forget(connection, table.name(), self.id)
    }

    fn finish(self: Box<Self>, result: Result<(), WriteError>) {
        let (source, id, reason) = (self.shelf.table.name(), self.id, self.reason());
        match result {
            Ok(()) => {
                self.shelf.buried();
                tracing::error!(source, id, reason, "a message was set aside");
            }
            Err(error) => {
                tracing::error!(source, id, reason, %error, "a message was not set aside");
            }
        }
    }
}
