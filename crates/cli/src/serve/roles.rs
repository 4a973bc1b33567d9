//! The roles of one process, each started with its own part of the settings.

use std::sync::Arc;

use anyhow::Context;
use postrider_contract::egress::{AddressRule, InternalNames, PortRule, Schemes, UrlRule};
use postrider_delivery_worker::client::{ClientParts, HttpClient, PoolLimits};
use postrider_delivery_worker::{Worker, WorkerParts};
use postrider_ingest::{
    Asides, Backlog, BacklogBound, Explainer, ExplainerParts, Intake, IntakeParts, KeyedGate, RoomWatch,
    run_amqp_intake,
};
use postrider_manage::Disabler;
use postrider_service::journal_writer::JournalWriter;
use postrider_service::lifecycle::Lifecycle;
use postrider_service::metrics::{IngestMetrics, QueueMetrics, StatusMetrics, WorkerMetrics};
use postrider_status::{
    Disabling, Duties, DutyParts, Gathering, HealingBounds, Rerendering, Retention, StrayParts, TryBoard,
    run_strays, run_writer,
};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::Foundation;
use crate::assemble::ProducerIntake;
use crate::config::{Egress, Settings};
use crate::sampling::{Sampling, StatusSampling};

/// What the API needs of the roles.
pub(super) struct Running {
    /// Where this process takes events in.
    pub(super) intake: Option<TakingIn>,
    pub(super) rerendering: Arc<Rerendering>,
}

/// What the publish routes need.
pub(super) struct TakingIn {
    pub(super) intake: Arc<Intake>,
    pub(super) explainer: Arc<Explainer>,
    pub(super) metrics: Arc<IngestMetrics>,
}

pub(super) fn start(
    foundation: &Foundation,
    producers: Option<ProducerIntake>,
    lifecycle: &mut Lifecycle,
) -> anyhow::Result<Running> {
    let roles = foundation.settings.server.roles;
    let (directory, stop) = (Arc::clone(&foundation.directory), lifecycle.stop());
    tokio::spawn(async move { directory.follow(&stop).await });
    let journal = JournalWriter::start(Arc::clone(&foundation.engine.journal), Arc::clone(&foundation.clock));
    let rerendering = Rerendering::new(Arc::clone(&foundation.engine.configuration));
    let intake = if roles.ingest || roles.manage {
        Some(start_intake(foundation, journal.clone(), producers, lifecycle)?)
    } else {
        None
    };
    if roles.worker {
        start_worker(foundation, journal, lifecycle)?;
    }
    let status = if roles.status { Some(start_status(foundation, &rerendering, lifecycle)?) } else { None };
    let status = status.map(|metrics| StatusSampling {
        metrics,
        journal: Arc::clone(&foundation.engine.journal),
        clock: Arc::clone(&foundation.clock),
    });
    let sampling = Sampling {
        queue: Arc::clone(&foundation.engine.queue),
        directory: Arc::clone(&foundation.directory),
        queue_health: foundation.health.part("queue"),
        store_health: foundation.health.part("store"),
        metrics: QueueMetrics::register(&foundation.metrics)?,
        status,
    };
    tokio::spawn(sampling.run(lifecycle.stop()));
    Ok(Running { intake, rerendering })
}

fn start_intake(
    foundation: &Foundation,
    journal: JournalWriter,
    producers: Option<ProducerIntake>,
    lifecycle: &mut Lifecycle,
) -> anyhow::Result<TakingIn> {
    let (settings, engine) = (&foundation.settings.ingest, &foundation.engine);
    let backlog = Backlog::new(BacklogBound(settings.max_backlog_age.duration()));
    let room = RoomWatch::new();
    let intake = Intake::new(IntakeParts {
        directory: Arc::clone(&foundation.directory),
        queue: Arc::clone(&engine.queue),
        journal,
        keyed: KeyedGate::start(Arc::clone(&engine.keyed)),
        room: Arc::clone(&room),
        backlog: Arc::clone(&backlog),
        clock: Arc::clone(&foundation.clock),
        entropy: Arc::clone(&foundation.entropy),
        max_directory_age: settings.max_directory_age.duration(),
    });
    let explainer = Explainer::new(ExplainerParts {
        room: Arc::clone(&room),
        secret_box: foundation.secrets.clone(),
        clock: Arc::clone(&foundation.clock),
        entropy: Arc::clone(&foundation.entropy),
    });
    let metrics = Arc::new(IngestMetrics::register(&foundation.metrics)?);
    let (queue, stop) = (Arc::clone(&engine.queue), lifecycle.stop());
    tokio::spawn(async move { backlog.follow(queue, stop).await });
    let (waiting, stop) = (Arc::clone(&engine.room), lifecycle.stop());
    tokio::spawn(async move { room.follow(waiting, stop).await });
    if let Some(ProducerIntake { source, refused, put_off }) = producers {
        let (intake, metrics) = (Arc::clone(&intake), Arc::clone(&metrics));
        let asides = Asides { refused, put_off };
        lifecycle.spawn("amqp intake", run_amqp_intake(source, asides, intake, metrics, lifecycle.stop()));
    }
    Ok(TakingIn { intake, explainer, metrics })
}

