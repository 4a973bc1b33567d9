//! Looks like a server from outside: is started like one, listens, says it is ready. For the test of what
//! starts and stops servers, which must not depend on the server being right.

use std::net::SocketAddr;

use anyhow::{Context, Result};
use postrider_tests::harness::{Behaviour, Receiver};

#[tokio::main]
async fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().collect();
    let listen =
        arguments.iter().skip_while(|argument| *argument != "--listen").nth(1).context("no --listen")?;
    let address: SocketAddr = listen.parse()?;
    println!("stand-in started with {}", arguments[1..].join(" "));
    anyhow::ensure!(!arguments.iter().any(|argument| argument == "--fail"), "told to fail");
    let receiver = Receiver::start_on(address.port()).await?;
    receiver.script("/readyz", Behaviour::fail_times(2, 503));
    std::future::pending().await
}
