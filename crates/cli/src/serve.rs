//! `postrider serve`: opens the engine, starts the roles, serves the API, ends in order.

mod api;
mod profile_folder;
mod roles;
mod under_test;

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use axum::Router;
use futures_util::{Stream, stream};
use postrider_contract::clock::{Clock, Entropy};
use postrider_contract::secret::Secret;
use postrider_service::authentication::Authenticator;
use postrider_service::directory::Directory;
use postrider_service::file_limit::{FileLimit, raise_file_limit};
use postrider_service::health::Health;
use postrider_service::http_server::{HttpLimits, HttpServer, Routes, bind};
use postrider_service::lifecycle::{EndSignal, Lifecycle, Stopped, end_signals};
use postrider_service::master_key::MasterKey;
use postrider_service::metrics::Metrics;
use postrider_service::secret_box::SecretBox;
use postrider_service::system::SystemEntropy;
use postrider_service::telemetry::{self, LogFormat};
use tokio::net::TcpListener;

use crate::admin_key::{self, AdminAccess};
use crate::assemble::{self, ClusterUrls, Engine, ProducerIntake};
use crate::config::{LogFormatSetting, Settings};
use profile_folder::FolderProfile;

pub use api::api_description;

/// What ends a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ends {
    AtSignals,
    /// At signals, and when standard input ends.
    WithInput,
}

/// What every role is built from.
struct Foundation {
    settings: Settings,
    engine: Engine,
    directory: Arc<Directory>,
    authenticator: Arc<Authenticator>,
    secrets: SecretBox,
    metrics: Metrics,
    health: Health,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
}

/// Runs until a signal, or until a role fails.
///
/// # Errors
/// What keeps it from starting, as one line.
pub async fn serve(settings: Settings, ends: Ends) -> anyhow::Result<ExitCode> {
    start_logs(&settings)?;
    note_file_limit(&settings, raise_file_limit());
    under_test::arm_failpoints()?;
    let clock: Arc<dyn Clock> = under_test::clock()?;
    let entropy: Arc<dyn Entropy> = Arc::new(SystemEntropy);
    let profiles = match &settings.manage.profiles {
        Some(folder) if settings.server.roles.manage => profile_folder::read(folder)?,
        Some(_) | None => Vec::new(),
    };
    // Taken first: a second process on the same port must not touch the data.
    let listener = bind(settings.server.listen).await?;
    let address = listener.local_addr().context("cannot ask which address is listened on")?;
    let mut lifecycle = Lifecycle::new(settings.server.grace.duration());
    let routes = serve_http(&settings, listener, &*entropy, &mut lifecycle);
    let mut engine = assemble::open(&settings, Arc::clone(&clock), Arc::clone(&entropy)).await?;
    let secrets = SecretBox::new(&master_key(&settings, &*entropy)?);
    let directory = Directory::load(Arc::clone(&engine.configuration)).await?;
    let configured = settings.security.admin_key.as_ref();
    let AdminAccess { source, made } =
        admin_key::find_or_make(configured, &engine.configuration, &*clock, &*entropy).await?;
    directory.refresh().await?;
    let authenticator = Authenticator::new(Arc::clone(&directory), Arc::clone(&clock), source);
    let metrics =
        Metrics::new(env!("CARGO_PKG_VERSION"), option_env!("POSTRIDER_REVISION").unwrap_or("unknown"))?;
    let intake = engine.intake.take();
    let health = Health::new(lifecycle.stop());
    let foundation =
        Foundation { settings, engine, directory, authenticator, secrets, metrics, health, clock, entropy };
    greet(&foundation, address, made.as_ref());
    let queue = Arc::clone(&foundation.engine.queue);
    // Before anybody is told that it is ready: a signal that comes then would end the process at once.
    let ends = stream::select(end_signals()?, end_of_input(ends));
    routes.open(start(&foundation, intake, profiles, &mut lifecycle).await?);
    let stopped = lifecycle.run_until_stopped(ends).await;
    // What was acknowledged last is written before the process ends.
    queue.close().await;
    Ok(farewell(&stopped))
}

/// Standard input is held open by whoever started this process; the kernel closes it when that is no more.
fn end_of_input(ends: Ends) -> impl Stream<Item = EndSignal> + Send {
    stream::once(async move {
        match ends {
            Ends::AtSignals => std::future::pending().await,
            Ends::WithInput => {
                if let Err(error) = tokio::io::copy(&mut tokio::io::stdin(), &mut tokio::io::sink()).await {
                    tracing::warn!(%error, "cannot read standard input: ending as if it had ended");
                }
                EndSignal
            }
        }
    })
}

