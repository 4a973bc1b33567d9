//! How much a round releases: less while first tries begin later for it.
//!
//! Slots keep first tries and releases apart in a worker, but the broker, the disk and the processors serve both, and
//! nothing tells how much they can take. What others feel shows in how long their first tries have waited. So from time
//! to time hardly anything is released for a moment, which shows how long they wait then; and a round grows while they
//! wait about as long with it, and shrinks while it is clearly longer.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use super::PER_ROUND;
use crate::duties::BUSY_ROUND;

/// Released in any case: with a round every 50 ms 240 a second, so that nobody waits for ever.
const LEAST: u32 = 12;
/// Released while it is learned how long others wait without releases.
const HARDLY_ANY: u32 = 1;
/// While there is somebody, a round is spread over this; the rest of the time to the next one is for what it looks up and
/// writes down.
const SPREAD: Duration = BUSY_ROUND.saturating_mul(4).checked_div(5).expect("five is not zero");
/// Fewer waits tell more of chance than of load.
const ENOUGH: usize = 64;
/// So many times [`ENOUGH`] must have waited as without releases before a round grows.
const GROWS_AFTER: usize = 16;
/// With fewer first tries than [`ENOUGH`] in this time there is hardly anybody to yield to.
pub(super) const NOBODY_AFTER: Duration = Duration::from_secs(1);
/// And with so many since the last round there is somebody again: 80 a second.
const SOMEBODY: usize = 4;
/// Load changes, and clocks of two machines drift; a moment of hardly any releases so often costs a thirteenth
/// at 200 first tries a second, and less at more.
const LISTEN_EVERY: Duration = Duration::from_secs(20);
/// How many times [`ENOUGH`] waits without releases are remembered.
const REMEMBERED: usize = 16;
/// How many times they are gathered before it is judged by them.
const LISTENED: u32 = 4;
/// In milliseconds: less than this beyond a tenth is no difference.
const INDIFFERENT: f64 = 0.05;
/// One in so many is long: what only few feel is not seen in the mean.
const LONG_ONE_IN: usize = 16;

/// How large a difference may be by chance, in standard errors.
#[derive(Clone, Copy, Debug)]
struct ByChance {
    of_means: f64,
    of_long_ones: f64,
}

/// For what is looked at once before a round grows.
const SELDOM: ByChance = ByChance { of_means: 2.5, of_long_ones: 2.75 };
/// For what is looked at each time: only what is unmistakable is not waited out.
const HARDLY_EVER: ByChance = ByChance { of_means: 3.0, of_long_ones: 3.5 };

#[derive(Debug)]
pub(super) struct Yielding {
    /// While there is somebody to yield to.
    most: u32,
    has_company: bool,
    stage: Stage,
    /// Of first tries that were noted since then.
    waits: Vec<Duration>,
    /// And of those before, with rounds of this size.
    with_this_size: Vec<Duration>,
    since: Instant,
    has_released: bool,
    calm: Calm,
    listen_at: Instant,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Releasing,
    /// Hardly anything is released, but what is noted began before that.
    Quieting,
    /// What is noted now began with hardly any releases.
    Listening {
        left: u32,
    },
}

/// How long first tries wait with hardly any releases.
#[derive(Debug, Default)]
struct Calm {
    /// The last ones, oldest first.
    windows: VecDeque<Vec<Duration>>,
    /// Of all of them.
    waits: Option<Waits>,
}

/// How long first tries waited, in order.
#[derive(Clone, Debug)]
struct Waits(Vec<Duration>);

/// In milliseconds.
#[derive(Clone, Copy, Debug)]
struct Mean {
    mean: f64,
    standard_error: f64,
}

impl Yielding {
    pub(super) fn new(now: Instant) -> Self {
        Yielding {
            most: LEAST,
            has_company: true,
            stage: Stage::Quieting,
            waits: Vec::new(),
            with_this_size: Vec::new(),
            since: now,
            has_released: false,
            calm: Calm::default(),
            listen_at: now,
        }
    }

    /// Learns how long first tries waited that were noted since the last round; answers how many may be released now.
    pub(super) fn most(&mut self, waits: Vec<Duration>, now: Instant) -> u32 {
        self.has_company |= waits.len() >= SOMEBODY;
        self.waits.extend(waits);
        if self.waits.len() >= ENOUGH {
            self.judge(now);
        } else if now - self.since > NOBODY_AFTER {
            self.waits.clear();
            self.with_this_size.clear();
            self.begin_anew(now);
            self.stage = Stage::Releasing;
            self.has_company = false;
        }
        self.allowed()
    }

    pub(super) fn note_released(&mut self) {
        self.has_released = true;
    }

    /// How long after one release the next one is due.
    pub(super) fn gap(&self) -> Duration {
        if self.stage == Stage::Releasing && !self.has_company {
            Duration::ZERO
        } else {
            SPREAD / self.allowed()
        }
    }

    fn allowed(&self) -> u32 {
        match self.stage {
            Stage::Releasing if self.has_company => self.most,
            Stage::Releasing => PER_ROUND,
            Stage::Quieting | Stage::Listening { left: _ } => HARDLY_ANY,
        }
    }

