//! What every fault test begins with and ends with: an installation, three webhooks that each get every event, load,
//! and the check of it all.
//!
//! Nothing is healed while a fault is on: `status.overdue_after` is its default of ten minutes. Everything that was
//! promised must come to its end without. Only then what is still open, which nobody was promised, is healed, and
//! nothing else may be. A lane of which the broker itself will never give anything back is the one exception: what is in
//! it is healed.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use postrider_contract::profile::Span;
use postrider_rabbitmq::{QueueLimits, QueueName, Topology, lane_for};
use postrider_tests::harness::{Api, Behaviour, Seen, Server, ServerOptions};
use postrider_tests::load::checking::{
    DELIVERY_HEADER, Evidence, Open, PROFILE, Subscriber, WAITS, Window, concluded, examine,
    promised_concluded,
};
use postrider_tests::load::findings::Findings;
use postrider_tests::load::{Chance, Ledger, Load, Naming, Plan};
use postrider_tests::stage::{SOON, Stage};
use serde_json::{Value, json};

use super::broker::Broker;

/// Tries under way at once in one worker: few, so that the bound on repeats means something.
pub const SLOTS: usize = 64;
/// Requests of the producer under way at once.
pub const CONNECTIONS: u32 = 24;
/// Events a second, three deliveries each.
pub const RATE: u32 = 500;
const FAN_OUT: usize = 3;
/// How long nothing may move while something is left to be delivered, its retries included.
pub const DRAIN: Duration = Duration::from_secs(180);
/// Where something is expected to go on after an outage of a server.
pub const RECOVERY: Duration = Duration::from_secs(60);
/// Every answer of ingest comes within this, whatever is away.
const PROMISED_ANSWER: Duration = Duration::from_secs(5);
/// The least that can be set: when everything promised has ended, the rest is healed soon.
const OVERDUE_AFTER: (&str, &str) = ("POSTRIDER_STATUS_OVERDUE_AFTER", "10s");
/// What a server says of each delivery that it heals.
const HEALS: &str = "publishing an overdue delivery again";

/// How much of a server's log is told when a check fails, and which of its metrics.
const LINES_SHOWN: usize = 40;
const COUNTED: [&str; 5] = [
    "postrider_queue",
    "postrider_delivery_attempts_total",
    "postrider_delivery_retries_scheduled_total",
    "postrider_strays_total",
    "postrider_status_lag_seconds",
];

/// One test's installation and webhooks.
pub struct Trial {
    pub stage: Stage,
    /// Further processes of the installation.
    pub others: Vec<Server>,
    pub subscribers: Vec<Subscriber>,
    pub chance: Chance,
    /// By how much the clock of some process is ahead of ours.
    pub ahead: Duration,
    /// Its account is told when a check fails.
    pub broker: Broker,
}

/// The options of every server of a trial.
pub fn as_in_a_trial(options: ServerOptions) -> ServerOptions {
    options.env("POSTRIDER_WORKER_SLOTS", &SLOTS.to_string())
}

/// What may come twice when processes or servers die so many times: a worker's leases, which are twice its slots,
/// since a slot is free again before its try is settled; and what was being published, which is published again
/// under the same ids: on each connection one request as the fault comes and one more before it is noticed.
///
/// How often the producer asks again for a keyed event in doubt does not count. Its repeats may be hundreds while a
/// server is away, and all of them come upon the same pending row when it is back; but ingest publishes the event by
/// one of them at a time, and the first that is confirmed ends it. Before that it may be published once by the request
/// that met the fault, which is what is counted here: while the queue is away nothing more is.
pub fn in_flight(faults: usize) -> usize {
    let leases = 2 * SLOTS;
    let publishing = 2 * usize::try_from(CONNECTIONS).unwrap_or(0) * FAN_OUT;
    (leases + publishing) * faults
}

