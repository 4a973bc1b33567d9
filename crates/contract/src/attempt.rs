//! Attempts: one real HTTP call each, with what was sent, what came back and how long each part took.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use bytestring::ByteString;

use crate::clock::Timestamp;
use crate::delivery::AttemptNumber;
use crate::ids::AttemptId;

/// How much of a response body is kept; the rest is not read.
pub const MAX_KEPT_BODY: usize = 16 * 1024;

/// Why no response came. The variants are what an operator would act on differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FailureClass {
    /// The name did not resolve.
    Dns,
    /// No TCP connection.
    Connect,
    /// No TLS session: certificate, name, version.
    Tls,
    /// The total time limit ran out in this phase.
    Timeout(Phase),
    /// The address rule refused where the URL leads. The address is not told to the webhook's owner.
    Blocked,
    /// The connection ended before a status line and headers came.
    Closed,
    /// What came back was not HTTP/1.1, or larger than its limits; or what was to be sent was larger than ours.
    Protocol,
}

/// Which part of a call the time limit ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    Dns,
    Connect,
    Tls,
    /// Sending, or waiting for the status line and headers.
    Headers,
}

impl FailureClass {
    /// The stable word for it in the log and the API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            FailureClass::Dns => "dns",
            FailureClass::Connect => "connect",
            FailureClass::Tls => "tls",
            FailureClass::Timeout(Phase::Dns) => "timeout_dns",
            FailureClass::Timeout(Phase::Connect) => "timeout_connect",
            FailureClass::Timeout(Phase::Tls) => "timeout_tls",
            FailureClass::Timeout(Phase::Headers) => "timeout_headers",
            FailureClass::Blocked => "blocked",
            FailureClass::Closed => "closed",
            FailureClass::Protocol => "protocol",
        }
    }

    pub const ALL: [FailureClass; 10] = [
        FailureClass::Dns,
        FailureClass::Connect,
        FailureClass::Tls,
        FailureClass::Timeout(Phase::Dns),
        FailureClass::Timeout(Phase::Connect),
        FailureClass::Timeout(Phase::Tls),
        FailureClass::Timeout(Phase::Headers),
        FailureClass::Blocked,
        FailureClass::Closed,
        FailureClass::Protocol,
    ];
}

/// A header as sent or received; a value is bytes, since a receiver may send anything. A clone shares both.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    pub name: ByteString,
    pub value: Bytes,
}

/// How much of the body is in the record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BodyExtent {
    Whole,
    /// Longer than [`MAX_KEPT_BODY`].
    Truncated,
    /// Still coming when the time limit ran out, or cut off by the receiver.
    CutOff,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    pub status: u16,
    pub headers: Vec<Header>,
    pub body: Bytes,
    pub extent: BodyExtent,
}

impl Response {
    /// The first value of a header, if it is text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let header = self.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name))?;
        std::str::from_utf8(&header.value).ok()
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AttemptResult {
    Response(Response),
    /// `detail` is for the operator's eyes; it holds no address that the webhook's owner could not know.
    Failure {
        class: FailureClass,
        detail: String,
    },
}

/// From the start of the call to the end of each part; absent where it was not reached or not needed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timings {
    pub dns: Option<Duration>,
    pub connect: Option<Duration>,
    pub tls: Option<Duration>,
    pub first_byte: Option<Duration>,
    pub total: Duration,
}

/// What was sent, as the log shows it: secrets masked, the body by its hash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SentRequest {
    pub method: String,
    pub url: String,
    pub headers: Vec<Header>,
    pub body_sha256: [u8; 32],
    pub body_length: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    pub id: AttemptId,
    pub number: AttemptNumber,
    pub started_at: Timestamp,
    pub request: SentRequest,
    pub address: Option<SocketAddr>,
    pub timings: Timings,
    pub result: AttemptResult,
}
