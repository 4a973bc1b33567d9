//! Opening and closing the engine: one process a data directory, one writer, one loader.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use bytes::Bytes;
use postrider_contract::clock::Clock;
use postrider_contract::ports::{
    ConfigStore, DeliveryLog, Journal, KeyedRequests, Leadership, LogQueries, PublishError, QueueError,
    Strays, WaitingRoom, WorkKind, WorkQueue,
};
use rusqlite::Connection;
use tokio::sync::Notify;

use crate::configuration::SqliteConfigStore;
use crate::error::OpenError;
use crate::journal::SqliteJournal;
use crate::keyed::SqliteKeyedRequests;
use crate::leadership::SqliteLeadership;
use crate::loader::{Bell, Load, Loader};
use crate::log::SqliteLog;
use crate::private_files::{make_folder, open_or_make};
use crate::reader::Reader;
use crate::schema::{QUEUE, open_reader, open_writer};
use crate::shelf::{Limits, Shared, Shelf, Table};
use crate::strays::{DeadRows, SqliteStrays};
use crate::waiting_room::SqliteWaitingRoom;
use crate::work_queue::{Shelves, SqliteWorkQueue};
use crate::writer::Writer;

/// Where the data is, and how much of it is kept at hand.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The data directory; made if it is not there, for this user alone.
    pub folder: PathBuf,
    /// Ready messages kept in memory, at most; what is beyond waits on disk. First tries get this many, retries
    /// and releases a quarter each.
    pub ready_messages: usize,
    /// The same in bytes.
    pub ready_bytes: usize,
    /// How long one question of the API to the log may take; then it ends as if the store did not answer.
    pub query_time: Duration,
}

impl Settings {
    #[must_use]
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Settings {
            folder: folder.into(),
            ready_messages: 20_000,
            ready_bytes: 64 * 1024 * 1024,
            query_time: Duration::from_secs(5),
        }
    }
}

/// The embedded engine. Clones are handles of the same one; it closes with the last of them, and of its ports.
#[derive(Clone)]
pub struct SqliteEngine {
    strays: Arc<SqliteStrays>,
    work_queue: Arc<SqliteWorkQueue>,
    journal: Arc<SqliteJournal>,
    config_store: Arc<SqliteConfigStore>,
    keyed_requests: Arc<SqliteKeyedRequests>,
    waiting_room: Arc<SqliteWaitingRoom>,
    log: Arc<SqliteLog>,
    leadership: Arc<SqliteLeadership>,
    running: Arc<Running>,
}

