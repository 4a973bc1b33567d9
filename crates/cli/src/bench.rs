//! `postrider bench`: loads an installation and reports what it did and what it cost.
//!
//! Generator and receiver are part of the run, and their CPU is reported apart. Figures of a busy machine are
//! noisy: CPU per delivery is the one to compare.

mod cpu;
mod installation;
mod load;
mod receiver;
mod report;

use std::time::Duration;

use anyhow::{Context, ensure};
use clap::Args;
use postrider_contract::profile::{InvalidSpan, Span};

use self::cpu::{CpuSample, Watched};
use self::installation::Installation;
use self::load::{Load, LoadResult, Pace};
use self::receiver::{Arrivals, BenchReceiver};
use self::report::{Phase, Report};
use crate::config::variable;

/// Load an installation and report accepted/s, delivered/s, latency and CPU per delivery
///
/// Without --against it starts an installation of its own, in a temporary folder, with its own receiver, and removes it
/// afterwards; --queue and --store put that one on RabbitMQ and PostgreSQL.
#[derive(Args)]
pub struct Bench {
    /// An installation that runs already, in development mode
    #[arg(long, value_name = "URL")]
    against: Option<String>,
    /// Its admin key; better given by the variable, which does not show in a list of processes
    /// [env: POSTRIDER_ADMIN_KEY]
    #[arg(long, value_name = "KEY")]
    admin_key: Option<String>,
    /// RabbitMQ for the installation that is started
    #[arg(long, value_name = "URL", requires = "store", conflicts_with = "against")]
    queue: Option<String>,
    /// PostgreSQL for the installation that is started
    #[arg(long, value_name = "URL", requires = "queue", conflicts_with = "against")]
    store: Option<String>,
    /// Processes of the installation that is started: all roles in one, or two of each role (cluster only)
    #[arg(long, value_name = "COUNT", default_value_t = 1, requires = "queue", value_parser = clap::value_parser!(u8).range(1..=2))]
    of_each_role: u8,
    /// Other processes to account for, with their children, for instance broker=1234 (repeatable)
    #[arg(long, value_name = "NAME=PID")]
    watch: Vec<String>,
    /// Events per second of the phase at a fixed rate
    #[arg(long, value_name = "RATE", default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    rate: u32,
    /// How long each phase lasts: 1s to 1h
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = phase_length)]
    duration: Span,
    /// Webhooks that every event matches
    #[arg(long, value_name = "COUNT", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=100))]
    fan_out: u16,
    /// Bytes of an event's data
    #[arg(long, value_name = "BYTES", default_value_t = 600, value_parser = clap::value_parser!(u32).range(64..=1_000_000))]
    size: u32,
    /// Connections of the generator when it saturates
    #[arg(long, value_name = "COUNT", default_value_t = 128, value_parser = clap::value_parser!(u16).range(1..=4096))]
    connections: u16,
    /// Used by the bench itself: be the receiver
    #[arg(long, hide = true)]
    be_receiver: bool,
}

/// After a phase, how long what was accepted may take to arrive.
const DRAIN: Duration = Duration::from_secs(120);

/// Shorter, and there is nothing to divide by; longer, and what is kept of every delivery no longer fits in memory.
fn phase_length(text: &str) -> Result<Span, String> {
    let span: Span = text.parse().map_err(|error: InvalidSpan| error.to_string())?;
    let bounds = Duration::from_secs(1)..=Duration::from_secs(3_600);
    if bounds.contains(&span.duration()) { Ok(span) } else { Err("must be from 1s to 1h".to_owned()) }
}

impl Bench {
    /// # Errors
    /// When the installation cannot be started or reached, or loses something.
    pub async fn run(self) -> anyhow::Result<()> {
        if self.be_receiver {
            return receiver::serve().await;
        }
        let watched =
            self.watch.iter().map(|text| Watched::parse(text)).collect::<anyhow::Result<Vec<_>>>()?;
        let receiver = BenchReceiver::spawn().await.context("starting the receiver")?;
        let mut installation = self.installation().await?;
        let result = self.measure(&installation, &receiver, watched).await;
        installation.stop().await;
        let report = result?;
        print!("{report}");
        ensure!(report.lost() == 0, "{} accepted deliveries did not arrive", report.lost());
        Ok(())
    }

    async fn installation(&self) -> anyhow::Result<Installation> {
        match (&self.against, &self.queue, &self.store) {
            (Some(url), ..) => {
                let key = self.admin_key.clone().or_else(|| variable("POSTRIDER_ADMIN_KEY"));
                Installation::running(
                    url,
                    &key.context("--against needs POSTRIDER_ADMIN_KEY or --admin-key")?,
                )
            }
            (None, Some(queue), Some(store)) => {
                eprintln!("starting an installation on RabbitMQ and PostgreSQL …");
                Installation::start_cluster(queue, store, self.of_each_role).await
            }
            _ => {
                eprintln!("starting an installation on the embedded engine …");
                Installation::start_embedded().await
            }
        }
    }

    async fn measure(
        &self,
        installation: &Installation,
        receiver: &BenchReceiver,
        mut watched: Vec<Watched>,
    ) -> anyhow::Result<Report> {
        watched.extend(installation.processes());
        watched.push(Watched::new("receiver", receiver.pid()));
        watched.push(Watched::new("generator", std::process::id()));
        let key = installation.prepare(self.fan_out, receiver.address()).await?;
        let size = usize::try_from(self.size).unwrap_or(usize::MAX);
        let load = Load { address: installation.publish_address(), key, size };
        let mut report = Report::new(&watched, self.fan_out, size);
        // Connections, caches and plans warm up in a phase that is not reported.
        self.phase(&load, Pace::Fixed(self.rate), receiver, &watched, Duration::from_secs(2)).await?;
        let length = self.duration.duration();
        let fixed = self.phase(&load, Pace::Fixed(self.rate), receiver, &watched, length).await?;
        report.add(format!("{} events/s", self.rate), fixed);
        let full = self.phase(&load, Pace::Saturating(self.connections), receiver, &watched, length).await?;
        report.add(format!("saturated ({} connections)", self.connections), full);
        Ok(report)
    }

    async fn phase(
        &self,
        load: &Load,
        pace: Pace,
        receiver: &BenchReceiver,
        watched: &[Watched],
        length: Duration,
    ) -> anyhow::Result<Phase> {
        receiver.forget().await?;
        let before = CpuSample::take(watched);
        let sent: LoadResult = load.run(pace, length).await?;
        let expected = sent.accepted * u64::from(self.fan_out);
        let arrivals: Arrivals = receiver.wait_for(expected, DRAIN).await?;
        // The log is written a moment later, and belongs to the cost.
        tokio::time::sleep(Duration::from_millis(500)).await;
        let after = CpuSample::take(watched);
        Ok(Phase { sent, expected, arrivals, cpu: after.since(&before), memory: after.memory() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct CommandLine {
        #[command(flatten)]
        bench: Bench,
    }

    #[test]
    fn what_would_measure_nothing_is_refused_with_its_bounds() {
        let refused = |option: &str, value: &str| {
            let line = CommandLine::try_parse_from(["bench", option, value]);
            line.err().map(|error| error.to_string()).expect("refused")
        };
        assert!(refused("--rate", "0").contains("1..=100000"));
        assert!(refused("--connections", "0").contains("1..=4096"));
        assert!(refused("--duration", "0s").contains("from 1s to 1h"));
        let line = CommandLine::try_parse_from(["bench", "--rate", "50", "--duration", "2s"]).expect("right");
        assert_eq!((line.bench.rate, line.bench.duration.duration()), (50, Duration::from_secs(2)));
    }
}
