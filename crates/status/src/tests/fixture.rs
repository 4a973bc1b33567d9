//! The status role's ports in memory, and the records that others would have journaled.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use postrider_contract::attempt::{Attempt, AttemptResult, BodyExtent, Response, SentRequest, Timings};
use postrider_contract::clock::{Clock, ManualClock, Timestamp};
use postrider_contract::delivery::{
    AttemptNumber, Check, Delivery, DeliveryRef, Origin, Position, Query, RenderedWith, Work,
};
use postrider_contract::egress::WebhookUrl;
use postrider_contract::event::{Event, SchemaVersion};
use postrider_contract::fakes::{FakeConfiguration, FakeKeyedRequests, FakeLog, FakeQueue, Outage};
use postrider_contract::ids::{AttemptId, DeliveryId, TenantId, WebhookId};
use postrider_contract::journal::{
    AcceptedRecord, AttemptedRecord, ExpectedDelivery, HeldRecord, JournalBatch, JournalRecord,
};
use postrider_contract::json::RawObject;
use postrider_contract::log::fold;
use postrider_contract::outcome::{HoldReason, Outcome};
use postrider_contract::ports::{
    ConfigKey, ConfigStore, ConfigWrite, DeliveryLog, DeliveryView, Expected, Journal, Lease, LogQueries,
    WorkKind, WorkQueue,
};
use postrider_contract::profile::ProfileName;
use postrider_contract::rendering::render_for;
use postrider_contract::revision::Revision;
use postrider_contract::template::{LoneVariables, Template};
use postrider_contract::tenant::Tenant;
use postrider_contract::webhook::{Webhook, WebhookKind};
use postrider_service::config_object::ConfigObject;
use postrider_service::directory::Directory;
use postrider_service::metrics::{Metrics, StatusMetrics};
use sha2::{Digest, Sha256};

use crate::duties::DutyParts;
use crate::{HealingBounds, Rerendering, Retention, TryBoard};

pub(crate) const OVERDUE_AFTER: Duration = Duration::from_secs(600);

pub(crate) struct Office {
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) configuration: FakeConfiguration,
    pub(crate) directory: Arc<Directory>,
    pub(crate) queue: FakeQueue,
    pub(crate) log: FakeLog,
    pub(crate) log_outage: Arc<Outage>,
    pub(crate) keyed: Arc<FakeKeyedRequests>,
    pub(crate) parts: DutyParts,
}

impl Office {
    /// With tenant `a` on `trakkr`, whose envelope shows the tenant's name.
    pub(crate) async fn open() -> Self {
        let clock = Arc::new(ManualClock::at(Timestamp::from_millis(1_795_253_400_000)));
        let configuration = FakeConfiguration::new(Arc::default());
        let directory = Directory::load(Arc::new(configuration.clone())).await.expect("the fake answers");
        let queue = FakeQueue::new(clock.clone());
        let log_outage = Arc::new(Outage::default());
        let log = FakeLog::new(Arc::clone(&log_outage));
        let keyed = Arc::new(FakeKeyedRequests::new(Arc::default()));
        let metrics = Metrics::new("0", "0").and_then(|metrics| StatusMetrics::register(&metrics));
        let parts = DutyParts {
            room: Arc::new(log.clone()),
            queue: Arc::new(queue.clone()),
            journal: Arc::new(queue.clone()),
            log: Arc::new(log.clone()),
            queries: Arc::new(log.clone()),
            keyed: keyed.clone(),
            configuration: Arc::new(configuration.clone()),
            directory: Arc::clone(&directory),
            board: TryBoard::new(),
            rerendering: Rerendering::new(Arc::new(configuration.clone())),
            metrics: Arc::new(metrics.expect("registered once")),
            clock: clock.clone(),
            healing: HealingBounds { overdue_after: OVERDUE_AFTER },
            retention: Retention { days: 30, body_days: 7, keys: Duration::from_secs(86_400) },
        };
        let office = Office { clock, configuration, directory, queue, log, log_outage, keyed, parts };
        office.put(&tenant("a")).await;
        office
    }

    pub(crate) async fn put<T: ConfigObject>(&self, object: &T) {
        let expected = self.expected(&object.key()).await;
        self.write(object.write(expected)).await;
    }