impl Trial {
    /// One process (with all roles, unless the options name some), and three webhooks: one that takes everything, one
    /// that answers the first try of each delivery with 500, and one that hangs up on it.
    pub async fn open(test: &str, options: ServerOptions) -> Result<Self> {
        let mut trial = Self::open_empty(test, options).await?;
        let first = |behaviour| (1, behaviour);
        trial.subscribe("/steady", (0, Behaviour::ok()), json!({})).await?;
        trial.subscribe("/failing-once", first(Behaviour::status(500)), json!({})).await?;
        trial.subscribe("/flaky", first(Behaviour::CloseBeforeStatus), json!({})).await?;
        Ok(trial)
    }

    /// The same without webhooks.
    pub async fn open_empty(test: &str, options: ServerOptions) -> Result<Self> {
        let chance = Chance::draw(test)?;
        let stage = Stage::open_with(as_in_a_trial(options), PROFILE).await?;
        let (others, subscribers) = (Vec::new(), Vec::new());
        Ok(Self { stage, others, subscribers, chance, ahead: Duration::ZERO, broker: Broker::Untold })
    }

    pub async fn subscribe(&mut self, path: &str, fails: (usize, Behaviour), fields: Value) -> Result<()> {
        let Stage { api, receiver, .. } = &self.stage;
        self.subscribers.push(Subscriber::register(api, receiver, path, fails, fields).await?);
        Ok(())
    }

    /// Load on the stage's server.
    pub fn load(&self, naming: Naming) -> Load {
        self.load_on(std::slice::from_ref(&self.stage.api), naming)
    }

    /// Load on these servers.
    pub fn load_on(&self, targets: &[Api], naming: Naming) -> Load {
        self.load_at(RATE, targets, naming)
    }

    /// Load of so many events a second.
    pub fn load_at(&self, rate: u32, targets: &[Api], naming: Naming) -> Load {
        let plan = Plan { rate, connections: CONNECTIONS, naming, seed: self.chance.seed(), first: 0 };
        Load::start(targets, plan)
    }

    /// A number of events by which a fault comes at a moment that nobody chose.
    pub async fn some_time(&self, load: &Load) -> Result<()> {
        let events = usize::try_from(self.chance.between(20, 300))?;
        load.wait_for_accepted(events, RECOVERY).await
    }

    /// Ends the load, waits until everything is delivered, and checks it all; at most so many requests may be repeats,
    /// or not stand in the log. Every answer came as soon as is promised, also that of a process that was starting.
    pub async fn check(&mut self, load: Load, repeats: usize) -> Result<Findings> {
        let ledger = load.finish().await?;
        let findings = self.check_ledger(&ledger, repeats).await?;
        ensure!(ledger.slowest_answer <= PROMISED_ANSWER, "an answer took {:?}", ledger.slowest_answer);
        Ok(findings)
    }

    /// As [`Trial::check`], of load that has ended.
    pub async fn check_ledger(&mut self, ledger: &Ledger, repeats: usize) -> Result<Findings> {
        let checked = self.examine(ledger).await;
        let findings = checked.and_then(|findings| findings.require_clean(repeats));
        let findings =
            self.explained(findings).await.with_context(|| format!("seed {}", self.chance.seed()))?;
        println!(
            "{} requests of the producer in {:.1?}, {:.0}/s; {} accepted, {} refusals, {} not answered, the slowest after {:?}",
            ledger.requests,
            ledger.lasted,
            ledger.requests_per_second(),
            ledger.accepted.len(),
            ledger.refusals,
            ledger.unanswered,
            ledger.slowest_answer
        );
        Ok(findings)
    }

    async fn examine(&mut self, ledger: &Ledger) -> Result<Findings> {
        let window = Window::ahead(self.ahead);
        let promised = promised_concluded(ledger, &self.stage.api, window, DRAIN).await;
        let healed = self.healed();
        ensure!(healed.is_empty(), "healed before its time: {healed:?}");
        let withheld = if promised.is_err() { self.broker.withheld().await? } else { Vec::new() };
        let concluded = match promised {
            Ok(Open::None) => concluded(&self.stage.api, window, DRAIN).await,
            Err(error) if withheld.is_empty() => Err(error),
            Ok(Open::InDoubt) | Err(_) => {
                self.let_heal().await?;
                concluded(&self.stage.api, window, DRAIN).await
            }
        };
        let (Stage { receiver, api, .. }, subscribers) = (&self.stage, &self.subscribers);
        let mut healed = self.healed();
        if !withheld.is_empty() {
            println!("the broker gives nothing back of {withheld:?}; {} were healed", healed.len());
            healed.clear();
        }
        examine(ledger, Evidence { subscribers, receiver, api, concluded, healed: &healed }).await
    }

