//! A whole manage role over ports that live in memory.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use axum::Router;
use axum::body::Body;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt;
use postrider_contract::clock::{Clock, ManualClock, Timestamp};
use postrider_contract::delivery::Origin;
use postrider_contract::egress::UrlRule;
use postrider_contract::fakes::{FakeConfiguration, Outage};
use postrider_contract::ids::{DeliveryId, EventId, TenantId, WebhookId};
use postrider_contract::key::KeyHash;
use postrider_contract::ports::{
    AttemptView, ConfigRecord, ConfigStore, DeliveryFilter, DeliveryView, EventFilter, EventIntake,
    EventView, HeldDelivery, IntakeError, IntakeReceipt, Ledger, LedgerQuery, LogQueries, PageOf,
    RoomSummary, StoreError, WaitingRoom,
};
use postrider_contract::revision::Revision;
use postrider_contract::submission::Submission;
use postrider_service::authentication::{AdminKeySource, Authenticator};
use postrider_service::directory::Directory;
use postrider_service::secret_box::SecretBox;
use postrider_service::system::SystemEntropy;
use serde_json::{Value, json};
use tower::ServiceExt;

use super::racing::RacingStore;
use crate::{ManageLimits, ManageParts, ManageState, routes};

pub(super) const ADMIN: &str = "pra_the-admin-key";
pub(super) const NOW: &str = "2026-11-21T09:30:00.000Z";

#[derive(Default)]
pub(super) struct FakeRoom(pub(super) Mutex<Vec<RoomSummary>>);

#[async_trait]
impl WaitingRoom for FakeRoom {
    async fn summaries(&self) -> Result<Vec<RoomSummary>, StoreError> {
        Ok(self.0.lock().expect("not poisoned").clone())
    }

    async fn oldest(&self, _: WebhookId, _: u32) -> Result<Vec<HeldDelivery>, StoreError> {
        Ok(Vec::new())
    }

    async fn mark_released(&self, _: Vec<(DeliveryId, u32)>, _: Timestamp) -> Result<(), StoreError> {
        Ok(())
    }

    async fn reopen_released_before(&self, _: Timestamp) -> Result<u64, StoreError> {
        Ok(0)
    }
}

/// Knows attempts alone, and gives each list once it was asked for `after` times.
#[derive(Default)]
pub(super) struct FakeLog {
    pub(super) attempts: Mutex<Vec<AttemptView>>,
    pub(super) asked: Mutex<u32>,
    pub(super) after: Mutex<u32>,
}

#[async_trait]
impl LogQueries for FakeLog {
    async fn event(&self, _: &TenantId, _: &EventId) -> Result<Option<EventView>, StoreError> {
        Ok(None)
    }

    async fn events(
        &self,
        _: &TenantId,
        _: &EventFilter,
        _: PageOf<(Timestamp, EventId)>,
    ) -> Result<Vec<EventView>, StoreError> {
        Ok(Vec::new())
    }

    async fn delivery(&self, _: &TenantId, _: DeliveryId) -> Result<Option<DeliveryView>, StoreError> {
        Ok(None)
    }

    async fn attempts(&self, _: DeliveryId) -> Result<Vec<AttemptView>, StoreError> {
        let mut asked = self.asked.lock().expect("not poisoned");
        *asked += 1;
        let is_there = *asked > *self.after.lock().expect("not poisoned");
        Ok(if is_there { self.attempts.lock().expect("not poisoned").clone() } else { Vec::new() })
    }

    async fn deliveries(
        &self,
        _: &TenantId,
        _: &DeliveryFilter,
        _: PageOf<DeliveryId>,
    ) -> Result<Vec<DeliveryView>, StoreError> {
        Ok(Vec::new())
    }

    async fn has_delivered_since(&self, _: WebhookId, _: Timestamp) -> Result<bool, StoreError> {
        Ok(false)
    }

    async fn ledger(&self, _: &LedgerQuery, _: Timestamp) -> Result<Ledger, StoreError> {
        Ok(Ledger::default())
    }
}

/// Accepts everything, for the webhooks that are named.
#[derive(Default)]
pub(super) struct FakeIntake(pub(super) Mutex<Vec<(TenantId, Submission, Origin)>>);

#[async_trait]
impl EventIntake for FakeIntake {
    async fn accept(
        &self,
        tenant: &TenantId,
        submission: Submission,
        origin: Origin,
    ) -> Result<IntakeReceipt, IntakeError> {
        let event: EventId = "evt_test".parse().expect("an id");
        let webhooks = submission.webhook_ids.clone().unwrap_or_default();
        let derive = |webhook| (DeliveryId::derive(Timestamp::EPOCH, &event, webhook, 0), webhook);
        let deliveries = webhooks.into_iter().map(derive).collect();
        self.0.lock().expect("not poisoned").push((tenant.clone(), submission, origin));
        Ok(IntakeReceipt { event, deliveries, replayed: false })
    }
}

pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) text: String,
}

impl Answer {
    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    /// The JSON, after making sure of the status.
    pub(super) fn expect(self, status: u16) -> Value {
        assert_eq!(self.status.as_u16(), status, "{}", self.text);
        if self.text.is_empty() { Value::Null } else { self.json() }
    }

    /// The pointers of a 422.
    pub(super) fn pointers(&self) -> Vec<String> {
        let body = self.json();
        let errors = body["errors"].as_array().cloned().unwrap_or_default();
        errors.iter().map(|error| error["pointer"].as_str().expect("a pointer").to_owned()).collect()
    }
}

