//! Webhooks: what they may be, how they change, and how they are shown.

use postrider_contract::ids::TenantId;
use postrider_contract::ports::RoomSummary;
use postrider_contract::webhook::WebhookState;
use serde_json::{Value, json};

use super::fixture::{Api, NOW, text, webhook_body};
use crate::ManageLimits;

#[tokio::test]
async fn a_webhook_is_shown_as_the_api_names_it() {
    let api = Api::start().await;
    let key = api.tenant_with_key("acme", "trcker").await;
    let full = json!({
        "name": "Orders", "url": "https://example.com:8443/hook?x=1#part", "events": ["conversion.*", "cap.reached"],
        "brand_id": "acme", "kind": "webhook", "profile": "track360", "headers": {"X-Team": "blue"},
        "filter": {"field": "payoutCents", "at_least": 100}, "schema_major": 2,
        "auth_type": "basic", "auth_username": "jo", "auth_password": "pw", "secret": "0123456789abcdef0123456789abcdef",
        "signature_header": "X-Signed", "rate_limit_per_second": 5, "max_in_flight": 2, "timeout_ms": 2500,
        "retry": {"waits": ["1s", "1h30m"]}, "description": "d", "metadata": {"team": "blue"},
    });
    let made = api.call(&key, "POST", "/v1/webhooks", Some(full)).await.expect(201);
    let id = text(&made, "id").to_owned();
    let expected = json!({
        "id": id, "object": "webhook", "tenant_id": "acme", "brand_id": "acme", "name": "Orders", "kind": "webhook",
        "url": "https://example.com:8443/hook?x=1", "method": "POST", "events": ["conversion.*", "cap.reached"],
        "filter": {"field": "payoutCents", "at_least": 100}, "schema_major": 2, "profile": "track360", "provider": "webhook", "provider_given": false, "template": null, "template_typed": false, "status": "active", "active": true,
        "waiting": {"count": 0, "oldest": null}, "revision": made["revision"], "headers": {"X-Team": "blue"},
        "auth_type": "basic", "auth_username": "jo", "signature_header": "X-Signed", "rate_limit_per_second": 5,
        "max_in_flight": 2, "timeout_ms": 2500, "retry": {"waits": ["1s", "1h30m"]}, "description": "d",
        "metadata": {"team": "blue"}, "secret_hint": "cdef", "created_at": NOW, "updated_at": NOW,
    });
    assert_eq!(made, expected);
    let answer = api.call(&key, "GET", &format!("/v1/webhooks/{id}"), None).await;
    assert_eq!(answer.headers["etag"], format!("\"{}\"", made["revision"]).as_str());
    assert_eq!(answer.expect(200), expected);
}

#[tokio::test]
async fn on_stands_for_one_event_and_the_name_for_the_host() {
    let api = Api::start().await;
    let key = api.tenant_with_key("acme", "trcker").await;
    let body = json!({"url": "https://hooks.example.com/x", "on": "cap.reached"});
    let made = api.call(&key, "POST", "/v1/webhooks", Some(body)).await.expect(201);
    assert_eq!(made["events"], json!(["cap.reached"]));
    assert_eq!(text(&made, "name"), "hooks.example.com");
    assert!(made["profile"].is_null());
}

#[tokio::test]
async fn a_provider_follows_the_url_until_it_is_given_by_hand() {
    let api = Api::start().await;
    let key = api.tenant_with_key("acme", "trakkr").await;
    let slack = "https://hooks.slack.com/services/T0/B0/x";
    let made = api.webhook(&key, json!({"url": slack})).await;
    let path = format!("/v1/webhooks/{}", text(&made, "id"));
    assert_eq!((&made["provider"], &made["provider_given"]), (&json!("slack"), &json!(false)));
    for (change, provider, given) in [
        (json!({"url": "https://hooks.zapier.com/hooks/catch/1/2/"}), "zapier", false),
        (json!({"provider": "discord"}), "discord", true),
        (json!({"url": slack}), "discord", true),
        (json!({"provider": null}), "slack", false),
        (json!({"provider": "webhook"}), "webhook", true),
    ] {
        let after = api.call(&key, "PATCH", &path, Some(change.clone())).await.expect(200);
        assert_eq!(
            (&after["provider"], &after["provider_given"]),
            (&json!(provider), &json!(given)),
            "{change}"
        );
    }
}

