//! A producer that keeps a ledger of its own, and the check of an installation against it.
//!
//! Promises: every event's data is unique; each answer is written down as what the producer may rely on: accepted
//! (with the ids it was told), in doubt (no answer, or one that says so), or refused. What is keyed is sent again
//! until it is accepted; what is not is sent again only where the answer said that it was not accepted. See
//! [`checking`] for what must then be true.

mod chance;
pub mod checking;
pub mod findings;
pub mod over_amqp;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde_json::Value;
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;
use tokio_util::task::TaskTracker;

use crate::harness::{Answer, Api};

pub use chance::{Chance, is_long};

/// The type of every event.
pub const EVENT_TYPE: &str = "load.event";
/// How long to leave between two sends of the same keyed event, in milliseconds.
const AGAIN_AFTER: Duration = Duration::from_millis(500);
/// A key stays in progress for 10 s after its first request died; the rest is for a busy machine.
const LAST_ANSWERS: Duration = Duration::from_secs(60);

/// Which events have a name by which they count once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Naming {
    /// In turn: none, an `Idempotency-Key`, an event id of the producer's own.
    Mixed,
    /// None has.
    Unnamed,
}

/// How much is sent, and how.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// Events a second, over all connections.
    pub rate: u32,
    pub connections: u32,
    pub naming: Naming,
    /// In every event's data.
    pub seed: u64,
    /// The number of the first event.
    pub first: u64,
}

/// An accepted event, as the producer was told.
#[derive(Debug, Clone)]
pub struct Accepted {
    pub event: String,
    /// Delivery and webhook.
    pub deliveries: BTreeSet<(String, String)>,
}

/// What the producer knows.
#[derive(Debug, Clone, Default)]
pub struct Ledger {
    pub seed: u64,
    /// By the number in the data.
    pub accepted: BTreeMap<u64, Accepted>,
    /// The first number that was not used.
    pub end: u64,
    /// Sent once without a name, and never answered for certain.
    pub doubtful: BTreeSet<u64>,
    /// With a name, and so sent again: how many of its requests were never answered for certain. Each may have published
    /// it once more.
    pub in_doubt: BTreeMap<u64, usize>,
    /// Answers that no fault explains.
    pub unexpected: Vec<String>,
    /// How often it was told to come back: 429 and 503.
    pub refusals: u64,
    /// The longest that any answer took, whatever it was, or that one was waited for in vain.
    pub slowest_answer: Duration,
    /// Requests that no answer came to: nobody listened, the connection ended, or the time limit came first.
    pub unanswered: u64,
    /// Requests, those too that were not answered, or repeated an earlier one.
    pub requests: u64,
    /// From the first request to the last of a new event.
    pub lasted: Duration,
}

impl Ledger {
    /// This and what came after it, from one seed.
    pub fn add(&mut self, later: Ledger) {
        self.end = later.end;
        self.accepted.extend(later.accepted);
        self.doubtful.extend(later.doubtful);
        self.in_doubt.extend(later.in_doubt);
        self.unexpected.extend(later.unexpected);
        self.refusals += later.refusals;
        self.slowest_answer = self.slowest_answer.max(later.slowest_answer);
        self.unanswered += later.unanswered;
        self.requests += later.requests;
        self.lasted += later.lasted;
    }

    /// Requests a second over all of the load, outages included.
    #[expect(clippy::cast_precision_loss, reason = "a test sends far fewer than 2^52 requests")]
    pub fn requests_per_second(&self) -> f64 {
        self.requests as f64 / self.lasted.as_secs_f64().max(f64::EPSILON)
    }
}

/// A running producer.
#[derive(Debug)]
pub struct Load {
    shared: Arc<Shared>,
    connections: TaskTracker,
    repeats: TaskTracker,
    started: Instant,
}

#[derive(Debug)]
struct Shared {
    plan: Plan,
    targets: Mutex<Vec<Api>>,
    next: AtomicU64,
    ledger: Mutex<Ledger>,
    changed: watch::Sender<()>,
    is_over: AtomicBool,
}

/// What one request came to.
enum Sent {
    /// It is in the ledger.
    Settled,
    /// Certainly not accepted: nothing was sent, or the answer said so.
    NotTaken,
    /// Perhaps accepted.
    InDoubt,
}