    pub(crate) async fn delete(&self, key: ConfigKey) {
        let expected = self.expected(&key).await;
        self.write(ConfigWrite { key, expected, document: None }).await;
    }

    async fn expected(&self, key: &ConfigKey) -> Expected {
        let current = self.configuration.read(key).await.expect("the fake answers");
        current.map_or(Expected::Absent, |record| Expected::At(record.revision))
    }

    async fn write(&self, write: ConfigWrite) {
        self.configuration.write(vec![write]).await.expect("nobody else writes");
        self.directory.refresh().await.expect("the fake answers");
    }

    pub(crate) async fn log(&self, records: impl IntoIterator<Item = JournalRecord>) {
        self.log.apply(&fold(records)).await.expect("the fake answers");
    }

    pub(crate) async fn journal(&self, records: Vec<JournalRecord>) {
        let records = records.into_iter().map(Arc::new).collect();
        let batch = JournalBatch { written_at: self.clock.now(), records };
        self.queue.append(batch).await.expect("the fake takes it");
    }

    /// A delivery of an event of its own, as ingest makes it.
    pub(crate) fn delivery(&self, event: &str, number: u128) -> (Event, Delivery) {
        let view = self.directory.tenant(&tenant_id("a")).known().expect("tenant a");
        let profile = self.directory.profile(&view.tenant.profile).expect("built in");
        let event = event_of_now(event, self.clock.now());
        let id = WebhookId::from_u128(number);
        let (webhook, revision) = match self.directory.webhook(id).known() {
            Some(entry) => (entry.webhook.clone(), entry.revision),
            // Nobody can render its bodies again.
            None => (webhook(number), Revision::ZERO),
        };
        let rendered = render_for(&webhook, &profile.profile, &event, &view.tenant).expect("data that fits");
        let delivery = Delivery {
            reference: DeliveryRef {
                id: DeliveryId::derive(event.accepted_at, &event.id, id, 0),
                tenant: event.tenant.clone(),
                event_id: event.id.clone(),
                event_type: event.event_type.clone(),
                webhook: id,
                kind: webhook.kind,
                accepted_at: event.accepted_at,
                replay: 0,
            },
            position: Position::START,
            origin: Origin::Producer,
            check: Check::Fresh,
            due_at: event.accepted_at,
            parked_for: Duration::ZERO,
            profile: view.tenant.profile.clone(),
            rendered_with: RenderedWith {
                webhook: revision,
                profile: profile.revision,
                tenant: view.revision,
            },
            schema_version: event.schema_version,
            event_timestamp: event.timestamp,
            query: rendered.query,
            body: rendered.body,
        };
        (event, delivery)
    }

    /// Webhook 2 as a postback with this query, and a delivery of event `e` to it whose query is filled with `filled`.
    pub(crate) async fn postback(&self, query: &str, filled: &'static [u8]) -> (Webhook, Event, Delivery) {
        let url = WebhookUrl::from_stored(&format!("https://partner.example/pb?{query}")).expect("a URL");
        let blank = Webhook::new(tenant_id("a"), WebhookId::from_u128(2), url, self.clock.now());
        let webhook = Webhook { kind: WebhookKind::Postback, ..blank };
        self.put(&webhook).await;
        let (event, delivery) = self.delivery("e", 2);
        let query = Query::Filled(Bytes::from_static(filled));
        let delivery = Delivery { query, body: Bytes::new(), ..delivery };
        (webhook, event, delivery)
    }

    /// Puts so many into the waiting room; answers them in the order they came.
    pub(crate) async fn hold(&self, webhook: u128, count: usize) -> Vec<Delivery> {
        let mut held = Vec::with_capacity(count);
        for number in 0..count {
            let (event, delivery) = self.delivery(&format!("w{webhook}-{number}"), webhook);
            let delivery = delivery.held();
            let why = HoldReason::Overflow;
            let since = event.accepted_at;
            let record = HeldRecord { delivery: delivery.clone(), why, since };
            self.log([JournalRecord::Held(record), accepted(event, &delivery, Some(why))]).await;
            self.clock.advance(Duration::from_millis(1));
            held.push(delivery);
        }
        held
    }

