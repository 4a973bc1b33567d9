//! The roles themselves: the code of the product over simulated ports, started again whenever they die.

use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use postrider_contract::clock::{Clock, Entropy, Timestamp};
use postrider_contract::egress::WebhookUrl;
use postrider_contract::ids::{TenantId, WebhookId};
use postrider_contract::ports::{ConfigStore, DeliveryLog, Expected, Journal, WorkQueue};
use postrider_contract::profile::ProfileOverride;
use postrider_contract::tenant::Tenant;
use postrider_contract::webhook::Webhook;
use postrider_delivery_worker::gate::Webhooks;
use postrider_delivery_worker::{Settings, Worker, WorkerParts};
use postrider_ingest::{
    Asides, Backlog, BacklogBound, Intake, IntakeParts, KeyedGate, RoomWatch, run_amqp_intake,
};
use postrider_service::config_object::ConfigObject;
use postrider_service::directory::Directory;
use postrider_service::journal_writer::JournalWriter;
use postrider_service::metrics::{IngestMetrics, Metrics, StatusMetrics, WorkerMetrics};
use postrider_service::secret_box::SecretBox;
use postrider_status::{
    Duties, DutyParts, Gathering, HealingBounds, Rerendering, Retention, StrayParts, TryBoard, run_strays,
    run_writer,
};

use super::effect::Role;
use super::intake::{SimulatedIntake, SimulatedStrays};
use super::life::Life;
use super::queue::SimulatedQueue;
use super::receiver::SimulatedTransport;
use super::scenario;
use super::store::SimulatedStore;
use super::time::SimulatedEntropy;
use super::world::World;
use crate::load::Chance;

/// Short, so that a run comes to its end in little simulated time.
const OVERDUE_AFTER: Duration = Duration::from_secs(60);
/// Tries of one delivery: one more than these.
pub(super) const WAITS: [Duration; 3] =
    [Duration::from_millis(500), Duration::from_secs(1), Duration::from_secs(2)];
const TIME_LIMIT: Duration = Duration::from_secs(3);
/// Small, so that deliveries wait for each other and some overflow into the waiting room.
const SLOTS: u16 = 10;
const WINDOW: u16 = 2;
/// Producers' messages in hand.
const INTAKE_PREFETCH: u16 = 8;

pub(super) fn tenant_id() -> TenantId {
    "acme".parse().expect("a tenant's id")
}

pub(super) fn tenant() -> Tenant {
    Tenant {
        id: tenant_id(),
        name: "Acme".to_owned(),
        website: None,
        profile: "standard".parse().expect("a profile's name"),
        schema_check: Default::default(),
        created_at: Timestamp::EPOCH,
        updated_at: Timestamp::EPOCH,
    }
}

pub(super) fn webhook_path(number: usize) -> String {
    format!("/hook{number}")
}

pub(super) fn webhook(number: usize, kind: scenario::WebhookKind) -> Webhook {
    let rate = match kind {
        scenario::WebhookKind::RateLimited => NonZeroU32::new(5),
        scenario::WebhookKind::Plain | scenario::WebhookKind::Moody => None,
    };
    let url = format!("https://receiver.example{}", webhook_path(number));
    let url = WebhookUrl::from_stored(&url).expect("a URL");
    Webhook {
        name: format!("webhook {number}"),
        events: vec!["order.*".parse().expect("a pattern")],
        overrides: ProfileOverride {
            waits: Some(WAITS.to_vec()),
            time_limit: Some(TIME_LIMIT),
            ..ProfileOverride::default()
        },
        rate_limit_per_second: rate,
        ..Webhook::new(tenant_id(), webhook_id(number), url, Timestamp::EPOCH)
    }
}

pub(super) fn webhook_id(number: usize) -> WebhookId {
    WebhookId::from_u128(number as u128 + 1)
}

/// Writes a document, new or changed.
pub(super) async fn put<T: ConfigObject>(world: &World, object: &T) -> Result<()> {
    let current = world.configuration.read(&object.key()).await?;
    let expected = current.map_or(Expected::Absent, |record| Expected::At(record.revision));
    world.configuration.write(vec![object.write(expected)]).await?;
    Ok(())
}