/// Manage, and what it works with.
pub(super) struct Api {
    pub(super) router: Router,
    pub(super) state: ManageState,
    pub(super) store: Arc<RacingStore>,
    /// Makes the store stop answering.
    pub(super) outage: Arc<Outage>,
    pub(super) clock: Arc<ManualClock>,
    pub(super) room: Arc<FakeRoom>,
    pub(super) log: Arc<FakeLog>,
    pub(super) intake: Arc<FakeIntake>,
    pub(super) secret_box: SecretBox,
    pub(super) directory: Arc<Directory>,
    /// The description of the routes.
    pub(super) openapi: String,
}

impl Api {
    pub(super) async fn start() -> Self {
        Self::start_with(ManageLimits::default()).await
    }

    pub(super) async fn start_with(limits: ManageLimits) -> Self {
        let outage = Arc::new(Outage::default());
        let store = Arc::new(RacingStore::new(FakeConfiguration::new(Arc::clone(&outage))));
        let clock = Arc::new(ManualClock::at(NOW.parse().expect("a time")));
        let directory = Directory::load(Arc::clone(&store) as Arc<dyn ConfigStore>).await.expect("loads");
        let admin = AdminKeySource::Configured(KeyHash::of(ADMIN));
        let (room, log, intake) =
            (Arc::new(FakeRoom::default()), Arc::new(FakeLog::default()), Arc::new(FakeIntake::default()));
        let secret_box = SecretBox::new(&"ab".repeat(32).parse().expect("a key"));
        let parts = ManageParts {
            store: Arc::clone(&store) as _,
            authenticator: Authenticator::new(
                Arc::clone(&directory),
                Arc::clone(&clock) as Arc<dyn Clock>,
                admin,
            ),
            clock: Arc::clone(&clock) as _,
            entropy: Arc::new(SystemEntropy),
            secret_box: secret_box.clone(),
            url_rule: UrlRule::default(),
            waiting_room: Arc::clone(&room) as _,
            log: Arc::clone(&log) as _,
            intake: Arc::clone(&intake) as _,
            egress_addresses: vec!["192.0.2.7".to_owned()],
            limits,
        };
        let state = ManageState::new(parts);
        let (router, openapi) = routes(state.clone()).split_for_parts();
        Api {
            router,
            state,
            store,
            outage,
            clock,
            room,
            log,
            intake,
            secret_box,
            directory,
            openapi: openapi.to_json().expect("JSON"),
        }
    }

    /// The newest state of every document.
    pub(super) async fn records(&self) -> Vec<ConfigRecord> {
        self.store.changes_since(Revision::ZERO, u32::MAX).await.expect("answers").records
    }

    /// How many changes there were.
    pub(super) async fn revision(&self) -> u64 {
        self.store.changes_since(Revision::ZERO, u32::MAX).await.expect("answers").up_to.number()
    }

    pub(super) async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.expect("infallible");
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.expect("a body").to_bytes();
        let text = String::from_utf8(bytes.to_vec()).expect("UTF-8");
        Answer { status: parts.status, headers: parts.headers, text }
    }

    /// `key` may be followed by a space and the tenant that the admin key acts for.
    pub(super) async fn call(&self, key: &str, method: &str, path: &str, body: Option<Value>) -> Answer {
        self.call_text(key, method, path, body.map(|body| body.to_string())).await
    }

    /// The same with a body that is sent as it is written.
    pub(super) async fn call_text(
        &self,
        key: &str,
        method: &str,
        path: &str,
        body: Option<String>,
    ) -> Answer {
        let mut request = Request::builder().method(method).uri(path);
        let mut words = key.split(' ');
        if let Some(key) = words.next() {
            request = request.header(AUTHORIZATION, format!("Bearer {key}"));
        }
        if let Some(tenant) = words.next() {
            request = request.header("Postrider-Tenant", tenant);
        }
        if body.is_some() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        self.send(request.body(body.map_or_else(Body::empty, Body::from)).expect("a request")).await
    }

    /// A tenant with this id.
    pub(super) async fn tenant(&self, id: &str, profile: &str) -> Value {
        let body = json!({"id": id, "name": id, "profile": profile});
        self.call(ADMIN, "POST", "/v1/tenants", Some(body)).await.expect(201)
    }

    /// The text of a new key with these scopes.
    pub(super) async fn key(&self, tenant: &str, scopes: &[&str]) -> String {
        let body = json!({"name": "k", "scopes": scopes});
        let made =
            self.call(ADMIN, "POST", &format!("/v1/tenants/{tenant}/keys"), Some(body)).await.expect(201);
        made["key"].as_str().expect("a key").to_owned()
    }

    /// A tenant and a key of it with every scope.
    pub(super) async fn tenant_with_key(&self, id: &str, profile: &str) -> String {
        self.tenant(id, profile).await;
        self.key(id, &["publish", "read", "manage"]).await
    }

    /// A webhook as small as it may be, with these members on top.
    pub(super) async fn webhook(&self, key: &str, more: Value) -> Value {
        self.call(key, "POST", "/v1/webhooks", Some(webhook_body(more))).await.expect(201)
    }
}

/// The smallest body, with these members on top.
pub(super) fn webhook_body(more: Value) -> Value {
    let mut body = json!({"url": "https://example.com/hook", "events": ["conversion.*"]});
    let members = more.as_object().cloned().unwrap_or_default();
    body.as_object_mut().expect("an object").extend(members);
    body
}

pub(super) fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_else(|| panic!("{name} in {value}"))
}
