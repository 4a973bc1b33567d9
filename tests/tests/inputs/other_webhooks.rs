//! Webhooks, tenants and keys with members of every wrong kind.

use anyhow::{Context, Result, ensure};
use postrider_tests::harness::postrider::ADMIN_KEY;
use serde_json::{Value, json};

use super::invariants::check_refusal;
use super::scene::Scene;

/// Every member of a webhook that may be written.
const MEMBERS: [&str; 23] = [
    "name",
    "kind",
    "url",
    "events",
    "on",
    "tenant_id",
    "brand_id",
    "profile",
    "status",
    "headers",
    "auth_type",
    "auth_token",
    "auth_username",
    "auth_password",
    "api_key_header",
    "api_key_value",
    "secret",
    "signing_secret",
    "rate_limit_per_second",
    "max_in_flight",
    "timeout_ms",
    "retry",
    "metadata",
];

#[tokio::test(flavor = "multi_thread")]
async fn a_member_of_a_wrong_kind_is_named_and_nothing_changes() -> Result<()> {
    let scene = Scene::open().await?;
    let path = format!("/v1/webhooks/{}", scene.webhook);
    let before = scene.api.get(&path).await?.require(200)?.json()?;
    let long = "x".repeat(20_000);
    let deep = (0..40).fold(json!(1), |inner, _| json!([inner]));
    let wrong = [
        json!(true),
        json!(-1),
        json!(0),
        json!(1.5),
        json!(1e300),
        json!(18_446_744_073_709_551_615_u64),
        json!(""),
        json!(long),
        json!("\u{0}"),
        json!("a\r\nb"),
        json!([]),
        json!([1]),
        json!([null]),
        json!([""]),
        json!({"": ""}),
        json!({"a": 1}),
        json!({"a": {"b": 1}}),
        json!({"waits": []}),
        json!({"waits": ["x"]}),
        json!({"waits": [5]}),
        json!({"waits": vec!["1s"; 100]}),
        deep,
    ];
    for method in ["PATCH", "PUT"] {
        for member in MEMBERS {
            for value in &wrong {
                let body = json!({ member: value }).to_string();
                let reply = scene.ask(method, &path, &[], body.as_bytes()).await?;
                let short: String = body.chars().take(80).collect();
                if reply.status == 200 {
                    // What happens to be right for this member is undone, so that the next case begins the same.
                    ensure!(is_harmless(member, value), "{method} {short} was accepted: {reply}");
                    continue;
                }
                ensure!(reply.status == 422, "{method} {short}: {reply}");
                check_refusal(&reply).with_context(|| short.clone())?;
                let pointer = reply.json()?["errors"][0]["pointer"].as_str().unwrap_or_default().to_owned();
                ensure!(is_about(member, &pointer), "{method} {short} names {pointer:?}: {reply}");
            }
        }
    }
    let after = scene.api.get(&path).await?.require(200)?.json()?;
    for member in ["url", "events", "kind", "tenant_id", "status", "auth_type"] {
        ensure!(after[member] == before[member], "{member}: {before} became {after}");
    }
    Ok(())
}

/// Some wrong-looking values are right for some members.
fn is_harmless(member: &str, value: &Value) -> bool {
    match member {
        "name" | "description" => value.is_string(),
        "metadata" | "headers" => {
            value.as_object().is_some_and(|members| members.values().all(Value::is_string))
        }
        "rate_limit_per_second" | "max_in_flight" => value.as_u64().is_some_and(|number| number > 0),
        "secret" | "signing_secret" => {
            value.as_str().is_some_and(|text| text.len() > 20 && text.len() <= 500)
        }
        "retry" => value["waits"].as_array().is_some_and(Vec::is_empty),
        _ => false,
    }
}

fn is_about(member: &str, pointer: &str) -> bool {
    let ours = match member {
        "signing_secret" => "secret",
        "brand_id" => "tenant_id",
        other => other,
    };
    let begins = |name: &str| pointer == format!("/{name}") || pointer.starts_with(&format!("/{name}/"));
    // A part of an authentication may be refused for the part that is missing.
    begins(member)
        || begins(ours)
        || (is_authentication(member)
            && [
                "auth_type",
                "auth_token",
                "auth_username",
                "auth_password",
                "api_key_header",
                "api_key_value",
            ]
            .into_iter()
            .any(begins))
}

