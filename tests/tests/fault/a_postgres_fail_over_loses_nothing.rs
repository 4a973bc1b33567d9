//! The PostgreSQL that is written to is killed under load and its standby promoted: deliveries go on meanwhile, and
//! the log, continued on the other server, is complete.

use anyhow::{Context, Result};
use postrider_tests::harness::{Postgres, ServerOptions, eventually, shared_rabbitmq};
use postrider_tests::load::Naming;
use postrider_tests::stage::SOON;

use super::trial::Trial;

mod cluster {
    #[tokio::test(flavor = "multi_thread")]
    async fn the_log_is_continued_on_the_promoted_server_and_is_complete() -> anyhow::Result<()> {
        super::the_log_is_continued_on_the_promoted_server_and_is_complete().await
    }
}

async fn the_log_is_continued_on_the_promoted_server_and_is_complete() -> Result<()> {
    let mut first = Postgres::start().await?;
    let url = first.create_database().await?;
    let second = first.start_standby().await?;
    // What is committed is on both, as whoever fails over without loss has it.
    first.alter("synchronous_standby_names = '*'").await?;
    let database = url.rsplit('/').next().context("a name")?;
    // The standby first: it must be told apart by what it takes, not by its place.
    let both =
        format!("postgres://postgres@127.0.0.1:{},127.0.0.1:{}/{database}", second.port(), first.port());
    let queue = shared_rabbitmq().await?.vhost().await?;
    let mut trial = Trial::open("postgres fail-over", ServerOptions::cluster(&queue, &both)).await?;
    let load = trial.load(Naming::Unnamed);
    trial.some_time(&load).await?;
    first.kill()?;
    // Nobody takes writes now.
    load.wait_for_accepted(100, SOON).await?;
    trial.wait_for_more_requests(200).await?;
    trial.stage.api.get("/v1/ledger").await?.require(503)?;
    second.promote().await?;
    eventually("the administration to answer again", SOON, async || {
        let answer = trial.stage.server.admin().get("/v1/tenants").await?;
        Ok((answer.status == 200).then_some(()))
    })
    .await?;
    trial.some_time(&load).await?;
    trial.check(load, 1).await?;
    Ok(())
}
