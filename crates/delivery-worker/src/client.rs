//! The HTTP client: one request, one answer or one exact reason why there is none.
//!
//! It promises: never more than one request on the wire for a call; no redirect followed, no proxy from the
//! environment, nothing decompressed; no address called that the rule did not vet; one time limit over everything;
//! a response as soon as its head is in, with at most [`MAX_KEPT_BODY`](postrider_contract::attempt::MAX_KEPT_BODY) bytes of body
//! and 8 KiB of headers kept, credentials masked, and the rest not read.

mod connection;
mod dialer;
mod failure;
mod header_case;
mod kept_headers;
mod lookups;
mod pool;
mod progress;
mod resolver;
mod stream;
mod tls;

#[cfg(test)]
pub(crate) mod tests;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Method, Request, Uri};
use http_body_util::Full;
use hyper::body::{Body, Incoming};
use postrider_contract::attempt::{AttemptResult, BodyExtent, FailureClass, Phase, Response, Timings};
use postrider_contract::egress::AddressRule;
use rustls_pki_types::CertificateDer;
use tokio::time::timeout_at;

pub use dialer::{Connect, TcpConnect};
pub use failure::LocalShortage;
pub use header_case::{HeaderCase, MAX_HEADERS};
pub use pool::{Endpoint, PoolLimits, Scheme};
pub use resolver::{Resolver, SystemResolver};
pub use tls::TlsSetupError;

use connection::{Connection, SendFailure};
use dialer::Dialer;
use failure::CallFailure;
use kept_headers::kept_headers;
use lookups::{Lookups, MAX_LOOKUPS};
use pool::Pool;
use progress::{Progress, Shown};
use tls::Connectors;

/// What the client is made of.
pub struct ClientParts {
    pub rule: AddressRule,
    pub resolver: Arc<dyn Resolver>,
    pub connect: Arc<dyn Connect>,
    /// Certificate authorities trusted beside the public ones.
    pub extra_authorities: Vec<CertificateDer<'static>>,
    pub limits: PoolLimits,
}

impl ClientParts {
    /// The machine's resolver and network, the public authorities, the default limits.
    #[must_use]
    pub fn with_rule(rule: AddressRule) -> Self {
        ClientParts {
            rule,
            resolver: Arc::new(SystemResolver),
            connect: Arc::new(TcpConnect),
            extra_authorities: Vec::new(),
            limits: PoolLimits::default(),
        }
    }
}

/// A request, ready to be written.
#[derive(Clone, Debug)]
pub struct OutgoingRequest {
    pub endpoint: Arc<Endpoint>,
    pub method: Method,
    /// Path and query.
    pub target: Uri,
    /// All of them, `Host` and `Content-Length` included.
    pub headers: HeaderMap,
    pub case: HeaderCase,
    pub body: Bytes,
    /// Over everything: name, connection, TLS, headers and body.
    pub time_limit: Duration,
}

/// What a call came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exchange {
    pub address: Option<SocketAddr>,
    pub timings: Timings,
    pub result: AttemptResult,
}

/// How a try reaches its receiver: over HTTP, or in a simulation by no network at all.
#[async_trait]
pub trait Transport: Send + Sync {
    /// Makes one call.
    ///
    /// # Errors
    /// Only when no call was made, for want of something on our side: sockets, or a turn to look up the name. What
    /// a receiver does is in the [`Exchange`].
    async fn call(&self, request: OutgoingRequest) -> Result<Exchange, LocalShortage>;

    /// Lets go of what is past its limits; called every few seconds.
    fn sweep(&self);
}

/// Calls receivers over HTTP/1.1.
pub struct HttpClient {
    dialer: Dialer,
    pool: Pool,
}

impl HttpClient {
    /// # Errors
    /// When the extra authorities cannot be used.
    pub fn new(parts: ClientParts) -> Result<Self, TlsSetupError> {
        let tls = Connectors::new(&parts.extra_authorities)?;
        let ClientParts { rule, resolver, connect, limits, .. } = parts;
        let lookups = Lookups::new(resolver, MAX_LOOKUPS);
        Ok(HttpClient { dialer: Dialer { rule, lookups, connect, tls }, pool: Pool::new(limits) })
    }

