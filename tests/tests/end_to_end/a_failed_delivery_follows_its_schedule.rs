//! A receiver that fails gets the same body again, after the waits of its profile.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use postrider_tests::harness::{Behaviour, eventually};
use postrider_tests::on_both_engines;
use postrider_tests::stage::{EngineKind, SOON, Stage, only_delivery, text};
use serde_json::json;

on_both_engines!(
    a_retry_comes_after_its_wait_with_the_same_body,
    a_delivery_ends_as_failed_when_its_schedule_is_over,
    gone_ends_a_standard_delivery_at_once
);

/// The queue may be a little early by its own clock, never by more.
const CLOCK_GRAIN: Duration = Duration::from_millis(5);

async fn a_retry_comes_after_its_wait_with_the_same_body(engine: EngineKind) -> Result<()> {
    let stage = Stage::open(engine, "trcker").await?;
    stage.receiver.script("/hook", Behaviour::fail_times(2, 500));
    stage.webhook("/hook", "*", json!({"secret": "a secret of the subscriber"})).await?;
    let accepted = stage.publish("conversion.created", json!({"n": 1})).await?;
    let seen = stage.receiver.wait_for_requests("/hook", 3, SOON).await?;
    let [first, second, third] = seen.as_slice() else { anyhow::bail!("not three requests") };
    ensure!(second.at - first.at + CLOCK_GRAIN >= Duration::from_secs(1), "the first wait is 1 s");
    ensure!(third.at - second.at + CLOCK_GRAIN >= Duration::from_secs(5), "the second wait is 5 s");
    for request in &seen {
        ensure!(request.body == first.body);
        ensure!(request.header("X-Trcker-Webhook-Id") == first.header("X-Trcker-Webhook-Id"));
    }
    let delivery = stage.wait_for_status(&only_delivery(&accepted)?, "delivered").await?;
    let tries = delivery["tries"].as_array().context("no tries")?;
    ensure!(
        tries.len() == 3 && tries[0]["outcome"] == "retry" && tries[2]["outcome"] == "delivered",
        "{delivery}"
    );
    Ok(())
}

async fn a_delivery_ends_as_failed_when_its_schedule_is_over(engine: EngineKind) -> Result<()> {
    let stage = Stage::open(engine, "standard").await?;
    stage.receiver.script("/hook", Behaviour::status(503));
    stage.webhook("/hook", "*", json!({"retry": {"waits": ["300ms", "500ms"]}})).await?;
    let accepted = stage.publish("a.b", json!({})).await?;
    let delivery = stage.wait_for_status(&only_delivery(&accepted)?, "failed").await?;
    ensure!(delivery["reason"] == "exhausted" && delivery["attempts"] == 3, "{delivery}");
    ensure!(stage.receiver.count() == 3);
    Ok(())
}

async fn gone_ends_a_standard_delivery_at_once(engine: EngineKind) -> Result<()> {
    let stage = Stage::open(engine, "standard").await?;
    stage.receiver.script("/hook", Behaviour::status(410));
    let id = text(&stage.webhook("/hook", "*", json!({})).await?, "id")?;
    let accepted = stage.publish("a.b", json!({})).await?;
    let delivery = stage.wait_for_status(&only_delivery(&accepted)?, "failed").await?;
    ensure!(delivery["reason"] == "permanent" && delivery["attempts"] == 1, "{delivery}");

    // Its profile disables it; its owner sees why, and may make it active again.
    let path = format!("/v1/webhooks/{id}");
    let disabled = eventually("the webhook to be disabled", SOON, async || {
        let webhook = stage.api.get(&path).await?.require(200)?.json()?;
        Ok((webhook["status"] == "disabled").then_some(webhook))
    })
    .await?;
    ensure!(disabled["status_reason"] == "the receiver answered 410", "{disabled}");
    // Ingest hears of either within a second.
    eventually("a disabled webhook to match nothing", SOON, async || {
        let accepted = stage.publish("a.b", json!({})).await?;
        Ok((accepted["deliveries"] == json!([])).then_some(()))
    })
    .await?;
    stage.receiver.script("/hook", Behaviour::ok());
    stage.api.patch(&path, &json!({"status": "active"})).await?.require(200)?;
    let accepted = eventually("an active webhook to match", SOON, async || {
        let accepted = stage.publish("a.b", json!({})).await?;
        Ok((accepted["deliveries"] != json!([])).then_some(accepted))
    })
    .await?;
    stage.wait_for_status(&only_delivery(&accepted)?, "delivered").await?;
    Ok(())
}
