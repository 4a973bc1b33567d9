//! Postbacks: sent as they were filled, and done when their own rule says so.

use bytes::Bytes;
use postrider_contract::delivery::{DeliveryRef, Query, TooLong};
use postrider_contract::egress::WebhookUrl;
use postrider_contract::postback::{PostbackMethod, PostbackRule, SuccessRule};
use postrider_contract::profile::StatusSet;
use postrider_contract::webhook::WebhookKind;

use super::*;

const FILLED: &[u8] = b"cid=a%20b%26c&n=12345678901234567890123";

fn postback(receiver: &Receiver, postback: PostbackRule) -> Webhook {
    let url = format!("http://{}/pb?cid={{click_id}}&n={{n}}", receiver.address);
    Webhook { kind: WebhookKind::Postback, postback, ..webhook(&url) }
}

fn filled(query: Query, body: &'static [u8]) -> Delivery {
    let reference = DeliveryRef { kind: WebhookKind::Postback, ..delivery().reference };
    Delivery { reference, query, body: Bytes::from_static(body), ..delivery() }
}

fn query() -> Query {
    Query::Filled(Bytes::from_static(FILLED))
}

fn first_line(request: &str) -> &str {
    request.lines().next().unwrap_or_default()
}

#[tokio::test]
async fn a_postback_is_a_get_with_its_filled_query_and_no_content() {
    let receiver = Receiver::saying(vec![Step::Say(OK)]).await;
    let mut stage = Stage::with(postback(&receiver, PostbackRule::default())).await;
    stage.publish(Route::First, filled(query(), b"")).await;
    let record = stage.attempted().await;
    assert_eq!((record.outcome, record.attempt.request.method.as_str()), (Outcome::Delivered, "GET"));
    let request = receiver.seen.requests().remove(0).1;
    assert_eq!(first_line(&request), "GET /pb?cid=a%20b%26c&n=12345678901234567890123 HTTP/1.1");
    assert!(!names_of(&request).iter().any(|name| name.eq_ignore_ascii_case("content-type")), "{request}");
    assert!(request.ends_with("\r\n\r\n"), "no body: {request}");
    stage.drained().await.unwrap();
}

#[tokio::test]
async fn a_form_is_posted_as_one_also_if_the_webhook_was_changed_to_get_meanwhile() {
    for method in [PostbackMethod::Post, PostbackMethod::Get] {
        let receiver = Receiver::saying(vec![Step::Say(OK)]).await;
        let mut stage =
            Stage::with(postback(&receiver, PostbackRule { method, ..PostbackRule::default() })).await;
        stage.publish(Route::First, filled(query(), b"id=evt_1&p=1.10")).await;
        assert_eq!(stage.attempted().await.attempt.request.method, "POST");
        let request = receiver.seen.requests().remove(0).1;
        assert!(first_line(&request).starts_with("POST /pb?cid=a%20b%26c"), "{request}");
        let headers = headers_of(&request);
        let form = ("Content-Type".to_owned(), "application/x-www-form-urlencoded".to_owned());
        assert!(headers.contains(&form), "{request}");
        assert!(headers.contains(&("Content-Length".to_owned(), "15".to_owned())), "{request}");
        assert!(request.ends_with("\r\n\r\nid=evt_1&p=1.10"), "{request}");
        stage.drained().await.unwrap();
    }
}

#[tokio::test]
async fn an_answer_without_the_wanted_text_is_tried_again_with_the_same_query() {
    let wanted: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nstatus=OK";
    let receiver = Receiver::start(move |connection, request| {
        vec![Step::Say(if connection + request == 0 { OK } else { wanted })]
    })
    .await;
    let success = Some(SuccessRule {
        statuses: StatusSet::parse(["200"]).unwrap(),
        body_contains: Some("OK".to_owned()),
    });
    let webhook = postback(&receiver, PostbackRule { success, ..PostbackRule::default() });
    let mut stage = Stage::with(webhook.clone()).await;
    stage.publish(Route::First, filled(query(), b"")).await;
    let first = stage.attempted().await;
    assert!(matches!(first.outcome, Outcome::Retry { cause: Cause::Status(200), .. }), "{:?}", first.outcome);
    // Where it goes is of the moment of the try; what the event filled in stays.
    let url = format!("http://{}/moved?other={{x}}", receiver.address);
    let moved = Webhook { url: WebhookUrl::from_stored(&url).unwrap(), ..webhook };
    stage.webhooks.put(entry(moved, "trcker", 2));
    stage.pass(Duration::from_secs(2));
    assert_eq!(stage.attempted().await.outcome, Outcome::Delivered);
    let requests = receiver.seen.requests();
    assert_eq!(first_line(&requests[1].1), "GET /moved?cid=a%20b%26c&n=12345678901234567890123 HTTP/1.1");
    stage.drained().await.unwrap();
}

#[tokio::test]
async fn a_postback_that_is_too_long_fails_at_once_with_its_reason_and_is_not_sent() {
    for (part, expected) in
        [(TooLong::Query, "query is longer than 6000"), (TooLong::Form, "form is longer than 65536")]
    {
        let receiver = Receiver::saying(vec![Step::Say(OK)]).await;
        let mut stage = Stage::with(postback(&receiver, PostbackRule::default())).await;
        stage.publish(Route::First, filled(Query::TooLong(part), b"")).await;
        let record = stage.attempted().await;
        let cause = Some(Cause::Failure(FailureClass::Protocol));
        assert_eq!(record.outcome, Outcome::Failed { reason: FailureReason::Permanent, cause });
        let AttemptResult::Failure { detail, .. } = &record.attempt.result else { panic!("{record:?}") };
        assert!(detail.contains(expected), "{detail}");
        stage.drained().await.unwrap();
        assert!(receiver.seen.requests().is_empty());
    }
}
