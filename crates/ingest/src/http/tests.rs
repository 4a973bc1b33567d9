mod explain;

use std::collections::BTreeSet;

use async_trait::async_trait;
use axum::Router;
use axum::body::Body;
use http::Request;
use http::header::{AUTHORIZATION, CONTENT_TYPE, RETRY_AFTER};
use http_body_util::BodyExt;
use postrider_contract::clock::Timestamp;
use postrider_contract::fakes::PublishFault;
use postrider_contract::ids::KeyId;
use postrider_contract::journal::JournalBatch;
use postrider_contract::key::{ApiKey, KeyHash};
use postrider_contract::ports::{Journal, JournalSource, PublishError, QueueError};
use postrider_contract::webhook::Webhook;
use postrider_service::authentication::AdminKeySource;
use postrider_service::key_text::{KeyHolder, draw_key};
use postrider_service::metrics::Metrics;
use postrider_service::system::SystemEntropy;
use serde_json::{Value, json};
use tower::ServiceExt;

use super::*;
use crate::tests::fixture::{Door, NOW, paused, tenant_id, webhook};

const ORDER: &str = r#"{"type":"order.paid","data":{}}"#;
const ADMIN: &str = "pra_admin";

struct Site {
    door: Door,
    router: Router,
    key: String,
    metrics: Arc<IngestMetrics>,
}

struct Answer {
    status: u16,
    headers: HeaderMap,
    body: Value,
}

impl Answer {
    fn code(&self) -> &str {
        self.body["code"].as_str().unwrap_or_default()
    }

    fn pointer(&self) -> &str {
        self.body["errors"][0]["pointer"].as_str().unwrap_or_default()
    }
}

impl Site {
    async fn open(door: Door) -> Self {
        let key = draw_key(KeyHolder::Tenant, &SystemEntropy).reveal().to_owned();
        door.put(&api_key(1, &key, Scope::Publish)).await;
        let admin = AdminKeySource::Configured(KeyHash::of(ADMIN));
        let authenticator = Authenticator::new(Arc::clone(&door.directory), door.clock.clone(), admin);
        let metrics = Metrics::new("0", "0").and_then(|metrics| IngestMetrics::register(&metrics)).unwrap();
        let metrics = Arc::new(metrics);
        let intake = Arc::clone(&door.intake);
        let explainer = door.explainer();
        let state = IngestState { intake, explainer, authenticator, metrics: Arc::clone(&metrics) };
        let (router, _) = routes(state).split_for_parts();
        Site { door, router, key, metrics }
    }

    fn request(&self, path: &str) -> http::request::Builder {
        let authorization = format!("Bearer {}", self.key);
        let request = Request::post(path).header(AUTHORIZATION, authorization);
        request.header(CONTENT_TYPE, "application/json")
    }

    async fn send(&self, request: http::request::Builder, body: &str) -> Answer {
        let request = request.body(Body::from(body.to_owned())).unwrap();
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        Answer { status, headers, body: serde_json::from_slice(&bytes).unwrap_or_default() }
    }

    async fn publish(&self, body: &str) -> Answer {
        self.send(self.request("/v1/events"), body).await
    }

    async fn publish_keyed(&self, key: &str, body: &str) -> Answer {
        self.send(self.request("/v1/events").header("Idempotency-Key", key), body).await
    }

    async fn publish_batch(&self, body: &str) -> Answer {
        self.send(self.request("/v1/events/batch"), body).await
    }
}

fn api_key(number: u128, text: &str, scope: Scope) -> ApiKey {
    ApiKey {
        id: KeyId::from_u128(number),
        tenant: tenant_id("a"),
        name: "key".to_owned(),
        scopes: BTreeSet::from([scope]),
        expires_at: None,
        hash: KeyHash::of(text),
        hint: String::new(),
        created_at: NOW,
    }
}

#[tokio::test]
async fn an_accepted_event_is_answered_with_its_id_and_its_deliveries() {
    let site = Site::open(Door::open().await).await;
    site.door.put(&webhook(1)).await;
    let answer = site.publish(ORDER).await;
    assert_eq!(answer.status, 202);
    let (accepted, _) = site.door.accepted().await;
    let delivery = &accepted.deliveries[0];
    let expected = json!({
        "id": accepted.event.id,
        "deliveries": [{"id": delivery.id, "webhook_id": delivery.webhook}],
    });
    assert_eq!(answer.body, expected);
    assert!(!answer.headers.contains_key(IDEMPOTENCY_REPLAYED));
}

