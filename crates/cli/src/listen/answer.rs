//! One answer, and how it goes out: at once, drop by drop, half of it, or not at all.

use std::convert::Infallible;
use std::fmt;
use std::io;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http::header::{CONTENT_LENGTH, LOCATION, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Frame;

use crate::table::{Hue, hue_of, printable};

pub(super) type AnswerBody = UnsyncBoxBody<Bytes, io::Error>;

pub(super) struct Answer {
    pub(super) status: StatusCode,
    /// Beside those of HTTP itself.
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    pub(super) way: Way,
}

/// How an answer goes out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    AtOnce,
    /// The head at once, then the body byte by byte, with so long before each.
    Dripping(Duration),
    /// The head and half of the body; then the connection is closed.
    ClosedHalfDone,
    /// The connection is closed, and nothing is sent.
    ClosedBefore,
}

/// The connection is to be closed without an answer, as the listener was told.
#[derive(Debug, thiserror::Error)]
#[error("closed without an answer, as told")]
pub(super) struct ClosedUnanswered;

impl Answer {
    /// At once, with the body if such an answer may have one.
    pub(super) fn new(status: StatusCode, body: Bytes) -> Self {
        let body = if may_have_body(status) { body } else { Bytes::new() };
        Answer { status, headers: HeaderMap::new(), body, way: Way::AtOnce }
    }

    pub(super) fn hue(&self) -> Option<Hue> {
        let is_well = self.status.is_success() && self.way == Way::AtOnce;
        hue_of(if is_well { "delivered" } else { "failed" })
    }

    /// # Errors
    /// Where there is to be none.
    pub(super) fn into_response(self) -> Result<Response<AnswerBody>, ClosedUnanswered> {
        let length = self.body.len();
        let body = match self.way {
            Way::AtOnce => Full::new(self.body).map_err(impossible).boxed_unsync(),
            Way::Dripping(pause) => dripping(self.body, pause),
            Way::ClosedHalfDone => broken_off(self.body),
            Way::ClosedBefore => return Err(ClosedUnanswered),
        };
        let mut response = Response::new(body);
        *response.status_mut() = self.status;
        *response.headers_mut() = self.headers;
        if may_have_body(self.status) {
            // Without it a body that breaks off could be taken for a whole one.
            response.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(length));
        }
        Ok(response)
    }
}

/// `429 Too Many Requests, Retry-After: 5`.
impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.way == Way::ClosedBefore {
            return f.write_str("closed the connection without an answer");
        }
        write!(f, "{}", self.status)?;
        for (shown, name) in [("Retry-After", RETRY_AFTER), ("Location", LOCATION)] {
            if let Some(value) = self.headers.get(name) {
                write!(f, ", {shown}: {}", printable(&String::from_utf8_lossy(value.as_bytes())))?;
            }
        }
        let length = self.body.len();
        match self.way {
            Way::AtOnce | Way::ClosedBefore => Ok(()),
            Way::Dripping(pause) => write!(f, ", {length} bytes, one every {pause:?}"),
            Way::ClosedHalfDone => write!(f, ", closed after {} of {length} bytes", length / 2),
        }
    }
}

/// Whether an answer of this status may have a body (RFC 9110 §6.4.1).
pub(super) fn may_have_body(status: StatusCode) -> bool {
    !matches!(status, StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT | StatusCode::NOT_MODIFIED)
}

fn impossible(error: Infallible) -> io::Error {
    match error {}
}

fn dripping(body: Bytes, pause: Duration) -> AnswerBody {
    let drops = stream::unfold(body, move |mut rest| async move {
        if rest.is_empty() {
            return None;
        }
        tokio::time::sleep(pause).await;
        let byte = rest.split_to(1);
        Some((Ok(Frame::data(byte)), rest))
    });
    BodyExt::boxed_unsync(StreamBody::new(drops))
}

fn broken_off(body: Bytes) -> AnswerBody {
    let half = body.slice(..body.len() / 2);
    let parts = stream::unfold(Some(half), |half| async move {
        if let Some(half) = half {
            return Some((Ok(Frame::data(half)), None));
        }
        // So that the half is written before the connection ends.
        tokio::task::yield_now().await;
        Some((Err(io::Error::new(io::ErrorKind::ConnectionAborted, "closed half-way, as told")), None))
    });
    BodyExt::boxed_unsync(StreamBody::new(parts))
}
