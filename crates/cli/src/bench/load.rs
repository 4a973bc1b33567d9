//! The generator: publishes events over kept-alive connections, at a fixed rate or as fast as answers come.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use hdrhistogram::Histogram;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::{Instant, MissedTickBehavior};

use super::ground::Ground;
use super::installation::Tenant;
use super::sample::Samples;

/// Connections of a fixed rate: enough that one slow answer does not hold up the next event.
const FIXED_RATE_CONNECTIONS: u16 = 16;

#[derive(Clone, Copy, Debug)]
pub enum Pace {
    /// So many events a second, whatever the answers do.
    Fixed(u32),
    /// Each of so many connections sends its next event when the last is answered.
    Saturating(u16),
}

/// When a load ends.
#[derive(Clone, Copy, Debug)]
pub enum Until {
    Passed(Duration),
    /// So many events were sent, whatever was answered.
    Sent(u64),
}

/// The type of the generator's events, unless a scenario has several.
pub const EVENT_TYPE: &str = "bench.event";

/// Where to publish, and what.
#[derive(Clone, Debug)]
pub struct Load {
    /// Connections take them in turn.
    pub addresses: Vec<SocketAddr>,
    pub key: String,
    pub event_type: String,
    /// Bytes of each event's data.
    pub size: usize,
}

pub struct LoadResult {
    pub accepted: u64,
    pub refused: u64,
    /// What was said to the first event that was refused.
    pub first_refusal: Option<String>,
    pub took: Duration,
    /// p50, p95, p99 and the maximum of the time to the answer, in microseconds.
    pub answers: [u64; 4],
}

impl LoadResult {
    /// For a scenario that counts on every event.
    ///
    /// # Errors
    /// When one was refused, with what was said to it.
    pub fn require_all(&self) -> anyhow::Result<()> {
        match &self.first_refusal {
            None => Ok(()),
            Some(reason) => anyhow::bail!("{} events were refused, the first with: {reason}", self.refused),
        }
    }
}

/// p50, p95, p99, max.
pub fn percentiles(histogram: &Histogram<u64>) -> [u64; 4] {
    [
        histogram.value_at_quantile(0.5),
        histogram.value_at_quantile(0.95),
        histogram.value_at_quantile(0.99),
        histogram.max(),
    ]
}

/// Three significant digits, up to a minute and a half.
pub fn new_histogram() -> anyhow::Result<Histogram<u64>> {
    Histogram::new_with_bounds(1, 100_000_000, 3).context("making a histogram")
}

/// Shared by the connections of one phase.
struct Shared {
    load: Load,
    ends_at: Option<Instant>,
    /// How many events may still be begun.
    left: AtomicU64,
    refused: AtomicU64,
    first_refusal: OnceLock<String>,
    samples: Samples,
}

impl Shared {
    fn note_refusal(&self, reason: String) {
        self.refused.fetch_add(1, Ordering::Relaxed);
        self.first_refusal.get_or_init(|| reason);
    }

    /// Whether another event is to be sent; it is then counted as begun.
    fn begin(&self) -> bool {
        let in_time = self.ends_at.is_none_or(|ends_at| Instant::now() < ends_at);
        let one_less = |left: u64| left.checked_sub(1);
        in_time && self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less).is_ok()
    }
}

impl Load {
    /// To every process of the installation that takes events in, as this tenant.
    pub fn to(ground: &Ground, tenant: &Tenant, size: usize) -> Self {
        let addresses = ground.installation.publish_addresses();
        Load { addresses, key: tenant.key.clone(), event_type: EVENT_TYPE.to_owned(), size }
    }

