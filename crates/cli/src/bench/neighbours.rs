//! What a healthy webhook feels of bad neighbours: its delays beside them against its delays without them.
//!
//! Two installations of the bench's own take turns, one process at a time: a *quiet* one, which has the healthy
//! webhooks alone, and one that has the neighbours too and keeps all that piled up from run to run. So the pairs are
//! interleaved, and what the neighbours leave behind costs the quiet run nothing. Delays are counted from the moment
//! an event was due to be sent, so a producer that is held up is seen as well.

mod bad_receivers;
mod comparison;
mod pacing;
mod site;
mod traffic;

use std::time::Duration;

use anyhow::{Context, ensure};
use clap::{Args, ValueEnum};
use postrider_contract::profile::Span;

use self::bad_receivers::BadReceivers;
use self::comparison::{Comparison, Side};
use self::site::Site;
use self::traffic::Traffic;
use super::cpu::CpuSample;
use super::head::head;
use super::installation::EngineGiven;
use super::memory;
use super::progress;
use super::receiver::{Arrivals, BenchReceiver};
use super::report::{Fact, Report};
use super::setup::{Setup, phase_length};
use crate::assemble::bring_to_rest;

pub use self::bad_receivers::serve;

/// Connections and caches warm up, and slow neighbours are found out, before anything is counted.
const WARM_UP: Duration = Duration::from_secs(4);
/// How long what was accepted may take to arrive.
const DRAIN: Duration = Duration::from_secs(60);

/// A kind of bad neighbour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Neighbour {
    /// One that answers at once, to compare with: what as much load costs by itself
    Ordinary,
    /// One that answers after nine seconds
    Slow,
    /// One that answers at once and drips its response body for ever
    Drip,
    /// One that always answers 500
    Failing,
    /// One that answers after 50 ms, with --waiting deliveries in the waiting room
    Hot,
    /// 10,000 webhooks that are given events alike, of which 100 take no connection and 100 always answer 500
    Fleet,
    /// The same 10,000, of which those 200 are given as many events as all others together
    Stricken,
}

impl Neighbour {
    const ALL: [Neighbour; 7] = [
        Neighbour::Ordinary,
        Neighbour::Slow,
        Neighbour::Drip,
        Neighbour::Failing,
        Neighbour::Hot,
        Neighbour::Fleet,
        Neighbour::Stricken,
    ];

    fn name(self) -> &'static str {
        match self {
            Neighbour::Ordinary => "ordinary",
            Neighbour::Slow => "slow",
            Neighbour::Drip => "drip",
            Neighbour::Failing => "failing",
            Neighbour::Hot => "hot",
            Neighbour::Fleet => "fleet",
            Neighbour::Stricken => "stricken",
        }
    }

    fn is_of_many(self) -> bool {
        matches!(self, Neighbour::Fleet | Neighbour::Stricken)
    }
}

/// What a healthy webhook feels of slow, dripping, failing and hot ones beside it
///
/// Pairs of runs, without and with them, on two installations that take turns.
/// Each is given events at the same rate: the healthy webhook, and the neighbours;
/// in the fleet, each webhook.
#[derive(Args, Clone)]
#[command(verbatim_doc_comment)]
pub struct Neighbours {
    /// Which ones (repeatable; all of them if none is named; on RabbitMQ and PostgreSQL one at a time)
    #[arg(long = "kind", value_enum, value_name = "KIND")]
    kinds: Vec<Neighbour>,
    /// Pairs of runs, without and with them
    #[arg(long, value_name = "COUNT", default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=99))]
    pairs: u16,
    /// How many deliveries wait for the hot one
    #[arg(long, value_name = "COUNT", default_value_t = 500_000, value_parser = clap::value_parser!(u32).range(1_000..=10_000_000))]
    waiting: u32,
    /// Events per second to the healthy on average, each by chance, and as many to the neighbours (of the fleet, see --kind)
    #[arg(long, value_name = "RATE", default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    rate: u32,
    /// How long each run lasts: 1s to 1h
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = phase_length)]
    duration: Span,
    /// Bytes of an event's data
    #[arg(long, value_name = "BYTES", default_value_t = 600, value_parser = clap::value_parser!(u32).range(64..=100_000))]
    size: u32,
    /// Another, empty database for the installation without neighbours, on RabbitMQ and PostgreSQL
    #[arg(long, value_name = "URL", requires = "store")]
    quiet_store: Option<String>,
    #[command(flatten)]
    pub setup: Setup,
}

