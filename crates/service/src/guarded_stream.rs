//! A client's socket that cuts who is too slow and says in our own words why a request head was refused.
//!
//! * A head must be whole within its bound; a connection may wait idle for only so long; a client must take its
//!   answer.
//! * Where the HTTP library refuses a request head by itself it answers with a bare status. Such an answer is
//!   known by its form (a 4xx head alone, without the `request-id` that every answer of ours carries) and goes out
//!   as problem+json.
//! * After a refusal, what the client is still sending is read and dropped for a moment: closing at once would
//!   reset the connection and could take the answer with it.

use std::future::Future;
use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use http::StatusCode;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

use crate::connection_phase::{ConnectionPhase, Phase};
use crate::problem::{Code, PROBLEM_JSON, Problem};

/// After a refusal: how long, and for how many bytes, a client is listened to. Twice the largest body, and what a
/// client on a slow line needs to see the answer.
const LINGER: Duration = Duration::from_secs(2);
const LINGER_BYTES: usize = 2 * 1024 * 1024;

/// How long a connection may stand still, by what it is doing.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    pub(crate) head: Duration,
    pub(crate) idle: Duration,
    pub(crate) write: Duration,
}

pub(crate) struct GuardedStream<S> {
    stream: S,
    phase: Arc<ConnectionPhase>,
    patience: Patience,
    read_wait: Wait<(Phase, u64)>,
    write_wait: Wait<()>,
    /// Whether the bytes since the last answer hold an end of line: if not, what is too long is the URI.
    saw_line_end: bool,
    refusal: Bytes,
    was_refused: bool,
    linger: Option<Linger>,
}

struct Linger {
    until: Pin<Box<Sleep>>,
    bytes_left: usize,
}

impl<S> GuardedStream<S> {
    pub(crate) fn new(stream: S, phase: Arc<ConnectionPhase>, patience: Patience) -> Self {
        GuardedStream {
            stream,
            phase,
            patience,
            read_wait: Wait::default(),
            write_wait: Wait::default(),
            saw_line_end: false,
            refusal: Bytes::new(),
            was_refused: false,
            linger: None,
        }
    }

    /// The deadline that applies to a read that has nothing yet, if any does.
    fn poll_impatience(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        let phase = self.phase.now();
        let allowed = match phase {
            Phase::Busy => return Poll::Pending,
            // A connection that never sent a byte gets no more than a head would.
            Phase::Waiting if self.phase.requests() == 0 => self.patience.head,
            Phase::Waiting => self.patience.idle,
            Phase::Head => self.patience.head,
        };
        self.read_wait.poll(cx, (phase, self.phase.requests()), allowed)
    }
}

impl<S: AsyncWrite + Unpin> GuardedStream<S> {
    fn poll_refusal(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.refusal.has_remaining() {
            let written = ready!(Pin::new(&mut self.stream).poll_write(cx, &self.refusal))?;
            if written == 0 {
                return Poll::Ready(Err(ErrorKind::WriteZero.into()));
            }
            self.refusal.advance(written);
        }
        Poll::Ready(Ok(()))
    }

    /// Nothing to write is no progress: it must not stop the clock of a write that is waiting.
    fn poll_refusal_or_stalled(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.refusal.is_empty() {
            return Poll::Ready(Ok(()));
        }
        let progress = self.poll_refusal(cx);
        self.or_stalled(cx, progress)
    }

    fn or_stalled<T>(&mut self, cx: &mut Context<'_>, progress: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if progress.is_ready() {
            self.write_wait.stop();
            return progress;
        }
        self.write_wait.poll(cx, (), self.patience.write).map(Err)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for GuardedStream<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        match Pin::new(&mut this.stream).poll_read(cx, buffer) {
            Poll::Ready(Ok(())) => {
                let fresh = &buffer.filled()[before..];
                if !fresh.is_empty() {
                    this.phase.note_bytes();
                    this.saw_line_end |= fresh.contains(&b'\n');
                }
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => this.poll_impatience(cx).map(Err),
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for GuardedStream<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.phase.now() != Phase::Busy
            && let Some(status) = bare_refusal(bytes)
        {
            let is_long_uri = status == StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE && !this.saw_line_end;
            this.refusal = refusal(if is_long_uri { StatusCode::URI_TOO_LONG } else { status });
            this.was_refused = true;
            return Poll::Ready(Ok(bytes.len()));
        }
        ready!(this.poll_refusal_or_stalled(cx))?;
        this.saw_line_end = false;
        let progress = Pin::new(&mut this.stream).poll_write(cx, bytes);
        this.or_stalled(cx, progress)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_refusal_or_stalled(cx))?;
        let progress = Pin::new(&mut this.stream).poll_flush(cx);
        this.or_stalled(cx, progress)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.linger.is_none() {
            ready!(this.poll_refusal_or_stalled(cx))?;
            ready!(Pin::new(&mut this.stream).poll_shutdown(cx))?;
            if !this.was_refused && !this.phase.has_unread_body() {
                return Poll::Ready(Ok(()));
            }
        }
        let linger = this.linger.get_or_insert_with(|| Linger {
            until: Box::pin(tokio::time::sleep(LINGER)),
            bytes_left: LINGER_BYTES,
        });
        let mut scratch = [0_u8; 4096];
        loop {
            let mut buffer = ReadBuf::new(&mut scratch);
            match Pin::new(&mut this.stream).poll_read(cx, &mut buffer) {
                Poll::Ready(Ok(()))
                    if buffer.filled().len() < linger.bytes_left && !buffer.filled().is_empty() =>
                {
                    linger.bytes_left -= buffer.filled().len();
                }
                // The client has closed, or broken off, or gone past the bound: nothing is owed to it any more.
                Poll::Ready(_) => return Poll::Ready(Ok(())),
                Poll::Pending => return linger.until.as_mut().poll(cx).map(Ok),
            }
        }
    }
}

