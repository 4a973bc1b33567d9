//! The private servers: they keep what they must over a crash, and none is left behind.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use lapin::options::{BasicGetOptions, BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Confirmation, Connection, ConnectionProperties};
use postrider_tests::harness::{
    Postgres, RabbitMq, RabbitMqCluster, eventually, postgres, shared_postgres, shared_rabbitmq, signal,
};
use serde_json::Value;

const SOON: Duration = Duration::from_secs(60);
const QUEUE: &str = "kept";

async fn channel(url: &str) -> Result<(Connection, Channel)> {
    let connection = Connection::connect(url, ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
    channel.queue_declare(QUEUE.into(), QueueDeclareOptions::durable(), arguments).await?;
    Ok((connection, channel))
}

#[expect(
    clippy::disallowed_methods,
    reason = "proves the broker of the harness, below any publisher of ours"
)]
async fn publish(channel: &Channel, body: &[u8]) -> Result<bool> {
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    let properties = BasicProperties::default().with_delivery_mode(2);
    let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
    let confirmed = channel.basic_publish("".into(), QUEUE.into(), options, body, properties).await?.await?;
    Ok(matches!(confirmed, Confirmation::Ack(None)))
}

#[tokio::test]
async fn a_confirmed_message_survives_a_killed_broker() -> Result<()> {
    let mut broker = RabbitMq::start().await?;
    let (connection, sending) = channel(&broker.url()).await?;
    assert!(publish(&sending, b"kept").await?);
    broker.wait_until_kept(&broker.url(), &[QUEUE]).await?;
    broker.kill()?;
    drop((sending, connection));
    broker.restart().await?;
    let (_connection, receiving) = channel(&broker.url()).await?;
    let message = eventually("the message", SOON, async || {
        Ok(receiving.basic_get(QUEUE.into(), BasicGetOptions { no_ack: true }).await?)
    })
    .await?;
    assert_eq!(message.delivery.data, b"kept");
    Ok(())
}

#[tokio::test]
async fn a_broker_can_be_stopped_and_started_and_administered() -> Result<()> {
    let mut broker = RabbitMq::start().await?;
    let pids = broker.pids();
    let hosts = broker.ctl(&["list_vhosts", "name"]).await?;
    assert!(hosts.lines().any(|line| line == "test-0"), "{hosts}");
    broker.stop().await?;
    assert!(!pids.iter().all(|pid| signal::is_running(*pid)), "the broker still runs");
    broker.restart().await?;
    channel(&broker.url()).await?;
    let folder = broker.folder().to_owned();
    let all = [pids, broker.pids()].concat();
    drop(broker);
    assert!(!all.iter().any(|pid| signal::is_running(*pid)), "{all:?}");
    assert!(!folder.exists());
    Ok(())
}

#[tokio::test]
async fn each_virtual_host_is_a_world_of_its_own() -> Result<()> {
    let broker = shared_rabbitmq().await?;
    let (first, second) = (broker.vhost().await?, broker.vhost().await?);
    assert_ne!(first, second);
    let (_one, sending) = channel(&first).await?;
    let (_two, receiving) = channel(&second).await?;
    assert!(publish(&sending, b"mine").await?);
    assert!(receiving.basic_get(QUEUE.into(), BasicGetOptions { no_ack: true }).await?.is_none());
    // Beyond those made at the start, where each is made by a command.
    let mut last = second;
    for _ in 0..32 {
        last = broker.vhost().await?;
    }
    channel(&last).await?;
    Ok(())
}

#[tokio::test]
async fn a_committed_row_survives_a_killed_database() -> Result<()> {
    let mut database = Postgres::start().await?;
    let url = database.create_database().await?;
    // The connection stays open over the kill: the processes that serve connections must go too.
    let before = postgres::connect(&url).await?;
    before.batch_execute("CREATE TABLE kept (id int); INSERT INTO kept VALUES (7)").await?;
    let pids = database.pids();
    assert!(pids.len() > 1, "{pids:?}");
    database.kill()?;
    assert!(before.simple_query("SELECT 1").await.is_err());
    database.restart().await?;
    assert!(!pids.iter().any(|pid| signal::is_running(*pid)));
    let row = postgres::connect(&url).await?.query_one("SELECT id FROM kept", &[]).await?;
    assert_eq!(row.get::<_, i32>(0), 7);
    let (folder, pids) = (database.folder().to_owned(), database.pids());
    drop(database);
    assert!(!pids.iter().any(|pid| signal::is_running(*pid)), "{pids:?}");
    assert!(!folder.exists());
    Ok(())
}

