//! Filters of webhooks: kept to the letter, changed, removed, and refused with their place.

use bytes::Bytes;
use postrider_contract::ids::{TenantId, WebhookId};
use postrider_contract::ports::{ConfigKey, ConfigKind, ConfigStore, ConfigWrite, Expected};
use postrider_contract::webhook::Webhook;
use serde_json::json;

use super::fixture::{ADMIN, Api, text, webhook_body};

const FILTER: &str =
    r#"{"and":[{"field":"id","equals":12345678901234567890123},{"field":"rate","at_least":0.10}]}"#;

/// With its numbers as they are written, which a JSON value of the test's would round.
async fn send_text(api: &Api, key: &str, method: &str, path: &str, body: String) -> super::fixture::Answer {
    let request = http::Request::builder()
        .method(method)
        .uri(path)
        .header(http::header::AUTHORIZATION, format!("Bearer {key}"))
        .header(http::header::CONTENT_TYPE, "application/json");
    api.send(request.body(body.into()).expect("a request")).await
}

#[tokio::test]
async fn a_filter_is_shown_as_it_was_written() {
    let api = Api::start().await;
    let key = api.tenant_with_key("acme", "trcker").await;
    let body = format!(r#"{{"url":"https://example.com/","on":"cap.reached","filter":{FILTER}}}"#);
    let made = send_text(&api, &key, "POST", "/v1/webhooks", body).await;
    let shown = format!("\"filter\":{FILTER}");
    assert!(made.text.contains(&shown), "{}", made.text);
    let path = format!("/v1/webhooks/{}", text(&made.json(), "id"));
    for path in [path.as_str(), "/v1/webhooks"] {
        let read = api.call(&key, "GET", path, None).await;
        assert!(read.text.contains(&shown), "{}", read.text);
    }
}

#[tokio::test]
async fn a_filter_stays_changes_and_goes() {
    let api = Api::start().await;
    let key = api.tenant_with_key("acme", "trcker").await;
    let (one, other) = (json!({"field": "a", "exists": true}), json!({"field": "b", "equals": "x"}));
    for method in ["PATCH", "PUT"] {
        let made = api.webhook(&key, json!({"filter": one})).await;
        let path = format!("/v1/webhooks/{}", text(&made, "id"));
        let change = async |body| api.call(&key, method, &path, Some(body)).await.expect(200);
        assert_eq!(change(json!({"description": "x"})).await["filter"], one, "{method}");
        assert_eq!(change(json!({"filter": other})).await["filter"], other, "{method}");
        assert!(change(json!({"filter": null})).await["filter"].is_null(), "{method}");
        assert!(change(json!({})).await["filter"].is_null(), "{method}");
    }
}

#[tokio::test]
async fn a_filter_may_be_given_as_a_string_that_holds_it() {
    let api = Api::start().await;
    let key = api.tenant_with_key("acme", "trcker").await;
    let made = api.call(&key, "POST", "/v1/webhooks", Some(webhook_body(json!({"filter": FILTER})))).await;
    assert!(made.text.contains(&format!("\"filter\":{FILTER}")), "{}", made.text);
    for (text, detail) in [
        (r#"{"not": {"field": "b", "less_than": null}}"#, "must be a number or a string (at /not/less_than)"),
        ("{", "EOF"),
    ] {
        let refused =
            api.call(&key, "POST", "/v1/webhooks", Some(webhook_body(json!({"filter": text})))).await;
        assert_eq!(refused.pointers(), ["/filter"], "{}", refused.text);
        assert!(refused.text.contains(detail), "{}", refused.text);
    }
}

#[tokio::test]
async fn a_filter_that_cannot_work_is_refused_with_place_and_reason_beside_all_else() {
    let api = Api::start().await;
    let key = api.tenant_with_key("acme", "trcker").await;
    let before = api.revision().await;
    let filter = json!({"or": [{"field": "a", "exists": true}, {"not": {"field": "b", "less_than": null}}]});
    let body = webhook_body(json!({"filter": filter, "max_in_flight": 0}));
    let refused = api.call(&key, "POST", "/v1/webhooks", Some(body)).await;
    assert_eq!(refused.pointers(), ["/filter/or/1/not/less_than", "/max_in_flight"]);
    assert_eq!(refused.json()["errors"][0]["detail"], "must be a number or a string");
    for wrong in [json!(7), json!("a"), json!([]), json!({})] {
        let body = webhook_body(json!({"filter": wrong}));
        assert_eq!(api.call(&key, "POST", "/v1/webhooks", Some(body)).await.pointers(), ["/filter"]);
    }
    assert_eq!(api.revision().await, before);
}

/// As an earlier version stored it.
#[tokio::test]
async fn a_webhook_stored_without_a_filter_is_read() {
    let api = Api::start().await;
    let key = api.tenant_with_key("acme", "trcker").await;
    let id = WebhookId::from_u128(7);
    let document = format!(
        r#"{{"id":"{id}","tenant":"acme","name":"old","kind":"webhook","url":"https://example.com/","events":["cap.reached"],
        "state":{{"status":"active"}},"created_at":"2026-11-21T09:30:00.000Z","updated_at":"2026-11-21T09:30:00.000Z"}}"#
    );
    let tenant: TenantId = "acme".parse().expect("an id");
    let key_of = ConfigKey { kind: ConfigKind::Webhook, tenant: Some(tenant), id: id.to_string() };
    let write =
        ConfigWrite { key: key_of, expected: Expected::Absent, document: Some(Bytes::from(document)) };
    api.store.write(vec![write]).await.expect("nobody else writes");
    api.directory.refresh().await.expect("answers");
    let shown = api.call(&key, "GET", &format!("/v1/webhooks/{id}"), None).await.expect(200);
    assert!(shown["filter"].is_null());
    assert!(api.directory.webhook(id).known().is_some());
    let path = format!("/v1/webhooks/{id}");
    let changed =
        api.call(&key, "PATCH", &path, Some(json!({"filter": {"field": "a", "exists": true}}))).await;
    assert_eq!(changed.expect(200)["filter"]["field"], "a");
    let listed = api.call(&format!("{ADMIN} acme"), "GET", "/v1/webhooks", None).await.expect(200);
    assert_eq!(listed["data"][0]["filter"]["exists"], true);
    let stored = api.records().await.into_iter().find(|record| record.key.id == id.to_string());
    let document = stored.and_then(|record| record.document).expect("a document");
    let webhook: Webhook = serde_json::from_slice(&document).expect("a webhook");
    assert!(webhook.filter.is_some());
}
