//! The receiver as the bench sees it: a child process, asked over HTTP.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, bail};
use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::process::Child;
use tokio::time::Instant;

use super::super::child::spawn_announcing;
use super::{Arrivals, FailingPath, Lateness};

/// How often it is looked whether everything has come.
const PAUSE: Duration = Duration::from_millis(50);

/// The receiver's process, ended when this is dropped.
pub struct BenchReceiver {
    child: Child,
    address: SocketAddr,
}

impl BenchReceiver {
    pub async fn spawn() -> anyhow::Result<Self> {
        let (child, line) = spawn_announcing("be-receiver").await?;
        Ok(BenchReceiver { child, address: line.parse().context("its address")? })
    }

    pub fn pid(&self) -> u32 {
        self.child.id().unwrap_or_default()
    }

    /// Arrivals are told apart by path, which begins with a slash.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Begins to count anew.
    pub async fn forget(&self) -> anyhow::Result<()> {
        self.forget_and_fail(&[]).await
    }

    /// The same, and from now on these paths fail.
    pub async fn forget_and_fail(&self, failing: &[FailingPath]) -> anyhow::Result<()> {
        self.ask("/forget", serde_json::to_vec(failing)?).await.map(drop)
    }

    pub async fn arrivals(&self) -> anyhow::Result<Arrivals> {
        Ok(serde_json::from_slice(&self.ask("/arrivals", Vec::new()).await?)?)
    }

    /// Of every wait of the paths that fail, shortest first.
    pub async fn lateness(&self) -> anyhow::Result<Vec<Lateness>> {
        Ok(serde_json::from_slice(&self.ask("/lateness", Vec::new()).await?)?)
    }

    /// Waits until so many different deliveries have arrived, or time is up.
    pub async fn wait_for(&self, expected: u64, within: Duration) -> anyhow::Result<Arrivals> {
        let ends_at = Instant::now() + within;
        loop {
            let arrivals = self.arrivals().await?;
            if arrivals.distinct >= expected || Instant::now() >= ends_at {
                return Ok(arrivals);
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn ask(&self, path: &str, body: Vec<u8>) -> anyhow::Result<Bytes> {
        let stream = TcpStream::connect(self.address).await.context("reaching the receiver")?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(async move { drop(connection.await) });
        let request = Request::post(path).header("host", "bench").body(Full::new(Bytes::from(body)))?;
        let answer = sender.send_request(request).await.context("asking the receiver")?;
        if !answer.status().is_success() {
            bail!("the receiver answered {}", answer.status());
        }
        Ok(answer.into_body().collect().await?.to_bytes())
    }
}
