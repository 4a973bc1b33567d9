//! A programmable webhook receiver on a free loopback port.
//!
//! It records every request as it came over the wire (header names in their case and order, body byte for
//! byte) and answers each path as it was told to, down to the byte where that is the point. It speaks enough
//! HTTP/1.1 for that and no more: it is written on the socket itself, because a library would not misbehave.

mod answer;
mod behaviour;
mod request;

use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};

pub use super::certificates::{TlsSetup, Validity, Versions};
pub use behaviour::{Behaviour, Gate};

use super::certificates::Certificates;

use request::Wire;

/// One request, as it came.
#[derive(Debug, Clone)]
pub struct Received {
    /// When its last byte had been read.
    pub at: Instant,
    /// Which connection it came on, counted from 0 in the order of acceptance.
    pub connection: usize,
    /// `POST`, …
    pub method: String,
    /// The request target: path and query as sent.
    pub target: String,
    /// Names in their case, in their order, with their values.
    pub headers: Vec<(String, String)>,
    /// The body, without its transfer coding.
    pub body: Bytes,
}

impl Received {
    /// The target without its query.
    pub fn path(&self) -> &str {
        self.target.split_once('?').map_or(&self.target, |(path, _)| path)
    }

    /// The first value of the header `name`, in whatever case it came.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// The body as JSON.
    pub fn json(&self) -> Result<serde_json::Value> {
        serde_json::from_slice(&self.body).context("reading a received body as JSON")
    }
}

/// What a receiver has seen so far.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    /// In the order in which they were complete.
    pub requests: Vec<Received>,
    /// Connections accepted; with TLS, those whose handshake failed included.
    pub connections: usize,
    /// Connections open now.
    pub open: usize,
}

impl Seen {
    /// The requests for `path`.
    pub fn to<'a>(&'a self, path: &'a str) -> impl Iterator<Item = &'a Received> {
        self.requests.iter().filter(move |request| request.path() == path)
    }
}

/// A receiver. Clones are the same; dropping the last closes its port and its connections.
#[derive(Debug, Clone)]
pub struct Receiver {
    address: SocketAddr,
    certificates: Option<Arc<Certificates>>,
    board: Arc<Board>,
    _running: Arc<DropGuard>,
}

/// What the receiver and its connections share.
#[derive(Debug)]
struct Board {
    script: Mutex<HashMap<String, Part>>,
    seen: Mutex<Seen>,
    changes: watch::Sender<()>,
}

/// One path's behaviour and what it has counted.
#[derive(Debug, Clone, Default)]
struct Part {
    behaviour: Behaviour,
    requests: usize,
    by_value: HashMap<String, usize>,
}

impl Receiver {
    /// Starts one for plain HTTP. Every path answers 200 until told otherwise.
    pub async fn start() -> Result<Self> {
        Self::listen(0, None).await
    }

    /// Starts one on a certain port: a receiver that was away and comes back.
    pub async fn start_on(port: u16) -> Result<Self> {
        Self::listen(port, None).await
    }

    /// Starts one for HTTPS, with a certificate made for it by an authority of its own.
    pub async fn start_tls(setup: TlsSetup) -> Result<Self> {
        Self::listen(0, Some(Certificates::make(&setup)?)).await
    }