fn is_authentication(member: &str) -> bool {
    member.starts_with("auth_") || member.starts_with("api_key_")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_header_that_would_speak_for_us_is_refused() -> Result<()> {
    let scene = Scene::open().await?;
    let before = scene.configured().await?;
    let long = "x".repeat(5_000);
    let names = [
        "Host",
        "host",
        "HOST",
        "Connection",
        "Keep-Alive",
        "Content-Length",
        "content-type",
        "Content-Encoding",
        "Transfer-Encoding",
        "TE",
        "Trailer",
        "Upgrade",
        "Expect",
        "Proxy-Authorization",
        "proxy-connection",
        "webhook-id",
        "Webhook-Timestamp",
        "WEBHOOK-SIGNATURE",
        "Metadata-Flavor",
        "metadata",
        "X-aws-ec2-metadata-token",
        "X-aws-ec2-metadata-token-ttl-seconds",
        "",
        " ",
        "X A",
        "X:A",
        "X\r\nY",
        "X\n",
        "X\0",
        "é",
        "X-A ",
        " X-A",
        "(X)",
        "X\"",
        "X,Y",
        "X/Y",
        "X@Y",
        ":authority",
        &long,
    ];
    for name in names {
        let body = json!({"url": scene.receiver.url("/x"), "events": ["a.b"], "headers": {name: "1"}});
        refused_at(&scene, &body, "/headers").await.with_context(|| format!("{name:?}"))?;
    }
    for value in ["a\r\nX: 1", "a\n", "\r", "a\0b", "\u{7f}", "\u{1}", "é", "\u{202e}", " ", "", &long] {
        let body = json!({"url": scene.receiver.url("/x"), "events": ["a.b"], "headers": {"X-A": value}});
        refused_at(&scene, &body, "/headers").await.with_context(|| format!("{value:?}"))?;
    }
    let many: serde_json::Map<String, Value> =
        (0..21).map(|number| (format!("X-{number}"), json!("v"))).collect();
    refused_at(
        &scene,
        &json!({"url": scene.receiver.url("/x"), "events": ["a.b"], "headers": many}),
        "/headers",
    )
    .await?;
    let twice =
        json!({"url": scene.receiver.url("/x"), "events": ["a.b"], "headers": {"X-A": "1", "x-a": "2"}});
    refused_at(&scene, &twice, "/headers").await?;
    ensure!(scene.configured().await? == before);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_type_that_no_event_can_have_is_refused() -> Result<()> {
    let scene = Scene::open().await?;
    let before = scene.configured().await?;
    let long = "a".repeat(200);
    for events in [
        json!([]),
        json!("a.b"),
        json!(null),
        json!([""]),
        json!(["a..b"]),
        json!([".a"]),
        json!(["a."]),
        json!(["*.a"]),
        json!(["a*"]),
        json!(["a.*.b"]),
        json!(["**"]),
        json!(["a.**"]),
        json!(["(a+)+$"]),
        json!(["a b"]),
        json!(["a\nb"]),
        json!(["ä.b"]),
        json!(["a.\u{0}"]),
        json!(["a.b", ""]),
        json!([["a.b"]]),
        json!([long]),
        json!((0..10_001).map(|n| format!("t{n}.x")).collect::<Vec<_>>()),
    ] {
        let pointer = "/events";
        let body = json!({"url": scene.receiver.url("/x"), "events": events});
        refused_at(&scene, &body, pointer)
            .await
            .with_context(|| events.to_string().chars().take(80).collect::<String>())?;
    }
    refused_at(&scene, &json!({"url": scene.receiver.url("/x")}), "/events").await?;
    refused_at(&scene, &json!({"events": ["a.b"]}), "/url").await?;
    refused_at(&scene, &json!({"url": scene.receiver.url("/x"), "events": ["a.b"], "on": "a.b"}), "/on")
        .await?;
    ensure!(scene.configured().await? == before);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_or_a_key_that_is_not_right_is_not_made() -> Result<()> {
    let scene = Scene::open().await?;
    let before = scene.configured().await?;
    let keys = format!("/v1/tenants/{}/keys", scene.tenant);
    let long = "n".repeat(5_000);
    for (path, body) in [
        ("/v1/tenants", json!({})),
        ("/v1/tenants", json!({"name": ""})),
        ("/v1/tenants", json!({"name": 1})),
        ("/v1/tenants", json!({"name": long})),
        ("/v1/tenants", json!({"name": "a\u{0}b"})),
        ("/v1/tenants", json!({"name": "a", "id": ""})),
        ("/v1/tenants", json!({"name": "a", "id": "a b"})),
        ("/v1/tenants", json!({"name": "a", "id": "é"})),
        ("/v1/tenants", json!({"name": "a", "id": "../x"})),
        ("/v1/tenants", json!({"name": "a", "id": long})),
        ("/v1/tenants", json!({"name": "a", "profile": "nosuch"})),
        ("/v1/tenants", json!({"name": "a", "profile": 1})),
        ("/v1/tenants", json!({"name": "a", "profile": "../standard"})),
        ("/v1/tenants", json!({"name": "a", "schema_check": "maybe"})),
        ("/v1/tenants", json!({"name": "a", "website": "javascript:alert(1)"})),
        ("/v1/tenants", json!({"name": "a", "admin": true})),
        ("/v1/tenants", json!([])),
        ("/v1/tenants", json!(null)),
        (&keys, json!({})),
        (&keys, json!({"name": "k"})),
        (&keys, json!({"name": "k", "scopes": []})),
        (&keys, json!({"name": "k", "scopes": ["admin"]})),
        (&keys, json!({"name": "k", "scopes": "read"})),
        (&keys, json!({"name": "k", "scopes": ["read"], "expires_at": "yesterday"})),
        (&keys, json!({"name": "k", "scopes": ["read"], "expires_at": "2001-01-01T00:00:00Z"})),
        (&keys, json!({"name": "k", "scopes": ["read"], "expires_at": 1})),
        (&keys, json!({"name": "k", "scopes": ["read"], "key": "mine"})),
    ] {
        let reply = scene.ask_with(ADMIN_KEY, "POST", path, &[], body.to_string().as_bytes()).await?;
        ensure!(reply.status == 422, "{path} {body}: {reply}");
        check_refusal(&reply)?;
    }
    ensure!(scene.configured().await? == before, "something was made");
    Ok(())
}

async fn refused_at(scene: &Scene, body: &Value, pointer: &str) -> Result<()> {
    let reply = scene.ask("POST", "/v1/webhooks", &[], body.to_string().as_bytes()).await?;
    ensure!(reply.status == 422, "{reply}");
    check_refusal(&reply)?;
    let found = reply.json()?["errors"][0]["pointer"].as_str().unwrap_or_default().to_owned();
    ensure!(found.starts_with(pointer), "names {found:?}: {reply}");
    Ok(())
}
