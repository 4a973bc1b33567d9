//! Postbacks as the API takes, shows and refuses them.

use serde_json::{Value, json};

use super::fixture::{Api, text, webhook_body};

const URL: &str = "https://partner.example/pb?cid={click_id}&payout={data.payout}&e={event.id}";

fn postback(more: Value) -> Value {
    let mut body = webhook_body(json!({"kind": "postback", "url": URL}));
    body.as_object_mut().expect("an object").extend(more.as_object().cloned().unwrap_or_default());
    body
}

#[tokio::test]
async fn a_postback_is_shown_as_it_was_given_and_keeps_what_is_not_changed() {
    let api = Api::start().await;
    let key = api.tenant_with_key("acme", "trcker").await;
    let made = api.call(&key, "POST", "/v1/webhooks", Some(postback(json!({})))).await.expect(201);
    assert_eq!((text(&made, "kind"), text(&made, "method"), text(&made, "url")), ("postback", "GET", URL));
    assert!(made.get("form").is_none() && made.get("success").is_none());
    let path = format!("/v1/webhooks/{}", text(&made, "id"));
    let (form, success) =
        ("txid={externalTxnId}&s=%7Bx%7D", json!({"statuses": ["200", "3xx"], "body_contains": "OK"}));
    for method in ["PATCH", "PUT"] {
        let change = async |body| api.call(&key, method, &path, Some(body)).await.expect(200);
        let full = change(json!({"method": "POST", "form": form, "success": success})).await;
        assert_eq!((text(&full, "method"), text(&full, "form"), &full["success"]), ("POST", form, &success));
        let kept = change(json!({"description": method, "kind": "postback"})).await;
        assert_eq!((text(&kept, "form"), &kept["success"], text(&kept, "url")), (form, &success, URL));
        let cleared = change(json!({"method": null, "form": null, "success": null})).await;
        assert_eq!(text(&cleared, "method"), "GET");
        assert!(cleared.get("form").is_none() && cleared.get("success").is_none());
    }
    let read = api.call(&key, "GET", &path, None).await.expect(200);
    assert_eq!(text(&read, "kind"), "postback");
}

#[tokio::test]
async fn a_postback_that_cannot_work_is_refused_with_position_and_reason() {
    let api = Api::start().await;
    let key = api.tenant_with_key("acme", "trcker").await;
    let before = api.revision().await;
    for (wrong, pointer, reason) in [
        (json!({"url": "https://partner.example/{path}?a={a}"}), "/url", "at byte 24"),
        (json!({"url": "https://partner.example/pb?a={a"}), "/url", "at byte 29"),
        (
            json!({"url": "https://partner.example/pb?a={event.nothing}"}),
            "/url",
            "at byte 29: {event.nothing}",
        ),
        (json!({"url": "https://partner.example/pb?a={a..b}"}), "/url", "at byte 29"),
        (json!({"method": "PUT"}), "/method", "GET or POST"),
        (json!({"form": "a={a}"}), "/form", "a GET has no body"),
        (json!({"method": "POST", "form": "a=b c"}), "/form", "at byte 3"),
        (json!({"method": "POST", "form": "a={"}), "/form", "at byte 2"),
        (json!({"success": {"statuses": []}}), "/success/statuses", "must not be empty"),
        (json!({"success": {"statuses": ["ok"]}}), "/success/statuses", "is not a status"),
        (
            json!({"success": {"statuses": ["200"], "body_contains": ""}}),
            "/success/body_contains",
            "1 to 200",
        ),
        (json!({"success": {"status": ["200"]}}), "/success/status", "unknown field"),
        (json!({"kind": "pixel"}), "/kind", "webhook or postback"),
        (json!({"template": {"n": "{{event.data.n}}"}}), "/template", "by the macros of its url and form"),
    ] {
        let refused = api.call(&key, "POST", "/v1/webhooks", Some(postback(wrong.clone()))).await;
        assert_eq!(refused.pointers(), [pointer], "{wrong}");
        assert!(refused.text.contains(reason), "{}", refused.text);
    }
    assert_eq!(api.revision().await, before);
}

#[tokio::test]
async fn a_kind_stays_and_what_is_for_postbacks_is_refused_of_others() {
    let api = Api::start().await;
    let key = api.tenant_with_key("acme", "trcker").await;
    let made = api.webhook(&key, json!({})).await;
    let path = format!("/v1/webhooks/{}", text(&made, "id"));
    let change =
        json!({"kind": "postback", "method": "GET", "form": "a=b", "success": {"statuses": ["200"]}});
    let refused = api.call(&key, "PATCH", &path, Some(change)).await;
    assert_eq!(refused.pointers(), ["/kind", "/method", "/form", "/success"]);
    let made = api.call(&key, "POST", "/v1/webhooks", Some(postback(json!({})))).await.expect(201);
    let path = format!("/v1/webhooks/{}", text(&made, "id"));
    let change = json!({"template": "[]", "template_typed": true});
    let refused = api.call(&key, "PUT", &path, Some(change)).await;
    assert_eq!(refused.pointers(), ["/template", "/template_typed"]);
    api.call(&key, "PUT", &path, Some(json!({"template": null, "template_typed": false}))).await.expect(200);
    // Braces mean nothing to a webhook.
    let body = webhook_body(json!({"url": "https://example.com/hook?a={"}));
    api.call(&key, "POST", "/v1/webhooks", Some(body)).await.expect(201);
}
