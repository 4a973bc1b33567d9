//! Webhooks that do not fit their profile, by a change that slipped through or by what they had before: what can be
//! delivered is, and what cannot does not wait without end.

use postrider_contract::journal::Conclusion;
use postrider_contract::profile::{Profile, TlsVersion};
use postrider_contract::revision::Revision;
use postrider_contract::secret::SealedSecret;
use postrider_contract::webhook::PreviousSecret;
use postrider_service::directory::{ProfileEntry, WebhookEntry};

use super::*;
use crate::prepared::Prepared;

/// A key of `standard`, which takes base64 alone.
const BASE64: &str = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3";

fn seal(place: SecretPlace<'_>, text: &str) -> SealedSecret {
    let (secrets, of) = (secret_box(), webhook("https://receiver.example/"));
    let places = WebhookSecrets::new(&secrets, &of.tenant, of.id);
    places.seal(place, &Secret::new(text.to_owned()), &Counting::default())
}

fn standard(number: u32) -> Delivery {
    Delivery { profile: "standard".parse().unwrap(), ..numbered_delivery(number) }
}

fn under(profile: &str, webhook: Webhook) -> Arc<WebhookEntry> {
    let profile = Profile::from_toml(profile).and_then(Profile::compile).unwrap();
    let revision = Revision::from_number(5);
    let profile = ProfileEntry { profile: Arc::new(profile), revision };
    Arc::new(WebhookEntry { profile, ..WebhookEntry::clone(&entry(webhook, "standard", 1)) })
}

fn value_of(request: &str, wanted: &str) -> Vec<String> {
    let headers = headers_of(request).into_iter().filter(|(name, _)| name == wanted);
    headers.map(|(_, value)| value).collect()
}

#[tokio::test]
async fn a_secret_of_the_profile_before_that_still_overlaps_holds_nothing_up() {
    let receiver = Receiver::saying(vec![Step::Say(OK)]).await;
    let until = noon().plus(Duration::from_secs(3600));
    let of_now = seal(SecretPlace::Signing, BASE64);
    let fitting = PreviousSecret { secret: seal(SecretPlace::Signing, BASE64), until, public_key: None };
    let of_before = PreviousSecret { secret: seal(SecretPlace::Signing, SECRET), until, public_key: None };
    let ended = PreviousSecret { until: noon(), ..of_before.clone() };
    let mut moved = webhook(&receiver.url());
    moved.secrets.current = Some(of_now);
    moved.secrets.previous = vec![of_before, ended, fitting];
    let mut stage = Stage::with_profile(moved, "standard").await;
    stage.publish(Route::First, standard(1)).await;
    assert_eq!(stage.attempted().await.outcome, Outcome::Delivered);
    let signatures = value_of(&receiver.seen.requests()[0].1, "webhook-signature");
    let signatures: Vec<&str> = signatures[0].split(' ').collect();
    assert_eq!(signatures.len(), 2, "of the present secret and of the one that goes on: {signatures:?}");
    stage.drained().await.unwrap();
}

#[tokio::test]
async fn a_webhook_that_nobody_puts_right_fails_its_deliveries_in_the_end_and_not_before() {
    let receiver = Receiver::saying(vec![Step::Say(OK)]).await;
    // Its secret is a text.
    let mut stage = Stage::with_profile(webhook(&receiver.url()), "standard").await;
    let put_off = |number, deferrals| {
        let delivery = standard(number);
        let position = postrider_contract::delivery::Position { deferrals, ..delivery.position };
        Delivery { position, ..delivery }
    };
    let day_in_minutes = 24 * 60;
    stage.publish(Route::First, put_off(1, day_in_minutes - 1)).await;
    let JournalRecord::Deferred(record) = stage.record().await else { panic!("a deferral") };
    assert_eq!(record.position.deferrals, day_in_minutes);
    stage.publish(Route::First, put_off(2, day_in_minutes)).await;
    let JournalRecord::Concluded(record) = stage.record().await else { panic!("a conclusion") };
    assert_eq!(record.conclusion, Conclusion::Failed(FailureReason::Internal));
    assert!(receiver.seen.requests().is_empty());
    // Put right in time, it is delivered.
    let mut right = webhook(&receiver.url());
    right.secrets.current = Some(seal(SecretPlace::Signing, BASE64));
    stage.webhooks.put(entry(right, "standard", 2));
    stage.pass(Duration::from_secs(60));
    assert_eq!(stage.attempted().await.outcome, Outcome::Delivered);
    stage.drained().await.unwrap();
}

#[tokio::test]
async fn the_log_shows_the_headers_that_were_sent_and_no_others() {
    let receiver = Receiver::saying(vec![Step::Say(OK)]).await;
    let mut own = webhook(&receiver.url());
    let name = "X-Trcker-Event".to_owned();
    own.headers = vec![CustomHeader { value: seal(SecretPlace::Header(&name), "mine"), name: name.clone() }];
    let mut stage = Stage::with(own).await;
    stage.publish(Route::First, delivery()).await;
    let shown = stage.attempted().await.attempt.request.headers;
    let shown: Vec<_> = shown.iter().filter(|header| header.name == name).collect();
    assert_eq!(shown.len(), 1, "{shown:?}");
    assert_eq!(shown[0].value, "conversion.created");
    assert_eq!(value_of(&receiver.seen.requests()[0].1, &name), ["conversion.created"]);
    stage.drained().await.unwrap();
}

#[tokio::test]
async fn no_try_is_made_without_the_credential_that_its_webhook_asks_for() {
    let receiver = Receiver::saying(vec![Step::Say(OK)]).await;
    let header = "X-Trcker-Event".to_owned();
    let value = seal(SecretPlace::ApiKeyValue, "k3y");
    let guarded = Webhook {
        authentication: Authentication::ApiKey { header: header.clone(), value },
        ..webhook(&receiver.url())
    };
    // The profile it was rendered with has that header; the present one leaves it to the webhook.
    let mut stage = Stage::with_profile(guarded.clone(), "trakkr").await;
    stage.publish(Route::First, delivery()).await;
    assert_eq!(stage.attempted().await.outcome, Outcome::Delivered);
    assert_eq!(value_of(&receiver.seen.requests()[0].1, &header), ["k3y"]);
    // Neither does: it waits for somebody to put it right.
    stage.webhooks.put(entry(guarded, "trcker", 2));
    stage.publish(Route::First, numbered_delivery(2)).await;
    let record = stage.record().await;
    assert!(matches!(record, JournalRecord::Deferred(_)), "{record:?}");
    assert_eq!(receiver.seen.requests().len(), 1);
    stage.drained().await.unwrap();
}

#[test]
fn a_try_asks_for_the_version_of_tls_that_its_profile_names() {
    let form = |minimum: &str| {
        format!("name = 'own'\nenvelope.body = '{{}}'\nretry.waits = []\nrequest.minimum_tls = '{minimum}'")
    };
    for (minimum, expected) in [("1.2", TlsVersion::Tls12), ("1.3", TlsVersion::Tls13)] {
        let entry = under(&form(minimum), webhook("https://receiver.example/"));
        let prepared = Prepared::new(entry, &secret_box()).unwrap();
        assert_eq!(prepared.endpoint.minimum_tls, expected);
    }
}
