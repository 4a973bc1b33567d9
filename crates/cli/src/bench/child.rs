//! A process of the bench's own, of this same program: it announces itself with one line.

use std::process::Stdio;

use anyhow::Context;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

/// Starts `postrider bench ROLE`, and answers its first line. The process ends when the child is dropped.
///
/// # Errors
/// When it cannot be started, or ends without a word.
pub async fn spawn_announcing(role: &str) -> anyhow::Result<(Child, String)> {
    let program = std::env::current_exe().context("finding this program")?;
    let mut child = Command::new(program)
        .args(["bench", role])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .context("starting a process")?;
    let output = child.stdout.take().context("no output")?;
    let line = BufReader::new(output).lines().next_line().await?.context("it ended at once")?;
    Ok((child, line))
}
