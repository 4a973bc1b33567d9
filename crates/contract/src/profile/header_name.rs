//! Names of HTTP headers, in the case in which they are sent.

use std::fmt;
use std::str::FromStr;

use bytestring::ByteString;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Far above any name in use; well below what receivers refuse.
const MAX_HEADER_NAME: usize = 128;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidHeaderName {
    #[error("must be 1 to {MAX_HEADER_NAME} letters, digits and any of !#$%&'*+-.^_`|~")]
    Form,
    #[error("{name} belongs to HTTP itself and cannot be set")]
    Framing { name: String },
}

/// A header's name. Two that differ in case only are the same header, and equal.
#[derive(Clone, Debug)]
pub struct HeaderName(ByteString);

impl HeaderName {
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name again, at the price of a counter.
    #[must_use]
    pub fn shared(&self) -> ByteString {
        self.0.clone()
    }

    #[must_use]
    pub fn is(&self, name: &str) -> bool {
        self.0.eq_ignore_ascii_case(name)
    }
}

impl PartialEq for HeaderName {
    fn eq(&self, other: &Self) -> bool {
        self.is(&other.0)
    }
}

impl Eq for HeaderName {}

/// Whether a header says how the message is framed or routed, hop by hop: only the HTTP client sets these.
#[must_use]
pub fn is_framing_header(name: &str) -> bool {
    const FRAMING: [&str; 11] = [
        "connection",
        "content-encoding",
        "content-length",
        "expect",
        "host",
        "keep-alive",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "http2-settings",
    ];
    let lower = name.to_ascii_lowercase();
    FRAMING.contains(&lower.as_str()) || lower.starts_with("proxy-")
}

impl FromStr for HeaderName {
    type Err = InvalidHeaderName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        if text.is_empty() || text.len() > MAX_HEADER_NAME || !text.bytes().all(is_token) {
            return Err(InvalidHeaderName::Form);
        }
        if is_framing_header(text) {
            return Err(InvalidHeaderName::Framing { name: text.to_owned() });
        }
        Ok(HeaderName(text.into()))
    }
}

impl fmt::Display for HeaderName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for HeaderName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for HeaderName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_keeps_its_case_and_is_compared_without_it() {
        let name: HeaderName = "X-Trcker-Event".parse().expect("a name");
        assert_eq!(name.as_str(), "X-Trcker-Event");
        assert!(name.is("x-trcker-event"));
        assert_eq!("x-trcker-EVENT".parse(), Ok(name));
    }

    #[test]
    fn what_is_no_name_or_not_ours_to_set_is_refused() {
        for text in ["", "X A", "X\r\nY", "é", "X:", &"x".repeat(129)] {
            assert_eq!(text.parse::<HeaderName>(), Err(InvalidHeaderName::Form), "{text}");
        }
        for text in ["Host", "TRANSFER-ENCODING", "Content-Length", "Proxy-Authorization", "te"] {
            assert!(matches!(text.parse::<HeaderName>(), Err(InvalidHeaderName::Framing { .. })), "{text}");
        }
    }
}
