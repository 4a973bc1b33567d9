//! A configuration store that counts, and objects to put into it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use postrider_contract::clock::{Day, Timestamp};
use postrider_contract::egress::WebhookUrl;
use postrider_contract::fakes::FakeConfiguration;
use postrider_contract::ids::WebhookId;
use postrider_contract::ports::{
    Changes, ConfigKey, ConfigRecord, ConfigStore, ConfigWrite, ConfigWriteError, Expected, ListConfig,
    StoreError,
};
use postrider_contract::revision::Revision;
use postrider_contract::tenant::Tenant;
use postrider_contract::webhook::Webhook;

use crate::config_object::ConfigObject;

/// Counts how often it was asked for changes, and for what was.
pub(crate) struct CountingStore {
    store: FakeConfiguration,
    asked: AtomicU64,
    read: AtomicU64,
}

impl CountingStore {
    pub(crate) fn over(store: &FakeConfiguration) -> Arc<Self> {
        Arc::new(CountingStore { store: store.clone(), asked: AtomicU64::new(0), read: AtomicU64::new(0) })
    }

    pub(crate) fn asked(&self) -> u64 {
        self.asked.load(Ordering::SeqCst)
    }

    pub(crate) fn read(&self) -> u64 {
        self.read.load(Ordering::SeqCst)
    }
}

#[async_trait]
impl ConfigStore for CountingStore {
    async fn write(&self, writes: Vec<ConfigWrite>) -> Result<Revision, ConfigWriteError> {
        self.store.write(writes).await
    }

    async fn read(&self, key: &ConfigKey) -> Result<Option<ConfigRecord>, StoreError> {
        self.store.read(key).await
    }

    async fn read_at(&self, key: &ConfigKey, revision: Revision) -> Result<Option<ConfigRecord>, StoreError> {
        self.read.fetch_add(1, Ordering::SeqCst);
        tokio::task::yield_now().await;
        self.store.read_at(key, revision).await
    }

    async fn list(&self, query: ListConfig) -> Result<Vec<ConfigRecord>, StoreError> {
        self.store.list(query).await
    }

    async fn changes_since(&self, revision: Revision, limit: u32) -> Result<Changes, StoreError> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        // Others get their turn, as with a store that is asked over a network.
        tokio::task::yield_now().await;
        self.store.changes_since(revision, limit).await
    }

    async fn forget_superseded_before(&self, day: Day, today: Day) -> Result<u64, StoreError> {
        self.store.forget_superseded_before(day, today).await
    }

    async fn changed(&self) {
        self.store.changed().await;
    }
}

pub(crate) async fn put<T: ConfigObject>(store: &FakeConfiguration, object: &T) -> Revision {
    let expected = expected(store, &object.key()).await;
    write(store, object.write(expected)).await
}

pub(crate) async fn delete(store: &FakeConfiguration, key: ConfigKey) -> Revision {
    let expected = expected(store, &key).await;
    write(store, ConfigWrite { key, expected, document: None }).await
}

/// A document that no version of ours has written.
pub(crate) async fn put_unreadable(store: &FakeConfiguration, key: ConfigKey) -> Revision {
    let expected = expected(store, &key).await;
    write(store, ConfigWrite { key, expected, document: Some("{\"form\":2}".into()) }).await
}

pub(crate) async fn write(store: &FakeConfiguration, write: ConfigWrite) -> Revision {
    store.write(vec![write]).await.expect("nobody else writes")
}

async fn expected(store: &FakeConfiguration, key: &ConfigKey) -> Expected {
    let current = store.read(key).await.expect("the fake answers");
    current.map_or(Expected::Absent, |record| Expected::At(record.revision))
}

pub(crate) fn tenant(id: &str) -> Tenant {
    Tenant {
        id: id.parse().expect("a tenant's id"),
        name: "Acme".to_owned(),
        website: None,
        profile: "standard".parse().expect("a name"),
        schema_check: Default::default(),
        created_at: Timestamp::EPOCH,
        updated_at: Timestamp::EPOCH,
    }
}

/// Of tenant `a`.
pub(crate) fn webhook(number: u128) -> Webhook {
    let url = WebhookUrl::from_stored("https://receiver.example/hook").expect("a URL");
    Webhook {
        name: format!("webhook {number}"),
        events: vec!["order.*".parse().expect("a pattern")],
        ..Webhook::new(
            "a".parse().expect("a tenant's id"),
            WebhookId::from_u128(number),
            url,
            Timestamp::EPOCH,
        )
    }
}
