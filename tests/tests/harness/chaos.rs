//! The chaos proxy does to a connection what it says, and no more.

use std::io::ErrorKind;
use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::Result;
use postrider_tests::harness::chaos::{ChaosProxy, Weather};
use postrider_tests::harness::eventually;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const SOON: Duration = Duration::from_secs(30);
/// How long nothing must come for a link to be taken as stalled; the proxy needs microseconds.
const SILENCE: Duration = Duration::from_millis(200);

/// A link to a server that sends back what it is sent.
async fn link() -> Result<ChaosProxy> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let server = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((mut connection, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut reads, mut writes) = connection.split();
                tokio::io::copy(&mut reads, &mut writes).await.ok();
            });
        }
    });
    ChaosProxy::start(server).await
}

async fn echo(connection: &mut TcpStream, text: &[u8]) -> Result<Vec<u8>> {
    connection.write_all(text).await?;
    receive(connection, text.len()).await
}

async fn receive(connection: &mut TcpStream, length: usize) -> Result<Vec<u8>> {
    let mut answer = vec![0; length];
    tokio::time::timeout(SOON, connection.read_exact(&mut answer)).await??;
    Ok(answer)
}

#[tokio::test]
async fn a_cut_ends_what_is_open_and_lets_new_connections_through() -> Result<()> {
    let proxy = link().await?;
    let mut connection = TcpStream::connect(proxy.address()).await?;
    assert_eq!(echo(&mut connection, b"before").await?, b"before");
    proxy.cut();
    let end = tokio::time::timeout(SOON, connection.read(&mut [0])).await?;
    assert_eq!(end?, 0, "an end in order");
    eventually("the link to be empty", SOON, async || Ok((proxy.open_connections() == 0).then_some(())))
        .await?;
    let mut another = TcpStream::connect(proxy.address()).await?;
    assert_eq!(echo(&mut another, b"after").await?, b"after");
    Ok(())
}

#[tokio::test]
async fn a_reset_is_seen_as_one() -> Result<()> {
    let proxy = link().await?;
    let mut connection = TcpStream::connect(proxy.address()).await?;
    assert_eq!(echo(&mut connection, b"before").await?, b"before");
    proxy.reset();
    let end = tokio::time::timeout(SOON, connection.read(&mut [0])).await?;
    assert_eq!(end.expect_err("not an end in order").kind(), ErrorKind::ConnectionReset);
    Ok(())
}

#[tokio::test]
async fn a_stalled_link_keeps_everything_until_it_heals() -> Result<()> {
    let proxy = link().await?;
    let mut connection = TcpStream::connect(proxy.address()).await?;
    assert_eq!(echo(&mut connection, b"before").await?, b"before");
    proxy.turn(Weather::Stalled);
    connection.write_all(b"held").await?;
    let mut late = TcpStream::connect(proxy.address()).await?;
    late.write_all(b"late").await?;
    let mut first = [0];
    assert!(tokio::time::timeout(SILENCE, connection.read(&mut first)).await.is_err(), "it went through");
    assert!(tokio::time::timeout(SILENCE, late.read(&mut first)).await.is_err(), "it went through");
    proxy.heal();
    assert_eq!(receive(&mut connection, 4).await?, b"held");
    assert_eq!(receive(&mut late, 4).await?, b"late");
    Ok(())
}

#[tokio::test]
async fn a_slow_link_loses_nothing_and_is_not_ahead_of_its_rate() -> Result<()> {
    let proxy = link().await?;
    let mut connection = TcpStream::connect(proxy.address()).await?;
    // One piece takes a century, so that whether it was held back does not depend on how fast this machine is.
    proxy.turn(Weather::Slow { latency: Duration::from_secs(3_000_000_000), bytes_per_second: 1 });
    connection.write_all(b"slow").await?;
    assert!(tokio::time::timeout(SILENCE, connection.read(&mut [0])).await.is_err(), "it was not late");
    proxy.turn(Weather::Slow { latency: Duration::ZERO, bytes_per_second: 10_000_000 });
    let text: Vec<u8> = (0..=u8::MAX).cycle().take(100_000).collect();
    let (mut reads, mut writes) = connection.into_split();
    let sent = text.clone();
    let writing = tokio::spawn(async move { writes.write_all(&sent).await.map(|()| writes) });
    let mut answer = vec![0; 4 + text.len()];
    tokio::time::timeout(SOON, reads.read_exact(&mut answer)).await??;
    assert!(answer.starts_with(b"slow") && answer[4..] == text[..], "bytes were lost or changed");
    writing.await??;
    Ok(())
}

#[tokio::test]
async fn a_refusing_link_keeps_what_is_open() -> Result<()> {
    let proxy = link().await?;
    let mut connection = TcpStream::connect(proxy.address()).await?;
    assert_eq!(echo(&mut connection, b"before").await?, b"before");
    proxy.turn(Weather::Refusing);
    let mut refused = TcpStream::connect(proxy.address()).await?;
    let end = tokio::time::timeout(SOON, refused.read(&mut [0])).await?;
    assert!(!matches!(end, Ok(1..)), "it was let through");
    assert_eq!(echo(&mut connection, b"still").await?, b"still");
    Ok(())
}
