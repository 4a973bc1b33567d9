//! A whole ingest role over ports that live in memory, for the tests of its parts.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::FutureExt;
use postrider_contract::clock::{ManualClock, Timestamp};
use postrider_contract::delivery::{Delivery, Work};
use postrider_contract::egress::WebhookUrl;
use postrider_contract::fakes::{FakeConfiguration, FakeKeyedRequests, FakeQueue, Outage, PublishFault};
use postrider_contract::ids::{TenantId, WebhookId};
use postrider_contract::journal::{AcceptedRecord, HeldRecord, JournalRecord};
use postrider_contract::ports::{
    ConfigKey, ConfigStore, ConfigWrite, Expected, IntakeError, IntakeReceipt, Journal, KeyedRequests, Lease,
    Publication, PublishError, QueueDepths, QueueError, WorkKind, WorkQueue, WorkSource,
};
use postrider_contract::submission::Submission;
use postrider_contract::tenant::Tenant;
use postrider_contract::webhook::{Webhook, WebhookState};
use postrider_service::config_object::ConfigObject;
use postrider_service::directory::Directory;
use postrider_service::journal_writer::JournalWriter;
use postrider_service::secret_box::SecretBox;
use postrider_service::system::SystemEntropy;

use crate::breaker::PAUSE;
use crate::{
    Backlog, BacklogBound, Explainer, ExplainerParts, IdempotencyKey, Intake, IntakeParts, KeyedGate,
    RoomWatch,
};

pub(crate) const NOW: Timestamp = Timestamp::EPOCH;
pub(crate) const MAX_AGE: Duration = Duration::from_secs(600);
const BACKLOG: Duration = Duration::from_secs(30);

/// A queue that finds out that it cannot write only when it tries.
struct Unsuspecting(FakeQueue);

#[async_trait]
impl WorkQueue for Unsuspecting {
    async fn publish(&self, publications: Vec<Publication>) -> Result<(), PublishError> {
        self.0.publish(publications).await
    }

    async fn consume(&self, kind: WorkKind, prefetch: u16) -> Result<Box<dyn WorkSource>, QueueError> {
        self.0.consume(kind, prefetch).await
    }

    async fn depths(&self) -> Result<QueueDepths, QueueError> {
        self.0.depths().await
    }

    fn check_writable(&self) -> Result<(), QueueError> {
        Ok(())
    }

    async fn close(&self) {
        self.0.close().await;
    }
}

/// Work and journal are two queues, so that each can fail alone.
pub(crate) struct Door {
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) configuration: FakeConfiguration,
    pub(crate) configuration_outage: Arc<Outage>,
    pub(crate) keyed_outage: Arc<Outage>,
    pub(crate) queue: FakeQueue,
    pub(crate) journal: FakeQueue,
    pub(crate) room: Arc<RoomWatch>,
    pub(crate) backlog: Arc<Backlog>,
    pub(crate) directory: Arc<Directory>,
    pub(crate) parts: IntakeParts,
    pub(crate) intake: Arc<Intake>,
}

impl Door {
    /// With tenant `a`, without webhooks.
    pub(crate) async fn open() -> Self {
        let keyed_outage = Arc::new(Outage::default());
        let keyed = Arc::new(FakeKeyedRequests::new(Arc::clone(&keyed_outage)));
        Self::open_with(keyed, keyed_outage).await
    }

    pub(crate) async fn open_with(keyed: Arc<dyn KeyedRequests>, keyed_outage: Arc<Outage>) -> Self {
        let clock = Arc::new(ManualClock::at(NOW.plus(Duration::from_secs(86_400))));
        let configuration_outage = Arc::new(Outage::default());
        let configuration = FakeConfiguration::new(Arc::clone(&configuration_outage));
        let directory = Directory::load(Arc::new(configuration.clone())).await.expect("the fake answers");
        let (queue, journal) = (FakeQueue::new(clock.clone()), FakeQueue::new(clock.clone()));
        let (room, backlog) = (RoomWatch::new(), Backlog::new(BacklogBound(BACKLOG)));
        let parts = IntakeParts {
            directory: Arc::clone(&directory),
            queue: Arc::new(queue.clone()),
            journal: JournalWriter::start(Arc::new(journal.clone()), clock.clone()),
            keyed: KeyedGate::start(keyed),
            room: Arc::clone(&room),
            backlog: Arc::clone(&backlog),
            clock: clock.clone(),
            entropy: Arc::new(SystemEntropy),
            max_directory_age: MAX_AGE,
        };
        let intake = Intake::new(parts.clone());
        let door = Door {
            clock,
            configuration,
            configuration_outage,
            keyed_outage,
            queue,
            journal,
            room,
            backlog,
            directory,
            parts,
            intake,
        };
        door.put(&tenant("a", "standard")).await;
        door
    }

    /// From now on the queue's faults show only once publishing has begun.
    pub(crate) fn unsuspecting(self) -> Self {
        let queue = Arc::new(Unsuspecting(self.queue.clone()));
        self.with_queue(queue)
    }

    pub(crate) fn with_queue(mut self, queue: Arc<dyn WorkQueue>) -> Self {
        self.parts.queue = queue;
        self.intake = Intake::new(self.parts.clone());
        self
    }

    pub(crate) fn with_journal(mut self, journal: Arc<dyn Journal>) -> Self {
        self.parts.journal = JournalWriter::start(journal, self.clock.clone());
        self.intake = Intake::new(self.parts.clone());
        self
    }

    pub(crate) fn explainer(&self) -> Arc<Explainer> {
        Explainer::new(ExplainerParts {
            room: Arc::clone(&self.room),
            secret_box: secret_box(),
            clock: self.clock.clone(),
            entropy: Arc::new(SystemEntropy),
        })
    }

