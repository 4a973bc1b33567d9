//! Idempotency: the same key with the same body is one event; with another body it is refused.

use anyhow::{Result, ensure};
use postrider_tests::on_both_engines;
use postrider_tests::stage::{EngineKind, SOON, Stage};
use serde_json::json;

on_both_engines!(a_repeat_gets_the_same_answer_and_no_second_delivery, a_producers_own_event_id_counts_once);

async fn a_repeat_gets_the_same_answer_and_no_second_delivery(engine: EngineKind) -> Result<()> {
    let stage = Stage::open(engine, "standard").await?;
    stage.webhook("/hook", "*", json!({})).await?;
    let key = [("Idempotency-Key", "order-1")];
    let post =
        async |body: &serde_json::Value| stage.api.post_with("/v1/events", &key, body.to_string()).await;
    let body = json!({"type": "a.b", "data": {"n": 1}});
    let first = post(&body).await?.require(202)?;
    ensure!(first.header("idempotency-replayed").is_none());
    let again = post(&body).await?.require(202)?;
    ensure!(again.header("idempotency-replayed") == Some("true"));
    ensure!(again.json()? == first.json()?);
    let other = json!({"type": "a.b", "data": {"n": 2}});
    let refused = post(&other).await?.require(422)?;
    ensure!(refused.json()?["code"] == "idempotency_key_reused");
    let ledger = stage.wait_until_settled(SOON).await?;
    ensure!(ledger["events"]["accepted"] == 1 && ledger["deliveries"]["delivered"] == 1, "{ledger}");
    ensure!(stage.receiver.count() == 1);
    Ok(())
}

async fn a_producers_own_event_id_counts_once(engine: EngineKind) -> Result<()> {
    let stage = Stage::open(engine, "standard").await?;
    stage.webhook("/hook", "*", json!({})).await?;
    let body = json!({"type": "a.b", "data": {"n": 1}, "id": "order-4711"});
    let first = stage.api.post("/v1/events", &body).await?.require(202)?.json()?;
    ensure!(first["id"] == "order-4711");
    ensure!(stage.api.post("/v1/events", &body).await?.require(202)?.json()? == first);
    let other = json!({"type": "a.b", "data": {"n": 2}, "id": "order-4711"});
    stage.api.post("/v1/events", &other).await?.require(422)?;
    let ledger = stage.wait_until_settled(SOON).await?;
    ensure!(ledger["events"]["accepted"] == 1, "{ledger}");
    ensure!(stage.receiver.count() == 1);
    Ok(())
}