    /// As [`Transport::call`].
    ///
    /// # Errors
    /// As there.
    pub async fn call(&self, request: OutgoingRequest) -> Result<Exchange, LocalShortage> {
        let mut progress = Progress::begin(request.time_limit);
        let endpoint = Arc::clone(&request.endpoint);
        let deadline = progress.deadline;
        match timeout_at(deadline, self.fetch_head(request, &mut progress)).await {
            Ok(Ok((connection, response))) => {
                Ok(self.fetch_body(&endpoint, connection, response, progress).await)
            }
            Ok(Err(CallFailure::NotMade(shortage))) => Err(shortage),
            Ok(Err(CallFailure::Counted { class, detail })) => Ok(failed(progress, class, detail)),
            Err(_) => {
                let class = FailureClass::Timeout(progress.phase);
                Ok(failed(progress, class, "no answer in time".to_owned()))
            }
        }
    }

    /// How many connections are open and unused.
    #[must_use]
    pub fn idle_connections(&self) -> usize {
        self.pool.idle_count()
    }

    /// A kept-alive connection may turn out to have been closed. Where not a byte of the request was written, it
    /// is sent once more on a new connection; otherwise the receiver may have seen it, and the try counts.
    async fn fetch_head(
        &self,
        request: OutgoingRequest,
        progress: &mut Progress,
    ) -> Result<(Connection, http::Response<Incoming>), CallFailure> {
        let OutgoingRequest { endpoint, method, target, headers, case, body, .. } = request;
        let mut message = Request::new(Full::new(body));
        *message.method_mut() = method;
        *message.uri_mut() = target;
        *message.headers_mut() = headers;
        *message.extensions_mut() = case.to_extensions();
        if let Some(mut connection) = self.take_usable(&endpoint).await {
            progress.address = Some(connection.address());
            match connection.send(message).await {
                Ok(response) => return Ok((connection, response)),
                Err(SendFailure::Sent(error)) => return Err(CallFailure::of_exchange(&error)),
                Err(SendFailure::Unsent(unsent)) => message = *unsent,
            }
            *message.extensions_mut() = case.to_extensions();
            progress.address = None;
        }
        // Rare beside the tries that find a connection open: boxed, so that those do not carry its size about.
        let mut connection = Box::pin(self.dialer.dial(&endpoint, progress)).await?;
        progress.enter(Phase::Headers);
        match connection.send(message).await {
            Ok(response) => Ok((connection, response)),
            Err(SendFailure::Sent(error)) => Err(CallFailure::of_exchange(&error)),
            Err(SendFailure::Unsent(_)) => {
                let detail = "the connection was closed before the request";
                Err(CallFailure::counted(FailureClass::Closed, detail))
            }
        }
    }

    async fn take_usable(&self, endpoint: &Arc<Endpoint>) -> Option<Connection> {
        while let Some(mut connection) = self.pool.take(endpoint) {
            if connection.is_usable().await {
                return Some(connection);
            }
        }
        None
    }

    async fn fetch_body(
        &self,
        endpoint: &Arc<Endpoint>,
        mut connection: Connection,
        response: http::Response<Incoming>,
        mut progress: Progress,
    ) -> Exchange {
        progress.answered(connection.first_byte());
        let (head, mut body) = response.into_parts();
        let mut kept = BytesMut::new();
        let extent = if body.is_end_stream() {
            BodyExtent::Whole
        } else {
            let read = timeout_at(progress.deadline, connection.read_body(&mut body, &mut kept)).await;
            read.unwrap_or(BodyExtent::CutOff)
        };
        drop(body);
        if extent == BodyExtent::Whole && connection.is_usable().await {
            self.pool.put(endpoint, connection);
        }
        let response = Response {
            status: head.status.as_u16(),
            headers: kept_headers(&head.headers),
            body: kept.freeze(),
            extent,
        };
        let (address, timings) = progress.end(Shown::All);
        Exchange { address, timings, result: AttemptResult::Response(response) }
    }
}

#[async_trait]
impl Transport for HttpClient {
    async fn call(&self, request: OutgoingRequest) -> Result<Exchange, LocalShortage> {
        HttpClient::call(self, request).await
    }

    /// Closes idle connections that are past their limits.
    fn sweep(&self) {
        self.pool.sweep();
    }
}

fn failed(progress: Progress, class: FailureClass, detail: String) -> Exchange {
    let shown = if class == FailureClass::Blocked { Shown::TotalOnly } else { Shown::All };
    let (address, timings) = progress.end(shown);
    Exchange { address, timings, result: AttemptResult::Failure { class, detail } }
}
