//! Two processes of each role: one may die or be replaced at any time.

use anyhow::{Result, ensure};
use postrider_tests::harness::{Api, Server, ServerOptions, shared_postgres, shared_rabbitmq};
use postrider_tests::load::{Load, Naming, is_long};

use super::trial::{Trial, as_in_a_trial};

mod cluster {
    #[tokio::test(flavor = "multi_thread")]
    async fn a_killed_worker_and_a_killed_status_process_are_made_up_for() -> anyhow::Result<()> {
        super::a_killed_worker_and_a_killed_status_process_are_made_up_for().await
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn replacing_one_process_after_another_loses_and_repeats_nothing() -> anyhow::Result<()> {
        super::replacing_one_process_after_another_loses_and_repeats_nothing().await
    }
}

/// Two of each role; the trial's own server is one of the two that manage.
struct Cluster {
    trial: Trial,
    manage: Server,
    ingest: [Server; 2],
    workers: [Server; 2],
    status: [Server; 2],
}

impl Cluster {
    async fn start(test: &str) -> Result<Self> {
        let queue = shared_rabbitmq().await?.vhost().await?;
        let store = shared_postgres().await?.create_database().await?;
        let role = |role: &str| as_in_a_trial(ServerOptions::cluster(&queue, &store)).roles(role);
        let trial = Trial::open(test, ServerOptions::cluster(&queue, &store).roles("manage")).await?;
        let start = |name: &str| Server::start(role(name));
        let (manage, first_ingest, second_ingest) =
            tokio::try_join!(start("manage"), start("ingest"), start("ingest"))?;
        let workers = tokio::try_join!(start("worker"), start("worker"))?;
        let status = tokio::try_join!(start("status"), start("status"))?;
        Ok(Self {
            trial,
            manage,
            ingest: [first_ingest, second_ingest],
            workers: workers.into(),
            status: status.into(),
        })
    }

    fn load(&self) -> Load {
        let targets: Vec<Api> = self.ingest.iter().map(|server| server.api(&self.trial.stage.key)).collect();
        self.trial.load_on(&targets, Naming::Mixed, 0)
    }
}

async fn a_killed_worker_and_a_killed_status_process_are_made_up_for() -> Result<()> {
    let rounds = if is_long() { 20 } else { 2 };
    let mut cluster = Cluster::start("one of two killed").await?;
    let load = cluster.load();
    for round in 0..rounds {
        cluster.trial.some_time(&load).await?;
        cluster.workers[round % 2].kill()?;
        // The other one goes on alone.
        cluster.trial.wait_for_more_requests(100).await?;
        cluster.status[round % 2].kill()?;
        cluster.trial.some_time(&load).await?;
        cluster.workers[round % 2].restart().await?;
        cluster.status[round % 2].restart().await?;
    }
    cluster.trial.check(load, rounds).await?;
    Ok(())
}

async fn replacing_one_process_after_another_loses_and_repeats_nothing() -> Result<()> {
    let mut cluster = Cluster::start("rolling restart").await?;
    let load = cluster.load();
    let [worker, _] = &mut cluster.workers;
    let [status, _] = &mut cluster.status;
    let [ingest, _] = &mut cluster.ingest;
    for server in [worker, status, ingest, &mut cluster.manage] {
        cluster.trial.some_time(&load).await?;
        let ended = server.terminate().await?;
        ensure!(ended.success(), "an orderly stop ended with {ended}:\n{}", server.log());
        server.restart().await?;
    }
    cluster.trial.some_time(&load).await?;
    cluster.trial.check(load, 0).await?;
    Ok(())
}
