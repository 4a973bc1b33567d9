//! How much a round releases: less while first tries begin later for it.
//!
//! Slots keep first tries and releases apart in a worker, but the broker, the disk and the processors serve both, and
//! nothing tells how much they can take. What others feel shows in how long their first tries have waited. So from time
//! to time hardly anything is released for a moment, which shows how long they wait then; and a round grows while they
//! wait about as long with it, and shrinks while it is clearly longer.

use std::time::Duration;

use tokio::time::Instant;

use super::PER_ROUND;
use crate::duties::BUSY_ROUND;

/// Released in any case: with a round every 50 ms 320 a second, so that what waits gets less and never nothing.
const LEAST: u32 = 16;
/// Where a round begins once it is known how long first tries wait.
const START: u32 = 64;
/// What is published at once while there is nobody to yield to: others who come have their turn after it.
pub(super) const BURST: usize = 32;
/// And what is, spread over the time to the next round, while there is.
const SMALL_BURST: u32 = 8;
/// Fewer waits tell more of chance than of load.
const ENOUGH: usize = 64;
/// With fewer first tries than [`ENOUGH`] in this time there is hardly anybody to yield to.
pub(super) const NOBODY_AFTER: Duration = Duration::from_secs(1);
/// Load changes, and clocks of two machines drift; a moment of hardly any releases so often costs a fiftieth.
const LISTEN_EVERY: Duration = Duration::from_secs(20);
/// Waits are known in whole milliseconds: less than this beyond a tenth is no difference.
const INDIFFERENT: f64 = 0.2;
/// In standard errors of the difference; two are passed by chance once in forty times.
const BY_CHANCE: f64 = 2.5;

#[derive(Debug)]
pub(super) struct Yielding {
    most: u32,
    stage: Stage,
    /// Of first tries that were noted since then.
    waits: Vec<Duration>,
    since: Instant,
    has_released: bool,
    /// With hardly any releases.
    calm: Option<Wait>,
    listen_at: Instant,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Releasing,
    /// Hardly anything is released, but what is noted began before that.
    Quieting,
    /// What is noted now began with hardly any releases.
    Listening,
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
            most: START,
            stage: Stage::Quieting,
            waits: Vec::new(),
            since: now,
            has_released: false,
            calm: None,
            listen_at: now,
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
            self.stage = Stage::Releasing;
            self.most = (self.most * 2).min(PER_ROUND);
        }
        self.allowed()
    }

    pub(super) fn note_released(&mut self) {
        self.has_released = true;
    }

    /// How many are published at once, and how long after one burst the next one begins.
    pub(super) fn bursts(&self) -> (usize, Duration) {
        match self.allowed() {
            PER_ROUND => (BURST, Duration::ZERO),
            allowed => (SMALL_BURST as usize, BUSY_ROUND * SMALL_BURST / allowed),
        }
    }

    fn allowed(&self) -> u32 {
        match self.stage {
            Stage::Releasing => self.most,
            Stage::Quieting | Stage::Listening => LEAST,
        }
    }

    fn judge(&mut self, now: Instant) {
        let wait = Wait::of(std::mem::take(&mut self.waits));
        let has_released = self.begin_anew(now);
        match self.stage {
            Stage::Quieting => self.stage = Stage::Listening,
            Stage::Listening => self.note_calm(wait, now),
            // As good as listening.
            Stage::Releasing if !has_released => self.note_calm(wait, now),
            Stage::Releasing => {
                if self.calm.is_some_and(|calm| wait.is_clearly_longer(calm)) {
                    self.most = (self.most * 3 / 4).max(LEAST);
                } else {
                    self.most = (self.most + self.most / 8 + 1).min(PER_ROUND);
                }
                if now >= self.listen_at {
                    self.stage = Stage::Quieting;
                }
            }
        }
    }

    fn note_calm(&mut self, wait: Wait, now: Instant) {
        self.calm = Some(wait);
        self.listen_at = now + LISTEN_EVERY;
        self.stage = Stage::Releasing;
    }

    /// Answers whether anything was released in the time that ends.
    fn begin_anew(&mut self, now: Instant) -> bool {
        self.since = now;
        std::mem::take(&mut self.has_released)
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

    fn is_clearly_longer(self, calm: Wait) -> bool {
        let by_chance = BY_CHANCE * self.standard_error.hypot(calm.standard_error);
        self.mean > calm.mean * 1.1 + INDIFFERENT + by_chance
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
    }

    impl Site {
        fn new() -> Self {
            let now = Instant::now();
            Site { yielding: Yielding::new(now), now, chance: 1 }
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

        /// How large each round was, at four a second; how long is waited, at the least and on average, may depend on it.
        fn rounds(&mut self, waited: impl Fn(u32) -> (f64, f64), count: usize) -> Vec<u32> {
            let mut sizes = Vec::new();
            for _ in 0..count {
                self.yielding.note_released();
                self.now += Duration::from_millis(250);
                let (least, average) = waited(self.yielding.allowed());
                let waits = (0..ENOUGH).map(|_| self.wait(least, average)).collect();
                sizes.push(self.yielding.most(waits, self.now));
            }
            sizes
        }
    }

    #[test]
    fn rounds_become_whole_while_first_tries_wait_as_without_however_much_that_varies() {
        for (least, average) in [(0.5, 1.0), (1.0, 3.0), (2.0, 5.0), (3.0, 8.0)] {
            let sizes = Site::new().rounds(|_| (least, average), 2_000);
            let mean = sizes.iter().sum::<u32>() / 2_000;
            assert!(mean > PER_ROUND * 3 / 4, "{mean} around {average} ms");
        }
    }

    /// As a queue does it: the more is released, the longer others wait.
    fn crowded(most: u32) -> (f64, f64) {
        (1.0, 1.5 + f64::from(most) / 64.0)
    }

    #[test]
    fn rounds_are_as_large_as_first_tries_hardly_feel_also_when_releases_began_with_the_process() {
        let sizes = Site::new().rounds(crowded, 2_000);
        let mean = sizes[100..].iter().sum::<u32>() / 1_900;
        assert!((LEAST..PER_ROUND / 2).contains(&mean), "{mean}");
    }

    #[test]
    fn rounds_grow_again_when_first_tries_are_not_held_up_any_more() {
        let mut site = Site::new();
        let held_up = *site.rounds(crowded, 100).last().expect("a round");
        assert!(held_up < PER_ROUND / 2, "{held_up}");
        let (size, gap) = site.yielding.bursts();
        let bursts = u32::try_from(size).map(|size| site.yielding.allowed().div_ceil(size));
        assert!(size < BURST && gap * bursts.expect("a small number") >= BUSY_ROUND, "{size}, {gap:?} apart");
        assert!(site.rounds(|_| (1.0, 1.5), 100).contains(&PER_ROUND));
    }

    #[test]
    fn what_is_slow_with_and_without_releases_is_not_their_fault() {
        let mut site = Site::new();
        site.rounds(|_| (0.5, 1.5), 40);
        // Once it has been listened to.
        site.rounds(|_| (10.0, 20.0), 100);
        assert!(site.rounds(|_| (10.0, 20.0), 100).contains(&PER_ROUND));
    }

    #[test]
    fn a_few_first_tries_a_second_are_hardly_anybody_to_yield_to() {
        let mut site = Site::new();
        site.rounds(crowded, 40);
        let mut most = 0;
        for _ in 0..100 {
            site.now += BUSY_ROUND;
            let wait = site.wait(10.0, 20.0);
            site.yielding.note_released();
            most = site.yielding.most(vec![wait], site.now);
        }
        assert_eq!(most, PER_ROUND);
    }
}
