//! Events: what producers publish.

mod reading;
mod versions;

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub use versions::{InvalidVersions, MAX_VERSIONS, VersionOfData, Versions};

use crate::clock::Timestamp;
use crate::ids::{EventId, TenantId};
use crate::json::RawObject;

pub use reading::EventReading;

/// AMQP short strings hold 255 bytes; half of it leaves room for what is put around a type.
const MAX_EVENT_TYPE: usize = 128;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidEventType {
    #[error("must be 1 to {MAX_EVENT_TYPE} characters long")]
    Length,
    #[error(
        "must be words of letters, digits, - and _, joined by single dots, for instance conversion.created"
    )]
    Form,
}

/// Dotted words: `conversion.created`. Types that begin with `postrider.` are ours.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventType(Arc<str>);

impl EventType {
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Only Postrider publishes these, to tell its operators.
    #[must_use]
    pub fn is_reserved(&self) -> bool {
        self.0.starts_with("postrider.")
    }
}

impl FromStr for EventType {
    type Err = InvalidEventType;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.is_empty() || text.len() > MAX_EVENT_TYPE {
            return Err(InvalidEventType::Length);
        }
        let is_word = |word: &str| {
            !word.is_empty()
                && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
        };
        if text.split('.').all(is_word) { Ok(EventType(text.into())) } else { Err(InvalidEventType::Form) }
    }
}

impl fmt::Display for EventType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for EventType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for EventType {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for EventType {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("must be a major and a minor number, for instance 1.0")]
pub struct InvalidSchemaVersion;

/// `major.minor` of the schema of an event type; 1.0 where nothing is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SchemaVersion {
    pub major: u16,
    pub minor: u16,
}

impl SchemaVersion {
    pub const FIRST: SchemaVersion = SchemaVersion { major: 1, minor: 0 };
    /// Of an event whose data is there in several: see [`Versions`].
    pub const SEVERAL: SchemaVersion = SchemaVersion { major: 0, minor: 0 };
}

impl fmt::Display for SchemaVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

impl FromStr for SchemaVersion {
    type Err = InvalidSchemaVersion;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let number = |part: &str| {
            let is_number = !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
            is_number.then(|| part.parse::<u16>().ok()).flatten().ok_or(InvalidSchemaVersion)
        };
        let (major, minor) = text.split_once('.').ok_or(InvalidSchemaVersion)?;
        Ok(SchemaVersion { major: number(major)?, minor: number(minor)? })
    }
}

impl Serialize for SchemaVersion {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for SchemaVersion {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// An accepted event.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    pub id: EventId,
    pub tenant: TenantId,
    pub event_type: EventType,
    pub schema_version: SchemaVersion,
    /// When it happened, by the producer; the accept time where the producer says nothing.
    pub timestamp: Timestamp,
    pub accepted_at: Timestamp,
    /// Byte for byte as the producer wrote it; all versions of it where there are several.
    pub data: RawObject,
    pub summary: Option<String>,
    /// A JSON object of the producer's own, `{"name": …}` at least, for profiles that show it.
    pub workflow: Option<RawObject>,
}
