//! A circuit breaker before the queue: right after it refused something, events are turned away before anything of them
//! is published.
//!
//! An event that was refused half-way is in doubt: its producer has to send it again, and what the queue took of it comes
//! twice, or is healed. One that was turned away has left no trace. So while a queue has no leader, or is full, a few
//! events are tried every [`PAUSE`], and the others are spared.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use postrider_contract::clock::Timestamp;

/// Long enough that few are in doubt, short enough that nobody notices when the queue is back.
pub(crate) const PAUSE: Duration = Duration::from_millis(100);

#[derive(Debug, Default)]
pub(crate) struct Breaker {
    /// For all to see at once whether there is anything to look at.
    has_refused: AtomicBool,
    refused_at: Mutex<Option<Timestamp>>,
}

impl Breaker {
    /// Whether an event would probably be refused.
    pub fn is_open(&self, now: impl FnOnce() -> Timestamp) -> bool {
        if !self.has_refused.load(Ordering::Relaxed) {
            return false;
        }
        let Some(refused_at) = *self.refused_at() else { return false };
        // A clock that was set back would keep it open until it has caught up.
        (refused_at..refused_at.plus(PAUSE)).contains(&now())
    }

    /// What came of what was published.
    pub fn note(&self, is_taken: bool, now: impl FnOnce() -> Timestamp) {
        if is_taken && !self.has_refused.load(Ordering::Relaxed) {
            return;
        }
        let mut refused_at = self.refused_at();
        *refused_at = (!is_taken).then(now);
        self.has_refused.store(!is_taken, Ordering::Relaxed);
    }

    fn refused_at(&self) -> MutexGuard<'_, Option<Timestamp>> {
        self.refused_at.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_a_refusal_nothing_is_tried_for_a_moment_and_after_a_success_everything() {
        let (breaker, begun) = (Breaker::default(), Timestamp::from_millis(1_000));
        breaker.note(true, || begun);
        assert!(!breaker.is_open(|| begun));
        breaker.note(false, || begun);
        assert!(breaker.is_open(|| begun));
        assert!(!breaker.is_open(|| begun.minus(PAUSE)), "the clock was set back");
        assert!(!breaker.is_open(|| begun.plus(PAUSE)), "now it is seen whether the queue is back");
        breaker.note(false, || begun.plus(PAUSE));
        assert!(breaker.is_open(|| begun.plus(PAUSE)));
        breaker.note(true, || begun.plus(PAUSE));
        assert!(!breaker.is_open(|| begun.plus(PAUSE)));
    }
}
