//! A configuration store on which somebody else is always a little faster.

use std::sync::atomic::{AtomicU32, Ordering};

use async_trait::async_trait;
use postrider_contract::clock::Day;
use postrider_contract::fakes::FakeConfiguration;
use postrider_contract::ports::{
    Changes, ConfigKey, ConfigRecord, ConfigStore, ConfigWrite, ConfigWriteError, Expected, ListConfig,
    StoreError,
};
use postrider_contract::revision::Revision;
use serde_json::json;

use super::fixture::{Api, text};

/// Before each of the next `races` writes, the document is written by another.
pub(super) struct RacingStore {
    inner: FakeConfiguration,
    pub(super) races: AtomicU32,
}

impl RacingStore {
    pub(super) fn new(inner: FakeConfiguration) -> Self {
        RacingStore { inner, races: AtomicU32::new(0) }
    }

    async fn race(&self, key: &ConfigKey) -> Result<(), ConfigWriteError> {
        let Some(record) = self.inner.read(key).await? else { return Ok(()) };
        let expected = Expected::At(record.revision);
        let write = ConfigWrite { key: key.clone(), expected, document: record.document };
        self.inner.write(vec![write]).await.map(drop)
    }
}

#[async_trait]
impl ConfigStore for RacingStore {
    async fn write(&self, writes: Vec<ConfigWrite>) -> Result<Revision, ConfigWriteError> {
        if self.races.load(Ordering::SeqCst) > 0 {
            self.races.fetch_sub(1, Ordering::SeqCst);
            self.race(&writes[0].key).await?;
        }
        self.inner.write(writes).await
    }

    async fn read(&self, key: &ConfigKey) -> Result<Option<ConfigRecord>, StoreError> {
        self.inner.read(key).await
    }

    async fn read_at(&self, key: &ConfigKey, revision: Revision) -> Result<Option<ConfigRecord>, StoreError> {
        self.inner.read_at(key, revision).await
    }

    async fn list(&self, query: ListConfig) -> Result<Vec<ConfigRecord>, StoreError> {
        self.inner.list(query).await
    }

    async fn changes_since(&self, revision: Revision, limit: u32) -> Result<Changes, StoreError> {
        self.inner.changes_since(revision, limit).await
    }

    async fn forget_superseded_before(&self, day: Day, today: Day) -> Result<u64, StoreError> {
        self.inner.forget_superseded_before(day, today).await
    }

    async fn changed(&self) {
        self.inner.changed().await;
    }
}

#[tokio::test]
async fn a_change_that_loses_a_race_is_made_again_and_gives_up_in_the_end() {
    let api = Api::start().await;
    let key = api.tenant_with_key("acme", "standard").await;
    let made = api.webhook(&key, json!({})).await;
    let path = format!("/v1/webhooks/{}", text(&made, "id"));
    api.store.races.store(2, Ordering::SeqCst);
    let changed = api.call(&key, "PATCH", &path, Some(json!({"description": "late"}))).await.expect(200);
    assert_eq!(text(&changed, "description"), "late");
    assert_eq!(changed["revision"].as_u64(), made["revision"].as_u64().map(|before| before + 3));

    for (method, body) in [("PATCH", Some(json!({"description": "never"}))), ("DELETE", None)] {
        api.store.races.store(1_000, Ordering::SeqCst);
        api.call(&key, method, &path, body).await.expect(409);
    }
    api.store.races.store(0, Ordering::SeqCst);
    let after = api.call(&key, "GET", &path, None).await.expect(200);
    assert_eq!(text(&after, "description"), "late");
}

#[tokio::test]
async fn if_match_holds_through_a_race() {
    let api = Api::start().await;
    let key = api.tenant_with_key("acme", "standard").await;
    let made = api.webhook(&key, json!({})).await;
    api.store.races.store(1, Ordering::SeqCst);
    let request = http::Request::builder()
        .method("DELETE")
        .uri(format!("/v1/webhooks/{}", text(&made, "id")))
        .header("authorization", format!("Bearer {key}"))
        .header("if-match", format!("\"{}\"", made["revision"]))
        .body(axum::body::Body::empty())
        .expect("a request");
    api.send(request).await.expect(412);
}
