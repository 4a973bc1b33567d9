//! Postbacks are filled when their event is accepted.

use postrider_contract::delivery::{Query, TooLong};
use postrider_contract::egress::WebhookUrl;
use postrider_contract::postback::{PostbackMethod, PostbackRule};
use postrider_contract::webhook::WebhookKind;

use super::*;

fn postback(number: u128, query: &str, form: Option<&str>) -> Webhook {
    let url = WebhookUrl::from_stored(&format!("https://partner.example/pb?{query}")).expect("a URL");
    let method = if form.is_some() { PostbackMethod::Post } else { PostbackMethod::Get };
    let postback = PostbackRule { method, form: form.map(str::to_owned), success: None };
    Webhook { kind: WebhookKind::Postback, url, postback, ..webhook(number) }
}

#[tokio::test]
async fn a_postback_travels_filled_beside_the_webhooks_of_its_event() {
    let door = Door::open().await;
    door.put(&webhook(1)).await;
    door.put(&postback(2, "n={n}&e={event.type}", None)).await;
    door.put(&postback(3, "", Some("n={n}&m={missing}"))).await;
    door.accept(ORDER).await.unwrap();
    let deliveries = door.deliveries().await;
    let travels: Vec<_> = deliveries.iter().map(|one| (one.reference.kind, &one.query, &one.body)).collect();
    assert_eq!((travels[0].0, travels[0].1), (WebhookKind::Webhook, &Query::OfUrl));
    let (query, empty) =
        (Query::Filled(Bytes::from_static(b"n=12345678901234567890&e=order.paid")), Bytes::new());
    assert_eq!(travels[1], (WebhookKind::Postback, &query, &empty));
    let (query, form) = (Query::Filled(Bytes::new()), Bytes::from_static(b"n=12345678901234567890&m="));
    assert_eq!(travels[2], (WebhookKind::Postback, &query, &form));
    let (accepted, _) = door.accepted().await;
    let kinds: Vec<_> = accepted.deliveries.iter().map(|one| one.kind).collect();
    assert_eq!(kinds, [WebhookKind::Webhook, WebhookKind::Postback, WebhookKind::Postback]);
}

/// One webhook's long value is no reason to refuse the event for the others.
#[tokio::test]
async fn an_event_that_fills_a_postback_too_long_is_accepted() {
    let door = Door::open().await;
    door.put(&postback(1, "n={n}", None)).await;
    let body = format!(r#"{{"type":"order.paid","data":{{"n":"{}"}}}}"#, "x".repeat(100_000));
    assert_eq!(door.accept(&body).await.unwrap().deliveries.len(), 1);
    assert_eq!(door.deliveries().await[0].query, Query::TooLong(TooLong::Query));
}

#[tokio::test]
async fn a_fan_out_keeps_each_postbacks_own_query() {
    let door = Door::open().await;
    for number in 1..=70 {
        door.put(&postback(number, &format!("w={number}&n={{n}}"), None)).await;
    }
    door.accept(ORDER).await.unwrap();
    let works = door.published().await;
    let [Work::FanOut(fan_out)] = works.as_slice() else { panic!("one fan-out: {}", works.len()) };
    assert_eq!(fan_out.bodies, [Bytes::new()]);
    for (delivery, number) in fan_out.deliveries.iter().zip(1..) {
        let expected = format!("w={number}&n=12345678901234567890");
        assert_eq!(delivery.query, Query::Filled(Bytes::from(expected)));
    }
}