#[tokio::test]
async fn a_frozen_database_answers_again_once_thawed() -> Result<()> {
    let database = Postgres::start().await?;
    let client = postgres::connect(&database.url("postgres")).await?;
    database.freeze()?;
    let question = client.query_one("SELECT 1", &[]);
    tokio::pin!(question);
    assert!(tokio::time::timeout(Duration::from_millis(100), &mut question).await.is_err());
    database.thaw()?;
    assert_eq!(question.await?.get::<_, i32>(0), 1);
    Ok(())
}

#[tokio::test]
async fn each_database_is_fresh() -> Result<()> {
    let server = shared_postgres().await?;
    let (first, second) = (server.create_database().await?, server.create_database().await?);
    for url in [first, second] {
        postgres::connect(&url).await?.batch_execute("CREATE TABLE mine ()").await?;
    }
    Ok(())
}

/// A test process in little: it holds both servers as statics, which have no destructors.
fn holder() -> Result<(Child, Vec<u32>, String)> {
    let mut child = Command::new(env!("CARGO_BIN_EXE_harness-holder"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("starting the holder")?;
    let mut line = String::new();
    BufReader::new(child.stdout.take().context("no output")?).read_line(&mut line)?;
    let said: Value = serde_json::from_str(&line).with_context(|| format!("the holder said {line:?}"))?;
    let pids: Vec<u32> = serde_json::from_value(said["pids"].clone())?;
    assert!(pids.len() > 3 && pids.iter().all(|pid| signal::is_running(*pid)), "{pids:?}");
    Ok((child, pids, serde_json::from_value(said["folder"].clone())?))
}

async fn nothing_is_left(pids: &[u32], folder: &str) -> Result<()> {
    eventually("all processes and files to be gone", SOON, async || {
        let gone = !pids.iter().any(|pid| signal::is_running(*pid)) && !Path::new(folder).exists();
        Ok(gone.then_some(()))
    })
    .await
}

#[tokio::test]
async fn nothing_is_left_behind_when_a_test_process_returns() -> Result<()> {
    let (mut child, pids, folder) = tokio::task::spawn_blocking(holder).await??;
    drop(child.stdin.take());
    assert!(child.wait()?.success());
    nothing_is_left(&pids, &folder).await
}

#[tokio::test]
async fn nothing_is_left_behind_when_a_test_process_is_killed() -> Result<()> {
    let (mut child, pids, folder) = tokio::task::spawn_blocking(holder).await??;
    child.kill()?;
    child.wait()?;
    nothing_is_left(&pids, &folder).await
}

#[tokio::test]
async fn three_nodes_are_one_broker_of_which_one_may_die() -> Result<()> {
    let mut cluster = RabbitMqCluster::start().await?;
    let url = cluster.vhost()?;
    let nodes: Vec<String> = cluster.node_urls(&url);
    assert_eq!(nodes.len(), RabbitMqCluster::NODES);
    let (connection, sending) = channel(&nodes[0]).await?;
    assert!(publish(&sending, b"kept").await?);
    assert_eq!(cluster.members_of(&url, QUEUE).await?, RabbitMqCluster::NODES);
    drop((sending, connection));
    let leader = cluster.leader_of(&url, QUEUE).await?;
    cluster.node(leader).kill()?;
    let another = &nodes[(leader + 1) % RabbitMqCluster::NODES];
    // A channel that asks before there is a new leader is closed.
    let message = eventually("the message", SOON, async || {
        let Ok((_connection, receiving)) = channel(another).await else { return Ok(None) };
        Ok(receiving.basic_get(QUEUE.into(), BasicGetOptions { no_ack: true }).await.ok().flatten())
    })
    .await?;
    assert_eq!(message.delivery.data, b"kept");
    assert_ne!(cluster.leader_of(&url, QUEUE).await?, leader, "a dead node still leads");
    cluster.restart_stopped().await
}
