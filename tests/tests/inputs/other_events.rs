//! Events of every wrong form, and right ones at the very limits.

use anyhow::{Context, Result, ensure};
use postrider_tests::stage::{SOON, text};
use serde_json::json;

use super::cases::{MAX_BATCH, MAX_BODY};
use super::invariants::check_refusal;
use super::scene::Scene;
use super::wire::{Wire, once};

const EVENTS: &str = "/v1/events";

#[tokio::test(flavor = "multi_thread")]
async fn an_event_of_a_wrong_form_is_refused_by_its_field() -> Result<()> {
    let scene = Scene::open().await?;
    let long = "a".repeat(129);
    let texts = [
        (400, "".to_owned()),
        (400, " ".to_owned()),
        (400, "nul".to_owned()),
        (400, "{}{}".to_owned()),
        (400, "{\"type\":\"a.b\",\"data\":{}},".to_owned()),
        (400, "{\"type\":\"a.b\",\"data\":{}}\0".to_owned()),
        (400, "{\"type\":\"a.b\",\"data\":{\"n\":01}}".to_owned()),
        (400, "{\"type\":\"a.b\",\"data\":{\"n\":NaN}}".to_owned()),
        (400, "{\"type\":\"a.b\",\"data\":{\"n\":+1}}".to_owned()),
        (400, "{\"type\":\"a.b\",\"data\":{\"n\":1,}}".to_owned()),
        (400, "{\"type\":\"a.b\",\"data\":{\"s\":\"a\nb\"}}".to_owned()),
        (400, "{\"type\":\"a.b\",\"data\":{\"s\":\"\\u12\"}}".to_owned()),
        (400, "{type:\"a.b\"}".to_owned()),
        (422, "[]".to_owned()),
        (422, "1".to_owned()),
        (422, "\"x\"".to_owned()),
        (422, "true".to_owned()),
        (422, "{}".to_owned()),
        (422, "{\"type\":\"a.b\",\"data\":[]}".to_owned()),
        (422, "{\"type\":\"a.b\",\"data\":null}".to_owned()),
        (422, "{\"type\":\"a.b\",\"data\":1}".to_owned()),
        (422, "{\"type\":1,\"data\":{}}".to_owned()),
        (422, "{\"type\":[\"a.b\"],\"data\":{}}".to_owned()),
        (422, "{\"data\":{}}".to_owned()),
        (422, "{\"type\":\"a.b\",\"type\":\"c.d\",\"data\":{}}".to_owned()),
        (422, "{\"type\":\"a.b\",\"data\":{},\"extra\":1}".to_owned()),
        (422, format!("{{\"type\":\"{long}\",\"data\":{{}}}}")),
    ];
    for (status, body) in &texts {
        refused(&scene, body.as_bytes(), *status).await?;
    }
    for kind in [
        "a b",
        "a.*",
        "*",
        ".a",
        "a.",
        "a..b",
        "a\\nb",
        "\\u0000",
        "ä.b",
        "a/b",
        "a.b\\u202e",
        " a.b",
        "a.b ",
        "\\ud800",
    ] {
        let body = format!("{{\"type\":\"{kind}\",\"data\":{{}}}}");
        let reply = scene.ask("POST", EVENTS, &[], body.as_bytes()).await?;
        ensure!([400, 422].contains(&reply.status), "{body}: {reply}");
        check_refusal(&reply)?;
    }
    // Not UTF-8; and other encodings of it.
    for body in [
        &b"{\"type\":\"a.b\",\"data\":{\"s\":\"\xff\"}}"[..],
        b"{\"type\":\"a.b\",\"data\":{\"s\":\"\xc0\x80\"}}",
        b"\xff\xfe{\0}\0",
        b"\x1f\x8b\x08\0",
    ] {
        refused(&scene, body, 400).await?;
    }
    let (events, _) = scene.settled_events().await?;
    ensure!(events.is_empty(), "refused and yet in the log: {events:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_of_an_event_that_is_wrong_is_named() -> Result<()> {
    let scene = Scene::open().await?;
    for (member, values) in [
        ("id", json!([1, "", "a b", "é", "x\u{0}", "../..", true, {}, [], "a".repeat(129)])),
        (
            "timestamp",
            json!([
                1,
                "",
                "now",
                "2026-13-01T00:00:00Z",
                "2026-02-30T00:00:00Z",
                "99999-01-01T00:00:00Z",
                "-1",
                true,
                [],
                {}
            ]),
        ),
        ("schema_version", json!([1, "", "x", "1", "1.x", "-1.0", "1.0.0", "99999999999.0", true, [], {}])),
        ("summary", json!([1, true, [], {}, "s".repeat(2_001)])),
        ("workflow", json!([1, true, [], "x"])),
        ("webhook_ids", json!(["wh_1", 1, {}, [1], [""], ["evt_1"], [null]])),
        ("tenant_id", json!(["tnt_1"])),
        ("created_at", json!(["2026-01-01T00:00:00Z"])),
    ] {
        for value in values.as_array().context("a list")? {
            let mut event = json!({"type": "a.b", "data": {}});
            event[member] = value.clone();
            let reply = refused(&scene, event.to_string().as_bytes(), 422).await?;
            let pointer = text(&reply["errors"][0], "pointer")?;
            ensure!(pointer.is_empty() || pointer.starts_with(&format!("/{member}")), "{member}: {reply}");
        }
    }
    let (events, _) = scene.settled_events().await?;
    ensure!(events.is_empty(), "refused and yet in the log: {events:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_allowed_is_allowed_to_the_last_byte() -> Result<()> {
    let scene = Scene::open().await?;
    let frame = r#"{"type":"a.b","data":{"s":""}}"#.len();
    let sized = |size: usize| format!(r#"{{"type":"a.b","data":{{"s":"{}"}}}}"#, "x".repeat(size - frame));
    let nested = |depth: usize| {
        format!(r#"{{"type":"a.b","data":{{"a":{}{}}}}}"#, "[".repeat(depth - 2), "]".repeat(depth - 2))
    };
    let mut accepted = 0;
    for (body, status) in [
        (sized(MAX_BODY), 202),
        (sized(MAX_BODY + 1), 413),
        (nested(64), 202),
        (nested(65), 400),
        (format!(r#"{{"type":"{}","data":{{}}}}"#, "a".repeat(128)), 202),
        (format!(r#"{{"type":"a.b","data":{{}},"id":"{}"}}"#, "i".repeat(128)), 202),
        (format!(r#"{{"type":"a.b","data":{{}},"summary":"{}"}}"#, "é".repeat(1_000)), 202),
        (r#" {"data":{"\ud83d\ude00":"\u0000","a":1,"a":2,"n":-0.0e-0},"type":"a.b"} "#.to_owned(), 202),
    ] {
        let reply = scene.ask("POST", EVENTS, &[], body.as_bytes()).await?;
        let short: String = body.chars().take(60).collect();
        ensure!(reply.status == status, "{short} of {} bytes: {reply}", body.len());
        accepted += usize::from(reply.status == 202);
        if reply.status != 202 {
            check_refusal(&reply)?;
        }
    }
    let item = r#"{"type":"a.b","data":{}}"#;
    for (count, status) in [(1, 202), (MAX_BATCH, 202), (MAX_BATCH + 1, 413)] {
        for (kind, body) in [
            ("application/json", format!("[{}]", vec![item; count].join(","))),
            ("application/x-ndjson", vec![item; count].join("\n")),
        ] {
            let reply =
                scene.ask("POST", "/v1/events/batch", &[("Content-Type", kind)], body.as_bytes()).await?;
            let is_right =
                reply.status == status || (status != 202 && [400, 413, 422].contains(&reply.status));
            ensure!(is_right, "a batch of {count} as {kind}: {reply}");
            accepted += if reply.status == 202 { count } else { 0 };
        }
    }
    let requests = scene.receiver.wait_for_requests("/own", accepted, SOON * 2).await?;
    let (events, ledger) = scene.settled_events().await?;
    ensure!(
        requests.len() == accepted && events.len() == accepted,
        "{} of {accepted}: {ledger}",
        events.len()
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_says_of_each_item_what_became_of_it() -> Result<()> {
    let scene = Scene::open().await?;
    let good = r#"{"type":"a.b","data":{}}"#;
    let lines = format!("{good}\n{{\n\n{good}\r\nnull\n{{\"type\":\"\"}}\n{good}");
    let reply = scene
        .ask("POST", "/v1/events/batch", &[("Content-Type", "application/x-ndjson")], lines.as_bytes())
        .await?;
    ensure!(reply.status == 202, "{reply}");
    let answer = reply.json()?;
    ensure!(answer["accepted"] == 3 && answer["rejected"] == 3, "{answer}");
    let have_ids: Vec<bool> = answer["results"]
        .as_array()
        .context("no results")?
        .iter()
        .map(|result| result["id"].is_string())
        .collect();
    ensure!(have_ids == [true, false, true, false, false, true], "{answer}");
    for body in ["{}", "null", "[", "[1,", "\"x\"", "[[]]x"] {
        let reply = scene.ask("POST", "/v1/events/batch", &[], body.as_bytes()).await?;
        ensure!([400, 422].contains(&reply.status), "{body}: {reply}");
        check_refusal(&reply)?;
    }
    let (events, _) = scene.settled_events().await?;
    ensure!(events.len() == 3, "{events:?}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_is_judged_by_what_it_says_it_is() -> Result<()> {
    let scene = Scene::open().await?;
    let good = br#"{"type":"a.b","data":{}}"#;
    for kind in [
        "text/plain",
        "application/xml",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "",
        "json",
        "*/*",
        "application/json; charset=utf-16",
        "application/json, text/plain",
        "application/jsonx",
        "application/x-ndjson",
    ] {
        let reply = scene.ask("POST", EVENTS, &[("Content-Type", kind)], good).await?;
        ensure!([400, 415].contains(&reply.status), "{kind:?}: {reply}");
        check_refusal(&reply)?;
    }
    for coding in ["gzip", "br", "deflate", "zstd", "gzip, gzip", "identity, gzip", "é"] {
        let reply = scene.ask("POST", EVENTS, &[("Content-Encoding", coding)], good).await?;
        ensure!([400, 415].contains(&reply.status), "{coding:?}: {reply}");
        check_refusal(&reply)?;
    }
    for key in ["", " ", "é", &"k".repeat(256), &"k".repeat(10_000), "a\u{7f}b"] {
        let reply = scene.ask("POST", EVENTS, &[("Idempotency-Key", key)], good).await?;
        ensure!([400, 422].contains(&reply.status), "{key:?}: {reply}");
        check_refusal(&reply)?;
    }
    let twice =
        scene.ask("POST", EVENTS, &[("Idempotency-Key", "a"), ("Idempotency-Key", "b")], good).await?;
    ensure!([400, 422].contains(&twice.status), "two keys: {twice}");
    let (events, _) = scene.settled_events().await?;
    ensure!(events.is_empty(), "refused and yet in the log: {events:?}");
    let kinds = [
        "application/json",
        "APPLICATION/JSON",
        "application/json;charset=utf-8",
        "application/json; charset=\"UTF-8\"",
    ];
    for kind in kinds {
        let reply = scene.ask("POST", EVENTS, &[("Content-Type", kind)], good).await?;
        ensure!(reply.status == 202, "{kind}: {reply}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_in_chunks_is_one_body_and_has_the_same_limit() -> Result<()> {
    let scene = Scene::open().await?;
    let head = format!(
        "POST {EVENTS} HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {}\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n",
        scene.keys.all
    );
    let good =
        format!("{head}b;x=y\r\n{{\"type\":\"a.\r\nd\r\nb\",\"data\":{{}}}}\r\n0\r\nX-Trailer: 1\r\n\r\n");
    let reply = once(scene.server.address(), good.as_bytes()).await?.context("no answer")?;
    ensure!(reply.status == 202, "{reply}");
    let chunk = format!("10000\r\n{}\r\n", " ".repeat(0x10000));
    let endless = format!("{head}{}", chunk.repeat(40));
    let reply = once(scene.server.address(), endless.as_bytes()).await?.context("no answer")?;
    ensure!(reply.status == 413, "{reply}");
    check_refusal(&reply)?;
    for broken in ["-1\r\n", "g\r\n", "fffffffffffffffff\r\n", "3\r\nabcd\r\n0\r\n\r\n"] {
        let mut wire = Wire::open(scene.server.address()).await?;
        if let Some(reply) = wire.exchange(format!("{head}{broken}").as_bytes()).await? {
            ensure!(reply.status == 400, "{broken:?}: {reply}");
        }
        ensure!(wire.is_closed().await?, "{broken:?}: the connection is used on");
    }
    let (events, _) = scene.settled_events().await?;
    ensure!(events.len() == 1, "{events:?}");
    Ok(())
}

async fn refused(scene: &Scene, body: &[u8], status: u16) -> Result<serde_json::Value> {
    let short: String = String::from_utf8_lossy(body).chars().take(100).collect();
    let headers = [("Content-Type", "application/json")];
    let reply = scene.ask("POST", EVENTS, &headers, body).await.with_context(|| short.clone())?;
    ensure!(reply.status == status, "{short:?}: wanted {status}: {reply}");
    check_refusal(&reply).with_context(|| short)?;
    reply.json()
}
