//! The published samples of bad input, as far as they concern these routes: "endpoints" are webhooks.

use axum::body::Body;
use http::Request;
use http::header::CONTENT_TYPE;
use serde_json::{Value, json};

use super::fixture::{ADMIN, Api, text};
use crate::ManageLimits;

const VECTORS: &str = include_str!("../../../../tests/vectors/bad-inputs.json");

/// PUT merges here as PATCH does, so a part of an object is a whole request.
const ANSWERED_OTHERWISE: [&str; 1] = ["endpoint-put-partial"];

struct Scene {
    api: Api,
    ours: String,
    expired: String,
    mine: String,
    foreign: String,
    foreign_cursor: String,
}

impl Scene {
    async fn set() -> Self {
        let api = Api::start_with(ManageLimits { webhooks_per_tenant: 50, ..ManageLimits::default() }).await;
        let ours = api.tenant_with_key("ours", "standard").await;
        let theirs = api.tenant_with_key("theirs", "standard").await;
        let body = json!({"name": "k", "scopes": ["read"], "expires_at": "2026-11-21T09:30:01Z"});
        let expired = api.call(ADMIN, "POST", "/v1/tenants/ours/keys", Some(body)).await.expect(201);
        api.clock.advance(std::time::Duration::from_secs(1));
        let mine = text(&api.webhook(&ours, json!({})).await, "id").to_owned();
        api.webhook(&theirs, json!({})).await;
        let foreign = text(&api.webhook(&theirs, json!({})).await, "id").to_owned();
        let page = api.call(&theirs, "GET", "/v1/webhooks?limit=1", None).await.expect(200);
        let foreign_cursor = text(&page, "next_cursor").to_owned();
        let expired = text(&expired, "key").to_owned();
        Scene { api, ours, expired, mine, foreign, foreign_cursor }
    }

    /// `None` if the case is about a route of another role, or cannot be put into an HTTP request at all.
    fn request(&self, case: &Value) -> Option<Request<Body>> {
        let id = if case["ids"] == "other_tenant" { &self.foreign } else { &self.mine };
        let path = match text(case, "path_kind") {
            "endpoints" | "attempts" => "/v1/webhooks".to_owned(),
            "endpoint" => format!("/v1/webhooks/{id}"),
            "endpoint_secret" => format!("/v1/webhooks/{id}/secret"),
            "endpoint_rotate" => format!("/v1/webhooks/{id}/rotate"),
            _ => return None,
        };
        let query = case["query"]
            .as_str()
            .map(|query| query.replace("{cursor_of_other_tenant}", &self.foreign_cursor));
        let uri = query.map_or(path.clone(), |query| format!("{path}?{query}"));
        let mut request = Request::builder().method(text(case, "method")).uri(uri);
        for (name, value) in case["headers"].as_object().into_iter().flatten() {
            request = request.header(name, value.as_str()?);
        }
        if let Some(header) = self.authorization(text(case, "auth")) {
            request = request.header("authorization", header);
        }
        let Some(body) = case.get("body_json") else { return request.body(Body::empty()).ok() };
        request.header(CONTENT_TYPE, "application/json").body(Body::from(mapped(body).to_string())).ok()
    }

    fn authorization(&self, kind: &str) -> Option<String> {
        match kind {
            "none" => None,
            "valid" => Some(format!("Bearer {}", self.ours)),
            "expired" => Some(format!("Bearer {}", self.expired)),
            raw => {
                let header = raw.strip_prefix("raw:").unwrap_or_else(|| panic!("{raw}"));
                let header = header.replace("{key}", &self.ours).replace("%0a", "\n");
                Some(header.replace("{\"a\" * 1048576}", &"a".repeat(1_048_576)))
            }
        }
    }
}

/// The samples' members under our names.
fn mapped(body: &Value) -> Value {
    let mut ours = serde_json::Map::new();
    for (name, value) in body.as_object().expect("an object") {
        match name.as_str() {
            "event_types" => ours.insert("events".to_owned(), value.clone()),
            "rate_limit" => ours.insert("rate_limit_per_second".to_owned(), value.clone()),
            "retry_schedule" => ours.insert("retry".to_owned(), json!({"waits": value})),
            "metadata" => {
                let many = (0..1000).map(|number| (format!("k{number}"), json!("v"))).collect();
                ours.insert("metadata".to_owned(), Value::Object(many))
            }
            other => ours.insert(other.to_owned(), value.clone()),
        };
    }
    Value::Object(ours)
}

#[tokio::test]
async fn every_sample_is_refused_as_it_should_be_and_leaves_nothing() {
    let vectors: Value = serde_json::from_str(VECTORS).expect("JSON");
    let scene = Scene::set().await;
    let mut tried = 0;
    for case in vectors["cases"].as_array().expect("cases") {
        let id = text(case, "id");
        let is_ours = matches!(text(case, "group"), "auth" | "tenant" | "endpoint" | "query");
        if !is_ours || case.get("setup").is_some() || ANSWERED_OTHERWISE.contains(&id) {
            continue;
        }
        let Some(request) = scene.request(case) else { continue };
        let before = scene.api.revision().await;
        let answer = scene.api.send(request).await;
        let status = answer.status.as_u16();
        let also_ok = case["also_ok"].as_array().cloned().unwrap_or_default();
        let is_right = case["expect_status"] == status || also_ok.contains(&json!(status));
        assert!(is_right, "{id}: {status} {}", answer.text);
        assert_eq!(scene.api.revision().await, before, "{id} left something behind");
        tried += 1;
    }
    assert!(tried >= 35, "only {tried} samples were found");
}
