//! Events at a rate, to one target after the other, until told to stop.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Instant;

use anyhow::Context;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::JoinHandle;

use super::super::load::micros_now;
use super::super::sample::Samples;
use super::pacing;

/// Enough that one slow answer does not hold up the next event.
const CONNECTIONS: u32 = 16;

/// Who is published for: a tenant's key, and a type that one of its webhooks subscribes to.
#[derive(Clone, Debug)]
pub struct Target {
    pub key: String,
    pub event_type: String,
}

pub struct Traffic {
    /// Connections are spread over them.
    pub addresses: Vec<SocketAddr>,
    pub targets: Arc<[Target]>,
    /// Events a second, over all targets.
    pub rate: u32,
    pub size: usize,
}

#[derive(Clone, Copy, Debug, Default)]
pub struct Sent {
    pub accepted: u64,
    pub refused: u64,
}

struct Shared {
    traffic: Traffic,
    samples: Samples,
    next: AtomicUsize,
    is_over: AtomicBool,
    accepted: AtomicU64,
    refused: AtomicU64,
}

/// Events that are being sent.
pub struct Flowing {
    shared: Arc<Shared>,
    tasks: Vec<JoinHandle<anyhow::Result<()>>>,
}

impl Traffic {
    pub fn start(self) -> Flowing {
        let moments = pacing::by_chance(self.rate, CONNECTIONS);
        let samples = Samples::of_size(self.size);
        let shared = Arc::new(Shared {
            traffic: self,
            samples,
            next: AtomicUsize::new(0),
            is_over: AtomicBool::new(false),
            accepted: AtomicU64::new(0),
            refused: AtomicU64::new(0),
        });
        let task = |(number, due)| tokio::spawn(publish(Arc::clone(&shared), number, due));
        Flowing { tasks: moments.into_iter().enumerate().map(task).collect(), shared }
    }
}

impl Flowing {
    /// Waits for the answers that are still to come.
    pub async fn stop(self) -> anyhow::Result<Sent> {
        self.shared.is_over.store(true, Ordering::Relaxed);
        for task in self.tasks {
            task.await.context("a generator task")??;
        }
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Ok(Sent { accepted: count(&self.shared.accepted), refused: count(&self.shared.refused) })
    }
}

async fn publish(
    shared: Arc<Shared>,
    number: usize,
    mut moments: UnboundedReceiver<Instant>,
) -> anyhow::Result<()> {
    let addresses = &shared.traffic.addresses;
    let address = addresses[number % addresses.len()];
    let mut connection = connect(address).await?;
    while let Some(due) = moments.recv().await {
        if shared.is_over.load(Ordering::Relaxed) {
            break;
        }
        let counter = match send(&mut connection, &shared, due).await {
            Ok(true) => &shared.accepted,
            Ok(false) => &shared.refused,
            Err(_) => {
                connection = connect(address).await?;
                &shared.refused
            }
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}

async fn connect(address: SocketAddr) -> anyhow::Result<SendRequest<Full<Bytes>>> {
    let stream = TcpStream::connect(address).await.context("connecting to the installation")?;
    stream.set_nodelay(true).context("setting TCP_NODELAY")?;
    let (sender, connection) = handshake(TokioIo::new(stream)).await.context("speaking HTTP")?;
    // Ends with an error when the installation closes it: the next send tells.
    tokio::spawn(async move { drop(connection.await) });
    Ok(sender)
}

async fn send(
    connection: &mut SendRequest<Full<Bytes>>,
    shared: &Shared,
    due: Instant,
) -> anyhow::Result<bool> {
    let targets = &shared.traffic.targets;
    let target = &targets[shared.next.fetch_add(1, Ordering::Relaxed) % targets.len()];
    connection.ready().await?;
    let late = i64::try_from(due.elapsed().as_micros()).unwrap_or(i64::MAX);
    let body = shared.samples.next(&target.event_type, micros_now() - late);
    let request = http::Request::post("/v1/events")
        .header("host", "bench")
        .header("authorization", format!("Bearer {}", target.key))
        .header("content-type", "application/json")
        .body(Full::new(Bytes::from(body)))?;
    let answer = connection.send_request(request).await?;
    let is_accepted = answer.status() == http::StatusCode::ACCEPTED;
    answer.into_body().collect().await?;
    Ok(is_accepted)
}

/// So many events at once, as a batch.
pub fn batch_body(event_type: &str, count: u32, size: usize) -> String {
    let samples = Samples::of_size(size);
    let events: Vec<String> = (0..count).map(|_| samples.next(event_type, micros_now())).collect();
    format!("[{}]", events.join(","))
}