#[tokio::test]
async fn a_wrong_webhook_is_refused_by_its_field_and_leaves_nothing() {
    let api = Api::start().await;
    let key = api.tenant_with_key("acme", "trcker").await;
    let before = api.revision().await;
    let wrong: Vec<(Value, &str)> = vec![
        (json!({"url": null}), "/url"),
        (json!({"url": "ftp://example.com/"}), "/url"),
        (json!({"url": "http://example.com/"}), "/url"),
        (json!({"url": "https://10.0.0.1/"}), "/url"),
        (json!({"events": []}), "/events"),
        (json!({"events": ["a..b"]}), "/events/0"),
        (json!({"events": ["a.b", "*.b"]}), "/events/1"),
        (json!({"on": "a.b"}), "/on"),
        (json!({"brand_id": "other"}), "/brand_id"),
        (json!({"tenant_id": "other"}), "/tenant_id"),
        (json!({"tenant_id": "acme", "brand_id": "acme"}), "/brand_id"),
        (json!({"signing_secret": ""}), "/signing_secret"),
        (json!({"secret": ""}), "/secret"),
        (json!({"rate_limit_per_second": "5"}), "/rate_limit_per_second"),
        (json!({"kind": "pixel"}), "/kind"),
        (json!({"filter": {}}), "/filter"),
        (json!({"template": "{"}), "/template"),
        (json!({"template": "\"{{summary}}\""}), "/template"),
        (json!({"template": 5}), "/template"),
        (json!({"template": {"a/b": [1, "{{event.secret}}"]}}), "/template/a~1b/1"),
        (json!({"template": {"x": {"a{{summary}}": 1}}}), "/template/x"),
        (json!({"template": {"x": "x".repeat(64 * 1024)}}), "/template"),
        (json!({"template_typed": true}), "/template_typed"),
        (json!({"provider": "teams"}), "/provider"),
        (json!({"provider": 1}), "/provider"),
        (json!({"template": {}, "template_typed": "yes"}), "/template_typed"),
        (json!({"filter": {"and": [{"field": "b", "is": 1}]}}), "/filter/and/0/is"),
        (json!({"profile": "nowhere"}), "/profile"),
        (json!({"status": "disabled"}), "/status"),
        (json!({"headers": {"X-Trcker-Signature": "1"}}), "/headers/X-Trcker-Signature"),
        (json!({"headers": {"x-trcker-EVENT": "1"}}), "/headers/x-trcker-EVENT"),
        (json!({"headers": {"X-A": "1", "x-a": "2"}}), "/headers/x-a"),
        (json!({"headers": {"User-Agent": "me"}}), "/headers/User-Agent"),
        (json!({"headers": {"a/b": "1"}}), "/headers/a~1b"),
        (
            json!({"headers": {"Authorization": "x"}, "auth_type": "bearer", "auth_token": "t"}),
            "/headers/Authorization",
        ),
        (json!({"auth_type": "bearer"}), "/auth_token"),
        (json!({"auth_type": "bearer", "auth_token": "a b"}), "/auth_token"),
        (json!({"auth_type": "basic", "auth_username": "a:b", "auth_password": "p"}), "/auth_username"),
        (json!({"auth_type": "api_key", "api_key_header": "Host", "api_key_value": "v"}), "/api_key_header"),
        (
            json!({"auth_type": "api_key", "api_key_header": "X-Trcker-Event", "api_key_value": "v"}),
            "/api_key_header",
        ),
        (json!({"auth_token": "t"}), "/auth_token"),
        (json!({"auth_type": "digest"}), "/auth_type"),
        (json!({"signature_header": "X-Mine"}), "/signature_header"),
        (json!({"max_in_flight": 0}), "/max_in_flight"),
        (json!({"timeout_ms": 60_001}), "/timeout_ms"),
        (json!({"timeout_ms": 0}), "/timeout_ms"),
        (json!({"retry": {"waits": ["25h"]}}), "/retry/waits"),
        (json!({"retry": {"waits": [5]}}), "/retry/waits/0"),
        (json!({"description": "x".repeat(1001)}), "/description"),
        (json!({"metadata": {"": "x"}}), "/metadata"),
        (json!({"metadata": {"a": 1}}), "/metadata/a"),
        (json!({"id": "wh_00000000000000000000000001"}), "/id"),
    ];
    for (more, pointer) in wrong {
        let answer = api.call(&key, "POST", "/v1/webhooks", Some(webhook_body(more.clone()))).await;
        assert_eq!(answer.status.as_u16(), 422, "{more}: {}", answer.text);
        assert_eq!(answer.pointers(), [pointer], "{more}: {}", answer.text);
    }
    for (body, pointers) in
        [(json!({}), vec!["/url", "/events"]), (json!({"url": "https://example.com/"}), vec!["/events"])]
    {
        assert_eq!(api.call(&key, "POST", "/v1/webhooks", Some(body)).await.pointers(), pointers);
    }
    // All that is wrong is told at once, numbers with their bounds.
    let body = json!({"name": "", "max_in_flight": 70_000, "rate_limit_per_second": 0, "timeout_ms": -1});
    let answer = api.call(&key, "POST", "/v1/webhooks", Some(body)).await;
    let expected = ["/url", "/events", "/name", "/timeout_ms", "/rate_limit_per_second", "/max_in_flight"];
    assert_eq!(answer.pointers(), expected);
    assert_eq!(answer.json()["errors"][5]["detail"], "must be a whole number from 1 to 65535");
    assert_eq!(api.revision().await, before);
}

