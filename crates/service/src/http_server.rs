//! The HTTP server of every role: a router behind limits, ending in order.
//!
//! What it promises: a slow or greedy client is cut and costs the others nothing; every refusal that leaves is
//! problem+json; a handler that panics answers 500 and says nothing of why; after a drain begins each connection ends
//! with its next answer, which says so, and once the drain's delay is over no connection is accepted, what is in flight
//! is finished, and idle connections close; clients that only hold connections do not keep others out. It serves from
//! before its routes are there: a request that comes earlier waits a second for them, and is then refused.

use std::convert::Infallible;
use std::future::Future;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::FutureExt;
use http::header::{ALLOW, CONNECTION, CONTENT_TYPE, HeaderName, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, Request, StatusCode};
use http_body::{Body as _, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use postrider_contract::clock::Entropy;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::Service;

mod room;
mod routes;
mod server_errors;

use room::{Place, Room};
pub use routes::Routes;
use server_errors::ServerErrors;

use crate::connection_phase::ConnectionPhase;
use crate::guarded_stream::{GuardedStream, Patience};
use crate::lifecycle::Stop;
use crate::problem::{Code, NotLogged, PROBLEM_JSON, Problem};
use crate::raw_body::{BodyLimit, DEFAULT_BODY_LIMIT};
use crate::request_rules;
use crate::sparing::Sparing;
use crate::timed_body::TimedBody;

const REQUEST_ID: HeaderName = HeaderName::from_static("request-id");
const NO_SNIFF: (HeaderName, HeaderValue) =
    (http::header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));

/// hyper's own bound, which it checks on the stack; one that is set, to the same number even, costs two allocations to
/// a request.
const HYPERS_HEAD_FIELDS: usize = 100;
/// After a failed accept, mostly for want of file descriptors: long enough not to spin, short enough not to matter.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Of trouble with connections, which is tried on every 50 ms, the log tells once in so long.
const TROUBLE_EVERY: Duration = Duration::from_secs(10);

/// What a client may ask of the server.
#[derive(Clone, Copy, Debug)]
pub struct HttpLimits {
    /// For a request head to come whole, and for a new connection to send its first byte.
    pub head_time: Duration,
    /// How long a kept-alive connection may wait for its next request. Longer than the 60 s that balancers
    /// commonly keep theirs, so that it is they who close.
    pub idle_time: Duration,
    /// How long a client may not take any byte of its answer.
    pub write_time: Duration,
    /// The longest pause within a request body, and the longest whole body.
    pub body_idle_time: Duration,
    pub body_total_time: Duration,
    pub head_bytes: usize,
    pub head_fields: usize,
    pub uri_bytes: usize,
    /// For routes that do not set their own.
    pub body: BodyLimit,
    /// Connections open at once. When all are taken the longest idle is closed for a new one; where none is idle,
    /// further ones wait in the listen queue.
    pub connections: usize,
    /// How long a connection may be idle even then. Long enough for a busy client's next request to be on its way.
    pub crowded_idle_time: Duration,
    /// How long connections are still accepted, and requests on open ones taken, after a drain has begun: a balancer
    /// needs some probes to notice.
    pub drain_delay: Duration,
}

impl Default for HttpLimits {
    fn default() -> Self {
        HttpLimits {
            head_time: Duration::from_secs(10),
            idle_time: Duration::from_secs(75),
            write_time: Duration::from_secs(30),
            body_idle_time: Duration::from_secs(10),
            body_total_time: Duration::from_secs(30),
            head_bytes: 16 * 1024,
            head_fields: 100,
            uri_bytes: 8 * 1024,
            body: DEFAULT_BODY_LIMIT,
            // As `server.max_connections` says by default; a test holds the two together.
            connections: 4096,
            crowded_idle_time: Duration::from_secs(1),
            drain_delay: Duration::ZERO,
        }
    }
}

/// Why an address cannot be listened on.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    #[error("cannot listen on {address}: the address is in use by another process")]
    AddressInUse { address: SocketAddr },
    #[error("cannot listen on {address}: not permitted (ports below 1024 need a privilege)")]
    NotPermitted { address: SocketAddr },
    #[error("cannot listen on {address}: this machine does not have that address")]
    NoSuchAddress { address: SocketAddr },
    #[error("cannot listen on {address}")]
    Other { address: SocketAddr, source: io::Error },
}