/// A life of ingest, and its way in.
type Answering = (Arc<Life>, Arc<Intake>);

/// Ingest as producers reach it: whoever answers at the moment.
#[derive(Clone, Default)]
pub(super) struct Door(Arc<Mutex<Option<Answering>>>);

impl Door {
    pub(super) fn current(&self) -> Option<Answering> {
        let current = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        current.filter(|(life, _)| life.is_alive())
    }
}

/// A process that is started again when it dies, for as long as the run takes.
pub(super) async fn keep_running(world: Arc<World>, role: Role, index: u64, door: Door) {
    for restart in 0_u64.. {
        let life = Life::begin(&world, role, index * 1_000 + restart);
        let started = match role {
            Role::Ingest => start_ingest(&life, &door).await,
            Role::Worker => start_worker(&life).await,
            Role::Status => start_status(&life).await,
        };
        if let Err(error) = started {
            world.break_off(format!("{life} does not start: {error:#}"));
            return;
        }
        life.dead.cancelled().await;
        tokio::time::sleep(world.draw_restart_delay()).await;
    }
}

fn entropy_of(life: &Life) -> Arc<dyn Entropy> {
    let seed = life.world.scenario.seed.wrapping_mul(31) ^ (life.role as u64) << 48 ^ life.number << 20;
    Arc::new(SimulatedEntropy(Chance::of(seed)))
}

async fn directory_of(life: &Arc<Life>) -> Result<Arc<Directory>> {
    let directory = Directory::load(Arc::new(life.world.configuration.clone())).await?;
    let (followed, stop) = (Arc::clone(&directory), life.stop.clone());
    tokio::spawn(async move { followed.follow(&stop).await });
    Ok(directory)
}

/// Once a process: registering is dear, and what is counted does not matter here.
fn metrics() -> &'static AllMetrics {
    static METRICS: OnceLock<AllMetrics> = OnceLock::new();
    METRICS.get_or_init(|| {
        let metrics = Metrics::new("0", "0").expect("registered once");
        AllMetrics {
            ingest: Arc::new(IngestMetrics::register(&metrics).expect("registered once")),
            worker: WorkerMetrics::register(&metrics).expect("registered once"),
            status: Arc::new(StatusMetrics::register(&metrics).expect("registered once")),
        }
    })
}

struct AllMetrics {
    ingest: Arc<IngestMetrics>,
    worker: WorkerMetrics,
    status: Arc<StatusMetrics>,
}

/// Ends the run if a role ends by itself, which none may.
fn watch<E: std::fmt::Display + Send + 'static>(
    life: &Arc<Life>,
    role: impl Future<Output = Result<(), E>> + Send + 'static,
) {
    let life = Arc::clone(life);
    tokio::spawn(async move {
        let ended = role.await;
        if life.is_alive() {
            let why = ended.err().map(|error| error.to_string()).unwrap_or_default();
            life.world.break_off(format!("{life} ended by itself: {why}"));
        }
    });
}

async fn start_ingest(life: &Arc<Life>, door: &Door) -> Result<()> {
    let world = &life.world;
    let queue = Arc::new(SimulatedQueue { life: Arc::clone(life) });
    let store = Arc::new(SimulatedStore { life: Arc::clone(life) });
    let (room, backlog) = (RoomWatch::new(), Backlog::new(BacklogBound(Duration::from_secs(600))));
    let parts = IntakeParts {
        directory: directory_of(life).await?,
        queue: Arc::clone(&queue) as Arc<dyn WorkQueue>,
        journal: JournalWriter::start(Arc::clone(&queue) as Arc<dyn Journal>, Arc::clone(&world.clock) as _),
        keyed: KeyedGate::start(Arc::clone(&store) as _),
        room: Arc::clone(&room),
        backlog: Arc::clone(&backlog),
        clock: Arc::clone(&world.clock) as Arc<dyn Clock>,
        entropy: entropy_of(life),
        max_directory_age: Duration::from_secs(600),
    };
    let (asked, stop) = (Arc::clone(&store) as _, life.stop.clone());
    tokio::spawn(async move { room.follow(asked, stop).await });
    let intake = Intake::new(parts);
    let over_amqp = SimulatedIntake { life: Arc::clone(life) };
    let source = over_amqp.take_in(INTAKE_PREFETCH);
    let asides = Asides { refused: Arc::new(over_amqp.clone()), put_off: Arc::new(over_amqp) };
    let (metrics, stop) = (Arc::clone(&metrics().ingest), life.stop.clone());
    watch(life, run_amqp_intake(source, asides, Arc::clone(&intake), metrics, stop));
    *door.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((Arc::clone(life), intake));
    Ok(())
}

