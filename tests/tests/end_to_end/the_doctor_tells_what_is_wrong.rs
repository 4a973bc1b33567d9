//! `postrider doctor`: nothing to say about a healthy installation, and for each thing that is broken a line that
//! names it and says what to do.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use postrider_tests::harness::postgres;
use postrider_tests::harness::postrider::{MASTER_KEY, run};
use postrider_tests::harness::{
    RabbitMq, Server, ServerOptions, TempFolder, eventually, shared_postgres, shared_rabbitmq,
};
use postrider_tests::stage::SOON;
use serde_json::Value;

/// What the doctor found.
struct Visit {
    findings: Vec<Value>,
    is_well: bool,
}

impl Visit {
    async fn pay(arguments: &[&str], environment: &[(&str, &str)], input: &[u8]) -> Result<Visit> {
        let arguments = [&["doctor", "--output", "json"], arguments].concat();
        let output = run(&arguments, environment, input).await?;
        let document: Value = serde_json::from_str(&output.stdout)
            .with_context(|| format!("{arguments:?} printed {output:?}"))?;
        let findings = document["findings"].as_array().context("findings")?.clone();
        Ok(Visit { findings, is_well: output.status.success() })
    }

    /// There is at least one finding of this kind, and each of them has this verdict.
    fn require(&self, subject: &str, verdict: &str) -> Result<String> {
        let about: Vec<&Value> =
            self.findings.iter().filter(|finding| finding["subject"] == subject).collect();
        ensure!(
            !about.is_empty() && about.iter().all(|finding| finding["verdict"] == verdict),
            "{subject} is not {verdict}: {:#?}",
            self.findings
        );
        for finding in &about {
            let has_advice = finding["advice"].is_string();
            ensure!(has_advice == (verdict != "well"), "what to do goes with what is wrong: {finding}");
        }
        Ok(about.iter().map(|finding| finding["seen"].to_string()).collect())
    }

