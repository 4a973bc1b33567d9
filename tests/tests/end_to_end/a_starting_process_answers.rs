//! Who asks a process that has not started yet is told so, and does not wait for what it waits for.

mod cluster {
    use anyhow::{Result, ensure};
    use postrider_tests::harness::{
        ChaosProxy, ServerOptions, Weather, eventually, shared_postgres, shared_rabbitmq,
    };
    use postrider_tests::stage::{SOON, Stage};
    use serde_json::json;

    #[tokio::test(flavor = "multi_thread")]
    async fn a_process_whose_broker_does_not_answer_says_that_it_is_starting_and_takes_events_once_it_has_started()
    -> Result<()> {
        let queue = shared_rabbitmq().await?.vhost().await?;
        let store = shared_postgres().await?.create_database().await?;
        let (broker, queue) = ChaosProxy::in_front_of(&queue).await?;
        let mut stage = Stage::open_with(ServerOptions::cluster(&queue, &store), "standard").await?;
        stage.server.kill()?;
        broker.turn(Weather::Stalled);
        stage.server.spawn()?;
        let admin = stage.server.admin();
        eventually("the process to listen", SOON, async || Ok(admin.get("/livez").await.ok()))
            .await?
            .require(200)?;
        let event = json!({"type": "a.b", "data": {}});
        let (readiness, published) =
            tokio::try_join!(admin.get("/readyz"), stage.api.post("/v1/events", &event))?;
        for refusal in [readiness.require(503)?, published.require(503)?] {
            let problem = refusal.json()?;
            ensure!(
                problem["code"] == "unavailable" && problem.to_string().contains("starting"),
                "{problem}"
            );
            ensure!(refusal.headers.contains_key("retry-after"), "{:?}", refusal.headers);
        }
        let log = stage.server.log();
        ensure!(log.contains("answered unavailable: the process is starting"), "{log}");
        ensure!(!log.contains("answered unavailable: /process"), "probes are answered, not told of: {log}");
        broker.heal();
        eventually("the process to be ready", SOON, async || {
            Ok((admin.get("/readyz").await?.status == 200).then_some(()))
        })
        .await?;
        stage.publish("a.b", json!({})).await?;
        Ok(())
    }
}
