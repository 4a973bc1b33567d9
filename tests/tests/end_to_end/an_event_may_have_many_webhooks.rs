//! More matches than ingest publishes itself: a worker makes the deliveries, each exactly once.

use std::collections::HashMap;

use anyhow::{Result, ensure};
use postrider_tests::on_both_engines;
use postrider_tests::stage::{EngineKind, SOON, Stage};
use serde_json::json;

on_both_engines!(each_of_many_webhooks_receives_once);

async fn each_of_many_webhooks_receives_once(engine: EngineKind) -> Result<()> {
    const WEBHOOKS: usize = 150;
    let stage = Stage::open(engine, "standard").await?;
    for number in 0..WEBHOOKS {
        stage.webhook(&format!("/hook/{number}"), "*", json!({})).await?;
    }
    let accepted = stage.publish("a.b", json!({"n": 1})).await?;
    ensure!(accepted["deliveries"].as_array().is_some_and(|deliveries| deliveries.len() == WEBHOOKS));
    let ledger = stage.wait_until_settled(SOON).await?;
    ensure!(ledger["deliveries"]["expected"] == WEBHOOKS, "{ledger}");
    ensure!(ledger["deliveries"]["delivered"] == WEBHOOKS, "{ledger}");
    let mut by_path: HashMap<String, usize> = HashMap::new();
    for request in stage.receiver.requests() {
        *by_path.entry(request.path().to_owned()).or_default() += 1;
    }
    ensure!(by_path.len() == WEBHOOKS && by_path.values().all(|count| *count == 1), "{by_path:?}");
    Ok(())
}
