//! The way to the servers: connections that are cut, reset, stalled and slow.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use postrider_tests::harness::{
    ChaosProxy, ServerOptions, Weather, fault_lasts, shared_postgres, shared_rabbitmq,
};
use postrider_tests::load::{Naming, is_long};
use postrider_tests::stage::SOON;

use super::trial::{RECOVERY, Trial, in_flight};

mod cluster {
    #[tokio::test(flavor = "multi_thread")]
    async fn connections_that_are_cut_and_reset_lose_nothing() -> anyhow::Result<()> {
        super::connections_that_are_cut_and_reset_lose_nothing().await
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_lost_way_to_the_broker_is_made_up_for_by_another() -> anyhow::Result<()> {
        super::a_lost_way_to_the_broker_is_made_up_for_by_another().await
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn stalled_connections_lose_nothing_and_hold_up_no_answer() -> anyhow::Result<()> {
        super::stalled_connections_lose_nothing_and_hold_up_no_answer().await
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_slow_store_holds_up_no_delivery_and_loses_nothing() -> anyhow::Result<()> {
        super::a_slow_store_holds_up_no_delivery_and_loses_nothing().await
    }
}

/// The links of one installation.
struct Links {
    broker: ChaosProxy,
    store: ChaosProxy,
}

async fn open(test: &str) -> Result<(Links, Trial)> {
    let queue = shared_rabbitmq().await?.vhost().await?;
    let store = shared_postgres().await?.create_database().await?;
    let (broker, queue) = ChaosProxy::in_front_of(&queue).await?;
    let (to_store, store) = ChaosProxy::in_front_of(&store).await?;
    let trial = Trial::open(test, ServerOptions::cluster(&queue, &store)).await?;
    Ok((Links { broker, store: to_store }, trial))
}

async fn connections_that_are_cut_and_reset_lose_nothing() -> Result<()> {
    let rounds = if is_long() { 60 } else { 8 };
    let (links, mut trial) = open("connections cut").await?;
    let load = trial.load(Naming::Mixed);
    for _ in 0..rounds {
        trial.some_time(&load).await?;
        match trial.chance.between(0, 3) {
            0 => links.broker.cut(),
            1 => links.broker.reset(),
            2 => links.store.cut(),
            _ => links.store.reset(),
        }
    }
    load.wait_for_accepted(50, RECOVERY).await.context("accepting again, without a restart of ours")?;
    trial.check(load, in_flight(rounds)).await?;
    Ok(())
}

/// Two ways to one broker stand for two of its nodes, of which never more than one can be reached.
async fn a_lost_way_to_the_broker_is_made_up_for_by_another() -> Result<()> {
    let rounds = if is_long() { 20 } else { 3 };
    let queue = shared_rabbitmq().await?.vhost().await?;
    let store = shared_postgres().await?.create_database().await?;
    let (one, by_one) = ChaosProxy::in_front_of(&queue).await?;
    let (two, _) = ChaosProxy::in_front_of(&queue).await?;
    two.turn(Weather::Refusing);
    let by_both =
        by_one.replacen(&one.address().to_string(), &format!("{},{}", one.address(), two.address()), 1);
    let mut trial = Trial::open("one way lost", ServerOptions::cluster(&by_both, &store)).await?;
    let load = trial.load(Naming::Mixed);
    let (mut open, mut lost) = (&one, &two);
    for _ in 0..rounds {
        trial.some_time(&load).await?;
        lost.heal();
        open.turn(Weather::Refusing);
        open.cut();
        std::mem::swap(&mut open, &mut lost);
        load.wait_for_accepted(50, RECOVERY).await.context("accepting by the other way")?;
        ensure!(lost.open_connections() == 0 && open.open_connections() > 0, "not by the other way");
    }
    trial.check(load, in_flight(rounds)).await?;
    Ok(())
}

async fn stalled_connections_lose_nothing_and_hold_up_no_answer() -> Result<()> {
    let stalled_for = Duration::from_secs(if is_long() { 60 } else { 6 });
    let (links, mut trial) = open("connections stalled").await?;
    let load = trial.load(Naming::Mixed);
    for link in [&links.broker, &links.store] {
        trial.some_time(&load).await?;
        link.turn(Weather::Stalled);
        load.wait_for_refusals(10, SOON).await?;
        fault_lasts(stalled_for).await;
        link.heal();
        load.wait_for_accepted(100, RECOVERY).await.context("accepting again, without a restart of ours")?;
    }
    trial.check(load, in_flight(2)).await?;
    Ok(())
}

async fn a_slow_store_holds_up_no_delivery_and_loses_nothing() -> Result<()> {
    let slow_for = Duration::from_secs(if is_long() { 60 } else { 3 });
    let (links, mut trial) = open("store slow").await?;
    let load = trial.load(Naming::Unnamed);
    trial.some_time(&load).await?;
    links.store.turn(Weather::Slow { latency: Duration::from_millis(500), bytes_per_second: 1_000_000 });
    load.wait_for_accepted(300, SOON).await.context("accepting beside a slow store")?;
    trial.wait_for_more_requests(600).await.context("delivering beside a slow store")?;
    fault_lasts(slow_for).await;
    links.store.heal();
    // No process and no server ended.
    trial.check(load, 0).await?;
    Ok(())
}