/// From now on whoever asks is answered, before there are routes too: a producer within its five seconds, a balancer at
/// once.
fn serve_http(
    settings: &Settings,
    listener: TcpListener,
    entropy: &dyn Entropy,
    lifecycle: &mut Lifecycle,
) -> Routes {
    let limits = HttpLimits {
        connections: usize::try_from(settings.server.max_connections.get()).unwrap_or(usize::MAX),
        drain_delay: settings.drain_delay(),
        ..HttpLimits::default()
    };
    let routes = Routes::default();
    let server = HttpServer::new(routes.clone(), limits, entropy);
    lifecycle.spawn("http", server.serve(listener, lifecycle.stop()));
    routes
}

/// Starts the roles, and answers their routes.
async fn start(
    foundation: &Foundation,
    intake: Option<ProducerIntake>,
    profiles: Vec<FolderProfile>,
    lifecycle: &mut Lifecycle,
) -> anyhow::Result<Router> {
    let running = roles::start(foundation, intake, lifecycle)?;
    if let Some(roles::TakingIn { intake, .. }) = running.intake.as_ref().filter(|_| !profiles.is_empty()) {
        let state = api::manage_state(foundation, Arc::clone(intake) as _);
        profile_folder::put_all(&state, profiles).await?;
    }
    api::router(foundation, running)
}

fn start_logs(settings: &Settings) -> anyhow::Result<()> {
    let format = match settings.log.format {
        LogFormatSetting::Auto => LogFormat::detect(),
        LogFormatSetting::Human => LogFormat::Human,
        LogFormatSetting::Json => LogFormat::Json,
    };
    Ok(telemetry::init(format, &settings.log.level)?)
}

/// Files that are open beside the sockets of clients and receivers: the engine's, the log's, the runtime's.
const OTHER_FILES: u64 = 200;

/// How many files the settings allow to be open at once.
pub fn wanted_files(settings: &Settings) -> u64 {
    let worker = &settings.worker;
    let of_worker = u64::from(worker.slots.get()) + u64::from(worker.max_idle_connections.get());
    u64::from(settings.server.max_connections.get())
        + if settings.server.roles.worker { of_worker } else { 0 }
        + OTHER_FILES
}

/// What may be open at once should fit into what the system allows.
fn note_file_limit(settings: &Settings, limit: FileLimit) {
    let wanted = wanted_files(settings);
    if limit.is_enough_for(wanted) {
        tracing::debug!(limit.soft, limit.hard, wanted, "the limit on open files is enough");
    } else {
        tracing::warn!(
            limit.soft,
            limit.hard,
            wanted,
            "the limit on open files is below what the settings may need; raise it (ulimit -n, LimitNOFILE=), or \
             lower server.max_connections, worker.slots or worker.max_idle_connections"
        );
    }
}

/// The one that is given, or the one beside the data of the embedded engine.
fn master_key(settings: &Settings, entropy: &dyn Entropy) -> anyhow::Result<MasterKey> {
    match &settings.security.master_key {
        Some(text) => text.reveal().parse().context("security.master_key (POSTRIDER_MASTER_KEY)"),
        None => Ok(MasterKey::load_or_create(&settings.engine.data.join("master.key"), entropy)?),
    }
}

/// What a person who started it needs to know. On standard output, so that it is not lost among the logs.
fn greet(foundation: &Foundation, address: std::net::SocketAddr, made: Option<&Secret>) {
    let settings = &foundation.settings;
    println!("Postrider {} on http://{address}", env!("CARGO_PKG_VERSION"));
    println!("  roles   {}", settings.server.roles);
    println!("  engine  {}", foundation.engine.description);
    if settings.server.dev {
        println!(
            "  DEVELOPMENT MODE: plain http and receivers on this machine are allowed; never run it so in production"
        );
        tracing::warn!("development mode: plain http and receivers on this machine are allowed");
    }
    if let Some(key) = made {
        println!();
        println!("  admin key, shown this once: {}", key.reveal());
        println!("  export POSTRIDER_KEY={}", key.reveal());
    }
    if ClusterUrls::of(settings).is_none() && settings.security.master_key.is_none() {
        let path = settings.engine.data.join("master.key");
        tracing::info!(path = %path.display(), "secrets at rest are encrypted with the key in this file: back it up");
    }
    tracing::info!(address = %address, roles = %settings.server.roles, "listening");
}

fn farewell(stopped: &Stopped) -> ExitCode {
    if stopped.is_clean() {
        tracing::info!("{stopped}");
        ExitCode::SUCCESS
    } else {
        tracing::error!("{stopped}");
        eprintln!("postrider: {stopped}");
        ExitCode::FAILURE
    }
}
