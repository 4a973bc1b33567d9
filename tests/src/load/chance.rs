//! Chance that can be had again: everything random in a fault test comes from one seed, which is printed.

use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, Result};
use postrider_contract::clock::Entropy;
use postrider_service::system::SystemEntropy;

/// Numbers that follow from a seed (SplitMix64).
#[derive(Debug)]
pub struct Chance {
    seed: u64,
    state: AtomicU64,
}

impl Chance {
    /// From `POSTRIDER_TEST_SEED` if it is set, so that a failed run can be repeated; otherwise drawn. Printed.
    pub fn draw(test: &str) -> Result<Self> {
        let seed = match variable("POSTRIDER_TEST_SEED") {
            Some(text) => text.parse().context("POSTRIDER_TEST_SEED is not a number")?,
            None => {
                let mut bytes = [0; 8];
                SystemEntropy.fill(&mut bytes);
                u64::from_le_bytes(bytes)
            }
        };
        println!("{test}: POSTRIDER_TEST_SEED={seed}");
        Ok(Self::of(seed))
    }

    /// From a seed that is known.
    #[must_use]
    pub fn of(seed: u64) -> Self {
        Self { seed, state: AtomicU64::new(seed) }
    }

    /// What all of it follows from.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// A number from `least` to `most`, both possible.
    pub fn between(&self, least: u64, most: u64) -> u64 {
        const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
        let mut number = self.state.fetch_add(STEP, Ordering::Relaxed).wrapping_add(STEP);
        number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        least + (number ^ (number >> 31)) % (most - least + 1)
    }
}

/// Whether the long variants were asked for.
pub fn is_long() -> bool {
    variable("POSTRIDER_TEST_LONG").is_some_and(|value| value == "1")
}

#[expect(clippy::disallowed_methods, reason = "how a tester asks for a seed and for long tests")]
fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_numbers_again_and_keeps_to_the_bounds() {
        let draw = |seed: u64| {
            let chance = Chance::of(seed);
            (0..100).map(|_| chance.between(3, 9)).collect::<Vec<_>>()
        };
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
        assert!(draw(7).iter().all(|number| (3..=9).contains(number)));
        assert!(draw(7).contains(&3) && draw(7).contains(&9));
    }
}
