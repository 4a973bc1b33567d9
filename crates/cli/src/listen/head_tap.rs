//! The heads of requests as they were written: the case and the order of headers, which an HTTP library does not tell.
//!
//! The bytes of a connection are looked at as they pass. What was seen is believed only if the names in it are those
//! that the library read; a sender that sends its next request before the answer (nobody does) is shown in lower case.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::HeaderMap;
use postrider_contract::attempt::Header;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// More than the library reads of a head.
const MOST: usize = 512 * 1024;

/// What was seen of the head that is being read.
#[derive(Clone, Default)]
pub(super) struct HeadTap(Arc<Mutex<Seen>>);

#[derive(Default)]
struct Seen {
    bytes: Vec<u8>,
    /// From a head's last line to the next request nothing is kept.
    is_closed: bool,
}

/// A stream that is looked at.
pub(super) struct Tapped<S> {
    stream: S,
    tap: HeadTap,
}

impl HeadTap {
    pub(super) fn on<S>(&self, stream: S) -> Tapped<S> {
        Tapped { stream, tap: self.clone() }
    }

    /// The headers of the request that was just read; as the library has them where the bytes do not tell.
    pub(super) fn headers(&self, read: &HeaderMap) -> Vec<Header> {
        let mut seen = self.seen();
        seen.is_closed = true;
        let written = headers_of(&std::mem::take(&mut seen.bytes));
        written.filter(|written| is_of(written, read)).unwrap_or_else(|| in_lower_case(read))
    }

    /// The request was read to its end: what comes now is the next one.
    pub(super) fn reopen(&self) {
        *self.seen() = Seen::default();
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, bytes: &[u8]) {
        let mut seen = self.seen();
        if !seen.is_closed && seen.bytes.len() + bytes.len() <= MOST {
            seen.bytes.extend_from_slice(bytes);
        }
    }
}

/// Of the lines up to the first empty one, without the request line.
fn headers_of(bytes: &[u8]) -> Option<Vec<Header>> {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
    let lines = bytes.get(..end)?.split(|byte| *byte == b'\n').skip(1);
    let header = |line: &[u8]| {
        let colon = line.iter().position(|byte| *byte == b':')?;
        let name = std::str::from_utf8(&line[..colon]).ok()?.to_owned();
        Some(Header { name: name.into(), value: Bytes::copy_from_slice(line[colon + 1..].trim_ascii()) })
    };
    lines.map(header).collect()
}

fn is_of(written: &[Header], read: &HeaderMap) -> bool {
    let count = |name: &str| written.iter().filter(|header| header.name.eq_ignore_ascii_case(name)).count();
    written.len() == read.len()
        && read.keys().all(|name| count(name.as_str()) == read.get_all(name).iter().count())
}

fn in_lower_case(read: &HeaderMap) -> Vec<Header> {
    let header = |(name, value): (&http::HeaderName, &http::HeaderValue)| Header {
        name: name.as_str().into(),
        value: Bytes::copy_from_slice(value.as_bytes()),
    };
    read.iter().map(header).collect()
}

impl<S: AsyncRead + Unpin> AsyncRead for Tapped<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        if let Poll::Ready(Ok(())) = &read {
            self.tap.note(buffer.filled().get(before..).unwrap_or_default());
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Tapped<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(names: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in names {
            headers.append(*name, http::HeaderValue::from_static(value));
        }
        headers
    }

    fn shown(tap: &HeadTap, map: &HeaderMap) -> Vec<String> {
        let line = |header: &Header| format!("{}={}", header.name, String::from_utf8_lossy(&header.value));
        tap.headers(map).iter().map(line).collect()
    }

    #[test]
    fn names_are_as_they_were_written_and_in_their_order() {
        let tap = HeadTap::default();
        tap.note(b"POST / HTTP/1.1\r\nHost: a\r\nX-B:  2 \r\nx-a: 1\r");
        tap.note(b"\nX-b: 3\r\n\r\n{\"X-C\": 1}");
        let map = read(&[("host", "a"), ("x-b", "2"), ("x-b", "3"), ("x-a", "1")]);
        assert_eq!(shown(&tap, &map), ["Host=a", "X-B=2", "x-a=1", "X-b=3"]);
        tap.note(b"the rest of a body");
        tap.reopen();
        tap.note(b"GET / HTTP/1.1\r\nHOST: b\r\n\r\n");
        assert_eq!(shown(&tap, &read(&[("host", "b")])), ["HOST=b"]);
    }

    #[test]
    fn what_the_library_did_not_read_is_not_believed() {
        let map = read(&[("host", "a"), ("x-a", "1")]);
        for bytes in
            [&b""[..], b"POST / HTTP/1.1\r\nHost: a\r\n\r\n", b"POST / HTTP/1.1\r\nHost: a\r\nX-C: 1\r\n\r\n"]
        {
            let tap = HeadTap::default();
            tap.note(bytes);
            assert_eq!(shown(&tap, &map), ["host=a", "x-a=1"]);
        }
    }
}
