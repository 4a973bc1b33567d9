//! `make bench-cluster`: `postrider bench` on a private RabbitMQ and PostgreSQL, whose CPU is accounted for too.
//!
//! Usage: `bench-cluster PATH-OF-POSTRIDER SCENARIO [options of postrider bench]`.

use std::process::ExitCode;

use anyhow::{Context, Result};
use postrider_tests::bench_servers::BenchServers;
use tokio::process::Command;

#[tokio::main]
async fn main() -> Result<ExitCode> {
    const USAGE: &str = "usage: bench-cluster PATH-OF-POSTRIDER SCENARIO [options]";
    let mut arguments = std::env::args_os().skip(1);
    let postrider = arguments.next().context(USAGE)?;
    let scenario = arguments.next().context(USAGE)?;
    let servers = BenchServers::start().await?;
    let status = Command::new(postrider)
        .arg("bench")
        .arg(&scenario)
        .args(servers.arguments(&scenario)?)
        .args(arguments)
        .kill_on_drop(true)
        .status()
        .await
        .context("running the bench")?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
