//! The queue ports: deliveries and the journal.

use std::time::Duration;

use async_trait::async_trait;

use super::Lease;
use crate::clock::Timestamp;
use crate::delivery::Work;
use crate::journal::JournalBatch;

/// Where a piece of work is put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// A first try, to be taken at once.
    First,
    /// Parked for at least this long (one hop: the first lane that is not shorter), then taken as
    /// [`WorkKind::Retry`]. A delay of zero is not parked.
    Retry { delay: Duration },
    /// A release from the waiting room or a re-publish, to be taken at once.
    Release,
}

/// The kinds are consumed apart, so that a storm of one cannot delay the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum WorkKind {
    First,
    Retry,
    Release,
    /// Work of the route `First` or `Release` whose bodies are over 64 KiB, or a fan-out that is as long by its
    /// deliveries.
    Large,
}

impl WorkKind {
    pub const ALL: [WorkKind; 4] = [WorkKind::First, WorkKind::Retry, WorkKind::Release, WorkKind::Large];
}

#[derive(Clone, Debug)]
pub struct Publication {
    pub route: Route,
    pub work: Work,
}

/// Why a publish was not confirmed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum PublishError {
    /// No answer, or the connection broke meanwhile: it may have happened or not.
    #[error("in doubt: {reason}")]
    InDoubt { reason: String },
    /// Certainly nothing happened: no connection, no space, the queue said no.
    #[error("refused: {reason}")]
    Refused { reason: String },
}

#[derive(Debug, Clone, thiserror::Error)]
pub enum QueueError {
    /// May work later.
    #[error("the queue is not available: {reason}")]
    Unavailable { reason: String },
    /// The queue was closed by us: nothing more will come.
    #[error("the queue is closed")]
    Closed,
    /// What is there is not what we declare (other arguments, a foreign file).
    #[error("the queue is not as expected: {reason}")]
    Mismatch { reason: String },
}

/// Messages ready to be taken, where the engine knows; parked and leased ones are not counted. A message may hold several
/// deliveries.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QueueDepths {
    pub first: u64,
    pub retry: u64,
    pub release: u64,
    /// First tries and releases whose bodies are large.
    pub large: u64,
    pub journal: u64,
    /// Producers' messages that cannot be accepted for a while and come in again ([`super::PutOffQueue`]).
    pub put_off: u64,
    /// Strays: set aside by a reader that could not read them, or given out too often.
    pub dead: u64,
    /// Strays: came out of a lane and found no queue.
    pub catch_all: u64,
    /// Kept for people, because nobody can read them ([`super::Strays::keep`]).
    pub unreadable: u64,
    /// Queues that should be there and are not, by the broker's names: they count as empty above.
    pub missing: Vec<String>,
    /// What this process has published of what `first` and `large` count, since it began.
    pub published: u64,
}

impl QueueDepths {
    /// Tries that wait to be made, of every kind.
    #[must_use]
    pub fn tries(&self) -> u64 {
        self.first + self.retry + self.release + self.large
    }
}

#[async_trait]
pub trait WorkQueue: Send + Sync {
    /// Publishes all, in one go, and waits until all are durable.
    ///
    /// # Errors
    /// If any was not confirmed. Others of the same call may have been: the caller repeats under the same ids.
    async fn publish(&self, publications: Vec<Publication>) -> Result<(), PublishError>;

    /// Begins to take work of one kind; at most `prefetch` messages are in hand at once. The source outlives
    /// broken connections.
    ///
    /// # Errors
    /// Only what will not mend itself: [`QueueError::Mismatch`], [`QueueError::Closed`].
    async fn consume(&self, kind: WorkKind, prefetch: u16) -> Result<Box<dyn WorkSource>, QueueError>;

    /// A queue that is missing does not keep the others from being counted.
    ///
    /// # Errors
    /// When the queue does not answer.
    async fn depths(&self) -> Result<QueueDepths, QueueError>;

    /// How long a retry with this delay is really parked: the delay itself, or that of the first lane that is not
    /// shorter.
    fn parked_for(&self, delay: Duration) -> Duration {
        delay
    }

    /// So many messages at once cost this queue hardly more than one, which matters to who would rather publish one after
    /// the other, so that others have their turn in between.
    fn worth_a_publish(&self) -> usize {
        1
    }

    /// `Err` with a reason while a publish would not be confirmed: not connected, blocked, no space. A worker
    /// that cannot record does not send, and ingest answers 503 at once.
    fn check_writable(&self) -> Result<(), QueueError>;

    /// Hands on what is settled but not yet written, and ends all sources.
    async fn close(&self);
}

#[async_trait]
pub trait WorkSource: Send {
    /// The next message that can be read. What cannot is set aside with its reason before anything else.
    /// Waits through broken connections; safe to cancel.
    ///
    /// # Errors
    /// [`QueueError::Closed`] after [`WorkQueue::close`].
    async fn next(&mut self) -> Result<Lease<Work>, QueueError>;
}

#[async_trait]
pub trait Journal: Send + Sync {
    /// Appends one batch as one message and waits until it is durable.
    ///
    /// # Errors
    /// If it was not confirmed; it may have happened all the same.
    async fn append(&self, batch: JournalBatch) -> Result<(), PublishError>;

    /// # Errors
    /// Only what will not mend itself.
    async fn read(&self, prefetch: u16) -> Result<Box<dyn JournalSource>, QueueError>;

    /// The time from which on batches may be unread or unacknowledged: nothing older than this is missing from
    /// the log. `now` if nothing waits.
    ///
    /// # Errors
    /// When the queue does not answer.
    async fn settled_until(&self, now: Timestamp) -> Result<Timestamp, QueueError>;
}

#[async_trait]
pub trait JournalSource: Send {
    /// As [`WorkSource::next`].
    ///
    /// # Errors
    /// [`QueueError::Closed`] after the queue was closed.
    async fn next(&mut self) -> Result<Lease<JournalBatch>, QueueError>;
}
