//! Three RabbitMQ nodes: the loss of one is made up for by the other two; the loss of two is an outage in which every
//! answer still comes in time, and after which all goes on by itself.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use postrider_rabbitmq::{QueueLimits, QueueName, Topology};
use postrider_tests::harness::{RabbitMqCluster, ServerOptions, fault_lasts, shared_postgres};
use postrider_tests::load::{Naming, is_long};
use postrider_tests::stage::SOON;
use tokio::sync::{Mutex, MutexGuard, OnceCell};

use super::broker::Broker;
use super::trial::{RECOVERY, Trial, in_flight, queues_in_use};

mod cluster {
    #[tokio::test(flavor = "multi_thread")]
    async fn the_killed_leader_of_three_nodes_is_made_up_for() -> anyhow::Result<()> {
        super::the_killed_leader_of_three_nodes_is_made_up_for().await
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn every_answer_comes_in_time_while_two_of_three_nodes_are_stopped() -> anyhow::Result<()> {
        super::every_answer_comes_in_time_while_two_of_three_nodes_are_stopped().await
    }
}

/// One broker for both, one at a time: its nodes take long to start.
async fn broker() -> Result<MutexGuard<'static, RabbitMqCluster>> {
    static BROKER: OnceCell<Mutex<RabbitMqCluster>> = OnceCell::const_new();
    let started = BROKER.get_or_try_init(async || anyhow::Ok(Mutex::new(RabbitMqCluster::start().await?)));
    Ok(started.await?.lock().await)
}

async fn open(test: &str, queue: &str) -> Result<Trial> {
    let store = shared_postgres().await?.create_database().await?;
    Trial::open(test, ServerOptions::cluster(queue, &store)).await
}

async fn the_killed_leader_of_three_nodes_is_made_up_for() -> Result<()> {
    let rounds = if is_long() { 6 } else { 1 };
    let mut broker = broker().await?;
    let url = broker.vhost()?;
    let mut trial = open("leader killed", &url).await?;
    let topology = Topology::new("postrider", QueueLimits::default());
    let first = topology.queue(QueueName::First);
    ensure!(broker.members_of(&url, &first).await? == RabbitMqCluster::NODES, "a node has no member");
    let load = trial.load(Naming::Mixed);
    trial.wait_for_retries(20).await?;
    broker.wait_until_kept(&url, &queues_in_use()?).await?;
    for round in 0..rounds {
        trial.some_time(&load).await?;
        let queue = [QueueName::First, QueueName::Journal, QueueName::Retry][round % 3];
        if queue == QueueName::First {
            // Publishing begins anew on another node before the queue has another leader.
            broker.move_leader_to_connection(&url, &first, "(publishing)").await?;
        }
        let leader = broker.leader_of(&url, &topology.queue(queue)).await?;
        broker.node(leader).kill()?;
        load.wait_for_accepted(200, RECOVERY).await.context("accepting with two nodes")?;
        trial.wait_for_more_requests(200).await.context("delivering with two nodes")?;
        broker.restart_stopped().await?;
    }
    trial.broker = Broker::Nodes(broker, url);
    trial.check(load, in_flight(rounds)).await?;
    Ok(())
}

async fn every_answer_comes_in_time_while_two_of_three_nodes_are_stopped() -> Result<()> {
    let away = Duration::from_secs(if is_long() { 60 } else { 5 });
    let mut broker = broker().await?;
    let url = broker.vhost()?;
    let mut trial = open("two of three stopped", &url).await?;
    let load = trial.load(Naming::Mixed);
    trial.wait_for_retries(20).await?;
    broker.wait_until_kept(&url, &queues_in_use()?).await?;
    trial.some_time(&load).await?;
    let survivor = usize::try_from(trial.chance.between(0, 2))?;
    broker.node((survivor + 1) % RabbitMqCluster::NODES).kill()?;
    broker.node((survivor + 2) % RabbitMqCluster::NODES).stop().await?;
    load.wait_for_refusals(50, SOON).await?;
    fault_lasts(away).await;
    // It still answers, and with refusals.
    load.wait_for_refusals(50, SOON).await?;
    broker.restart_stopped().await?;
    load.wait_for_accepted(50, RECOVERY).await.context("accepting again, without a restart of ours")?;
    trial.broker = Broker::Nodes(broker, url);
    trial.check(load, in_flight(2)).await?;
    Ok(())
}
