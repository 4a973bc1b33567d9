//! The clock and the chance of the machine we run on: the one place that asks the operating system for either.

use std::time::{SystemTime, UNIX_EPOCH};

use postrider_contract::clock::{Clock, Entropy, Timestamp};

/// The wall clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the clock that is passed in everywhere else")]
    fn now(&self) -> Timestamp {
        let millis = match SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(since) => i64::try_from(since.as_millis()).unwrap_or(i64::MAX),
            Err(before) => -i64::try_from(before.duration().as_millis()).unwrap_or(i64::MAX),
        };
        Timestamp::from_millis(millis)
    }
}

/// The operating system's random numbers.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemEntropy;

impl Entropy for SystemEntropy {
    #[expect(clippy::disallowed_methods, reason = "this is the entropy that is passed in everywhere else")]
    fn fill(&self, bytes: &mut [u8]) {
        getrandom::fill(bytes).expect(
            "the kernel's random numbers cannot fail once seeded, and without them no secret may be made at all",
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_reads_a_time_of_this_century() {
        let start: Timestamp = "2020-01-01T00:00:00Z".parse().expect("a time");
        assert!(SystemClock.now() > start);
    }

    #[test]
    fn two_draws_differ() {
        let (mut first, mut second) = ([0_u8; 32], [0_u8; 32]);
        SystemEntropy.fill(&mut first);
        SystemEntropy.fill(&mut second);
        assert_ne!(first, second);
        assert!((0.0..1.0).contains(&SystemEntropy.draw_jitter().draw()));
    }
}
