//! Deliveries under way go by the profile that their body was rendered with, whatever their webhook has by now.

use postrider_contract::delivery::RenderedWith;
use postrider_contract::profile::{CompiledProfile, Profile};
use postrider_contract::revision::Revision;
use postrider_contract::secret::SealedSecret;
use postrider_contract::webhook::{PreviousSecret, SigningSecrets};

use super::*;
use crate::prepared::Prepared;

const OWN: &str = r#"
name = "own"
[request]
headers = [{ name = "X-Own-Event", value = "${event.type}" }]
[envelope]
body = '${event.data}'
[retry]
waits = ["7s"]
"#;

fn own() -> CompiledProfile {
    Profile::from_toml(OWN).and_then(Profile::compile).unwrap()
}

fn rendered_with(profile: &str, revision: u64) -> Delivery {
    let of = delivery();
    let with = RenderedWith { profile: Revision::from_number(revision), ..of.rendered_with };
    Delivery { profile: profile.parse().unwrap(), rendered_with: with, ..of }
}

fn has(receiver: &Receiver, number: usize, header: &str) -> bool {
    names_of(&receiver.seen.requests()[number].1).contains(&header.to_owned())
}

#[tokio::test]
async fn a_webhook_that_moved_gets_what_was_rendered_before_under_its_old_headers_and_waits() {
    let receiver = Receiver::start(|_, number| vec![Step::Say(if number < 2 { ERROR } else { OK })]).await;
    let mut stage = Stage::with(webhook(&receiver.url())).await;
    stage.publish(Route::First, delivery()).await;
    stage.attempted().await;
    stage.webhooks.put(entry(webhook(&receiver.url()), "trakkr", 2));
    stage.pass(Duration::from_secs(1));
    let record = stage.attempted().await;
    // The second wait of the profile it was rendered with; that of the new one is 2 s.
    let at = stage.clock.now().plus(Duration::from_secs(5));
    assert_eq!(record.outcome, Outcome::Retry { at, cause: Cause::Status(500) });
    stage.pass(Duration::from_secs(5));
    assert_eq!(stage.attempted().await.outcome, Outcome::Delivered);
    stage.publish(Route::First, rendered_with("trakkr", 0)).await;
    assert_eq!(stage.attempted().await.outcome, Outcome::Delivered);
    for number in 0..3 {
        assert!(has(&receiver, number, "X-Trcker-Signature") && has(&receiver, number, "X-Trcker-Event"));
    }
    assert!(has(&receiver, 3, "X-Trakkr-Signature") && !has(&receiver, 3, "X-Trcker-Signature"));
    stage.drained().await.unwrap();
}

#[tokio::test]
async fn a_profile_that_was_written_anew_is_had_from_the_store_as_it_was() {
    let receiver = Receiver::saying(vec![Step::Say(OK)]).await;
    let mut stage = Stage::with(webhook(&receiver.url())).await;
    stage.webhooks.remember(own(), Revision::from_number(5));
    stage.publish(Route::First, rendered_with("own", 5)).await;
    assert_eq!(stage.attempted().await.outcome, Outcome::Delivered);
    assert!(has(&receiver, 0, "X-Own-Event") && !has(&receiver, 0, "X-Trcker-Event"));
    stage.drained().await.unwrap();
}

#[tokio::test]
async fn what_the_store_cannot_tell_at_the_moment_waits_at_no_cost_of_a_try() {
    let receiver = Receiver::saying(vec![Step::Say(OK)]).await;
    let mut stage = Stage::with(webhook(&receiver.url())).await;
    stage.webhooks.lose_store(Duration::ZERO);
    stage.publish(Route::First, rendered_with("own", 5)).await;
    let JournalRecord::Deferred(record) = stage.record().await else { panic!("a deferral") };
    assert_eq!((record.position.deferrals, record.position.attempt), (1, AttemptNumber::FIRST));
    assert!(receiver.seen.requests().is_empty());
    stage.drained().await.unwrap();
}

#[tokio::test]
async fn a_profile_that_nobody_can_read_any_more_holds_nothing_up() {
    let receiver = Receiver::saying(vec![Step::Say(OK)]).await;
    let mut stage = Stage::with(webhook(&receiver.url())).await;
    stage.publish(Route::First, rendered_with("own", 5)).await;
    assert_eq!(stage.attempted().await.outcome, Outcome::Delivered);
    assert!(has(&receiver, 0, "X-Trcker-Signature"));
    stage.drained().await.unwrap();
}

