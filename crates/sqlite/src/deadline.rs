//! How long one question may take. SQLite has no such limit of its own, but asks now and then while it works whether
//! to go on.

use std::time::{Duration, Instant};

use rusqlite::Connection;

/// Steps of SQLite's machine between two looks at the clock: some microseconds of work, or, where every row is on a page
/// that is not at hand, a few dozen readings of the disk.
const STEPS: i32 = 1_000;

/// Until when a connection may read.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Deadline {
    /// For what is bounded by itself.
    Never,
    At(Instant),
}

impl Deadline {
    pub(crate) fn after(limit: Duration) -> Self {
        Instant::now().checked_add(limit).map_or(Deadline::Never, Deadline::At)
    }

    /// Takes the place of the deadline that the connection had. Statements that are at work when it is over fail as
    /// interrupted.
    pub(crate) fn watch(self, connection: &mut Connection) -> rusqlite::Result<()> {
        match self {
            Deadline::Never => connection.progress_handler(0, None::<fn() -> bool>),
            Deadline::At(end) => connection.progress_handler(STEPS, Some(move || Instant::now() >= end)),
        }
    }
}