/// Listens on an address; port 0 takes a free one.
///
/// # Errors
/// When the address cannot be had, with the reason as a variant.
pub async fn bind(address: SocketAddr) -> Result<TcpListener, BindError> {
    TcpListener::bind(address).await.map_err(|source| {
        let kind = source.kind();
        if kind == ErrorKind::AddrInUse {
            BindError::AddressInUse { address }
        } else if kind == ErrorKind::PermissionDenied {
            BindError::NotPermitted { address }
        } else if kind == ErrorKind::AddrNotAvailable {
            BindError::NoSuchAddress { address }
        } else {
            BindError::Other { address, source }
        }
    })
}

/// The name under which the log knows a request; every answer carries it as `request-id`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestId(Arc<str>);

impl RequestId {
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Routes with their limits, ready to serve a listener.
#[derive(Debug)]
pub struct HttpServer {
    routes: Routes,
    limits: HttpLimits,
    /// Drawn once per process, so that ids of two processes do not meet; the rest of an id is a count.
    process: u32,
    count: AtomicU64,
    errors: ServerErrors,
}

impl HttpServer {
    #[must_use]
    pub fn new(routes: Routes, limits: HttpLimits, entropy: &dyn Entropy) -> Self {
        let mut process = [0_u8; 4];
        entropy.fill(&mut process);
        HttpServer {
            routes,
            limits,
            process: u32::from_be_bytes(process),
            count: AtomicU64::new(0),
            errors: ServerErrors::new(),
        }
    }

    /// Serves until a drain has finished what was in flight, or the hard stop drops it.
    ///
    /// # Errors
    /// None today: what goes wrong with one connection ends that connection. Typed as roles are.
    pub async fn serve(self, listener: TcpListener, stop: Stop) -> Result<(), Infallible> {
        let server = Arc::new(self);
        let room = Room::new(server.limits.connections, server.limits.crowded_idle_time);
        let trouble = Sparing::new(1, TROUBLE_EVERY);
        let connections = TaskTracker::new();
        let mut closes = pin!(server.closes(&stop));
        let closing = CancellationToken::new();
        loop {
            let accepted = tokio::select! {
                biased;
                () = closes.as_mut() => break,
                accepted = accept(&listener, &room) => accepted,
            };
            let (stream, peer, place) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    if let Some(untold) = trouble.tell() {
                        tracing::warn!(%error, untold, "cannot accept connections; trying on");
                    }
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            let (server, stop, closing) = (Arc::clone(&server), stop.clone(), closing.clone());
            connections.spawn(async move {
                tokio::select! {
                    biased;
                    () = stop.halted() => {}
                    () = serve_connection(server, stream, peer, &stop, &closing, &place) => {}
                }
                drop(place);
            });
        }
        drop(listener);
        closing.cancel();
        connections.close();
        connections.wait().await;
        Ok(())
    }

    /// Comes when the delay of a drain is over.
    async fn closes(&self, stop: &Stop) {
        stop.draining().await;
        tokio::select! {
            () = stop.hurried() => {}
            () = tokio::time::sleep(self.limits.drain_delay) => {}
        }
    }

    fn next_request_id(&self) -> RequestId {
        let number = self.count.fetch_add(1, Ordering::Relaxed);
        RequestId(format!("req_{:08x}{number:x}", self.process).into())
    }
}

type Accepted = (TcpStream, SocketAddr, Place);

/// One client at most waits here for a place, since only for somebody who waits is one made; the others wait in the
/// kernel's queue, not in our memory.
async fn accept(listener: &TcpListener, room: &Arc<Room>) -> io::Result<Accepted> {
    loop {
        let (stream, peer) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) if is_of_the_client(&error) => continue,
            Err(error) => return Err(error),
        };
        // Fails only where the client has gone meanwhile.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "a client has gone before it was served");
            continue;
        }
        return Ok((stream, peer, room.enter().await));
    }
}

/// A client that broke off before it was accepted; the next may be sound.
fn is_of_the_client(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset)
}

async fn serve_connection(
    server: Arc<HttpServer>,
    stream: TcpStream,
    peer: SocketAddr,
    stop: &Stop,
    closing: &CancellationToken,
    place: &Place,
) {
    let limits = server.limits;
    let patience = Patience { head: limits.head_time, idle: limits.idle_time, write: limits.write_time };
    let phase = place.phase();
    let guarded = GuardedStream::new(stream, Arc::clone(&phase), patience);
    let exchange = Exchange { server, peer, phase, stop: stop.clone() };
    let mut http = http1::Builder::new();
    // The guarded stream has the timers, which tell an idle connection from a dripping head.
    http.keep_alive(true).header_read_timeout(None).max_header_size(limits.head_bytes);
    if limits.head_fields != HYPERS_HEAD_FIELDS {
        http.max_headers(limits.head_fields);
    }
    let mut connection = pin!(http.serve_connection(TokioIo::new(guarded), exchange));
    let asked_to_end = async {
        tokio::select! {
            () = closing.cancelled() => {}
            () = place.asked_to_leave() => {}
        }
    };
    let ended = tokio::select! {
        biased;
        ended = connection.as_mut() => ended,
        () = asked_to_end => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "connection ended early");
    }
}