    pub async fn run(&self, pace: Pace, until: Until) -> anyhow::Result<LoadResult> {
        let started = Instant::now();
        let (ends_at, left) = match until {
            Until::Passed(length) => (Some(started + length), u64::MAX),
            Until::Sent(count) => (None, count),
        };
        let shared = Arc::new(Shared {
            load: self.clone(),
            ends_at,
            left: AtomicU64::new(left),
            refused: AtomicU64::new(0),
            first_refusal: OnceLock::new(),
            samples: Samples::of_size(self.size),
        });
        let (connections, gap) = match pace {
            Pace::Saturating(connections) => (connections.max(1), None),
            Pace::Fixed(rate) => {
                let gap = Duration::from_secs(1) * u32::from(FIXED_RATE_CONNECTIONS) / rate.max(1);
                (FIXED_RATE_CONNECTIONS, Some(gap))
            }
        };
        let tasks = (0..connections)
            .map(|number| {
                // Spread over the gap, so that the rate is even.
                let offset = gap.map(|gap| gap * u32::from(number) / u32::from(connections));
                let addresses = &self.addresses;
                let address = addresses.iter().cycle().nth(usize::from(number)).copied();
                let address = address.context("nowhere to publish to")?;
                Ok(tokio::spawn(publish(Arc::clone(&shared), address, offset.zip(gap))))
            })
            .collect::<anyhow::Result<Vec<_>>>()?;
        let mut answers = new_histogram()?;
        for task in tasks {
            answers.add(task.await.context("a generator task")??).context("adding up")?;
        }
        let first_refusal = shared.first_refusal.get().cloned();
        if let (0, Some(reason)) = (answers.len(), &first_refusal) {
            anyhow::bail!("no event was accepted; the first answer: {reason}");
        }
        Ok(LoadResult {
            accepted: answers.len(),
            refused: shared.refused.load(Ordering::Relaxed),
            first_refusal,
            took: started.elapsed(),
            answers: percentiles(&answers),
        })
    }
}

async fn publish(
    shared: Arc<Shared>,
    address: SocketAddr,
    schedule: Option<(Duration, Duration)>,
) -> anyhow::Result<Histogram<u64>> {
    let mut answers = new_histogram()?;
    let mut connection = connect(address).await?;
    let mut ticks = schedule.map(|(offset, gap)| {
        let mut ticks = tokio::time::interval_at(Instant::now() + offset, gap);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
        ticks
    });
    while shared.begin() {
        if let Some(ticks) = &mut ticks {
            ticks.tick().await;
        }
        let started = Instant::now();
        match send(&mut connection, &shared).await {
            Ok(None) => {
                let micros = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
                answers.saturating_record(micros.max(1));
            }
            Ok(Some(refusal)) => shared.note_refusal(refusal),
            Err(error) => {
                shared.note_refusal(format!("{error:#}"));
                connection = connect(address).await?;
            }
        }
    }
    Ok(answers)
}

async fn connect(address: SocketAddr) -> anyhow::Result<SendRequest<Full<Bytes>>> {
    let stream = TcpStream::connect(address).await.context("connecting to the installation")?;
    stream.set_nodelay(true).context("setting TCP_NODELAY")?;
    let (sender, connection) = handshake(TokioIo::new(stream)).await.context("speaking HTTP")?;
    tokio::spawn(async move {
        // Ends with an error when the installation closes it: the next send tells.
        drop(connection.await);
    });
    Ok(sender)
}

/// `None` if it was accepted, else what was answered.
async fn send(connection: &mut SendRequest<Full<Bytes>>, shared: &Shared) -> anyhow::Result<Option<String>> {
    let body = shared.samples.next(&shared.load.event_type, micros_now());
    let request = http::Request::post("/v1/events")
        .header("host", "bench")
        .header("authorization", format!("Bearer {}", shared.load.key))
        .header("content-type", "application/json")
        .body(Full::new(Bytes::from(body)))?;
    connection.ready().await?;
    let answer = connection.send_request(request).await?;
    let status = answer.status();
    let body = answer.into_body().collect().await?.to_bytes();
    let is_accepted = status == http::StatusCode::ACCEPTED;
    Ok((!is_accepted).then(|| format!("{status} {}", String::from_utf8_lossy(&body))))
}

/// Microseconds since the epoch: generator and receiver are two processes that share the machine's clock.
#[expect(
    clippy::disallowed_methods,
    reason = "the service's clock has milliseconds; latencies here are below one"
)]
pub fn micros_now() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}