async fn start_worker(life: &Arc<Life>) -> Result<()> {
    let world = &life.world;
    let queue = Arc::new(SimulatedQueue { life: Arc::clone(life) });
    let key = "ab".repeat(32).parse().context("a master key")?;
    let parts = WorkerParts {
        queue: Arc::clone(&queue) as Arc<dyn WorkQueue>,
        journal: JournalWriter::start(Arc::clone(&queue) as Arc<dyn Journal>, Arc::clone(&world.clock) as _),
        log: Arc::new(SimulatedStore { life: Arc::clone(life) }),
        webhooks: directory_of(life).await? as Arc<dyn Webhooks>,
        secrets: SecretBox::new(&key),
        transport: Arc::new(SimulatedTransport { life: Arc::clone(life) }),
        clock: Arc::clone(&world.clock) as Arc<dyn Clock>,
        entropy: entropy_of(life),
        metrics: metrics().worker.clone(),
    };
    let settings = Settings { slots: SLOTS, window: WINDOW, ..Settings::default() };
    watch(life, Worker::new(settings, parts).run(life.stop.clone()));
    Ok(())
}

async fn start_status(life: &Arc<Life>) -> Result<()> {
    let world = &life.world;
    let queue = Arc::new(SimulatedQueue { life: Arc::clone(life) });
    let store = Arc::new(SimulatedStore { life: Arc::clone(life) });
    let (board, metrics) = (TryBoard::new(), Arc::clone(&metrics().status));
    let parts = DutyParts {
        room: Arc::clone(&store) as _,
        queue: Arc::clone(&queue) as Arc<dyn WorkQueue>,
        journal: Arc::clone(&queue) as Arc<dyn Journal>,
        log: Arc::clone(&store) as _,
        queries: Arc::new(world.log.clone()),
        keyed: Arc::clone(&store) as _,
        configuration: Arc::new(world.configuration.clone()),
        directory: directory_of(life).await?,
        board: Arc::clone(&board),
        rerendering: Rerendering::new(Arc::new(world.configuration.clone())),
        metrics: Arc::clone(&metrics),
        clock: Arc::clone(&world.clock) as Arc<dyn Clock>,
        healing: HealingBounds { overdue_after: OVERDUE_AFTER },
        retention: Retention { days: 30, body_days: 7, keys: Duration::from_secs(86_400) },
    };
    let (duties, stop) = (Duties::new(parts, Arc::clone(&store) as _), life.stop.clone());
    watch(life, async move {
        duties.run(stop).await;
        Ok::<(), std::convert::Infallible>(())
    });
    let strays = StrayParts {
        strays: Arc::new(SimulatedStrays { life: Arc::clone(life) }),
        queue: Arc::clone(&queue) as Arc<dyn WorkQueue>,
        journal: Arc::clone(&queue) as Arc<dyn Journal>,
        log: Arc::clone(&store) as Arc<dyn DeliveryLog>,
        metrics: Arc::clone(&metrics),
        clock: Arc::clone(&world.clock) as Arc<dyn Clock>,
    };
    watch(life, run_strays(strays, life.stop.clone()));
    let gathering = Gathering::of(queue);
    for _ in 0..2 {
        let log = Arc::clone(&store) as Arc<dyn DeliveryLog>;
        let (gathering, board, metrics) = (Arc::clone(&gathering), Arc::clone(&board), Arc::clone(&metrics));
        watch(life, run_writer(gathering, log, board, metrics, life.stop.clone()));
    }
    Ok(())
}
