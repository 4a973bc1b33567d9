//! Which statements were executed on the files of a folder: what a test of their plans looks at.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use rusqlite::Connection;
use rusqlite::trace::{TraceEvent, TraceEventCodes};

use crate::mutex::lock;

static EXECUTED: Mutex<BTreeMap<PathBuf, BTreeSet<String>>> = Mutex::new(BTreeMap::new());

/// From now on, for as long as the connection is open.
pub(crate) fn record(connection: &mut Connection, path: &Path) -> rusqlite::Result<()> {
    let path = path.to_owned();
    let note = move |event: TraceEvent<'_>| {
        if let TraceEvent::Stmt(statement, _) = event {
            lock(&EXECUTED).entry(path.clone()).or_default().insert(statement.sql().into_owned());
        }
    };
    connection.trace_v2(TraceEventCodes::SQLITE_TRACE_STMT, Some(note))
}

/// Those of the file since it was first opened.
pub(crate) fn executed(path: &Path) -> BTreeSet<String> {
    lock(&EXECUTED).get(path).cloned().unwrap_or_default()
}
