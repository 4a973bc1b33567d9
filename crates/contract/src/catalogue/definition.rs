//! A type of event as it is described: each of its majors with its schema and an example.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::clock::Timestamp;
use crate::event::{EventType, SchemaVersion};
use crate::ids::TenantId;
use crate::json::{Node, RawObject};
use crate::schema::Schema;

/// As for events that are meant to be read: far above any real example.
pub const MAX_EXAMPLE_BYTES: usize = 64 * 1024;
/// Receivers are moved from one to the next; more than a few at once is a mistake.
pub const MAX_MAJORS: usize = 16;
/// Of one tenant, or of the installation: the largest built-in catalogue has 17.
pub const MAX_TYPES: usize = 500;

/// One major as somebody writes it, and as it is stored.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct WrittenMajor {
    pub version: SchemaVersion,
    #[serde(default)]
    pub description: String,
    /// JSON Schema, draft 2020-12, of `data`. Absent: any object will do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<Box<RawValue>>,
    /// A `data` that satisfies the schema.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub example: Option<Box<RawValue>>,
    /// When it ends, as its tenants were told. It goes on being delivered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sunset_at: Option<Timestamp>,
}

impl WrittenMajor {
    /// Whether both say the same, letter for letter.
    #[must_use]
    pub fn is_same_as(&self, other: &WrittenMajor) -> bool {
        let text = |value: &Option<Box<RawValue>>| value.as_ref().map(|value| value.get().to_owned());
        self.version == other.version
            && self.description == other.description
            && text(&self.schema) == text(&other.schema)
            && text(&self.example) == text(&other.example)
            && self.sunset_at == other.sunset_at
    }
}

/// Why a description was refused. `pointer` (RFC 6901) is into it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{pointer}: {detail}")]
pub struct InvalidMajor {
    pub pointer: String,
    pub detail: String,
}

/// One major that holds together: its schema can be checked, and its example satisfies it.
#[derive(Clone, Debug)]
pub struct Major {
    written: WrittenMajor,
    schema: Option<Schema>,
    example: Option<RawObject>,
}

impl Major {
    /// # Errors
    /// Everything that is wrong with an example, or the first thing that is wrong with a schema, with its place.
    pub fn new(written: WrittenMajor) -> Result<Self, Vec<InvalidMajor>> {
        let refused =
            |pointer: &str, detail: String| vec![InvalidMajor { pointer: pointer.to_owned(), detail }];
        let schema = match &written.schema {
            Some(text) => Some(
                Schema::parse(text.get())
                    .map_err(|error| refused(&format!("/schema{}", error.pointer), error.detail))?,
            ),
            None => None,
        };
        let example = match &written.example {
            Some(text) if text.get().len() > MAX_EXAMPLE_BYTES => {
                return Err(refused("/example", format!("must be at most {MAX_EXAMPLE_BYTES} bytes long")));
            }
            Some(text) => {
                let bytes = Bytes::copy_from_slice(text.get().as_bytes());
                Some(RawObject::parse(bytes).map_err(|error| refused("/example", error.to_string()))?)
            }
            None => None,
        };
        if let (Some(schema), Some(example)) = (&schema, &example) {
            let broken = schema.check(&Node::of(example));
            if !broken.is_empty() {
                let told = broken.into_iter().map(|one| InvalidMajor {
                    pointer: format!("/example{}", one.pointer),
                    detail: one.detail,
                });
                return Err(told.collect());
            }
        }
        Ok(Major { written, schema, example })
    }

    #[must_use]
    pub fn version(&self) -> SchemaVersion {
        self.written.version
    }

    #[must_use]
    pub fn written(&self) -> &WrittenMajor {
        &self.written
    }

    #[must_use]
    pub fn schema(&self) -> Option<&Schema> {
        self.schema.as_ref()
    }

    #[must_use]
    pub fn example(&self) -> Option<&RawObject> {
        self.example.as_ref()
    }
}

/// A type as one catalogue keeps it, with the majors that it describes, the lowest first. One without any is withdrawn:
/// its name may be used again.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct EventTypeDefinition {
    /// Whose catalogue it is in; absent: the installation's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<TenantId>,
    #[serde(rename = "type")]
    pub event_type: EventType,
    pub majors: Vec<WrittenMajor>,
}

impl EventTypeDefinition {
    #[must_use]
    pub fn new(tenant: Option<TenantId>, event_type: EventType) -> Self {
        EventTypeDefinition { tenant, event_type, majors: Vec::new() }
    }

    #[must_use]
    pub fn is_withdrawn(&self) -> bool {
        self.majors.is_empty()
    }

    #[must_use]
    pub fn major(&self, number: u16) -> Option<&WrittenMajor> {
        self.majors.iter().find(|one| one.version.major == number)
    }

    /// In the place of the one with the same major, or as a further one.
    #[must_use]
    pub fn with(&self, written: WrittenMajor) -> Self {
        let mut majors = self.majors.clone();
        majors.retain(|one| one.version.major != written.version.major);
        majors.push(written);
        majors.sort_by_key(|one| one.version);
        EventTypeDefinition { majors, ..self.clone() }
    }
}
