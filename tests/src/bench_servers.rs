//! The private RabbitMQ and PostgreSQL that `postrider bench` measures on: RabbitMQ with the settings that are shipped
//! in `deploy/`, PostgreSQL with its own defaults.

use std::ffi::{OsStr, OsString};

use anyhow::{Context, Result};

use crate::harness::postgres::connect;
use crate::harness::rabbitmq::{Knobs, shipped};
use crate::harness::{Postgres, RabbitMq};

/// What of PostgreSQL's settings decides about the figures.
const POSTGRES_SETTINGS: [&str; 4] = ["server_version", "fsync", "synchronous_commit", "shared_buffers"];

pub struct BenchServers {
    broker: RabbitMq,
    database: Postgres,
    store: String,
    /// For the installation without neighbours, in the scenario that has two.
    quiet_store: String,
    notes: Vec<(&'static str, String)>,
}

impl BenchServers {
    pub async fn start() -> Result<Self> {
        let knobs = Knobs { is_shipped: true, ..Knobs::default() };
        let (broker, database) = tokio::try_join!(RabbitMq::start_with(&knobs), Postgres::start())?;
        let store = database.create_database().await?;
        let quiet_store = database.create_database().await?;
        let notes = vec![
            ("rabbitmq", describe_broker(&broker).await?),
            ("postgres", describe_database(&store).await?),
        ];
        Ok(BenchServers { broker, database, store, quiet_store, notes })
    }

    /// What `postrider bench` is told: where they are, which processes they are, and how they are set.
    pub fn arguments(&self, scenario: &OsStr) -> Result<Vec<OsString>> {
        let pid = |pids: Vec<u32>| pids.first().copied().context("it does not run");
        let mut arguments =
            vec!["--queue".to_owned(), self.broker.url(), "--store".to_owned(), self.store.clone()];
        if scenario == "neighbours" {
            arguments.extend(["--quiet-store".to_owned(), self.quiet_store.clone()]);
        }
        arguments.push(format!("--watch=rabbitmq={}", pid(self.broker.pids())?));
        arguments.push(format!("--watch=postgres={}", pid(self.database.pids())?));
        arguments.extend(self.notes.iter().map(|(name, text)| format!("--note={name}={text}")));
        Ok(arguments.into_iter().map(OsString::from).collect())
    }
}

async fn describe_broker(broker: &RabbitMq) -> Result<String> {
    let version = broker.ctl(&["version"]).await.context("asking for the broker's version")?;
    let prefetch =
        shipped::dead_letter_prefetch().context("deploy/rabbitmq/advanced.config sets no prefetch")?;
    Ok(format!(
        "{}, one node, settings of deploy/rabbitmq, dead_letter_worker_consumer_prefetch {prefetch}",
        version.trim()
    ))
}

async fn describe_database(store: &str) -> Result<String> {
    let client = connect(store).await?;
    let mut parts = Vec::new();
    for name in POSTGRES_SETTINGS {
        let row = client.query_one(&format!("SHOW {name}"), &[]).await?;
        let value: String = row.try_get(0)?;
        parts.push(if name == "server_version" { value } else { format!("{name} {value}") });
    }
    Ok(parts.join(", "))
}