    /// From now on what is overdue by ten seconds is healed.
    async fn let_heal(&mut self) -> Result<()> {
        let (name, value) = OVERDUE_AFTER;
        for server in std::iter::once(&mut self.stage.server).chain(&mut self.others) {
            server.set_env(name, value);
            server.restart().await?;
        }
        Ok(())
    }

    /// Ids of the deliveries that were healed so far.
    fn healed(&self) -> BTreeSet<String> {
        let logs = std::iter::once(&self.stage.server).chain(&self.others).map(Server::log);
        let id_of = |line: &str| {
            let said: Value = serde_json::from_str(line).ok()?;
            said["delivery.id"].as_str().map(str::to_owned)
        };
        logs.flat_map(|log| {
            log.lines().filter(|line| line.contains(HEALS)).filter_map(id_of).collect::<Vec<_>>()
        })
        .collect()
    }

    /// A failure with what the servers tell of it.
    async fn explained<T>(&self, result: Result<T>) -> Result<T> {
        match result {
            Ok(value) => Ok(value),
            Err(error) => {
                Err(error.context(format!("what the servers tell:\n{}", self.what_servers_tell().await)))
            }
        }
    }

    /// The end of what each wrote, and what each counts of queues, tries and strays; and what the broker says.
    async fn what_servers_tell(&self) -> String {
        let mut told = String::new();
        for server in std::iter::once(&self.stage.server).chain(&self.others) {
            let log = server.log();
            let lines: Vec<&str> = log.lines().collect();
            told.push_str(&lines[lines.len().saturating_sub(LINES_SHOWN)..].join("\n"));
            let metrics = match server.admin().get("/metrics").await {
                Ok(answer) => String::from_utf8_lossy(&answer.body).into_owned(),
                Err(error) => format!("{error:#}"),
            };
            for line in metrics.lines().filter(|line| is_telling(line)) {
                told.push_str("\n  ");
                told.push_str(line);
            }
            told.push_str("\n\n");
        }
        told.push_str(&self.broker.post_mortem().await);
        told
    }

    /// Waits until so many second tries have come. The first wait's lane is there then.
    pub async fn wait_for_retries(&self, count: usize) -> Result<()> {
        let has_come = |seen: &Seen| {
            let ids: Vec<_> =
                seen.to("/failing-once").filter_map(|request| request.header(DELIVERY_HEADER)).collect();
            ids.len() - ids.iter().collect::<BTreeSet<_>>().len() >= count
        };
        self.stage.receiver.wait_for("retries", SOON, has_come).await?;
        Ok(())
    }

    /// Waits until so many more requests have come.
    pub async fn wait_for_more_requests(&self, more: usize) -> Result<()> {
        let goal = self.stage.receiver.count() + more;
        let what = format!("{more} more requests");
        let came = self.stage.receiver.wait_until(&what, RECOVERY, |seen| seen.requests.len() >= goal).await;
        self.explained(came).await
    }
}

/// The queues that the load uses, the lane of the first wait too.
pub fn queues_in_use() -> Result<Vec<String>> {
    let topology = Topology::new("postrider", QueueLimits::default());
    let first_wait = WAITS[0].parse::<Span>()?.duration();
    let names = [QueueName::First, QueueName::Retry, QueueName::Journal].map(|name| topology.queue(name));
    Ok(names.into_iter().chain([topology.lane(lane_for(first_wait))]).collect())
}

fn is_telling(metric: &str) -> bool {
    COUNTED.iter().any(|name| metric.starts_with(name)) && !metric.ends_with(" 0")
}