/// The `data` of an event: its bytes must survive, with what a rewriting parser would change.
pub fn data(seed: u64, number: u64) -> String {
    format!(
        r#"{{ "number":{number} , "seed":{seed},"a":2 , "a":3,"big":12345678901234567890123,"e":1.50e3}}"#
    )
}

impl Load {
    /// Starts to publish, the connections spread over the targets.
    pub fn start(targets: &[Api], plan: Plan) -> Self {
        let ledger = Ledger { seed: plan.seed, ..Ledger::default() };
        let shared = Arc::new(Shared {
            plan,
            targets: Mutex::new(targets.to_vec()),
            next: AtomicU64::new(plan.first),
            ledger: Mutex::new(ledger),
            changed: watch::Sender::new(()),
            is_over: AtomicBool::new(false),
        });
        let load = Self {
            shared,
            connections: TaskTracker::new(),
            repeats: TaskTracker::new(),
            started: Instant::now(),
        };
        for connection in 0..plan.connections {
            let (shared, repeats) = (Arc::clone(&load.shared), load.repeats.clone());
            load.connections.spawn(publish(shared, repeats, connection));
        }
        load
    }

    /// From now on it publishes there, what is being repeated too.
    pub fn aim_at(&self, targets: &[Api]) {
        *locked(&self.shared.targets) = targets.to_vec();
    }

    /// How many events were accepted so far.
    pub fn accepted(&self) -> usize {
        self.shared.ledger().accepted.len()
    }

    /// How often it was told to come back so far.
    pub fn refusals(&self) -> u64 {
        self.shared.ledger().refusals
    }

    /// Waits until so many more events are accepted.
    pub async fn wait_for_accepted(&self, more: usize, within: Duration) -> Result<()> {
        let goal = self.accepted() + more;
        self.wait_until(&format!("{more} more accepted events"), within, |ledger| {
            ledger.accepted.len() >= goal
        })
        .await
    }

    /// Waits until it was told to come back so many more times.
    pub async fn wait_for_refusals(&self, more: u64, within: Duration) -> Result<()> {
        let goal = self.refusals() + more;
        self.wait_until(&format!("{more} more refusals"), within, |ledger| ledger.refusals >= goal).await
    }

    /// Sends nothing new, waits for what is under way and what must be repeated, and answers what came of it all.
    pub async fn finish(self) -> Result<Ledger> {
        self.shared.is_over.store(true, Ordering::Relaxed);
        let lasted = self.started.elapsed();
        self.connections.close();
        let ended = tokio::time::timeout(LAST_ANSWERS, async {
            self.connections.wait().await;
            self.repeats.close();
            self.repeats.wait().await;
        });
        if ended.await.is_err() {
            let reached = format!("{:?}", self.shared.ledger().unexpected);
            anyhow::bail!("some events are neither accepted nor refused after {LAST_ANSWERS:?}; {reached}");
        }
        let mut ledger = self.shared.ledger().clone();
        ledger.end = self.shared.next.load(Ordering::Relaxed);
        ledger.lasted = lasted;
        Ok(ledger)
    }

    async fn wait_until(&self, what: &str, within: Duration, holds: impl Fn(&Ledger) -> bool) -> Result<()> {
        let mut changes = self.shared.changed.subscribe();
        let wait = async {
            // The sender lives as long as `self`.
            while !holds(&self.shared.ledger()) && changes.changed().await.is_ok() {}
        };
        let ended = tokio::time::timeout(within, wait).await;
        ended.with_context(|| {
            let ledger = self.shared.ledger();
            let (accepted, refusals) = (ledger.accepted.len(), ledger.refusals);
            format!(
                "waited {within:?} in vain for {what}; {accepted} accepted, {refusals} refusals, {} in doubt, {:?}",
                ledger.doubtful.len(),
                ledger.unexpected
            )
        })
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::Relaxed);
    }
}

/// One connection: an event at each tick. What was certainly not taken is tried again at the next tick.
async fn publish(shared: Arc<Shared>, repeats: TaskTracker, connection: u32) {
    let gap = Duration::from_secs(1) * shared.plan.connections / shared.plan.rate;
    let offset = gap * connection / shared.plan.connections;
    let mut ticks = tokio::time::interval_at(tokio::time::Instant::now() + offset, gap);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut pending = None;
    loop {
        ticks.tick().await;
        if shared.is_over.load(Ordering::Relaxed) && pending.is_none() {
            return;
        }
        let number = pending.take().unwrap_or_else(|| shared.next.fetch_add(1, Ordering::Relaxed));
        match shared.send(number, connection).await {
            Sent::Settled => {}
            Sent::NotTaken => pending = Some(number),
            Sent::InDoubt if shared.is_named(number) => {
                repeats.spawn(repeat(Arc::clone(&shared), number, connection));
            }
            Sent::InDoubt => shared.note(|ledger| _ = ledger.doubtful.insert(number)),
        }
    }
}