impl SqliteEngine {
    /// Opens or makes the data directory. Blocks: it reads the disk.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open(settings: Settings, clock: Arc<dyn Clock>) -> Result<Self, OpenError> {
        let lock_file = lock_folder(&settings.folder)?;
        let path = settings.folder.join("queue.db");
        let connection = open_writer(&path, &QUEUE)?;
        let failed = |source| OpenError::Engine { path: path.clone(), source };
        let dead = Arc::new(DeadRows::open(&connection).map_err(failed)?);
        let loading = open_reader(&path).map_err(failed)?;
        let thread_failed = |source| OpenError::Io { path: path.clone(), source };
        let writer = Writer::start(connection).map_err(thread_failed)?;
        let bell = Arc::new(Bell::default());
        let shared = Shared {
            bell: Arc::clone(&bell),
            mailbox: Arc::clone(writer.mailbox()),
            dead: Arc::clone(&dead),
        };
        let shelves = Arc::new(open_shelves(&loading, &settings, &shared).map_err(failed)?);
        let loader =
            Loader::start(loading, loads(&shelves), &bell, Arc::clone(&clock)).map_err(thread_failed)?;
        let reader = Reader::new(path.clone());
        let running = Arc::new(Running { shelves: Arc::clone(&shelves), writer, loader, _lock: lock_file });
        let log = SqliteLog::open(&settings.folder.join("log"), &running, settings.query_time)?;
        Ok(Self::assemble(running, reader, log, clock, dead))
    }

    fn assemble(
        running: Arc<Running>,
        reader: Reader,
        log: SqliteLog,
        clock: Arc<dyn Clock>,
        dead: Arc<DeadRows>,
    ) -> Self {
        let strays = SqliteStrays {
            running: Arc::clone(&running),
            reader: reader.clone(),
            clock: Arc::clone(&clock),
            dead: Arc::clone(&dead),
        };
        let work_queue = SqliteWorkQueue {
            running: Arc::clone(&running),
            reader: reader.clone(),
            clock,
            dead,
            published: AtomicU64::new(0),
        };
        let config_store = SqliteConfigStore {
            running: Arc::clone(&running),
            reader: reader.clone(),
            changed: Arc::new(Notify::new()),
        };
        SqliteEngine {
            strays: Arc::new(strays),
            work_queue: Arc::new(work_queue),
            journal: Arc::new(SqliteJournal { running: Arc::clone(&running), reader: reader.clone() }),
            config_store: Arc::new(config_store),
            keyed_requests: Arc::new(SqliteKeyedRequests {
                running: Arc::clone(&running),
                reader: reader.clone(),
            }),
            waiting_room: Arc::new(SqliteWaitingRoom { running: Arc::clone(&running), reader }),
            log: Arc::new(log),
            leadership: Arc::new(SqliteLeadership::default()),
            running,
        }
    }

    #[must_use]
    pub fn work_queue(&self) -> Arc<dyn WorkQueue> {
        Arc::clone(&self.work_queue) as Arc<dyn WorkQueue>
    }

    #[must_use]
    pub fn journal(&self) -> Arc<dyn Journal> {
        Arc::clone(&self.journal) as Arc<dyn Journal>
    }

    /// What fell off the ordinary path.
    #[must_use]
    pub fn strays(&self) -> Arc<dyn Strays> {
        Arc::clone(&self.strays) as Arc<dyn Strays>
    }

    #[must_use]
    pub fn config_store(&self) -> Arc<dyn ConfigStore> {
        Arc::clone(&self.config_store) as Arc<dyn ConfigStore>
    }

    #[must_use]
    pub fn keyed_requests(&self) -> Arc<dyn KeyedRequests> {
        Arc::clone(&self.keyed_requests) as Arc<dyn KeyedRequests>
    }

    #[must_use]
    pub fn waiting_room(&self) -> Arc<dyn WaitingRoom> {
        Arc::clone(&self.waiting_room) as Arc<dyn WaitingRoom>
    }

    #[must_use]
    pub fn delivery_log(&self) -> Arc<dyn DeliveryLog> {
        Arc::clone(&self.log) as Arc<dyn DeliveryLog>
    }

    #[must_use]
    pub fn log_queries(&self) -> Arc<dyn LogQueries> {
        Arc::clone(&self.log) as Arc<dyn LogQueries>
    }

    #[must_use]
    pub fn leadership(&self) -> Arc<dyn Leadership> {
        Arc::clone(&self.leadership) as Arc<dyn Leadership>
    }

    /// Publishes bytes as they are, which may be no message at all: a test of how such are set aside.
    ///
    /// # Errors
    /// As a publish.
    pub async fn publish_encoded(&self, kind: WorkKind, payload: Bytes) -> Result<(), PublishError> {
        self.work_queue.publish_encoded(kind, payload).await
    }

    /// Sets bytes aside as a reader of the table `source` would that could not read them: a test of how such are
    /// brought back.
    ///
    /// # Errors
    /// When it cannot be written.
    pub async fn set_aside_encoded(&self, source: &str, payload: Bytes) -> Result<(), QueueError> {
        self.strays.set_aside(source.to_owned(), "set aside by hand".to_owned(), payload).await
    }

    /// Writes what waits and ends the threads. Whatever is asked afterwards is refused. The data directory is
    /// free for another process once the last handle is gone.
    pub async fn close(&self) {
        self.running.close().await;
    }
}

/// What must live as long as any port of the engine does.
pub(crate) struct Running {
    pub(crate) shelves: Arc<Shelves>,
    pub(crate) writer: Writer,
    loader: Loader,
    /// Held, not read: the operating system lets go of the lock when it is dropped, after the threads.
    _lock: File,
}

impl Running {
    pub(crate) async fn close(self: &Arc<Self>) {
        let running = Arc::clone(self);
        if let Err(error) = tokio::task::spawn_blocking(move || running.stop()).await {
            tracing::error!(%error, "closing the data directory did not finish");
        }
    }

    fn stop(&self) {
        self.shelves.close();
        self.loader.close();
        self.writer.close();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop();
    }
}

/// A lock of the operating system, which goes with the process however it ends.
fn lock_folder(folder: &Path) -> Result<File, OpenError> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| OpenError::Io { path, source }
    };
    make_folder(folder).map_err(failed(folder))?;
    let path = folder.join("lock");
    let file = open_or_make(&path).map_err(failed(&path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::InUse { folder: folder.to_owned() }),
        Err(TryLockError::Error(source)) => Err(OpenError::Io { path, source }),
    }
}

fn open_shelves(connection: &Connection, settings: &Settings, shared: &Shared) -> rusqlite::Result<Shelves> {
    let whole = Limits { messages: settings.ready_messages, bytes: settings.ready_bytes };
    let quarter = Limits { messages: whole.messages / 4, bytes: whole.bytes / 4 };
    Ok(Shelves {
        first: Arc::new(Shelf::open(connection, Table::First, whole, shared.clone())?),
        retry: Arc::new(Shelf::open(connection, Table::Retry, quarter, shared.clone())?),
        release: Arc::new(Shelf::open(connection, Table::Release, quarter, shared.clone())?),
        large: Arc::new(Shelf::open(connection, Table::Large, whole, shared.clone())?),
        journal: Arc::new(Shelf::open(connection, Table::Journal, quarter, shared.clone())?),
    })
}

fn loads(shelves: &Shelves) -> Vec<Box<dyn Load>> {
    vec![
        Box::new(Arc::clone(&shelves.first)),
        Box::new(Arc::clone(&shelves.retry)),
        Box::new(Arc::clone(&shelves.release)),
        Box::new(Arc::clone(&shelves.large)),
        Box::new(Arc::clone(&shelves.journal)),
    ]
}

#[cfg(test)]
mod tests;