#[tokio::test]
async fn a_repeat_gets_the_same_answer_marked_as_replayed() {
    let site = Site::open(Door::open().await).await;
    site.door.put(&webhook(1)).await;
    let first = site.publish_keyed("k", ORDER).await;
    let again = site.publish_keyed("k", ORDER).await;
    assert_eq!((again.status, &again.body), (202, &first.body));
    assert!(!first.headers.contains_key(IDEMPOTENCY_REPLAYED));
    assert_eq!(again.headers[IDEMPOTENCY_REPLAYED], "true");
    let counted = |result| site.metrics.events.at(IngestSource::Http, result).get();
    assert_eq!((counted(IngestResult::Accepted), counted(IngestResult::Duplicate)), (1, 1));
}

#[tokio::test]
async fn an_event_for_a_webhook_that_cannot_be_read_is_put_off_and_says_which() {
    let site = Site::open(Door::open().await).await;
    let newer = Webhook { profile: Some("of-a-newer-version".parse().unwrap()), ..webhook(1) };
    site.door.put(&newer).await;
    let answer = site.publish(ORDER).await;
    assert_eq!((answer.status, answer.code()), (503, "unavailable"));
    assert_eq!(answer.headers[RETRY_AFTER], "2");
    let detail = answer.body["detail"].as_str().unwrap();
    assert!(detail.contains(&newer.id.to_string()), "{detail}");
    assert_eq!(site.metrics.events.at(IngestSource::Http, IngestResult::Unavailable).get(), 1);
    let batch = site.publish_batch(&format!(r#"[{ORDER},{{"type":"cap.reached","data":{{}}}}]"#)).await;
    assert_eq!((&batch.body["accepted"], &batch.body["rejected"]), (&json!(1), &json!(1)));
}

#[tokio::test]
async fn a_key_with_another_body_or_a_first_request_still_running_is_told_apart() {
    let site = Site::open(Door::open().await).await;
    site.publish_keyed("k", ORDER).await;
    let reused = site.publish_keyed("k", r#"{"type":"order.paid","data":{"n":1}}"#).await;
    assert_eq!((reused.status, reused.code()), (422, "idempotency_key_reused"));
    site.door.fail_journal();
    let doubt = site.publish_keyed("k2", ORDER).await;
    assert_eq!((doubt.status, doubt.code()), (503, "in_doubt"));
    assert_eq!(doubt.headers[RETRY_AFTER], "2");
    site.door.mend_journal();
    let running = site.publish_keyed("k2", ORDER).await;
    assert_eq!((running.status, running.code()), (409, "idempotency_in_progress"));
    assert_eq!(running.headers[RETRY_AFTER], "2");
}

#[tokio::test]
async fn while_nothing_can_be_written_single_events_and_batches_are_told_when_to_come_back() {
    let site = Site::open(Door::open().await).await;
    site.door.queue.fail_publishes(PublishFault::Refused { reason: "blocked".to_owned() });
    let batch = format!("[{ORDER}]");
    for answer in [site.publish(ORDER).await, site.publish_batch(&batch).await] {
        assert_eq!((answer.status, answer.code()), (503, "unavailable"));
        assert_eq!(answer.headers[RETRY_AFTER], "2");
        assert!(!answer.body.to_string().contains("blocked"), "{}", answer.body);
    }
}

#[test]
fn an_old_backlog_is_answered_with_429_and_when_to_come_back() {
    let response = problem_of(IntakeError::Overloaded, None).into_response();
    assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(response.headers()[RETRY_AFTER], "10");
}

#[tokio::test]
async fn what_is_wrong_with_a_request_is_named_and_leaves_nothing() {
    let site = Site::open(Door::open().await).await;
    site.door.put(&Webhook { profile: Some("tracktile".parse().unwrap()), ..webhook(1) }).await;
    let unknown = format!(r#"{{"type":"order.paid","data":{{}},"webhook_ids":["{}"]}}"#, webhook(9).id);
    for (body, status, code, pointer) in [
        ("{", 400, "malformed_json", ""),
        (r#"{"type":"order.paid"}"#, 422, "invalid_request", "/data"),
        (r#"{"type":"postrider.x","data":{}}"#, 422, "invalid_request", "/type"),
        (unknown.as_str(), 422, "invalid_request", "/webhook_ids/0"),
        (r#"{"type":"order.paid","data":{"id":1}}"#, 422, "invalid_request", "/data/id"),
    ] {
        let answer = site.publish(body).await;
        assert_eq!((answer.status, answer.code(), answer.pointer()), (status, code, pointer), "{body}");
    }
    for key in ["", "a b", &"k".repeat(256)] {
        assert_eq!(site.publish_keyed(key, ORDER).await.status, 422, "{key:?}");
    }
    let twice = site.request("/v1/events").header("Idempotency-Key", "a").header("Idempotency-Key", "b");
    assert_eq!(site.send(twice, ORDER).await.status, 422);
    site.door.assert_nothing_happened().await;
}

#[tokio::test]
async fn only_a_key_that_may_publish_publishes() {
    let mut site = Site::open(Door::open().await).await;
    let publisher = std::mem::take(&mut site.key);
    assert_eq!(site.publish(ORDER).await.status, 401);
    site.key = draw_key(KeyHolder::Tenant, &SystemEntropy).reveal().to_owned();
    site.door.put(&api_key(2, &site.key, Scope::Read)).await;
    for answer in [site.publish(ORDER).await, site.publish_batch("[]").await] {
        assert_eq!((answer.status, answer.code()), (403, "forbidden"));
    }
    site.key = ADMIN.to_owned();
    assert_eq!(site.publish(ORDER).await.status, 400);
    let acting = |tenant| site.request("/v1/events").header("Postrider-Tenant", tenant);
    assert_eq!(site.send(acting("nobody"), ORDER).await.status, 404);
    site.door.assert_nothing_happened().await;
    assert_eq!(site.send(acting("a"), ORDER).await.status, 202);
    site.key = publisher;
    assert_eq!(site.publish(ORDER).await.status, 202);
}

#[tokio::test]
async fn a_batch_is_answered_in_its_order_each_event_for_itself() {
    let site = Site::open(Door::open().await).await;
    site.door.put(&webhook(1)).await;
    site.door.put(&Webhook { state: paused(), ..webhook(2) }).await;
    let array = r#"[
        {"type":"order.paid","data":{},"id":"one"},
        {"type":"order.paid"},
        {"type":"postrider.x","data":{}},
        {"type":"order.paid","data":{},"id":"one"},
        {"type":"order.paid","data":{"n":1},"id":"one"},
        7,
        {"type":"order.paid","data":{},"id":"two"}
    ]"#;
    let answer = site.publish_batch(array).await;
    assert_eq!(answer.status, 202);
    let result = |place: usize| {
        let result = &answer.body["results"][place];
        result["id"].as_str().or(result["error"]["code"].as_str()).unwrap_or_default().to_owned()
    };
    let words: Vec<String> = (0..7).map(result).collect();
    assert_eq!(words[3], "one", "the second of two that are the same is its repeat");
    let refused = "invalid_request";
    assert_eq!(words[..3], ["one", refused, refused]);
    assert_eq!(words[4..], ["idempotency_key_reused", refused, "two"]);
    let accepted = words.iter().filter(|word| ["one", "two"].contains(&word.as_str())).count();
    assert_eq!(answer.body["accepted"], accepted);
    assert_eq!(answer.body["rejected"], 7 - accepted);
}

/// Answers nothing at all, as a broker whose quorum is lost.
struct Silent;

#[async_trait]
impl Journal for Silent {
    async fn append(&self, _: JournalBatch) -> Result<(), PublishError> {
        std::future::pending().await
    }

    async fn read(&self, _: u16) -> Result<Box<dyn JournalSource>, QueueError> {
        Err(QueueError::Closed)
    }

    async fn settled_until(&self, now: Timestamp) -> Result<Timestamp, QueueError> {
        Ok(now)
    }
}

#[tokio::test(start_paused = true)]
async fn every_answer_comes_within_five_seconds_although_the_queue_answers_nothing() {
    let site = Site::open(Door::open().await.with_journal(Arc::new(Silent))).await;
    let within = Duration::from_secs(5);
    let one = tokio::time::timeout(within, site.publish(ORDER)).await.expect("an answer in time");
    assert_eq!((one.status, one.code()), (503, "in_doubt"));
    // More than are worked on at once: those whose turn does not come are certainly not accepted.
    let many = format!("[{}]", vec![ORDER; 300].join(","));
    let many = tokio::time::timeout(within, site.publish_batch(&many)).await.expect("an answer in time");
    let codes: BTreeSet<&str> = many.body["results"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|one| one["error"]["code"].as_str())
        .collect();
    assert_eq!((many.status, codes), (202, BTreeSet::from(["in_doubt", "unavailable"])));
}

#[tokio::test]
async fn a_batch_that_cannot_be_read_whole_accepts_nothing() {
    let site = Site::open(Door::open().await).await;
    let many = format!("[{}]", vec![ORDER; 1_001].join(","));
    for (body, status) in [("{}", 422), ("[{}", 400), (many.as_str(), 413)] {
        assert_eq!(site.publish_batch(body).await.status, status);
    }
    let keyed = site.request("/v1/events/batch").header("Idempotency-Key", "k");
    assert_eq!(site.send(keyed, &format!("[{ORDER}]")).await.status, 400);
    site.door.assert_nothing_happened().await;
}

#[tokio::test]
async fn a_batch_of_lines_holds_one_event_to_a_line() {
    let site = Site::open(Door::open().await).await;
    let mut request = site.request("/v1/events/batch");
    request.headers_mut().unwrap().insert(CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"));
    let answer = site.send(request, &format!("{ORDER}\n\nnot json\n{ORDER}\n")).await;
    assert_eq!(
        (answer.status, &answer.body["accepted"], &answer.body["rejected"]),
        (202, &json!(2), &json!(1))
    );
    assert_eq!(answer.body["results"][1]["error"]["code"], "malformed_json");
}

#[tokio::test]
async fn what_is_wrong_is_told_with_its_place_in_the_request() {
    let site = Site::open(Door::open().await).await;
    site.door.put(&webhook(1)).await;
    let (known, unknown) = (webhook(1).id, webhook(2).id);
    let event = json!({"type": "order.paid", "data": {}, "webhook_ids": [known, unknown]}).to_string();
    assert_eq!(site.publish(&event).await.pointer(), "/webhook_ids/1");
    let lines = format!("{ORDER}\n\n  {{\"type\" 1}}\n");
    let authorization = format!("Bearer {}", site.key);
    let request = Request::post("/v1/events/batch").header(AUTHORIZATION, authorization);
    let answer = site.send(request.header(CONTENT_TYPE, "application/x-ndjson"), &lines).await;
    assert_eq!(answer.status, 202);
    let error = &answer.body["results"][1]["error"];
    assert_eq!(error["code"], "malformed_json");
    let detail = error["detail"].as_str().unwrap();
    assert!(detail.contains("at line 3, column 11"), "{detail}");
}

#[tokio::test]
async fn what_is_not_as_described_is_told_in_the_answer_or_refused_with_every_place() {
    use postrider_contract::catalogue::{EventTypeDefinition, SchemaCheck, WrittenMajor};
    use postrider_contract::tenant::Tenant;

    let site = Site::open(Door::open().await).await;
    let schema = r#"{"required":["id"],"properties":{"total":{"type":"number"}}}"#;
    let written = WrittenMajor {
        version: "1.0".parse().unwrap(),
        description: String::new(),
        schema: serde_json::from_str(schema).unwrap(),
        example: None,
        sunset_at: None,
    };
    let event_type = "order.paid".parse().unwrap();
    let tenant = Some(tenant_id("a"));
    site.door.put(&EventTypeDefinition { tenant, event_type, majors: vec![written] }).await;
    let choose = async |schema_check| {
        let tenant = Tenant { schema_check, ..crate::tests::fixture::tenant("a", "standard") };
        site.door.put(&tenant).await;
    };
    let bad = r#"{"type":"order.paid","data":{"total":"much"}}"#;
    let good = r#"{"type":"order.paid","data":{"id":1}}"#;
    let pointers = |list: &Value| -> Vec<String> {
        list.as_array().into_iter().flatten().map(|one| one["pointer"].as_str().unwrap().to_owned()).collect()
    };

    choose(SchemaCheck::Warn).await;
    let warned = site.publish(bad).await;
    assert_eq!(warned.status, 202);
    assert_eq!(pointers(&warned.body["warnings"]), ["/data", "/data/total"]);
    assert!(site.publish(good).await.body.get("warnings").is_none());
    let batch = site.publish_batch(&format!("[{good},{bad}]")).await;
    assert_eq!((&batch.body["accepted"], &batch.body["rejected"]), (&json!(2), &json!(0)));
    assert_eq!(pointers(&batch.body["results"][0]["warnings"]), [] as [&str; 0]);
    assert_eq!(pointers(&batch.body["results"][1]["warnings"]), ["/data", "/data/total"]);

    choose(SchemaCheck::Enforce).await;
    let refused = site.publish(bad).await;
    assert_eq!((refused.status, refused.code()), (422, "invalid_request"));
    assert_eq!(pointers(&refused.body["errors"]), ["/data", "/data/total"]);
    let batch = site.publish_batch(&format!("[{good},{bad}]")).await;
    assert_eq!((&batch.body["accepted"], &batch.body["rejected"]), (&json!(1), &json!(1)));
    assert_eq!(pointers(&batch.body["results"][1]["error"]["errors"]), ["/data", "/data/total"]);
}
