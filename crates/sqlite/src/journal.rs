//! The journal's outbox: one row a batch, until the log has it.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use postrider_contract::clock::Timestamp;
use postrider_contract::journal::JournalBatch;
use postrider_contract::ports::{Journal, JournalSource, Lease, PublishError, QueueError};
use postrider_contract::wire::{self, WireError};
use rusqlite::{Connection, params};

use crate::engine::Running;
use crate::error::as_queue_error;
use crate::reader::Reader;
use crate::shelf::{Committed, Shelf, Source, Stored};

impl Stored for JournalBatch {
    fn decode(payload: Bytes) -> Result<Self, WireError> {
        wire::decode_journal_batch(payload)
    }
}

pub(crate) struct SqliteJournal {
    pub(crate) running: Arc<Running>,
    pub(crate) reader: Reader,
}

#[async_trait]
impl Journal for SqliteJournal {
    async fn append(&self, batch: JournalBatch) -> Result<(), PublishError> {
        let shelf = Arc::clone(&self.running.shelves.journal);
        if shelf.is_closed() {
            return Err(PublishError::Refused { reason: "the queue is closed".to_owned() });
        }
        let payload = wire::encode_journal_batch(&batch);
        let (bytes, written_at) = (payload.len(), batch.written_at.as_millis());
        let writing = Arc::clone(&shelf);
        let write = move |connection: &Connection| insert(connection, &writing, &payload, written_at);
        let hand_over = move |id| shelf.put([Committed { id, due_at: None, bytes, message: batch }]);
        Ok(self.running.writer.write(bytes, write, hand_over).await?)
    }

    async fn read(&self, prefetch: u16) -> Result<Box<dyn JournalSource>, QueueError> {
        let shelf = &self.running.shelves.journal;
        if shelf.is_closed() {
            return Err(QueueError::Closed);
        }
        Ok(Box::new(SqliteJournalSource(Source::new(shelf, prefetch))))
    }

    async fn settled_until(&self, now: Timestamp) -> Result<Timestamp, QueueError> {
        // Settlements linger for company; without them the answer would be a little too old, never too young.
        if let Err(error) = self.running.writer.flush().await {
            tracing::debug!(%error, "the journal's settlements are not written yet");
        }
        let oldest: Option<i64> = self
            .reader
            .read(|connection| {
                let mut statement = connection.prepare_cached("SELECT min(written_at) FROM journal")?;
                statement.query_row([], |row| row.get(0))
            })
            .await
            .map_err(as_queue_error)?;
        Ok(oldest.map_or(now, Timestamp::from_millis))
    }
}

fn insert(
    connection: &Connection,
    shelf: &Shelf<JournalBatch>,
    payload: &Bytes,
    written_at: i64,
) -> rusqlite::Result<i64> {
    let id = shelf.draw_id();
    let mut statement = connection.prepare_cached(shelf.table().insert_sql())?;
    statement.execute(params![id, payload.as_ref(), written_at])?;
    Ok(id)
}

struct SqliteJournalSource(Source<JournalBatch>);

#[async_trait]
impl JournalSource for SqliteJournalSource {
    async fn next(&mut self) -> Result<Lease<JournalBatch>, QueueError> {
        self.0.next().await
    }
}
