//! Puts an engine together. The only file that names the adapters: everything else sees ports.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use postrider_contract::clock::{Clock, Entropy};
use postrider_contract::finding::Finding;
use postrider_contract::ports::{
    ConfigStore, DeliveryLog, IntakeSource, Journal, KeyedRequests, Leadership, LogQueries, PutOffQueue,
    RefusedQueue, StoreError, Strays, WaitingRoom, WorkQueue,
};
use postrider_contract::secret::Secret;
use postrider_postgres::PostgresStore;
pub use postrider_rabbitmq::Examination;
use postrider_rabbitmq::{RabbitEngine, TopologyAtStart};
use postrider_sqlite::SqliteEngine;

use crate::config::Settings;

/// Messages from producers in hand at once; each is answered within a round trip to queue and store.
const INTAKE_PREFETCH: u16 = 256;

/// The ports of one engine.
pub struct Engine {
    pub queue: Arc<dyn WorkQueue>,
    pub journal: Arc<dyn Journal>,
    pub strays: Arc<dyn Strays>,
    pub configuration: Arc<dyn ConfigStore>,
    pub keyed: Arc<dyn KeyedRequests>,
    pub room: Arc<dyn WaitingRoom>,
    pub log: Arc<dyn DeliveryLog>,
    pub queries: Arc<dyn LogQueries>,
    pub leadership: Arc<dyn Leadership>,
    /// Events over AMQP, where the engine has it.
    pub intake: Option<ProducerIntake>,
    /// For people: what this runs on.
    pub description: String,
}

/// Where producers' messages come from, and where refused ones go.
pub struct ProducerIntake {
    pub source: Box<dyn IntakeSource>,
    pub refused: Arc<dyn RefusedQueue>,
    pub put_off: Arc<dyn PutOffQueue>,
}

/// The URLs of the cluster engines; `None` runs on the embedded one.
pub struct ClusterUrls<'a> {
    pub queue: &'a Secret,
    pub store: &'a Secret,
}

impl<'a> ClusterUrls<'a> {
    #[must_use]
    pub fn of(settings: &'a Settings) -> Option<Self> {
        let (queue, store) = (settings.engine.queue.as_ref()?, settings.engine.store.as_ref()?);
        Some(ClusterUrls { queue, store })
    }
}

/// Opens the engine that the settings ask for.
///
/// # Errors
/// One line that says what is wrong, with its cause.
pub async fn open(
    settings: &Settings,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
) -> anyhow::Result<Engine> {
    match ClusterUrls::of(settings) {
        Some(urls) => open_cluster(settings, &urls, clock, entropy).await,
        None => open_embedded(settings, clock).await,
    }
}

async fn open_embedded(settings: &Settings, clock: Arc<dyn Clock>) -> anyhow::Result<Engine> {
    let folder = settings.engine.data.clone();
    let description = format!("embedded engine, data in {}", folder.display());
    let mut sqlite = postrider_sqlite::Settings::new(folder);
    sqlite.query_time = settings.engine.store_query_time.duration();
    let opening = move || SqliteEngine::open(sqlite, clock);
    let engine = tokio::task::spawn_blocking(opening).await.context("opening the embedded engine")??;
    Ok(Engine {
        queue: engine.work_queue(),
        journal: engine.journal(),
        strays: engine.strays(),
        configuration: engine.config_store(),
        keyed: engine.keyed_requests(),
        room: engine.waiting_room(),
        log: engine.delivery_log(),
        queries: engine.log_queries(),
        leadership: engine.leadership(),
        intake: None,
        description,
    })
}

async fn open_cluster(
    settings: &Settings,
    urls: &ClusterUrls<'_>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
) -> anyhow::Result<Engine> {
    let store_settings = store_settings(settings, urls.store)?;
    if settings.engine.migrate_at_start {
        postrider_postgres::migrate(&store_settings).await?;
    }
    let store = PostgresStore::connect(store_settings).await?;
    let rabbit = connect_queue(settings, urls, clock, entropy).await?;
    let takes_events = settings.ingest.amqp && settings.server.roles.ingest;
    let intake = if takes_events {
        Some(ProducerIntake {
            source: rabbit.intake(INTAKE_PREFETCH)?,
            refused: rabbit.refused_queue(),
            put_off: rabbit.put_off_queue(),
        })
    } else {
        None
    };
    Ok(Engine {
        queue: rabbit.work_queue(),
        journal: rabbit.journal(),
        strays: rabbit.strays(),
        configuration: store.configuration(),
        keyed: store.keyed_requests(),
        room: store.waiting_room(),
        log: store.delivery_log(),
        queries: store.log_queries(),
        leadership: store.leadership(),
        intake,
        description: "cluster engines: RabbitMQ and PostgreSQL".to_owned(),
    })
}

async fn connect_queue(
    settings: &Settings,
    urls: &ClusterUrls<'_>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
) -> anyhow::Result<RabbitEngine> {
    let at_start =
        if settings.engine.migrate_at_start { TopologyAtStart::Declare } else { TopologyAtStart::Assume };
    let rabbit_settings = queue_settings(settings, urls.queue, at_start)?;
    Ok(RabbitEngine::connect(rabbit_settings, clock, entropy).await?)
}

