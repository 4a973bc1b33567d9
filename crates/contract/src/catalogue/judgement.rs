//! An event against the catalogue: whether its data is what its type promises.

use serde::{Deserialize, Serialize};

use super::Catalogue;
use crate::event::{EventType, SchemaVersion, VersionOfData, Versions};
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
    /// What is wrong with each version of an event's data; pointers are into the event: `/versions/2/amount`.
    #[must_use]
    pub fn judge_all(&self, event_type: &EventType, versions: &Versions) -> Vec<Violation> {
        let of_one = |one: &VersionOfData| {
            let found = self.judge(event_type, one.version, &Node::of(&one.data));
            let placed = |violation: Violation| {
                let within =
                    violation.pointer.strip_prefix("/data").map(|within| format!("{}{within}", one.pointer));
                // A major that is not there is the version's own fault where several have names.
                let whole =
                    if one.pointer == "/data" { violation.pointer.clone() } else { one.pointer.to_string() };
                Violation { pointer: within.unwrap_or(whole), ..violation }
            };
            found.into_iter().map(placed).collect::<Vec<_>>()
        };
        versions.iter().flat_map(of_one).collect()
    }

    /// What is wrong with an event by what its type says; pointers are into the event: `/data/amount`. Nothing is
    /// known to be wrong with a type that nobody has described.
    #[must_use]
    pub fn judge(&self, event_type: &EventType, version: SchemaVersion, data: &Node<'_>) -> Vec<Violation> {
        let Some(known) = self.get(event_type) else { return Vec::new() };
        let Some(described) = known.major(version.major) else {
            let majors: Vec<String> =
                known.majors().map(|one| one.major.version().major.to_string()).collect();
            let detail = format!(
                "the catalogue has no major {} of {event_type}; it has {}",
                version.major,
                majors.join(", ")
            );
            return vec![Violation { pointer: "/schema_version".to_owned(), detail }];
        };
        let Some(schema) = described.major.schema() else { return Vec::new() };
        let within = |one: Violation| Violation { pointer: format!("/data{}", one.pointer), ..one };
        schema.check(data).into_iter().map(within).collect()
    }
}
