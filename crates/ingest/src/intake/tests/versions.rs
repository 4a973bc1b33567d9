//! Events that come in several majors at once: each webhook gets one, and the same one again.

use postrider_contract::catalogue::SchemaCheck;
use postrider_contract::event::SchemaVersion;
use postrider_contract::filter::Filter;
use postrider_contract::tenant::Tenant;
use std::num::NonZeroU16;

use super::schemas::{described, paid};
use super::*;

const BOTH: &str = r#"{"type":"order.paid","versions":{ "2":{ "amount" : "1.50" },"1.3":{"total":1.50}}}"#;
const FIRST: &str = r#""data":{"total":1.50}}"#;
const SECOND: &str = r#""data":{ "amount" : "1.50" }}"#;

fn pinned(number: u128, major: u16) -> Webhook {
    Webhook { schema_major: NonZeroU16::new(major), ..webhook(number) }
}

/// The bodies, in the order of their webhooks, with the version that each says it is of.
async fn sent(door: &Door) -> Vec<(u128, String, String)> {
    let mut found: Vec<_> = door
        .deliveries()
        .await
        .into_iter()
        .map(|one| {
            let body = String::from_utf8(one.body.to_vec()).unwrap();
            (one.reference.webhook.as_u128(), one.schema_version.to_string(), body)
        })
        .collect();
    found.sort();
    found
}

#[tokio::test]
async fn each_webhook_gets_the_major_it_is_pinned_to_and_the_others_the_highest() {
    let door = Door::open().await;
    for one in [webhook(1), pinned(2, 1), pinned(3, 2), pinned(4, 3), webhook(5)] {
        door.put(&one).await;
    }
    let receipt = door.accept(BOTH).await.unwrap();
    assert_eq!(receipt.deliveries.len(), 4, "the one that is pinned to a third major gets nothing");
    let sent = sent(&door).await;
    let expected = [(1, "2.0", SECOND), (2, "1.3", FIRST), (3, "2.0", SECOND), (5, "2.0", SECOND)];
    assert_eq!(sent.len(), expected.len(), "{sent:?}");
    for ((webhook, version, body), (number, of, end)) in sent.iter().zip(expected) {
        assert_eq!((*webhook, version.as_str()), (number, of));
        assert!(body.ends_with(end), "{body}");
    }
    let (accepted, _) = door.accepted().await;
    assert_eq!(accepted.event.schema_version, SchemaVersion::SEVERAL);
    let kept = br#"{ "2":{ "amount" : "1.50" },"1.3":{"total":1.50}}"#;
    assert_eq!(accepted.event.data.as_bytes().as_ref(), kept, "all of them, byte for byte");
}

#[tokio::test]
async fn an_event_of_one_version_goes_to_those_it_is_for() {
    let door = Door::open().await;
    for one in [webhook(1), pinned(2, 1), pinned(3, 2)] {
        door.put(&one).await;
    }
    for (body, webhooks) in [
        (r#"{"type":"order.paid","data":{}}"#, &[1, 2][..]),
        (r#"{"type":"order.paid","schema_version":"2.5","data":{}}"#, &[1, 3]),
        (r#"{"type":"order.paid","schema_version":"3.0","data":{}}"#, &[1]),
    ] {
        door.accept(body).await.unwrap();
        let sent: Vec<u128> = sent(&door).await.into_iter().map(|(webhook, ..)| webhook).collect();
        assert_eq!(sent, webhooks, "{body}");
    }
}

#[tokio::test]
async fn webhooks_with_one_rendering_share_a_body_for_each_major() {
    let door = Door::open().await;
    for one in [webhook(1), webhook(2), pinned(3, 1), pinned(4, 1)] {
        door.put(&one).await;
    }
    door.accept(BOTH).await.unwrap();
    let mut deliveries = door.deliveries().await;
    deliveries.sort_by_key(|one| one.reference.webhook);
    let bodies: Vec<_> = deliveries.iter().map(|one| one.body.clone()).collect();
    assert_eq!((&bodies[0], &bodies[2]), (&bodies[1], &bodies[3]));
    assert_ne!(bodies[0], bodies[2]);
}

#[tokio::test]
async fn a_filter_looks_at_the_version_that_its_webhook_gets() {
    let door = Door::open().await;
    let filter = |text: &str| Some(Filter::parse(text).unwrap());
    let old = r#"{"field":"total","equals":1.5}"#;
    for (number, major, text) in [(1, 1, old), (2, 2, old), (3, 2, r#"{"field":"amount","equals":"1.50"}"#)] {
        door.put(&Webhook { filter: filter(text), ..pinned(number, major) }).await;
    }
    door.accept(BOTH).await.unwrap();
    let sent: Vec<u128> = sent(&door).await.into_iter().map(|(webhook, ..)| webhook).collect();
    assert_eq!(sent, [1, 3]);
}

#[tokio::test]
async fn each_version_is_held_to_its_own_schema_and_told_with_its_place() {
    let door = Door::open().await;
    door.put(&Tenant { schema_check: SchemaCheck::Enforce, ..tenant("a", "standard") }).await;
    let number = r#"{"required":["total"],"properties":{"total":{"type":"number"}}}"#;
    door.put(&described(vec![paid("1.0", number), paid("2.0", r#"{"required":["amount"]}"#)])).await;
    door.accept(BOTH).await.unwrap();
    for (versions, pointers) in [
        (r#"{"1":{"total":"x"},"2":{}}"#, &["/versions/1/total", "/versions/2"][..]),
        (r#"{"1.3":{"total":1},"3":{}}"#, &["/versions/3"]),
    ] {
        let body = format!(r#"{{"type":"order.paid","versions":{versions}}}"#);
        let Err(IntakeError::SchemaBroken { violations }) = door.accept(&body).await else {
            panic!("{body}")
        };
        let found: Vec<_> = violations.into_iter().map(|one| one.pointer).collect();
        assert_eq!(found, pointers);
    }
}

#[tokio::test]
async fn a_version_that_does_not_fit_an_envelope_is_refused_with_its_place() {
    let door = Door::open().await;
    door.put(&Webhook { profile: Some("tracktile".parse().unwrap()), ..pinned(1, 1) }).await;
    let fits = r#"{"type":"order.paid","versions":{"1":{},"2":{"id":7}}}"#;
    door.accept(fits).await.unwrap();
    let refused = door.accept(r#"{"type":"order.paid","versions":{"1":{"id":7},"2":{}}}"#).await;
    let Err(IntakeError::Unrenderable { pointer, .. }) = refused else { panic!("{refused:?}") };
    assert_eq!(pointer, "/versions/1/id");
}

#[tokio::test]
async fn a_repeat_that_is_published_again_has_the_same_bodies() {
    let door = Door::open().await;
    for one in [webhook(1), pinned(2, 1)] {
        door.put(&one).await;
    }
    door.fail_journal();
    let first = door.accept_keyed(Some("k"), BOTH).await;
    assert!(matches!(first, Err(IntakeError::InDoubt { .. })), "{first:?}");
    let before = sent(&door).await;
    door.journal.fail_publishes(PublishFault::None);
    door.put(&pinned(2, 2)).await;
    door.clock.advance(STILL_RUNNING);
    door.accept_keyed(Some("k"), BOTH).await.unwrap();
    assert_eq!(sent(&door).await, before, "its pin was another then");
}
