//! Every accepted event is counted, and every delivery it was given is somewhere.

use anyhow::{Result, ensure};
use postrider_tests::harness::Behaviour;
use postrider_tests::on_both_engines;
use postrider_tests::stage::{EngineKind, SOON, Stage, text};
use serde_json::json;

on_both_engines!(every_delivery_is_in_exactly_one_state);

async fn every_delivery_is_in_exactly_one_state(engine: EngineKind) -> Result<()> {
    let stage = Stage::open(engine, "standard").await?;
    stage.receiver.script("/failing", Behaviour::status(500));
    stage.webhook("/good", "a.*", json!({})).await?;
    stage.webhook("/failing", "a.*", json!({"retry": {"waits": ["200ms"]}})).await?;
    let paused = text(&stage.webhook("/paused", "a.*", json!({})).await?, "id")?;
    stage.api.post(&format!("/v1/webhooks/{paused}/pause"), &json!({})).await?.require(200)?;
    for number in 0..10 {
        stage.publish("a.b", json!({"number": number})).await?;
    }
    for number in 0..5 {
        stage.publish("b.c", json!({"number": number})).await?;
    }
    let ledger = stage.wait_until_settled(SOON).await?;
    let (events, deliveries) = (&ledger["events"], &ledger["deliveries"]);
    ensure!(events["accepted"] == 15 && events["matched"] == 10 && events["unmatched"] == 5, "{ledger}");
    ensure!(deliveries["expected"] == 30 && deliveries["delivered"] == 10, "{ledger}");
    ensure!(deliveries["failed"] == 10 && deliveries["held"] == 10 && deliveries["overdue"] == 0, "{ledger}");
    let admin = stage.server.admin().get("/v1/ledger").await?.require(200)?.json()?;
    ensure!(admin["events"]["accepted"] == 15, "the admin sees all tenants: {admin}");
    Ok(())
}
