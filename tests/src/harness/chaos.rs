//! A TCP proxy in front of a server, for faults of the way there: connections cut, reset, stalled, slow, refused.
//!
//! What a test orders holds for every connection of the link, those that are open and those to come, until it orders
//! otherwise. Nothing here is random; a test draws its moments itself and prints its seed.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};

/// How much is forwarded at a time, in bytes: small enough that a slow link is slow evenly.
const CHUNK: usize = 4 * 1024;

/// How a link treats what is sent over it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weather {
    /// Everything goes through at once.
    Fair,
    /// Connections are accepted and kept, and nothing goes through, either way.
    Stalled,
    /// Each piece of up to 4 KiB is late by this much, and pieces follow each other no faster than this rate.
    Slow { latency: Duration, bytes_per_second: u32 },
    /// New connections are closed as soon as they are made; those that are open stay.
    Refusing,
}

/// How the open connections of a link ended last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// In order, as a peer that goes away (FIN).
    Cut,
    /// As a peer that knows nothing of them (RST); what was not yet read is lost.
    Reset,
}

/// One link. Dropping it closes its port and its connections.
#[derive(Debug)]
pub struct ChaosProxy {
    address: SocketAddr,
    link: Arc<Link>,
    _running: DropGuard,
}

#[derive(Debug)]
struct Link {
    server: SocketAddr,
    weather: watch::Sender<Weather>,
    /// Each order ends what was open when it was given.
    ends: watch::Sender<End>,
    open: AtomicUsize,
}

impl ChaosProxy {
    /// A link to the server at `server`, in fair weather.
    pub async fn start(server: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.context("starting a proxy")?;
        let address = listener.local_addr()?;
        let link = Arc::new(Link {
            server,
            weather: watch::Sender::new(Weather::Fair),
            ends: watch::Sender::new(End::Cut),
            open: AtomicUsize::new(0),
        });
        let running = CancellationToken::new();
        let serving = serve(listener, Arc::clone(&link), running.clone());
        tokio::spawn(running.clone().run_until_cancelled_owned(serving));
        Ok(Self { address, link, _running: running.drop_guard() })
    }

    /// A link to the server that a URL names, and the same URL by way of the link.
    pub async fn in_front_of(url: &str) -> Result<(Self, String)> {
        let parsed = url::Url::parse(url).context("reading a server's URL")?;
        let (host, port) = (parsed.host_str().context("no host")?, parsed.port().context("no port")?);
        let proxy = Self::start(SocketAddr::new(host.parse()?, port)).await?;
        let through = url.replacen(&format!("{host}:{port}"), &proxy.address.to_string(), 1);
        Ok((proxy, through))
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Connections open now.
    pub fn open_connections(&self) -> usize {
        self.link.open.load(Ordering::SeqCst)
    }

    /// Closes every connection; new ones are made as before.
    pub fn cut(&self) {
        self.link.ends.send_replace(End::Cut);
    }

    /// Resets every connection; new ones are made as before.
    pub fn reset(&self) {
        self.link.ends.send_replace(End::Reset);
    }

    /// From now on the link is like this.
    pub fn turn(&self, weather: Weather) {
        self.link.weather.send_replace(weather);
    }

    /// Everything goes through again, what was held back first.
    pub fn heal(&self) {
        self.turn(Weather::Fair);
    }
}

async fn serve(listener: TcpListener, link: Arc<Link>, running: CancellationToken) {
    loop {
        let Ok((client, _)) = listener.accept().await else { continue };
        if *link.weather.borrow() == Weather::Refusing {
            continue;
        }
        let joining = join(client, Arc::clone(&link));
        tokio::spawn(running.clone().run_until_cancelled_owned(async move {
            if let Err(error) = joining.await {
                tracing::debug!(%error, "a proxied connection ended");
            }
        }));
    }
}

/// Counts a connection while it lasts.
struct Open(Arc<Link>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::SeqCst);
    }
}

async fn join(mut client: TcpStream, link: Arc<Link>) -> io::Result<()> {
    link.open.fetch_add(1, Ordering::SeqCst);
    let open = Open(Arc::clone(&link));
    let mut ends = link.ends.subscribe();
    // A stalled link is accepted and leads nowhere, so that a handshake stalls too.
    reachable(&mut link.weather.subscribe()).await;
    let mut server = TcpStream::connect(link.server).await?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (mut client_reads, mut client_writes) = client.split();
    let (mut server_reads, mut server_writes) = server.split();
    let ended = tokio::select! {
        _ = ends.changed() => Some(*ends.borrow()),
        () = forward(&mut client_reads, &mut server_writes, &link) => None,
        () = forward(&mut server_reads, &mut client_writes, &link) => None,
    };
    if ended == Some(End::Reset) {
        client.set_zero_linger()?;
        server.set_zero_linger()?;
    }
    drop((client, server, open));
    Ok(())
}

/// Until one side ends or fails; the whole connection ends with it.
async fn forward(from: &mut (impl AsyncRead + Unpin), to: &mut (impl AsyncWrite + Unpin), link: &Link) {
    let mut weather = link.weather.subscribe();
    let mut chunk = vec![0; CHUNK];
    while let Ok(length @ 1..) = from.read(&mut chunk).await {
        reachable(&mut weather).await;
        let now = *weather.borrow_and_update();
        if let Weather::Slow { latency, bytes_per_second } = now {
            let bytes = u32::try_from(length).unwrap_or(u32::MAX);
            let pace = Duration::from_secs(1).mul_f64(f64::from(bytes) / f64::from(bytes_per_second.max(1)));
            // The fault's own duration, unless it is over before.
            tokio::time::timeout(latency + pace, weather.changed()).await.ok();
            reachable(&mut weather).await;
        }
        if to.write_all(&chunk[..length]).await.is_err() {
            return;
        }
    }
}

/// Until the link is not stalled.
async fn reachable(weather: &mut watch::Receiver<Weather>) {
    // `Link` holds the sender, so the wait cannot fail for want of one.
    weather.wait_for(|weather| *weather != Weather::Stalled).await.ok();
}
