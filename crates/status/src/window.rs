//! How many deliveries of one webhook may be released and not yet tried: the window, and the token bucket of a
//! webhook with a rate.

use std::num::NonZeroU32;
use std::time::Duration;

use crate::tries::Seen;

/// Where a webhook begins: enough to find out how it does.
const START: u32 = 32;
/// While it is slow.
const SLOW_AT_MOST: u32 = 4;
/// More than this in the queue for one webhook helps nobody.
const CAP: u32 = 2_048;

/// Grows as tries conclude promptly, shrinks to 1–4 while they are slow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Window {
    size: u32,
    is_slow: bool,
}

impl Window {
    pub(crate) fn new() -> Self {
        Window { size: START, is_slow: false }
    }

    pub(crate) fn note(&mut self, seen: Seen) {
        if seen.slow > seen.prompt {
            self.size = (self.size / 2).clamp(1, SLOW_AT_MOST);
            self.is_slow = true;
        } else if seen.prompt > 0 {
            // Each prompt try makes room for one more: it doubles with every full window.
            self.size =
                self.size.saturating_add(seen.prompt).clamp(if self.is_slow { 1 } else { START }, CAP);
            self.is_slow = false;
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
        window.note(Seen { prompt: START, slow: 0 });
        assert_eq!(window.size(), 2 * START);
        window.note(Seen { prompt: 0, slow: 1 });
        assert_eq!(window.size(), SLOW_AT_MOST);
        window.note(Seen { prompt: 0, slow: 4 });
        window.note(Seen { prompt: 0, slow: 4 });
        assert_eq!(window.size(), 1);
        window.note(Seen { prompt: 2, slow: 0 });
        assert_eq!(window.size(), 3);
        window.note(Seen { prompt: u32::MAX, slow: 0 });
        assert_eq!(window.size(), CAP);
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
