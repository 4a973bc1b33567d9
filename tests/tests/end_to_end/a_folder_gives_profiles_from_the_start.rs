//! Profiles that stand in files are there from the start, and a wrong one is said at once.

use anyhow::{Result, ensure};
use postrider_tests::harness::TempFolder;
use postrider_tests::on_both_engines;
use postrider_tests::stage::{EngineKind, SOON, Stage};
use serde_json::{Value, json};

on_both_engines!(a_file_is_what_counts_at_every_start);

const FORM: &str = "version = 3\n[envelope]\nbody = '${event.data}'\n[retry]\nwaits = ['1s']\n";

async fn version(stage: &Stage) -> Result<Value> {
    let profile = stage.server.admin().get("/v1/profiles/acme").await?.require(200)?.json()?;
    Ok(profile["version"].clone())
}

async fn a_file_is_what_counts_at_every_start(engine: EngineKind) -> Result<()> {
    let folder = TempFolder::new("profiles")?;
    let file = folder.join("acme.toml");
    std::fs::write(&file, FORM)?;
    let mut stage = Stage::open(engine, "standard").await?;
    stage.server.set_env("POSTRIDER_MANAGE_PROFILES", &folder.path().to_string_lossy());
    stage.server.restart().await?;
    ensure!(version(&stage).await? == 3);

    let changed = json!({"version": 9, "envelope": {"body": "${event.data}"}, "retry": {"waits": []}});
    stage.server.admin().put("/v1/profiles/acme", &changed).await?.require(200)?;
    ensure!(version(&stage).await? == 9);
    stage.server.restart().await?;
    ensure!(version(&stage).await? == 3);

    std::fs::write(&file, "version = 'four'\n")?;
    stage.server.terminate().await?;
    stage.server.spawn()?;
    let status = stage.server.wait(SOON).await?;
    ensure!(!status.success(), "it started with a profile that is none");
    let log = stage.server.log();
    ensure!(log.contains("acme.toml is not a profile"), "{log}");
    Ok(())
}
