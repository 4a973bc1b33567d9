//! Every bad request of the vectors, through the real binary.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, ensure};
use postrider_tests::harness::{Api, Server, ServerOptions};
use postrider_tests::stage::{SOON, make_tenant, text};
use serde_json::{Value, json};

use super::cases::{self, Case};
use super::invariants::{check_no_inside, check_refusal, resident_bytes};
use super::scene::Scene;
use super::wire::{Reply, Wire, once};

/// What the vectors let memory grow by.
const GROWTH: u64 = 50 * 1024 * 1024;

/// Cases that this API answers otherwise, and why. The text of API.md decides.
const OTHERWISE: [(&str, u16, &str); 3] = [
    ("endpoint-put-partial", 200, "PUT merges as PATCH does (API.md)"),
    ("endpoint-rotate-many", 200, "a rotation keeps one old secret at most, so there is no number to exceed"),
    ("retry-flood", 404, "there is no manual retry yet: the route is not there"),
];

/// Cases of a state that other tests bring about: `running` stops the broker and takes its queue away.
const ELSEWHERE: [&str; 2] = ["over-broker-down", "over-unroutable"];

/// What a run has accepted, by the identifier of the event.
#[derive(Default)]
struct Tally {
    accepted: BTreeSet<String>,
    /// Whose `data` must arrive as written here.
    data: BTreeMap<String, String>,
    /// Answers lost because the client left: accepted or not, nobody knows.
    in_the_dark: usize,
}

#[tokio::test(flavor = "multi_thread")]
async fn every_bad_request_is_refused_by_name_and_without_a_trace() -> Result<()> {
    let scene = Scene::open().await?;
    let mut tally = Tally::default();
    tally.accepted.insert(scene.publish_good().await?);
    let pid = scene.server.pid().context("not running")?;
    let before = resident_bytes(pid)?;
    for case in cases::all()?.iter().filter(|case| !case.path_kind.starts_with("endpoint")) {
        run(&scene, case, &mut tally).await.with_context(|| case.id.clone())?;
        let good = scene.publish_good().await.with_context(|| format!("after {}", case.id))?;
        tally.accepted.insert(good);
    }
    let grown = resident_bytes(pid)?.saturating_sub(before);
    ensure!(grown < GROWTH, "memory grew by {grown} bytes");
    check_accepted(&scene, &tally).await
}

#[tokio::test(flavor = "multi_thread")]
async fn every_bad_request_about_a_webhook_leaves_the_webhooks_as_they_are() -> Result<()> {
    let scene = Scene::open().await?;
    // Without development mode addresses are judged otherwise, so new webhooks are asked for there too.
    let production = Server::start(ServerOptions::default()).await?;
    let (_, production_key) = make_tenant(&production, "standard").await?;
    let mut tally = Tally::default();
    let pid = scene.server.pid().context("not running")?;
    let before = resident_bytes(pid)?;
    for case in cases::all()?.iter().filter(|case| case.path_kind.starts_with("endpoint")) {
        if case.path_kind == "endpoints" && case.method == "POST" && case.setup.is_none() {
            let bytes = String::from_utf8(case.bytes(&scene)?)?.replace(&scene.keys.all, &production_key);
            let reply = once(production.address(), bytes.as_bytes()).await?.context("no answer")?;
            ensure!(case.allows(reply.status), "{}: not an answer that is allowed: {reply}", case.id);
        }
        if !case.id.starts_with("endpoint-url-") {
            run(&scene, case, &mut tally).await.with_context(|| case.id.clone())?;
        }
        let good = scene.ask("GET", "/v1/webhooks", &[], b"").await?;
        ensure!(good.status == 200, "after {}: {good}", case.id);
    }
    let none = production.api(&production_key).get("/v1/webhooks").await?.require(200)?.json()?;
    ensure!(none["data"] == json!([]), "a refused webhook is there: {none}");
    let grown = resident_bytes(pid)?.saturating_sub(before);
    ensure!(grown < GROWTH, "memory grew by {grown} bytes");
    Ok(())
}

async fn run(scene: &Scene, case: &Case, tally: &mut Tally) -> Result<()> {
    if ELSEWHERE.contains(&case.id.as_str()) {
        return Ok(());
    }
    if case.id == "endpoint-quota" {
        return quota(scene, case).await;
    }
    let before = scene.configured().await?;
    let bytes = case.bytes(scene)?;
    if let Some(abort) = &case.abort_after {
        return leave(scene, &bytes, abort, tally).await;
    }
    let mut wire = Wire::open(scene.server.address()).await?;
    let reply = wire.exchange(&bytes).await?.context("no answer")?;
    check_no_inside(&reply)?;
    let otherwise = OTHERWISE.iter().find(|(id, ..)| *id == case.id);
    let is_right =
        otherwise.map_or_else(|| case.allows(reply.status), |(_, status, _)| reply.status == *status);
    ensure!(is_right, "not an answer that is allowed: {reply}");
    if reply.status >= 400 {
        check_refusal(&reply)?;
        ensure!(scene.configured().await? == before, "something was made or is gone");
    }
    if case.id == "http-cl-te" {
        ensure!(
            wire.is_closed().await?,
            "what came after the body was answered too, or the connection stays open"
        );
    }
    if case.id == "tenant-cursor" && reply.status == 200 {
        ensure!(
            !String::from_utf8_lossy(&reply.body).contains(&scene.foreign.webhook),
            "another tenant's rows: {reply}"
        );
    }
    if reply.status == 202 { note_accepted(case, &reply, tally) } else { Ok(()) }
}

