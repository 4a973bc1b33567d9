//! Leases: a message in hand, not yet given back. Settled by value, so settling twice does not compile.

use std::fmt;

/// How an adapter takes a settlement. None of these may block: they queue the request and return.
/// If a settlement is lost (the connection broke), the message comes again: duplicates, never loss.
pub trait Settlement: Send {
    /// The message is done with; its successors are confirmed.
    fn acknowledge(self: Box<Self>);
    /// Not done: it becomes available again, marked as redelivered.
    fn give_back(self: Box<Self>);
}

/// The right to settle one message. Dropped without a word, it gives the message back.
pub struct LeaseTicket {
    settlement: Option<Box<dyn Settlement>>,
}

impl LeaseTicket {
    #[must_use]
    pub fn new(settlement: Box<dyn Settlement>) -> Self {
        LeaseTicket { settlement: Some(settlement) }
    }

    pub fn acknowledge(mut self) {
        if let Some(settlement) = self.settlement.take() {
            settlement.acknowledge();
        }
    }

    pub fn give_back(self) {
        drop(self);
    }
}

impl Drop for LeaseTicket {
    fn drop(&mut self) {
        if let Some(settlement) = self.settlement.take() {
            settlement.give_back();
        }
    }
}

impl fmt::Debug for LeaseTicket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LeaseTicket")
    }
}

/// A message in hand.
#[derive(Debug)]
pub struct Lease<T> {
    pub message: T,
    /// It may have been in other hands before. `false` is a promise, `true` is not.
    pub redelivered: bool,
    pub ticket: LeaseTicket,
}
