//! Captured requests: what another sender sent, as a proxy's HAR file has it, or in a form of our own.
//!
//! Our form is one JSON object to a request, and a file holds one of them, a list of them, or one to a line, as
//! `postrider listen --record` writes it:
//!
//! ```json
//! {"at": "2026-11-21T09:30:00.000Z", "method": "POST", "url": "https://partner.example/hook",
//!  "headers": [["Content-Type", "application/json"]], "body": "{}", "event": {"type": "a.b", "data": {}}}
//! ```
//!
//! `body_base64` stands for a body that is not text; `at` and `event` (as `POST /v1/events` takes it) may be left out.

mod har;
mod own_form;

use std::io;

use bytes::Bytes;
use postrider_contract::attempt::Header;
use postrider_contract::clock::Timestamp;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use crate::input_file::{InputFileError, place_of, read_input};

pub use own_form::write_line;

/// A day of a busy proxy; all of it is held in memory.
const MAX_FILE: u64 = 256 * 1024 * 1024;
/// More say nothing that these do not.
const MAX_REQUESTS: usize = 100_000;

/// One request of another sender.
#[derive(Clone, Debug, PartialEq)]
pub struct CapturedRequest {
    /// In its file, from 1.
    pub number: usize,
    /// When it was sent.
    pub at: Option<Timestamp>,
    pub method: String,
    /// As it was captured, query and all.
    pub url: String,
    /// In the order in which they were captured.
    pub headers: Vec<Header>,
    pub names: HeaderNames,
    pub body: Bytes,
    /// The event that it told of, as `POST /v1/events` takes it.
    pub event: Option<Bytes>,
}

/// Whether the case of the headers' names is as it was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeaderNames {
    AsSent,
    /// HTTP/2 and later have lower case alone, and frame bodies otherwise.
    OfHttp2,
}

/// Why there is nothing to compare.
#[derive(Debug, thiserror::Error)]
pub enum CaptureError {
    #[error("cannot read the capture {place}")]
    Unreadable { place: String, source: io::Error },
    #[error("the capture {place} is larger than {} MiB", MAX_FILE / 1024 / 1024)]
    TooLarge { place: String },
    #[error("the capture {place} is not JSON")]
    NotJson { place: String, source: serde_json::Error },
    #[error("request {number} of the capture {place}: {detail}")]
    Request { place: String, number: usize, detail: String },
    #[error("the capture {place} holds more than {MAX_REQUESTS} requests")]
    TooMany { place: String },
    #[error("the capture {place} holds no request")]
    Empty { place: String },
}

/// Reads a file, or standard input for `-`: a HAR file, or requests in our own form.
///
/// # Errors
/// When it cannot be read, or a request in it is not whole; says which.
pub fn read_capture(path: &str) -> Result<Vec<CapturedRequest>, CaptureError> {
    let place = place_of(path);
    let bytes = read_input(path, MAX_FILE).map_err(|error| match error {
        InputFileError::Unreadable(source) => CaptureError::Unreadable { place: place.to_owned(), source },
        InputFileError::TooLong => CaptureError::TooLarge { place: place.to_owned() },
    })?;
    read_requests(&bytes, place)
}

/// `place` is for messages.
///
/// # Errors
/// As [`read_capture`].
pub fn read_requests(bytes: &[u8], place: &str) -> Result<Vec<CapturedRequest>, CaptureError> {
    let not_json = |source| CaptureError::NotJson { place: place.to_owned(), source };
    let mut requests = Vec::new();
    for document in serde_json::Deserializer::from_slice(bytes).into_iter::<&RawValue>() {
        let document = document.map_err(not_json)?;
        let each: Vec<&RawValue> = if document.get().starts_with('[') {
            serde_json::from_str(document.get()).map_err(not_json)?
        } else if is_har(document) {
            har::entries(document).map_err(not_json)?
        } else {
            vec![document]
        };
        let read = if is_har(document) { har::read } else { own_form::read };
        for request in each {
            let number = requests.len() + 1;
            if number > MAX_REQUESTS {
                return Err(CaptureError::TooMany { place: place.to_owned() });
            }
            let captured = read(request, number).map_err(|detail| CaptureError::Request {
                place: place.to_owned(),
                number,
                detail,
            })?;
            requests.push(captured);
        }
    }
    if requests.is_empty() { Err(CaptureError::Empty { place: place.to_owned() }) } else { Ok(requests) }
}

fn is_har(document: &RawValue) -> bool {
    #[derive(serde::Deserialize)]
    struct Outline {
        #[serde(rename = "log")]
        _log: IgnoredAny,
    }
    serde_json::from_str::<Outline>(document.get()).is_ok()
}

impl CapturedRequest {
    /// The first header of that name.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&Header> {
        self.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name))
    }
}

#[cfg(test)]
mod tests;
