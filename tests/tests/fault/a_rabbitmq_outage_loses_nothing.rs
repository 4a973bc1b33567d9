//! RabbitMQ killed under load, and stopped for a while: events are refused at once, never left hanging, and all
//! goes on by itself when it is back.

use anyhow::{Context, Result};
use postrider_tests::harness::{RabbitMq, ServerOptions, shared_postgres};
use postrider_tests::load::{Naming, is_long};
use postrider_tests::stage::SOON;

use super::trial::{RECOVERY, Trial, in_flight, queues_in_use};

mod cluster {
    #[tokio::test(flavor = "multi_thread")]
    async fn a_killed_broker_loses_nothing_and_is_found_again() -> anyhow::Result<()> {
        super::a_killed_broker_loses_nothing_and_is_found_again().await
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn events_are_refused_in_time_while_the_broker_is_away() -> anyhow::Result<()> {
        super::events_are_refused_in_time_while_the_broker_is_away().await
    }
}

async fn open(test: &str) -> Result<(RabbitMq, Trial)> {
    let broker = RabbitMq::start().await?;
    let store = shared_postgres().await?.create_database().await?;
    let trial = Trial::open(test, ServerOptions::cluster(&broker.url(), &store)).await?;
    Ok((broker, trial))
}

async fn a_killed_broker_loses_nothing_and_is_found_again() -> Result<()> {
    let rounds = if is_long() { 10 } else { 2 };
    let (mut broker, mut trial) = open("rabbitmq killed").await?;
    let load = trial.load(Naming::Mixed);
    trial.wait_for_retries(20).await?;
    broker.wait_until_kept(&broker.url(), &queues_in_use()?).await?;
    for _ in 0..rounds {
        trial.some_time(&load).await?;
        broker.kill()?;
        load.wait_for_refusals(10, SOON).await?;
        broker.restart().await?;
        load.wait_for_accepted(50, RECOVERY).await.context("accepting again, without a restart of ours")?;
    }
    trial.check(load, in_flight(rounds)).await?;
    Ok(())
}

async fn events_are_refused_in_time_while_the_broker_is_away() -> Result<()> {
    let (mut broker, mut trial) = open("rabbitmq stopped").await?;
    let load = trial.load(Naming::Mixed);
    trial.some_time(&load).await?;
    broker.stop().await?;
    load.wait_for_refusals(100, SOON).await?;
    broker.restart().await?;
    load.wait_for_accepted(50, RECOVERY).await.context("accepting again, without a restart of ours")?;
    trial.check(load, in_flight(1)).await?;
    Ok(())
}
