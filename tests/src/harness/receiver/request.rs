//! Reading requests off a connection, as they are.

use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::Received;

/// The most a request's head may take; ours take less than a tenth.
const LONGEST_HEAD: usize = 256 * 1024;
/// The most a body may take; ours end at 1 MiB and a little.
const LONGEST_BODY: usize = 16 * 1024 * 1024;

/// A connection and what was read from it but not used yet.
pub struct Wire<S> {
    stream: S,
    unused: BytesMut,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Wire<S> {
    /// Takes over a fresh connection.
    pub fn new(stream: S) -> Self {
        Self { stream, unused: BytesMut::new() }
    }

    /// The next request, or `None` if the client has closed the connection between two.
    pub async fn read_request(&mut self, connection: usize) -> Result<Option<Received>> {
        let Some(end) = self.find(b"\r\n\r\n", LONGEST_HEAD).await? else { return Ok(None) };
        let head = self.unused.split_to(end);
        self.unused.advance(4);
        let head = std::str::from_utf8(&head).context("a request's head is not UTF-8")?;
        let mut lines = head.split("\r\n");
        let mut first = lines.next().unwrap_or_default().splitn(3, ' ');
        let (Some(method), Some(target), Some("HTTP/1.1")) = (first.next(), first.next(), first.next())
        else {
            bail!("not the first line of an HTTP/1.1 request: {head:?}");
        };
        let mut headers = Vec::new();
        for line in lines {
            let (name, value) =
                line.split_once(':').with_context(|| format!("a header without a colon: {line:?}"))?;
            headers.push((name.to_owned(), value.trim_matches([' ', '\t']).to_owned()));
        }
        let (method, target) = (method.to_owned(), target.to_owned());
        let mut request =
            Received { at: Instant::now(), connection, method, target, headers, body: Bytes::new() };
        request.body = self.read_body(&request).await?;
        request.at = Instant::now();
        Ok(Some(request))
    }

    /// Writes it all and lets it go.
    pub async fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.stream.write_all(bytes).await?;
        self.stream.flush().await.context("answering a request")
    }

    /// Until the client has closed its side. What it sends until then is kept.
    pub async fn closed(&mut self) {
        while matches!(self.stream.read_buf(&mut self.unused).await, Ok(count) if count > 0) {}
    }

    async fn read_body(&mut self, request: &Received) -> Result<Bytes> {
        if let Some(coding) = request.header("transfer-encoding") {
            ensure!(coding.eq_ignore_ascii_case("chunked"), "a transfer coding not known here: {coding}");
            return self.read_chunks().await;
        }
        let length = match request.header("content-length") {
            Some(length) => length.parse().with_context(|| format!("not a length: {length:?}"))?,
            None => 0,
        };
        self.take(length).await
    }

    async fn read_chunks(&mut self) -> Result<Bytes> {
        let mut body = BytesMut::new();
        loop {
            let end = self.find(b"\r\n", 1024).await?.context("the connection ended between two chunks")?;
            let line = self.unused.split_to(end);
            self.unused.advance(2);
            let size = std::str::from_utf8(&line)?.split(';').next().unwrap_or_default().trim();
            let size =
                usize::from_str_radix(size, 16).with_context(|| format!("not a chunk's size: {size:?}"))?;
            body.extend_from_slice(&self.take(size).await?);
            ensure!(&self.take(2).await?[..] == b"\r\n", "a chunk is longer than it says");
            ensure!(body.len() <= LONGEST_BODY, "a body over {LONGEST_BODY} bytes");
            if size == 0 {
                return Ok(body.freeze());
            }
        }
    }

    async fn take(&mut self, length: usize) -> Result<Bytes> {
        ensure!(length <= LONGEST_BODY, "a body over {LONGEST_BODY} bytes");
        while self.unused.len() < length {
            ensure!(self.stream.read_buf(&mut self.unused).await? > 0, "the connection ended within a body");
        }
        Ok(self.unused.split_to(length).freeze())
    }

    /// Where `mark` begins, or `None` if the connection ends before a first byte.
    async fn find(&mut self, mark: &[u8], limit: usize) -> Result<Option<usize>> {
        loop {
            if let Some(position) = self.unused.windows(mark.len()).position(|window| window == mark) {
                return Ok(Some(position));
            }
            ensure!(self.unused.len() <= limit, "a request's head over {limit} bytes");
            if self.stream.read_buf(&mut self.unused).await? == 0 {
                ensure!(self.unused.is_empty(), "the connection ended within a request's head");
                return Ok(None);
            }
        }
    }
}