    async fn listen(port: u16, certificates: Option<Certificates>) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.context("starting a receiver")?;
        let address = listener.local_addr()?;
        let board = Arc::new(Board {
            script: Mutex::new(HashMap::new()),
            seen: Mutex::new(Seen::default()),
            changes: watch::Sender::new(()),
        });
        let certificates = certificates.map(Arc::new);
        let acceptor = certificates.as_deref().map(Certificates::acceptor);
        let stop = CancellationToken::new();
        tokio::spawn(stop.clone().run_until_cancelled_owned(accept(
            listener,
            acceptor,
            Arc::clone(&board),
            stop.clone(),
        )));
        Ok(Self { address, certificates, board, _running: Arc::new(stop.drop_guard()) })
    }

    /// The port it listens on.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// The URL of `path` (which begins with `/`) here, by address; with TLS by the name `localhost`.
    pub fn url(&self, path: &str) -> String {
        match self.certificates {
            None => format!("http://{}{path}", self.address),
            Some(_) => format!("https://localhost:{}{path}", self.port()),
        }
    }

    /// With TLS, the file (PEM) of the authority to trust.
    pub fn authority(&self) -> Option<&Path> {
        self.certificates.as_deref().map(Certificates::authority)
    }

    /// From now on requests for `path` are answered like this; counts of the path begin anew.
    pub fn script(&self, path: &str, behaviour: Behaviour) {
        let part = Part { behaviour, ..Part::default() };
        lock(&self.board.script).insert(path.to_owned(), part);
    }

    /// Everything seen so far.
    pub fn seen(&self) -> Seen {
        lock(&self.board.seen).clone()
    }

    /// All requests so far, in the order in which they were complete.
    pub fn requests(&self) -> Vec<Received> {
        self.seen().requests
    }

    /// The requests for `path` so far.
    pub fn requests_to(&self, path: &str) -> Vec<Received> {
        lock(&self.board.seen).to(path).cloned().collect()
    }

    /// How many requests there were so far.
    pub fn count(&self) -> usize {
        lock(&self.board.seen).requests.len()
    }

    /// How many connections were accepted so far.
    pub fn connections(&self) -> usize {
        lock(&self.board.seen).connections
    }

    /// Forgets the requests so far.
    pub fn forget(&self) {
        lock(&self.board.seen).requests.clear();
    }

    /// Waits until what was seen satisfies `holds`, and returns the requests of that moment. After `within` it
    /// fails, naming `what` and how far things had come.
    pub async fn wait_for(
        &self,
        what: &str,
        within: Duration,
        holds: impl FnMut(&Seen) -> bool,
    ) -> Result<Vec<Received>> {
        self.wait_until(what, within, holds).await?;
        Ok(self.requests())
    }

    /// The same, for who does not need the requests: of a long load they are many.
    pub async fn wait_until(
        &self,
        what: &str,
        within: Duration,
        mut holds: impl FnMut(&Seen) -> bool,
    ) -> Result<()> {
        let mut changes = self.board.changes.subscribe();
        let deadline = tokio::time::Instant::now() + within;
        while !holds(&lock(&self.board.seen)) {
            // The sender lives as long as `self`, so only the deadline ends this otherwise.
            if tokio::time::timeout_at(deadline, changes.changed()).await.is_err() {
                let seen = lock(&self.board.seen);
                return Err(anyhow!(
                    "waited {within:?} in vain for {what}; {} requests came on {} connections",
                    seen.requests.len(),
                    seen.connections
                ));
            }
        }
        Ok(())
    }

    /// Waits until `path` was requested `times` times at least, and returns those requests.
    pub async fn wait_for_requests(
        &self,
        path: &str,
        times: usize,
        within: Duration,
    ) -> Result<Vec<Received>> {
        let what = format!("{times} requests to {path}");
        let all = self.wait_for(&what, within, |seen| seen.to(path).count() >= times).await?;
        Ok(all.into_iter().filter(|request| request.path() == path).collect())
    }
}

impl Board {
    fn note(&self, change: impl FnOnce(&mut Seen)) {
        change(&mut lock(&self.seen));
        self.changes.send_replace(());
    }

    /// What to do about this request, the choice by count already made.
    fn behaviour_for(&self, request: &Received) -> Behaviour {
        let mut script = lock(&self.script);
        script.entry(request.path().to_owned()).or_default().next(request)
    }
}

impl Part {
    fn next(&mut self, request: &Received) -> Behaviour {
        let turn = self.requests;
        self.requests += 1;
        match &self.behaviour {
            Behaviour::InTurn { first, then } => first.get(turn).unwrap_or(then).clone(),
            Behaviour::FirstOfEach { header, times, first, then } => {
                let value = request.header(header).unwrap_or_default().to_owned();
                let count = self.by_value.entry(value).or_insert(0);
                *count += 1;
                if *count <= *times { (**first).clone() } else { (**then).clone() }
            }
            Behaviour::Respond { .. }
            | Behaviour::Delay { .. }
            | Behaviour::Wait { .. }
            | Behaviour::DripHeaders { .. }
            | Behaviour::DripBody { .. }
            | Behaviour::CloseBeforeStatus
            | Behaviour::CloseMidBody { .. }
            | Behaviour::EndlessBody
            | Behaviour::HeaderBomb { .. }
            | Behaviour::Raw(_)
            | Behaviour::Hang => self.behaviour.clone(),
        }
    }
}

async fn accept(
    listener: TcpListener,
    acceptor: Option<tokio_rustls::TlsAcceptor>,
    board: Arc<Board>,
    stop: CancellationToken,
) {
    // An error here is one connection's, gone before it was accepted.
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let (board, acceptor) = (Arc::clone(&board), acceptor.clone());
        let mut number = 0;
        board.note(|seen| {
            number = seen.connections;
            seen.connections += 1;
            seen.open += 1;
        });
        tokio::spawn(stop.clone().run_until_cancelled_owned(async move {
            if let Err(error) = greet(stream, acceptor, number, &board).await {
                tracing::debug!(%error, number, "a receiver's connection ended");
            }
            board.note(|seen| seen.open -= 1);
        }));
    }
}

async fn greet(
    stream: TcpStream,
    acceptor: Option<tokio_rustls::TlsAcceptor>,
    number: usize,
    board: &Board,
) -> Result<()> {
    stream.set_nodelay(true)?;
    match acceptor {
        None => serve(stream, number, board).await,
        Some(acceptor) => serve(acceptor.accept(stream).await?, number, board).await,
    }
}

/// Answers the requests of one connection until either side closes it.
async fn serve<S: AsyncRead + AsyncWrite + Unpin>(stream: S, number: usize, board: &Board) -> Result<()> {
    let mut wire = Wire::new(stream);
    while let Some(request) = wire.read_request(number).await? {
        let behaviour = board.behaviour_for(&request);
        let closes = request.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
        let method = request.method.clone();
        board.note(|seen| seen.requests.push(request));
        let after = answer::give(&mut wire, &method, behaviour).await?;
        if closes || after == answer::After::Close {
            break;
        }
    }
    Ok(())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
