//! `kill -9` of everything, at random under load, again and again.

use anyhow::Result;
use postrider_tests::load::{Naming, is_long};
use postrider_tests::on_both_engines;
use postrider_tests::stage::{EngineKind, server_options};

use super::trial::{Trial, in_flight};

on_both_engines!(every_accepted_event_is_delivered_although_the_server_is_killed_at_random);

async fn every_accepted_event_is_delivered_although_the_server_is_killed_at_random(
    engine: EngineKind,
) -> Result<()> {
    let rounds = if is_long() { 100 } else { 8 };
    let mut trial = Trial::open("kill at random", server_options(engine).await?).await?;
    let load = trial.load(Naming::Mixed);
    for _ in 0..rounds {
        trial.some_time(&load).await?;
        trial.stage.server.kill()?;
        trial.stage.server.restart().await?;
    }
    trial.some_time(&load).await?;
    trial.check(load, in_flight(rounds)).await?;
    Ok(())
}
