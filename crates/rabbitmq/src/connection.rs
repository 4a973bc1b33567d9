//! One supervised connection.
//!
//! Promises: as long as it is not closed it is kept up, with pauses that double, with jitter; whoever meets an
//! error on it says so ([`Live::give_up`]) and it is replaced. The client library's own recovery is never used:
//! it can hang for good with a publish in flight. A connection is never repaired, only replaced, so that a
//! channel belongs to one connection for its whole life.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use lapin::tcp::OwnedTLSConfig;
use lapin::uri::{AMQPScheme, AMQPUri};
use lapin::{Channel, Connection, ConnectionProperties, Event};
use postrider_contract::clock::Entropy;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::error::{
    CertificateProblem, ConnectError, Refusal, TopologyError, read_certificate_problem, read_refusal,
};
use crate::nodes::parse_nodes;
use crate::settings::{Settings, Timings, TlsSettings};
use crate::version::{Version, ask_version};

/// Between two heartbeats, in seconds: a peer that is gone without a word is noticed within twice this. The
/// broker's own default of 60 is too long for a worker that holds leases.
const HEARTBEAT: u16 = 10;
/// The longest frame, in bytes; a longer body is several. The client library keeps 32 of them in each direction and
/// goes round in that memory: at the broker's own 128 KiB, 8 MiB that fall out of the processor's cache again and again.
const FRAME_MAX: u32 = 16 * 1024;
/// How long an orderly close may take before the socket is simply dropped.
const CLOSE: Duration = Duration::from_secs(2);
/// How often a connection is looked at that has reported nothing; a safety net below its own events.
const LOOK: Duration = Duration::from_secs(1);

/// Where the broker's nodes are and how we introduce ourselves.
#[derive(Clone)]
pub(crate) struct Endpoint {
    /// One for each node, in the order of the setting; never empty.
    uris: Vec<AMQPUri>,
    tls: TlsSettings,
    connection_name: String,
    timings: Timings,
}

impl Endpoint {
    pub fn new(settings: &Settings) -> Result<Self, ConnectError> {
        let mut uris = parse_nodes(&settings.url).map_err(|reason| ConnectError::InvalidUrl { reason })?;
        for uri in &mut uris {
            uri.query.heartbeat.get_or_insert(HEARTBEAT);
            uri.query.frame_max.get_or_insert(FRAME_MAX);
        }
        Ok(Endpoint {
            uris,
            tls: settings.tls.clone(),
            connection_name: settings.connection_name.clone(),
            timings: settings.timings,
        })
    }

    /// Hosts and ports, for messages.
    pub fn address(&self) -> String {
        self.uris.iter().map(address_of).collect::<Vec<_>>().join(", ")
    }

    pub fn is_tls(&self) -> bool {
        self.uris.iter().all(|uri| uri.scheme == AMQPScheme::AMQPS)
    }

    /// How many nodes there are to try.
    fn nodes(&self) -> usize {
        self.uris.len()
    }

    /// Any node that answers speaks for all. `None` if it does not say, or over TLS.
    pub async fn ask_version(&self) -> Result<Option<Version>, ConnectError> {
        if self.is_tls() {
            return Ok(None);
        }
        let mut failed = None;
        for uri in &self.uris {
            let authority = &uri.authority;
            match ask_version(&authority.host, authority.port, self.timings.connect).await {
                Ok(version) => return Ok(version),
                Err(error) => failed = failed.or(Some(unreachable(uri, error.to_string()))),
            }
        }
        failed.map_or(Ok(None), Err)
    }

