//! Templates: saved as they were written, refused with their place, removed by `null`; and bodies of a form of their own
//! under profiles that send none such.

use serde_json::json;

use super::fixture::{ADMIN, Api, text, webhook_body};
use crate::ManageLimits;

#[tokio::test]
async fn a_template_is_kept_as_it_was_written_until_it_is_removed() {
    let api = Api::start().await;
    let key = api.tenant_with_key("acme", "trakkr").await;
    let written = r#"{ "text": "Alert: {{brand.name}}", "big": 12345678901234567890123.50, "z": 1, "a": "{{event.data.n}}" }"#;
    let body = format!(r#"{{"url": "https://example.com/", "on": "a.b", "template": {written}}}"#);
    let answer = api.call_text(&key, "POST", "/v1/webhooks", Some(body)).await;
    assert_eq!(answer.status.as_u16(), 201, "{}", answer.text);
    assert!(
        answer.text.contains(&format!(r#""template":{written},"template_typed":false"#)),
        "{}",
        answer.text
    );
    let path = format!("/v1/webhooks/{}", text(&answer.json(), "id"));

    let other = api.call(&key, "PATCH", &path, Some(json!({"name": "other"}))).await;
    assert!(
        other.text.contains(&format!(r#""template":{written},"template_typed":false"#)),
        "{}",
        other.text
    );
    let typed = api.call(&key, "PUT", &path, Some(json!({"template_typed": true}))).await;
    assert!(typed.text.contains(&format!(r#""template":{written},"template_typed":true"#)), "{}", typed.text);
    let again = api.call(&key, "PUT", &path, Some(json!({"template": ["{{summary}}"]}))).await.expect(200);
    assert_eq!((&again["template"], &again["template_typed"]), (&json!(["{{summary}}"]), &json!(true)));

    let removed = api.call(&key, "PATCH", &path, Some(json!({"template": null}))).await.expect(200);
    assert_eq!((&removed["template"], &removed["template_typed"]), (&json!(null), &json!(false)));
    let refused = api.call(&key, "PATCH", &path, Some(json!({"template_typed": true}))).await;
    assert_eq!((refused.status.as_u16(), refused.pointers()), (422, vec!["/template_typed".to_owned()]));
}

#[tokio::test]
async fn a_template_may_be_given_as_a_string_and_is_refused_with_its_place_either_way() {
    let api = Api::start().await;
    let key = api.tenant_with_key("acme", "standard").await;
    let body = webhook_body(json!({"template": r#"{"n": "{{event.data.n}}"}"#, "template_typed": true}));
    let made = api.call(&key, "POST", "/v1/webhooks", Some(body)).await.expect(201);
    assert_eq!(made["template"], json!({"n": "{{event.data.n}}"}));
    for (template, pointer, detail) in [
        (
            json!(r#"{"a": ["é {{nobody}}"]}"#),
            "/template",
            "\"nobody\" at character 3 is not known; known here: brand.id",
        ),
        (json!(r#"{"a": ["é {{nobody}}"]}"#), "/template", "(at /a/0)"),
        (json!({"a": ["é {{nobody}}"]}), "/template/a/0", "\"nobody\" at character 3 is not known"),
        (json!("{\n  \"a\": {{summary}}\n}"), "/template", "not valid JSON at line 2, column 9"),
        (json!({"a": "{{summary"}), "/template/a", "the {{ at character 1 is never closed"),
    ] {
        let answer =
            api.call(&key, "POST", "/v1/webhooks", Some(webhook_body(json!({"template": template})))).await;
        assert_eq!(answer.status.as_u16(), 422, "{template}: {}", answer.text);
        assert_eq!(answer.pointers(), [pointer], "{template}");
        let said = answer.json()["errors"][0]["detail"].as_str().unwrap_or_default().to_owned();
        assert!(said.contains(detail), "{template}: {said}");
    }
}

#[tokio::test]
async fn the_templates_and_filters_of_a_tenant_have_so_many_bytes_together() {
    let limits = ManageLimits { template_bytes_per_tenant: 1_000, ..ManageLimits::default() };
    let api = Api::start_with(limits).await;
    let (key, other) =
        (api.tenant_with_key("acme", "standard").await, api.tenant_with_key("other", "standard").await);
    let template = |bytes: usize| json!({"template": ["x".repeat(bytes - 4)]});
    let filter = |bytes: usize| json!({"filter": {"field": "a", "equals": "x".repeat(bytes - 25)}});
    let made = api.webhook(&key, template(500)).await;
    let path = format!("/v1/webhooks/{}", text(&made, "id"));
    api.webhook(&key, filter(400)).await;
    for (more, pointer) in [(template(101), "/template"), (filter(101), "/filter")] {
        let refused = api.call(&key, "POST", "/v1/webhooks", Some(webhook_body(more.clone()))).await;
        assert_eq!((refused.status.as_u16(), refused.pointers()), (422, vec![pointer.to_owned()]));
        assert!(refused.text.contains("may have 1000 bytes together"), "{}", refused.text);
        api.webhook(&other, more).await;
    }
    api.call(&key, "PATCH", &path, Some(template(601))).await.expect(422);
    api.call(&key, "PATCH", &path, Some(template(600))).await.expect(200);
    api.webhook(&key, json!({})).await;
    // What takes nothing more may be said, and what takes less gives room again.
    api.call(&key, "PATCH", &path, Some(json!({"name": "full"}))).await.expect(200);
    api.call(&key, "PATCH", &path, Some(template(499))).await.expect(200);
    api.webhook(&key, filter(101)).await;
}

/// What it would be sent as is not what it is: a chat would refuse it, and so would who reads CloudEvents.
#[tokio::test]
async fn a_body_of_its_own_form_is_refused_where_the_profile_sends_something_else_than_json() {
    let api = Api::start().await;
    let key = api.tenant_with_key("acme", "cloudevents").await;
    let slack = json!({"url": "https://hooks.slack.com/services/T0/B0/x"});
    let template = json!({"template": {"text": "{{summary}}"}});
    for (more, pointer) in [(&slack, "/provider"), (&template, "/template")] {
        let answer = api.call(&key, "POST", "/v1/webhooks", Some(webhook_body(more.clone()))).await;
        assert_eq!((answer.status.as_u16(), answer.pointers()), (422, vec![pointer.to_owned()]), "{more}");
        let mut body = webhook_body(more.clone());
        body["profile"] = json!("cloudevents-binary");
        api.call(&key, "POST", "/v1/webhooks", Some(body)).await.expect(201);
    }
    let plain = json!({"url": "https://hooks.slack.com/services/T0/B0/x", "provider": "webhook"});
    api.call(&key, "POST", "/v1/webhooks", Some(webhook_body(plain))).await.expect(201);
}

#[tokio::test]
async fn a_chat_is_written_to_by_post_alone_and_no_profile_may_change_that_under_it() {
    let api = Api::start().await;
    let form = |request: serde_json::Value| json!({"request": request, "envelope": {"body": "{}"}, "retry": {"waits": []}});
    let put = |request| api.call(ADMIN, "PUT", "/v1/profiles/own", Some(form(request)));
    let json_by = |method: &str| json!({"method": method, "content_type": "Application/JSON; charset=utf-8"});
    put(json_by("PUT")).await.expect(201);
    let key = api.tenant_with_key("acme", "own").await;
    let templated = api.webhook(&key, json!({"template": {"text": "{{summary}}"}})).await;
    let slack = webhook_body(json!({"url": "https://hooks.slack.com/services/T0/B0/x"}));
    let refused = api.call(&key, "POST", "/v1/webhooks", Some(slack.clone())).await;
    assert_eq!(refused.pointers(), ["/provider"]);
    put(json_by("POST")).await.expect(200);
    let chat = api.call(&key, "POST", "/v1/webhooks", Some(slack)).await.expect(201);
    let refused = put(json_by("PUT")).await.expect(422);
    assert!(refused.to_string().contains(text(&chat, "id")), "{refused}");
    // The first that does not fit is named: the other must be gone for this one to be.
    api.call(&key, "DELETE", &format!("/v1/webhooks/{}", text(&chat, "id")), None).await.expect(204);
    for content_type in ["application/vnd.acme+json", "application/json; event=${event.type}"] {
        let refused = put(json!({"content_type": content_type})).await.expect(422);
        assert!(refused.to_string().contains(text(&templated, "id")), "{content_type}: {refused}");
    }
    let moved = api.call(ADMIN, "PATCH", "/v1/tenants/acme", Some(json!({"profile": "cloudevents"}))).await;
    assert_eq!((moved.status.as_u16(), moved.pointers()), (422, vec!["/profile".to_owned()]));
}
