//! Every route with methods, keys, identifiers, queries and bytes that it does not take.

use anyhow::{Context, Result, ensure};
use postrider_tests::harness::postrider::ADMIN_KEY;
use postrider_tests::stage::text;

use super::invariants::{check_no_inside, check_refusal};
use super::scene::Scene;
use super::wire::{Wire, once, request};

/// Every route with the methods it has. `{w}`, `{t}`, `{e}`, `{d}` stand for identifiers.
const ROUTES: [(&str, &[&str]); 21] = [
    ("/v1/tenants", &["GET", "POST"]),
    ("/v1/tenants/{t}", &["GET", "PATCH", "DELETE"]),
    ("/v1/tenants/{t}/keys", &["GET", "POST"]),
    ("/v1/profiles", &["GET"]),
    ("/v1/profiles/standard", &["GET", "PUT", "DELETE"]),
    ("/v1/event-types", &["GET"]),
    ("/v1/event-types/order.paid", &["GET", "PUT", "DELETE"]),
    ("/v1/events", &["GET", "POST"]),
    ("/v1/events/batch", &["POST"]),
    ("/v1/webhooks", &["GET", "POST"]),
    ("/v1/webhooks/{w}", &["GET", "PATCH", "PUT", "DELETE"]),
    ("/v1/webhooks/{w}/rotate", &["POST"]),
    ("/v1/webhooks/{w}/test", &["POST"]),
    ("/v1/webhooks/{w}/pause", &["POST"]),
    ("/v1/webhooks/{w}/resume", &["POST"]),
    ("/v1/webhooks/{w}/deliveries", &["GET"]),
    ("/v1/webhooks/{w}/executions", &["GET"]),
    ("/v1/deliveries", &["GET"]),
    ("/v1/ledger", &["GET"]),
    ("/v1/egress", &["GET"]),
    ("/livez", &["GET"]),
];

const METHODS: [&str; 9] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW"];

/// Every list, and whether it takes the admin key.
const LISTS: [(&str, bool); 9] = [
    ("/v1/tenants", true),
    ("/v1/tenants/{t}/keys", true),
    ("/v1/webhooks", false),
    ("/v1/webhooks/{w}/deliveries", false),
    ("/v1/webhooks/{w}/executions", false),
    ("/v1/events", false),
    ("/v1/deliveries", false),
    ("/v1/profiles", false),
    ("/v1/event-types", false),
];

