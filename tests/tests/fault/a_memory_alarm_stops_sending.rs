//! A broker that is short of memory takes no publishes: events are refused at once, nothing is sent that could not be
//! recorded, and all goes on by itself when the alarm is over.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use postrider_tests::harness::{
    Behaviour, Gate, RabbitMq, Server, ServerOptions, eventually, shared_postgres,
};
use postrider_tests::stage::{SOON, Stage};
use serde_json::json;

/// How long is waited for what must not happen.
const QUIET: Duration = Duration::from_secs(1);
/// Of five slots three are for first tries.
const HELD: usize = 3;

mod cluster {
    #[tokio::test(flavor = "multi_thread")]
    async fn under_a_memory_alarm_nothing_is_accepted_or_sent_and_then_all_goes_on() -> anyhow::Result<()> {
        super::under_a_memory_alarm_nothing_is_accepted_or_sent_and_then_all_goes_on().await
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_worker_that_connects_under_a_memory_alarm_sends_nothing_until_it_is_over() -> anyhow::Result<()>
    {
        super::a_worker_that_connects_under_a_memory_alarm_sends_nothing_until_it_is_over().await
    }
}

async fn under_a_memory_alarm_nothing_is_accepted_or_sent_and_then_all_goes_on() -> Result<()> {
    let broker = RabbitMq::start().await?;
    let store = shared_postgres().await?.create_database().await?;
    let options = ServerOptions::cluster(&broker.url(), &store).env("POSTRIDER_WORKER_SLOTS", "5");
    let stage = Stage::open_with(options, "standard").await?;
    let gate = Gate::closed();
    let then = Box::new(Behaviour::status(200));
    stage.receiver.script("/held", Behaviour::Wait { gate: gate.clone(), then });
    // Longer than it takes to raise the alarm, on a busy machine too.
    stage.webhook("/held", "held.*", json!({"timeout_ms": 60_000})).await?;
    stage.webhook("/next", "next.*", json!({})).await?;
    for _ in 0..HELD {
        stage.publish("held.a", json!({})).await?;
    }
    stage.receiver.wait_for_requests("/held", HELD, SOON).await?;
    for _ in 0..HELD {
        // Their slots are taken.
        stage.publish("next.a", json!({})).await?;
    }

    broker.ctl(&["set_vm_memory_high_watermark", "0.000001"]).await?;
    // The broker tells a connection when it next publishes; that event is in doubt.
    eventually("events to be refused", SOON, async || {
        Ok((post(&stage).await? == "unavailable").then_some(()))
    })
    .await?;
    for _ in 0..10 {
        ensure!(post(&stage).await? == "unavailable", "at once, with nothing in doubt");
    }
    let before = stage.receiver.requests().iter().filter(|request| request.path() == "/next").count();
    gate.open();
    let sent = stage.receiver.wait_for_requests("/next", before + 1, QUIET).await;
    ensure!(sent.is_err(), "a delivery was sent that nobody could record");

    broker.ctl(&["set_vm_memory_high_watermark", "0.6"]).await?;
    stage.receiver.wait_for_requests("/next", HELD, SOON).await.context("sending again")?;
    eventually("events to be accepted", SOON, async || Ok((post(&stage).await? == "accepted").then_some(())))
        .await?;
    let ledger = stage.wait_until_settled(SOON).await?;
    ensure!(ledger["deliveries"]["delivered"] == 2 * HELD, "{ledger}");
    Ok(())
}

/// A process of its own, which has published nothing yet when it could begin.
async fn a_worker_that_connects_under_a_memory_alarm_sends_nothing_until_it_is_over() -> Result<()> {
    let broker = RabbitMq::start().await?;
    let store = shared_postgres().await?.create_database().await?;
    let options = |roles: &str| ServerOptions::cluster(&broker.url(), &store).roles(roles);
    let stage = Stage::open_with(options("ingest,status,manage"), "standard").await?;
    stage.webhook("/next", "next.*", json!({})).await?;
    let mut worker = Server::start(options("worker")).await?;
    worker.kill()?;
    for _ in 0..HELD {
        stage.publish("next.a", json!({})).await?;
    }

    broker.ctl(&["set_vm_memory_high_watermark", "0.000001"]).await?;
    worker.spawn()?;
    wait_until_it_knows(&worker).await?;
    let sent = stage.receiver.wait_for_requests("/next", 1, QUIET).await;
    ensure!(sent.is_err(), "a delivery was sent that nobody could record");

    broker.ctl(&["set_vm_memory_high_watermark", "0.6"]).await?;
    stage.receiver.wait_for_requests("/next", HELD, SOON).await.context("sending")?;
    let ledger = stage.wait_until_settled(SOON).await?;
    ensure!(ledger["deliveries"]["delivered"] == HELD, "{ledger}");

    // It has nothing to publish now by which it would learn of it.
    broker.ctl(&["set_vm_memory_high_watermark", "0.000001"]).await?;
    wait_until_it_knows(&worker).await
}

async fn wait_until_it_knows(worker: &Server) -> Result<()> {
    let api = worker.api("");
    eventually("the worker to know that it cannot publish", SOON, async || {
        let Ok(answer) = api.get("/readyz").await else { return Ok(None) };
        Ok(String::from_utf8_lossy(&answer.body).contains("short of memory").then_some(()))
    })
    .await
}

/// Publishes an event that no webhook wants: `accepted`, or the code of its refusal.
async fn post(stage: &Stage) -> Result<String> {
    let answer = stage.api.post("/v1/events", &json!({"type": "other.a", "data": {}})).await?;
    if answer.status == 202 {
        return Ok("accepted".to_owned());
    }
    Ok(answer.require(503)?.json()?["code"].as_str().context("a problem has a code")?.to_owned())
}
