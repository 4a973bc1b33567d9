//! Which webhooks an event goes to when they have filters.

use postrider_contract::filter::Filter;

use super::*;

fn filtered(number: u128, filter: &str) -> Webhook {
    Webhook { filter: Some(Filter::parse(filter).expect("a filter")), ..webhook(number) }
}

fn numbers(receipt: &IntakeReceipt) -> Vec<u128> {
    receipt.deliveries.iter().map(|(_, webhook)| webhook.as_u128()).collect()
}

#[tokio::test]
async fn an_event_goes_to_the_webhooks_whose_filter_its_data_passes() {
    let door = Door::open().await;
    door.put(&webhook(1)).await;
    door.put(&filtered(2, r#"{"field":"n","equals":12345678901234567890}"#)).await;
    door.put(&filtered(3, r#"{"field":"n","equals":12345678901234567891}"#)).await;
    door.put(&filtered(4, r#"{"not":{"field":"sub","exists":true}}"#)).await;
    let receipt = door.accept(ORDER).await.unwrap();
    assert_eq!(numbers(&receipt), [1, 2, 4]);
    let (accepted, _) = door.accepted().await;
    assert_eq!(accepted.deliveries.len(), 3, "the journal expects what is sent, no more");
    assert_eq!(door.deliveries().await.len(), 3);
}

#[tokio::test]
async fn an_event_that_every_filter_keeps_out_is_accepted_and_unmatched() {
    let door = Door::open().await;
    door.put(&filtered(1, r#"{"field":"n","less_than":5}"#)).await;
    assert_eq!(door.accept(ORDER).await.unwrap().deliveries, []);
    let (accepted, holds) = door.accepted().await;
    assert!(accepted.deliveries.is_empty() && holds.is_empty());
    assert_eq!(door.published().await, []);
}

#[tokio::test]
async fn a_webhook_that_is_named_gets_only_what_passes_its_filter() {
    let door = Door::open().await;
    door.put(&filtered(1, r#"{"field":"n","less_than":5}"#)).await;
    let named = format!(
        r#"{{"type":"order.paid","data":{{"n":9}},"webhook_ids":["{}"]}}"#,
        postrider_contract::ids::WebhookId::from_u128(1)
    );
    assert_eq!(door.accept(&named).await.unwrap().deliveries, []);
    let small = named.replace("\"n\":9", "\"n\":4");
    assert_eq!(numbers(&door.accept(&small).await.unwrap()), [1]);
}

#[tokio::test]
async fn a_test_is_sent_whatever_the_filter_says() {
    let door = Door::open().await;
    door.put(&filtered(1, r#"{"field":"n","less_than":5}"#)).await;
    let submission = || Submission::parse(&Bytes::from_static(ORDER.as_bytes())).expect("a submission");
    let tested = door.intake.accept(&tenant_id("a"), submission(), Origin::Test).await.unwrap();
    assert_eq!(numbers(&tested), [1]);
    let ours = door.intake.accept(&tenant_id("a"), submission(), Origin::Operator).await.unwrap();
    assert_eq!(ours.deliveries, []);
}

/// A filter that is changed does not change what was accepted before.
#[tokio::test]
async fn a_repeat_goes_where_its_first_request_went() {
    let door = Door::open().await;
    door.put(&filtered(1, r#"{"field":"n","at_least":5}"#)).await;
    let first = door.accept_keyed(Some("k"), ORDER).await.unwrap();
    door.put(&filtered(1, r#"{"field":"n","less_than":5}"#)).await;
    let again = door.accept_keyed(Some("k"), ORDER).await.unwrap();
    assert!(again.replayed);
    assert_eq!(again.deliveries, first.deliveries);
    assert_eq!(numbers(&again), [1]);
}
