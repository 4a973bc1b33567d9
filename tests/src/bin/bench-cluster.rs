//! `make bench-cluster`: `postrider bench` on a private RabbitMQ and PostgreSQL, whose CPU is accounted for too.
//!
//! Usage: `bench-cluster PATH-OF-POSTRIDER [arguments of postrider bench]`.

use std::process::ExitCode;

use anyhow::{Context, Result};
use postrider_tests::harness::{Postgres, RabbitMq};
use tokio::process::Command;

#[tokio::main]
async fn main() -> Result<ExitCode> {
    let mut arguments = std::env::args_os().skip(1);
    let postrider = arguments.next().context("usage: bench-cluster PATH-OF-POSTRIDER [arguments]")?;
    let (broker, database) = tokio::try_join!(RabbitMq::start(), Postgres::start())?;
    let store = database.create_database().await?;
    let pid = |pids: Vec<u32>| pids.first().copied().context("it does not run");
    let status = Command::new(postrider)
        .args(["bench", "--queue", &broker.url(), "--store", &store])
        .arg(format!("--watch=rabbitmq={}", pid(broker.pids())?))
        .arg(format!("--watch=postgres={}", pid(database.pids())?))
        .args(arguments)
        .kill_on_drop(true)
        .status()
        .await
        .context("running the bench")?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