fn note_accepted(case: &Case, reply: &Reply, tally: &mut Tally) -> Result<()> {
    let answer = reply.json()?;
    match answer["results"].as_array() {
        Some(results) => {
            let ids = results.iter().filter_map(|result| result["id"].as_str());
            tally.accepted.extend(ids.map(str::to_owned));
            let refused = results.iter().filter(|result| result["error"].is_object()).count();
            ensure!(
                answer["rejected"] == refused && refused > 0,
                "a refused item of a batch has its error: {answer}"
            );
        }
        None => {
            let id = text(&answer, "id")?;
            tally.accepted.insert(id.clone());
            let data = case.body_text.as_deref().and_then(|body| body.split_once("\"data\":"));
            if let Some((_, data)) = data.filter(|(_, data)| data.ends_with('}')) {
                tally.data.insert(id, data[..data.len() - 1].to_owned());
            }
        }
    }
    Ok(())
}

/// Leaves in the middle of the body, or right after its end.
async fn leave(scene: &Scene, bytes: &[u8], abort_after: &Value, tally: &mut Tally) -> Result<()> {
    let bytes = match (bytes.is_empty(), abort_after.as_u64()) {
        // The vectors give no body: any good one that is cut short.
        (false, Some(count)) => {
            let head = String::from_utf8_lossy(bytes)
                .replace("\r\n\r\n", "\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n");
            head.into_bytes().into_iter().chain(std::iter::repeat_n(b' ', usize::try_from(count)?)).collect()
        }
        _ => {
            tally.in_the_dark += 1;
            let body = r#"{"type":"left.early","data":{}}"#;
            let head = String::from_utf8_lossy(bytes);
            let head = head.split("\r\n\r\n").next().unwrap_or_default().to_owned();
            let head =
                head.lines().filter(|line| !line.starts_with("Content-")).collect::<Vec<_>>().join("\r\n");
            format!(
                "{head}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            )
            .into_bytes()
        }
    };
    let mut wire = Wire::open(scene.server.address()).await?;
    wire.write(&bytes).await;
    Ok(())
}

/// What was accepted, and nothing else, is in the log and at the receiver.
async fn check_accepted(scene: &Scene, tally: &Tally) -> Result<()> {
    let (events, ledger) = scene.settled_events().await?;
    let logged: BTreeSet<String> =
        events.iter().filter_map(|event| event["id"].as_str().map(str::to_owned)).collect();
    let missing: Vec<_> = tally.accepted.difference(&logged).collect();
    ensure!(missing.is_empty(), "accepted and not in the log: {missing:?}");
    let extra: Vec<_> = events
        .iter()
        .filter(|event| event["id"].as_str().is_some_and(|id| !tally.accepted.contains(id)))
        .filter(|event| event["type"] != "left.early")
        .collect();
    ensure!(extra.is_empty(), "refused and yet in the log: {extra:?}");
    ensure!(ledger["deliveries"]["delivered"] == logged.len(), "each was delivered once: {ledger}");
    let all = logged.len();
    let requests = scene.receiver.wait_for_requests("/own", all, SOON).await?;
    ensure!(requests.len() == all, "{} requests for {all} events", requests.len());
    for (id, data) in &tally.data {
        let request = requests
            .iter()
            .find(|request| request.header("webhook-id") == Some(id))
            .context("not delivered")?;
        let body = String::from_utf8(request.body.to_vec())?;
        ensure!(body.contains(data.as_str()), "{data} did not arrive as it was sent: {body}");
    }
    Ok(())
}

/// A tenant with as many webhooks as it may have.
async fn quota(scene: &Scene, case: &Case) -> Result<()> {
    const MOST: usize = 1_000;
    let (_, key) = make_tenant(&scene.server, "standard").await?;
    let api = scene.server.api(&key);
    let make = |api: Api| async move {
        let body = json!({"url": "https://example.com/hook", "events": ["a.b"]});
        api.post("/v1/webhooks", &body).await?.require(201).map(drop)
    };
    for _ in 0..MOST / 50 {
        futures_util::future::try_join_all((0..50).map(|_| make(api.clone()))).await?;
    }
    let body = case.bytes(scene)?;
    let asked = String::from_utf8(body)?.replace(&scene.keys.all, &key);
    let reply = once(scene.server.address(), asked.as_bytes()).await?.context("no answer")?;
    ensure!(case.allows(reply.status), "{reply}");
    check_refusal(&reply)
}
