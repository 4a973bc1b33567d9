//! Filling a postback's macros in.

use bytes::Bytes;

use super::macros::{Macro, MacroText, Piece};
use super::{MAX_FILLED_FORM, MAX_FILLED_QUERY, PostbackMethod};
use crate::delivery::{Query, TooLong};
use crate::event::Event;
use crate::json::Node;
use crate::webhook::Webhook;

/// A postback's request, as every try of it is made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilledPostback {
    pub query: Query,
    /// The form; empty for GET, and where there is none.
    pub body: Bytes,
    /// The macros that the event has no value for, as they are written: each is filled with nothing.
    pub missing: Vec<String>,
}

/// Fills a postback in. `data` is the event's, read.
#[must_use]
pub fn fill_postback(webhook: &Webhook, event: &Event, data: &Node<'_>) -> FilledPostback {
    let mut filling = Filling { event, data, missing: Vec::new() };
    let query = filling.fill(webhook.url.query().unwrap_or_default(), MAX_FILLED_QUERY);
    let form = match (webhook.postback.method, &webhook.postback.form) {
        (PostbackMethod::Post, Some(form)) => filling.fill(form, MAX_FILLED_FORM),
        (PostbackMethod::Post, None) | (PostbackMethod::Get, _) => Some(Vec::new()),
    };
    let (query, body) = match (query, form) {
        (Some(query), Some(form)) => (Query::Filled(Bytes::from(query)), Bytes::from(form)),
        (None, _) => (Query::TooLong(TooLong::Query), Bytes::new()),
        (Some(_), None) => (Query::TooLong(TooLong::Form), Bytes::new()),
    };
    FilledPostback { query, body, missing: filling.missing }
}

struct Filling<'a> {
    event: &'a Event,
    data: &'a Node<'a>,
    missing: Vec<String>,
}

impl Filling<'_> {
    /// `None` as soon as it is longer than `limit`: a URL of macros can ask for one long text some hundred times.
    fn fill(&mut self, text: &str, limit: usize) -> Option<Vec<u8>> {
        let mut out = Vec::with_capacity(text.len() * 2);
        for piece in &MacroText::of_stored(text).pieces {
            match piece {
                Piece::Literal(literal) => out.extend_from_slice(literal.as_bytes()),
                Piece::Macro(name, wanted) => {
                    if !self.write(wanted, &mut out) && !self.missing.contains(name) {
                        self.missing.push(name.clone());
                    }
                }
            }
            if out.len() > limit {
                return None;
            }
        }
        Some(out)
    }

    /// Whether there is a value. `null`, objects and arrays are none.
    fn write(&self, wanted: &Macro, out: &mut Vec<u8>) -> bool {
        let event = self.event;
        match wanted {
            Macro::EventId => encode(event.id.as_str().as_bytes(), out),
            Macro::EventType => encode(event.event_type.as_str().as_bytes(), out),
            Macro::EventTimestamp => encode(event.timestamp.to_string().as_bytes(), out),
            Macro::EventUnixTimestamp => encode(event.timestamp.as_seconds().to_string().as_bytes(), out),
            Macro::Data(path) => match self.data.at(path) {
                Some(Node::String(text)) => encode(text, out),
                Some(Node::Number(digits)) => encode(digits.as_bytes(), out),
                Some(Node::Bool(value)) => encode(value.to_string().as_bytes(), out),
                Some(Node::Null | Node::Array(_) | Node::Object(_)) | None => return false,
            },
        }
        true
    }
}

/// Percent-encodes a value: the unreserved characters of RFC 3986 stay, every other byte of its UTF-8 becomes `%` and
/// two hexadecimal digits in upper case. A lone surrogate, which has no UTF-8, becomes U+FFFD.
fn encode(text: &[u8], out: &mut Vec<u8>) {
    for chunk in text.utf8_chunks() {
        encode_bytes(chunk.valid().as_bytes(), out);
        // Of a surrogate's three bytes the first begins a character, and each is a chunk of its own.
        if chunk.invalid().first() == Some(&0xed) {
            encode_bytes("\u{fffd}".as_bytes(), out);
        }
    }
}

fn encode_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for byte in bytes {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(*byte);
        } else {
            out.extend([b'%', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
        }
    }
}
