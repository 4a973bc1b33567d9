//! The receiver: it sees what was sent to the byte, and misbehaves exactly as told.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use bytes::Bytes;
use postrider_tests::harness::receiver::Versions;
use postrider_tests::harness::{Api, Behaviour, Gate, Receiver, TlsSetup};
use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const SOON: Duration = Duration::from_secs(30);
const BEAT: Duration = Duration::from_millis(1);

/// Sends these bytes on a connection of their own.
async fn open(receiver: &Receiver, bytes: &str) -> Result<TcpStream> {
    let mut stream = TcpStream::connect(("127.0.0.1", receiver.port())).await?;
    stream.write_all(bytes.as_bytes()).await?;
    Ok(stream)
}

/// A `GET` of `path`, and everything that comes back until the receiver closes the connection.
async fn fetch(receiver: &Receiver, path: &str) -> Result<String> {
    let mut stream =
        open(receiver, &format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")).await?;
    let mut text = String::new();
    tokio::time::timeout(SOON, stream.read_to_string(&mut text)).await??;
    Ok(text)
}

/// A `GET` of `path`, and the first `count` bytes that come back; then the connection is closed by us.
async fn glimpse(receiver: &Receiver, path: &str, count: usize) -> Result<String> {
    let mut stream = open(receiver, &format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n")).await?;
    let mut bytes = vec![0; count];
    tokio::time::timeout(SOON, stream.read_exact(&mut bytes)).await??;
    Ok(String::from_utf8(bytes)?)
}

fn api(receiver: &Receiver) -> Api {
    Api::new(([127, 0, 0, 1], receiver.port()).into())
}

#[tokio::test]
async fn a_request_is_recorded_as_it_came() -> Result<()> {
    let receiver = Receiver::start().await?;
    let request = "POST /hook?a=1 HTTP/1.1\r\nHost: x\r\nX-Odd-CASE:  two words \r\nx-odd-case: again\r\n\
                   Content-Length: 7\r\nConnection: close\r\n\r\n{\"a\":1}";
    let mut stream = open(&receiver, request).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    assert_eq!(answer, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    let received = receiver.wait_for_requests("/hook", 1, SOON).await?.remove(0);
    assert_eq!((received.method.as_str(), received.target.as_str()), ("POST", "/hook?a=1"));
    let headers: Vec<_> =
        received.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(
        headers,
        [
            ("Host", "x"),
            ("X-Odd-CASE", "two words"),
            ("x-odd-case", "again"),
            ("Content-Length", "7"),
            ("Connection", "close")
        ]
    );
    assert_eq!(received.json()?["a"], 1);
    Ok(())
}

#[tokio::test]
async fn chunked_bodies_and_pipelined_requests_are_told_apart() -> Result<()> {
    let receiver = Receiver::start().await?;
    let request = "POST /one HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n\
                   GET /two HTTP/1.1\r\nConnection: close\r\n\r\n";
    let mut stream = open(&receiver, request).await?;
    stream.read_to_end(&mut Vec::new()).await?;
    let requests = receiver.requests();
    assert_eq!(requests.iter().map(|request| request.path()).collect::<Vec<_>>(), ["/one", "/two"]);
    assert_eq!(requests[0].body, "abcde");
    assert_eq!(receiver.connections(), 1);
    Ok(())
}

#[tokio::test]
async fn connections_are_kept_and_counted() -> Result<()> {
    let receiver = Receiver::start().await?;
    let api = api(&receiver);
    for _ in 0..3 {
        api.get("/").await?.require(200)?;
    }
    assert_eq!((receiver.count(), receiver.connections()), (3, 1));
    Ok(())
}

#[tokio::test]
async fn failures_come_in_turn_by_path_and_by_value() -> Result<()> {
    let receiver = Receiver::start().await?;
    receiver.script("/turn", Behaviour::fail_times(2, 503));
    receiver.script("/each", Behaviour::fail_each("webhook-id", 1, 500));
    let api = api(&receiver);
    let mut statuses = Vec::new();
    for _ in 0..3 {
        statuses.push(api.get("/turn").await?.status.as_u16());
    }
    assert_eq!(statuses, [503, 503, 200]);
    statuses.clear();
    for id in ["a", "b", "a", "b"] {
        statuses.push(api.post_with("/each", &[("webhook-id", id)], "{}").await?.status.as_u16());
    }
    assert_eq!(statuses, [500, 500, 200, 200]);
    Ok(())
}

#[tokio::test]
async fn whole_answers_carry_what_they_were_given() -> Result<()> {
    let receiver = Receiver::start().await?;
    receiver.script("/away", Behaviour::redirect(302, "http://127.0.0.1:1/"));
    receiver.script("/later", Behaviour::status_with(429, "Retry-After", "7").after(BEAT));
    let body = Bytes::from_static(b"no");
    receiver.script("/no", Behaviour::Respond { status: 410, headers: Vec::new(), body });
    let api = api(&receiver);
    assert_eq!(api.get("/away").await?.require(302)?.header("location"), Some("http://127.0.0.1:1/"));
    assert_eq!(api.get("/later").await?.require(429)?.header("retry-after"), Some("7"));
    assert_eq!(api.get("/no").await?.require(410)?.body, "no");
    Ok(())
}

#[tokio::test]
async fn broken_answers_break_where_they_were_told_to() -> Result<()> {
    let receiver = Receiver::start().await?;
    receiver.script("/none", Behaviour::CloseBeforeStatus);
    receiver.script("/part", Behaviour::CloseMidBody { sent: 3, promised: 10 });
    receiver.script("/junk", Behaviour::Raw(Bytes::from_static(b"SSH-2.0\r\n")));
    receiver.script("/bomb", Behaviour::HeaderBomb { bytes: 100_000 });
    assert_eq!(fetch(&receiver, "/none").await?, "");
    assert_eq!(fetch(&receiver, "/part").await?, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n...");
    assert_eq!(fetch(&receiver, "/junk").await?, "SSH-2.0\r\n");
    assert!(fetch(&receiver, "/bomb").await?.len() > 100_000);
    Ok(())
}

#[tokio::test]
async fn endless_answers_go_on_until_the_client_leaves() -> Result<()> {
    let receiver = Receiver::start().await?;
    receiver.script("/headers", Behaviour::DripHeaders { beat: BEAT });
    receiver.script("/body", Behaviour::DripBody { beat: BEAT });
    receiver.script("/endless", Behaviour::EndlessBody);
    receiver.script("/hang", Behaviour::Hang);
    assert!(glimpse(&receiver, "/headers", 50).await?.contains("X-Drop: 0123456789\r\n"));
    assert!(glimpse(&receiver, "/body", 49).await?.ends_with("\r\n\r\n....."));
    assert!(glimpse(&receiver, "/endless", 100_000).await?.contains("1000\r\n...."));
    let hanging = open(&receiver, "GET /hang HTTP/1.1\r\n\r\n").await?;
    receiver
        .wait_for("only the hanging one open", SOON, |seen| seen.to("/hang").count() == 1 && seen.open == 1)
        .await?;
    drop(hanging);
    receiver.wait_for("none open", SOON, |seen| seen.open == 0).await?;
    Ok(())
}

#[tokio::test]
async fn a_gate_holds_an_answer_until_it_is_opened() -> Result<()> {
    let receiver = Receiver::start().await?;
    let gate = Gate::closed();
    receiver.script("/", Behaviour::status(204).behind(&gate));
    let api = api(&receiver);
    let answer = tokio::spawn(async move { api.get("/").await });
    receiver.wait_for_requests("/", 1, SOON).await?;
    assert!(!answer.is_finished());
    gate.open();
    answer.await??.require(204)?;
    Ok(())
}

#[tokio::test]
async fn a_receiver_that_is_dropped_closes_and_can_come_back() -> Result<()> {
    let receiver = Receiver::start().await?;
    let port = receiver.port();
    let mut idle = open(&receiver, "").await?;
    receiver.wait_for("the connection", SOON, |seen| seen.open == 1).await?;
    drop(receiver);
    // Its end, by either way of closing, shows that the receiver is gone.
    tokio::time::timeout(SOON, idle.read(&mut [0])).await?.ok();
    let again = Receiver::start_on(port).await?;
    api(&again).get("/").await?.require(200)?;
    Ok(())
}

/// Makes a TLS connection that trusts the receiver's own authority, and no other.
async fn shake_hands(receiver: &Receiver) -> Result<tokio_rustls::client::TlsStream<TcpStream>> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(receiver.authority().context("no authority")?)?)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = TcpStream::connect(("127.0.0.1", receiver.port())).await?;
    let name = ServerName::try_from("localhost")?;
    Ok(tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, stream).await?)
}

#[tokio::test]
async fn a_tls_receiver_is_trusted_by_its_authority_alone_and_only_when_it_is_right() -> Result<()> {
    let good = Receiver::start_tls(TlsSetup { versions: Versions::Only12, ..TlsSetup::default() }).await?;
    let mut stream = shake_hands(&good).await?;
    stream.write_all(b"GET /tls HTTP/1.1\r\n\r\n").await?;
    good.wait_for_requests("/tls", 1, SOON).await?;
    assert!(good.url("/tls").starts_with("https://localhost:"));
    for bad in [TlsSetup::misnamed(), TlsSetup::expired()] {
        let receiver = Receiver::start_tls(bad).await?;
        assert!(shake_hands(&receiver).await.is_err());
    }
    Ok(())
}
