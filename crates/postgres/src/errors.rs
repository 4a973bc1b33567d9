//! What can go wrong with the server, told apart by SQLSTATE class and by kind, never by text.

use std::error::Error as _;

use postrider_contract::ports::StoreError;
use tokio_postgres::error::SqlState;

/// Why there is no store. Each message is one line that says what to do.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    #[error("the store's URL cannot be read: {reason}; expected postgres://user:password@host:5432/database")]
    Url { reason: String },
    #[error("the store's CA certificates (engine.ca_file) cannot be read: {reason}")]
    Certificates { reason: String },
    #[error("cannot reach PostgreSQL at {server}: {reason}; is it running, and is the address right?")]
    Unreachable { server: String, reason: String },
    #[error(
        "the certificate of PostgreSQL at {server} is not trusted: {reason}; set engine.ca_file to its authority's, and use the name it is for"
    )]
    Untrusted { server: String, reason: String },
    #[error("PostgreSQL at {server} refused the user or the password: {reason}")]
    Refused { server: String, reason: String },
    #[error("PostgreSQL at {server} has no database {database}; create it, then run `postrider migrate`")]
    DatabaseMissing { server: String, database: String },
    #[error("the database {database} has no schema yet; run `postrider migrate`")]
    SchemaMissing { database: String },
    #[error(
        "the schema of {database} is version {found}, this program needs {needed}; run `postrider migrate`"
    )]
    SchemaOlder { database: String, found: i32, needed: i32 },
    #[error(
        "the schema of {database} is version {found}, newer than this program knows ({known}); use a newer one"
    )]
    SchemaNewer { database: String, found: i32, known: i32 },
    #[error(
        "the schema of {database} could not be migrated: {reason}; is it a database of its own, and may this user make tables there?"
    )]
    Migration { database: String, reason: String },
}

/// Why a statement did not do what it should, by what its caller does about it.
#[derive(Debug)]
pub(crate) enum Fault {
    /// Lost against another transaction: try again at once.
    Contended,
    /// A row's day has no partition.
    NoPartition,
    /// One of the rows cannot be stored, whatever the others are.
    BadRow(String),
    Store(StoreError),
}

impl From<Fault> for StoreError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Contended => unavailable("lost against other transactions too often"),
            Fault::NoPartition => corrupt("a day of the log is missing"),
            Fault::BadRow(reason) => corrupt(reason),
            Fault::Store(error) => error,
        }
    }
}

impl From<StoreError> for Fault {
    fn from(error: StoreError) -> Self {
        Fault::Store(error)
    }
}

impl From<tokio_postgres::Error> for Fault {
    fn from(error: tokio_postgres::Error) -> Self {
        let Some(code) = error.code() else {
            // A value of a type that does not fit its parameter is our own mistake; all else is the connection.
            let is_ours =
                error.source().is_some_and(|source| source.is::<tokio_postgres::types::WrongType>());
            let reason = describe(&error);
            return Fault::Store(if is_ours { corrupt(reason) } else { unavailable(reason) });
        };
        if *code == SqlState::T_R_DEADLOCK_DETECTED || *code == SqlState::T_R_SERIALIZATION_FAILURE {
            return Fault::Contended;
        }
        // Only partition bounds are checked in tables that are written in batches.
        if *code == SqlState::CHECK_VIOLATION {
            return Fault::NoPartition;
        }
        let reason = describe(&error);
        match code.code().get(..2) {
            // A value, a constraint, a limit of size; 21: one key twice in a batch, which apart are no trouble.
            Some("21" | "22" | "23" | "54") => Fault::BadRow(reason),
            // Connection, resources (disk, memory, connections), operator's intervention (shutdown, time-out),
            // object in use (lock time-out), input and output, a plan outdated by a migration.
            Some("08" | "53" | "57" | "55" | "58" | "0A" | "40" | "28") => Fault::Store(unavailable(reason)),
            // A read-only server (a standby), an idle transaction ended by the server.
            Some("25") => Fault::Store(unavailable(reason)),
            Some(_) | None => Fault::Store(corrupt(reason)),
        }
    }
}

pub(crate) fn unavailable(reason: impl Into<String>) -> StoreError {
    StoreError::Unavailable { reason: reason.into() }
}

pub(crate) fn corrupt(reason: impl Into<String>) -> StoreError {
    StoreError::Corrupt { reason: reason.into() }
}

/// What the server said with its code, or what happened to the connection. Never values of rows: the server's
/// detail is left out.
pub(crate) fn describe(error: &tokio_postgres::Error) -> String {
    if let Some(said) = error.as_db_error() {
        return format!("{} ({})", said.message(), said.code().code());
    }
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
