//! What every scenario is given on the command line: what to load, what to account for, where the report goes.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use postrider_contract::profile::{InvalidSpan, Span};

use super::cpu::Watched;
use super::ground::Ground;
use super::installation::{EngineGiven, Installation, Layout};
use super::progress;
use super::receiver::BenchReceiver;
use crate::config::variable;

#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Installation and report")]
pub struct Setup {
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
    /// Processes of each role of the installation that is started, cluster only; without it, one process has all roles
    #[arg(long, value_name = "COUNT", requires = "queue", value_parser = clap::value_parser!(u8).range(1..=4))]
    of_each_role: Option<u8>,
    /// Other processes to account for, with their children, for instance broker=1234 (repeatable)
    #[arg(long, value_name = "NAME=PID")]
    watch: Vec<String>,
    #[command(flatten)]
    pub reporting: Reporting,
}

/// Where the report goes, and what it says of the run.
#[derive(Args, Clone, Debug)]
pub struct Reporting {
    /// What the bench cannot find out and the report should say, for instance revision=1a2b3c4 (repeatable)
    #[arg(long, value_name = "NAME=TEXT", value_parser = parse_note)]
    pub note: Vec<(String, String)>,
    /// Write the report to this file too, as JSON
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
}

fn parse_note(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("expected NAME=TEXT")?;
    Ok((name.to_owned(), value.to_owned()))
}

/// Shorter, and there is nothing to divide by; longer, and what is kept of every delivery no longer fits in memory.
pub fn phase_length(text: &str) -> Result<Span, String> {
    let span: Span = text.parse().map_err(|error: InvalidSpan| error.to_string())?;
    let bounds = Duration::from_secs(1)..=Duration::from_secs(3_600);
    if bounds.contains(&span.duration()) { Ok(span) } else { Err("must be from 1s to 1h".to_owned()) }
}

impl Setup {
    /// Measures on an installation laid out as the command line says.
    ///
    /// # Errors
    /// What `measure` says, or that there is no ground to measure on.
    pub async fn on_ground<T>(
        &self,
        measure: impl AsyncFnOnce(&mut Ground) -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        let layout = self.of_each_role.map_or(Layout::OneProcess, Layout::OfEachRole);
        self.on_ground_laid_out(layout, measure).await
    }

    /// The same for a scenario that compares layouts. Each installation is ended before this returns.
    ///
    /// # Errors
    /// What `measure` says, or that there is no ground to measure on.
    pub async fn on_ground_laid_out<T>(
        &self,
        layout: Layout,
        measure: impl AsyncFnOnce(&mut Ground) -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        let others =
            self.watch.iter().map(|text| Watched::parse(text)).collect::<anyhow::Result<Vec<_>>>()?;
        let receiver = BenchReceiver::spawn().await.context("starting the receiver")?;
        let installation = self.installation(layout).await?;
        let mut ground = Ground { installation, receiver, others };
        let result = measure(&mut ground).await;
        ground.installation.stop().await;
        result
    }

    async fn installation(&self, layout: Layout) -> anyhow::Result<Installation> {
        if let Some(url) = &self.against {
            let key = self.admin_key.clone().or_else(|| variable("POSTRIDER_ADMIN_KEY"));
            let key = key.context("--against needs POSTRIDER_ADMIN_KEY or --admin-key")?;
            return Installation::running(url, &key);
        }
        progress(&format!("starting an installation: {}", self.engine_name()));
        Installation::start(self.engine(), layout).await
    }

    pub fn engine(&self) -> EngineGiven {
        match (&self.queue, &self.store) {
            (Some(queue), Some(store)) => {
                EngineGiven::Cluster { queue: queue.clone(), store: store.clone(), prefix: None }
            }
            _ => EngineGiven::Embedded,
        }
    }

    /// What is on disk before a publisher gets its answer.
    pub fn durability(&self) -> &'static str {
        match (&self.against, &self.queue) {
            (Some(_), _) => "as it runs",
            (None, Some(_)) => "quorum queues, synced before each confirm; PostgreSQL as it is set",
            (None, None) => "SQLite with synchronous=FULL, before each answer",
        }
    }

    /// Whether the installation that is started is on the cluster engines.
    pub fn is_cluster(&self) -> bool {
        self.queue.is_some()
    }

    /// Whether it is somebody else's.
    pub fn is_running(&self) -> bool {
        self.against.is_some()
    }

    /// For people.
    pub fn engine_name(&self) -> &'static str {
        match (&self.against, &self.queue) {
            (Some(_), _) => "as it runs",
            (None, Some(_)) => "RabbitMQ and PostgreSQL",
            (None, None) => "embedded (SQLite)",
        }
    }
}
