//! How the process before this one ended. One that was killed, or ended itself, may have been ended by a message that it
//! had in hand: then what is found in the tables is counted as it is given out again ([`crate::shelf`]).

use rusqlite::Connection;

use crate::error::WriteError;
use crate::mailbox::Job;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LastEnd {
    /// With nothing in hand.
    Orderly,
    Abrupt,
}

/// For who has just opened the file, before anything is given out: this process has not ended in order yet.
pub(crate) fn begin(connection: &Connection) -> rusqlite::Result<LastEnd> {
    let sql = "SELECT value FROM counter WHERE name = 'in_hand'";
    let in_hand: i64 = connection.query_row(sql, [], |row| row.get(0))?;
    if in_hand != 0 {
        return Ok(LastEnd::Abrupt);
    }
    connection.execute("UPDATE counter SET value = 1 WHERE name = 'in_hand'", [])?;
    Ok(LastEnd::Orderly)
}

/// The last job of a process that has nothing in hand any more.
pub(crate) struct OrderlyEnd;

impl Job for OrderlyEnd {
    fn write(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        connection.execute("UPDATE counter SET value = 0 WHERE name = 'in_hand'", []).map(|_| ())
    }

    fn finish(self: Box<Self>, result: Result<(), WriteError>) {
        if let Err(error) = result {
            tracing::warn!(%error, "the end in order is not written; what is given out next is counted");
        }
    }
}
