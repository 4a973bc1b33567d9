//! The receiver: a process of its own, so that its CPU can be told apart. Answers 200 to everything, and counts.

use std::collections::HashSet;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, bail};
use bytes::Bytes;
use hdrhistogram::Histogram;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};
use tokio::time::Instant;

use super::load::{micros_now, new_histogram, percentiles};

/// What has arrived since the last `forget`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Arrivals {
    /// Different deliveries.
    pub distinct: u64,
    /// Arrivals of one that was there already.
    pub repeats: u64,
    /// From the first arrival to the last.
    pub took: Duration,
    /// p50, p95, p99 and the maximum, in microseconds, from the event's sending.
    pub latencies: [u64; 4],
}

struct Counts {
    seen: HashSet<(String, String)>,
    repeats: u64,
    latencies: Histogram<u64>,
    first: Option<Instant>,
    last: Option<Instant>,
}

impl Counts {
    fn new() -> anyhow::Result<Self> {
        Ok(Counts { seen: HashSet::new(), repeats: 0, latencies: new_histogram()?, first: None, last: None })
    }

    fn arrivals(&self) -> Arrivals {
        let took = self.first.zip(self.last).map_or(Duration::ZERO, |(first, last)| last - first);
        let distinct = u64::try_from(self.seen.len()).unwrap_or(u64::MAX);
        Arrivals { distinct, repeats: self.repeats, took, latencies: percentiles(&self.latencies) }
    }

    fn note(&mut self, path: &str, id: &str, sent: Option<i64>) {
        let now = Instant::now();
        self.first.get_or_insert(now);
        self.last = Some(now);
        if !self.seen.insert((path.to_owned(), id.to_owned())) {
            self.repeats += 1;
            return;
        }
        if let Some(micros) = sent.and_then(|sent| u64::try_from(micros_now() - sent).ok()) {
            self.latencies.saturating_record(micros.max(1));
        }
    }
}

/// Runs the receiver in this process until its standard input ends: its parent is gone then.
pub async fn serve() -> anyhow::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await.context("listening")?;
    println!("{}", listener.local_addr().context("asking for the address")?);
    let counts = Arc::new(Mutex::new(Counts::new()?));
    let mut input = BufReader::new(tokio::io::stdin()).lines();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let (stream, _) = accepted.context("accepting")?;
                tokio::spawn(serve_connection(stream, Arc::clone(&counts)));
            }
            line = input.next_line() => if line.context("reading")?.is_none() { return Ok(()) },
        }
    }
}

async fn serve_connection(stream: TcpStream, counts: Arc<Mutex<Counts>>) {
    if stream.set_nodelay(true).is_err() {
        return;
    }
    let service = service_fn(move |request| answer(request, Arc::clone(&counts)));
    // A connection that breaks is the sender's to notice.
    drop(http1::Builder::new().serve_connection(TokioIo::new(stream), service).await);
}

async fn answer(
    request: Request<Incoming>,
    counts: Arc<Mutex<Counts>>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let path = request.uri().path().to_owned();
    let id =
        request.headers().get("webhook-id").and_then(|id| id.to_str().ok()).unwrap_or_default().to_owned();
    let body =
        request.into_body().collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    let mut counts = counts.lock().unwrap_or_else(PoisonError::into_inner);
    let text = match path.as_str() {
        "/arrivals" => serde_json::to_vec(&counts.arrivals()).unwrap_or_default(),
        "/forget" => {
            if let Ok(fresh) = Counts::new() {
                *counts = fresh;
            }
            Vec::new()
        }
        _ => {
            counts.note(&path, &id, sent_at(&body));
            Vec::new()
        }
    };
    Ok(Response::new(Full::new(Bytes::from(text))))
}

/// The digits after `"sent":`, without parsing the whole body.
fn sent_at(body: &[u8]) -> Option<i64> {
    const MARK: &[u8] = b"\"sent\":";
    let start = body.windows(MARK.len()).position(|window| window == MARK)? + MARK.len();
    let digits = body[start..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    std::str::from_utf8(&body[start..start + digits]).ok()?.parse().ok()
}

/// The receiver's process, ended when this is dropped.
pub struct BenchReceiver {
    child: Child,
    address: SocketAddr,
}

impl BenchReceiver {
    pub async fn spawn() -> anyhow::Result<Self> {
        let program = std::env::current_exe().context("finding this program")?;
        let mut child = Command::new(program)
            .args(["bench", "be-receiver"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("starting a process")?;
        let output = child.stdout.take().context("no output")?;
        let line = BufReader::new(output).lines().next_line().await?.context("it ended at once")?;
        Ok(BenchReceiver { child, address: line.parse().context("its address")? })
    }

    pub fn pid(&self) -> u32 {
        self.child.id().unwrap_or_default()
    }

    /// Arrivals are told apart by path.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}/{path}", self.address)
    }

    pub async fn forget(&self) -> anyhow::Result<()> {
        self.ask("/forget").await.map(drop)
    }

    /// Waits until so many different deliveries have arrived, or no more come.
    pub async fn wait_for(&self, expected: u64, within: Duration) -> anyhow::Result<Arrivals> {
        let ends_at = Instant::now() + within;
        loop {
            let arrivals: Arrivals = serde_json::from_slice(&self.ask("/arrivals").await?)?;
            if arrivals.distinct >= expected || Instant::now() >= ends_at {
                return Ok(arrivals);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn ask(&self, path: &str) -> anyhow::Result<Bytes> {
        let stream = TcpStream::connect(self.address).await.context("reaching the receiver")?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(async move { drop(connection.await) });
        let request = Request::get(path).header("host", "bench").body(Full::new(Bytes::new()))?;
        let answer = sender.send_request(request).await.context("asking the receiver")?;
        if !answer.status().is_success() {
            bail!("the receiver answered {}", answer.status());
        }
        Ok(answer.into_body().collect().await?.to_bytes())
    }
}
