//! An event against the catalogue: whether its data is what its type promises.

use serde::{Deserialize, Serialize};

use super::{Catalogue, KnownType};
use crate::event::{EventType, VersionOfData, Versions};
use crate::json::Node;
use crate::schema::Violation;

/// What becomes of an event whose data is not what the catalogue says of its type. A tenant chooses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SchemaCheck {
    /// It is accepted, and nobody looks.
    #[default]
    Off,
    /// It is accepted, and its producer is told.
    Warn,
    /// It is refused.
    Enforce,
}

impl Catalogue {
    /// What is wrong with each version of an event's data by what its type says; pointers are into the event:
    /// `/data/amount`, `/versions/2/amount`. Nothing is known to be wrong with a type that nobody has described.
    #[must_use]
    pub fn judge(&self, event_type: &EventType, versions: &Versions) -> Vec<Violation> {
        let Some(known) = self.get(event_type) else { return Vec::new() };
        versions.iter().flat_map(|one| judge_version(event_type, known, one)).collect()
    }
}

fn judge_version(event_type: &EventType, known: &KnownType, one: &VersionOfData) -> Vec<Violation> {
    let number = one.version.major;
    let Some(described) = known.major(number) else {
        let majors: Vec<String> = known.majors().map(|one| one.major.version().major.to_string()).collect();
        let detail =
            format!("the catalogue has no major {number} of {event_type}; it has {}", majors.join(", "));
        // Where there are several, each is named for its major.
        let pointer = if one.pointer == "/data" { "/schema_version" } else { &*one.pointer };
        return vec![Violation { pointer: pointer.to_owned(), detail }];
    };
    let Some(schema) = described.major.schema() else { return Vec::new() };
    let within =
        |found: Violation| Violation { pointer: format!("{}{}", one.pointer, found.pointer), ..found };
    schema.check(&Node::of(&one.data)).into_iter().map(within).collect()
}
