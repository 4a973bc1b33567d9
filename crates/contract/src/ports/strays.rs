//! Strays: messages that fell off the ordinary path, and wait to be brought back to it or to be kept for people.
//!
//! They are leased as work is: what is done about a stray is confirmed first, then its lease is acknowledged, so a
//! crash in between does it twice and never loses it.

use async_trait::async_trait;
use bytes::Bytes;

use super::{Lease, ProducerMessage, QueueError};
use crate::delivery::Work;
use crate::journal::JournalBatch;
use crate::wire::{self, WireError};

/// The places where strays end up, read apart, so that one cannot hold up the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StrayPlace {
    /// What nobody could read, and what was given out too often.
    Dead,
    /// What came out of a lane and found no queue. Empty for ever on an engine that has no routing.
    CatchAll,
}

impl StrayPlace {
    pub const ALL: [StrayPlace; 2] = [StrayPlace::Dead, StrayPlace::CatchAll];
}

/// Why a message is where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StrayCause {
    /// It came out of a lane and found no queue.
    Unroutable,
    /// It was given out so often without being settled that it is taken for one that ends whoever takes it. It may be
    /// an innocent that was in the same hands.
    GivenOutTooOften,
    /// A reader could not read it, and said why. A newer one may be able to.
    SetAside { reason: String },
}

/// What a stray is, for those who read it now.
#[derive(Clone, Debug, PartialEq)]
pub enum StrayContents {
    Work(Work),
    Journal(JournalBatch),
    /// From a producer, over AMQP.
    Produced(ProducerMessage),
    /// Not by this version of the program.
    Unreadable(WireError),
}

impl StrayContents {
    /// Of bytes that were work or a journal batch, nobody knows which: their fields tell them apart.
    #[must_use]
    pub fn recognise(bytes: &Bytes) -> Self {
        match wire::decode_work(bytes.clone()) {
            Ok(work) => StrayContents::Work(work),
            Err(error) => match wire::decode_journal_batch(bytes.clone()) {
                Ok(batch) => StrayContents::Journal(batch),
                Err(_) => StrayContents::Unreadable(error),
            },
        }
    }

    #[must_use]
    pub fn of_work(bytes: &Bytes) -> Self {
        wire::decode_work(bytes.clone()).map_or_else(StrayContents::Unreadable, StrayContents::Work)
    }

    #[must_use]
    pub fn of_journal(bytes: &Bytes) -> Self {
        wire::decode_journal_batch(bytes.clone())
            .map_or_else(StrayContents::Unreadable, StrayContents::Journal)
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct Stray {
    pub cause: StrayCause,
    /// The queue it was meant for, by the engine's own name.
    pub origin: String,
    pub contents: StrayContents,
    /// The message as it is, byte for byte.
    pub bytes: Bytes,
}

#[async_trait]
pub trait Strays: Send + Sync {
    /// Begins to take strays from one place; at most `prefetch` are in hand at once.
    ///
    /// # Errors
    /// Only what will not mend itself.
    async fn gather(&self, place: StrayPlace, prefetch: u16) -> Result<Box<dyn StraySource>, QueueError>;

    /// Puts a copy, durably, where it stays until somebody looks at it: a producer's message among those refused,
    /// anything else among the unreadable. A producer's message that only found no way back in is put off once more.
    /// The caller then acknowledges its lease.
    ///
    /// # Errors
    /// If it was not confirmed; it may have happened all the same.
    async fn keep(&self, stray: &Stray) -> Result<(), QueueError>;

    /// Puts what is kept as unreadable back among the dead, to be read once more: by a newer version, it may be.
    /// Answers how many. May be done by several processes at once.
    ///
    /// # Errors
    /// When the engine does not answer; what was not moved by then stays kept.
    async fn review(&self) -> Result<u64, QueueError>;
}

#[async_trait]
pub trait StraySource: Send {
    /// Waits through broken connections; safe to cancel.
    ///
    /// # Errors
    /// [`QueueError::Closed`] after the queue was closed.
    async fn next(&mut self) -> Result<Lease<Stray>, QueueError>;
}
