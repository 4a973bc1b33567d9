//! The disk of the embedded engine runs full under load: events are refused, deliveries go on as far as they can, and
//! when there is space again all of it goes on by itself.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use postrider_tests::harness::postrider::binary;
use postrider_tests::harness::{ServerOptions, TempFolder, take_all_space};
use postrider_tests::load::Naming;
use postrider_tests::stage::SOON;

use super::trial::{RECOVERY, Trial, in_flight};

/// A mount namespace of the server's own, whose data directory is a small disk in memory. The same process goes on as
/// the server, so that it is ended as any other.
const ON_A_SMALL_DISK: &str = r#"#!/bin/sh
set -e
mkdir -p data
exec unshare --user --map-root-user --mount sh -c \
    'mount -t tmpfs -o size=64m small data && exec "$@"' sh "BINARY" "$@"
"#;

fn write_script(folder: &Path) -> Result<PathBuf> {
    let script = folder.join("on-a-small-disk");
    let binary = binary()?;
    fs::write(&script, ON_A_SMALL_DISK.replace("BINARY", &binary.display().to_string()))?;
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755))?;
    Ok(script)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_stops_accepting_and_loses_nothing() -> Result<()> {
    let folder = TempFolder::new("small-disk")?;
    let script = write_script(folder.path())?;
    let mut trial = Trial::open("full disk", ServerOptions::embedded().binary(&script)).await?;
    let server = &trial.stage.server;
    let pid = server.pid().context("it runs")?;
    let data = server.folder().join("data");
    // The server's own view of its disk: from outside the directory is empty.
    let seen = PathBuf::from(format!("/proc/{pid}/root{}", data.display()));
    ensure!(
        seen.join("queue.db").exists() && !data.join("queue.db").exists(),
        "the server has no disk of its own"
    );
    let load = trial.load(Naming::Mixed);
    trial.some_time(&load).await?;
    take_all_space(&seen.join("filler"))?;
    load.wait_for_refusals(50, SOON).await?;
    trial.stage.server.admin().get("/livez").await?.require(200)?;
    fs::remove_file(seen.join("filler"))?;
    load.wait_for_accepted(100, RECOVERY).await.context("accepting again, without a restart")?;
    trial.check(load, in_flight(1)).await?;
    Ok(())
}
