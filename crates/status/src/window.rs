//! How many deliveries of one webhook may be released and not yet tried: the window, and the token bucket of a
//! webhook with a rate.

use std::num::NonZeroU32;
use std::time::Duration;

use crate::tries::Seen;

/// Where a webhook begins, and what it has at most while it is slow: of one that answers nothing, no more than this is
/// out before that is noticed, and one that is well has twice as much with every round.
const SLOW_AT_MOST: u32 = 4;
/// While another process alone has written down how its tries went.
const UNSEEN_AT_MOST: u32 = 64;
/// More than this in the queue for one webhook helps nobody.
const CAP: u32 = 2_048;

/// Grows as tries conclude promptly, shrinks to 1–4 while they are slow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Window {
    size: u32,
}

impl Window {
    pub(crate) fn new() -> Self {
        Window { size: SLOW_AT_MOST }
    }

    /// `seen` is what this process wrote down of the tries that ended, `quickly` and `slowly` how long all of them
    /// were out, whoever wrote them down.
    pub(crate) fn note(&mut self, seen: Seen, quickly: u32, slowly: u32) {
        let is_unseen = seen == Seen::default();
        if seen.slow + seen.timed_out > seen.prompt || is_unseen && slowly > quickly {
            let size = if seen.timed_out > seen.slow { self.size / 2 } else { self.size.saturating_add(1) };
            self.size = size.clamp(1, SLOW_AT_MOST);
        } else if is_unseen {
            self.size = self.size.max(self.size.saturating_add(quickly).min(UNSEEN_AT_MOST));
        } else {
            // Each prompt try makes room for one more: it doubles with every full window.
            let ended = seen.prompt.max(quickly);
            self.size = self.size.saturating_add(ended).min(CAP);
        }
    }

    pub(crate) fn size(self) -> u32 {
        self.size
    }
}

/// So many a second, at most one second's worth at once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Tokens {
    rate: NonZeroU32,
    thousandths: u64,
}

impl Tokens {
    /// From empty.
    pub(crate) const FULL_AFTER: Duration = Duration::from_secs(1);

    pub(crate) fn new(rate: NonZeroU32) -> Self {
        Tokens { rate, thousandths: 1_000 }
    }

    pub(crate) fn rate(&self) -> NonZeroU32 {
        self.rate
    }

    pub(crate) fn refill(&mut self, elapsed: Duration) {
        let rate = u64::from(self.rate.get());
        let millis = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
        self.thousandths = self.thousandths.saturating_add(millis.saturating_mul(rate)).min(rate * 1_000);
    }

    pub(crate) fn available(&self) -> u32 {
        u32::try_from(self.thousandths / 1_000).unwrap_or(u32::MAX)
    }

    pub(crate) fn spend(&mut self, count: u32) {
        self.thousandths = self.thousandths.saturating_sub(u64::from(count) * 1_000);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_grows_with_prompt_tries_and_shrinks_with_slow_ones() {
        let mut window = Window::new();
        let seen = |prompt, slow, timed_out| Seen { prompt, slow, timed_out };
        for (seen, size) in [
            (seen(4, 0, 0), 8),
            (seen(0, 1, 0), SLOW_AT_MOST),
            (seen(0, 0, 4), 2),
            (seen(0, 1, 4), 1),
            (seen(0, 0, 1), 1),
            (seen(0, 2, 1), 2),
            (seen(3, 1, 1), 5),
            (seen(u32::MAX, 0, 0), CAP),
            (seen(0, 0, 1), SLOW_AT_MOST),
        ] {
            window.note(seen, 0, 0);
            assert_eq!(window.size(), size, "after {seen:?}");
        }
    }

    #[test]
    fn tries_that_another_process_wrote_down_count() {
        let mut window = Window::new();
        window.note(Seen { prompt: 2, ..Seen::default() }, 4, 0);
        assert_eq!(window.size(), 8, "those that were seen are a sample of those that ended");
        window.note(Seen::default(), 8, 0);
        assert_eq!(window.size(), 16, "of none of them is it known how it went, but all were back soon");
        window.note(Seen::default(), 1_000, 0);
        assert_eq!(window.size(), UNSEEN_AT_MOST);
        window.note(Seen { prompt: 10, slow: 1, timed_out: 0 }, 64, 10);
        assert_eq!(window.size(), 2 * UNSEEN_AT_MOST);
        window.note(Seen::default(), 64, 0);
        assert_eq!(window.size(), 2 * UNSEEN_AT_MOST);
        window.note(Seen::default(), 0, 1);
        assert_eq!(window.size(), SLOW_AT_MOST, "they were out for long");
    }

    #[test]
    fn tokens_come_at_their_rate_and_never_pile_up() {
        let mut tokens = Tokens::new(NonZeroU32::new(5).expect("not zero"));
        tokens.spend(tokens.available());
        tokens.refill(Duration::from_millis(400));
        assert_eq!(tokens.available(), 2);
        tokens.refill(Duration::from_secs(60));
        assert_eq!(tokens.available(), 5);
        tokens.spend(5);
        assert_eq!(tokens.available(), 0);
    }
}
