//! Servers that die at a named step, one after the other.

use anyhow::{Result, ensure};
use postrider_tests::harness::Server;
use postrider_tests::load::is_long;

use super::trial::RECOVERY;

pub const FAILPOINTS: &str = "POSTRIDER_FAILPOINTS";

/// One crash after another under load, each server with the next fault in it, which also recovers what the one before
/// it left; then one without.
pub async fn crash_at_each(server: &mut Server, places: &[(&str, u32)]) -> Result<usize> {
    let ended = server.terminate().await?;
    ensure!(ended.success(), "an orderly stop ended with {ended}");
    let mut crashes = 0;
    for (place, passage) in places {
        // Early passages meet what was left by the crash before, late ones the full flow.
        let passages = if is_long() { vec![1, *passage, passage * 5] } else { vec![*passage] };
        for passage in passages {
            crash_at(server, &format!("{place}=abort@{passage}")).await?;
            crashes += 1;
        }
    }
    server.set_env(FAILPOINTS, "");
    server.restart().await?;
    Ok(crashes)
}

/// A start with this fault in it, and its end there.
pub async fn crash_at(server: &mut Server, fault: &str) -> Result<()> {
    println!("{fault}");
    let before = server.log().len();
    server.set_env(FAILPOINTS, fault);
    server.spawn()?;
    let status = server.wait(RECOVERY).await?;
    let log = server.log();
    ensure!(
        log[before..].contains("failpoint: aborting"),
        "{fault}: ended with {status}:\n{}",
        &log[before..]
    );
    Ok(())
}
