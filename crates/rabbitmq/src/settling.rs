//! How far the journal is known to be read.
//!
//! AMQP tells how many messages of a queue are ready, but not how old they are, and not which ones other
//! processes have in hand. So this is a lower bound, made of what this process knows:
//! - batches that it holds itself are certainly not settled;
//! - while messages are ready, nothing newer than the last time the queue was seen empty is settled, nor
//!   anything newer than the newest batch taken (the queue keeps its order), nor a batch that this process
//!   appended and has not seen read;
//! - while others consume too, they may hold batches as old as a hand-over takes: [`MARGIN`].
//!
//! The bound errs towards "not settled yet". It can err the other way only if another process keeps a batch in
//! hand for longer than the margin while the queue is otherwise empty; the batch is then written late, and
//! until it is, its deliveries look younger in the log than they are.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use postrider_contract::clock::Timestamp;
use postrider_contract::ports::{LeaseTicket, Settlement};

/// How long a batch may be on its way: put together by its writer, confirmed, in another reader's hands.
const MARGIN: Duration = Duration::from_secs(5);

#[derive(Default)]
struct Known {
    /// `written_at` of the batches in hand here, with how many there are of each.
    in_hand: BTreeMap<Timestamp, u32>,
    /// The oldest batch that this process appended or gave back since the queue was last seen empty.
    oldest_waiting: Option<Timestamp>,
    newest_taken: Option<Timestamp>,
    last_empty: Option<Timestamp>,
    /// Appends that were begun and not answered: the queue is not called empty meanwhile.
    appends_under_way: u32,
}

#[derive(Clone, Default)]
pub(crate) struct Settling(Arc<Mutex<Known>>);

/// What the broker says about the journal queue.
#[derive(Clone, Copy, Debug)]
pub(crate) struct JournalQueue {
    pub ready: u32,
    pub consumers: u32,
}

impl Settling {
    pub fn append_begins(&self, written_at: Timestamp) {
        let mut known = self.lock();
        known.appends_under_way += 1;
        known.note_waiting(written_at);
    }

    pub fn append_ended(&self) {
        self.lock().appends_under_way -= 1;
    }

    /// A batch was taken; the ticket that is returned keeps count until it is settled.
    pub fn taken(&self, written_at: Timestamp, ticket: LeaseTicket) -> LeaseTicket {
        let mut known = self.lock();
        *known.in_hand.entry(written_at).or_default() += 1;
        known.newest_taken = known.newest_taken.max(Some(written_at));
        LeaseTicket::new(Box::new(BatchSettlement { settling: self.clone(), written_at, ticket }))
    }

    /// The bound, given what the broker says and how many consumers of the queue are ours.
    pub fn bound(&self, now: Timestamp, queue: JournalQueue, own_consumers: u32) -> Timestamp {
        let mut known = self.lock();
        let in_hand = known.in_hand.keys().next().copied();
        if queue.ready == 0 && in_hand.is_none() && known.appends_under_way == 0 {
            known.last_empty = Some(now);
            known.oldest_waiting = None;
            return if queue.consumers > own_consumers { now.minus(MARGIN) } else { now };
        }
        let waiting = if queue.ready > 0 { known.waiting_since() } else { now };
        [Some(now), Some(waiting), in_hand, known.oldest_waiting].into_iter().flatten().min().unwrap_or(now)
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn note_waiting(&mut self, written_at: Timestamp) {
        self.oldest_waiting = Some(self.oldest_waiting.map_or(written_at, |oldest| oldest.min(written_at)));
    }

    /// No ready message was written before this. A process that has seen neither an empty queue nor a batch
    /// knows nothing.
    fn waiting_since(&self) -> Timestamp {
        self.last_empty.max(self.newest_taken).map_or(Timestamp::EPOCH, |since| since.minus(MARGIN))
    }
}

struct BatchSettlement {
    settling: Settling,
    written_at: Timestamp,
    ticket: LeaseTicket,
}

impl BatchSettlement {
    fn leave_hand(&self) {
        let mut known = self.settling.lock();
        if let Some(count) = known.in_hand.get_mut(&self.written_at) {
            *count -= 1;
            if *count == 0 {
                known.in_hand.remove(&self.written_at);
            }
        }
    }
}

impl Settlement for BatchSettlement {
    fn acknowledge(self: Box<Self>) {
        self.leave_hand();
        self.ticket.acknowledge();
    }

    fn give_back(self: Box<Self>) {
        self.settling.lock().note_waiting(self.written_at);
        self.leave_hand();
        self.ticket.give_back();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: JournalQueue = JournalQueue { ready: 0, consumers: 1 };
    const BUSY: JournalQueue = JournalQueue { ready: 3, consumers: 1 };

    struct Ignore;

    impl Settlement for Ignore {
        fn acknowledge(self: Box<Self>) {}
        fn give_back(self: Box<Self>) {}
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_millis(second * 1000)
    }

    fn ticket() -> LeaseTicket {
        LeaseTicket::new(Box::new(Ignore))
    }

    #[test]
    fn an_empty_queue_of_our_own_is_settled_until_now() {
        let settling = Settling::default();
        assert_eq!(settling.bound(at(100), EMPTY, 1), at(100));
        assert_eq!(settling.bound(at(100), JournalQueue { ready: 0, consumers: 2 }, 1), at(95));
    }

    #[test]
    fn a_batch_in_hand_is_not_settled_until_it_is_acknowledged() {
        let settling = Settling::default();
        let held = settling.taken(at(50), ticket());
        assert_eq!(settling.bound(at(100), EMPTY, 1), at(50));
        held.acknowledge();
        assert_eq!(settling.bound(at(100), EMPTY, 1), at(100));
    }

    #[test]
    fn a_batch_that_was_given_back_is_not_settled() {
        let settling = Settling::default();
        drop(settling.taken(at(50), ticket()));
        assert_eq!(settling.bound(at(100), BUSY, 1), at(45));
        assert_eq!(settling.bound(at(100), EMPTY, 1), at(100));
    }

    #[test]
    fn what_this_process_appended_and_nobody_has_read_is_not_settled() {
        let settling = Settling::default();
        assert_eq!(settling.bound(at(100), EMPTY, 1), at(100));
        settling.append_begins(at(60));
        assert_eq!(settling.bound(at(101), EMPTY, 1), at(60));
        settling.append_ended();
        assert_eq!(settling.bound(at(101), BUSY, 1), at(60));
    }

    #[test]
    fn a_process_that_knows_nothing_claims_nothing() {
        assert_eq!(Settling::default().bound(at(100), BUSY, 0), Timestamp::EPOCH);
    }
}