    /// What stands in the queue, which is empty afterwards.
    pub(crate) async fn published(&self) -> Vec<Delivery> {
        let mut found = Vec::new();
        for kind in WorkKind::ALL {
            let mut source = self.queue.consume(kind, u16::MAX).await.expect("open");
            while let Some(lease) = source.next().now_or_never() {
                let Lease { message, ticket, .. } = lease.expect("open");
                ticket.acknowledge();
                match message {
                    Work::Deliver(delivery) => found.push(delivery),
                    Work::FanOut(fan_out) => panic!("status publishes single deliveries: {fan_out:?}"),
                }
            }
        }
        found
    }

    pub(crate) async fn view(&self, id: DeliveryId) -> DeliveryView {
        let view = self.log.delivery(&tenant_id("a"), id).await.expect("the fake answers");
        view.expect("the delivery is known")
    }
}

pub(crate) fn tenant_id(id: &str) -> TenantId {
    id.parse().expect("a tenant's id")
}

pub(crate) fn tenant(id: &str) -> Tenant {
    Tenant {
        id: tenant_id(id),
        name: "Acme".to_owned(),
        website: None,
        profile: "trakkr".parse().expect("a name"),
        schema_check: Default::default(),
        created_at: Timestamp::EPOCH,
        updated_at: Timestamp::EPOCH,
    }
}

pub(crate) fn webhook(number: u128) -> Webhook {
    let url = WebhookUrl::from_stored("https://receiver.example/hook").expect("a URL");
    Webhook {
        name: format!("webhook {number}"),
        events: vec!["order.*".parse().expect("a pattern")],
        ..Webhook::new(tenant_id("a"), WebhookId::from_u128(number), url, Timestamp::EPOCH)
    }
}

/// Whose lone variables keep their types.
pub(crate) fn template(text: &str) -> Template {
    Template::parse(text, LoneVariables::Typed).expect("a template")
}

fn event_of_now(id: &str, now: Timestamp) -> Event {
    Event {
        id: id.parse().expect("an id"),
        tenant: tenant_id("a"),
        event_type: "order.paid".parse().expect("a type"),
        schema_version: SchemaVersion::FIRST,
        timestamp: now,
        accepted_at: now,
        data: RawObject::parse(Bytes::from_static(br#"{ "n": 12345678901234567890, "a":1,"a":2 }"#))
            .expect("an object"),
        summary: None,
        workflow: None,
    }
}

pub(crate) fn accepted(event: Event, delivery: &Delivery, held: Option<HoldReason>) -> JournalRecord {
    let expected = ExpectedDelivery {
        id: delivery.reference.id,
        webhook: delivery.reference.webhook,
        kind: delivery.reference.kind,
        profile: ProfileName::clone(&delivery.profile),
        rendered_with: delivery.rendered_with,
        held,
    };
    JournalRecord::Accepted(AcceptedRecord { event, origin: Origin::Producer, deliveries: vec![expected] })
}

/// A try that took so long and was answered with `status`.
pub(crate) fn attempted(delivery: &Delivery, status: u16, took: Duration, outcome: Outcome) -> JournalRecord {
    let number: AttemptNumber = delivery.position.attempt;
    let low = u128::from(number.number()) << 64 | (delivery.reference.id.as_u128() & u128::from(u64::MAX));
    let response = Response { status, headers: Vec::new(), body: Bytes::new(), extent: BodyExtent::Whole };
    JournalRecord::Attempted(AttemptedRecord {
        delivery: delivery.reference.clone(),
        position: delivery.position,
        attempt: Attempt {
            id: AttemptId::from_u128(low),
            number,
            started_at: delivery.due_at,
            request: SentRequest {
                method: "POST".to_owned(),
                url: "https://receiver.example/hook".to_owned(),
                headers: Vec::new(),
                body_sha256: Sha256::digest(&delivery.body).into(),
                body_length: delivery.body.len() as u64,
            },
            address: None,
            timings: Timings { total: took, ..Timings::default() },
            result: AttemptResult::Response(response),
        },
        outcome,
    })
}

pub(crate) const QUICK: Duration = Duration::from_millis(20);
