//! PostgreSQL killed, stopped, set read-only and without room for its own log, under load: deliveries go on, what needs the store says so, and the log is complete afterwards.

use std::time::Duration;

use anyhow::{Result, ensure};
use postrider_tests::harness::postgres::connect;
use postrider_tests::harness::{
    Postgres, ServerOptions, SmallDisk, eventually, fault_lasts, shared_rabbitmq, take_all_space,
};
use postrider_tests::load::{Load, Naming, is_long};
use postrider_tests::stage::SOON;
use serde_json::json;

use super::trial::{RECOVERY, Trial, in_flight};

mod cluster {
    #[tokio::test(flavor = "multi_thread")]
    async fn deliveries_go_on_without_the_store_and_the_log_is_complete_afterwards() -> anyhow::Result<()> {
        super::deliveries_go_on_without_the_store_and_the_log_is_complete_afterwards().await
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn deliveries_go_on_while_the_store_is_read_only_and_the_log_is_complete_afterwards()
    -> anyhow::Result<()> {
        super::deliveries_go_on_while_the_store_is_read_only_and_the_log_is_complete_afterwards().await
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn deliveries_go_on_while_the_store_has_no_room_for_its_own_log_and_ours_is_complete_afterwards()
    -> anyhow::Result<()> {
        super::deliveries_go_on_while_the_store_has_no_room_for_its_own_log_and_ours_is_complete_afterwards()
            .await
    }
}

/// MiB of the disk that the store's own log is moved to.
const DISK: u32 = 128;
/// As much of it as that log takes when what is old is given free.
const SMALL: &str = "min_wal_size = 32MB\nmax_wal_size = 48MB";
/// Nothing is given free, as with a standby that does not follow; and the opposite.
const ALL_KEPT: &str = "wal_keep_size = 1GB";
const NONE_KEPT: &str = "wal_keep_size = 0";
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
        require_delivering(&trial, &load).await?;
        require_unavailable(&trial).await?;
        if is_long() && round < 2 {
            fault_lasts(LONG_OUTAGE).await;
            require_delivering(&trial, &load).await?;
        }
        store.restart().await?;
        wait_for_administration(&trial).await?;
    }
    trial.check(load, in_flight(rounds)).await?;
    Ok(())
}

async fn deliveries_go_on_while_the_store_is_read_only_and_the_log_is_complete_afterwards() -> Result<()> {
    let store = Postgres::start().await?;
    let queue = shared_rabbitmq().await?.vhost().await?;
    let options = ServerOptions::cluster(&queue, &store.create_database().await?);
    let mut trial = Trial::open("postgres read-only", options).await?;
    let load = trial.load(Naming::Unnamed);
    trial.some_time(&load).await?;
    store.alter("default_transaction_read_only = on").await?;
    require_delivering(&trial, &load).await?;
    let refused = trial.stage.server.admin().post("/v1/tenants", &json!({"name": "Later"})).await?;
    ensure!(refused.require(503)?.json()?["code"] == "unavailable");
    if is_long() {
        fault_lasts(LONG_OUTAGE).await;
    }
    store.alter("default_transaction_read_only = off").await?;
    wait_for_administration(&trial).await?;
    // Nothing died, so nothing is sent twice.
    trial.check(load, 0).await?;
    Ok(())
}

async fn deliveries_go_on_while_the_store_has_no_room_for_its_own_log_and_ours_is_complete_afterwards()
-> Result<()> {
    let mut store = Postgres::start().await?;
    let Some(disk) = SmallDisk::mount(store.folder(), DISK, store.account()) else { return Ok(()) };
    store.set(SMALL)?;
    store.set(ALL_KEPT)?;
    store.move_log_to(disk.path()).await?;
    let queue = shared_rabbitmq().await?.vhost().await?;
    let database = store.create_database().await?;
    let mut trial = Trial::open("postgres without room", ServerOptions::cluster(&queue, &database)).await?;
    let load = trial.load(Naming::Unnamed);
    trial.some_time(&load).await?;
    let ballast = disk.path().join("ballast");
    take_all_space(&ballast)?;
    eventually("PostgreSQL to give up", RECOVERY, async || {
        fill_own_log(&database).await.ok();
        Ok(store.has_ended()?.then_some(()))
    })
    .await?;
    require_delivering(&trial, &load).await?;
    require_unavailable(&trial).await?;
    if is_long() {
        fault_lasts(LONG_OUTAGE).await;
    }
    std::fs::remove_file(ballast)?;
    store.set(NONE_KEPT)?;
    store.restart().await?;
    wait_for_administration(&trial).await?;
    trial.check(load, 0).await?;
    Ok(())
}

/// Uses up one file of the server's own log.
async fn fill_own_log(database: &str) -> Result<()> {
    let client = connect(database).await?;
    client.batch_execute("SELECT pg_logical_emit_message(true, 'filler', 'more')").await?;
    client.batch_execute("SELECT pg_switch_wal()").await?;
    Ok(())
}

async fn require_delivering(trial: &Trial, load: &Load) -> Result<()> {
    load.wait_for_accepted(100, SOON).await?;
    trial.wait_for_more_requests(200).await
}

async fn wait_for_administration(trial: &Trial) -> Result<()> {
    eventually("the administration to answer again", SOON, async || {
        let answer = trial.stage.server.admin().post("/v1/tenants", &json!({"name": "Again"})).await?;
        Ok((answer.status == 201).then_some(()))
    })
    .await
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
