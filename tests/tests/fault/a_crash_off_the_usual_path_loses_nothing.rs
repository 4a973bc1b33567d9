//! A crash where a delivery does not come to a try: it is canceled, put off, or has left its lane too early. What follows
//! takes it up where it was.

use std::time::Duration;

use anyhow::{Result, ensure};
use postrider_tests::harness::{Behaviour, eventually};
use postrider_tests::load::checking::{Window, concluded};
use postrider_tests::on_both_engines;
use postrider_tests::stage::{EngineKind, SOON, Stage, server_options, text};
use serde_json::{Value, json};

use super::crashing::FAILPOINTS;
use super::trial::{DRAIN, RECOVERY};

on_both_engines!(
    a_crash_while_deliveries_are_canceled_cancels_them_all,
    a_crash_while_deliveries_are_put_off_loses_none
);

mod cluster_alone {
    /// The embedded engine's lanes go by the clock that the worker has.
    #[tokio::test(flavor = "multi_thread")]
    async fn a_crash_while_what_came_too_early_is_parked_again_loses_none() -> anyhow::Result<()> {
        super::a_crash_while_what_came_too_early_is_parked_again_loses_none().await
    }
}

const EVENTS: usize = 20;
/// Waits 1 s and 5 s before its second and third try.
const PROFILE: &str = "trcker";
/// 32 bytes each, base64.
const MASTER_KEY: &str = "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=";
const OTHER_MASTER_KEY: &str = "//////////////////////////////////////////8=";

async fn publish_all(stage: &Stage) -> Result<()> {
    for number in 0..EVENTS {
        stage.publish("off.path", json!({"number": number})).await?;
    }
    Ok(())
}

async fn wait_for_requests(stage: &Stage, count: usize) -> Result<()> {
    let what = format!("{count} requests");
    stage.receiver.wait_until(&what, SOON, |seen| seen.requests.len() >= count).await
}

/// The process that runs, or is started for it, dies there.
async fn dies_at(stage: &mut Stage, place: &str) -> Result<()> {
    let server = &mut stage.server;
    let ended = server.wait(RECOVERY).await?;
    ensure!(server.log().contains(place), "not at {place}, but with {ended}:\n{}", server.log());
    Ok(())
}

async fn start_again(stage: &mut Stage, failpoints: &str) -> Result<()> {
    stage.server.set_env(FAILPOINTS, failpoints);
    stage.server.spawn()
}

/// One crash at each place, from a server on that has the first of them in it; then a server without.
async fn crash_at_each(stage: &mut Stage, places: &[&str]) -> Result<()> {
    for (place, next) in places.iter().zip(places.iter().skip(1).map(Some).chain([None])) {
        dies_at(stage, place).await?;
        if let Some(next) = next {
            start_again(stage, &abort_at(next)).await?;
        }
    }
    Ok(())
}

fn abort_at(place: &str) -> String {
    format!("{place}=abort@3")
}

/// How many deliveries there are in each status, once none is under way.
async fn deliveries(stage: &Stage, ahead: Duration) -> Result<Value> {
    let counts = eventually("every delivery to be accounted for", DRAIN, async || {
        let counts = concluded(&stage.api, Window::ahead(ahead), DRAIN).await?;
        Ok((counts["deliveries"]["expected"] == EVENTS).then_some(counts))
    });
    Ok(counts.await?["deliveries"].clone())
}

async fn a_crash_while_deliveries_are_canceled_cancels_them_all(engine: EngineKind) -> Result<()> {
    let places = ["conclude.before_journal", "conclude.after_journal"];
    let options = server_options(engine).await?.env(FAILPOINTS, &abort_at(places[0]));
    let mut stage = Stage::open_with(options, PROFILE).await?;
    stage.receiver.script("/gone", Behaviour::status(500));
    let webhook = stage.webhook("/gone", "*", json!({})).await?;
    publish_all(&stage).await?;
    wait_for_requests(&stage, EVENTS).await?;
    // The crash may come before the answer.
    if let Ok(answer) = stage.api.delete(&format!("/v1/webhooks/{}", text(&webhook, "id")?)).await {
        answer.require(204)?;
    }
    crash_at_each(&mut stage, &places).await?;
    start_again(&mut stage, "").await?;
    let counts = deliveries(&stage, Duration::ZERO).await?;
    ensure!(counts["canceled"] == EVENTS, "{counts}");
    Ok(())
}

/// Their secrets cannot be opened: the process has another master key than the one before.
async fn a_crash_while_deliveries_are_put_off_loses_none(engine: EngineKind) -> Result<()> {
    let places = ["defer.before_successor", "defer.after_successor", "defer.after_journal"];
    let options = server_options(engine).await?.env("POSTRIDER_MASTER_KEY", MASTER_KEY);
    let mut stage = Stage::open_with(options, PROFILE).await?;
    stage.webhook("/put-off", "*", json!({"secret": "a-secret-of-its-own"})).await?;
    stage.server.set_env("POSTRIDER_MASTER_KEY", OTHER_MASTER_KEY);
    stage.server.set_env(FAILPOINTS, &abort_at(places[0]));
    stage.server.restart().await?;
    // The first of them are enough for the crash, which may come before the last is accepted.
    let mut accepted = 0;
    for number in 0..EVENTS {
        let event = json!({"type": "off.path", "id": format!("event-{number}"), "data": {}});
        match stage.api.post("/v1/events", &event).await {
            Ok(answer) if answer.status == 202 => accepted += 1,
            Ok(_) | Err(_) => break,
        }
    }
    ensure!(accepted > 0, "nothing was accepted");
    crash_at_each(&mut stage, &places).await?;
    ensure!(stage.receiver.count() == 0, "sent without its secret");
    stage.server.set_env("POSTRIDER_MASTER_KEY", MASTER_KEY);
    stage.server.set_env(FAILPOINTS, "");
    stage.server.restart().await?;
    // Those that were accepted are accepted as they were; the others now.
    for number in 0..EVENTS {
        let event = json!({"type": "off.path", "id": format!("event-{number}"), "data": {}});
        let what = format!("event-{number} to be accepted");
        eventually(&what, SOON, async || {
            Ok((stage.api.post("/v1/events", &event).await?.status == 202).then_some(()))
        })
        .await?;
    }
    let counts = deliveries(&stage, Duration::ZERO).await?;
    ensure!(counts["delivered"] == EVENTS, "{counts}");
    Ok(())
}

/// Parked by a process whose clock is an hour ahead, so that all others find what leaves its lane far from due.
async fn a_crash_while_what_came_too_early_is_parked_again_loses_none() -> Result<()> {
    let places = ["park.before_successor", "park.after_successor"];
    let options = server_options(EngineKind::Cluster).await?.env("POSTRIDER_CLOCK_AHEAD", "1h");
    let mut stage = Stage::open_with(options, PROFILE).await?;
    stage.receiver.script("/early", Behaviour::status(500));
    stage.webhook("/early", "*", json!({})).await?;
    publish_all(&stage).await?;
    // The wait after the second try is long enough for the process to be replaced.
    wait_for_requests(&stage, 2 * EVENTS).await?;
    stage.server.kill()?;
    stage.receiver.script("/early", Behaviour::ok());
    stage.server.set_env("POSTRIDER_CLOCK_AHEAD", "");
    start_again(&mut stage, &abort_at(places[0])).await?;
    crash_at_each(&mut stage, &places).await?;
    start_again(&mut stage, "").await?;
    let counts = deliveries(&stage, Duration::from_secs(3600)).await?;
    ensure!(counts["delivered"] == EVENTS, "{counts}");
    Ok(())
}