#[tokio::test]
async fn a_secret_that_the_former_profile_does_not_take_signs_by_the_present_one() {
    let receiver = Receiver::saying(vec![Step::Say(OK)]).await;
    let mut stage = Stage::with(webhook(&receiver.url())).await;
    // The secret is a text; `standard` takes base64 alone.
    stage.publish(Route::First, rendered_with("standard", 0)).await;
    assert_eq!(stage.attempted().await.outcome, Outcome::Delivered);
    assert!(has(&receiver, 0, "X-Trcker-Signature") && !has(&receiver, 0, "webhook-signature"));
    stage.drained().await.unwrap();
}

const PRIVATE: &str =
    "whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6Kvg==";
const PUBLIC: &str = "whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4=";

fn sealed_pair() -> SealedSecret {
    let (secrets, of) = (secret_box(), webhook("https://receiver.example/"));
    let place = WebhookSecrets::new(&secrets, &of.tenant, of.id);
    place.seal(SecretPlace::Signing, &Secret::new(PRIVATE.to_owned()), &Counting::default())
}

#[tokio::test]
async fn a_key_pair_is_no_text_under_the_former_profile() {
    let receiver = Receiver::saying(vec![Step::Say(OK)]).await;
    let (current, public_key) = (Some(sealed_pair()), Some(PUBLIC.to_owned()));
    let secrets = SigningSecrets { current, public_key, ..SigningSecrets::default() };
    let moved = Webhook { secrets, ..webhook(&receiver.url()) };
    let mut stage = Stage::with_profile(moved, "standard").await;
    // Every text is a secret in this profile, the private half of a pair too.
    stage.publish(Route::First, rendered_with("trcker", 0)).await;
    assert_eq!(stage.attempted().await.outcome, Outcome::Delivered);
    assert!(has(&receiver, 0, "webhook-signature") && !has(&receiver, 0, "X-Trcker-Signature"));
    stage.drained().await.unwrap();
}

#[tokio::test]
async fn an_earlier_key_pair_signs_nothing_where_it_would_be_a_text() {
    let receiver = Receiver::saying(vec![Step::Say(OK)]).await;
    let until = noon().plus(Duration::from_secs(3600));
    let pair = PreviousSecret { secret: sealed_pair(), until, public_key: Some(PUBLIC.to_owned()) };
    let mut moved = webhook(&receiver.url());
    moved.secrets.previous = vec![pair];
    let prepared = Prepared::new(entry(moved, "trcker", 1), &secret_box()).unwrap();
    assert_eq!(prepared.requests.signing_keys(noon()).len(), 1);
}

#[tokio::test]
async fn a_url_that_the_former_profile_cannot_sign_is_signed_by_the_present_one() {
    let receiver = Receiver::saying(vec![Step::Say(OK)]).await;
    let mut stage = Stage::with(webhook(&format!("{}&sig=1", receiver.url()))).await;
    for (revision, signature) in [
        (5, "header = 'X-Own-Signature'\nsigns = '${query.click_id}${body}'"),
        (6, "query_parameter = 'sig'\nsigns = '${query}${body}'"),
        (7, "header = 'X-Own-Signature'\nsigns = '${query.sig}${body}'"),
    ] {
        let form = format!("{OWN}[secret]\norigin = 'required'\n[signature]\nencoding = 'hex'\n{signature}");
        let profile = Profile::from_toml(&form).and_then(Profile::compile).unwrap();
        stage.webhooks.remember(profile, Revision::from_number(revision));
        stage.publish(Route::First, rendered_with("own", revision)).await;
        assert_eq!(stage.attempted().await.outcome, Outcome::Delivered);
    }
    for number in 0..2 {
        let (_, request) = &receiver.seen.requests()[number];
        let line = request.lines().next().unwrap();
        assert_eq!(line.matches("sig=").count(), 1, "{line}");
        assert!(has(&receiver, number, "X-Trcker-Signature") && !has(&receiver, number, "X-Own-Event"));
    }
    assert!(has(&receiver, 2, "X-Own-Signature") && has(&receiver, 2, "X-Own-Event"), "this one fits");
    stage.drained().await.unwrap();
}
