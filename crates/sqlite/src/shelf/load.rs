//! Reading rows from the table onto the shelf: what was there at start, what did not fit, what was given back,
//! what is due. Runs on the loader's thread, with a connection of its own.

use std::sync::Arc;

use bytes::Bytes;
use postrider_contract::clock::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, params};

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
}

enum Unread {
    Nothing,
    Line(Spilled),
    Due(Reading),
}

/// What a reading of rows gathered, within its bounds.
struct Gathered<T> {
    ready: Vec<Ready<T>>,
    bytes: usize,
    /// The place of the last row, readable or not; its due time where it has one.
    last: Option<Place>,
    /// It ended because of a bound, not because there was no more.
    is_cut: bool,
    unreadable: Vec<(i64, String)>,
}

impl<T> Gathered<T> {
    fn new() -> Self {
        Gathered { ready: Vec::new(), bytes: 0, last: None, is_cut: false, unreadable: Vec::new() }
    }
}

impl<T: Stored> Load for Arc<Shelf<T>> {
    fn load(&self, connection: &Connection, now: Timestamp) -> rusqlite::Result<Loaded> {
        let Some(plan) = self.plan(now) else { return Ok(Loaded::Nothing(self.next_due())) };
        let (mut gathered, next_due) = match self.read(connection, &plan) {
            Ok(read) => read,
            Err(error) => {
                self.abandon(plan);
                return Err(error);
            }
        };
        for (id, reason) in std::mem::take(&mut gathered.unreadable) {
            let burial = Burial { shelf: Arc::clone(self), id, reason, at: now };
            self.mailbox.put_unbounded(Box::new(burial));
        }
        self.shelve(&plan, gathered, next_due);
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
        let count = state.returned.len().min(PAGE);
        let returned: Vec<i64> = state.returned.drain(..count).collect();
        let unread = match &mut state.backlog {
            Backlog::Line(Some(spilled)) => Unread::Line(*spilled),
            Backlog::Line(None) => Unread::Nothing,
            Backlog::Parked(lanes) if lanes.next_due().is_some_and(|due| due <= now.as_millis()) => {
                Unread::Due(lanes.begin_reading(now.as_millis(), PAGE))
            }
            Backlog::Parked(_) => Unread::Nothing,
        };
        let has_work = !returned.is_empty() || !matches!(unread, Unread::Nothing);
        has_work.then_some(Plan { returned, unread })
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
        match &plan.unread {
            Unread::Nothing => Ok(()),
            Unread::Line(spilled) => {
                let mut statement = connection.prepare_cached(self.table.range_sql())?;
                let rows = statement.query(params![spilled.from, spilled.to])?;
                self.gather_rows(rows, PAGE, gathered, |row| Ok((0, row.get(0)?)))
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

    fn shelve(&self, plan: &Plan, gathered: Gathered<T>, next_due: Option<i64>) {
        let mut state = lock(&self.state);
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

/// Sets an unreadable row aside. If that fails the row stays where it is, and is met again at the next start.
struct Burial<T> {
    shelf: Arc<Shelf<T>>,
    id: i64,
    reason: String,
    at: Timestamp,
}

impl<T: Stored> Job for Burial<T> {
    fn write(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        let table: Table = self.shelf.table;
        let dead_id = self.shelf.dead.draw_id();
        let values = params![self.id, table.name(), self.reason, self.at.as_millis(), dead_id];
        connection.prepare_cached(table.bury_sql())?.execute(values)?;
        connection.prepare_cached(table.delete_sql())?.execute([self.id])?;
        Ok(())
    }

    fn finish(self: Box<Self>, result: Result<(), WriteError>) {
        let (source, id, reason) = (self.shelf.table.name(), self.id, self.reason.as_str());
        match result {
            Ok(()) => {
                self.shelf.buried();
                tracing::error!(source, id, reason, "a message that cannot be read was set aside");
            }
            Err(error) => {
                tracing::error!(source, id, reason, %error, "a message that cannot be read was not set aside");
            }
        }
    }
}
