//! `test`: an example by the ordinary path, and the first try's answer if it comes in time.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use postrider_contract::attempt::{Attempt, AttemptResult, BodyExtent, Response, SentRequest, Timings};
use postrider_contract::clock::Timestamp;
use postrider_contract::delivery::{AttemptNumber, Origin};
use postrider_contract::ids::AttemptId;
use postrider_contract::outcome::{Cause, FailureReason, Outcome};
use postrider_contract::ports::{AnswerBody, AttemptView};
use serde_json::json;

use super::fixture::{Api, text};

fn answered(status: u16) -> AttemptView {
    let request = SentRequest {
        method: "POST".to_owned(),
        url: "https://example.com/hook".to_owned(),
        headers: Vec::new(),
        body_sha256: [0; 32],
        body_length: 2,
    };
    let response =
        Response { status, headers: Vec::new(), body: Bytes::from_static(b"ok"), extent: BodyExtent::Whole };
    let attempt = Attempt {
        id: AttemptId::from_u128(9),
        number: AttemptNumber::FIRST,
        started_at: Timestamp::EPOCH,
        request,
        address: "192.0.2.1:443".parse::<SocketAddr>().ok(),
        timings: Timings { total: Duration::from_millis(12), ..Timings::default() },
        result: AttemptResult::Response(response),
    };
    AttemptView { attempt, outcome: Outcome::Delivered, body: AnswerBody::Kept }
}

#[tokio::test(start_paused = true)]
async fn a_test_sends_an_example_to_this_webhook_alone_and_answers_with_the_first_try() {
    let api = Api::start().await;
    let key = api.tenant_with_key("acme", "trcker").await;
    let webhook = api.webhook(&key, json!({"events": ["conversion.*"]})).await;
    *api.log.attempts.lock().expect("not poisoned") = vec![answered(204)];
    *api.log.after.lock().expect("not poisoned") = 5;
    let path = format!("/v1/webhooks/{}/test", text(&webhook, "id"));
    let answer = api.call(&key, "POST", &path, None).await.expect(200);
    assert_eq!(answer["attempt"]["response"], json!({"status": 204, "body": "ok"}));
    assert_eq!(answer["attempt"]["timings"]["total_ms"], 12.0);
    assert_eq!(answer["attempt"]["outcome"], "delivered");
    assert!(answer["attempt"].get("outcome_reason").is_none());
    assert!(text(&answer, "id").starts_with("dlv_"));
    let sent = api.intake.0.lock().expect("not poisoned");
    let [(tenant, submission, origin)] = sent.as_slice() else { panic!("one event") };
    assert_eq!((tenant.as_str(), *origin), ("acme", Origin::Test));
    assert_eq!(submission.event_type.as_str(), "conversion.approved");
    assert!(std::str::from_utf8(submission.data.as_bytes()).expect("text").contains("conversionId"));
    let named: Vec<_> = submission.webhook_ids.iter().flatten().map(ToString::to_string).collect();
    assert_eq!(named, [text(&webhook, "id")]);
}

#[tokio::test(start_paused = true)]
async fn a_test_that_is_not_tried_in_time_answers_with_the_delivery() {
    let api = Api::start().await;
    let key = api.tenant_with_key("acme", "trcker").await;
    let webhook = api.webhook(&key, json!({"events": ["orders.*"]})).await;
    let path = format!("/v1/webhooks/{}/test", text(&webhook, "id"));
    let answer = api.call(&key, "POST", &path, Some(json!({}))).await.expect(202);
    assert!(text(&answer, "id").starts_with("dlv_"));
    assert!(answer.get("attempt").is_none());
    assert_eq!(text(&answer, "event_type"), "orders.test", "there is no example of such a type");
    let asked = *api.log.asked.lock().expect("not poisoned");
    assert!((10..100).contains(&asked), "asked {asked} times");
}

/// A chat says no in its text, and a profile may take other statuses for a success: the status alone tells nothing.
#[tokio::test(start_paused = true)]
async fn a_test_says_what_the_try_came_to_and_not_only_what_was_answered() {
    let api = Api::start().await;
    let key = api.tenant_with_key("acme", "trcker").await;
    let webhook = api.webhook(&key, json!({})).await;
    let path = format!("/v1/webhooks/{}/test", text(&webhook, "id"));
    let cause = Cause::Status(200);
    let at: Timestamp = "2026-11-21T09:30:05.000Z".parse().expect("a time");
    let again = json!({"outcome": "retry", "outcome_reason": "status 200", "next_attempt_at": at});
    let failed =
        json!({"outcome": "failed", "outcome_reason": "permanent: status 200", "next_attempt_at": null});
    for (outcome, expected) in [
        (Outcome::Retry { at, cause }, again),
        (Outcome::Failed { reason: FailureReason::Permanent, cause: Some(cause) }, failed),
    ] {
        *api.log.attempts.lock().expect("not poisoned") = vec![AttemptView { outcome, ..answered(200) }];
        let answer = api.call(&key, "POST", &path, None).await.expect(200);
        for (name, value) in expected.as_object().expect("an object") {
            assert_eq!(answer["attempt"][name], *value, "{name}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_test_of_a_paused_webhook_does_not_wait() {
    let api = Api::start().await;
    let key = api.tenant_with_key("acme", "trcker").await;
    let webhook = api.webhook(&key, json!({"status": "paused"})).await;
    let path = format!("/v1/webhooks/{}/test", text(&webhook, "id"));
    api.call(&key, "POST", &path, None).await.expect(202);
    assert_eq!(*api.log.asked.lock().expect("not poisoned"), 0);
}
