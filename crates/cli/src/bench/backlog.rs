//! What a backlog costs: how much memory it holds, and how fast it drains.

use std::time::Duration;

use anyhow::{Context, ensure};
use clap::{Args, ValueEnum};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::ground::Ground;
use super::head::head;
use super::installation::{Layout, Tenant};
use super::load::{Load, LoadResult, Pace, Until};
use super::memory::held;
use super::progress;
use super::receiver::Arrivals;
use super::report::{Cell, Cost, Fact, Report, Table, rate};
use super::setup::Setup;
use super::throughput::subscribe;

/// Memory with many deliveries waiting, and how fast they are delivered afterwards
///
/// paused: every webhook is paused, so that they wait in the waiting room; then
/// all are resumed. no-worker: they wait in the queue, since there is no worker
/// yet; then one is started (cluster only).
#[derive(Args, Clone)]
#[command(verbatim_doc_comment)]
pub struct Backlog {
    /// Deliveries that wait
    #[arg(long, value_name = "COUNT", default_value_t = 500_000, value_parser = clap::value_parser!(u32).range(10..=10_000_000))]
    waiting: u32,
    /// Why they wait
    #[arg(long, value_name = "REASON", value_enum, default_value_t)]
    because: Reason,
    /// Webhooks that every event matches
    #[arg(long, value_name = "COUNT", default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..=60))]
    fan_out: u16,
    #[command(flatten)]
    pub setup: Setup,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Reason {
    #[default]
    Paused,
    NoWorker,
}

/// Bytes of an event's data.
const SIZE: usize = 600;
/// Connections of the generator.
const CONNECTIONS: u16 = 64;
/// How long the log may take to show what was accepted, and the deliveries to arrive. At 1,000/s the default takes
/// eight minutes.
const PATIENCE: Duration = Duration::from_secs(1_800);
/// Between two looks at the ledger, which counts every row of the window.
const LOOK_EVERY: Duration = Duration::from_secs(2);

struct Found {
    before: Vec<(String, u64)>,
    sent: LoadResult,
    expected: u64,
    logged_after: Duration,
    filling: Cost,
    arrivals: Arrivals,
    draining: Cost,
}

impl Backlog {
    /// # Errors
    /// When there is nothing to measure on, or it does not answer.
    pub async fn run(self) -> anyhow::Result<Report> {
        let found = match self.because {
            Reason::Paused => self.setup.on_ground(async |ground| self.measure(ground).await).await?,
            Reason::NoWorker => {
                ensure!(
                    self.setup.is_cluster(),
                    "without a worker needs the cluster engines: give --queue and --store"
                );
                let layout = Layout::WithoutWorkers;
                self.setup.on_ground_laid_out(layout, async |ground| self.measure(ground).await).await?
            }
        };
        let mut facts = head(&self.setup);
        facts.push(Fact::new("events", format!("{SIZE} bytes of data, fan-out {}", self.fan_out)));
        let mut report = Report::new("backlog", facts);
        let lost = found.expected.saturating_sub(found.arrivals.distinct);
        if lost > 0 {
            report.faults.push(format!("{lost} accepted deliveries did not arrive"));
        }
        report.notes.push(memory_before(&found.before));
        report.tables = tables(&found);
        Ok(report)
    }

    async fn measure(&self, ground: &mut Ground) -> anyhow::Result<Found> {
        let tenant = subscribe(ground, self.fan_out).await?;
        if self.because == Reason::Paused {
            self.tell_each(ground, &tenant, "pause").await?;
            ground.installation.spread_the_word().await;
        }
        ground.receiver.forget().await?;
        let before = held(&ground.watched());
        progress(&format!("publishing until {} deliveries wait", self.waiting));
        let load = Load::to(ground, &tenant, SIZE);
        let events = u64::from(self.waiting / u32::from(self.fan_out)).max(1);
        let work = async {
            let sent = load.run(Pace::Saturating(CONNECTIONS), Until::Sent(events)).await?;
            sent.require_all()?;
            let expected = sent.accepted * u64::from(self.fan_out);
            let logged_after = self.wait_for_log(ground, &tenant, expected).await?;
            Ok((sent, expected, logged_after))
        };
        let ((sent, expected, logged_after), filling) = ground.account_for(work).await?;
        progress("delivering them");
        if self.because == Reason::NoWorker {
            ground.installation.add("worker").await?;
        }
        let work = async {
            if self.because == Reason::Paused {
                self.tell_each(ground, &tenant, "resume").await?;
            }
            ground.receiver.wait_for(expected, PATIENCE).await
        };
        let (arrivals, draining) = ground.account_for(work).await?;
        Ok(Found { before, sent, expected, logged_after, filling, arrivals, draining })
    }

    async fn tell_each(&self, ground: &Ground, tenant: &Tenant, verb: &str) -> anyhow::Result<()> {
        let webhooks = ground.installation.for_tenant(tenant, "GET", "/v1/webhooks", &Value::Null).await?;
        let webhooks = webhooks["data"].as_array().context("a list of webhooks without data")?;
        for webhook in webhooks {
            let id = webhook["id"].as_str().context("a webhook without id")?;
            let path = format!("/v1/webhooks/{id}/{verb}");
            ground.installation.for_tenant(tenant, "POST", &path, &json!({})).await?;
        }
        Ok(())
    }

    /// Waits until the ledger shows so many waiting; answers how long that took.
    async fn wait_for_log(
        &self,
        ground: &Ground,
        tenant: &Tenant,
        expected: u64,
    ) -> anyhow::Result<Duration> {
        let started = Instant::now();
        loop {
            let ledger = ground.installation.for_tenant(tenant, "GET", "/v1/ledger", &Value::Null).await?;
            let count = |state: &str| ledger["deliveries"][state].as_u64().unwrap_or(0);
            let waiting = match self.because {
                Reason::Paused => count("held"),
                Reason::NoWorker => count("pending"),
            };
            if waiting >= expected {
                return Ok(started.elapsed());
            }
            let deliveries = &ledger["deliveries"];
            ensure!(
                started.elapsed() < PATIENCE,
                "{waiting} of {expected} wait after {PATIENCE:?}: {deliveries}"
            );
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }
}

fn memory_before(before: &[(String, u64)]) -> String {
    let each = before.iter().map(|(name, bytes)| format!("{name} {} MiB", bytes / (1024 * 1024)));
    format!("Memory before the first event: {}.", each.collect::<Vec<_>>().join(", "))
}

fn tables(found: &Found) -> Vec<Table> {
    let mut table =
        Table::new("How it went", &["step", "deliveries", "seconds", "deliveries/s", "more than once"]);
    let delivered = found.arrivals.distinct;
    for (step, count, took, repeats) in [
        ("taken in", found.expected, found.sent.took, 0),
        ("waiting in the log too", found.expected, found.sent.took + found.logged_after, 0),
        ("delivered", delivered, found.arrivals.took, found.arrivals.repeats),
    ] {
        table.row(vec![
            Cell::from(step),
            Cell::Count(count),
            Cell::Number(took.as_secs_f64()),
            Cell::Number(rate(count, took)),
            Cell::Count(repeats),
        ]);
    }
    let phases = [("filling", &found.filling, found.expected), ("draining", &found.draining, delivered)];
    vec![table, Table::of_costs(&phases)]
}
