//! What this version cannot read or has not, and how it comes in.

use std::sync::Weak;

use postrider_contract::clock::Day;
use postrider_contract::ports::{Changes, ConfigRecord, ConfigWriteError, ListConfig, StoreError};

use super::*;

fn unusable_of(directory: &Directory) -> Vec<WebhookId> {
    let view = directory.tenant(&tenant_id()).known().unwrap();
    view.unusable.iter().map(|webhook| webhook.id).collect()
}

#[tokio::test]
async fn a_webhook_that_cannot_be_read_any_more_is_unusable_however_it_was_known_before() {
    let store = FakeConfiguration::new(Arc::default());
    put(&store, &tenant("a")).await;
    put(&store, &webhook(1)).await;
    put(&store, &webhook(2)).await;
    let running = directory(&store).await;
    put_unreadable(&store, webhook(1).key()).await;
    let mut other = webhook(2);
    other.profile = "of-a-newer-version".parse().ok();
    put(&store, &other).await;
    running.refresh().await.unwrap();
    for directory in [&running, &directory(&store).await] {
        assert_eq!((webhooks_of(directory), unusable_of(directory)), (vec![], vec![id(1), id(2)]));
        assert!(matches!(directory.webhook(id(1)), Found::Unknown));
        assert_eq!(directory.webhook_counts()[3], ("unusable", 2));
    }
    put(&store, &webhook(1)).await;
    delete(&store, webhook(2).key()).await;
    running.refresh().await.unwrap();
    for directory in [&running, &directory(&store).await] {
        assert_eq!((webhooks_of(directory), unusable_of(directory)), (vec![id(1)], vec![]));
    }
}

#[tokio::test]
async fn a_tenant_that_cannot_be_read_stays_as_it_was_and_one_that_never_could_be_is_told_from_none() {
    let store = FakeConfiguration::new(Arc::default());
    put(&store, &tenant("a")).await;
    put(&store, &webhook(1)).await;
    let running = directory(&store).await;
    put_unreadable(&store, tenant("a").key()).await;
    running.refresh().await.unwrap();
    let started = directory(&store).await;
    let (a, nobody) = (tenant("a").id, tenant("nobody").id);
    assert!(running.tenant(&a).known().is_some() && !running.cannot_read_tenant(&a));
    assert!(matches!(started.tenant(&a), Found::Unknown), "it is not deleted");
    assert!(started.cannot_read_tenant(&a) && !started.cannot_read_tenant(&nobody));
    assert!(matches!(started.webhook(id(1)), Found::Unknown), "its webhooks are not deleted either");
    put(&store, &tenant("a")).await;
    for directory in [&running, &started] {
        directory.refresh().await.unwrap();
        assert_eq!(webhooks_of(directory), [id(1)]);
        assert!(!directory.cannot_read_tenant(&a));
    }
}

/// Looks at the directory whenever it is asked for changes, and fails on request.
struct Onlooker {
    store: FakeConfiguration,
    directory: Mutex<Weak<Directory>>,
    seen: Mutex<Vec<(usize, usize, Revision)>>,
    answers_left: Mutex<usize>,
}

impl Onlooker {
    fn may_answer(&self) -> bool {
        let mut left = self.answers_left.lock().unwrap();
        let may = *left > 0;
        *left = left.saturating_sub(1);
        may
    }
}

#[async_trait::async_trait]
impl ConfigStore for Onlooker {
    async fn write(&self, writes: Vec<ConfigWrite>) -> Result<Revision, ConfigWriteError> {
        self.store.write(writes).await
    }

    async fn read(&self, key: &ConfigKey) -> Result<Option<ConfigRecord>, StoreError> {
        self.store.read(key).await
    }

    async fn read_at(&self, key: &ConfigKey, revision: Revision) -> Result<Option<ConfigRecord>, StoreError> {
        self.store.read_at(key, revision).await
    }

    async fn list(&self, query: ListConfig) -> Result<Vec<ConfigRecord>, StoreError> {
        self.store.list(query).await
    }

    async fn changes_since(&self, revision: Revision, limit: u32) -> Result<Changes, StoreError> {
        if let Some(directory) = self.directory.lock().unwrap().upgrade() {
            let seen = (webhooks_of(&directory).len(), unusable_of(&directory).len(), directory.revision());
            self.seen.lock().unwrap().push(seen);
        }
        if !self.may_answer() {
            return Err(StoreError::Unavailable { reason: "gone".to_owned() });
        }
        self.store.changes_since(revision, limit).await
    }

    async fn forget_superseded_before(&self, day: Day, today: Day) -> Result<u64, StoreError> {
        self.store.forget_superseded_before(day, today).await
    }

    async fn changed(&self) {
        self.store.changed().await;
    }
}

#[tokio::test]
async fn what_is_changed_together_is_seen_together_even_if_it_stands_on_two_pages() {
    let store = FakeConfiguration::new(Arc::default());
    let of_tenant = put(&store, &tenant("a")).await;
    let onlooker = Arc::new(Onlooker {
        store: store.clone(),
        directory: Mutex::default(),
        seen: Mutex::default(),
        answers_left: Mutex::new(2),
    });
    let directory = Directory::load(Arc::clone(&onlooker) as Arc<dyn ConfigStore>).await.unwrap();
    *onlooker.directory.lock().unwrap() = Arc::downgrade(&directory);
    for number in 1..=1_500 {
        let profile = "own".parse().ok();
        put(&store, &Webhook { profile, ..webhook(number) }).await;
    }
    // Behind all that have it.
    let last = write(&store, own_profile(Expected::Absent, "1s")).await;
    // The second page does not come at once.
    assert!(directory.refresh().await.is_err());
    assert_eq!((webhooks_of(&directory), directory.revision()), (vec![], of_tenant));
    *onlooker.answers_left.lock().unwrap() = 1;
    directory.refresh().await.unwrap();
    assert_eq!((webhooks_of(&directory).len(), unusable_of(&directory).len()), (1_500, 0));
    assert_eq!(directory.revision(), last);
    assert_eq!(*onlooker.seen.lock().unwrap(), [(0, 0, of_tenant); 3]);
}
