//! Starting, stopping and killing servers, tried on a stand-in.

use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use postrider_tests::harness::{Server, ServerOptions, signal};

const SOON: Duration = Duration::from_secs(30);

fn stand_in() -> ServerOptions {
    ServerOptions::default().binary(Path::new(env!("CARGO_BIN_EXE_harness-stand-in")))
}

#[tokio::test]
async fn a_server_is_ready_when_it_says_so_and_keeps_its_address_over_a_restart() -> Result<()> {
    let mut server = Server::start(stand_in().arg("--dev")).await?;
    let address = server.address();
    server.admin().get("/livez").await?.require(200)?;
    server.wait_for_log(&format!("serve --listen {address} --dev"), SOON).await?;

    let first = server.pid();
    server.kill()?;
    assert!(server.admin().get("/livez").await.is_err());
    server.restart().await?;
    assert_eq!(server.address(), address);
    server.admin().get("/livez").await?.require(200)?;

    assert_eq!(server.terminate().await?.signal(), Some(15));
    server.restart().await?;
    let last = server.pid();
    assert!(first != last && last.is_some_and(signal::is_running));
    assert_eq!(server.log().lines().count(), 3, "{}", server.log());
    drop(server);
    assert!(!last.is_some_and(signal::is_running));
    Ok(())
}

#[tokio::test]
async fn a_server_that_ends_instead_of_starting_is_quoted() -> Result<()> {
    let error = Server::start(stand_in().arg("--fail")).await.map(drop).unwrap_err();
    assert!(format!("{error:#}").contains("told to fail"), "{error:#}");
    Ok(())
}
