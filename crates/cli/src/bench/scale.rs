//! Whether more processes are worth it: two workers and two status processes against one of each.

use anyhow::ensure;
use clap::Args;
use postrider_contract::profile::Span;

use super::head::head;
use super::installation::Layout;
use super::load::{Load, Pace};
use super::progress;
use super::report::{Cell, Fact, Report, Table, rate};
use super::setup::{Setup, phase_length};
use super::throughput::{Phase, phase, subscribe, warm_up};

/// Two workers and two status processes against one of each, saturated; cluster only
///
/// Every role is a process of its own. On one machine all of them share its
/// cores, so that two can at best be no worse than one; what the broker and
/// the store make of it is what shows.
#[derive(Args, Clone)]
#[command(verbatim_doc_comment)]
pub struct Scale {
    /// How often each is measured, in turn
    #[arg(long, value_name = "COUNT", default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=9))]
    rounds: u8,
    /// How long each measurement lasts: 1s to 1h
    #[arg(long, value_name = "TIME", default_value = "8s", value_parser = phase_length)]
    duration: Span,
    /// Connections of the generator
    #[arg(long, value_name = "COUNT", default_value_t = 128, value_parser = clap::value_parser!(u16).range(1..=4096))]
    connections: u16,
    #[command(flatten)]
    pub setup: Setup,
}

/// Bytes of an event's data.
const SIZE: usize = 600;

impl Scale {
    /// # Errors
    /// When there is nothing to measure on, or it does not answer.
    pub async fn run(self) -> anyhow::Result<Report> {
        ensure!(self.setup.is_cluster(), "scale needs the cluster engines: give --queue and --store");
        let mut phases = Vec::new();
        for round in 1..=self.rounds {
            for count in [1, 2] {
                let name = format!("{count} of each, round {round}");
                let layout = Layout::Workers(count);
                let measured = self.setup.on_ground_laid_out(layout, async |ground| {
                    let tenant = subscribe(ground, 1).await?;
                    let load = Load::to(ground, &tenant, SIZE);
                    warm_up(ground, &load, 1).await?;
                    progress(&format!("{name}: saturated for {}", self.duration));
                    let how = (name.clone(), Pace::Saturating(self.connections));
                    phase(ground, &load, how, self.duration.duration(), 1).await
                });
                phases.push((count, measured.await?));
            }
        }
        let mut facts = head(&self.setup);
        facts.push(Fact::new(
            "events",
            format!("{SIZE} bytes of data, fan-out 1, {} connections", self.connections),
        ));
        facts
            .push(Fact::new("processes", "one manage, one ingest, and so many workers and status processes"));
        let mut report = Report::new("scale", facts);
        report.faults = phases.iter().filter_map(|(_, phase)| phase.fault()).collect();
        report.notes.push(verdict(&phases));
        report.tables = tables(&phases);
        Ok(report)
    }
}

fn delivered(phase: &Phase) -> f64 {
    rate(phase.arrivals.distinct, phase.arrivals.took)
}

fn verdict(phases: &[(u8, Phase)]) -> String {
    let of = |wanted: u8| {
        let rates = phases.iter().filter(|(count, _)| *count == wanted).map(|(_, phase)| delivered(phase));
        median(rates.collect())
    };
    let (one, two) = (of(1), of(2));
    format!("Medians: {one:.0}/s with one of each, {two:.0}/s with two: × {:.2}.", two / one.max(1.0))
}

/// The middle one; of an even number, the lower of the two in the middle.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len().saturating_sub(1) / 2).copied().unwrap_or(0.0)
}

fn tables(phases: &[(u8, Phase)]) -> Vec<Table> {
    let columns =
        ["workers and status", "accepted/s", "delivered/s", "arrival p50 ms", "p99 ms", "CPU µs each"];
    let mut table = Table::new("Saturated", &columns);
    for (_, phase) in phases {
        let [p50, _, p99, _] = Cell::percentiles(phase.arrivals.latencies);
        table.row(vec![
            Cell::from(phase.name.as_str()),
            Cell::Number(rate(phase.sent.accepted, phase.sent.took)),
            Cell::Number(delivered(phase)),
            p50,
            p99,
            Cell::Number(phase.cost.micros(phase.arrivals.distinct)),
        ]);
    }
    let last = phases.len().saturating_sub(2);
    let costs: Vec<_> = phases[last..]
        .iter()
        .map(|(_, phase)| (phase.name.as_str(), &phase.cost, phase.arrivals.distinct))
        .collect();
    vec![table, Table::of_costs(&costs)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_one() {
        assert!((median(vec![3.0, 1.0, 2.0]) - 2.0).abs() < f64::EPSILON);
        assert!((median(vec![4.0, 1.0]) - 1.0).abs() < f64::EPSILON);
        assert!(median(Vec::new()).abs() < f64::EPSILON);
    }
}
