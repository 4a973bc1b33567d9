//! Time and chance of a simulated process: tokio's paused clock, which jumps to the next timer when nothing else is
//! left to do, and numbers from the seed.

use postrider_contract::clock::{Clock, Entropy, Timestamp};
use tokio::time::Instant;

use crate::load::Chance;

const NOON: i64 = 1_795_262_400_000;

/// Wall clock and timers are one.
#[derive(Debug)]
pub(super) struct SimulatedClock(Instant);

impl SimulatedClock {
    /// It is noon. On a runtime whose time is paused.
    pub(super) fn start() -> Self {
        SimulatedClock(Instant::now())
    }
}

impl Clock for SimulatedClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(NOON).plus(self.0.elapsed())
    }
}

#[derive(Debug)]
pub(super) struct SimulatedEntropy(pub(super) Chance);

impl Entropy for SimulatedEntropy {
    fn fill(&self, bytes: &mut [u8]) {
        for part in bytes.chunks_mut(8) {
            let drawn = self.0.between(0, u64::MAX - 1).to_le_bytes();
            part.copy_from_slice(&drawn[..part.len()]);
        }
    }
}