    fn judge(&mut self, now: Instant) {
        let waits = std::mem::take(&mut self.waits);
        let has_released = self.begin_anew(now);
        match self.stage {
            Stage::Quieting => self.stage = Stage::Listening { left: LISTENED },
            Stage::Listening { left } => {
                self.note_calm(waits, now);
                if left > 1 {
                    self.stage = Stage::Listening { left: left - 1 };
                }
            }
            // As good as listening.
            Stage::Releasing if !has_released => self.note_calm(waits, now),
            Stage::Releasing => {
                self.adapt(waits);
                if now >= self.listen_at {
                    self.stage = Stage::Quieting;
                }
            }
        }
    }

    fn adapt(&mut self, waits: Vec<Duration>) {
        self.with_this_size.extend(&waits);
        let may_grow = self.with_this_size.len() >= GROWS_AFTER * ENOUGH;
        if self.are_felt(waits, HARDLY_EVER) || may_grow && self.are_felt(self.with_this_size.clone(), SELDOM)
        {
            self.resize((self.most / 2).max(LEAST));
        } else if may_grow {
            self.resize((self.most + self.most / 8).min(PER_ROUND));
        }
    }

    /// Whether releases are, by how long first tries waited beside them.
    fn are_felt(&self, waits: Vec<Duration>, by_chance: ByChance) -> bool {
        self.calm.waits.as_ref().is_some_and(|calm| Waits::of(waits).are_longer_than(calm, by_chance))
    }

    fn resize(&mut self, most: u32) {
        self.most = most;
        self.with_this_size.clear();
    }

    fn note_calm(&mut self, waits: Vec<Duration>, now: Instant) {
        self.calm.note(waits);
        self.listen_at = now + LISTEN_EVERY;
        self.stage = Stage::Releasing;
    }

    /// Answers whether anything was released in the time that ends.
    fn begin_anew(&mut self, now: Instant) -> bool {
        self.since = now;
        std::mem::take(&mut self.has_released)
    }
}

impl Calm {
    fn note(&mut self, waits: Vec<Duration>) {
        self.windows.push_back(waits);
        if self.windows.len() > REMEMBERED {
            self.windows.pop_front();
        }
        self.waits = Some(Waits::of(self.windows.iter().flatten().copied().collect()));
    }
}

impl Waits {
    fn of(mut waits: Vec<Duration>) -> Self {
        waits.sort_unstable();
        Waits(waits)
    }

    fn are_longer_than(&self, calm: &Waits, by_chance: ByChance) -> bool {
        self.mean().is_clearly_longer(calm.mean(), by_chance.of_means)
            || self.has_more_long_ones(calm, by_chance.of_long_ones)
    }

    /// Without the longest tenth: those waited for their own webhook, or for a connection.
    fn mean(&self) -> Mean {
        let waits = &self.0[..self.0.len() - self.0.len() / 10];
        let count = count_of(waits).max(1.0);
        let millis = || waits.iter().map(|wait| wait.as_secs_f64() * 1_000.0);
        let mean = millis().sum::<f64>() / count;
        let variance = millis().map(|wait| (wait - mean).powi(2)).sum::<f64>() / count;
        Mean { mean, standard_error: (variance / count).sqrt() }
    }

    /// Whether more of these are longer than nearly all of the calm ones were.
    fn has_more_long_ones(&self, calm: &Waits, standard_errors: f64) -> bool {
        let beyond =
            |waits: &[Duration], limit| count_of(&waits[waits.partition_point(|wait| *wait <= limit)..]);
        let (count, of_calm) = (count_of(&self.0), count_of(&calm.0));
        let Some(limit) = calm.0.iter().nth_back(calm.0.len() / LONG_ONE_IN) else { return false };
        // That none was among so few does not mean that there are none.
        let expected = (beyond(&calm.0, *limit) + 0.5) / (of_calm + 1.0);
        let variance = expected * (1.0 - expected) * count * (1.0 + count / of_calm);
        beyond(&self.0, *limit) > expected * count + standard_errors * variance.sqrt()
    }
}

impl Mean {
    fn is_clearly_longer(self, calm: Mean, standard_errors: f64) -> bool {
        let by_chance = standard_errors * self.standard_error.hypot(calm.standard_error);
        self.mean > calm.mean * 1.1 + INDIFFERENT + by_chance
    }
}