#[tokio::test]
async fn patch_and_put_merge_alike() {
    let api = Api::start().await;
    let key = api.tenant_with_key("acme", "trcker").await;
    for method in ["PATCH", "PUT"] {
        let made = api
            .webhook(&key, json!({"timeout_ms": 900, "retry": {"waits": ["1s"]}, "metadata": {"a": "1"}}))
            .await;
        let path = format!("/v1/webhooks/{}", text(&made, "id"));
        let same = api.call(&key, method, &path, Some(json!({}))).await.expect(200);
        assert_eq!(same, made, "{method}: nothing changed, so no revision either");
        let body =
            json!({"description": "x", "timeout_ms": null, "metadata": {"b": "2"}, "status": "paused"});
        let after = api.call(&key, method, &path, Some(body)).await.expect(200);
        assert_eq!(text(&after, "description"), "x");
        assert!(after["timeout_ms"].is_null());
        assert_eq!(after["metadata"], json!({"b": "2"}));
        assert_eq!(after["retry"], made["retry"]);
        assert_eq!((text(&after, "status"), &after["active"]), ("paused", &json!(false)));
        assert!(after["revision"].as_u64() > made["revision"].as_u64());
        for (body, pointer) in [
            (json!({"url": null}), "/url"),
            (json!({"events": null}), "/events"),
            (json!({"on": null}), "/on"),
            (json!({"status": null}), "/status"),
            (json!({"created_at": NOW}), "/created_at"),
        ] {
            assert_eq!(
                api.call(&key, method, &path, Some(body.clone())).await.pointers(),
                [pointer],
                "{body}"
            );
        }
    }
}

