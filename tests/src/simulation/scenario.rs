//! What one run consists of: events, webhooks, processes, and what goes wrong. Everything follows from its seed.

use std::time::Duration;

use super::effect::{Effect, Fate, Mutation};
use crate::load::Chance;

/// What a webhook asks of the way there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WebhookKind {
    Plain,
    /// With a rate: everything passes through the waiting room.
    RateLimited,
    /// Paused and resumed now and then.
    Moody,
}

/// How receivers answer while things go wrong; afterwards with 200.
#[derive(Clone, Copy, Debug)]
pub enum Answers {
    /// The first so many calls of each delivery with 500, then 200.
    FailFirst(usize),
    /// So many of a hundred with 200; the others with 500, not at all, or late.
    Random(u64),
}

/// Of 10,000 effects, how many meet which fault.
#[derive(Clone, Copy, Debug, Default)]
pub struct Intensity {
    pub crashes: u64,
    pub doubts: u64,
    pub silences: u64,
    pub cuts: u64,
    pub doubles: u64,
    /// A message that finds no queue when it is due.
    pub misroutes: u64,
    /// A message that came back becomes one that was given out too often.
    pub given_up: u64,
    /// The broker or the store is away for some seconds.
    pub outages: u64,
}

#[derive(Clone, Debug)]
pub enum Faults {
    /// What is named here, by the number of the step, and nothing else.
    Scripted(Vec<(u64, Fate)>),
    /// While the first phase lasts.
    Random(Intensity),
}

#[derive(Clone, Debug)]
pub struct Scenario {
    pub seed: u64,
    pub events: u32,
    /// Of producers over AMQP.
    pub messages: u32,
    pub webhooks: Vec<WebhookKind>,
    pub workers: usize,
    pub statuses: usize,
    pub answers: Answers,
    pub faults: Faults,
    /// For how long things go wrong.
    pub trouble: Duration,
    pub mutation: Option<Mutation>,
}

impl Scenario {
    /// One delivery that takes three tries.
    #[must_use]
    pub fn smallest(faults: Vec<(u64, Fate)>) -> Self {
        Scenario {
            seed: 0,
            events: 1,
            messages: 0,
            webhooks: vec![WebhookKind::Plain],
            workers: 1,
            statuses: 1,
            answers: Answers::FailFirst(2),
            faults: Faults::Scripted(faults),
            trouble: Duration::ZERO,
            mutation: None,
        }
    }

    /// One delivery that is held before it is tried, and then takes two tries.
    #[must_use]
    pub fn smallest_held(faults: Vec<(u64, Fate)>) -> Self {
        Scenario {
            webhooks: vec![WebhookKind::RateLimited],
            answers: Answers::FailFirst(1),
            ..Self::smallest(faults)
        }
    }

    /// One message of a producer over AMQP, for one delivery that takes one try.
    #[must_use]
    pub fn smallest_over_amqp(faults: Vec<(u64, Fate)>) -> Self {
        Scenario { events: 0, messages: 1, answers: Answers::FailFirst(0), ..Self::smallest(faults) }
    }

    /// A run as its seed has it: a few events to a few webhooks, with faults of every kind, some kinds missing.
    #[must_use]
    pub fn of_seed(seed: u64) -> Self {
        let chance = Chance::of(seed);
        let some = |most: u64| if chance.between(0, 2) == 0 { 0 } else { chance.between(1, most) };
        let intensity = Intensity {
            crashes: some(250),
            doubts: some(600),
            silences: some(600),
            cuts: some(200),
            doubles: some(300),
            outages: some(30),
            misroutes: some(200),
            given_up: some(100),
        };
        let kind = |_| match chance.between(0, 5) {
            0 => WebhookKind::RateLimited,
            1 => WebhookKind::Moody,
            _ => WebhookKind::Plain,
        };
        let webhooks = (0..chance.between(1, 4)).map(kind).collect();
        Scenario {
            seed,
            events: u32::try_from(chance.between(1, 8)).unwrap_or(1),
            messages: u32::try_from(chance.between(0, 4)).unwrap_or(0),
            webhooks,
            workers: if chance.between(0, 2) == 0 { 2 } else { 1 },
            statuses: if chance.between(0, 3) == 0 { 2 } else { 1 },
            answers: Answers::Random(chance.between(20, 100)),
            faults: Faults::Random(intensity),
            trouble: Duration::from_secs(chance.between(4, 20)),
            mutation: None,
        }
    }

    /// One event to so many webhooks that a worker makes the deliveries.
    #[must_use]
    pub fn fan_out_of_seed(seed: u64) -> Self {
        Scenario { events: 1, messages: 0, webhooks: vec![WebhookKind::Plain; 65], ..Self::of_seed(seed) }
    }

    #[must_use]
    pub fn with(self, mutation: Mutation) -> Self {
        Scenario { mutation: Some(mutation), ..self }
    }
}

impl Intensity {
    /// What becomes of the next effect.
    pub(super) fn draw(&self, effect: Effect, chance: &Chance) -> Fate {
        let mut drawn = chance.between(0, 9_999);
        let mut is = |share: u64| {
            let hit = drawn < share;
            drawn = drawn.saturating_sub(share);
            hit
        };
        // What is read changes nothing: to die there is to die before the next effect.
        let share = if effect == Effect::Read { 20 } else { 1 };
        if is(self.crashes / share) {
            return if chance.between(0, 1) == 0 { Fate::CrashBefore } else { Fate::CrashAfter };
        }
        if is(self.doubts / share) {
            return match chance.between(0, 3) {
                0 => Fate::DoubtBefore,
                1 => Fate::DoubtAfter,
                2 => Fate::Refused,
                _ => Fate::Returned,
            };
        }
        if is(self.silences / share) {
            let silence = Duration::from_millis(chance.between(1, 2_500));
            return if chance.between(0, 1) == 0 {
                Fate::ToldLate(silence)
            } else {
                Fate::HappensLate(silence)
            };
        }
        if is(self.cuts / share) {
            return Fate::Cut;
        }
        if is(self.doubles / share) {
            return Fate::Doubled;
        }
        if is(self.misroutes / share) {
            return Fate::Misrouted;
        }
        if is(self.given_up / share) {
            return Fate::GivenUp;
        }
        Fate::Happens
    }
}
