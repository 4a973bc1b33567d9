use std::time::Duration;

use postrider_contract::clock::{ManualClock, Timestamp};
use postrider_contract::egress::WebhookUrl;
use postrider_contract::fakes::FakeConfiguration;
use postrider_contract::ids::WebhookId;
use postrider_contract::ports::{ConfigWrite, Expected};

use super::*;

struct Scene {
    store: FakeConfiguration,
    clock: Arc<ManualClock>,
    disabler: Disabler,
}

impl Scene {
    async fn with(state: WebhookState) -> Self {
        let store = FakeConfiguration::new(Arc::default());
        let clock = Arc::new(ManualClock::at(Timestamp::from_millis(1_795_253_400_000)));
        let disabler = Disabler::new(Arc::new(store.clone()), clock.clone());
        let scene = Scene { store, clock, disabler };
        let webhook = scene.webhook(state);
        scene.store.write(vec![webhook.write(Expected::Absent)]).await.unwrap();
        scene.clock.advance(Duration::from_secs(60));
        scene
    }

    fn webhook(&self, state: WebhookState) -> Webhook {
        let url = WebhookUrl::from_stored("https://example.com/hook").unwrap();
        let id = WebhookId::from_u128(1);
        Webhook { state, ..Webhook::new("acme".parse().unwrap(), id, url, self.clock.now()) }
    }

    fn order(&self) -> DisableOrder {
        DisableOrder {
            tenant: "acme".parse().unwrap(),
            webhook: WebhookId::from_u128(1),
            tried_at: self.clock.now(),
            reason: "the receiver answered 410".to_owned(),
        }
    }

    async fn state(&self) -> WebhookState {
        let key = webhook_key(&"acme".parse().unwrap(), WebhookId::from_u128(1));
        let record = self.store.read(&key).await.unwrap().unwrap();
        read_object::<Webhook>(&record).unwrap().unwrap().state
    }
}

#[tokio::test]
async fn an_active_webhook_is_disabled_with_its_reason() {
    let scene = Scene::with(WebhookState::Active).await;
    assert!(scene.disabler.disable(&scene.order()).await.unwrap());
    let reason = "the receiver answered 410".to_owned();
    assert_eq!(scene.state().await, WebhookState::Disabled { since: scene.clock.now(), reason });
    assert!(!scene.disabler.disable(&scene.order()).await.unwrap(), "once is enough");
}

#[tokio::test]
async fn what_a_newer_version_wrote_of_a_webhook_stays_when_it_is_disabled() {
    let scene = Scene::with(WebhookState::Active).await;
    let key = webhook_key(&scene.order().tenant, scene.order().webhook);
    let record = scene.store.read(&key).await.unwrap().unwrap();
    let newer = String::from_utf8(record.document.unwrap().to_vec()).unwrap();
    let newer = newer.replacen('{', r#"{"newer":{"n":1e400},"#, 1);
    let expected = Expected::At(record.revision);
    let write = ConfigWrite { key: key.clone(), expected, document: Some(newer.into()) };
    scene.store.write(vec![write]).await.unwrap();
    assert!(scene.disabler.disable(&scene.order()).await.unwrap());
    let record = scene.store.read(&key).await.unwrap().unwrap();
    let after = String::from_utf8(record.document.unwrap().to_vec()).unwrap();
    assert!(after.contains(r#""newer":{"n":1e400}"#) && after.contains("disabled"), "{after}");
}

#[tokio::test]
async fn a_webhook_that_was_changed_since_the_try_is_left_alone() {
    let scene = Scene::with(WebhookState::Active).await;
    let order = DisableOrder { tried_at: scene.clock.now().minus(Duration::from_secs(61)), ..scene.order() };
    assert!(!scene.disabler.disable(&order).await.unwrap());
    assert_eq!(scene.state().await, WebhookState::Active);
}

#[tokio::test]
async fn a_paused_webhook_stays_paused_and_an_unknown_one_is_no_error() {
    let scene = Scene::with(WebhookState::Paused { since: Timestamp::EPOCH }).await;
    assert!(!scene.disabler.disable(&scene.order()).await.unwrap());
    assert_eq!(scene.state().await, WebhookState::Paused { since: Timestamp::EPOCH });
    let unknown = DisableOrder { webhook: WebhookId::from_u128(2), ..scene.order() };
    assert!(!scene.disabler.disable(&unknown).await.unwrap());
}
