//! The journal on its queue: one batch, one message.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use async_trait::async_trait;
use postrider_contract::clock::{Clock, Timestamp};
use postrider_contract::journal::JournalBatch;
use postrider_contract::ports::{Journal, JournalSource, Lease, LeaseTicket, PublishError, QueueError};
use postrider_contract::wire;

use crate::connection::Link;
use crate::consumer::{Consuming, Incoming, Reading, Source};
use crate::publisher::{Destination, Message};
use crate::settling::{Appended, JournalQueue, Settling};
use crate::topology::{QueueName, close, look_at_queue};

pub(crate) struct RabbitJournal {
    consuming: Arc<Consuming>,
    link: Arc<Link>,
    settling: Settling,
    /// Sources of this process.
    readers: Arc<AtomicU32>,
}

impl RabbitJournal {
    pub fn new(consuming: Arc<Consuming>, link: Arc<Link>, clock: Arc<dyn Clock>) -> Self {
        RabbitJournal { consuming, link, settling: Settling::new(clock), readers: Arc::default() }
    }

    async fn look(&self) -> Result<JournalQueue, QueueError> {
        let live = self.link.live().map_err(|reason| QueueError::Unavailable { reason })?;
        let channel = live.open_channel().await?;
        let name = self.consuming.topology.queue(QueueName::Journal);
        let queue = look_at_queue(&live, &channel, &name).await?;
        close(&channel).await;
        Ok(JournalQueue { ready: queue.message_count(), consumers: queue.consumer_count() })
    }
}

#[async_trait]
impl Journal for RabbitJournal {
    async fn append(&self, batch: JournalBatch) -> Result<(), PublishError> {
        let body = wire::encode_journal_batch(&batch);
        let mut under_way = UnderWay::begin(&self.settling, batch.written_at);
        let message = Message::new(Destination::Queue(QueueName::Journal), body);
        let published = self.consuming.publisher.publish(vec![message]).await;
        under_way.appended = match &published {
            Ok(()) | Err(PublishError::InDoubt { .. }) => Appended::Perhaps,
            Err(PublishError::Refused { .. }) => Appended::No,
        };
        published
    }

    async fn read(&self, prefetch: u16) -> Result<Box<dyn JournalSource>, QueueError> {
        let source = self.consuming.open(QueueName::Journal, prefetch, ReadBatch(self.settling.clone()))?;
        self.readers.fetch_add(1, Ordering::Relaxed);
        Ok(Box::new(Reader { source, readers: Arc::clone(&self.readers) }))
    }

    async fn settled_until(&self, now: Timestamp) -> Result<Timestamp, QueueError> {
        let queue = self.look().await?;
        Ok(self.settling.bound(now, queue, self.readers.load(Ordering::Relaxed)))
    }
}

/// Keeps count of an append, also when its caller goes away meanwhile.
struct UnderWay<'a> {
    settling: &'a Settling,
    written_at: Timestamp,
    appended: Appended,
}

impl<'a> UnderWay<'a> {
    fn begin(settling: &'a Settling, written_at: Timestamp) -> Self {
        settling.append_begins(written_at);
        UnderWay { settling, written_at, appended: Appended::Perhaps }
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.settling.append_ended(self.written_at, self.appended);
    }
}

struct Reader {
    source: Source<JournalBatch>,
    readers: Arc<AtomicU32>,
}

#[async_trait]
impl JournalSource for Reader {
    async fn next(&mut self) -> Result<Lease<JournalBatch>, QueueError> {
        self.source.next().await
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.readers.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Counts a batch as in hand from its arrival on, not only from when somebody asks for it.
struct ReadBatch(Settling);

impl Reading for ReadBatch {
    type Message = JournalBatch;

    fn decode(&self, incoming: Incoming) -> Result<JournalBatch, String> {
        wire::decode_journal_batch(incoming.body).map_err(|error| error.to_string())
    }

    fn track(&self, batch: &JournalBatch, ticket: LeaseTicket) -> LeaseTicket {
        self.0.taken(batch.written_at, ticket)
    }
}
