//! What can go wrong: when opening, when writing, when reading; and how SQLite's codes map to that.

use std::path::PathBuf;

use postrider_contract::ports::{PublishError, QueueError, StoreError};
use rusqlite::ErrorCode;

/// Why the engine did not open. Each is one line for the operator.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("the data directory {} is used by another process", folder.display())]
    InUse { folder: PathBuf },
    #[error("cannot use {}", path.display())]
    Io { path: PathBuf, source: std::io::Error },
    #[error("{} is not a file of this program: {reason}; move it away or choose another data directory", path.display())]
    Foreign { path: PathBuf, reason: String },
    #[error("{} was written by a newer version (schema {found}, this one knows {known})", path.display())]
    Newer { path: PathBuf, found: i64, known: i64 },
    #[error("{} is damaged: {reason}; restore it from a backup", path.display())]
    Damaged { path: PathBuf, reason: String },
    #[error("cannot open {}", path.display())]
    Engine { path: PathBuf, source: rusqlite::Error },
}

impl From<OpenError> for StoreError {
    fn from(error: OpenError) -> Self {
        let reason = match std::error::Error::source(&error) {
            Some(source) => format!("{error}: {source}"),
            None => error.to_string(),
        };
        match error {
            OpenError::InUse { .. } | OpenError::Io { .. } | OpenError::Engine { .. } => {
                StoreError::Unavailable { reason }
            }
            OpenError::Foreign { .. } | OpenError::Newer { .. } | OpenError::Damaged { .. } => {
                StoreError::Corrupt { reason }
            }
        }
    }
}

/// Why a write to `queue.db` was not answered with success. Cloned to everyone in the same group.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum WriteError {
    /// Rolled back: certainly nothing happened.
    #[error("{0}")]
    Refused(String),
    /// The commit itself failed, and may be found again after a restart; or nobody can say any more how it went.
    #[error("{0}")]
    InDoubt(String),
    /// The file is not as it should be.
    #[error("{0}")]
    Corrupt(String),
    #[error("the engine is closed")]
    Closed,
}

impl WriteError {
    /// A statement failed; the transaction is rolled back.
    pub(crate) fn in_statement(error: &rusqlite::Error) -> Self {
        if is_corrupt(error) {
            WriteError::Corrupt(error.to_string())
        } else {
            WriteError::Refused(error.to_string())
        }
    }

    /// COMMIT failed. A full disk is noticed before the commit record is whole; anything else may have left one.
    pub(crate) fn in_commit(error: &rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => WriteError::Refused(error.to_string()),
            Some(_) | None => WriteError::InDoubt(error.to_string()),
        }
    }
}

impl From<WriteError> for PublishError {
    fn from(error: WriteError) -> Self {
        let reason = error.to_string();
        match error {
            WriteError::InDoubt(_) => PublishError::InDoubt { reason },
            WriteError::Refused(_) | WriteError::Corrupt(_) | WriteError::Closed => {
                PublishError::Refused { reason }
            }
        }
    }
}

impl From<WriteError> for StoreError {
    fn from(error: WriteError) -> Self {
        let reason = error.to_string();
        match error {
            WriteError::Corrupt(_) => StoreError::Corrupt { reason },
            WriteError::Refused(_) | WriteError::InDoubt(_) | WriteError::Closed => {
                StoreError::Unavailable { reason }
            }
        }
    }
}

/// The storage itself says no (no space, read-only, an I/O error, damage): asking again at once, or for each
/// request of a group alone, would meet the same answer.
pub(crate) fn is_of_the_storage(error: &rusqlite::Error) -> bool {
    is_corrupt(error)
        || matches!(
            error.sqlite_error_code(),
            Some(
                ErrorCode::DiskFull
                    | ErrorCode::ReadOnly
                    | ErrorCode::SystemIoFailure
                    | ErrorCode::CannotOpen
                    | ErrorCode::OutOfMemory
                    | ErrorCode::DatabaseBusy
            )
        )
}

pub(crate) fn is_corrupt(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase))
}

/// For a read that failed: damage and values that cannot be are corruption; all else may work later.
pub(crate) fn read_failed(error: &rusqlite::Error) -> StoreError {
    let is_bad_value = matches!(
        error,
        rusqlite::Error::FromSqlConversionFailure(..)
            | rusqlite::Error::IntegralValueOutOfRange(..)
            | rusqlite::Error::InvalidColumnType(..)
    );
    let reason = match error.sqlite_error_code() {
        Some(ErrorCode::OperationInterrupted) => "the question took longer than it may".to_owned(),
        Some(_) | None => error.to_string(),
    };
    if is_bad_value || is_corrupt(error) {
        StoreError::Corrupt { reason }
    } else {
        StoreError::Unavailable { reason }
    }
}

/// For a queue port that read from the store.
pub(crate) fn as_queue_error(error: StoreError) -> QueueError {
    match error {
        StoreError::Unavailable { reason } => QueueError::Unavailable { reason },
        StoreError::Corrupt { reason } => QueueError::Mismatch { reason },
    }
}
