//! Postbacks: sent as they were filled, and done when their own rule says so.

use bytes::Bytes;
use postrider_contract::delivery::{DeliveryRef, Query, RenderedWith, TooLong};
use postrider_contract::egress::WebhookUrl;
use postrider_contract::postback::{PostbackMethod, PostbackRule, SuccessRule};
use postrider_contract::profile::{Profile, StatusSet};
use postrider_contract::revision::Revision;
use postrider_contract::signature::VerifyFailure;
use postrider_contract::webhook::WebhookKind;
use postrider_service::directory::{ProfileEntry, WebhookEntry};

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

const SIGNED: &str = "
name = 'own'
[envelope]
body = '${event.data}'
[retry]
waits = ['1s']
[secret]
origin = 'required'
[signature]
query_parameter = 'sig'
signs = '${timestamp}.${query}.${body}'
value = '${timestamp}-${signatures}'
encoding = 'hex'
replay_window = '5m'
";

#[tokio::test]
async fn a_signature_stands_behind_what_was_filled_in_covers_it_and_is_made_afresh_for_each_try() {
    let profile = Profile::from_toml(SIGNED).and_then(Profile::compile).unwrap();
    let key = VerifyingKey::parse(SECRET, profile.definition().secret.as_ref().unwrap()).unwrap();
    let (profile, revision) = (Arc::new(profile), Revision::from_number(5));
    for (method, form) in [(PostbackMethod::Get, &b""[..]), (PostbackMethod::Post, &b"id=evt_1&p=1.10"[..])] {
        let receiver = Receiver::start(|connection, request| {
            vec![Step::Say(if connection + request == 0 { ERROR } else { OK })]
        })
        .await;
        let called = postback(&receiver, PostbackRule { method, ..PostbackRule::default() });
        let mut stage = Stage::with(called.clone()).await;
        let of_now = ProfileEntry { profile: Arc::clone(&profile), revision };
        let known = WebhookEntry { profile: of_now, ..WebhookEntry::clone(&entry(called, "trcker", 2)) };
        stage.webhooks.put(Arc::new(known));
        let of_old = filled(query(), form);
        let rendered_with = RenderedWith { profile: revision, ..of_old.rendered_with };
        let delivery = Delivery { profile: "own".parse().unwrap(), rendered_with, ..of_old };
        stage.publish(Route::First, delivery).await;
        assert!(matches!(stage.attempted().await.outcome, Outcome::Retry { .. }));
        stage.pass(Duration::from_secs(1));
        assert_eq!(stage.attempted().await.outcome, Outcome::Delivered);

        let requests = receiver.seen.requests();
        let mut signatures = Vec::new();
        for ((_, request), at) in requests.iter().zip([noon(), noon().plus(Duration::from_secs(1))]) {
            let target = first_line(request).split(' ').nth(1).unwrap();
            let query = target.strip_prefix("/pb?").unwrap();
            let (unsigned, signature) = query.rsplit_once("&sig=").unwrap();
            assert_eq!(unsigned.as_bytes(), FILLED);
            let judge = |query: &str, body: &[u8]| {
                let received = ReceivedRequest { headers: &[], query, body };
                verify(&profile, &Default::default(), received, std::slice::from_ref(&key), at)
            };
            assert_eq!(judge(query, form), Ok(()), "{target}");
            let other = query.replacen("n=1", "n=2", 1);
            assert_eq!(judge(&other, form), Err(VerifyFailure::NoMatch), "{other}");
            assert_eq!(judge(query, &b"id=evt_2&p=1.10"[..]), Err(VerifyFailure::NoMatch));
            signatures.push(signature.to_owned());
        }
        assert_eq!(signatures.len(), 2);
        assert_ne!(signatures[0], signatures[1], "of the moment of each try");
        stage.drained().await.unwrap();
    }
}
