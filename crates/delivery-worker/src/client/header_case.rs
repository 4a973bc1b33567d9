//! The case in which header names are written: `X-Trcker-Signature` and `webhook-id`, each as its profile says.
//!
//! hyper writes names in lower case, except that a request which carries the case it was *received* with is
//! written in that case; that is how it lets a proxy forward a request unchanged. The record of it is private to
//! hyper, so the names are passed once through hyper's own reader, in memory, and what it recorded is kept and
//! put on every request with those names.

use std::convert::Infallible;
use std::io::Cursor;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::{Extensions, HeaderName};
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;

/// More names than this are not sent: hyper's reader accepts no more than 100, and no profile comes near.
pub const MAX_HEADERS: usize = 64;

/// The written form of a set of header names.
#[derive(Clone, Debug, Default)]
pub struct HeaderCase(Extensions);

impl HeaderCase {
    /// Remembers `names` as they are written, in order. A name that is no header name, or beyond
    /// [`MAX_HEADERS`], is left in lower case.
    #[must_use]
    pub fn of<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        let mut head = String::from("GET / HTTP/1.1\r\n");
        for name in names.into_iter().filter(|name| is_learnable(name)).take(MAX_HEADERS) {
            head.push_str(name);
            // A value that any header may have, `Content-Length` included.
            head.push_str(": 0\r\n");
        }
        head.push_str("\r\n");
        HeaderCase(read_once(head.into_bytes()))
    }

    /// What goes on a request that has these headers.
    #[must_use]
    pub fn to_extensions(&self) -> Extensions {
        self.0.clone()
    }
}

/// `Transfer-Encoding: 0` and `Upgrade: 0` mean something to a reader; none of them is ever sent.
fn is_learnable(name: &str) -> bool {
    let has_meaning = ["transfer-encoding", "upgrade", "connection", "expect"];
    !has_meaning.iter().any(|other| name.eq_ignore_ascii_case(other))
        && HeaderName::from_bytes(name.as_bytes()).is_ok()
}

/// Lets hyper read one request from memory and answers what it put beside it.
fn read_once(head: Vec<u8>) -> Extensions {
    let recorded = Arc::new(Mutex::new(Extensions::new()));
    let recorder = Arc::clone(&recorded);
    let service = service_fn(move |request: http::Request<Incoming>| {
        *recorder.lock().unwrap_or_else(PoisonError::into_inner) = request.into_parts().0.extensions;
        std::future::ready(Ok::<_, Infallible>(http::Response::new(Empty::<Bytes>::new())))
    });
    let io = TokioIo::new(tokio::io::join(Cursor::new(head), tokio::io::sink()));
    let connection =
        http1::Builder::new().preserve_header_case(true).keep_alive(false).serve_connection(io, service);
    let mut connection = std::pin::pin!(connection);
    // Memory is always ready, so a few polls see the request; without it names stay in lower case.
    for _ in 0..4 {
        match connection.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(_) => break,
            Poll::Pending => {}
        }
    }
    let mut recorded = recorded.lock().unwrap_or_else(PoisonError::into_inner);
    std::mem::take(&mut *recorded)
}