/// One connection's side of the server.
struct Exchange {
    server: Arc<HttpServer>,
    peer: SocketAddr,
    phase: Arc<ConnectionPhase>,
    stop: Stop,
}

impl hyper::service::Service<Request<Incoming>> for Exchange {
    type Response = Response<AnswerBody>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<AnswerBody>, Infallible>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        self.phase.note_request();
        let (server, phase, peer) = (Arc::clone(&self.server), Arc::clone(&self.phase), self.peer);
        let stop = self.stop.clone();
        Box::pin(async move {
            let request_id = server.next_request_id();
            let limits = &server.limits;
            let answer = match request_rules::check(&request, limits.uri_bytes) {
                Err(problem) => {
                    if !request.body().is_end_stream() {
                        phase.note_body_begun();
                    }
                    problem.into_response()
                }
                Ok(()) => {
                    let mut request = request.map(|body| {
                        let (idle, total) = (limits.body_idle_time, limits.body_total_time);
                        Body::new(TimedBody::new(body, idle, total, Arc::clone(&phase)))
                    });
                    let extensions = request.extensions_mut();
                    extensions.insert(limits.body);
                    extensions.insert(ConnectInfo(peer));
                    extensions.insert(request_id.clone());
                    let router = server.routes.router_for(request.uri().path()).await;
                    route(router, request).await
                }
            };
            let mut answer = finish(answer, &request_id, &server.errors);
            if stop.is_draining() {
                answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            Ok(answer.map(|body| AnswerBody { body, phase }))
        })
    }
}

async fn route(mut router: Router, request: Request<Body>) -> Response {
    let (method, uri) = (request.method().clone(), request.uri().clone());
    let answered = AssertUnwindSafe(async move { router.call(request).await }).catch_unwind().await;
    match answered {
        Ok(Ok(answer)) => answer,
        Ok(Err(never)) => match never {},
        Err(_) => {
            // The panic hook has logged the message and the place.
            tracing::error!(%method, path = uri.path(), "a handler panicked");
            Problem::internal().into_response()
        }
    }
}

/// Gives every answer its request id, and every refusal the one form that refusals have.
fn finish(answer: Response, request_id: &RequestId, errors: &ServerErrors) -> Response {
    let mut answer = if is_plain_refusal(&answer) { as_problem(&answer) } else { answer };
    if let Some(problem) = answer.extensions_mut().remove::<Problem>() {
        if answer.extensions().get::<NotLogged>().is_none() {
            errors.tell(&problem, request_id);
        }
        answer = problem.into_response_for(Some(request_id.as_str()));
    }
    let headers = answer.headers_mut();
    if let Ok(value) = HeaderValue::from_str(request_id.as_str()) {
        headers.insert(REQUEST_ID, value);
    }
    headers.insert(NO_SNIFF.0, NO_SNIFF.1);
    answer
}

fn is_plain_refusal(answer: &Response) -> bool {
    let is_refusal = answer.status().is_client_error() || answer.status().is_server_error();
    is_refusal && answer.headers().get(CONTENT_TYPE).is_none_or(|kind| kind != PROBLEM_JSON)
}

/// A refusal of the router's own, said our way; the headers that belong to a refusal stay.
fn as_problem(answer: &Response) -> Response {
    let problem = match answer.status() {
        StatusCode::NOT_FOUND => Problem::not_found(),
        StatusCode::METHOD_NOT_ALLOWED => Problem::new(
            Code::MethodNotAllowed,
            "this resource does not have that method; see the Allow header",
        ),
        status if Code::for_status(status) == Code::Internal => Problem::internal(),
        status => Problem::new(Code::for_status(status), Code::for_status(status).title()),
    };
    let mut said = problem.into_response();
    for name in [ALLOW, RETRY_AFTER, WWW_AUTHENTICATE] {
        if let Some(value) = answer.headers().get(&name) {
            said.headers_mut().insert(name, value.clone());
        }
    }
    said
}

/// The body of an answer; when it is dropped, the connection waits for its next request.
struct AnswerBody {
    body: Body,
    phase: Arc<ConnectionPhase>,
}

impl Drop for AnswerBody {
    fn drop(&mut self) {
        self.phase.note_answered();
    }
}

impl http_body::Body for AnswerBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests;
