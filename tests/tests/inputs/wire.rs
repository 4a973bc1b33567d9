//! Requests down to the byte: what no HTTP library would send.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// How long one answer may take; whoever waits longer has found a hang.
const ANSWER: Duration = Duration::from_secs(30);

/// An answer, as it came.
#[derive(Clone, Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Reply {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    pub fn json(&self) -> Result<Value> {
        serde_json::from_slice(&self.body).with_context(|| format!("not JSON: {self}"))
    }

    /// Everything but what must differ from answer to answer.
    pub fn without_its_own(&self) -> String {
        let own = ["date", "x-request-id", "request-id"];
        let kept: Vec<_> =
            self.headers.iter().filter(|(name, _)| !own.contains(&name.to_lowercase().as_str())).collect();
        format!("{} {kept:?} {}", self.status, String::from_utf8_lossy(&self.body))
    }
}

impl std::fmt::Display for Reply {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text = String::from_utf8_lossy(&self.body);
        write!(formatter, "{} {:?} {}", self.status, self.headers, text.chars().take(600).collect::<String>())
    }
}

/// One connection.
pub struct Wire {
    stream: TcpStream,
    unused: Vec<u8>,
}

impl Wire {
    pub async fn open(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address).await.with_context(|| format!("connecting to {address}"))?;
        stream.set_nodelay(true)?;
        Ok(Wire { stream, unused: Vec::new() })
    }

    /// Writes all of it, unless the other side has enough before: that is its right.
    pub async fn write(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.ok();
    }

    /// The next answer, or `None` if the connection ends without one.
    pub async fn read(&mut self) -> Result<Option<Reply>> {
        tokio::time::timeout(ANSWER, self.read_reply(true)).await.context("no answer in time")?
    }

    /// Writes and reads at once, so that neither side waits for the other with full buffers.
    pub async fn exchange(&mut self, bytes: &[u8]) -> Result<Option<Reply>> {
        let has_body = !bytes.starts_with(b"HEAD ");
        tokio::time::timeout(ANSWER, self.exchange_both(bytes, has_body))
            .await
            .context("no answer in time")?
    }

    async fn exchange_both(&mut self, bytes: &[u8], has_body: bool) -> Result<Option<Reply>> {
        let mut rest = bytes;
        let mut buffer = vec![0; 64 * 1024];
        while !rest.is_empty() {
            let (mut reader, mut writer) = self.stream.split();
            tokio::select! {
                read = reader.read(&mut buffer) => match read {
                    Ok(0) | Err(_) => break,
                    Ok(count) => {
                        self.unused.extend_from_slice(&buffer[..count]);
                        break;
                    }
                },
                written = writer.write(rest) => match written {
                    Ok(count) => rest = &rest[count..],
                    Err(_) => break,
                },
            }
        }
        self.read_reply(has_body).await
    }

    /// Whether the other side has closed, or does so in time, with nothing more to read.
    pub async fn is_closed(&mut self) -> Result<bool> {
        let mut rest = Vec::new();
        let ended = tokio::time::timeout(ANSWER, self.stream.read_to_end(&mut rest)).await;
        let ended = ended.context("the connection stays open")?;
        Ok(self.unused.is_empty() && rest.is_empty() && ended.is_ok_and(|count| count == 0))
    }

    async fn fill(&mut self) -> Result<bool> {
        let mut buffer = vec![0; 64 * 1024];
        // A reset after the answer is as good as an end.
        let count = self.stream.read(&mut buffer).await.unwrap_or(0);
        self.unused.extend_from_slice(&buffer[..count]);
        Ok(count > 0)
    }

    async fn read_reply(&mut self, has_body: bool) -> Result<Option<Reply>> {
        let end = loop {
            if let Some(end) = self.unused.windows(4).position(|window| window == b"\r\n\r\n") {
                break end;
            }
            if !self.fill().await? {
                if self.unused.is_empty() {
                    return Ok(None);
                }
                bail!(
                    "the connection ended within an answer's head: {:?}",
                    String::from_utf8_lossy(&self.unused)
                );
            }
        };
        let head = String::from_utf8(self.unused[..end].to_vec()).context("an answer's head is not UTF-8")?;
        self.unused.drain(..end + 4);
        let mut lines = head.split("\r\n");
        let first = lines.next().unwrap_or_default();
        let status = first.split(' ').nth(1).and_then(|code| code.parse().ok());
        let status: u16 = status.with_context(|| format!("not a status line: {first:?}"))?;
        let headers: Vec<(String, String)> = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
            .collect();
        let mut reply = Reply { status, headers, body: Vec::new() };
        let length = reply.header("content-length").and_then(|length| length.parse::<usize>().ok());
        if has_body && (200..600).contains(&status) && status != 204 {
            while length.is_none_or(|length| self.unused.len() < length) && self.fill().await? {}
            let length = length.unwrap_or(self.unused.len()).min(self.unused.len());
            reply.body = self.unused.drain(..length).collect();
        }
        Ok(Some(reply))
    }
}

/// A request's bytes, with `Content-Length` if there is a body.
pub fn request(method: &str, target: &str, headers: &[(String, String)], body: &[u8]) -> Vec<u8> {
    let mut head = format!("{method} {target} HTTP/1.1\r\nHost: postrider.test\r\n");
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    if !body.is_empty() {
        head.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    head.push_str("\r\n");
    [head.as_bytes(), body].concat()
}

/// One request on a connection of its own.
pub async fn once(address: SocketAddr, bytes: &[u8]) -> Result<Option<Reply>> {
    Wire::open(address).await?.exchange(bytes).await
}
