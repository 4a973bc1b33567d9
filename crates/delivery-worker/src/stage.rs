//! What tests of this crate stand on: a webhook, deliveries to it, and ports that write down what is asked of them.

mod recorder;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use postrider_contract::clock::{Clock, Entropy, ManualClock, Timestamp};
use postrider_contract::delivery::{Check, Delivery, DeliveryRef, Origin, Position, Query, RenderedWith};
use postrider_contract::egress::WebhookUrl;
use postrider_contract::event::SchemaVersion;
use postrider_contract::ids::{DeliveryId, EventId, WebhookId};
use postrider_contract::ports::StoreError;
use postrider_contract::profile::{CompiledProfile, ProfileName, builtin_profile};
use postrider_contract::revision::Revision;
use postrider_contract::secret::Secret;
use postrider_contract::tenant::Tenant;
use postrider_contract::webhook::{SigningSecrets, Webhook, WebhookKind};
use postrider_service::directory::{Found, ProfileEntry, WebhookEntry};
use postrider_service::secret_box::SecretBox;
use postrider_service::webhook_secrets::{SecretPlace, WebhookSecrets};

use crate::gate::Webhooks;

pub use recorder::{Recorder, settle, taken};

pub const SECRET: &str = "a secret of the subscriber";
pub const BODY: &[u8] = b"{\"n\":12345678901234567890, \"b\":1.0}";

pub fn noon() -> Timestamp {
    "2026-11-21T12:00:00.000Z".parse().unwrap()
}

pub fn clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::at(noon()))
}

/// Counts, so that ids differ.
#[derive(Debug, Default)]
pub struct Counting(std::sync::atomic::AtomicU64);

impl Entropy for Counting {
    fn fill(&self, bytes: &mut [u8]) {
        let number = self.0.fetch_add(1, std::sync::atomic::Ordering::SeqCst).to_be_bytes();
        for (byte, value) in bytes.iter_mut().rev().zip(number.into_iter().rev()) {
            *byte = value;
        }
    }
}

pub fn secret_box() -> SecretBox {
    SecretBox::new(&"ab".repeat(32).parse().unwrap())
}

pub fn webhook_id() -> WebhookId {
    WebhookId::from_u128(7)
}

pub fn webhook(url: &str) -> Webhook {
    let (secrets, tenant) = (secret_box(), "acme".parse().unwrap());
    let place = WebhookSecrets::new(&secrets, &tenant, webhook_id());
    let sealed = place.seal(SecretPlace::Signing, &Secret::new(SECRET.to_owned()), &Counting::default());
    let url = WebhookUrl::from_stored(url).unwrap();
    Webhook {
        name: "orders".to_owned(),
        secrets: SigningSecrets { current: Some(sealed), ..SigningSecrets::default() },
        ..Webhook::new(tenant, webhook_id(), url, noon())
    }
}

pub fn entry(webhook: Webhook, profile: &str, revision: u64) -> Arc<WebhookEntry> {
    let name: ProfileName = profile.parse().unwrap();
    let tenant = Tenant {
        id: webhook.tenant.clone(),
        name: "Acme".to_owned(),
        website: None,
        profile: name.clone(),
        schema_check: Default::default(),
        created_at: noon(),
        updated_at: noon(),
    };
    Arc::new(WebhookEntry {
        webhook,
        revision: Revision::from_number(revision),
        tenant: Arc::new(tenant),
        tenant_revision: Revision::from_number(1),
        profile: ProfileEntry { profile: builtin_profile(&name).unwrap(), revision: Revision::ZERO },
    })
}

pub fn delivery() -> Delivery {
    numbered_delivery(1)
}

pub fn numbered_delivery(number: u32) -> Delivery {
    let event_id: EventId = format!("evt_{number}").parse().unwrap();
    let reference = DeliveryRef {
        id: DeliveryId::derive(noon(), &event_id, webhook_id(), 0),
        tenant: "acme".parse().unwrap(),
        event_id,
        event_type: "conversion.created".parse().unwrap(),
        webhook: webhook_id(),
        kind: WebhookKind::Webhook,
        accepted_at: noon(),
        replay: 0,
    };
    let revision = Revision::from_number(1);
    Delivery {
        reference,
        position: Position::START,
        origin: Origin::Producer,
        check: Check::Fresh,
        due_at: noon(),
        parked_for: Duration::ZERO,
        profile: "trcker".parse().unwrap(),
        rendered_with: RenderedWith { webhook: revision, profile: Revision::ZERO, tenant: revision },
        schema_version: SchemaVersion::FIRST,
        event_timestamp: noon(),
        query: Query::OfUrl,
        body: Bytes::from_static(BODY),
    }
}

