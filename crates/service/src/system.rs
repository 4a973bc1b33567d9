//! The clock and the chance of the machine we run on: the one place that asks the operating system for either.

use std::cell::RefCell;
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

/// The operating system's random numbers. Short draws (ids, jitter; three to a delivery) share a system call.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemEntropy;

impl Entropy for SystemEntropy {
    fn fill(&self, bytes: &mut [u8]) {
        if bytes.len() > SHORT {
            return ask_kernel(bytes);
        }
        POOL.with_borrow_mut(|pool| pool.fill(bytes));
    }
}

/// Longest draw from the pool: an id. Keys and secrets are longer, and never lie in it.
const SHORT: usize = 16;
/// The kernel hands out so much in one call without being interrupted.
const POOL_BYTES: usize = 256;

thread_local! {
    static POOL: RefCell<Pool> = const { RefCell::new(Pool { bytes: [0; POOL_BYTES], left: 0 }) };
}

/// Random bytes of one thread that nobody has had yet: the first `left` ones.
struct Pool {
    bytes: [u8; POOL_BYTES],
    left: usize,
}

impl Pool {
    fn fill(&mut self, bytes: &mut [u8]) {
        if self.left < bytes.len() {
            ask_kernel(&mut self.bytes);
            self.left = POOL_BYTES;
        }
        self.left -= bytes.len();
        let drawn = &mut self.bytes[self.left..][..bytes.len()];
        bytes.copy_from_slice(drawn);
        // What was given away once must not be found here again.
        drawn.fill(0);
    }
}

#[expect(clippy::disallowed_methods, reason = "this is the entropy that is passed in everywhere else")]
fn ask_kernel(bytes: &mut [u8]) {
    getrandom::fill(bytes).expect(
        "the kernel's random numbers cannot fail once seeded, and without them no secret may be made at all",
    );
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
    fn no_two_ids_are_alike_however_many_are_drawn() {
        let draw = |_| {
            let mut id = [0_u8; SHORT];
            SystemEntropy.fill(&mut id);
            id
        };
        let (ours, theirs) = std::thread::scope(|scope| {
            let theirs = scope.spawn(|| (0..1_000).map(draw).collect::<Vec<_>>());
            ((0..1_000).map(draw).collect::<Vec<_>>(), theirs.join().expect("no panic"))
        });
        let different: std::collections::HashSet<[u8; SHORT]> = ours.into_iter().chain(theirs).collect();
        assert_eq!(different.len(), 2_000);
        assert!(!different.contains(&[0; SHORT]));
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
