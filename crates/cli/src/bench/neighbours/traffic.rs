//! Events at a fixed rate, to one target after the other, until told to stop.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior};

use super::super::load::micros_now;
use super::super::sample::Samples;

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
        let gap = Duration::from_secs(1) * CONNECTIONS / self.rate.max(1);
        let samples = Samples::of_size(self.size);
        let shared = Arc::new(Shared {
            traffic: self,
            samples,
            next: AtomicUsize::new(0),
            is_over: AtomicBool::new(false),
            accepted: AtomicU64::new(0),
            refused: AtomicU64::new(0),
        });
        let task = |number: u32| tokio::spawn(publish(Arc::clone(&shared), number, gap));
        Flowing { tasks: (0..CONNECTIONS).map(task).collect(), shared }
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

async fn publish(shared: Arc<Shared>, number: u32, gap: Duration) -> anyhow::Result<()> {
    let addresses = &shared.traffic.addresses;
    let address = addresses[usize::try_from(number).unwrap_or_default() % addresses.len()];
    let mut connection = connect(address).await?;
    let mut ticks = tokio::time::interval_at(Instant::now() + gap * number / CONNECTIONS, gap);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    loop {
        let due = ticks.tick().await;
        if shared.is_over.load(Ordering::Relaxed) {
            return Ok(());
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
