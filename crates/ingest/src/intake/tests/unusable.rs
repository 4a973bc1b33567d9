//! Webhooks that are there and that this version cannot use: an event that may be for one is not accepted without it.

use postrider_contract::ids::WebhookId;
use postrider_contract::ports::ConfigKey;

use super::*;

/// Stores the webhook in a form that a newer version writes.
async fn put_newer(door: &Door, webhook: &Webhook, events: &str, status: &str) {
    let form = format!(
        r#"{{"form":2,"events":{events},"state":{{"status":"{status}","since":"2026-11-21T12:00:00.000Z","reason":""}}}}"#
    );
    write(door, &webhook.key(), Some(form)).await;
}

async fn write(door: &Door, key: &ConfigKey, document: Option<String>) {
    let before = door.configuration.read(key).await.unwrap();
    let expected = before.map_or(Expected::Absent, |record| Expected::At(record.revision));
    let write = ConfigWrite { key: key.clone(), expected, document: document.map(Bytes::from) };
    door.configuration.write(vec![write]).await.unwrap();
    door.directory.refresh().await.unwrap();
}

fn unusable(refused: Result<IntakeReceipt, IntakeError>) -> WebhookId {
    match refused {
        Err(IntakeError::UnusableWebhook(id)) => id,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn an_event_for_a_webhook_that_a_newer_version_wrote_is_not_accepted_without_it() {
    let door = Door::open().await;
    door.put(&webhook(1)).await;
    let newer = webhook(2);
    // Whether the directory has known an earlier state of it makes no difference.
    for was_known in [false, true] {
        if was_known {
            door.put(&newer).await;
        }
        for (events, is_for_it) in [
            (r#"["order.*"]"#, true),
            (r#"["*"]"#, true),
            (r#"["cap.reached"]"#, false),
            (r#"[{"newer":"order.*"}]"#, true),
            ("7", true),
        ] {
            for status in ["active", "paused", "of a newer kind"] {
                put_newer(&door, &newer, events, status).await;
                let answer = door.accept(ORDER).await;
                if is_for_it {
                    assert_eq!(unusable(answer), newer.id, "{events} {status}");
                    door.assert_nothing_happened().await;
                } else {
                    assert_eq!(answer.unwrap().deliveries.len(), 1, "{events} {status}");
                    door.published().await;
                    door.accepted().await;
                }
            }
            put_newer(&door, &newer, events, "disabled").await;
            assert_eq!(door.accept(ORDER).await.unwrap().deliveries.len(), 1, "{events}");
            door.published().await;
            door.accepted().await;
        }
    }
    // Once it can be read again, or is deleted, all is as before.
    door.put(&newer).await;
    assert_eq!(door.accept(ORDER).await.unwrap().deliveries.len(), 2);
    put_newer(&door, &newer, "7", "active").await;
    door.delete(newer.key()).await;
    assert_eq!(door.accept(ORDER).await.unwrap().deliveries.len(), 1);
}

#[tokio::test]
async fn an_event_for_a_webhook_whose_profile_is_not_there_is_not_accepted_without_it() {
    let door = Door::open().await;
    let newer = Webhook { profile: Some("of-a-newer-version".parse().unwrap()), ..webhook(1) };
    door.put(&newer).await;
    assert_eq!(unusable(door.accept(ORDER).await), newer.id);
    door.assert_nothing_happened().await;
    let other = ORDER.replace("order.paid", "cap.reached");
    assert_eq!(door.accept(&other).await.unwrap().deliveries, []);
    let gone = WebhookState::Disabled { since: NOW, reason: String::new() };
    door.put(&Webhook { state: gone, ..newer }).await;
    assert_eq!(door.accept(ORDER).await.unwrap().deliveries, []);
}

#[tokio::test]
async fn an_event_that_names_its_webhooks_waits_for_those_alone() {
    let door = Door::open().await;
    door.put(&webhook(1)).await;
    put_newer(&door, &webhook(2), "7", "active").await;
    let naming = |number| {
        let id = WebhookId::from_u128(number);
        format!(r#"{{"type":"order.paid","data":{{}},"webhook_ids":["{id}"]}}"#)
    };
    assert_eq!(door.accept(&naming(1)).await.unwrap().deliveries.len(), 1);
    assert_eq!(unusable(door.accept(&naming(2)).await), WebhookId::from_u128(2), "it is not unknown");
}

#[tokio::test]
async fn a_repeat_of_what_was_accepted_is_answered_whatever_became_of_its_webhooks() {
    let door = Door::open().await;
    door.put(&webhook(1)).await;
    let first = door.accept_keyed(Some("k"), ORDER).await.unwrap();
    put_newer(&door, &webhook(1), "7", "active").await;
    let repeated = door.accept_keyed(Some("k"), ORDER).await.unwrap();
    assert!(repeated.replayed);
    assert_eq!(repeated.deliveries, first.deliveries);
    assert_eq!(unusable(door.accept_keyed(Some("l"), ORDER).await), WebhookId::from_u128(1));
}

#[tokio::test]
async fn an_event_of_a_tenant_that_this_version_never_could_read_is_not_told_that_there_is_none() {
    let door = Door::open().await;
    let newer = tenant("newer", "standard");
    let body = Bytes::from_static(ORDER.as_bytes());
    let accept = || async {
        let submission = Submission::parse(&body).unwrap();
        door.intake.accept_request(&newer.id, submission, None, &body).await
    };
    assert!(matches!(accept().await, Err(IntakeError::UnknownTenant)));
    door.put_unreadable(newer.key()).await;
    assert!(matches!(accept().await, Err(IntakeError::UnreadableTenant)));
    door.assert_nothing_happened().await;
    door.put(&newer).await;
    assert_eq!(accept().await.unwrap().deliveries, []);
}
