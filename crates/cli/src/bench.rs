//! `postrider bench`: loads an installation and reports what it did and what it cost.
//!
//! One scenario to a run, each a module that answers a [`Report`]: a head that says what it was measured on, tables,
//! and what did not hold. Generator and receiver are part of the run, and their CPU is reported apart. Figures of a
//! busy machine are noisy: CPU per delivery is the one to compare.

mod backlog;
mod child;
mod cpu;
mod due_at_once;
mod ground;
mod head;
mod installation;
mod lanes;
mod load;
mod memory;
mod neighbours;
mod receiver;
mod rendering;
pub mod report;
mod sample;
mod scale;
mod setup;
mod throughput;

use anyhow::{Context, bail};
use clap::{Args, Subcommand};

use self::backlog::Backlog;
use self::due_at_once::DueAtOnce;
use self::lanes::Lanes;
use self::neighbours::Neighbours;
use self::rendering::Rendering;
use self::report::Report;
use self::scale::Scale;
use self::setup::Reporting;
use self::throughput::Throughput;
use crate::client::Output;

/// Load an installation and report what it did and what it cost
///
/// Without a scenario: throughput.
///
/// Starts an installation of its own in a temporary folder, with its own
/// receiver, and removes it afterwards: on the embedded engine, or with --queue
/// and --store on RabbitMQ and PostgreSQL. `make bench-cluster` starts private
/// ones of these too, and accounts for them.
///
/// The report goes to standard output, progress to standard error. What is
/// given to the receiver and the generator in CPU is shown, and not counted.
///
/// Examples:
///   postrider bench                                  10 s at 200/s, 10 s saturated
///   postrider bench throughput --fan-out 5           every event to five webhooks
///   postrider bench --queue amqp://… --store postgres://…
///   postrider bench lanes --up-to 30s                is the schedule kept?
///   postrider bench backlog --waiting 100000         memory, and how fast it drains
///   postrider bench throughput --json report.json    for a program to read
///   postrider bench neighbours --kind slow           one webhook beside a slow one
///   postrider bench rendering                        a body and its signature, by profile
#[derive(Args)]
#[command(verbatim_doc_comment, args_conflicts_with_subcommands = true, subcommand_value_name = "SCENARIO")]
#[command(subcommand_help_heading = "Scenarios")]
pub struct Bench {
    #[command(subcommand)]
    scenario: Option<Scenario>,
    #[command(flatten)]
    throughput: Throughput,
}

#[derive(Subcommand)]
enum Scenario {
    Throughput(Box<Throughput>),
    Scale(Box<Scale>),
    Backlog(Box<Backlog>),
    Lanes(Box<Lanes>),
    DueAtOnce(Box<DueAtOnce>),
    Neighbours(Box<Neighbours>),
    Rendering(Rendering),
    /// Used by the bench itself: be the receiver
    #[command(hide = true)]
    BeReceiver,
    /// Used by the bench itself: be the receivers that behave badly
    #[command(hide = true)]
    BeBadReceivers,
}

impl Bench {
    /// # Errors
    /// When the installation cannot be started or reached, or loses something.
    pub async fn run(self, output: Output) -> anyhow::Result<()> {
        let (reporting, report) = match self
            .scenario
            .unwrap_or(Scenario::Throughput(Box::new(self.throughput)))
        {
            Scenario::BeReceiver => return receiver::serve().await,
            Scenario::BeBadReceivers => return neighbours::serve().await,
            Scenario::Throughput(throughput) => (throughput.setup.reporting.clone(), throughput.run().await?),
            Scenario::Neighbours(neighbours) => (neighbours.setup.reporting.clone(), neighbours.run().await?),
            Scenario::Rendering(rendering) => (rendering.reporting.clone(), rendering.run()?),
            Scenario::Scale(scale) => (scale.setup.reporting.clone(), scale.run().await?),
            Scenario::Backlog(backlog) => (backlog.setup.reporting.clone(), backlog.run().await?),
            Scenario::Lanes(lanes) => (lanes.setup.reporting.clone(), lanes.run().await?),
            Scenario::DueAtOnce(due_at_once) => {
                (due_at_once.setup.reporting.clone(), due_at_once.run().await?)
            }
        };
        show(&report, &reporting, output)
    }
}

/// Prints the report, writes it where it is wanted, and fails if something did not hold.
fn show(report: &Report, reporting: &Reporting, output: Output) -> anyhow::Result<()> {
    let json = serde_json::to_string_pretty(report).context("writing the report as JSON")?;
    match output {
        Output::Table => print!("{report}"),
        Output::Json => println!("{json}"),
    }
    if let Some(path) = &reporting.json {
        std::fs::write(path, json + "\n").with_context(|| format!("writing {}", path.display()))?;
    }
    if !report.faults.is_empty() {
        bail!("{}", report.faults.join("; "));
    }
    Ok(())
}

/// A step of a long run, for whoever waits for it.
fn progress(what: &str) {
    eprintln!("{what} …");
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;
    use std::time::Duration;

    #[derive(Parser)]
    struct CommandLine {
        #[command(flatten)]
        bench: Bench,
    }

    fn refused(line: &[&str]) -> String {
        let line = [&["bench"], line].concat();
        let parsed = CommandLine::try_parse_from(line);
        parsed.err().map(|error| error.to_string()).expect("refused")
    }

    #[test]
    fn what_would_measure_nothing_is_refused_with_its_bounds() {
        for scenario in [&[][..], &["throughput"]] {
            let with = |option: &[&str]| refused(&[scenario, option].concat());
            assert!(with(&["--rate", "0"]).contains("1..=100000"));
            assert!(with(&["--connections", "0"]).contains("1..=4096"));
            assert!(with(&["--duration", "0s"]).contains("from 1s to 1h"));
        }
        assert!(refused(&["lanes", "--up-to", "500ms"]).contains("from 1s to 24h"));
        assert!(refused(&["backlog", "--waiting", "0"]).contains("10..=10000000"));
        assert!(refused(&["due-at-once", "--fan-out", "61"]).contains("1..=60"));
        assert!(refused(&["scale", "--rounds", "0"]).contains("1..=9"));
        assert!(refused(&["throughput", "--note", "nothing"]).contains("NAME=TEXT"));
        assert!(refused(&["faster"]).contains("faster"), "an unknown scenario is refused");
        assert!(refused(&["--queue", "amqp://localhost"]).contains("--store"));
    }

    #[tokio::test]
    async fn what_needs_processes_of_their_own_is_refused_on_the_embedded_engine() {
        for line in [&["bench", "scale"][..], &["bench", "backlog", "--because", "no-worker"]] {
            let bench = CommandLine::try_parse_from(line).expect("right").bench;
            let refusal = bench.run(Output::Table).await.expect_err("refused").to_string();
            assert!(refusal.contains("--queue and --store"), "{refusal}");
        }
    }

    #[test]
    fn without_a_scenario_throughput_is_measured() {
        let line = CommandLine::try_parse_from(["bench", "--rate", "50", "--duration", "2s"]).expect("right");
        assert!(line.bench.scenario.is_none());
        let throughput = line.bench.throughput;
        assert_eq!((throughput.rate, throughput.duration.duration()), (50, Duration::from_secs(2)));
    }
}
