//! Starts the shared servers and says so, for the test that nothing is left behind when a test process ends.
//!
//! It prints one line of JSON with the ids of what it started and its folder, and ends when its standard input
//! does, unless it is killed before.

use std::io::Read;

use postrider_tests::harness::watchdog::Watchdog;
use postrider_tests::harness::{shared_postgres, shared_rabbitmq};
use serde_json::json;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let (broker, database) = tokio::try_join!(shared_rabbitmq(), shared_postgres())?;
    let pids = [broker.pids(), database.pids()].concat();
    println!("{}", json!({ "pids": pids, "folder": Watchdog::get()?.folder() }));
    tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new())).await??;
    Ok(())
}