fn count_of(waits: &[Duration]) -> f64 {
    f64::from(u32::try_from(waits.len()).unwrap_or(u32::MAX))
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
            self.rounds_of(
                |site, most| {
                    let (least, average) = waited(most);
                    site.wait(least, average)
                },
                count,
            )
        }

        fn rounds_of(&mut self, wait: impl Fn(&mut Self, u32) -> Duration, count: usize) -> Vec<u32> {
            let mut sizes = Vec::new();
            for _ in 0..count {
                self.yielding.note_released();
                self.now += Duration::from_millis(250);
                let allowed = self.yielding.allowed();
                let waits = (0..ENOUGH).map(|_| wait(self, allowed)).collect();
                sizes.push(self.yielding.most(waits, self.now));
            }
            sizes
        }
    }

    #[test]
    fn rounds_become_whole_while_first_tries_wait_as_without_however_much_that_varies() {
        for (least, average) in [(0.5, 1.0), (1.0, 3.0), (2.0, 5.0), (3.0, 8.0)] {
            let sizes = Site::new().rounds(|_| (least, average), 3_000);
            let mean = sizes[500..].iter().sum::<u32>() / 2_500;
            assert!(mean > PER_ROUND * 5 / 8, "{mean} around {average} ms");
            assert!(sizes.contains(&PER_ROUND), "around {average} ms");
        }
    }

    /// As a queue does it: the more is released, the longer others wait.
    fn crowded(most: u32) -> (f64, f64) {
        (1.0, 1.5 + f64::from(most) / 64.0)
    }

    #[test]
    fn rounds_are_as_large_as_first_tries_hardly_feel_also_when_releases_began_with_the_process() {
        let sizes = Site::new().rounds(|most| (1.0, 2.0 + f64::from(most) / 128.0), 4_000);
        let mean = sizes[1_000..].iter().sum::<u32>() / 3_000;
        assert!((LEAST..PER_ROUND / 2).contains(&mean), "{mean}");
    }

    #[test]
    fn what_is_felt_of_the_least_already_is_not_taken_for_calm() {
        let sizes = Site::new().rounds(|most| (1.0, if most < LEAST { 1.5 } else { 3.0 }), 1_000);
        let most = sizes[50..].iter().max().expect("rounds");
        assert!(*most < LEAST * 2, "{most}");
    }

    #[test]
    fn what_only_the_longest_waits_feel_is_yielded_to_as_well() {
        let long_one_in = |one_in: f64| {
            move |site: &mut Site, most: u32| {
                let is_long = site.draw() * one_in < f64::from(most) / f64::from(PER_ROUND);
                site.wait(1.0, if is_long { 12.0 } else { 1.5 })
            }
        };
        // The mean without the longest tenth is the same with all of them.
        let sizes = Site::new().rounds_of(long_one_in(8.0), 2_000);
        let mean = sizes[100..].iter().sum::<u32>() / 1_900;
        assert!((LEAST..PER_ROUND * 2 / 3).contains(&mean), "{mean}");
        let sizes = Site::new().rounds_of(long_one_in(1_000.0), 6_000);
        let mean = sizes[1_000..].iter().sum::<u32>() / 5_000;
        assert!(mean > PER_ROUND / 2, "{mean} although hardly anyone feels it");
    }

    #[test]
    fn a_difference_that_only_many_first_tries_tell_is_yielded_to() {
        let sometimes_long = |site: &mut Site, most: u32| {
            let is_long = most >= LEAST && site.draw() < 0.02;
            site.wait(if is_long { 5.0 } else { 1.0 }, if is_long { 5.5 } else { 1.5 })
        };
        let sizes = Site::new().rounds_of(sometimes_long, 4_000);
        let mean = sizes[500..].iter().sum::<u32>() / 3_500;
        assert!(mean < LEAST * 4, "{mean}");
    }

    #[test]
    fn who_comes_back_after_a_silence_finds_rounds_of_the_size_that_was_learned() {
        let mut site = Site::new();
        let learned = *site.rounds(crowded, 100).last().expect("a round");
        for _ in 0..30 {
            site.now += BUSY_ROUND;
            site.yielding.most(Vec::new(), site.now);
        }
        assert_eq!(site.yielding.most(Vec::new(), site.now), PER_ROUND, "nobody to yield to");
        let waits = vec![Duration::from_millis(1); SOMEBODY];
        let most = site.yielding.most(waits, site.now + BUSY_ROUND);
        assert!(most <= learned * 2, "{most} after {learned}");
    }

    #[test]
    fn rounds_grow_again_when_first_tries_are_not_held_up_any_more() {
        let mut site = Site::new();
        let held_up = *site.rounds(crowded, 100).last().expect("a round");
        assert!(held_up < PER_ROUND / 2, "{held_up}");
        let spread = site.yielding.gap() * site.yielding.allowed();
        assert!(spread > BUSY_ROUND / 2 && spread < BUSY_ROUND, "{spread:?}");
        assert!(site.rounds(|_| (1.0, 1.5), 1_000).contains(&PER_ROUND));
        site.yielding.has_company = false;
        site.yielding.stage = Stage::Releasing;
        assert_eq!(site.yielding.gap(), Duration::ZERO, "as many as there are, as fast as they can");
    }

    #[test]
    fn what_is_slow_with_and_without_releases_is_not_their_fault() {
        let mut site = Site::new();
        site.rounds(|_| (0.5, 1.5), 40);
        // Once it has been listened to.
        site.rounds(|_| (10.0, 20.0), 400);
        assert!(site.rounds(|_| (10.0, 20.0), 2_000).contains(&PER_ROUND));
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
