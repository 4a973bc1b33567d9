//! Deliveries under way go by the profile that their body was rendered with, whatever their webhook has by now.

use postrider_contract::delivery::RenderedWith;
use postrider_contract::profile::{CompiledProfile, Profile};
use postrider_contract::revision::Revision;

use super::*;

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
