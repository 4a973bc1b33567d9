//! One HTTP/1.1 request over a connection of its own: enough for a person's pace, and nothing to keep alive.
//!
//! Plain TCP for `http`, TLS with the public roots for `https`. No redirect is followed and no proxy is asked. The
//! whole exchange has one time limit, and an answer one size limit.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use url::Url;

use super::error::ClientError;

/// A server on the same continent answers a SYN in far less.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// `webhooks test` waits for up to 15 s on the server; twice that is for everything else.
const EXCHANGE_LIMIT: Duration = Duration::from_secs(30);
/// 200 events of 1 MiB would be more; lists hold no data, and one delivery with ten tries has under 1 MiB.
const ANSWER_LIMIT: usize = 64 * 1024 * 1024;

/// Sends `request` to the host of `base`.
///
/// # Errors
/// When the server cannot be reached, does not answer in time, or does not speak HTTP.
pub async fn exchange(base: &Url, request: Request<Full<Bytes>>) -> Result<Response<Bytes>, ClientError> {
    let exchanged = tokio::time::timeout(EXCHANGE_LIMIT, connect_and_send(base, request)).await;
    exchanged.map_err(|_| ClientError::TimedOut { url: base.to_string(), limit: EXCHANGE_LIMIT })?
}

async fn connect_and_send(base: &Url, request: Request<Full<Bytes>>) -> Result<Response<Bytes>, ClientError> {
    let not_reachable =
        |error: io::Error| ClientError::NotReachable { url: base.to_string(), reason: reason(&error) };
    let stream = tokio::time::timeout(CONNECT_LIMIT, connect(base)).await;
    let stream = stream.map_err(|_| not_reachable(io::ErrorKind::TimedOut.into()))?.map_err(not_reachable)?;
    if base.scheme() == "https" {
        send(base, secure(base, stream).await.map_err(not_reachable)?, request).await
    } else {
        send(base, stream, request).await
    }
}

async fn connect(base: &Url) -> io::Result<TcpStream> {
    let port = base.port_or_known_default().unwrap_or(80);
    match base.host() {
        Some(url::Host::Domain(name)) => TcpStream::connect((name, port)).await,
        Some(url::Host::Ipv4(address)) => TcpStream::connect((address, port)).await,
        Some(url::Host::Ipv6(address)) => TcpStream::connect((address, port)).await,
        None => Err(io::Error::new(io::ErrorKind::InvalidInput, "the URL names no host")),
    }
}

async fn secure(
    base: &Url,
    stream: TcpStream,
) -> io::Result<impl AsyncRead + AsyncWrite + Unpin + Send + 'static> {
    let roots = RootCertStore::from_iter(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let host = base.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned();
    let name = ServerName::try_from(host).map_err(io::Error::other)?;
    TlsConnector::from(Arc::new(config)).connect(name, stream).await
}

async fn send(
    base: &Url,
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    request: Request<Full<Bytes>>,
) -> Result<Response<Bytes>, ClientError> {
    let not_http =
        |error: hyper::Error| ClientError::NotPostrider { url: base.to_string(), reason: error.to_string() };
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(not_http)?;
    // Ends with the exchange: the sender below is dropped then, and what fails on the connection fails there too.
    let driver = tokio::spawn(connection);
    let response = sender.send_request(request).await.map_err(not_http)?;
    let (head, body) = response.into_parts();
    let read = Limited::new(body, ANSWER_LIMIT).collect().await;
    driver.abort();
    let body = read.map_err(|error| ClientError::NotPostrider {
        url: base.to_string(),
        reason: format!("its answer broke off or is too long: {error}"),
    })?;
    Ok(Response::from_parts(head, body.to_bytes()))
}

/// What an operating system's error is to someone who mistyped an address.
fn reason(error: &io::Error) -> String {
    let kind = error.kind();
    if kind == io::ErrorKind::ConnectionRefused {
        "connection refused".to_owned()
    } else if kind == io::ErrorKind::TimedOut {
        format!("no connection within {} s", CONNECT_LIMIT.as_secs())
    } else {
        error.to_string()
    }
}
