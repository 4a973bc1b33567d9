//! Opening a file: is it ours, is it whole, is its schema current? Then the settings every connection needs.
//!
//! `application_id` says whose file it is, `user_version` how many migrations it has had. Each migration is one
//! transaction with its number, so a crash between two of them is taken up again at the next start.

use std::fs;
use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use crate::error::{OpenError, is_corrupt};
use crate::private_files::make_file;

/// A kind of file, and how it came to be.
#[derive(Debug)]
pub(crate) struct Schema {
    pub(crate) application_id: i64,
    /// In order; the number of a migration is its place, from 1.
    pub(crate) migrations: &'static [&'static str],
}

/// "PsQu" and "PsLo".
pub(crate) const QUEUE: Schema = Schema {
    application_id: 0x5073_5175,
    migrations: &[
        include_str!("migrations/queue/0001_first.sql"),
        include_str!("migrations/queue/0002_config_days.sql"),
    ],
};
pub(crate) const DAY: Schema = Schema {
    application_id: 0x5073_4c6f,
    migrations: &[
        include_str!("migrations/day/0001_first.sql"),
        include_str!("migrations/day/0002_of_webhook.sql"),
    ],
};

/// Another connection may hold a lock for a moment (a checkpoint, recovery after a crash).
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Prepared statements kept by a connection: more than any file here has.
const STATEMENTS: usize = 64;
/// Pages in the WAL at which a commit also moves them to the file (16 MiB): large enough that a page that
/// changes often is moved once for many changes, small enough that the move takes milliseconds.
const CHECKPOINT_PAGES: i64 = 4_000;
/// What the WAL is cut down to after a burst.
const WAL_LIMIT: i64 = 64 * 1024 * 1024;
/// Page cache of a writing connection, in KiB (negative, as SQLite wants it).
const WRITER_CACHE: i64 = -16 * 1024;
/// Files up to this size are checked whole at open; it takes well under a second.
const CHECKED_SIZE: u64 = 64 * 1024 * 1024;

/// Opens or makes a file for writing, for this user alone, and brings its schema up to date.
pub(crate) fn open_writer(path: &Path, schema: &Schema) -> Result<Connection, OpenError> {
    make_file(path).map_err(|source| OpenError::Io { path: path.to_owned(), source })?;
    let mut connection = Connection::open(path).map_err(|error| cannot_open(path, error))?;
    check_owner(&connection, path, schema)?;
    check_whole(&connection, path)?;
    configure_writer(&connection).map_err(|error| cannot_open(path, error))?;
    migrate(&mut connection, schema).map_err(|error| cannot_open(path, error))?;
    #[cfg(test)]
    crate::statements::record(&mut connection, path).map_err(|error| cannot_open(path, error))?;
    Ok(connection)
}

/// Opens a file that is there, for reading only. Not with SQLite's own read-only flag: such a connection could not
/// recover the WAL of a process that was killed.
pub(crate) fn open_reader(path: &Path) -> Result<Connection, rusqlite::Error> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.pragma_update(None, "query_only", true)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    #[cfg(test)]
    let connection = {
        let mut connection = connection;
        crate::statements::record(&mut connection, path)?;
        connection
    };
    Ok(connection)
}

/// Whether a file that is there is ours to use; much cheaper than opening it for writing.
pub(crate) fn check(path: &Path, schema: &Schema) -> Result<(), OpenError> {
    let connection = open_reader(path).map_err(|error| cannot_open(path, error))?;
    // One moment for all that is looked at: a file may be in the making meanwhile. It ends with the connection.
    connection.execute_batch("BEGIN").map_err(|error| cannot_open(path, error))?;
    check_owner(&connection, path, schema)
}

fn cannot_open(path: &Path, error: rusqlite::Error) -> OpenError {
    let path = path.to_owned();
    match error.sqlite_error_code() {
        Some(rusqlite::ErrorCode::NotADatabase) => {
            OpenError::Foreign { path, reason: "it is not an SQLite database".to_owned() }
        }
        Some(_) if is_corrupt(&error) => OpenError::Damaged { path, reason: error.to_string() },
        Some(_) | None => OpenError::Engine { path, source: error },
    }
}

fn check_owner(connection: &Connection, path: &Path, schema: &Schema) -> Result<(), OpenError> {
    let number = |pragma: &str| -> Result<i64, OpenError> {
        connection
            .pragma_query_value(None, pragma, |row| row.get(0))
            .map_err(|error| cannot_open(path, error))
    };
    connection.busy_timeout(BUSY_TIMEOUT).map_err(|error| cannot_open(path, error))?;
    let application_id = number("application_id")?;
    let found = number("user_version")?;
    let tables: i64 = connection
        .query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))
        .map_err(|error| cannot_open(path, error))?;
    let is_new = application_id == 0 && found == 0 && tables == 0;
    if !is_new && application_id != schema.application_id {
        let reason = "it is an SQLite database of another program, or of another kind".to_owned();
        return Err(OpenError::Foreign { path: path.to_owned(), reason });
    }
    let known = known_version(schema);
    if found > known {
        return Err(OpenError::Newer { path: path.to_owned(), found, known });
    }
    Ok(())
}

fn check_whole(connection: &Connection, path: &Path) -> Result<(), OpenError> {
    let size = fs::metadata(path).map_err(|source| OpenError::Io { path: path.to_owned(), source })?.len();
    if size > CHECKED_SIZE {
        return Ok(());
    }
    let answer: String = connection
        .query_row("PRAGMA quick_check(1)", [], |row| row.get(0))
        .map_err(|error| cannot_open(path, error))?;
    if answer == "ok" { Ok(()) } else { Err(OpenError::Damaged { path: path.to_owned(), reason: answer }) }
}

fn configure_writer(connection: &Connection) -> Result<(), rusqlite::Error> {
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update_and_check(None, "wal_autocheckpoint", CHECKPOINT_PAGES, |_| Ok(()))?;
    connection.pragma_update_and_check(None, "journal_size_limit", WAL_LIMIT, |_| Ok(()))?;
    connection.pragma_update(None, "cache_size", WRITER_CACHE)
}

fn known_version(schema: &Schema) -> i64 {
    i64::try_from(schema.migrations.len()).unwrap_or(i64::MAX)
}

fn migrate(connection: &mut Connection, schema: &Schema) -> Result<(), rusqlite::Error> {
    let found: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    for (version, migration) in (1_i64..).zip(schema.migrations) {
        if version > found {
            let transaction = connection.transaction()?;
            transaction.execute_batch(migration)?;
            transaction.pragma_update(None, "application_id", schema.application_id)?;
            transaction.pragma_update(None, "user_version", version)?;
            transaction.commit()?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    /// A setting of the build, which nothing else would miss
    /// ([ADR 37](../../../docs/adr/0037-sqlite-syncs-what-was-written-and-the-log-gives-way.md)).
    #[test]
    fn sqlite_is_built_to_sync_what_was_written_and_not_when() {
        let flags = option_env!("LIBSQLITE3_FLAGS").unwrap_or_default();
        assert!(flags.contains("-DHAVE_FDATASYNC=1"), "{flags:?}, from .cargo/config.toml");
    }
}
