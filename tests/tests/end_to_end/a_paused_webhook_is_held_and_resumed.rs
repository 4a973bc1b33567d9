//! Paused means held: nothing is sent, nothing is lost, and a resume sends all of it, in order.

use anyhow::{Result, ensure};
use postrider_tests::harness::eventually;
use postrider_tests::on_both_engines;
use postrider_tests::stage::{EngineKind, SOON, Stage, only_delivery, text};
use serde_json::{Value, json};

on_both_engines!(
    deliveries_of_a_paused_webhook_wait_and_come_after_a_resume,
    a_retry_of_a_paused_webhook_waits_too
);

const EVENTS: usize = 20;

async fn held(stage: &Stage, count: usize) -> Result<Value> {
    eventually("the deliveries to be held", SOON, async || {
        let ledger = stage.ledger().await?;
        Ok((ledger["deliveries"]["held"] == count).then_some(ledger))
    })
    .await
}

async fn deliveries_of_a_paused_webhook_wait_and_come_after_a_resume(engine: EngineKind) -> Result<()> {
    let stage = Stage::open(engine, "standard").await?;
    let id = text(&stage.webhook("/hook", "*", json!({})).await?, "id")?;
    let paused =
        stage.api.post(&format!("/v1/webhooks/{id}/pause"), &json!({})).await?.require(200)?.json()?;
    ensure!(paused["status"] == "paused", "{paused}");
    for number in 0..EVENTS {
        stage.publish("a.b", json!({"number": number})).await?;
    }
    let ledger = held(&stage, EVENTS).await?;
    ensure!(ledger["balanced"] == true, "{ledger}");
    ensure!(stage.receiver.count() == 0, "a paused webhook received");
    eventually("the webhook to show how many wait", SOON, async || {
        let webhook = stage.api.get(&format!("/v1/webhooks/{id}")).await?.require(200)?.json()?;
        Ok((webhook["waiting"]["count"] == EVENTS).then_some(()))
    })
    .await?;

    stage.api.post(&format!("/v1/webhooks/{id}/resume"), &json!({})).await?.require(200)?;
    stage.receiver.wait_for_requests("/hook", EVENTS, SOON).await?;
    held(&stage, 0).await?;
    let ledger = stage.wait_until_settled(SOON).await?;
    ensure!(ledger["deliveries"]["delivered"] == EVENTS && ledger["deliveries"]["held"] == 0, "{ledger}");
    ensure!(stage.receiver.count() == EVENTS, "each exactly once");
    Ok(())
}

async fn a_retry_of_a_paused_webhook_waits_too(engine: EngineKind) -> Result<()> {
    let stage = Stage::open(engine, "standard").await?;
    stage.receiver.script("/hook", postrider_tests::harness::Behaviour::fail_times(1, 500));
    let fields = json!({"retry": {"waits": ["700ms", "700ms"]}});
    let id = text(&stage.webhook("/hook", "*", fields).await?, "id")?;
    let accepted = stage.publish("a.b", json!({})).await?;
    stage.receiver.wait_for_requests("/hook", 1, SOON).await?;
    stage.api.post(&format!("/v1/webhooks/{id}/pause"), &json!({})).await?.require(200)?;
    held(&stage, 1).await?;
    ensure!(stage.receiver.count() == 1);
    stage.api.post(&format!("/v1/webhooks/{id}/resume"), &json!({})).await?.require(200)?;
    stage.wait_for_status(&only_delivery(&accepted)?, "delivered").await?;
    ensure!(stage.receiver.count() == 2);
    Ok(())
}
