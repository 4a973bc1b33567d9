//! Reading `queue.db`: a few read-only connections, used on the blocking pool. A slow reader keeps neither the
//! writer nor the runtime's threads waiting.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use postrider_contract::ports::StoreError;
use rusqlite::Connection;
use tokio::sync::Semaphore;

use crate::error::read_failed;
use crate::mutex::lock;
use crate::schema::open_reader;

/// Readings at once. Configuration is cached by its users, so few are ever needed.
const CONNECTIONS: usize = 4;

#[derive(Clone)]
pub(crate) struct Reader {
    inner: Arc<Inner>,
}

struct Inner {
    path: PathBuf,
    idle: Mutex<Vec<Connection>>,
    slots: Arc<Semaphore>,
}

impl Reader {
    pub(crate) fn new(path: PathBuf) -> Self {
        let slots = Arc::new(Semaphore::new(CONNECTIONS));
        Reader { inner: Arc::new(Inner { path, idle: Mutex::new(Vec::new()), slots }) }
    }

    /// Sees everything that was committed before the call.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let slot = Arc::clone(&self.inner.slots).acquire_owned().await;
        let slot = slot.map_err(|_| StoreError::Unavailable { reason: "the engine is closed".to_owned() })?;
        let inner = Arc::clone(&self.inner);
        let task = tokio::task::spawn_blocking(move || {
            let _slot = slot;
            inner.with_connection(work)
        });
        match task.await {
            Ok(result) => result.map_err(|error| read_failed(&error)),
            Err(error) => Err(StoreError::Unavailable { reason: error.to_string() }),
        }
    }
}

impl Inner {
    fn with_connection<T>(
        &self,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> rusqlite::Result<T> {
        let idle = lock(&self.idle).pop();
        let connection = match idle {
            Some(connection) => connection,
            None => open_reader(&self.path)?,
        };
        let result = work(&connection)?;
        // One whose reading failed is not used again.
        lock(&self.idle).push(connection);
        Ok(result)
    }
}
