//! Circuit breakers before the queue: where it refused something, or did not answer, events are turned away before
//! anything of them is published, but for one every [`PAUSE`], which shows whether it is back.
//!
//! An event that was refused half-way is in doubt: its producer has to send it again, and what the queue took of it comes
//! twice, or is healed. One that was turned away has left no trace.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use postrider_contract::clock::Timestamp;

/// Long enough that few are in doubt, short enough that nobody notices when the queue is back.
pub(crate) const PAUSE: Duration = Duration::from_millis(100);

/// One each for what is refused apart from the other.
#[derive(Debug, Default)]
pub(crate) struct Breakers {
    pub journal: Breaker,
    /// Of first tries as nearly all are; what is large has queues of its own, and heeds none of this.
    pub work: Breaker,
}

#[derive(Debug, Default)]
pub(crate) struct Breaker {
    /// For all to see at once whether there is anything to look at.
    is_tripped: AtomicBool,
    seen: Mutex<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    /// When what failed last was begun, or what was let through since.
    tried_at: Option<Timestamp>,
    /// When what was taken last was begun.
    taken_at: Option<Timestamp>,
}

impl Breaker {
    /// Whether nothing is let through now.
    pub fn is_shut(&self, now: Timestamp) -> bool {
        self.is_tripped.load(Ordering::Relaxed) && self.seen().is_too_early(now)
    }

    /// Whether an event may be tried. Asked right before: who is let through while it is tripped is the only one for a
    /// while.
    pub fn lets_through(&self, now: Timestamp) -> bool {
        if !self.is_tripped.load(Ordering::Relaxed) {
            return true;
        }
        let mut seen = self.seen();
        let is_let_through = !seen.is_too_early(now);
        if is_let_through && seen.tried_at.is_some() {
            seen.tried_at = Some(now);
        }
        is_let_through
    }

    /// What came, just now, of something that was begun then.
    pub fn note(&self, is_taken: bool, begun_at: Timestamp, now: Timestamp) {
        if is_taken && !self.is_tripped.load(Ordering::Relaxed) {
            return;
        }
        let mut seen = self.seen();
        if is_taken {
            *seen = Seen { tried_at: None, taken_at: Some(begun_at) };
        } else if seen.taken_at.is_none_or(|taken_at| taken_at <= begun_at || now < taken_at) {
            // What failed after seconds without an answer says nothing of what was tried meanwhile; a success of the
            // future is one of before the clock was set back.
            seen.tried_at = seen.tried_at.max(Some(begun_at));
        }
        self.is_tripped.store(seen.tried_at.is_some(), Ordering::Relaxed);
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seen {
    fn is_too_early(&self, now: Timestamp) -> bool {
        // A clock that was set back would keep everybody out until it has caught up.
        self.tried_at.is_some_and(|tried_at| (tried_at..tried_at.plus(PAUSE)).contains(&now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(1_000_000 + millis)
    }

    #[test]
    fn after_a_refusal_one_is_let_through_at_a_time_and_after_a_success_everybody() {
        let breaker = Breaker::default();
        assert!(breaker.lets_through(at(0)) && breaker.lets_through(at(0)));
        breaker.note(false, at(0), at(0));
        assert!(breaker.is_shut(at(99)) && !breaker.lets_through(at(99)));
        assert!(
            !breaker.is_shut(at(100)) && breaker.lets_through(at(100)),
            "to see whether the queue is back"
        );
        assert!(!breaker.lets_through(at(150)), "while that is under way");
        assert!(breaker.lets_through(at(200)), "it may never be answered");
        breaker.note(true, at(100), at(100));
        assert!(breaker.lets_through(at(201)) && breaker.lets_through(at(201)));
    }

    #[test]
    fn what_was_begun_before_the_last_success_and_fails_late_trips_nothing() {
        let breaker = Breaker::default();
        breaker.note(false, at(0), at(0));
        breaker.note(true, at(100), at(100));
        breaker.note(false, at(50), at(5_000));
        assert!(breaker.lets_through(at(101)) && breaker.lets_through(at(101)));
        breaker.note(false, at(100), at(100));
        assert!(!breaker.lets_through(at(101)));
    }

    #[test]
    fn a_clock_that_is_set_back_keeps_nobody_out() {
        let breaker = Breaker::default();
        breaker.note(false, at(0), at(0));
        assert!(breaker.lets_through(at(-1)));
    }

    #[test]
    fn a_clock_that_is_set_back_hides_no_refusal() {
        let breaker = Breaker::default();
        breaker.note(false, at(0), at(0));
        breaker.note(true, at(100), at(101));
        breaker.note(false, at(-5_000), at(-4_990));
        assert!(breaker.is_shut(at(-4_980)));
    }
}
