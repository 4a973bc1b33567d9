//! The world that the roles share: the engine's fakes, the receivers, and whoever decides what goes wrong.
//!
//! Every effect is one step: it is written into the trace, and custody is checked.

use std::collections::VecDeque;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use postrider_contract::clock::{Clock, Timestamp};
use postrider_contract::fakes::{
    FakeConfiguration, FakeIntake, FakeKeyedRequests, FakeLeadership, FakeLog, FakeQueue,
};
use postrider_contract::ids::TenantId;
use postrider_contract::ports::{IntakeReceipt, ProducerMessage};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::custody::{Custody, Produced};
use super::effect::{Effect, Fate, Mutation, Role};
use super::life::Life;
use super::receiver::Receivers;
use super::scenario::{Faults, Scenario};
use super::time::SimulatedClock;
use crate::load::Chance;

/// Steps that are kept to be shown.
const SHOWN: usize = 300;

/// What the whole run came to so far.
struct State {
    trace: VecDeque<String>,
    /// Of every line there ever was.
    fingerprint: DefaultHasher,
    steps: u64,
    custody: Custody,
    broken: Option<String>,
    broker_away_until: Timestamp,
    store_away_until: Timestamp,
    /// How many calls may come again: what was in hand when something went wrong.
    excused: usize,
    faults: usize,
}

pub(super) struct World {
    pub(super) scenario: Scenario,
    pub(super) chance: Chance,
    pub(super) clock: Arc<SimulatedClock>,
    pub(super) queue: FakeQueue,
    pub(super) intake: FakeIntake,
    pub(super) log: FakeLog,
    pub(super) keyed: Arc<FakeKeyedRequests>,
    pub(super) leadership: FakeLeadership,
    pub(super) configuration: FakeConfiguration,
    pub(super) receivers: Receivers,
    /// Something was parked.
    pub(super) parked: Notify,
    /// A promise is broken: the run is over.
    pub(super) over: CancellationToken,
    ends_at: Timestamp,
    state: Mutex<State>,
}