/// A directory that holds what it is given, and what it learns when it is refreshed.
#[derive(Default)]
pub struct FakeWebhooks {
    state: Mutex<FakeState>,
}

#[derive(Default)]
struct FakeState {
    known: HashMap<WebhookId, Option<Arc<WebhookEntry>>>,
    news: HashMap<WebhookId, Option<Arc<WebhookEntry>>>,
    age: Duration,
    former: HashMap<(ProfileName, Revision), Arc<CompiledProfile>>,
    store: FakeStore,
    refreshes: usize,
    questions: usize,
}

/// How the store takes a question.
#[derive(Clone, Copy, Default)]
enum FakeStore {
    #[default]
    Answers,
    Away,
    Silent,
}

impl FakeStore {
    async fn answer(self) -> Result<(), StoreError> {
        match self {
            FakeStore::Answers => Ok(()),
            FakeStore::Away => Err(StoreError::Unavailable { reason: "away".to_owned() }),
            FakeStore::Silent => std::future::pending().await,
        }
    }
}

impl FakeWebhooks {
    pub fn with(entry: Arc<WebhookEntry>) -> Arc<Self> {
        let webhooks = Arc::new(FakeWebhooks::default());
        webhooks.put(entry);
        webhooks
    }

    pub fn put(&self, entry: Arc<WebhookEntry>) {
        self.state.lock().unwrap().known.insert(entry.webhook.id, Some(entry));
    }

    pub fn delete(&self, id: WebhookId) {
        self.state.lock().unwrap().known.insert(id, None);
    }

    /// What the store knows and the directory not yet.
    pub fn put_in_store(&self, entry: Arc<WebhookEntry>) {
        self.state.lock().unwrap().news.insert(entry.webhook.id, Some(entry));
    }

    /// What the store knows of a profile as it was.
    pub fn remember(&self, profile: CompiledProfile, revision: Revision) {
        let key = (profile.name().clone(), revision);
        self.state.lock().unwrap().former.insert(key, Arc::new(profile));
    }

    /// The store stops answering, and the directory is as old as this.
    pub fn lose_store(&self, age: Duration) {
        let mut state = self.state.lock().unwrap();
        (state.store, state.age) = (FakeStore::Away, age);
    }

    /// The store takes questions and answers none.
    pub fn silence_store(&self) {
        self.state.lock().unwrap().store = FakeStore::Silent;
    }

    pub fn grow_old(&self, age: Duration) {
        self.state.lock().unwrap().age = age;
    }

    /// How often the store was asked for a profile as it was.
    pub fn profile_questions(&self) -> usize {
        self.state.lock().unwrap().questions
    }

    pub fn refreshes(&self) -> usize {
        self.state.lock().unwrap().refreshes
    }

    async fn ask(&self, count: fn(&mut FakeState)) -> Result<(), StoreError> {
        let store = {
            let mut state = self.state.lock().unwrap();
            count(&mut state);
            state.store
        };
        store.answer().await
    }
}

#[async_trait]
impl Webhooks for FakeWebhooks {
    fn webhook(&self, id: WebhookId) -> Found<Arc<WebhookEntry>> {
        match self.state.lock().unwrap().known.get(&id) {
            Some(Some(entry)) => Found::Known(Arc::clone(entry)),
            Some(None) => Found::Deleted,
            None => Found::Unknown,
        }
    }

    fn revision(&self) -> Revision {
        let state = self.state.lock().unwrap();
        state.known.values().flatten().map(|entry| entry.revision).max().unwrap_or_default()
    }

    fn age(&self) -> Duration {
        self.state.lock().unwrap().age
    }

    async fn refresh(&self) -> Result<(), StoreError> {
        self.ask(|state| state.refreshes += 1).await?;
        let mut state = self.state.lock().unwrap();
        let news = std::mem::take(&mut state.news);
        state.known.extend(news);
        state.age = Duration::ZERO;
        Ok(())
    }

    fn profile_at_hand(&self, name: &ProfileName, revision: Revision) -> Option<ProfileEntry> {
        let profile = builtin_profile(name).filter(|_| revision == Revision::ZERO)?;
        Some(ProfileEntry { profile, revision })
    }

    async fn profile_at(
        &self,
        name: &ProfileName,
        revision: Revision,
    ) -> Result<Option<ProfileEntry>, StoreError> {
        self.ask(|state| state.questions += 1).await?;
        let state = self.state.lock().unwrap();
        let former = state.former.get(&(name.clone(), revision)).cloned();
        Ok(former.map(|profile| ProfileEntry { profile, revision }))
    }
}

/// The clock as the ports want it.
pub fn shared(clock: &Arc<ManualClock>) -> Arc<dyn Clock> {
    Arc::clone(clock) as Arc<dyn Clock>
}