fn queue_settings(
    settings: &Settings,
    url: &Secret,
    topology: TopologyAtStart,
) -> anyhow::Result<postrider_rabbitmq::Settings> {
    let mut rabbit = postrider_rabbitmq::Settings::new(url.reveal(), process_name(settings));
    rabbit.prefix.clone_from(&settings.engine.queue_prefix);
    rabbit.topology = topology;
    rabbit.tls.authorities_pem = authorities(settings)?.map(|pem| String::from_utf8_lossy(&pem).into_owned());
    Ok(rabbit)
}

fn store_settings(settings: &Settings, url: &Secret) -> anyhow::Result<postrider_postgres::Settings> {
    let mut store = postrider_postgres::Settings::new(url.reveal());
    store.pool_size = settings.engine.store_connections;
    // Releasing and retention need one each.
    store.write_pool_size = settings.status.writers.saturating_add(2);
    store.query_timeout = settings.engine.store_query_time.duration();
    store.write_timeout = settings.engine.store_write_time.duration();
    store.connect_timeout = settings.engine.store_connect_time.duration();
    store.application_name = process_name(settings);
    store.ca_certificates = authorities(settings)?;
    Ok(store)
}

fn authorities(settings: &Settings) -> anyhow::Result<Option<Vec<u8>>> {
    settings.engine.ca_file.as_deref().map(read_pem).transpose()
}

fn read_pem(path: &Path) -> anyhow::Result<Vec<u8>> {
    std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

/// What the broker's and the database's own lists of connections show: roles and host.
fn process_name(settings: &Settings) -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    format!("postrider {}@{}", settings.server.roles, host.trim())
}

/// Has the store at this URL do at once what it would do during the minutes after it was given very many rows.
///
/// # Errors
/// When it cannot be reached, or does not let this user do so.
pub async fn bring_to_rest(store: &str) -> Result<(), StoreError> {
    postrider_postgres::come_to_rest(&postrider_postgres::Settings::new(store)).await
}

/// `postrider migrate`.
///
/// # Errors
/// When the store cannot be reached or its schema cannot be brought up to date.
pub async fn migrate(settings: &Settings, clock: Arc<dyn Clock>) -> anyhow::Result<String> {
    let Some(store) = &settings.engine.store else {
        // Opening brings the files up to date.
        open_embedded(settings, clock).await?.queue.close().await;
        return Ok(format!("the files in {} are up to date", settings.engine.data.display()));
    };
    let done = postrider_postgres::migrate(&store_settings(settings, store)?).await?;
    Ok(match done.steps {
        0 => format!("the schema is up to date (version {})", done.version),
        steps => format!("the schema is now at version {} ({steps} steps taken)", done.version),
    })
}

/// `postrider doctor`: what the engine that the settings name looks like from outside.
///
/// # Errors
/// Only when a file that the settings name cannot be read.
pub async fn examine(
    settings: &Settings,
    examination: &Examination,
    clock: &dyn Clock,
) -> anyhow::Result<Vec<Finding>> {
    let Some(urls) = ClusterUrls::of(settings) else {
        let folder = settings.engine.data.clone();
        let examining = tokio::task::spawn_blocking(move || postrider_sqlite::examine(&folder));
        return examining.await.context("looking at the data directory");
    };
    let queue = queue_settings(settings, urls.queue, TopologyAtStart::Assume)?;
    let mut findings = postrider_rabbitmq::examine(&queue, examination).await;
    let (store, overdue_after) =
        (store_settings(settings, urls.store)?, settings.status.overdue_after.duration());
    findings.extend(postrider_postgres::examine(&store, overdue_after, clock).await);
    Ok(findings)
}

/// What `postrider topology` is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TopologyCommand {
    Declare,
    Verify,
    Print,
}

/// `postrider topology …`: the text to print, and whether all is as it should be.
///
/// # Errors
/// When there is no broker, or it does not do its part.
pub async fn topology(
    settings: &Settings,
    command: TopologyCommand,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
) -> anyhow::Result<(String, bool)> {
    let queue = settings.engine.queue.as_ref();
    if command == TopologyCommand::Print {
        let nowhere = Secret::new("amqp://localhost".to_owned());
        let url = queue.unwrap_or(&nowhere);
        let text = queue_settings(settings, url, TopologyAtStart::Assume)?.describe_topology().print();
        return Ok((text, true));
    }
    let url = queue.context("the embedded engine has no broker; set engine.queue (--queue amqp://…)")?;
    let rabbit =
        RabbitEngine::connect(queue_settings(settings, url, TopologyAtStart::Assume)?, clock, entropy)
            .await?;
    let deviations = match command {
        TopologyCommand::Declare => {
            rabbit.declare_topology().await?;
            return Ok(("every exchange and queue is declared".to_owned(), true));
        }
        TopologyCommand::Verify | TopologyCommand::Print => rabbit.verify_topology().await?,
    };
    if deviations.is_empty() {
        return Ok(("every exchange and queue is as expected".to_owned(), true));
    }
    let line = |deviation: &postrider_rabbitmq::Deviation| {
        format!("{}: {}\n  {}", deviation.object, deviation.problem, deviation.remedy)
    };
    Ok((deviations.iter().map(line).collect::<Vec<_>>().join("\n"), false))
}
