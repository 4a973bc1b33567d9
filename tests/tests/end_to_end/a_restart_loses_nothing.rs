//! `kill -9` and a restart: what was accepted is delivered, what was parked comes, the ledger balances.

use anyhow::{Result, ensure};
use postrider_tests::harness::Behaviour;
use postrider_tests::on_both_engines;
use postrider_tests::stage::{EngineKind, SOON, Stage};
use serde_json::json;

on_both_engines!(a_killed_server_goes_on_where_it_was);

async fn a_killed_server_goes_on_where_it_was(engine: EngineKind) -> Result<()> {
    const EVENTS: usize = 200;
    let mut stage = Stage::open(engine, "standard").await?;
    stage.receiver.script("/failing", Behaviour::fail_each("webhook-id", 1, 500));
    stage.webhook("/good", "*", json!({})).await?;
    stage.webhook("/failing", "*", json!({"retry": {"waits": ["500ms", "500ms", "500ms"]}})).await?;
    for number in 0..EVENTS {
        stage.publish("a.b", json!({"number": number})).await?;
    }
    stage.server.kill()?;
    stage.server.restart().await?;
    let ledger = stage.wait_until_settled(SOON * 2).await?;
    ensure!(ledger["events"]["accepted"] == EVENTS, "{ledger}");
    ensure!(ledger["deliveries"]["delivered"] == 2 * EVENTS, "{ledger}");
    Ok(())
}
