//! How much a round releases: less as soon as first tries begin later than they did without.
//!
//! Slots keep first tries and releases apart in a worker, but the broker, the disk and the processors serve both, and
//! nothing tells how much they can take. What others feel shows in how long their first tries have waited, so a round
//! grows while that is as it was at the best of the last minute, and shrinks while it is not.

use std::time::Duration;

use tokio::time::Instant;

use super::PER_ROUND;
use crate::duties::BUSY_ROUND;

/// Released in any case: with a round every 50 ms 320 a second, so that what waits gets less and never nothing.
const LEAST: u32 = 16;
/// What is published at once while there is nobody to yield to: others who come have their turn after it.
pub(super) const BURST: usize = 32;
/// And what is, spread over the time to the next round, while there is.
const SMALL_BURST: u32 = 8;
/// Fewer waits tell more of chance than of load.
const ENOUGH: usize = 64;
/// How long the best is remembered: twice this at most. Load changes, and clocks of two machines drift.
const REMEMBERED: Duration = Duration::from_secs(30);
/// Without a first try for so long there is nobody to yield to.
const NOBODY_AFTER: Duration = Duration::from_secs(1);
/// Waits are known in whole milliseconds: less than this beyond a tenth is no difference.
const INDIFFERENT: Duration = Duration::from_micros(200);

#[derive(Debug)]
pub(super) struct Yielding {
    most: u32,
    waits: Vec<Duration>,
    /// The shortest of this half minute, and of the one before.
    best: [Option<Duration>; 2],
    begun_at: Instant,
    heard_at: Instant,
}

impl Yielding {
    pub(super) fn new(now: Instant) -> Self {
        Yielding { most: PER_ROUND, waits: Vec::new(), best: [None; 2], begun_at: now, heard_at: now }
    }

    /// Learns how long first tries waited that began since the last round; answers how many may be released now.
    pub(super) fn most(&mut self, waits: Vec<Duration>, now: Instant) -> u32 {
        if !waits.is_empty() {
            self.heard_at = now;
            self.waits.extend(waits);
        }
        if self.waits.len() >= ENOUGH {
            self.judge(now);
        } else if now - self.heard_at > NOBODY_AFTER {
            self.waits.clear();
            self.grow();
        }
        self.most
    }

    /// How many are published at once, and how long to wait between two bursts.
    pub(super) fn bursts(&self) -> (usize, Duration) {
        if self.most == PER_ROUND {
            return (BURST, Duration::ZERO);
        }
        (SMALL_BURST as usize, BUSY_ROUND * SMALL_BURST / self.most)
    }

    fn judge(&mut self, now: Instant) {
        if now - self.begun_at > REMEMBERED {
            self.best = [None, self.best[0]];
            self.begun_at = now;
        }
        let wait = ordinary(std::mem::take(&mut self.waits));
        let best = self.best.into_iter().flatten().min().unwrap_or(wait);
        self.best[0] = Some(self.best[0].map_or(wait, |shortest| shortest.min(wait)));
        if wait > best + best / 10 + INDIFFERENT {
            self.most = (self.most * 3 / 4).max(LEAST);
        } else {
            self.grow();
        }
    }

    fn grow(&mut self) {
        self.most = (self.most + self.most / 8 + 1).min(PER_ROUND);
    }
}

/// The mean without the longest tenth: those waited for their own webhook, or for a connection.
fn ordinary(mut waits: Vec<Duration>) -> Duration {
    waits.sort_unstable();
    waits.truncate(waits.len() - waits.len() / 10);
    let count = u32::try_from(waits.len()).unwrap_or(u32::MAX).max(1);
    waits.iter().sum::<Duration>() / count
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// So many judgements of waits like these, a quarter of a second apart; answers the size of a round after them.
    fn after(yielding: &mut Yielding, waits: [Duration; 2], judgements: u32, now: &mut Instant) -> u32 {
        let mut most = 0;
        for _ in 0..judgements {
            *now += 250 * MS;
            most = yielding.most(waits.repeat(ENOUGH / 2), *now);
        }
        most
    }

    #[test]
    fn rounds_are_whole_while_first_tries_begin_as_early_as_ever() {
        let mut now = Instant::now();
        let mut yielding = Yielding::new(now);
        assert_eq!(after(&mut yielding, [2 * MS, 3 * MS], 100, &mut now), PER_ROUND);
    }

    #[test]
    fn rounds_shrink_while_first_tries_are_held_up_and_grow_again_when_they_are_not() {
        let mut now = Instant::now();
        let mut yielding = Yielding::new(now);
        after(&mut yielding, [2 * MS, 3 * MS], 1, &mut now);
        let held_up = after(&mut yielding, [3 * MS, 4 * MS], 4, &mut now);
        assert!(held_up < PER_ROUND / 2, "{held_up}");
        let (size, gap) = yielding.bursts();
        let bursts = u32::try_from(size).map(|size| held_up.div_ceil(size)).expect("a small number");
        assert!(size < BURST && gap * bursts >= BUSY_ROUND, "{bursts} bursts of {size}, {gap:?} apart");
        assert_eq!(after(&mut yielding, [3 * MS, 4 * MS], 20, &mut now), LEAST, "never nothing");
        assert_eq!(after(&mut yielding, [2 * MS, 3 * MS], 60, &mut now), PER_ROUND);
    }

    #[test]
    fn what_stays_slower_for_a_minute_is_ordinary_then() {
        let mut now = Instant::now();
        let mut yielding = Yielding::new(now);
        after(&mut yielding, [2 * MS, 3 * MS], 1, &mut now);
        assert_eq!(after(&mut yielding, [20 * MS, 30 * MS], 40, &mut now), LEAST);
        assert_eq!(after(&mut yielding, [20 * MS, 30 * MS], 4 * 90, &mut now), PER_ROUND);
    }

    #[test]
    fn without_first_tries_there_is_nobody_to_yield_to() {
        let mut now = Instant::now();
        let mut yielding = Yielding::new(now);
        after(&mut yielding, [2 * MS, 3 * MS], 1, &mut now);
        after(&mut yielding, [9 * MS, 9 * MS], 20, &mut now);
        let mut most = 0;
        for _ in 0..200 {
            now += 50 * MS;
            most = yielding.most(Vec::new(), now);
        }
        assert_eq!(most, PER_ROUND);
    }

    #[test]
    fn a_few_first_tries_that_wait_for_their_own_webhook_change_nothing() {
        let mut now = Instant::now();
        let mut yielding = Yielding::new(now);
        let mut waits = vec![2 * MS; ENOUGH];
        for slow in [0, ENOUGH / 10] {
            waits[..slow].fill(500 * MS);
            now += 250 * MS;
            assert_eq!(yielding.most(waits.clone(), now), PER_ROUND);
        }
    }
}
