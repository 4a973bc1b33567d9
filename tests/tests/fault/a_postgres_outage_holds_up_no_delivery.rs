//! PostgreSQL killed and stopped under load: deliveries go on, what needs the store says so, and the log is complete afterwards.

use std::time::Duration;

use anyhow::{Result, ensure};
use postrider_tests::harness::{Postgres, ServerOptions, eventually, fault_lasts, shared_rabbitmq};
use postrider_tests::load::{Naming, is_long};
use postrider_tests::stage::SOON;
use serde_json::json;

use super::trial::{Trial, in_flight};

mod cluster {
    #[tokio::test(flavor = "multi_thread")]
    async fn deliveries_go_on_without_the_store_and_the_log_is_complete_afterwards() -> anyhow::Result<()> {
        super::deliveries_go_on_without_the_store_and_the_log_is_complete_afterwards().await
    }
}

/// How long the first outages of a long run last, by a kill and by a stop.
const LONG_OUTAGE: Duration = Duration::from_secs(60);

async fn deliveries_go_on_without_the_store_and_the_log_is_complete_afterwards() -> Result<()> {
    let rounds = if is_long() { 10 } else { 2 };
    let mut store = Postgres::start().await?;
    let queue = shared_rabbitmq().await?.vhost().await?;
    let options = ServerOptions::cluster(&queue, &store.create_database().await?);
    let mut trial = Trial::open("postgres outage", options).await?;
    let load = trial.load(Naming::Unnamed);
    for round in 0..rounds {
        trial.some_time(&load).await?;
        if round % 2 == 0 {
            store.kill()?;
        } else {
            store.stop().await?;
        }
        load.wait_for_accepted(100, SOON).await?;
        trial.wait_for_more_requests(200).await?;
        require_unavailable(&trial).await?;
        if is_long() && round < 2 {
            fault_lasts(LONG_OUTAGE).await;
            load.wait_for_accepted(100, SOON).await?;
            trial.wait_for_more_requests(200).await?;
        }
        store.restart().await?;
        eventually("the administration to answer again", SOON, async || {
            let answer = trial.stage.server.admin().get("/v1/tenants").await?;
            Ok((answer.status == 200).then_some(()))
        })
        .await?;
    }
    trial.check_in_time(load, in_flight(rounds)).await?;
    Ok(())
}

/// What cannot be done without the store is refused with 503, and nothing hangs.
async fn require_unavailable(trial: &Trial) -> Result<()> {
    let admin = trial.stage.server.admin();
    admin.post("/v1/tenants", &json!({"name": "Later"})).await?.require(503)?;
    for path in ["/v1/deliveries", "/v1/ledger"] {
        trial.stage.api.get(path).await?.require(503)?;
    }
    let keyed = json!({"type": "other.event", "data": {}, "id": "named"});
    let refused = trial.stage.api.post("/v1/events", &keyed).await?.require(503)?;
    ensure!(refused.json()?["code"] == "unavailable" && refused.header("retry-after").is_some(), "{refused}");
    Ok(())
}