impl World {
    /// On a runtime whose time is paused.
    pub(super) fn new(scenario: Scenario, tenant: TenantId) -> Arc<Self> {
        let clock = Arc::new(SimulatedClock::start());
        let now = clock.now();
        let state = State {
            trace: VecDeque::new(),
            fingerprint: DefaultHasher::new(),
            steps: 0,
            custody: Custody::new(tenant),
            broken: None,
            broker_away_until: now,
            store_away_until: now,
            excused: 0,
            faults: 0,
        };
        Arc::new(World {
            chance: Chance::of(scenario.seed ^ 0x5eed),
            queue: FakeQueue::new(Arc::clone(&clock) as Arc<dyn Clock>),
            intake: FakeIntake::default(),
            log: FakeLog::new(Arc::default()),
            keyed: Arc::new(FakeKeyedRequests::new(Arc::default())),
            leadership: FakeLeadership::default(),
            configuration: FakeConfiguration::new(Arc::default()),
            receivers: Receivers::default(),
            parked: Notify::new(),
            over: CancellationToken::new(),
            ends_at: now.plus(scenario.trouble),
            clock,
            scenario,
            state: Mutex::new(state),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is_mutated(&self, mutation: Mutation) -> bool {
        self.scenario.mutation == Some(mutation)
    }

    /// Whether things still go wrong.
    pub(super) fn is_in_trouble(&self) -> bool {
        self.clock.now() < self.ends_at
    }

    /// What becomes of this effect. Cuts and doubles are carried out here.
    pub(super) fn fate(&self, life: &Life, effect: Effect) -> Fate {
        let fate = match &self.scenario.faults {
            Faults::Scripted(_) if effect == Effect::Read => Fate::Happens,
            Faults::Scripted(faults) => {
                let mut state = self.state();
                let step = state.steps;
                state.steps += 1;
                faults.iter().find(|(at, _)| *at == step).map_or(Fate::Happens, |(_, fate)| *fate)
            }
            Faults::Random(intensity) if self.is_in_trouble() => {
                self.state().steps += 1;
                if effect != Effect::Read && self.chance.between(0, 9_999) < intensity.outages {
                    self.begin_outage();
                }
                if self.is_away(effect) { Fate::DoubtBefore } else { intensity.draw(effect, &self.chance) }
            }
            Faults::Random(_) => Fate::Happens,
        };
        if fate != Fate::Happens {
            let mut state = self.state();
            state.faults += 1;
            // A page of a fan-out is published at once, so it comes again at once.
            state.excused += self.scenario.webhooks.len().max(1);
        }
        match fate {
            Fate::Cut => {
                life.lose_leases();
                self.step(&format!("{life}: its connection breaks"));
                Fate::Happens
            }
            Fate::Doubled => {
                if self.queue.duplicate_next_parked() {
                    self.step("the next parked message is doubled");
                }
                Fate::Happens
            }
            Fate::Misrouted => {
                if self.queue.misroute_next_parked() {
                    self.step("the next parked message loses its way");
                }
                Fate::Happens
            }
            Fate::GivenUp => {
                if self.queue.give_up_on_one() {
                    self.step("a message was given out too often");
                }
                Fate::Happens
            }
            Fate::Happens
            | Fate::ToldLate(_)
            | Fate::HappensLate(_)
            | Fate::DoubtBefore
            | Fate::DoubtAfter
            | Fate::Refused
            | Fate::Returned
            | Fate::CrashBefore
            | Fate::CrashAfter => fate,
        }
    }

    fn begin_outage(&self) {
        let until = self.clock.now().plus(Duration::from_millis(self.chance.between(200, 4_000)));
        let is_broker = self.chance.between(0, 1) == 0;
        let mut state = self.state();
        if is_broker {
            state.broker_away_until = until;
        } else {
            state.store_away_until = until;
        }
        drop(state);
        self.step(if is_broker { "the broker is away" } else { "the store is away" });
    }

    fn is_away(&self, effect: Effect) -> bool {
        let now = self.clock.now();
        match effect {
            Effect::Publish | Effect::Append => self.is_broker_away(),
            Effect::Apply | Effect::LookUp | Effect::Mark | Effect::Keyed | Effect::Read => {
                now < self.state().store_away_until
            }
            Effect::Acknowledge | Effect::Call => false,
        }
    }

    pub(super) fn is_broker_away(&self) -> bool {
        self.is_in_trouble() && self.clock.now() < self.state().broker_away_until
    }

    /// So many deliveries were in hand when something broke: each may be called once more.
    pub(super) fn excuse(&self, in_hand: usize) {
        self.state().excused += in_hand;
    }

    /// Something has happened.
    pub(super) fn step(&self, what: &str) {
        let at = self.clock.now();
        let mut state = self.state();
        if state.broken.is_some() {
            // The step that broke it stays the last that is shown.
            return;
        }
        let line = format!("{at} {what}");
        line.hash(&mut state.fingerprint);
        if state.trace.len() == SHOWN {
            state.trace.pop_front();
        }
        state.trace.push_back(line);
        let checked = state.custody.check(self);
        drop(state);
        if let Err(broken) = checked {
            self.break_off(broken);
        }
    }

    /// Ingest has answered 202.
    pub(super) fn promise(&self, receipt: &IntakeReceipt) {
        self.state().custody.promise(receipt);
        self.step(&format!("202 for {} with {} deliveries", receipt.event, receipt.deliveries.len()));
    }

    /// The broker has a producer's message: from now on it is ours.
    pub(super) fn produced(&self, message: ProducerMessage, kind: Produced) {
        let name = message.message_id.clone().unwrap_or_default();
        self.state().custody.produced(name.clone(), kind);
        self.intake.produce(message);
        self.step(&format!("a producer has published {name}"));
    }

    /// The first reason counts.
    pub(super) fn break_off(&self, why: String) {
        self.state().broken.get_or_insert(why);
        self.over.cancel();
    }

    pub(super) fn broken(&self) -> Option<String> {
        self.state().broken.clone()
    }

    pub(super) fn trace(&self) -> Vec<String> {
        self.state().trace.iter().cloned().collect()
    }

    pub(super) fn fingerprint(&self) -> u64 {
        self.state().fingerprint.finish()
    }

    pub(super) fn steps(&self) -> u64 {
        self.state().steps
    }

    pub(super) fn faults(&self) -> usize {
        self.state().faults
    }

    pub(super) fn excused(&self) -> usize {
        self.state().excused
    }

    pub(super) fn with_custody<T>(&self, ask: impl FnOnce(&Custody) -> T) -> T {
        ask(&self.state().custody)
    }

    /// Hands over what is due, for as long as the run takes.
    pub(super) async fn run_lanes(self: Arc<Self>) {
        loop {
            self.queue.tick();
            let now = self.clock.now();
            let parked = self.parked.notified();
            match self.queue.next_due() {
                Some(due_at) => {
                    tokio::select! {
                        biased;
                        () = parked => {}
                        () = tokio::time::sleep(due_at.since(now)) => {}
                    }
                }
                None => parked.await,
            }
        }
    }

    /// How long it takes until a process that died is started again.
    pub(super) fn draw_restart_delay(&self) -> Duration {
        Duration::from_millis(self.chance.between(10, 2_000))
    }

    pub(super) fn describe(role: Role) -> &'static str {
        match role {
            Role::Ingest => "ingest",
            Role::Worker => "worker",
            Role::Status => "status",
        }
    }
}
