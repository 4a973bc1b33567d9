//! `SIGTERM`: what is in flight is finished, and the exit code is 0.

use anyhow::{Context, Result, ensure};
use postrider_tests::harness::{Behaviour, Gate};
use postrider_tests::on_both_engines;
use postrider_tests::stage::{EngineKind, SOON, Stage, only_delivery};
use serde_json::json;

on_both_engines!(a_try_in_flight_is_finished_and_recorded);

async fn a_try_in_flight_is_finished_and_recorded(engine: EngineKind) -> Result<()> {
    let mut stage = Stage::open(engine, "standard").await?;
    let gate = Gate::closed();
    stage.receiver.script("/hook", Behaviour::ok().behind(&gate));
    stage.webhook("/hook", "*", json!({})).await?;
    let accepted = stage.publish("a.b", json!({})).await?;
    stage.receiver.wait_for_requests("/hook", 1, SOON).await?;
    stage.server.signal(postrider_tests::harness::signal::Signal::Terminate)?;
    stage.server.wait_for_log("finishing what is in flight", SOON).await?;
    gate.open();
    let status = stage.server.wait(SOON).await?;
    ensure!(status.code().context("ended by a signal")? == 0, "{status}");
    stage.server.restart().await?;
    stage.wait_for_status(&only_delivery(&accepted)?, "delivered").await?;
    ensure!(stage.receiver.count() == 1, "it was sent again");
    Ok(())
}
