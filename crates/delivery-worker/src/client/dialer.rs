//! New connections: resolve anew, vet every address, dial only a vetted one, speak TLS where the URL says so.
//!
//! This is the only place that opens sockets towards receivers. There is no proxy from the environment and no
//! way around the address rule: literals are judged as resolved names are, one refused address refuses the whole
//! answer, and the peer of the open socket is compared with what was vetted.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;

use async_trait::async_trait;
use postrider_contract::attempt::{FailureClass, Phase};
use postrider_contract::egress::{AddressRule, Host, VettedAddress};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

use super::connection::Connection;
use super::failure::CallFailure;
use super::lookups::Lookups;
use super::pool::{Endpoint, Scheme};
use super::progress::Progress;
use super::stream::{FirstByte, Stream, Wire};
use super::tls::{Connectors, server_name};

/// How many addresses of a name are tried; a name with more of them than this has enough.
const MAX_ADDRESSES: usize = 8;

/// Opens a TCP connection to a vetted address, and to nothing else.
#[async_trait]
pub trait Connect: Send + Sync {
    /// # Errors
    /// The operating system's.
    async fn connect(&self, address: VettedAddress) -> io::Result<TcpStream>;
}

/// The machine's own network.
#[derive(Clone, Copy, Debug, Default)]
pub struct TcpConnect;

#[async_trait]
impl Connect for TcpConnect {
    async fn connect(&self, address: VettedAddress) -> io::Result<TcpStream> {
        let stream = TcpStream::connect(address.socket_addr()).await?;
        // Request and response are one message each; waiting to fill a segment only delays them.
        stream.set_nodelay(true)?;
        Ok(stream)
    }
}

/// Opens vetted connections.
pub struct Dialer {
    pub rule: AddressRule,
    pub lookups: Lookups,
    pub connect: Arc<dyn Connect>,
    pub tls: Connectors,
}

impl Dialer {
    /// A new connection to `endpoint`. The caller ends it at the time limit; `progress` tells where it was.
    ///
    /// # Errors
    /// The class of what failed.
    pub async fn dial(
        &self,
        endpoint: &Endpoint,
        progress: &mut Progress,
    ) -> Result<Connection, CallFailure> {
        let addresses = self.resolve(endpoint, progress).await?;
        progress.enter(Phase::Connect);
        let (address, tcp) = self.connect_first(&addresses, progress).await?;
        progress.connected(address.socket_addr());
        let first_byte = FirstByte::new(Instant::now());
        let wire = match endpoint.scheme {
            Scheme::Http => Wire::Plain(tcp),
            Scheme::Https => self.handshake(endpoint, tcp, progress).await?,
        };
        let stream = Stream::new(wire, Arc::clone(&first_byte));
        let opened = Connection::open(stream, first_byte, address.socket_addr()).await;
        opened.map_err(|error| CallFailure::of_exchange(&error))
    }

    async fn resolve(
        &self,
        endpoint: &Endpoint,
        progress: &mut Progress,
    ) -> Result<Vec<VettedAddress>, CallFailure> {
        let answer: Vec<IpAddr> = match &endpoint.host {
            Host::Address(literal) => vec![*literal],
            Host::Name(name) => {
                progress.enter(Phase::Dns);
                let answer = self.lookups.resolve(name, progress.deadline).await?;
                progress.resolved();
                answer.to_vec()
            }
        };
        let vetted = self.rule.vet_all(answer, endpoint.port).map_err(|refused| {
            tracing::info!(class = %refused.class, "a webhook leads to an address that may not be called");
            CallFailure::blocked()
        })?;
        if vetted.is_empty() {
            return Err(CallFailure::counted(FailureClass::Dns, "the name has no address"));
        }
        Ok(vetted)
    }

    /// One address after the other, each with its share of the time that is left.
    async fn connect_first(
        &self,
        addresses: &[VettedAddress],
        progress: &Progress,
    ) -> Result<(VettedAddress, TcpStream), CallFailure> {
        let tried = &addresses[..addresses.len().min(MAX_ADDRESSES)];
        let mut last = CallFailure::counted(FailureClass::Connect, "no address to connect to");
        for (index, address) in tried.iter().enumerate() {
            let left = u32::try_from(tried.len() - index).unwrap_or(u32::MAX);
            let share = progress.deadline.saturating_duration_since(Instant::now()) / left;
            match timeout_at(Instant::now() + share, self.connect.connect(*address)).await {
                Ok(Ok(stream)) => return check_peer(*address, stream),
                Ok(Err(error)) => last = CallFailure::of_connect(&error),
                Err(_) => {
                    last = CallFailure::counted(FailureClass::Timeout(Phase::Connect), "no answer in time")
                }
            }
        }
        Err(last)
    }

    async fn handshake(
        &self,
        endpoint: &Endpoint,
        tcp: TcpStream,
        progress: &mut Progress,
    ) -> Result<Wire, CallFailure> {
        progress.enter(Phase::Tls);
        let name = server_name(&endpoint.host).ok_or_else(|| {
            CallFailure::counted(FailureClass::Tls, "the host is no name for a certificate")
        })?;
        let connector = self.tls.since(endpoint.minimum_tls);
        let stream = connector.connect(name, tcp).await.map_err(|error| CallFailure::of_handshake(&error))?;
        progress.secured();
        Ok(Wire::Tls(Box::new(stream)))
    }
}

fn check_peer(address: VettedAddress, stream: TcpStream) -> Result<(VettedAddress, TcpStream), CallFailure> {
    match stream.peer_addr() {
        Ok(peer) if address.is_peer(peer) => Ok((address, stream)),
        Ok(_) => Err(CallFailure::blocked()),
        Err(error) => Err(CallFailure::of_connect(&error)),
    }
}
