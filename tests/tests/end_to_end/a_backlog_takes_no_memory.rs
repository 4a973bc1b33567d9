//! What waits, waits on disk: a backlog four times as long takes no more of the server's memory.

use anyhow::{Context, Result, ensure};
use postrider_tests::harness::eventually;
use postrider_tests::on_both_engines;
use postrider_tests::stage::{EngineKind, SOON, Stage, text};
use serde_json::{Value, json};

on_both_engines!(a_long_backlog_takes_no_more_memory_than_a_short_one);

const SHORT: usize = 4_000;
const LONG: usize = 16_000;
/// Events of one request.
const TOGETHER: usize = 200;
/// Bytes of one body.
const BODY: usize = 4_000;

async fn a_long_backlog_takes_no_more_memory_than_a_short_one(engine: EngineKind) -> Result<()> {
    let stage = Stage::open(engine, "standard").await?;
    let webhook = stage.webhook("/paused", "*", json!({})).await?;
    let pause = format!("/v1/webhooks/{}/pause", text(&webhook, "id")?);
    stage.api.post(&pause, &json!({})).await?.require(200)?;
    let short = peak_with(&stage, 0, SHORT).await?;
    let long = peak_with(&stage, SHORT, LONG).await?;
    let (more, bodies) = (long.saturating_sub(short), u64::try_from((LONG - SHORT) * BODY)?);
    println!("{short} bytes with {SHORT} waiting, {more} more with {LONG}");
    ensure!(more < bodies / 3, "{more} bytes more for {bodies} bytes of bodies");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_server_takes_no_huge_pages() -> Result<()> {
    let stage = Stage::open(EngineKind::Embedded, "standard").await?;
    let pid = stage.server.pid().context("it runs")?;
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let is_given = status.lines().find_map(|line| line.strip_prefix("THP_enabled:"));
    ensure!(is_given.map(str::trim) == Some("0"), "{is_given:?}");
    Ok(())
}

/// The most memory that the server took until so many wait.
async fn peak_with(stage: &Stage, from: usize, waiting: usize) -> Result<u64> {
    let event = json!({"type": "a.b", "data": {"text": "x".repeat(BODY)}});
    let batch = Value::Array(vec![event; TOGETHER]);
    for _ in (from..waiting).step_by(TOGETHER) {
        stage.api.post("/v1/events/batch", &batch).await?.require(202)?;
    }
    eventually("all of them to wait", 4 * SOON, async || {
        Ok((stage.ledger().await?["deliveries"]["held"] == waiting).then_some(()))
    })
    .await?;
    stage.server.peak_memory()
}