fn start_worker(
    foundation: &Foundation,
    journal: JournalWriter,
    lifecycle: &mut Lifecycle,
) -> anyhow::Result<()> {
    let settings = &foundation.settings.worker;
    let defaults = postrider_delivery_worker::Settings::default();
    let worker_settings = postrider_delivery_worker::Settings {
        slots: settings.slots.get(),
        window: settings.window.get(),
        ..defaults
    };
    let directory: Arc<dyn postrider_delivery_worker::gate::Webhooks> =
        Arc::clone(&foundation.directory) as _;
    let parts = WorkerParts {
        queue: Arc::clone(&foundation.engine.queue),
        journal,
        log: Arc::clone(&foundation.engine.log),
        webhooks: directory,
        secrets: foundation.secrets.clone(),
        transport: Arc::new(HttpClient::new(client_parts(&foundation.settings)?)?),
        clock: Arc::clone(&foundation.clock),
        entropy: Arc::clone(&foundation.entropy),
        metrics: WorkerMetrics::register(&foundation.metrics)?,
    };
    lifecycle.spawn("worker", Worker::new(worker_settings, parts).run(lifecycle.stop()));
    Ok(())
}

fn client_parts(settings: &Settings) -> anyhow::Result<ClientParts> {
    let limits = PoolLimits {
        max_idle: usize::try_from(settings.worker.max_idle_connections.get()).unwrap_or(usize::MAX),
        max_idle_time: settings.worker.idle_time.duration(),
        ..PoolLimits::default()
    };
    let extra_authorities = match &settings.egress.ca_file {
        Some(path) => CertificateDer::pem_file_iter(path)
            .and_then(Iterator::collect)
            .with_context(|| format!("cannot read certificate authorities from {}", path.display()))?,
        None => Vec::new(),
    };
    Ok(ClientParts { limits, extra_authorities, ..ClientParts::with_rule(url_rule(settings).addresses) })
}

fn start_status(
    foundation: &Foundation,
    rerendering: &Arc<Rerendering>,
    lifecycle: &mut Lifecycle,
) -> anyhow::Result<Arc<StatusMetrics>> {
    let (settings, engine) = (&foundation.settings, &foundation.engine);
    let metrics = Arc::new(StatusMetrics::register(&foundation.metrics)?);
    let board = TryBoard::new();
    let gathering = Gathering::of(Arc::clone(&engine.journal));
    for number in 1..=settings.status.writers.get() {
        let (gathering, log) = (Arc::clone(&gathering), Arc::clone(&engine.log));
        let writer = run_writer(gathering, log, Arc::clone(&board), Arc::clone(&metrics), lifecycle.stop());
        lifecycle.spawn(format!("status writer {number}"), writer);
    }
    start_strays(foundation, &metrics, lifecycle);
    let parts = DutyParts {
        room: Arc::clone(&engine.room),
        queue: Arc::clone(&engine.queue),
        journal: Arc::clone(&engine.journal),
        log: Arc::clone(&engine.log),
        queries: Arc::clone(&engine.queries),
        keyed: Arc::clone(&engine.keyed),
        configuration: Arc::clone(&engine.configuration),
        directory: Arc::clone(&foundation.directory),
        board,
        rerendering: Arc::clone(rerendering),
        metrics: Arc::clone(&metrics),
        clock: Arc::clone(&foundation.clock),
        healing: healing(settings),
        retention: Retention {
            days: settings.status.retention_days.get(),
            body_days: settings.status.body_retention_days.get(),
            keys: settings.ingest.remember_keys.duration(),
        },
    };
    let disabling = Disabling {
        board: Arc::clone(&parts.board),
        directory: Arc::clone(&foundation.directory),
        queries: Arc::clone(&engine.queries),
        disabler: Arc::new(Disabler::new(Arc::clone(&engine.configuration), Arc::clone(&foundation.clock))),
        clock: Arc::clone(&foundation.clock),
    };
    let stop = lifecycle.stop();
    lifecycle.spawn("status disabling", async move {
        disabling.run(stop).await;
        Ok::<(), std::convert::Infallible>(())
    });
    let (duties, stop) = (Duties::new(parts, Arc::clone(&engine.leadership)), lifecycle.stop());
    lifecycle.spawn("status duties", async move {
        duties.run(stop).await;
        Ok::<(), std::convert::Infallible>(())
    });
    Ok(metrics)
}

fn start_strays(foundation: &Foundation, metrics: &Arc<StatusMetrics>, lifecycle: &mut Lifecycle) {
    let engine = &foundation.engine;
    let parts = StrayParts {
        strays: Arc::clone(&engine.strays),
        queue: Arc::clone(&engine.queue),
        journal: Arc::clone(&engine.journal),
        log: Arc::clone(&engine.log),
        metrics: Arc::clone(metrics),
        clock: Arc::clone(&foundation.clock),
    };
    lifecycle.spawn("status strays", run_strays(parts, lifecycle.stop()));
}

pub(super) fn healing(settings: &Settings) -> HealingBounds {
    HealingBounds { overdue_after: settings.status.overdue_after.duration() }
}

/// Where webhooks may lead.
pub(super) fn url_rule(settings: &Settings) -> UrlRule {
    let Egress { allow_http, allow_networks, open_ports, .. } = settings.egress.clone();
    let is_dev = settings.server.dev;
    let internal_names =
        if allow_networks.is_empty() { InternalNames::Refused } else { InternalNames::Allowed };
    let addresses = AddressRule::new(allow_networks);
    UrlRule {
        schemes: if allow_http || is_dev { Schemes::HttpToo } else { Schemes::HttpsOnly },
        addresses: if is_dev { addresses.with_loopback() } else { addresses },
        ports: PortRule::opening(open_ports),
        internal_names,
    }
}