    fn require_no_fault(&self) -> Result<()> {
        let fault = self.findings.iter().find(|finding| finding["verdict"] == "fault");
        ensure!(self.is_well && fault.is_none(), "{fault:?}");
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_healthy_data_directory_has_no_fault_and_a_foreign_file_is_named() -> Result<()> {
    let server = Server::start(ServerOptions::embedded()).await?;
    let data = |folder: &Path| folder.join("data").display().to_string();
    let folder = data(server.folder());
    let visit = Visit::pay(&["--data", &folder], &[], b"").await?;
    visit.require_no_fault()?;
    ensure!(visit.require("data.folder", "well")?.contains("a server runs on it"));
    visit.require("data.files", "well")?;
    ensure!(visit.require("data.work", "well")?.contains("0 tries and 0 retries"));
    ensure!(visit.require("data.room", "well")?.contains("0 deliveries"));
    let foreign = TempFolder::new("doctor")?;
    std::fs::write(foreign.join("queue.db"), "somebody's notes")?;
    let visit = Visit::pay(&["--data", &foreign.path().display().to_string()], &[], b"").await?;
    let seen = visit.require("data.files", "fault")?;
    ensure!(!visit.is_well && seen.contains("queue.db"), "{seen}");
    let nowhere = TempFolder::new("doctor")?.join("missing").display().to_string();
    Visit::pay(&["--data", &nowhere], &[], b"").await?.require("data.folder", "warning")?;
    Ok(())
}

mod cluster {
    use super::*;

    struct Installation {
        queue: String,
        store: String,
    }

    impl Installation {
        async fn new() -> Result<Self> {
            let queue = shared_rabbitmq().await?.vhost().await?;
            let store = shared_postgres().await?.create_database().await?;
            Ok(Installation { queue, store })
        }

        fn environment(&self) -> [(&str, &str); 3] {
            [
                ("POSTRIDER_ENGINE_QUEUE", self.queue.as_str()),
                ("POSTRIDER_ENGINE_STORE", self.store.as_str()),
                ("POSTRIDER_MASTER_KEY", MASTER_KEY),
            ]
        }

        async fn visit(&self, arguments: &[&str], input: &[u8]) -> Result<Visit> {
            Visit::pay(arguments, &self.environment(), input).await
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_healthy_cluster_has_no_fault() -> Result<()> {
        let installation = Installation::new().await?;
        let _server = Server::start(ServerOptions::cluster(&installation.queue, &installation.store)).await?;
        let report = shared_rabbitmq().await?.ctl(&["report"]).await?;
        // The first days of the log are made soon after the start.
        let visit = eventually("the log's days to be made", SOON, async || {
            let visit =
                installation.visit(&["--broker-report", "-", "--probe-lane"], report.as_bytes()).await?;
            Ok(visit.require("store.days", "well").is_ok().then_some(visit))
        })
        .await?;
        visit.require_no_fault()?;
        for subject in [
            "settings",
            "broker.version",
            "broker.topology",
            "broker.lanes",
            "broker.alarms",
            "broker.partitions",
            "broker.feature_flags",
            "broker.consumer_timeout",
            "broker.lane_prefetch",
            "broker.lane_again",
            "store.schema",
            "store.writable",
            "store.durability",
            "store.clock",
            "store.overdue",
            "store.body_days",
            "store.room",
        ] {
            visit.require(subject, "well")?;
        }
        Ok(())
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_was_never_set_up_is_told_with_the_command_that_does_it() -> Result<()> {
        let visit = Installation::new().await?.visit(&[], b"").await?;
        ensure!(!visit.is_well);
        visit.require("broker.topology", "fault")?;
        visit.require("store.schema", "fault")?;
        visit.require("broker.settings", "unknown")?;
        let advice = format!("{:?}", visit.findings);
        for command in ["postrider topology declare", "postrider migrate", "rabbitmqctl report"] {
            ensure!(advice.contains(command), "{command} is not mentioned: {advice}");
        }
        Ok(())
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_queue_that_is_missing_is_named_and_the_others_are_still_looked_at() -> Result<()> {
        const MISSING: &str = "postrider.journal.v1";
        let installation = Installation::new().await?;
        run(&["topology", "declare"], &installation.environment(), b"").await?.require_success()?;
        let vhost = installation.queue.rsplit('/').next().context("a virtual host")?;
        shared_rabbitmq().await?.ctl(&["delete_queue", MISSING, "-p", vhost]).await?;
        let visit = installation.visit(&[], b"").await?;
        ensure!(visit.require("broker.topology", "fault")?.contains(MISSING));
        visit.require("broker.queues", "well")?;
        Ok(())
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn days_made_by_a_version_that_kept_no_bodies_are_told() -> Result<()> {
        let installation = Installation::new().await?;
        let server = Server::start(ServerOptions::cluster(&installation.queue, &installation.store)).await?;
        eventually("the log's days to be made", SOON, async || {
            let visit = installation.visit(&[], b"").await?;
            Ok(visit.require("store.days", "well").is_ok().then_some(()))
        })
        .await?;
        drop(server);
        let emptied = "DROP TABLE response_bodies;
            CREATE TABLE response_bodies (delivery uuid, attempt uuid, body bytea) PARTITION BY RANGE (delivery)";
        postgres::connect(&installation.store).await?.batch_execute(emptied).await?;
        installation.visit(&[], b"").await?.require("store.body_days", "warning")?;
        Ok(())
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_server_that_cannot_be_reached_is_told_and_the_other_is_still_looked_at() -> Result<()> {
        let mut installation = Installation::new().await?;
        installation.queue = "amqp://nobody:secret-word@127.0.0.1:9/%2f".to_owned();
        let visit = installation.visit(&[], b"").await?;
        ensure!(visit.require("broker.login", "fault")?.contains("127.0.0.1:9"));
        visit.require("store.login", "well")?;
        ensure!(!format!("{:?}", visit.findings).contains("secret-word"), "a password is nobody's business");
        Ok(())
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_broker_that_takes_no_publishes_is_a_fault() -> Result<()> {
        let broker = RabbitMq::start().await?;
        let mut installation = Installation::new().await?;
        installation.queue = broker.url();
        // Of all memory: less than the broker needs to run at all.
        broker.ctl(&["set_vm_memory_high_watermark", "0.000001"]).await?;
        let report = broker.ctl(&["report"]).await?;
        let visit = installation.visit(&["--broker-report", "-"], report.as_bytes()).await?;
        ensure!(!visit.is_well);
        visit.require("broker.confirm", "fault")?;
        ensure!(visit.require("broker.alarms", "fault")?.to_lowercase().contains("memory"));
        Ok(())
    }

    /// Ends the broker's processes that move messages out of lanes as often as it takes until it gives up on them: twice
    /// within five seconds on 3.10, more often on later ones.
    const END_THE_HELPERS: &str = "[catch [exit(Pid, kill) || {_, Pid, _, _} <- \
        supervisor:which_children(rabbit_fifo_dlx_sup)] || _ <- lists:seq(1, 500)].";
    const SUPERVISOR: &str = "whereis(rabbit_fifo_dlx_sup).";

    #[tokio::test(flavor = "multi_thread")]
    async fn a_broker_whose_lanes_let_nothing_out_is_a_fault_until_its_node_is_started_anew() -> Result<()> {
        let broker = RabbitMq::start().await?;
        let mut installation = Installation::new().await?;
        installation.queue = broker.url();
        run(&["topology", "declare"], &installation.environment(), b"").await?.require_success()?;
        installation.visit(&[], b"").await?.require("broker.lanes", "well")?;
        broker.ctl(&["eval", END_THE_HELPERS]).await?;
        eventually("the broker to give up on its helpers", SOON, async || {
            Ok(broker.ctl(&["eval", SUPERVISOR]).await?.contains("undefined").then_some(()))
        })
        .await?;
        let visit = installation.visit(&[], b"").await?;
        ensure!(!visit.is_well);
        visit.require("broker.confirm", "well")?;
        visit.require("broker.lanes", "fault")?;
        broker.ctl(&["stop_app"]).await?;
        broker.ctl(&["start_app"]).await?;
        installation.visit(&[], b"").await?.require("broker.lanes", "well")?;
        Ok(())
    }
}