fn target(scene: &Scene, path: &str) -> String {
    path.replace("{w}", &scene.webhook).replace("{t}", &scene.tenant)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_method_that_a_route_does_not_have_is_refused_with_those_it_has() -> Result<()> {
    let scene = Scene::open().await?;
    let headers = [("Postrider-Tenant", scene.tenant.as_str()), ("Content-Type", "application/json")];
    let described = scene.ask_with(ADMIN_KEY, "PUT", "/v1/event-types/order.paid", &headers, b"{}").await?;
    ensure!(described.status == 201, "{described}");
    let before = scene.configured().await?;
    for (path, methods) in ROUTES {
        let path = target(&scene, path);
        let reads = methods.contains(&"GET");
        for method in METHODS.into_iter().filter(|method| !methods.contains(method)) {
            let reply =
                scene.ask_with(ADMIN_KEY, method, &path, &[("Postrider-Tenant", &scene.tenant)], b"").await;
            let reply = reply.with_context(|| format!("{method} {path}"))?;
            if method == "HEAD" {
                ensure!(
                    reply.status == if reads { 200 } else { 405 } && reply.body.is_empty(),
                    "HEAD {path}: {reply}"
                );
                continue;
            }
            ensure!([405, 404, 501].contains(&reply.status), "{method} {path}: {reply}");
            check_refusal(&reply).with_context(|| format!("{method} {path}"))?;
        }
    }
    ensure!(scene.configured().await? == before);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_cannot_be_is_refused_on_every_list() -> Result<()> {
    let scene = Scene::open().await?;
    let long = format!("cursor={}", "A".repeat(4000));
    let queries = [
        "limit=0",
        "limit=-1",
        "limit=1.5",
        "limit=201",
        "limit=",
        "limit=ten",
        "limit=1&limit=2",
        "limit=%31%00",
        "limit=99999999999999999999",
        "limit=0x10",
        "limit=+5%20",
        "cursor=",
        "cursor=%27%3B%20DROP%20TABLE%20attempts--",
        "cursor=AAAA",
        "cursor=null",
        "cursor=%ff%fe",
        "cursor=a&cursor=b",
        "order=password",
        "offset=1",
        "page=2",
        "LIMIT=5",
        "limit[]=5",
        "limit=5;drop",
        "=",
        "&&x",
        &long,
    ];
    for (path, is_admins) in LISTS {
        let path = target(&scene, path);
        let key = if is_admins { ADMIN_KEY } else { &scene.keys.all };
        let good = scene.ask_with(key, "GET", &format!("{path}?limit=200"), &[], b"").await?;
        ensure!(good.status == 200, "{path}: {good}");
        for query in queries {
            let reply = scene.ask_with(key, "GET", &format!("{path}?{query}"), &[], b"").await?;
            ensure!(reply.status == 400, "{path}?{query}: {reply}");
            check_refusal(&reply).with_context(|| format!("{path}?{query}"))?;
        }
        // Minted for another tenant's list of deliveries.
        let reply =
            scene.ask_with(key, "GET", &format!("{path}?cursor={}", scene.foreign.cursor), &[], b"").await?;
        ensure!(reply.status == 400, "{path}, another list's cursor: {reply}");
    }
    let filters = [
        "since=not-a-date",
        "since=1",
        "since=2020-01-01",
        "until=99999-01-01T00:00:00Z",
        "since=",
        "status=lost",
        "webhook_id=1",
        "webhook_id=evt_1",
        "event_id=",
        "code=abc",
        "code=99999",
        "kind=pigeon",
        "event_type=a..b",
        "status=failed&status=failed",
        "since=2020-01-01T00%3A00%3A00Z%00",
    ];
    for filter in filters {
        let reply = scene.ask("GET", &format!("/v1/deliveries?{filter}"), &[], b"").await?;
        ensure!(reply.status == 400, "{filter}: {reply}");
        check_refusal(&reply)?;
    }
    for window in
        ["since=x", "until=x", "limit=5", "since=2030-01-01T00:00:00Z&until=2020-01-01T00:00:00Z&x=1"]
    {
        let reply = scene.ask("GET", &format!("/v1/ledger?{window}"), &[], b"").await?;
        ensure!(reply.status == 400, "{window}: {reply}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_foreign_and_malformed_identifiers_look_alike() -> Result<()> {
    let scene = Scene::open().await?;
    let gone = serde_json::json!({"url": scene.receiver.url("/gone"), "events": ["x.y"]});
    let gone = text(&scene.api.post("/v1/webhooks", &gone).await?.require(201)?.json()?, "id")?;
    scene.api.delete(&format!("/v1/webhooks/{gone}")).await?.require(204)?;
    let foreign = &scene.foreign;
    let long = "a".repeat(3000);
    let unknown = ["wh_0", "x", "%00", "..%2f..", "'%20or%201=1", &foreign.tenant, "evt_0", "dlv_0", &long];
    let mut seen = std::collections::BTreeSet::new();
    let mut ask = async |method: &str, path: String, body: &str| -> Result<()> {
        let reply = scene.ask(method, &path, &[], body.as_bytes()).await?;
        ensure!(reply.status == 404, "{method} {path}: {reply}");
        check_refusal(&reply)?;
        seen.insert(reply.without_its_own());
        Ok(())
    };
    for id in unknown.into_iter().chain([foreign.webhook.as_str(), gone.as_str()]) {
        for (method, rest, body) in [
            ("GET", "", ""),
            ("PATCH", "", "{}"),
            ("PUT", "", "{}"),
            ("DELETE", "", ""),
            ("POST", "/rotate", "{}"),
            ("POST", "/pause", ""),
            ("POST", "/resume", ""),
            ("POST", "/test", ""),
            ("GET", "/deliveries", ""),
            ("GET", "/executions", ""),
        ] {
            ask(method, format!("/v1/webhooks/{id}{rest}"), body).await?;
        }
    }
    for id in unknown.into_iter().chain([foreign.event.as_str()]) {
        ask("GET", format!("/v1/events/{id}"), "").await?;
    }
    for id in unknown.into_iter().chain([foreign.delivery.as_str()]) {
        ask("GET", format!("/v1/deliveries/{id}"), "").await?;
    }
    ensure!(seen.len() == 1, "they can be told apart: {seen:#?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_do_not_open_look_alike() -> Result<()> {
    let scene = Scene::open().await?;
    let keys = &scene.keys;
    let long = "a".repeat(4000);
    let mut seen = std::collections::BTreeSet::new();
    let wrong = format!("{}x", &keys.all[..keys.all.len() - 1]);
    let values = [
        format!("Bearer {}", keys.revoked),
        format!("Bearer {}", keys.expired),
        format!("Bearer {wrong}"),
        format!("Bearer {}", &keys.all[..10]),
        "Bearer".to_owned(),
        "Bearer ".to_owned(),
        keys.all.clone(),
        "Basic dXNlcjpwYXNz".to_owned(),
        "Bearer \u{7f}".to_owned(),
        "Bearer é".to_owned(),
        format!("Bearer {long}"),
        format!("Bearer {} {}", keys.all, keys.all),
        format!("Bearer {},", keys.all),
        format!("Token {}", keys.all),
        format!("Bearer {}", keys.all.to_uppercase()),
    ];
    for value in values.iter() {
        let headers = [("Authorization".to_owned(), value.clone())];
        let reply = once(scene.server.address(), &request("GET", "/v1/webhooks", &headers, b""))
            .await?
            .context(value.clone())?;
        if reply.status == 401 {
            seen.insert(reply.without_its_own());
        }
        ensure!([400, 401].contains(&reply.status), "{value}: {reply}");
        check_refusal(&reply).with_context(|| value.clone())?;
    }
    let twice = vec![("Authorization".to_owned(), format!("Bearer {}", keys.all)); 2];
    let reply =
        once(scene.server.address(), &request("GET", "/v1/webhooks", &twice, b"")).await?.context("twice")?;
    ensure!([400, 401].contains(&reply.status), "twice: {reply}");
    ensure!(seen.len() == 1, "they can be told apart: {seen:#?}");
    // A scope is not enough, an admin's route is not a tenant's, a tenant cannot act for another.
    let body = br#"{"type":"a.b","data":{}}"#;
    for (key, method, path, body) in [
        (&keys.read_only, "POST", "/v1/events", &body[..]),
        (&keys.read_only, "POST", "/v1/webhooks", b"{}"),
        (&keys.publish_only, "GET", "/v1/webhooks", b""),
        (&keys.publish_only, "GET", "/v1/deliveries", b""),
        (&keys.all, "GET", "/v1/tenants", b""),
        (&keys.all, "POST", "/v1/tenants", b"{}"),
    ] {
        let reply = scene.ask_with(key, method, path, &[], body).await?;
        ensure!([403, 404].contains(&reply.status), "{method} {path}: {reply}");
        check_refusal(&reply)?;
    }
    let reply = scene.ask("GET", "/v1/webhooks", &[("Postrider-Tenant", &scene.foreign.tenant)], b"").await?;
    // The header is for the admin key; with a tenant's own key it lends nothing.
    let is_own =
        reply.status == 200 && !String::from_utf8_lossy(&reply.body).contains(&scene.foreign.webhook);
    ensure!(is_own || [400, 403, 404].contains(&reply.status), "another tenant named: {reply}");
    for tenant in ["", "tnt_unknown", "%00", "é", "a b"] {
        let reply =
            scene.ask_with(ADMIN_KEY, "GET", "/v1/webhooks", &[("Postrider-Tenant", tenant)], b"").await?;
        ensure!((400..500).contains(&reply.status), "{tenant:?}: {reply}");
        check_refusal(&reply)?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_are_not_http_harm_nobody() -> Result<()> {
    let scene = Scene::open().await?;
    let key = &scene.keys.all;
    let head = format!("Host: h\r\nAuthorization: Bearer {key}\r\n");
    let odd = [
        "\r\n\r\n\r\n".to_owned(),
        "\0\0\0\0\r\n\r\n".to_owned(),
        "GET\r\n\r\n".to_owned(),
        "GET /\r\n\r\n".to_owned(),
        format!("GET /v1/webhooks HTTP/9.9\r\n{head}\r\n"),
        format!("GET  /v1/webhooks HTTP/1.1\r\n{head}\r\n"),
        format!("GET /v1/webhooks HTTP/1.1\r\n{head}Host: two\r\n\r\n"),
        format!("GET /v1/webhooks HTTP/1.1\r\n{head}X : 1\r\n\r\n"),
        format!("GET /v1/webhooks HTTP/1.1\r\n{head}X: 1\r\n 2\r\n\r\n"),
        format!("GET /v1/webhooks HTTP/1.1\r\n{head}X: a\0b\r\n\r\n"),
        format!("POST /v1/events HTTP/1.1\r\n{head}Content-Length: -1\r\n\r\n"),
        format!("POST /v1/events HTTP/1.1\r\n{head}Content-Length: 1e3\r\n\r\n"),
        format!("POST /v1/events HTTP/1.1\r\n{head}Content-Length: 99999999999999999999999\r\n\r\n"),
        format!("POST /v1/events HTTP/1.1\r\n{head}Content-Length: 3\r\nContent-Length: 4\r\n\r\nabc"),
        format!("POST /v1/events HTTP/1.1\r\n{head}Transfer-Encoding: gzip\r\n\r\nabc"),
        format!(
            "POST /v1/events HTTP/1.1\r\n{head}Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nabc\r\n0\r\n\r\n"
        ),
        format!(
            "POST /v1/events HTTP/1.1\r\n{head}Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff1\r\nabc"
        ),
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(),
        format!("CONNECT example.com:443 HTTP/1.1\r\n{head}\r\n"),
        "\u{16}\u{3}\u{1}\u{2}\0\u{1}\0\u{1}\u{fc}\u{3}\u{3}\r\n\r\n".to_owned(),
    ];
    for bytes in odd {
        let mut wire = Wire::open(scene.server.address()).await?;
        if let Some(reply) = wire.exchange(bytes.as_bytes()).await.with_context(|| bytes.clone())? {
            ensure!(
                (400..500).contains(&reply.status) || [501, 505].contains(&reply.status),
                "{bytes:?}: {reply}"
            );
            check_no_inside(&reply)?;
        }
        scene.publish_good().await.with_context(|| bytes.clone())?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_in_one_write_are_answered_in_their_order() -> Result<()> {
    let scene = Scene::open().await?;
    let headers = vec![
        ("Authorization".to_owned(), format!("Bearer {}", scene.keys.all)),
        ("Content-Type".to_owned(), "application/json".to_owned()),
    ];
    let event = |body: &str| request("POST", "/v1/events", &headers, body.as_bytes());
    let good = r#"{"type":"a.b","data":{}}"#;
    let all = [event(good), event("{"), event(good), event(r#"{"type":1}"#), event(good)].concat();
    let mut wire = Wire::open(scene.server.address()).await?;
    wire.write(&all).await;
    for expected in [202, 400, 202, 422, 202] {
        let reply = wire.read().await?.context("no answer")?;
        ensure!(reply.status == expected, "wanted {expected}: {reply}");
    }
    Ok(())
}
