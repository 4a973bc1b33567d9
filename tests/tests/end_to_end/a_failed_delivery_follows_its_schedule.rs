//! A receiver that fails gets the same body again, after the waits of its profile.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use postrider_tests::harness::{Behaviour, eventually};
use postrider_tests::on_both_engines;
use postrider_tests::stage::{EngineKind, SOON, Stage, make_tenant, only_delivery, text};
use serde_json::json;

on_both_engines!(
    a_retry_comes_after_its_wait_with_the_same_body,
    each_contracts_first_waits_are_kept,
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

/// Of each contract the first waits in seconds, and by what part chance may shorten each. The last is trakkr's whole
/// schedule, after which a delivery has failed.
const FIRST_WAITS: [(&str, &[u64], f64); 6] = [
    ("standard", &[5], 0.1),
    ("trcker", &[1, 5], 0.0),
    ("trackdesk", &[5], 0.1),
    ("track360", &[30], 0.0),
    ("tracktile", &[5], 0.1),
    ("trakkr", &[1, 2, 4], 0.0),
];
/// For what takes thirty seconds by its contract.
const LONG: Duration = Duration::from_secs(90);

async fn each_contracts_first_waits_are_kept(engine: EngineKind) -> Result<()> {
    let stage = Stage::open(engine, "standard").await?;
    let mut last = None;
    for (profile, _, _) in FIRST_WAITS {
        let (_, key) = make_tenant(&stage.server, profile).await?;
        let api = stage.server.api(&key);
        let path = format!("/{profile}");
        stage.receiver.script(&path, Behaviour::status(500));
        let webhook = json!({"name": profile, "url": stage.receiver.url(&path), "events": ["*"]});
        api.post("/v1/webhooks", &webhook).await?.require(201)?;
        let event = json!({"type": "a.b", "data": {}});
        let accepted = api.post("/v1/events", &event).await?.require(202)?.json()?;
        last = Some((api, only_delivery(&accepted)?));
    }
    for (profile, waits, jitter) in FIRST_WAITS {
        let seen = stage.receiver.wait_for_requests(&format!("/{profile}"), waits.len() + 1, LONG).await?;
        for (pair, wait) in seen.windows(2).zip(waits) {
            let least = Duration::from_secs(*wait).mul_f64(1.0 - jitter);
            let waited = pair[1].at - pair[0].at;
            ensure!(waited + CLOCK_GRAIN >= least, "{profile}: {waited:?} instead of {wait} s");
            ensure!(pair[1].body == pair[0].body, "{profile}: another body");
        }
    }
    let (api, delivery) = last.context("no profile")?;
    let path = format!("/v1/deliveries/{delivery}");
    let failed = eventually("trakkr's schedule to be over", SOON, async || {
        let delivery = api.get(&path).await?.require(200)?.json()?;
        Ok((delivery["status"] == "failed").then_some(delivery))
    })
    .await?;
    ensure!(failed["reason"] == "exhausted" && failed["attempts"] == 4, "{failed}");
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
