//! How much a round releases: less while first tries begin later for it.
//!
//! Slots keep first tries and releases apart in a worker, but the broker, the disk and the processors serve both, and
//! nothing tells how much they can take. What others feel shows in how long their first tries have waited, so a round
//! grows while that is about as it was at the best of the last minute, and shrinks while it is clearly more.

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
/// With fewer first tries than [`ENOUGH`] in this time there is hardly anybody to yield to.
const NOBODY_AFTER: Duration = Duration::from_secs(1);
/// How long the best is remembered: twice this at most. Load changes, and clocks of two machines drift.
const REMEMBERED: Duration = Duration::from_secs(30);
/// Waits are known in whole milliseconds: less than this beyond a tenth is no difference.
const INDIFFERENT: f64 = 0.2;
/// The best of a hundred means is that many standard errors below what is ordinary.
const BY_CHANCE: f64 = 3.5;

#[derive(Debug)]
pub(super) struct Yielding {
    most: u32,
    /// Of first tries that were noted since then.
    waits: Vec<Duration>,
    since: Instant,
    has_released: bool,
    /// The shortest of this half minute, and of the one before.
    best: [Option<Wait>; 2],
    best_since: Instant,
}

/// How long first tries waited, in milliseconds.
#[derive(Clone, Copy, Debug)]
struct Wait {
    mean: f64,
    standard_error: f64,
}

impl Yielding {
    pub(super) fn new(now: Instant) -> Self {
        Yielding {
            most: PER_ROUND,
            waits: Vec::new(),
            since: now,
            has_released: false,
            best: [None; 2],
            best_since: now,
        }
    }

    /// Learns how long first tries waited that were noted since the last round; answers how many may be released now.
    pub(super) fn most(&mut self, waits: Vec<Duration>, now: Instant) -> u32 {
        self.waits.extend(waits);
        if self.waits.len() >= ENOUGH {
            self.judge(now);
        } else if now - self.since > NOBODY_AFTER {
            self.waits.clear();
            self.begin_anew(now);
            self.grow();
        }
        self.most
    }

    pub(super) fn note_released(&mut self) {
        self.has_released = true;
    }

    /// How many are published at once, and how long after one burst the next one begins.
    pub(super) fn bursts(&self) -> (usize, Duration) {
        if self.most == PER_ROUND {
            return (BURST, Duration::ZERO);
        }
        (SMALL_BURST as usize, BUSY_ROUND * SMALL_BURST / self.most)
    }

    fn judge(&mut self, now: Instant) {
        if now - self.best_since > REMEMBERED {
            self.best = [None, self.best[0]];
            self.best_since = now;
        }
        let wait = Wait::of(std::mem::take(&mut self.waits));
        let shorter = |one: Wait, other: Wait| if other.mean < one.mean { other } else { one };
        let best = self.best.into_iter().flatten().reduce(shorter);
        self.best[0] = Some(self.best[0].map_or(wait, |best| shorter(best, wait)));
        // What was not released held nobody up.
        if self.begin_anew(now) && best.is_some_and(|best| wait.is_clearly_longer(best)) {
            self.most = (self.most * 3 / 4).max(LEAST);
        } else {
            self.grow();
        }
    }

    /// Answers whether anything was released in the time that ends.
    fn begin_anew(&mut self, now: Instant) -> bool {
        self.since = now;
        std::mem::take(&mut self.has_released)
    }

    fn grow(&mut self) {
        self.most = (self.most + self.most / 8 + 1).min(PER_ROUND);
    }
}

impl Wait {
    /// Without the longest tenth: those waited for their own webhook, or for a connection.
    fn of(mut waits: Vec<Duration>) -> Self {
        waits.sort_unstable();
        waits.truncate(waits.len() - waits.len() / 10);
        let count = f64::from(u32::try_from(waits.len()).unwrap_or(u32::MAX).max(1));
        let millis = || waits.iter().map(|wait| wait.as_secs_f64() * 1_000.0);
        let mean = millis().sum::<f64>() / count;
        let variance = millis().map(|wait| (wait - mean).powi(2)).sum::<f64>() / count;
        Wait { mean, standard_error: (variance / count).sqrt() }
    }

