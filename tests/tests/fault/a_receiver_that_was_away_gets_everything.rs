//! A receiver that nobody answers for: its deliveries are tried again until it is back, and nobody else waits.

use anyhow::{Result, ensure};
use postrider_tests::harness::port::PortLease;
use postrider_tests::harness::{Receiver, eventually};
use postrider_tests::on_both_engines;
use postrider_tests::stage::{EngineKind, SOON, Stage, server_options};
use serde_json::json;

on_both_engines!(deliveries_to_a_receiver_that_was_away_arrive_once_it_is_back);

const EVENTS: usize = 50;

async fn deliveries_to_a_receiver_that_was_away_arrive_once_it_is_back(engine: EngineKind) -> Result<()> {
    let stage = Stage::open_with(server_options(engine).await?, "trcker").await?;
    let port = PortLease::take()?;
    let waits =
        json!({"waits": ["300ms", "300ms", "1s", "1s", "2s", "2s", "4s", "4s", "4s", "4s", "4s", "4s"]});
    let url = format!("http://127.0.0.1:{}/hook", port.number());
    let webhook = json!({"name": "away", "url": url, "events": ["*"], "retry": waits});
    stage.api.post("/v1/webhooks", &webhook).await?.require(201)?;
    stage.webhook("/well", "*", json!({})).await?;
    let mut doubts = 0;
    for number in 0..EVENTS {
        // A busy machine may keep an answer back; sent again under its id it is the same event.
        let event = json!({"id": format!("away-{number}"), "type": "a.b", "data": {"number": number}});
        let accepted = eventually("the event to be accepted", SOON, async || {
            let answer = stage.api.post("/v1/events", &event).await?;
            doubts += usize::from(answer.status == 503);
            Ok((answer.status != 503).then_some(answer))
        });
        accepted.await?.require(202)?;
    }
    stage.receiver.wait_for_requests("/well", EVENTS, SOON).await?;
    eventually("every delivery to have failed twice", SOON, async || {
        let list = stage.api.get("/v1/deliveries?limit=200&status=retrying").await?.require(200)?.json()?;
        let rows = list["data"].as_array().cloned().unwrap_or_default();
        let refused =
            rows.iter().filter(|row| row["attempts"].as_u64() >= Some(2) && row["last_error"] == "connect");
        Ok((refused.count() == EVENTS).then_some(()))
    })
    .await?;
    let back = Receiver::start_on(port.number()).await?;
    back.wait_for_requests("/hook", EVENTS, SOON).await?;
    let ledger = stage.wait_until_settled(SOON).await?;
    ensure!(ledger["deliveries"]["delivered"] == 2 * EVENTS, "{ledger}");
    let may_be = EVENTS..=EVENTS + doubts;
    for count in [back.count(), stage.receiver.count()] {
        ensure!(may_be.contains(&count), "each exactly once, but for {doubts} in doubt: {count}");
    }
    Ok(())
}
