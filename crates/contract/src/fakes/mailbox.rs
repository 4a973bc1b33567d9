//! One queue of messages: what is ready, what is in hand and by whom.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;

/// `B` is what the queue carries.
#[derive(Clone, Debug)]
pub(super) struct Message<B = Bytes> {
    pub bytes: B,
    pub redelivered: bool,
}

#[derive(Debug)]
struct InHand<B> {
    source: u64,
    message: Message<B>,
}

/// Messages are numbered in the order they came; one that is given back keeps its number, and so its place.
#[derive(Debug)]
pub(super) struct Mailbox<B = Bytes> {
    next_number: u64,
    ready: BTreeMap<u64, Message<B>>,
    in_hand: HashMap<u64, InHand<B>>,
}

impl<B> Default for Mailbox<B> {
    fn default() -> Self {
        Mailbox { next_number: 0, ready: BTreeMap::new(), in_hand: HashMap::new() }
    }
}

impl<B: Clone> Mailbox<B> {
    pub(super) fn put(&mut self, bytes: B) {
        self.ready.insert(self.next_number, Message { bytes, redelivered: false });
        self.next_number += 1;
    }

    /// `None` if nothing is ready, or the source has as many in hand as it may.
    pub(super) fn take(&mut self, source: u64, prefetch: u16) -> Option<(u64, Message<B>)> {
        let has = self.in_hand.values().filter(|in_hand| in_hand.source == source).count();
        if has >= usize::from(prefetch) {
            return None;
        }
        let (number, message) = self.ready.pop_first()?;
        self.in_hand.insert(number, InHand { source, message: message.clone() });
        Some((number, message))
    }

    /// Nothing happens if `source` no longer has it in hand: the lease was lost.
    pub(super) fn acknowledge(&mut self, source: u64, number: u64) {
        if self.in_hand.get(&number).is_some_and(|in_hand| in_hand.source == source) {
            self.in_hand.remove(&number);
        }
    }

    /// As [`Mailbox::acknowledge`], but the message is ready again.
    pub(super) fn give_back(&mut self, source: u64, number: u64) {
        if self.in_hand.get(&number).is_some_and(|in_hand| in_hand.source == source)
            && let Some(InHand { message, .. }) = self.in_hand.remove(&number)
        {
            self.ready.insert(number, Message { redelivered: true, ..message });
        }
    }

    /// The first of those that came back, for good; they alone may have been given out too often.
    pub(super) fn remove_redelivered(&mut self) -> Option<B> {
        let number = self.ready.iter().find(|(_, message)| message.redelivered).map(|(number, _)| *number)?;
        self.ready.remove(&number).map(|message| message.bytes)
    }

    pub(super) fn lose_leases(&mut self) {
        for (number, InHand { message, .. }) in self.in_hand.drain() {
            self.ready.insert(number, Message { redelivered: true, ..message });
        }
    }

    pub(super) fn ready(&self) -> u64 {
        self.ready.len() as u64
    }

    /// All that is not acknowledged.
    pub(super) fn unacknowledged(&self) -> impl Iterator<Item = &Message<B>> {
        self.ready.values().chain(self.in_hand.values().map(|in_hand| &in_hand.message))
    }
}