/// A named event again and again, until it is accepted.
async fn repeat(shared: Arc<Shared>, number: u64, connection: u32) {
    let mut ticks = tokio::time::interval(AGAIN_AFTER);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if matches!(shared.send(number, connection).await, Sent::Settled) {
            return;
        }
    }
}

impl Shared {
    fn is_named(&self, number: u64) -> bool {
        self.plan.naming == Naming::Mixed && !number.is_multiple_of(3)
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        locked(&self.ledger)
    }

    fn note(&self, change: impl FnOnce(&mut Ledger)) {
        change(&mut self.ledger());
        self.changed.send_replace(());
    }

    async fn send(&self, number: u64, connection: u32) -> Sent {
        let target = {
            let targets = locked(&self.targets);
            targets[usize::try_from(connection).unwrap_or_default() % targets.len()].clone()
        };
        let (seed, data) = (self.plan.seed, data(self.plan.seed, number));
        let name = format!("load-{seed}-{number}");
        let (own_id, key) = match (self.is_named(number), number % 3) {
            (true, 1) => (String::new(), Some(("Idempotency-Key", name.as_str()))),
            (true, _) => (format!(r#""id":"{name}","#), None),
            (false, _) => (String::new(), None),
        };
        let body = format!(r#"{{"type":"{EVENT_TYPE}",{own_id}"data":{data}}}"#);
        self.ledger().requests += 1;
        let started = Instant::now();
        match target.post_with("/v1/events", key.as_slice(), body).await {
            Ok(answer) => self.judge(number, &answer, started.elapsed()),
            Err(error) => {
                self.note_unanswered(started.elapsed());
                if is_refused_connection(&error) { Sent::NotTaken } else { self.in_doubt(number) }
            }
        }
    }

    fn note_unanswered(&self, took: Duration) {
        self.note(|ledger| {
            ledger.slowest_answer = ledger.slowest_answer.max(took);
            ledger.unanswered += 1;
        });
    }

    fn in_doubt(&self, number: u64) -> Sent {
        if self.is_named(number) {
            self.note(|ledger| *ledger.in_doubt.entry(number).or_default() += 1);
        }
        Sent::InDoubt
    }

    fn judge(&self, number: u64, answer: &Answer, took: Duration) -> Sent {
        let told = answer.json().unwrap_or_default();
        let code = told["code"].as_str().unwrap_or_default();
        self.note(|ledger| ledger.slowest_answer = ledger.slowest_answer.max(took));
        let sent = match (answer.status.as_u16(), code) {
            (202, _) => {
                let accepted = accepted(&told);
                self.note(|ledger| match accepted {
                    Some(accepted) => _ = ledger.accepted.insert(number, accepted),
                    None => ledger.unexpected.push(format!("a 202 without ids: {answer}")),
                });
                return Sent::Settled;
            }
            (429, "too_many_requests") | (503, "unavailable") => Sent::NotTaken,
            (503, "in_doubt") => self.in_doubt(number),
            (409, "idempotency_in_progress") if self.is_named(number) => return Sent::InDoubt,
            _ => {
                self.note(|ledger| ledger.unexpected.push(format!("event {number}: {answer}")));
                return Sent::Settled;
            }
        };
        self.note(|ledger| ledger.refusals += 1);
        sent
    }
}

fn accepted(told: &Value) -> Option<Accepted> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let deliveries = told["deliveries"].as_array()?.iter();
    let deliveries = deliveries.map(|one| Some((text(&one["id"])?, text(&one["webhook_id"])?)));
    Some(Accepted { event: text(&told["id"])?, deliveries: deliveries.collect::<Option<_>>()? })
}

/// Whether nobody listened, so that nothing was sent.
fn is_refused_connection(error: &anyhow::Error) -> bool {
    let mut causes = error.chain().filter_map(|cause| cause.downcast_ref::<std::io::Error>());
    causes.any(|cause| cause.kind() == std::io::ErrorKind::ConnectionRefused)
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
