//! A broker that is out of memory takes no publishes: what could not be written down is not sent either.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use postrider_tests::harness::{RabbitMq, ServerOptions, fault_lasts, shared_postgres};
use postrider_tests::load::{Naming, is_long};
use postrider_tests::stage::SOON;

use super::trial::{RECOVERY, SLOTS, Trial, in_flight};

mod cluster {
    #[tokio::test(flavor = "multi_thread")]
    async fn nothing_more_is_sent_and_every_answer_comes_in_time_during_a_memory_alarm() -> anyhow::Result<()>
    {
        super::nothing_more_is_sent_and_every_answer_comes_in_time_during_a_memory_alarm().await
    }
}

async fn nothing_more_is_sent_and_every_answer_comes_in_time_during_a_memory_alarm() -> Result<()> {
    let lasts = Duration::from_secs(if is_long() { 60 } else { 3 });
    let broker = RabbitMq::start().await?;
    let store = shared_postgres().await?.create_database().await?;
    let mut trial = Trial::open("memory alarm", ServerOptions::cluster(&broker.url(), &store)).await?;
    let load = trial.load(Naming::Mixed);
    trial.some_time(&load).await?;
    broker.ctl(&["set_vm_memory_high_watermark", "absolute", "1MB"]).await?;
    load.wait_for_refusals(50, SOON).await?;
    // What a refusal knows, the worker knows: from now on only tries that were under way come.
    let before = trial.stage.receiver.count();
    load.wait_for_refusals(50, SOON).await?;
    fault_lasts(lasts).await;
    let during = trial.stage.receiver.count() - before;
    println!("{during} requests during the alarm");
    ensure!(during <= SLOTS, "{during} requests during the alarm, with {SLOTS} slots");
    broker.ctl(&["set_vm_memory_high_watermark", "0.8"]).await?;
    load.wait_for_accepted(50, RECOVERY).await.context("accepting again, without a restart of ours")?;
    trial.check(load, in_flight(1)).await?;
    Ok(())
}