    /// Refuses a broker that is older than needed.
    pub async fn check_version(&self) -> Result<(), ConnectError> {
        match self.ask_version().await? {
            Some(found) if found < Version::NEEDED => {
                Err(ConnectError::TooOld { address: self.address(), found, needed: Version::NEEDED })
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Tries each node once, from the `first` on, and answers with the first error if none lets us in.
    pub async fn connect_to_any(
        &self,
        purpose: &'static str,
        first: usize,
    ) -> Result<Connection, ConnectError> {
        let mut failed = None;
        for turn in first..first + self.nodes() {
            match self.connect(purpose, turn).await {
                Ok(connection) => return Ok(connection),
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        Err(failed.unwrap_or_else(|| ConnectError::Failed {
            address: self.address(),
            reason: "no node is named".to_owned(),
        }))
    }

    /// Connects to the node whose turn it is.
    async fn connect(&self, purpose: &'static str, turn: usize) -> Result<Connection, ConnectError> {
        let uri = &self.uris[turn % self.nodes()];
        let runtime = lapin::runtime::default_runtime().map_err(|error| classify(uri, &error))?;
        let name = format!("{} ({purpose})", self.connection_name);
        let properties = ConnectionProperties::default().with_connection_name(name.into());
        let tls = OwnedTLSConfig { identity: None, cert_chain: self.tls.authorities_pem.clone() };
        let connecting = Connection::connect_uri_with_config(uri.clone(), properties, tls, runtime);
        match tokio::time::timeout(self.timings.connect, connecting).await {
            Ok(connected) => connected.map_err(|error| classify(uri, &error)),
            Err(_) => Err(unreachable(uri, format!("no answer within {:?}", self.timings.connect))),
        }
    }
}

fn address_of(uri: &AMQPUri) -> String {
    format!("{}:{}", uri.authority.host, uri.authority.port)
}

fn unreachable(uri: &AMQPUri, reason: String) -> ConnectError {
    ConnectError::Unreachable { address: address_of(uri), reason }
}

fn classify(uri: &AMQPUri, error: &lapin::Error) -> ConnectError {
    let address = address_of(uri);
    let user = uri.authority.userinfo.username.clone();
    match read_refusal(error) {
        Some((Refusal::Access, _)) => ConnectError::AccessRefused { address, user },
        Some((Refusal::NotAllowed, reason)) => {
            ConnectError::VhostRefused { address, user, vhost: uri.vhost.clone(), reason }
        }
        Some((Refusal::NotFound | Refusal::Precondition | Refusal::Internal | Refusal::Other, reason)) => {
            ConnectError::Failed { address, reason }
        }
        None => match read_certificate_problem(error) {
            Some(CertificateProblem::OtherName(reason)) => ConnectError::OtherName { address, reason },
            Some(CertificateProblem::Untrusted(reason)) => ConnectError::Untrusted { address, reason },
            None if error.is_io_error() => ConnectError::Unreachable { address, reason: error.to_string() },
            None => ConnectError::Failed { address, reason: error.to_string() },
        },
    }
}

/// Without the password.
impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint").field("address", &self.address()).finish_non_exhaustive()
    }
}

/// One connection while it lasts.
pub(crate) struct Live {
    pub connection: Connection,
    given_up: CancellationToken,
    purpose: &'static str,
    round_trip: Duration,
}

impl Live {
    pub fn new(connection: Connection, purpose: &'static str, round_trip: Duration) -> Arc<Self> {
        Arc::new(Live { connection, given_up: CancellationToken::new(), purpose, round_trip })
    }

    /// Waits for the broker's answer to one question, for as long as a round trip may take: a queue whose quorum
    /// is lost, and a connection that is blocked, answer nothing at all.
    pub async fn answer<T>(
        &self,
        question: impl Future<Output = lapin::Result<T>>,
    ) -> Result<T, TopologyError> {
        match tokio::time::timeout(self.round_trip, question).await {
            Ok(answer) => Ok(answer?),
            Err(_) => Err(TopologyError::NoAnswer(self.round_trip)),
        }
    }

    /// A channel of one's own.
    pub async fn open_channel(&self) -> Result<Channel, TopologyError> {
        self.answer(self.connection.create_channel()).await
    }

    /// The connection is not to be trusted any more: it is dropped and replaced.
    pub fn give_up(&self, reason: &str) {
        if !self.given_up.is_cancelled() {
            tracing::warn!(connection = self.purpose, reason, "giving up a connection to the broker");
            self.given_up.cancel();
        }
    }

    /// Resolves once nothing more will come over this connection.
    pub async fn ended(&self) {
        self.given_up.cancelled().await;
    }

    pub fn has_ended(&self) -> bool {
        self.given_up.is_cancelled()
    }

    /// The broker takes no publishes for now: out of memory or disk.
    pub fn is_blocked(&self) -> bool {
        self.connection.status().blocked()
    }
}

#[derive(Clone)]
pub(crate) enum LinkState {
    Up(Arc<Live>),
    Down { reason: String },
    Closed,
}

/// A connection that is kept up until it is closed.
pub(crate) struct Link {
    state: watch::Receiver<LinkState>,
    closing: CancellationToken,
}

impl Link {
    /// Connects once, so that what is wrong is told at once, and keeps the connection up from then on.
    pub async fn start(
        endpoint: Endpoint,
        purpose: &'static str,
        entropy: Arc<dyn Entropy>,
    ) -> Result<Link, ConnectError> {
        // Not always the first: the processes of an installation should not all sit on one node.
        let mut drawn = [0; 1];
        entropy.fill(&mut drawn);
        let turn = usize::from(drawn[0]);
        let connection = endpoint.connect_to_any(purpose, turn).await?;
        let live = Live::new(connection, purpose, endpoint.timings.round_trip);
        let (announce, state) = watch::channel(LinkState::Up(Arc::clone(&live)));
        let closing = CancellationToken::new();
        let supervisor =
            Supervisor { endpoint, purpose, entropy, announce, closing: closing.clone(), first_turn: turn };
        tokio::spawn(supervisor.run(live));
        Ok(Link { state, closing })
    }

    pub fn watch(&self) -> watch::Receiver<LinkState> {
        self.state.clone()
    }

    /// The connection, if it is up.
    pub fn live(&self) -> Result<Arc<Live>, String> {
        match &*self.state.borrow() {
            LinkState::Up(live) => Ok(Arc::clone(live)),
            LinkState::Down { reason } => Err(reason.clone()),
            LinkState::Closed => Err("closed".to_owned()),
        }
    }

    /// Closes it in order, for good.
    pub async fn close(&self) {
        self.closing.cancel();
        let mut state = self.state.clone();
        let closed = state.wait_for(|state| matches!(state, LinkState::Closed));
        if tokio::time::timeout(CLOSE * 2, closed).await.is_err() {
            tracing::warn!("a connection to the broker did not close in time");
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.closing.cancel();
    }
}

/// Waits until the connection is up; `None` once it is closed for good.
pub(crate) async fn wait_until_up(state: &mut watch::Receiver<LinkState>) -> Option<Arc<Live>> {
    let reached = state.wait_for(|state| match state {
        LinkState::Up(live) => !live.has_ended(),
        LinkState::Closed => true,
        LinkState::Down { .. } => false,
    });
    match &*reached.await.ok()? {
        LinkState::Up(live) => Some(Arc::clone(live)),
        LinkState::Down { .. } | LinkState::Closed => None,
    }
}

struct Supervisor {
    endpoint: Endpoint,
    purpose: &'static str,
    entropy: Arc<dyn Entropy>,
    announce: watch::Sender<LinkState>,
    closing: CancellationToken,
    /// Which node was tried first.
    first_turn: usize,
}

impl Supervisor {
    async fn run(self, first: Arc<Live>) {
        let mut live = Some(first);
        let mut pause = self.endpoint.timings.first_pause;
        // The node that is tried next, and how many in a row let nobody in.
        let (mut turn, mut refused) = (self.first_turn, 0);
        while !self.closing.is_cancelled() {
            match live.take() {
                Some(live) => {
                    let since = Instant::now();
                    let reason = self.watch_over(&live).await;
                    live.given_up.cancel();
                    // One that breaks at once, again and again, is no reason to try as often.
                    let longest = self.endpoint.timings.longest_pause;
                    let first = self.endpoint.timings.first_pause;
                    let was_short = since.elapsed() < longest;
                    pause = if was_short { (pause * 2).min(longest) } else { first };
                    if !self.closing.is_cancelled() {
                        self.announce.send_replace(LinkState::Down { reason });
                    }
                    close(&live).await;
                    turn = turn.wrapping_add(1);
                    if self.endpoint.nodes() > 1 && !was_short {
                        // The others need not be troubled by what befell this one.
                        continue;
                    }
                }
                None => match self.unless_closing(self.endpoint.connect(self.purpose, turn)).await {
                    Some(Ok(connection)) => {
                        refused = 0;
                        tracing::info!(connection = self.purpose, "connected to the broker");
                        let round_trip = self.endpoint.timings.round_trip;
                        let fresh = Live::new(connection, self.purpose, round_trip);
                        self.announce.send_replace(LinkState::Up(Arc::clone(&fresh)));
                        live = Some(fresh);
                        continue;
                    }
                    Some(Err(error)) => {
                        tracing::warn!(connection = self.purpose, %error, "cannot connect to the broker");
                        self.announce.send_replace(LinkState::Down { reason: error.to_string() });
                        turn = turn.wrapping_add(1);
                        refused += 1;
                        if refused % self.endpoint.nodes() != 0 {
                            continue;
                        }
                        pause = (pause * 2).min(self.endpoint.timings.longest_pause);
                    }
                    None => break,
                },
            }
            // Between half and all of the pause, so that processes that lost the broker together do not come
            // back together.
            let jittered = pause.mul_f64(0.5 + self.entropy.draw_jitter().draw() / 2.0);
            self.unless_closing(tokio::time::sleep(jittered)).await;
        }
        if let Some(live) = live {
            live.given_up.cancel();
            close(&live).await;
        }
        self.announce.send_replace(LinkState::Closed);
    }

    async fn unless_closing<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        self.closing.run_until_cancelled(work).await
    }

    /// Returns with the reason once the connection has ended, was given up, or is to be closed.
    async fn watch_over(&self, live: &Live) -> String {
        let mut events = std::pin::pin!(live.connection.events_listener());
        let mut look = tokio::time::interval(LOOK);
        loop {
            tokio::select! {
                () = self.closing.cancelled() => return "closed".to_owned(),
                () = live.given_up.cancelled() => return "the connection was given up".to_owned(),
                _ = look.tick() => {
                    if !live.connection.status().connected() {
                        return "the connection ended".to_owned();
                    }
                }
                event = events.next() => {
                    if let Some(reason) = self.hear(event) {
                        return reason;
                    }
                }
            }
        }
    }

    /// `Some` if the event ends the connection.
    fn hear(&self, event: Option<Event>) -> Option<String> {
        let event = event?;
        if let Event::Error(error) = &event {
            // That of one channel, announced here as well; whoever uses the channel hears of it there.
            if error.is_amqp_soft_error() {
                return None;
            }
            tracing::warn!(connection = self.purpose, %error, "the connection to the broker broke");
            return Some(error.to_string());
        }
        if let Event::ConnectionBlocked(reason) = &event {
            tracing::warn!(connection = self.purpose, reason, "the broker takes no publishes");
        } else if matches!(event, Event::ConnectionUnblocked) {
            tracing::info!(connection = self.purpose, "the broker takes publishes again");
        }
        None
    }
}

async fn close(live: &Live) {
    if !live.connection.status().connected() {
        return;
    }
    match tokio::time::timeout(CLOSE, live.connection.close(200, "closing".into())).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "the connection had ended before it was closed"),
        Err(_) => tracing::debug!("the broker did not answer a close"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heartbeat_of(url: &str) -> Option<u16> {
        let endpoint = Endpoint::new(&Settings::new(url, "test@host")).expect("it can be read");
        endpoint.uris[0].query.heartbeat
    }

    #[test]
    fn a_peer_that_is_gone_is_noticed_soon_unless_the_url_says_otherwise() {
        assert_eq!(heartbeat_of("amqp://broker/%2f"), Some(HEARTBEAT));
        assert_eq!(heartbeat_of("amqp://broker/%2f?heartbeat=600"), Some(600));
    }
}
