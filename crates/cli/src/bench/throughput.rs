//! How much comes through, and how fast: at a fixed rate, then as much as goes.

use std::time::Duration;

use clap::Args;
use postrider_contract::profile::{ProfileName, Span};

use super::ground::Ground;
use super::head::head;
use super::installation::{Subscription, Tenant};
use super::load::{EVENT_TYPE, Load, LoadResult, Pace, Until};
use super::progress;
use super::receiver::Arrivals;
use super::report::{Cell, Cost, Fact, Report, Table, rate};
use super::setup::{Setup, phase_length};

/// Accepted/s, delivered/s, latency and CPU per delivery, at a fixed rate and saturated
///
/// Arrival is counted from the sending of the request that brings the event to
/// its arrival at the receiver.
#[derive(Args, Clone)]
#[command(verbatim_doc_comment)]
pub struct Throughput {
    /// Events per second of the phase at a fixed rate
    #[arg(long, value_name = "RATE", default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub rate: u32,
    /// How long each phase lasts: 1s to 1h
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = phase_length)]
    pub duration: Span,
    /// Webhooks that every event matches
    #[arg(long, value_name = "COUNT", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=100))]
    fan_out: u16,
    /// Bytes of an event's data
    #[arg(long, value_name = "BYTES", default_value_t = 600, value_parser = clap::value_parser!(u32).range(64..=1_000_000))]
    size: u32,
    /// Connections of the generator when it saturates
    #[arg(long, value_name = "COUNT", default_value_t = 128, value_parser = clap::value_parser!(u16).range(1..=4096))]
    connections: u16,
    #[command(flatten)]
    pub setup: Setup,
}

/// After a phase, how long what was accepted may take to arrive.
const DRAIN: Duration = Duration::from_secs(120);
const WARM_UP: Duration = Duration::from_secs(2);

/// One load for one while.
pub struct Phase {
    pub name: String,
    pub sent: LoadResult,
    pub expected: u64,
    pub arrivals: Arrivals,
    pub cost: Cost,
}

impl Throughput {
    /// # Errors
    /// When there is nothing to measure on, or it does not answer.
    pub async fn run(self) -> anyhow::Result<Report> {
        let phases = self.setup.on_ground(async |ground| self.measure(ground).await).await?;
        let mut facts = head(&self.setup);
        let (size, fan_out) = (self.size, self.fan_out);
        facts.push(Fact::new("events", format!("{size} bytes of data, fan-out {fan_out}")));
        let mut report = Report::new("throughput", facts);
        report.tables = tables(&phases);
        report.faults = phases.iter().filter_map(Phase::fault).collect();
        Ok(report)
    }

    async fn measure(&self, ground: &Ground) -> anyhow::Result<Vec<Phase>> {
        let tenant = subscribe(ground, self.fan_out).await?;
        let load = Load::to(ground, &tenant, usize::try_from(self.size).unwrap_or(usize::MAX));
        warm_up(ground, &load, self.fan_out).await?;
        let fixed = (format!("{} events/s", self.rate), Pace::Fixed(self.rate));
        let full =
            (format!("saturated ({} connections)", self.connections), Pace::Saturating(self.connections));
        let mut phases = Vec::new();
        for how in [fixed, full] {
            progress(&format!("{} for {}", how.0, self.duration));
            phases.push(phase(ground, &load, how, self.duration.duration(), self.fan_out).await?);
        }
        Ok(phases)
    }
}

/// A tenant, and so many webhooks to the receiver that each get every event.
pub async fn subscribe(ground: &Ground, fan_out: u16) -> anyhow::Result<Tenant> {
    let tenant = ground.installation.tenant(ProfileName::standard().as_str()).await?;
    for number in 0..fan_out {
        let url = ground.receiver.url(&format!("/{number}"));
        ground.installation.webhook(&tenant, Subscription::new(url, EVENT_TYPE)).await?;
    }
    ground.installation.spread_the_word().await;
    Ok(tenant)
}

/// Connections, caches and plans warm up in a load that is not reported.
pub async fn warm_up(ground: &Ground, load: &Load, fan_out: u16) -> anyhow::Result<()> {
    progress("warming up");
    let sent = load.run(Pace::Fixed(200), Until::Passed(WARM_UP)).await?;
    ground.receiver.wait_for(sent.accepted * u64::from(fan_out), DRAIN).await?;
    Ok(())
}

/// One load for one while, until everything it brought has arrived.
pub async fn phase(
    ground: &Ground,
    load: &Load,
    (name, pace): (String, Pace),
    length: Duration,
    fan_out: u16,
) -> anyhow::Result<Phase> {
    ground.receiver.forget().await?;
    let work = async {
        let sent = load.run(pace, Until::Passed(length)).await?;
        let expected = sent.accepted * u64::from(fan_out);
        let arrivals = ground.receiver.wait_for(expected, DRAIN).await?;
        Ok((sent, expected, arrivals))
    };
    let ((sent, expected, arrivals), cost) = ground.account_for(work).await?;
    Ok(Phase { name, sent, expected, arrivals, cost })
}

impl Phase {
    /// What was accepted and did not arrive.
    pub fn fault(&self) -> Option<String> {
        let lost = self.expected.saturating_sub(self.arrivals.distinct);
        (lost > 0).then(|| format!("{}: {lost} accepted deliveries did not arrive", self.name))
    }
}

fn tables(phases: &[Phase]) -> Vec<Table> {
    let columns = ["load", "accepted/s", "refused", "delivered", "delivered/s", "more than once"];
    let mut through = Table::new("What came through", &columns);
    let columns = ["load", "", "p50 ms", "p95 ms", "p99 ms", "max ms"];
    let mut times = Table::new("How long it took", &columns);
    for phase in phases {
        let (sent, arrivals) = (&phase.sent, &phase.arrivals);
        through.row(vec![
            Cell::from(phase.name.as_str()),
            Cell::Number(rate(sent.accepted, sent.took)),
            Cell::Count(sent.refused),
            Cell::Count(arrivals.distinct),
            Cell::Number(rate(arrivals.distinct, arrivals.took)),
            Cell::Count(arrivals.repeats),
        ]);
        for (what, micros) in [("to the 202", sent.answers), ("to the receiver", arrivals.latencies)] {
            let words = [Cell::from(phase.name.as_str()), Cell::from(what)];
            times.row(words.into_iter().chain(Cell::percentiles(micros)).collect());
        }
    }
    let costs: Vec<_> =
        phases.iter().map(|phase| (phase.name.as_str(), &phase.cost, phase.arrivals.distinct)).collect();
    vec![through, times, Table::of_costs(&costs)]
}
