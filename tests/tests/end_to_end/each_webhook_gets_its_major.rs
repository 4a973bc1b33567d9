//! An event in several majors of its type: each webhook gets the one it is pinned to, on every try.

use anyhow::{Result, ensure};
use postrider_tests::harness::{Behaviour, eventually};
use postrider_tests::on_both_engines;
use postrider_tests::stage::{EngineKind, SOON, Stage, text};
use serde_json::{Value, json};

on_both_engines!(a_pinned_webhook_gets_its_major_and_the_others_the_highest, a_tenant_is_told_of_a_new_major);

async fn body_at(stage: &Stage, path: &str, requests: usize) -> Result<Value> {
    let seen = stage.receiver.wait_for_requests(path, requests, SOON).await?;
    ensure!(seen.iter().all(|request| request.body == seen[0].body), "another body on another try");
    Ok(serde_json::from_slice(&seen[0].body)?)
}

async fn a_pinned_webhook_gets_its_major_and_the_others_the_highest(engine: EngineKind) -> Result<()> {
    let stage = Stage::open(engine, "track360").await?;
    stage.receiver.script("/old", Behaviour::fail_times(1, 500));
    let retry = json!({"waits": ["300ms"]});
    stage.webhook("/old", "*", json!({"schema_major": 1, "retry": retry})).await?;
    stage.webhook("/new", "*", json!({})).await?;
    stage.webhook("/none", "*", json!({"schema_major": 3})).await?;
    let versions = json!({"1": {"total": 1.5}, "2.1": {"amount": "1.50"}});
    let event = json!({"type": "order.paid", "versions": versions});
    let accepted = stage.api.post("/v1/events", &event).await?.require(202)?.json()?;
    ensure!(accepted["deliveries"].as_array().map(Vec::len) == Some(2), "{accepted}");
    let old = body_at(&stage, "/old", 2).await?;
    ensure!(old["data"] == versions["1"] && old["schema_version"] == "1.0", "{old}");
    let new = body_at(&stage, "/new", 1).await?;
    ensure!(new["data"] == versions["2.1"] && new["schema_version"] == "2.1", "{new}");
    ensure!(old["event_id"] == new["event_id"], "one event");

    let path = format!("/v1/events/{}", text(&accepted, "id")?);
    let event = eventually("the event to be in the log", SOON, async || {
        let answer = stage.api.get(&path).await?;
        if answer.status == 200 { answer.json().map(Some) } else { Ok(None) }
    })
    .await?;
    ensure!(event["versions"] == versions && event.get("data").is_none(), "{event}");
    stage.wait_until_settled(SOON).await?;
    ensure!(stage.receiver.count() == 3, "nobody else got anything");
    Ok(())
}

async fn a_tenant_is_told_of_a_new_major(engine: EngineKind) -> Result<()> {
    let stage = Stage::open(engine, "standard").await?;
    stage.webhook("/hook", "order.*", json!({"schema_major": 1})).await?;
    stage.webhook("/operator", "postrider.*", json!({"schema_major": 1})).await?;
    stage.api.put("/v1/event-types/order.paid", &json!({"version": "1.0"})).await?.require(201)?;
    stage.api.put("/v1/event-types/order.paid", &json!({"version": "2.0"})).await?.require(200)?;
    let told = body_at(&stage, "/operator", 1).await?;
    ensure!(told["type"] == "postrider.event_type.changed", "{told}");
    ensure!(told["data"]["type"] == "order.paid" && told["data"]["version"] == "2.0", "{told}");
    ensure!(told["data"]["pinned_webhooks"] == 1, "{told}");
    Ok(())
}
