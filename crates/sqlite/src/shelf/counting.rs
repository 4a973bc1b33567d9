//! Messages that end whoever takes them. Nothing of what is given out is written down as long as processes end in order;
//! after one that did not, what its successor finds is counted, page by page, before it is given out. So a message that
//! ends the process each time is put aside after as many times as on the other engine, and with it whatever was in the
//! same hands each time: the pages are small for as long as that is what is read.

use std::sync::{Arc, mpsc};

use postrider_contract::clock::Timestamp;
use postrider_contract::ports::GIVEN_OUT_AT_MOST;
use rusqlite::{Connection, OptionalExtension, params};

use super::load::{Burial, Gathered, Grave};
use super::{Shelf, Stored};
use crate::error::WriteError;
use crate::mailbox::Job;

/// Rows that are counted, and may be in hand, together.
pub(crate) const COUNTED_PAGE: usize = 64;

impl<T: Stored> Shelf<T> {
    /// Whether there may be a count of this row.
    pub(super) fn may_be_counted(&self, id: i64) -> bool {
        self.has_counts && id < self.first_own_id
    }

    /// Counts what is about to be given out, of what was there before, and sets aside what was given out too often. Waits
    /// for the writer, so that the count is there whatever happens next. Without storage that takes it there is no
    /// count, and work goes on.
    pub(super) fn count(
        self: &Arc<Self>,
        connection: &Connection,
        gathered: &mut Gathered<T>,
        now: Timestamp,
    ) -> rusqlite::Result<()> {
        let mut counted = Vec::new();
        for ready in gathered.first_read() {
            if ready.id < self.first_own_id {
                counted.push((ready.id, times(connection, self.table.name(), ready.id)?));
            }
        }
        let (spent, counted): (Vec<_>, Vec<_>) =
            counted.into_iter().partition(|(_, times)| *times >= i64::from(GIVEN_OUT_AT_MOST));
        for (id, _) in spent {
            gathered.remove(id);
            let grave = Grave::GivenOutTooOften;
            self.mailbox.put_unbounded(Box::new(Burial { shelf: Arc::clone(self), id, grave, at: now }));
        }
        if counted.is_empty() {
            return Ok(());
        }
        let (done, is_done) = mpsc::channel();
        let ids = counted.into_iter().map(|(id, _)| id).collect();
        self.mailbox.put_unbounded(Box::new(Count { source: self.table.name(), ids, done }));
        if !is_done.recv().unwrap_or(false) {
            tracing::warn!(source = self.table.name(), "what is given out again could not be counted");
        }
        Ok(())
    }
}

fn times(connection: &Connection, source: &str, id: i64) -> rusqlite::Result<i64> {
    let sql = "SELECT times FROM given_out WHERE source = ?1 AND id = ?2";
    let times =
        connection.prepare_cached(sql)?.query_row(params![source, id], |row| row.get(0)).optional()?;
    Ok(times.unwrap_or(0))
}

struct Count {
    source: &'static str,
    ids: Vec<i64>,
    done: mpsc::Sender<bool>,
}

impl Job for Count {
    fn write(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        let mut statement = connection.prepare_cached(
            "INSERT INTO given_out (source, id, times) VALUES (?1, ?2, 1) \
             ON CONFLICT (source, id) DO UPDATE SET times = times + 1",
        )?;
        self.ids.iter().try_for_each(|id| statement.execute(params![self.source, id]).map(|_| ()))
    }

    fn finish(self: Box<Self>, result: Result<(), WriteError>) {
        // The loader may be gone by then.
        self.done.send(result.is_ok()).unwrap_or_default();
    }
}

/// For the writer: nothing is left of a row that is deleted.
pub(crate) fn forget(connection: &Connection, source: &str, id: i64) -> rusqlite::Result<()> {
    let sql = "DELETE FROM given_out WHERE source = ?1 AND id = ?2";
    connection.prepare_cached(sql)?.execute(params![source, id]).map(|_| ())
}
