//! More matches than ingest publishes itself: a worker makes the deliveries, each webhook gets its own exactly once, and
//! the server never holds half as many copies of the body as there are webhooks, nor more than a bound.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, ensure};
use futures_util::{StreamExt, TryStreamExt};
use postrider_tests::harness::Received;
use postrider_tests::load::is_long;
use postrider_tests::on_both_engines;
use postrider_tests::stage::{EngineKind, SOON, Stage, text};
use serde_json::{Value, json};

on_both_engines!(each_of_a_thousand_webhooks_receives_once);

/// Requests to register webhooks under way at once.
const AT_ONCE: usize = 32;
/// Bytes of the body.
const BODY: usize = 100_000;
/// More it may not hold, however many there are.
const AT_MOST: usize = 200_000_000;
/// What its caches may hold besides, and what it keeps of a webhook that it has called.
const CACHES: usize = 40_000_000;

async fn each_of_a_thousand_webhooks_receives_once(engine: EngineKind) -> Result<()> {
    let webhooks: usize = if is_long() { 5_000 } else { 1_000 };
    let stage = Stage::open(engine, "standard").await?;
    futures_util::stream::iter(0..webhooks)
        .map(|number| register(&stage, number))
        .buffer_unordered(AT_ONCE)
        .try_collect::<()>()
        .await?;
    let before = stage.server.peak_memory()?;
    let accepted = stage.publish("a.b", json!({"text": "x".repeat(BODY)})).await?;
    let ledger = stage.wait_until_settled(4 * SOON).await?;
    let more = stage.server.peak_memory()?.saturating_sub(before);
    println!("{webhooks} webhooks: {more} bytes more than before");
    ensure!(ledger["events"]["accepted"] == 1 && ledger["events"]["matched"] == 1, "{ledger}");
    ensure!(ledger["deliveries"]["expected"] == webhooks, "{ledger}");
    ensure!(ledger["deliveries"]["delivered"] == webhooks, "{ledger}");
    check_each_came_once(&accepted, webhooks, &stage.receiver.requests())?;
    let bound = (webhooks * BODY / 2 + CACHES).min(AT_MOST);
    ensure!(more <= u64::try_from(bound)?, "{more} bytes more than before");
    Ok(())
}

async fn register(stage: &Stage, number: usize) -> Result<()> {
    stage.webhook(&format!("/hook/{number}"), "*", json!({})).await.map(drop)
}

/// Every webhook of the 202 was reached, with one request and the same body.
fn check_each_came_once(accepted: &Value, webhooks: usize, requests: &[Received]) -> Result<()> {
    let deliveries = accepted["deliveries"].as_array().context("no deliveries in the answer")?;
    let ids = deliveries.iter().map(|one| text(one, "id")).collect::<Result<BTreeSet<_>>>()?;
    let matched = deliveries.iter().map(|one| text(one, "webhook_id")).collect::<Result<BTreeSet<_>>>()?;
    ensure!((ids.len(), matched.len()) == (webhooks, webhooks), "{} ids, {}", ids.len(), matched.len());
    let mut by_path: BTreeMap<&str, usize> = BTreeMap::new();
    for request in requests {
        *by_path.entry(request.path()).or_default() += 1;
        ensure!(request.body == requests[0].body, "another body at {}", request.path());
    }
    let repeated: Vec<_> = by_path.iter().filter(|(_, count)| **count > 1).take(5).collect();
    ensure!(by_path.len() == webhooks && repeated.is_empty(), "{} reached, {repeated:?}", by_path.len());
    Ok(())
}
