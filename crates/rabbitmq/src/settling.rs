//! How far the journal is known to be read.
//!
//! AMQP tells how many messages of a queue are ready, but not how old they are, and not which ones other processes have
//! in hand. So this is a lower bound, made of what this process knows:
//! - what it has in hand, or is appending, is certainly not settled; nor is what it let go of and has not seen again, as
//!   long as that may be on its way to a reader ([`LetGo`]);
//! - the queue keeps its order, so what is ready is newer than the newest batch taken here, and than the last time the
//!   queue was seen empty ([`Reached`]);
//! - other readers may hold what was handed to them within [`MARGIN`]: that is newer than what had been reached before.
//!
//! Each of these moves on with the batches that are read, so none waits for the queue to be seen empty, which under
//! constant load it never is. A process that has just started knows nothing, and claims nothing until it has taken a
//! batch or seen the queue empty.
//!
//! The bound errs towards "not settled yet". It can err the other way only if another process keeps a batch in hand for
//! longer than the margin, or takes the last of a backlog that this process, which asks rarely, did not see. The batch is
//! then written late, and until it is, its deliveries look younger in the log than they are.

mod let_go;
mod reached;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use postrider_contract::clock::{Clock, Timestamp};
use postrider_contract::ports::{LeaseTicket, Settlement};

use let_go::LetGo;
use reached::Reached;

/// How long a batch may be on its way: put together by its writer, confirmed, in another reader's hands.
const MARGIN: Duration = Duration::from_secs(5);

#[derive(Default)]
struct Known {
    in_hand: Batches,
    appending: Batches,
    /// Of these, what was taken before its confirm came.
    overtaken: Batches,
    let_go: LetGo,
    reached: Reached,
    /// When messages were last seen ready, or may have been.
    last_behind: Option<Timestamp>,
    /// When others were last seen to consume too.
    last_shared: Option<Timestamp>,
}

/// Batches by when they were written, with how many there are of each moment.
#[derive(Default)]
struct Batches(BTreeMap<Timestamp, u32>);

impl Batches {
    fn add(&mut self, written_at: Timestamp) {
        *self.0.entry(written_at).or_default() += 1;
    }

    /// `false` if there was none.
    fn remove(&mut self, written_at: Timestamp) -> bool {
        let Some(count) = self.0.get_mut(&written_at) else { return false };
        *count -= 1;
        if *count == 0 {
            self.0.remove(&written_at);
        }
        true
    }

    fn count(&self, written_at: Timestamp) -> u32 {
        self.0.get(&written_at).copied().unwrap_or_default()
    }

    fn oldest(&self) -> Option<Timestamp> {
        self.0.keys().next().copied()
    }
}

#[derive(Clone)]
pub(crate) struct Settling {
    known: Arc<Mutex<Known>>,
    clock: Arc<dyn Clock>,
}

/// What the broker says about the journal queue.
#[derive(Clone, Copy, Debug)]
pub(crate) struct JournalQueue {
    pub ready: u32,
    pub consumers: u32,
}

/// What is known of an append that has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Appended {
    /// Confirmed, or in doubt.
    Perhaps,
    /// Refused.
    No,
}

impl Settling {
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        // There may have been a backlog until just now, for all that it knows.
        let known = Known { last_behind: Some(clock.now()), ..Known::default() };
        Settling { known: Arc::new(Mutex::new(known)), clock }
    }

    pub fn append_begins(&self, written_at: Timestamp) {
        self.lock().appending.add(written_at);
    }

    pub fn append_ended(&self, written_at: Timestamp, appended: Appended) {
        let time = self.clock.now();
        let mut known = self.lock();
        known.appending.remove(written_at);
        let was_overtaken = known.overtaken.remove(written_at);
        match appended {
            Appended::Perhaps if !was_overtaken => known.let_go.appended(written_at, time),
            Appended::Perhaps | Appended::No => {}
        }
    }

    /// A batch was taken; the ticket that is returned keeps count until it is settled.
    pub fn taken(&self, written_at: Timestamp, ticket: LeaseTicket) -> LeaseTicket {
        let time = self.clock.now();
        let mut known = self.lock();
        known.in_hand.add(written_at);
        if known.overtaken.count(written_at) < known.appending.count(written_at) {
            known.overtaken.add(written_at);
        } else {
            known.let_go.seen(written_at, time);
        }
        known.reached.note(time, written_at);
        LeaseTicket::new(Box::new(BatchSettlement { settling: self.clone(), written_at, ticket }))
    }

    /// The bound, given what the broker says and how many consumers of the queue are ours.
    pub fn bound(&self, now: Timestamp, queue: JournalQueue, own_consumers: u32) -> Timestamp {
        let time = self.clock.now();
        let mut known = self.lock();
        known.look(time.min(now), queue, own_consumers);
        known.let_go.forget_passed(time);
        let others = known.of_others(now, time, queue);
        let own = [known.in_hand.oldest(), known.appending.oldest(), known.let_go.oldest()];
        own.into_iter().flatten().fold(now.min(others), Timestamp::min)
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn look(&mut self, time: Timestamp, queue: JournalQueue, own_consumers: u32) {
        if queue.ready > 0 {
            self.last_behind = Some(time);
        } else {
            self.let_go.all_handed_out(time);
            self.reached.note(time, time);
        }
        if queue.consumers > own_consumers {
            self.last_shared = Some(time);
        }
    }

    /// No batch that is ready, or in the hands of others, was written before this.
    fn of_others(&self, now: Timestamp, time: Timestamp, queue: JournalQueue) -> Timestamp {
        let is_recent = |seen: Option<Timestamp>| seen.is_some_and(|seen| time.since(seen) < MARGIN);
        let claimed = |reached: Option<Timestamp>| reached.map_or(Timestamp::EPOCH, |at| at.minus(MARGIN));
        match (is_recent(self.last_shared), queue.ready > 0) {
            (false, false) => now,
            (false, true) => claimed(self.reached.by_now()),
            // The others keep up: what they hold was written as long ago as they may hold it.
            (true, false) if !is_recent(self.last_behind) => now.minus(MARGIN),
            // They work on a backlog: what they hold is as old as what was read then.
            (true, _) => claimed(self.reached.before(time.minus(MARGIN))),
        }
    }
}

struct BatchSettlement {
    settling: Settling,
    written_at: Timestamp,
    ticket: LeaseTicket,
}

impl Settlement for BatchSettlement {
    fn acknowledge(self: Box<Self>) {
        self.settling.lock().in_hand.remove(self.written_at);
        self.ticket.acknowledge();
    }

    fn give_back(self: Box<Self>) {
        let time = self.settling.clock.now();
        let mut known = self.settling.lock();
        known.in_hand.remove(self.written_at);
        known.let_go.given_back(self.written_at, time);
        drop(known);
        self.ticket.give_back();
    }
}

#[cfg(test)]
mod tests;
