//! A small client of Postrider's API: JSON in, JSON out, and every part of an answer within reach.
//!
//! Connections are kept and used again, by clones too. A request that was begun and not answered is an error
//! here, never tried a second time: whether it took effect is for the test to find out.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;

/// How long one answer may take. A test that waits longer has found a hang.
const ANSWER: Duration = Duration::from_secs(30);

/// A client that acts with one key, for one tenant.
#[derive(Debug, Clone)]
pub struct Api {
    address: SocketAddr,
    key: Option<String>,
    tenant: Option<String>,
    idle: Arc<Mutex<Vec<SendRequest<Full<Bytes>>>>>,
}

/// An answer, read to its end.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Status code.
    pub status: StatusCode,
    /// Headers.
    pub headers: HeaderMap,
    /// Body, as it came.
    pub body: Bytes,
}

impl Api {
    /// A client without a key.
    pub fn new(address: SocketAddr) -> Self {
        Self { address, key: None, tenant: None, idle: Arc::default() }
    }

    /// The same client with this key.
    #[must_use]
    pub fn with_key(&self, key: &str) -> Self {
        Self { key: Some(key.to_owned()), ..self.clone() }
    }

    /// The same client acting for this tenant, as the admin key may.
    #[must_use]
    pub fn for_tenant(&self, tenant: &str) -> Self {
        Self { tenant: Some(tenant.to_owned()), ..self.clone() }
    }

    /// Where it sends to: `http://address:port`.
    pub fn base(&self) -> String {
        format!("http://{}", self.address)
    }

    /// `GET`.
    pub async fn get(&self, path: &str) -> Result<Answer> {
        self.send(Method::GET, path, &[], Bytes::new()).await
    }

    /// `DELETE`.
    pub async fn delete(&self, path: &str) -> Result<Answer> {
        self.send(Method::DELETE, path, &[], Bytes::new()).await
    }

    /// `POST` of JSON.
    pub async fn post(&self, path: &str, body: &Value) -> Result<Answer> {
        self.post_with(path, &[], json(body)).await
    }

    /// `POST` of these very bytes, as JSON, with further headers.
    pub async fn post_with(
        &self,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Result<Answer> {
        self.send(Method::POST, path, headers, body.into()).await
    }

    /// `PATCH` with JSON.
    pub async fn patch(&self, path: &str, body: &Value) -> Result<Answer> {
        self.send(Method::PATCH, path, &[], json(body)).await
    }

    /// `PUT` of JSON.
    pub async fn put(&self, path: &str, body: &Value) -> Result<Answer> {
        self.send(Method::PUT, path, &[], json(body)).await
    }

    /// Any request. `Content-Type` is JSON if there is a body and `headers` do not name another.
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Bytes,
    ) -> Result<Answer> {
        let what = format!("{method} {path}");
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, self.address.to_string())
            .header(header::USER_AGENT, "postrider-tests");
        if let Some(key) = &self.key {
            request = request.header(header::AUTHORIZATION, format!("Bearer {key}"));
        }
        if let Some(tenant) = &self.tenant {
            request = request.header("Postrider-Tenant", tenant);
        }
        if !body.is_empty() && !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-type")) {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(body)).with_context(|| format!("making {what}"))?;
        tokio::time::timeout(ANSWER, self.exchange(request))
            .await
            .with_context(|| format!("no answer to {what} within {ANSWER:?}"))?
            .with_context(|| what)
    }

    async fn exchange(&self, request: Request<Full<Bytes>>) -> Result<Answer> {
        let mut connection = self.connection().await?;
        let (parts, body) = connection.send_request(request).await?.into_parts();
        let body = body.collect().await?.to_bytes();
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
        Ok(Answer { status: parts.status, headers: parts.headers, body })
    }

    /// An idle connection that is still good, or else a new one.
    async fn connection(&self) -> Result<SendRequest<Full<Bytes>>> {
        loop {
            let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let Some(mut connection) = idle else { break };
            if connection.ready().await.is_ok() {
                return Ok(connection);
            }
        }
        let stream = TcpStream::connect(self.address)
            .await
            .with_context(|| format!("connecting to {}", self.address))?;
        stream.set_nodelay(true)?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a test's connection to the API ended");
            }
        });
        Ok(sender)
    }
}

impl Answer {
    /// The body as JSON.
    pub fn json(&self) -> Result<Value> {
        serde_json::from_slice(&self.body).with_context(|| format!("this answer is not JSON: {self}"))
    }

    /// Fails, quoting the answer, unless it has this status.
    pub fn require(self, status: u16) -> Result<Self> {
        if self.status.as_u16() != status {
            bail!("wanted status {status}, got {self}");
        }
        Ok(self)
    }

    /// The value of the header `name`, if there is one that is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

impl std::fmt::Display for Answer {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}: {}", self.status, String::from_utf8_lossy(&self.body))
    }
}

fn json(value: &Value) -> Bytes {
    Bytes::from(value.to_string())
}