    /// Writes an object, new or changed, and tells the directory.
    pub(crate) async fn put<T: ConfigObject>(&self, object: &T) {
        self.put_unseen(object).await;
        self.directory.refresh().await.expect("the fake answers");
    }

    /// As [`Door::put`], but the directory does not know yet.
    pub(crate) async fn put_unseen<T: ConfigObject>(&self, object: &T) {
        let expected = self.expected(&object.key()).await;
        self.configuration.write(vec![object.write(expected)]).await.expect("nobody else writes");
    }

    /// A document that no version of ours has written.
    pub(crate) async fn put_unreadable(&self, key: ConfigKey) {
        let expected = self.expected(&key).await;
        let write = ConfigWrite { key, expected, document: Some(Bytes::from_static(b"{\"form\":2}")) };
        self.configuration.write(vec![write]).await.expect("nobody else writes");
        self.directory.refresh().await.expect("the fake answers");
    }

    pub(crate) async fn delete(&self, key: ConfigKey) {
        let expected = self.expected(&key).await;
        let deletion = ConfigWrite { key, expected, document: None };
        self.configuration.write(vec![deletion]).await.expect("nobody else writes");
        self.directory.refresh().await.expect("the fake answers");
    }

    async fn expected(&self, key: &ConfigKey) -> Expected {
        let current = self.configuration.read(key).await.expect("the fake answers");
        current.map_or(Expected::Absent, |record| Expected::At(record.revision))
    }

    pub(crate) async fn accept(&self, body: &str) -> Result<IntakeReceipt, IntakeError> {
        self.accept_keyed(None, body).await
    }

    pub(crate) async fn accept_keyed(
        &self,
        key: Option<&str>,
        body: &str,
    ) -> Result<IntakeReceipt, IntakeError> {
        let body = Bytes::copy_from_slice(body.as_bytes());
        let submission = Submission::parse(&body).expect("a submission");
        let key = key.map(|key| IdempotencyKey::parse(key).expect("a key"));
        self.intake.accept_request(&tenant_id("a"), submission, key, &body).await
    }

    pub(crate) fn fail_journal(&self) {
        self.journal.fail_publishes(PublishFault::LostBefore { reason: "no confirm".to_owned() });
    }

    /// The journal takes records again, and for so long that it is asked to.
    pub(crate) fn mend_journal(&self) {
        self.journal.fail_publishes(PublishFault::None);
        self.clock.advance(PAUSE);
    }

    /// What stands in the queues, which are empty afterwards.
    pub(crate) async fn published(&self) -> Vec<Work> {
        let mut found = Vec::new();
        for kind in WorkKind::ALL {
            let mut source = self.queue.consume(kind, u16::MAX).await.expect("open");
            while let Some(lease) = source.next().now_or_never() {
                let Lease { message, ticket, .. } = lease.expect("open");
                ticket.acknowledge();
                found.push(message);
            }
        }
        found
    }

    /// The same, where only single deliveries are expected.
    pub(crate) async fn deliveries(&self) -> Vec<Delivery> {
        let single = |work| match work {
            Work::Deliver(delivery) => delivery,
            Work::FanOut(fan_out) => panic!("not a single delivery: {fan_out:?}"),
        };
        self.published().await.into_iter().map(single).collect()
    }

    /// What stands in the journal, which is empty afterwards.
    pub(crate) async fn records(&self) -> Vec<JournalRecord> {
        let mut found = Vec::new();
        let mut source = self.journal.read(u16::MAX).await.expect("open");
        while let Some(lease) = source.next().now_or_never() {
            let Lease { message, ticket, .. } = lease.expect("open");
            ticket.acknowledge();
            found.extend(message.records.into_iter().map(Arc::unwrap_or_clone));
        }
        found
    }

    /// The one accepted record that is expected, and the holds.
    pub(crate) async fn accepted(&self) -> (AcceptedRecord, Vec<HeldRecord>) {
        let (mut accepted, mut holds) = (Vec::new(), Vec::new());
        for record in self.records().await {
            match record {
                JournalRecord::Accepted(record) => accepted.push(record),
                JournalRecord::Held(record) => holds.push(record),
                JournalRecord::Attempted(_)
                | JournalRecord::Deferred(_)
                | JournalRecord::Released(_)
                | JournalRecord::Concluded(_) => panic!("ingest does not journal this: {record:?}"),
            }
        }
        assert_eq!(accepted.len(), 1, "{accepted:?}");
        (accepted.remove(0), holds)
    }

    pub(crate) async fn assert_nothing_happened(&self) {
        assert_eq!(self.published().await, []);
        assert_eq!(self.records().await, []);
    }
}

pub(crate) fn secret_box() -> SecretBox {
    SecretBox::new(&"ab".repeat(32).parse().expect("a key"))
}

pub(crate) fn tenant_id(id: &str) -> TenantId {
    id.parse().expect("a tenant's id")
}

pub(crate) fn tenant(id: &str, profile: &str) -> Tenant {
    Tenant {
        id: tenant_id(id),
        name: "Acme".to_owned(),
        website: None,
        profile: profile.parse().expect("a profile's name"),
        schema_check: Default::default(),
        created_at: NOW,
        updated_at: NOW,
    }
}

/// Of tenant `a`, subscribed to `order.*`.
pub(crate) fn webhook(number: u128) -> Webhook {
    let url = WebhookUrl::from_stored("https://receiver.example/hook").expect("a URL");
    Webhook {
        name: format!("webhook {number}"),
        events: vec!["order.*".parse().expect("a pattern")],
        ..Webhook::new(tenant_id("a"), WebhookId::from_u128(number), url, NOW)
    }
}

pub(crate) fn paused() -> WebhookState {
    WebhookState::Paused { since: NOW }
}
