//! Rubbish in the queues, a message that ends whoever takes it, a binding that is gone: each is seen, none holds up
//! anything else, and the ledger balances.

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use lapin::types::FieldTable;
use postrider_contract::ports::WorkKind;
use postrider_rabbitmq::QueueName;
use postrider_service::system::SystemClock;
use postrider_sqlite::{Settings, SqliteEngine};
use postrider_tests::harness::{
    Behaviour, Server, ServerOptions, Stranger, eventually, shared_postgres, shared_rabbitmq,
};
use postrider_tests::stage::{EngineKind, SOON, Stage, only_delivery};
use serde_json::{Value, json};

/// A version that comes after ours, and bytes of nobody.
const NEWER: &[u8] = &[0x08, 0x02, 0x12, 0x00];
const RUBBISH: &[u8] = b"not a message of ours";

mod embedded {
    #[tokio::test(flavor = "multi_thread")]
    async fn rubbish_in_the_queues_is_kept_and_holds_up_nothing() -> anyhow::Result<()> {
        super::rubbish_in_the_embedded_queues().await
    }
}

mod cluster {
    #[tokio::test(flavor = "multi_thread")]
    async fn rubbish_in_the_queues_is_kept_and_holds_up_nothing() -> anyhow::Result<()> {
        super::rubbish_in_the_queues_of_the_broker().await
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_delivery_given_out_too_often_ends_as_failed() -> anyhow::Result<()> {
        super::a_delivery_given_out_too_often_ends_as_failed().await
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_retry_that_finds_no_queue_is_made_all_the_same() -> anyhow::Result<()> {
        super::a_retry_that_finds_no_queue_is_made_all_the_same().await
    }
}

async fn rubbish_in_the_embedded_queues() -> Result<()> {
    let mut stage = Stage::open(EngineKind::Embedded, "standard").await?;
    stage.webhook("/hook", "*", json!({})).await?;
    ensure!(stage.server.terminate().await?.success());
    let folder = stage.server.folder().join("data");
    let opening = move || SqliteEngine::open(Settings::new(folder), std::sync::Arc::new(SystemClock));
    let engine = tokio::task::spawn_blocking(opening).await??;
    for bytes in [NEWER, RUBBISH] {
        engine.publish_encoded(WorkKind::First, Bytes::from_static(bytes)).await?;
    }
    engine.set_aside_encoded("journal", Bytes::from_static(RUBBISH)).await?;
    engine.close().await;
    drop(engine);
    stage.server.restart().await?;
    goes_on_beside_what_is_kept(&stage, 3).await
}

async fn rubbish_in_the_queues_of_the_broker() -> Result<()> {
    let (broker, stage) = open_cluster(|options| options).await?;
    stage.webhook("/hook", "*", json!({})).await?;
    broker.put(QueueName::First, NEWER).await?;
    broker.put(QueueName::Retry, RUBBISH).await?;
    broker.put(QueueName::Journal, RUBBISH).await?;
    goes_on_beside_what_is_kept(&stage, 3).await?;
    ensure!(broker.ready(QueueName::Unreadable).await? == 3);
    ensure!(broker.ready(QueueName::Dead).await? == 0);
    Ok(())
}

/// An event is delivered, the ledger balances, and the metrics tell of what is kept.
async fn goes_on_beside_what_is_kept(stage: &Stage, kept: u64) -> Result<()> {
    wait_for_metric(&stage.server, r#"postrider_queue_messages{queue="unreadable"}"#, kept).await?;
    wait_for_metric(&stage.server, r#"postrider_strays_total{reason="unknown_version"}"#, 1).await?;
    wait_for_metric(&stage.server, r#"postrider_strays_total{reason="unreadable"}"#, kept - 1).await?;
    let accepted = stage.publish("a.b", json!({"n": 1})).await?;
    stage.wait_for_status(&only_delivery(&accepted)?, "delivered").await?;
    let ledger = stage.wait_until_settled(SOON).await?;
    ensure!(ledger["deliveries"]["delivered"] == 1, "{ledger}");
    wait_for_metric(&stage.server, r#"postrider_queue_messages{queue="dead"}"#, 0).await
}

async fn a_delivery_given_out_too_often_ends_as_failed() -> Result<()> {
    // Nobody but the test takes first tries.
    let (broker, stage) = open_cluster(|options| options.roles("ingest,status,manage")).await?;
    stage.webhook("/hook", "*", json!({})).await?;
    let accepted = stage.publish("a.b", json!({"n": 1})).await?;
    let id = only_delivery(&accepted)?;
    stage.wait_for_status(&id, "pending").await?;
    let failed = async {
        loop {
            broker.give_back(QueueName::First).await?;
            let found = stage.delivery(&id).await?;
            if found["status"] != "pending" {
                return Ok::<Value, anyhow::Error>(found);
            }
        }
    };
    let delivery = tokio::time::timeout(SOON * 2, failed).await.context("it never ended")??;
    ensure!(delivery["status"] == "failed" && delivery["reason"] == "internal", "{delivery}");
    let ledger = stage.wait_until_settled(SOON).await?;
    ensure!(ledger["deliveries"]["failed"] == 1 && ledger["balanced"] == true, "{ledger}");
    wait_for_metric(&stage.server, r#"postrider_strays_total{reason="given_out_too_often"}"#, 1).await?;
    ensure!(broker.ready(QueueName::Dead).await? == 0 && stage.receiver.count() == 0);
    Ok(())
}

async fn a_retry_that_finds_no_queue_is_made_all_the_same() -> Result<()> {
    let (broker, stage) = open_cluster(|options| options).await?;
    stage.receiver.script("/hook", Behaviour::fail_each("webhook-id", 1, 503));
    stage.webhook("/hook", "*", json!({"retry": {"waits": ["1s"]}})).await?;
    let channel = broker.connection.create_channel().await?;
    let (queue, exchange) = (broker.topology.queue(QueueName::Retry), "postrider.due.v1");
    channel
        .queue_unbind(queue.as_str().into(), exchange.into(), "retry".into(), FieldTable::default())
        .await?;
    let accepted = stage.publish("a.b", json!({"n": 1})).await?;
    let delivery = stage.wait_for_status(&only_delivery(&accepted)?, "delivered").await?;
    ensure!(delivery["attempts"] == 2, "{delivery}");
    ensure!(stage.receiver.count() == 2);
    wait_for_metric(&stage.server, r#"postrider_strays_total{reason="unroutable"}"#, 1).await?;
    let ledger = stage.wait_until_settled(SOON).await?;
    ensure!(ledger["deliveries"]["delivered"] == 1, "{ledger}");
    ensure!(broker.ready(QueueName::CatchAll).await? == 0);
    // The binding is made again: soon a retry takes the straight way.
    eventually("a retry that is no stray", SOON, async || {
        let before = unroutable(&stage.server).await?;
        let accepted = stage.publish("a.b", json!({"n": 2})).await?;
        let delivery = stage.wait_for_status(&only_delivery(&accepted)?, "delivered").await?;
        ensure!(delivery["attempts"] == 2, "{delivery}");
        Ok((unroutable(&stage.server).await? == before).then_some(()))
    })
    .await
}

/// How many retries came by the alternate exchange so far, as the metrics tell.
async fn unroutable(server: &Server) -> Result<u64> {
    let answer = server.admin().get("/metrics").await?.require(200)?;
    let text = String::from_utf8_lossy(&answer.body).into_owned();
    let series = r#"postrider_strays_total{reason="unroutable"} "#;
    let number = text.lines().find_map(|line| line.strip_prefix(series)).context("no such series")?;
    Ok(number.parse()?)
}

/// Until a series of the server shows this number.
async fn wait_for_metric(server: &Server, series: &str, number: u64) -> Result<()> {
    let line = format!("{series} {number}");
    let what = format!("{line} in the metrics");
    eventually(&what, SOON, async || {
        let answer = server.admin().get("/metrics").await?.require(200)?;
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        Ok(text.lines().any(|found| found == line).then_some(()))
    })
    .await
}

async fn open_cluster(options: impl FnOnce(ServerOptions) -> ServerOptions) -> Result<(Stranger, Stage)> {
    let queue = shared_rabbitmq().await?.vhost().await?;
    let store = shared_postgres().await?.create_database().await?;
    let stage = Stage::open_with(options(ServerOptions::cluster(&queue, &store)), "standard").await?;
    Ok((Stranger::connect(&queue).await?, stage))
}