/// The status of an answer that the HTTP library made by itself.
fn bare_refusal(bytes: &[u8]) -> Option<StatusCode> {
    let line = bytes.strip_prefix(b"HTTP/1.1 ").or_else(|| bytes.strip_prefix(b"HTTP/1.0 "))?;
    if line.first() != Some(&b'4') {
        return None;
    }
    let head = bytes.strip_suffix(b"\r\n\r\n")?;
    let has = |part: &[u8]| head.windows(part.len()).any(|window| window == part);
    if has(b"\r\n\r\n") || has(b"\r\nrequest-id: ") {
        return None;
    }
    StatusCode::from_bytes(line.get(..3)?).ok()
}

fn refusal(status: StatusCode) -> Bytes {
    let (code, detail) = match status {
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => {
            (Code::HeadTooLarge, "the request head has too many or too large header fields")
        }
        StatusCode::URI_TOO_LONG => (Code::UriTooLong, "the request URI is too long"),
        _ => (Code::BadRequest, "this is not a well-formed HTTP/1.1 request"),
    };
    let body = Problem::new(code, detail).to_json(None);
    let reason = code.status().canonical_reason().unwrap_or_default();
    let mut answer = format!(
        "HTTP/1.1 {} {reason}\r\ncontent-type: {PROBLEM_JSON}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
        code.status().as_str(),
        body.len(),
    )
    .into_bytes();
    answer.extend_from_slice(&body);
    Bytes::from(answer)
}

/// A deadline that is set when its reason first applies and holds until the reason changes.
struct Wait<R> {
    reason: Option<R>,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl<R> Default for Wait<R> {
    fn default() -> Self {
        Wait { reason: None, sleep: None }
    }
}

impl<R: PartialEq> Wait<R> {
    fn stop(&mut self) {
        self.reason = None;
    }

    fn poll(&mut self, cx: &mut Context<'_>, reason: R, allowed: Duration) -> Poll<io::Error> {
        let due = Instant::now() + allowed;
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(due)));
        if self.reason.as_ref() != Some(&reason) {
            sleep.as_mut().reset(due);
            self.reason = Some(reason);
        }
        sleep.as_mut().poll(cx).map(|()| ErrorKind::TimedOut.into())
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    const PATIENCE: Patience = Patience {
        head: Duration::from_secs(10),
        idle: Duration::from_secs(75),
        write: Duration::from_secs(30),
    };

    #[test]
    fn only_a_bare_answer_of_the_library_is_replaced() {
        let bare =
            b"HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
        assert_eq!(bare_refusal(bare), Some(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE));
        for kept in [
            "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
            "HTTP/1.1 404 Not Found\r\nrequest-id: req_1\r\ncontent-length: 0\r\n\r\n",
            "HTTP/1.1 404 Not Found\r\ncontent-length: 4\r\n\r\n\r\n\r\n",
            "{\"a\":1}",
        ] {
            assert_eq!(bare_refusal(kept.as_bytes()), None, "{kept}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_dripping_head_is_cut_although_bytes_keep_coming() {
        let (mut client, server) = duplex(64);
        let mut guarded = GuardedStream::new(server, Arc::default(), PATIENCE);
        let dripping = async {
            loop {
                client.write_all(b"x").await.expect("the server still reads");
                tokio::time::sleep(Duration::from_secs(3)).await;
            }
        };
        let reading = async {
            let mut byte = [0_u8; 1];
            loop {
                if let Err(error) = guarded.read_exact(&mut byte).await {
                    break error;
                }
            }
        };
        let error =
            tokio::select! { error = reading => error, () = dripping => unreachable!("drips for ever") };
        assert_eq!(error.kind(), ErrorKind::TimedOut);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_does_not_take_its_answer_is_cut() {
        let (_client, server) = duplex(16);
        let mut guarded = GuardedStream::new(server, Arc::default(), PATIENCE);
        let error = guarded.write_all(&[b'x'; 64]).await.expect_err("nobody reads");
        assert_eq!(error.kind(), ErrorKind::TimedOut);
    }
}