impl Neighbours {
    /// # Errors
    /// When an installation cannot be started, or does not answer.
    pub async fn run(self) -> anyhow::Result<Report> {
        ensure!(!self.setup.is_running(), "neighbours are measured on installations of the bench's own");
        let kinds = if self.kinds.is_empty() { &Neighbour::ALL[..] } else { &self.kinds };
        ensure!(
            matches!(self.setup.engine(), EngineGiven::Embedded) || kinds.len() == 1,
            "name one --kind on RabbitMQ and PostgreSQL, and give it empty databases: what one kind leaves there \
             would be felt beside the next"
        );
        let healthy = BenchReceiver::spawn().await.context("starting the healthy receiver")?;
        let bad = BadReceivers::spawn().await.context("starting the bad receivers")?;
        let mut facts = head(&self.setup);
        let (rate, pairs, duration) = (self.rate, self.pairs, self.duration);
        let given =
            format!("{rate}/s to the healthy, {rate}/s to the neighbours; to the fleet's webhooks alike");
        facts.push(Fact::new("events", given));
        facts.push(Fact::new("runs", format!("{pairs} pairs of {duration}, without and with neighbours")));
        let (mut comparisons, mut faults) = (Vec::new(), Vec::new());
        for kind in kinds {
            // What was measured of the others took minutes, and is told all the same.
            match self.compare(*kind, &healthy, &bad).await {
                Ok(comparison) => comparisons.push(comparison),
                Err(error) => faults.push(format!("beside {}: not measured: {error:#}", kind.name())),
            }
        }
        let mut report = Report::new("neighbours", facts);
        report.tables.push(comparison::summary(&comparisons));
        report.tables.extend(comparisons.iter().map(Comparison::table));
        report.faults = comparisons.iter().flat_map(Comparison::faults).chain(faults).collect();
        Ok(report)
    }

    fn engine(&self, side: Side) -> anyhow::Result<EngineGiven> {
        Ok(match (self.setup.engine(), side) {
            (EngineGiven::Embedded, _) => EngineGiven::Embedded,
            (EngineGiven::Cluster { queue, store, .. }, Side::With) => {
                EngineGiven::Cluster { queue, store, prefix: Some("postrider.beside".to_owned()) }
            }
            (EngineGiven::Cluster { queue, .. }, Side::Without) => {
                let store = self.quiet_store.clone().context("a second database is needed: --quiet-store")?;
                EngineGiven::Cluster { queue, store, prefix: Some("postrider.quiet".to_owned()) }
            }
        })
    }

    async fn compare(
        &self,
        kind: Neighbour,
        healthy: &BenchReceiver,
        bad: &BadReceivers,
    ) -> anyhow::Result<Comparison> {
        progress(&format!("{}: making both installations ready", kind.name()));
        let mut quiet = Site::start(self.engine(Side::Without)?, kind, healthy, None).await?;
        quiet.installation.halt().await;
        let mut beside = Site::start(self.engine(Side::With)?, kind, healthy, Some(bad)).await?;
        if kind == Neighbour::Hot {
            progress(&format!("{}: {} deliveries into the waiting room", kind.name(), self.waiting));
            beside.fill(self.waiting, self.bytes()).await?;
        }
        beside.installation.halt().await;
        for side in [Side::With, Side::Without] {
            come_to_rest(&self.engine(side)?).await;
        }
        let mut comparison = Comparison::new(kind.name());
        for pair in 1..=self.pairs {
            progress(&format!("{}: pair {pair} of {}", kind.name(), self.pairs));
            for (side, site) in [(Side::Without, &mut quiet), (Side::With, &mut beside)] {
                site.installation.resume().await?;
                comparison.add(side, self.measure(site, healthy).await?);
                site.installation.halt().await;
            }
        }
        quiet.installation.stop().await;
        beside.installation.stop().await;
        Ok(comparison)
    }

    fn bytes(&self) -> usize {
        usize::try_from(self.size).unwrap_or(usize::MAX)
    }

    async fn measure(&self, site: &Site, healthy: &BenchReceiver) -> anyhow::Result<Measured> {
        let neighbours = site.bad_traffic(self.rate, self.bytes()).map(Traffic::start);
        let counted = || site.healthy_traffic(self.rate, self.bytes()).start();
        let warm_up = counted();
        tokio::time::sleep(WARM_UP).await;
        let sent = warm_up.stop().await?;
        healthy.wait_for(sent.accepted, DRAIN).await?;
        healthy.forget().await?;
        let watched = site.installation.processes();
        let before = CpuSample::take(&watched);
        let counted = counted();
        tokio::time::sleep(self.duration.duration()).await;
        let cpu = CpuSample::take(&watched).since(&before);
        let sent = counted.stop().await?;
        let arrivals = healthy.wait_for(sent.accepted, DRAIN).await?;
        if let Some(neighbours) = neighbours {
            neighbours.stop().await?;
        }
        let memory = memory::held(&watched).iter().map(|(_, bytes)| *bytes).sum();
        let waiting = site.waiting().await?;
        healthy.forget().await?;
        let cpu = cpu.iter().map(|(_, cpu)| *cpu).sum();
        Ok(Measured { expected: sent.accepted, refused: sent.refused, arrivals, cpu, memory, waiting })
    }
}

/// What was put into a store beforehand is not part of what is measured: PostgreSQL checkpoints and vacuums for minutes
/// after it, which both installations feel.
async fn come_to_rest(engine: &EngineGiven) {
    let EngineGiven::Cluster { store, .. } = engine else { return };
    progress("PostgreSQL comes to rest");
    if let Err(error) = bring_to_rest(store).await {
        progress(&format!("it does not, so the first runs may be slow, without neighbours too: {error}"));
    }
}

/// One run of one installation.
pub struct Measured {
    pub expected: u64,
    pub refused: u64,
    pub arrivals: Arrivals,
    /// CPU of the installation's own processes while it was counted.
    pub cpu: Duration,
    /// What the installation's processes hold at the end, in bytes.
    pub memory: u64,
    /// What waits for the neighbours at the end.
    pub waiting: u64,
}