#[tokio::test]
async fn a_stale_if_match_changes_nothing() {
    let api = Api::start().await;
    let key = api.tenant_with_key("acme", "trcker").await;
    let made = api.webhook(&key, json!({})).await;
    let path = format!("/v1/webhooks/{}", text(&made, "id"));
    for (tag, method, status) in [
        ("\"stale\"".to_owned(), "PATCH", 412),
        ("\"stale\"".to_owned(), "DELETE", 412),
        (format!("\"{}\"", made["revision"]), "PATCH", 200),
        (format!("\"{}\"", made["revision"]), "PATCH", 412),
    ] {
        let request = http::Request::builder()
            .method(method)
            .uri(&path)
            .header("authorization", format!("Bearer {key}"))
            .header("content-type", "application/json")
            .header("if-match", tag)
            .body(axum::body::Body::from(r#"{"description":"new"}"#))
            .expect("a request");
        api.send(request).await.expect(status);
    }
}

#[tokio::test]
async fn a_change_of_profile_must_fit_and_makes_a_secret_where_one_is_needed() {
    let api = Api::start().await;
    let key = api.tenant_with_key("acme", "trcker").await;
    let unsigned = api.webhook(&key, json!({})).await;
    let path = format!("/v1/webhooks/{}", text(&unsigned, "id"));
    let moved = api.call(&key, "PATCH", &path, Some(json!({"profile": "standard"}))).await.expect(200);
    assert!(text(&moved, "secret").starts_with("whsec_"));

    let signed =
        api.webhook(&key, json!({"secret": "not-base64", "headers": {"X-Track360-Event": "x"}})).await;
    let path = format!("/v1/webhooks/{}", text(&signed, "id"));
    let answer = api.call(&key, "PATCH", &path, Some(json!({"profile": "standard"}))).await;
    assert_eq!(answer.pointers(), ["/secret"]);
    let answer = api.call(&key, "PATCH", &path, Some(json!({"profile": "track360"}))).await;
    assert_eq!(answer.pointers(), ["/headers/X-Track360-Event", "/secret"]);
}

#[tokio::test]
async fn pause_and_resume_say_since_when_and_how_fast() {
    let api = Api::start().await;
    let key = api.tenant_with_key("acme", "trcker").await;
    let made = api.webhook(&key, json!({})).await;
    let path = format!("/v1/webhooks/{}", text(&made, "id"));
    let paused = api.call(&key, "POST", &format!("{path}/pause"), None).await.expect(200);
    assert_eq!((text(&paused, "status"), text(&paused, "status_since")), ("paused", NOW));
    api.clock.advance(std::time::Duration::from_secs(1));
    let again = api.call(&key, "POST", &format!("{path}/pause"), Some(json!({}))).await.expect(200);
    assert_eq!(again["revision"], paused["revision"]);
    let rate = json!({"rate_per_second": 3});
    let resumed = api.call(&key, "POST", &format!("{path}/resume"), Some(rate)).await.expect(200);
    assert_eq!((text(&resumed, "status"), &resumed["resume_rate_per_second"]), ("active", &json!(3)));
    let resumed = api.call(&key, "POST", &format!("{path}/resume"), None).await.expect(200);
    assert!(resumed.get("resume_rate_per_second").is_none());
    let zero = json!({"rate_per_second": 0});
    assert_eq!(
        api.call(&key, "POST", &format!("{path}/resume"), Some(zero)).await.pointers(),
        ["/rate_per_second"]
    );
    let id = text(&made, "id").parse().expect("an id");
    assert_eq!(api.directory.webhook(id).known().expect("known").webhook.state, WebhookState::Active);
}

#[tokio::test]
async fn what_waits_is_shown_with_its_age() {
    let api = Api::start().await;
    let key = api.tenant_with_key("acme", "trcker").await;
    let made = api.webhook(&key, json!({})).await;
    let tenant: TenantId = "acme".parse().expect("an id");
    let webhook = text(&made, "id").parse().expect("an id");
    let oldest = Some(NOW.parse().expect("a time"));
    *api.room.0.lock().expect("not poisoned") =
        vec![RoomSummary { tenant, webhook, waiting: 7, oldest, released: 2 }];
    tokio::time::pause();
    tokio::time::advance(std::time::Duration::from_secs(2)).await;
    let shown = api.call(&key, "GET", "/v1/webhooks", None).await.expect(200);
    assert_eq!(shown["data"][0]["waiting"], json!({"count": 7, "oldest": NOW}));
}

#[tokio::test]
async fn a_tenant_has_at_most_so_many_webhooks() {
    let api = Api::start_with(ManageLimits { webhooks_per_tenant: 2, ..ManageLimits::default() }).await;
    let key = api.tenant_with_key("acme", "trcker").await;
    let first = api.webhook(&key, json!({})).await;
    api.webhook(&key, json!({})).await;
    api.call(&key, "POST", "/v1/webhooks", Some(webhook_body(json!({})))).await.expect(409);
    api.call(&key, "DELETE", &format!("/v1/webhooks/{}", text(&first, "id")), None).await.expect(204);
    api.webhook(&key, json!({})).await;
}

#[tokio::test]
async fn profiles_event_types_and_egress_are_told() {
    let api = Api::start().await;
    let key = api.tenant_with_key("acme", "trcker").await;
    let profiles = api.call(&key, "GET", "/v1/profiles", None).await.expect(200);
    let names: Vec<_> =
        profiles["data"].as_array().expect("a list").iter().map(|one| text(one, "name")).collect();
    let platforms = ["track360", "trackdesk", "tracktile", "trakkr", "trcker"];
    assert_eq!(names, [&["cloudevents", "cloudevents-binary", "standard"][..], &platforms].concat());
    let one = api.call(&key, "GET", "/v1/profiles/trcker", None).await.expect(200);
    assert_eq!((&one["builtin"], text(&one["signature"], "header")), (&json!(true), "X-Trcker-Signature"));

    let types = api.call(&key, "GET", "/v1/event-types?limit=5", None).await.expect(200);
    let rest = format!("/v1/event-types?limit=5&cursor={}", text(&types, "next_cursor"));
    let rest = api.call(&key, "GET", &rest, None).await.expect(200);
    let listed = [&types, &rest].map(|page| page["data"].as_array().expect("a list").clone()).concat();
    let names: Vec<_> = listed.iter().map(|one| text(one, "type")).collect();
    assert_eq!(
        names,
        [
            "cap.reached",
            "conversion.approved",
            "conversion.created",
            "conversion.rejected",
            "fraud.high_risk",
            "partner.applied",
            "partner.approved",
            "partner.banned",
        ]
    );
    let one = api.call(&key, "GET", "/v1/event-types/conversion.created", None).await.expect(200);
    assert_eq!(one["schema"]["type"], "object");
    assert_eq!(text(&one, "version"), "1.0");
    let egress = api.call(&key, "GET", "/v1/egress", None).await.expect(200);
    assert_eq!(egress, json!({"addresses": ["192.0.2.7"]}));
}

#[tokio::test]
async fn while_the_store_is_away_nothing_is_decided_and_later_all_is_well() {
    let api = Api::start().await;
    let key = api.tenant_with_key("acme", "trcker").await;
    let made = api.webhook(&key, json!({})).await;
    let path = format!("/v1/webhooks/{}", text(&made, "id"));
    api.outage.begin("the disk is full");
    for (method, path, body) in [
        ("POST", "/v1/webhooks", Some(webhook_body(json!({})))),
        ("GET", "/v1/webhooks", None),
        ("GET", path.as_str(), None),
        ("PATCH", path.as_str(), Some(json!({"description": "x"}))),
        ("DELETE", path.as_str(), None),
    ] {
        let answer = api.call(&key, method, path, body).await;
        assert_eq!(answer.status.as_u16(), 503, "{method} {path}: {}", answer.text);
        assert!(answer.headers.contains_key("retry-after"));
        assert!(!answer.text.contains("disk"), "{}", answer.text);
    }
    api.outage.end();
    assert_eq!(api.call(&key, "GET", &path, None).await.expect(200), made);
}