    fn is_clearly_longer(self, best: Wait) -> bool {
        self.mean > best.mean * 1.1 + INDIFFERENT + BY_CHANCE * self.standard_error
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// First tries at 256 a second that wait so long at the least and on average, by chance, as a queue's customers do.
    struct Site {
        yielding: Yielding,
        now: Instant,
        chance: u64,
        releases: bool,
    }

    impl Site {
        fn new() -> Self {
            let now = Instant::now();
            Site { yielding: Yielding::new(now), now, chance: 1, releases: true }
        }

        /// Between 0 and 1, the same in every run.
        fn draw(&mut self) -> f64 {
            self.chance = self.chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            f64::from(u32::try_from(self.chance >> 33).expect("31 bits") + 1) / f64::from(1_u32 << 31)
        }

        fn wait(&mut self, least: f64, average: f64) -> Duration {
            let millis = least - (average - least) * self.draw().ln();
            // As timestamps tell it.
            Duration::from_secs_f64(millis.floor() / 1_000.0)
        }

        /// How large each round was, at four a second.
        fn rounds(&mut self, least: f64, average: f64, count: usize) -> Vec<u32> {
            let mut sizes = Vec::new();
            for _ in 0..count {
                if self.releases {
                    self.yielding.note_released();
                }
                self.now += Duration::from_millis(250);
                let waits = (0..ENOUGH).map(|_| self.wait(least, average)).collect();
                sizes.push(self.yielding.most(waits, self.now));
            }
            sizes
        }
    }

    fn whole(sizes: &[u32]) -> usize {
        sizes.iter().filter(|size| **size == PER_ROUND).count()
    }

    #[test]
    fn rounds_stay_whole_while_first_tries_wait_as_ever_however_much_that_varies() {
        for (least, average) in [(0.5, 1.0), (1.0, 3.0), (2.0, 5.0), (3.0, 8.0)] {
            let sizes = Site::new().rounds(least, average, 2_000);
            let mean = sizes.iter().sum::<u32>() / 2_000;
            assert!(mean > PER_ROUND * 9 / 10, "{mean} around {average} ms");
        }
    }

    #[test]
    fn rounds_shrink_while_first_tries_are_held_up_and_grow_again_when_they_are_not() {
        let mut site = Site::new();
        site.rounds(0.5, 1.5, 20);
        let held_up = site.rounds(2.0, 4.0, 4)[3];
        assert!(held_up < PER_ROUND / 2, "{held_up}");
        let (size, gap) = site.yielding.bursts();
        let bursts = u32::try_from(size).map(|size| held_up.div_ceil(size)).expect("a small number");
        assert!(size < BURST && gap * bursts >= BUSY_ROUND, "{bursts} bursts of {size}, {gap:?} apart");
        assert_eq!(site.rounds(2.0, 4.0, 20).last(), Some(&LEAST), "never nothing");
        assert!(whole(&site.rounds(0.5, 1.5, 60)) > 20);
    }

    #[test]
    fn what_stays_slower_for_a_minute_is_ordinary_then() {
        let mut site = Site::new();
        site.rounds(0.5, 1.5, 20);
        assert_eq!(site.rounds(10.0, 20.0, 40).last(), Some(&LEAST));
        assert!(whole(&site.rounds(10.0, 20.0, 4 * 90)) > 50);
    }

    #[test]
    fn what_is_slow_while_nothing_is_released_is_not_its_fault() {
        let mut site = Site::new();
        site.rounds(0.5, 1.5, 20);
        site.releases = false;
        assert_eq!(whole(&site.rounds(10.0, 20.0, 20)), 20);
    }

    #[test]
    fn a_few_first_tries_a_second_are_hardly_anybody_to_yield_to() {
        let mut site = Site::new();
        site.rounds(0.5, 1.5, 20);
        site.rounds(10.0, 20.0, 20);
        let mut most = 0;
        for _ in 0..600 {
            site.now += BUSY_ROUND;
            let wait = site.wait(10.0, 20.0);
            site.yielding.note_released();
            most = site.yielding.most(vec![wait], site.now);
        }
        assert_eq!(most, PER_ROUND);
    }
}
