//! A tenant describes its events and chooses what becomes of those that are otherwise.

use anyhow::{Result, ensure};
use postrider_tests::harness::eventually;
use postrider_tests::on_both_engines;
use postrider_tests::stage::{EngineKind, SOON, Stage, only_delivery, text};
use serde_json::{Value, json};

on_both_engines!(an_event_that_breaks_its_schema_is_refused_or_told_as_its_tenant_chose);

async fn choose(stage: &Stage, check: &str) -> Result<()> {
    let path = format!("/v1/tenants/{}", stage.tenant);
    stage.server.admin().patch(&path, &json!({"schema_check": check})).await?.require(200)?;
    Ok(())
}

/// Ingest hears of a choice within a second.
async fn until(stage: &Stage, event: &Value, status: u16) -> Result<Value> {
    eventually("the choice to be known", SOON, async || {
        let answer = stage.api.post("/v1/events", event).await?;
        if answer.status == status { answer.json().map(Some) } else { Ok(None) }
    })
    .await
}

async fn an_event_that_breaks_its_schema_is_refused_or_told_as_its_tenant_chose(
    engine: EngineKind,
) -> Result<()> {
    let stage = Stage::open(engine, "trcker").await?;
    stage.webhook("/hook", "*", json!({})).await?;
    let described = json!({
        "version": "1.0",
        "description": "An order was paid",
        "schema": {"required": ["total"], "properties": {"total": {"type": "number", "minimum": 0}}},
        "example": {"total": 1},
    });
    stage.api.put("/v1/event-types/order.paid", &described).await?.require(201)?;
    let bad = json!({"type": "order.paid", "data": {"total": -1}});
    stage.api.post("/v1/events", &bad).await?.require(202)?;

    choose(&stage, "enforce").await?;
    let refused = until(&stage, &bad, 422).await?;
    ensure!(refused["errors"][0]["pointer"] == "/data/total", "{refused}");
    // The built-in catalogue of its profile counts too.
    let cap = json!({"type": "cap.reached", "data": {}});
    let refused = stage.api.post("/v1/events", &cap).await?.require(422)?.json()?;
    ensure!(refused["errors"][0]["pointer"] == "/data", "{refused}");
    let good = stage.publish("order.paid", json!({"total": 12.5})).await?;
    stage.wait_for_status(&only_delivery(&good)?, "delivered").await?;

    choose(&stage, "warn").await?;
    let accepted = until(&stage, &bad, 202).await?;
    ensure!(accepted["warnings"][0]["pointer"] == "/data/total", "{accepted}");
    stage.wait_for_status(&only_delivery(&accepted)?, "delivered").await?;
    let path = format!("/v1/events/{}", text(&accepted, "id")?);
    let event = eventually("the event to be in the log", SOON, async || {
        let answer = stage.api.get(&path).await?;
        if answer.status == 200 { answer.json().map(Some) } else { Ok(None) }
    })
    .await?;
    ensure!(event["schema_warnings"][0]["pointer"] == "/data/total", "{event}");
    Ok(())
}
