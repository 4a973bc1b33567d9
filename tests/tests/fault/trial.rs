//! What every fault test begins with and ends with: an installation, two webhooks that each get every event, load,
//! and the check of it all.

use std::time::Duration;

use anyhow::{Context, Result};
use postrider_tests::harness::{Api, ServerOptions};
use postrider_tests::load::checking::{Findings, PROFILE, Subscriber, examine};
use postrider_tests::load::{Chance, Ledger, Load, Naming, Plan};
use postrider_tests::stage::{SOON, Stage};

/// Tries under way at once in one worker: few, so that the bound on repeats means something.
pub const SLOTS: usize = 64;
/// Requests of the producer under way at once.
pub const CONNECTIONS: u32 = 12;
/// Events a second: modest, since the test build of everything shares the machine with what is being tested.
const RATE: u32 = 200;
/// How long what is left may take to be delivered, its retries included.
pub const DRAIN: Duration = Duration::from_secs(120);
/// Where something is expected to go on after an outage of a server.
pub const RECOVERY: Duration = Duration::from_secs(60);

/// How much of a server's log is told when a check fails.
const LINES_SHOWN: usize = 60;

/// One test's installation and webhooks.
pub struct Trial {
    pub stage: Stage,
    pub subscribers: Vec<Subscriber>,
    pub chance: Chance,
}

/// When a delivery is taken to be lost and is published again: much sooner than the usual ten minutes, because an
/// event that was never answered may be in the log without its deliveries.
const OVERDUE_AFTER: &str = "30s";

/// The options of every server of a trial.
pub fn as_in_a_trial(options: ServerOptions) -> ServerOptions {
    options
        .env("POSTRIDER_WORKER_SLOTS", &SLOTS.to_string())
        .env("POSTRIDER_STATUS_OVERDUE_AFTER", OVERDUE_AFTER)
}

/// What may come twice: what was under way, at each kill.
pub fn in_flight(kills: usize) -> usize {
    (SLOTS + usize::try_from(CONNECTIONS).unwrap_or(0)) * kills
}

impl Trial {
    /// One process with all roles; a webhook that takes everything, and one that fails once each time.
    pub async fn open(test: &str, options: ServerOptions) -> Result<Self> {
        let chance = Chance::draw(test)?;
        let stage = Stage::open_with(as_in_a_trial(options), PROFILE).await?;
        let subscribers = vec![
            Subscriber::register(&stage.api, &stage.receiver, "/steady", 0).await?,
            Subscriber::register(&stage.api, &stage.receiver, "/failing-once", 1).await?,
        ];
        Ok(Self { stage, subscribers, chance })
    }

    /// Load on the stage's server.
    pub fn load(&self, naming: Naming) -> Load {
        self.load_on(std::slice::from_ref(&self.stage.api), naming, 0)
    }

    /// Load on these servers, the first event with this number.
    pub fn load_on(&self, targets: &[Api], naming: Naming, first: u64) -> Load {
        let plan = Plan { rate: RATE, connections: CONNECTIONS, naming, seed: self.chance.seed(), first };
        Load::start(targets, plan)
    }

    /// A number of events by which a fault comes at a moment that nobody chose.
    pub async fn some_time(&self, load: &Load) -> Result<()> {
        let events = usize::try_from(self.chance.between(20, 200))?;
        load.wait_for_accepted(events, RECOVERY).await
    }

    /// Ends the load, waits until everything is delivered, and checks it all; `kills` faults explain repeats.
    pub async fn check(&self, load: Load, kills: usize) -> Result<Findings> {
        let ledger = load.finish().await?;
        self.check_ledger(&ledger, kills).await
    }

    /// The same, of load that has ended.
    pub async fn check_ledger(&self, ledger: &Ledger, kills: usize) -> Result<Findings> {
        let Stage { receiver, api, .. } = &self.stage;
        let findings = examine(ledger, &self.subscribers, receiver, api, DRAIN).await?;
        let clean = findings.require_clean(in_flight(kills));
        clean.with_context(|| {
            format!("seed {}; the server's log:\n{}", self.chance.seed(), self.last_of_log())
        })
    }

    /// The end of what the stage's server wrote.
    fn last_of_log(&self) -> String {
        let log = self.stage.server.log();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(LINES_SHOWN)..].join("\n")
    }

    /// Waits until so many more requests have come.
    pub async fn wait_for_more_requests(&self, more: usize) -> Result<()> {
        let goal = self.stage.receiver.count() + more;
        let what = format!("{more} more requests");
        self.stage.receiver.wait_for(&what, SOON, |seen| seen.requests.len() >= goal).await?;
        Ok(())
    }
}
