//! The built-in catalogues: one file each, part of the program.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Catalogue, CatalogueSource, Major, WrittenMajor};
use crate::event::{EventType, SchemaVersion};

const FILES: [(&str, &str); 5] = [
    ("trcker", include_str!("../../catalogues/trcker.json")),
    ("trackdesk", include_str!("../../catalogues/trackdesk.json")),
    ("trakkr", include_str!("../../catalogues/trakkr.json")),
    ("track360", include_str!("../../catalogues/track360.json")),
    ("tracktile", include_str!("../../catalogues/tracktile.json")),
];

/// As it stands in a file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    #[serde(rename = "type")]
    event_type: EventType,
    description: String,
    version: SchemaVersion,
    schema: Box<RawValue>,
    example: Box<RawValue>,
}

impl From<Entry> for WrittenMajor {
    fn from(entry: Entry) -> Self {
        WrittenMajor {
            version: entry.version,
            description: entry.description,
            schema: Some(entry.schema),
            example: Some(entry.example),
            sunset_at: None,
        }
    }
}

/// The catalogue of that name, which a profile may name.
#[must_use]
pub fn builtin_catalogue(name: &str) -> Option<&'static Arc<Catalogue>> {
    catalogues().get(name)
}

/// The names of the built-in catalogues.
pub fn builtin_catalogue_names() -> impl Iterator<Item = &'static str> {
    FILES.into_iter().map(|(name, _)| name)
}

fn catalogues() -> &'static BTreeMap<&'static str, Arc<Catalogue>> {
    static CATALOGUES: OnceLock<BTreeMap<&'static str, Arc<Catalogue>>> = OnceLock::new();
    CATALOGUES.get_or_init(|| {
        let load = |(name, text)| {
            let entries: Vec<Entry> = serde_json::from_str(text)
                .expect("the files are part of the program, and a test loads each of them");
            let mut catalogue = Catalogue::default();
            for entry in entries {
                let event_type = entry.event_type.clone();
                let major = Major::new(entry.into()).expect("a test loads each of them");
                catalogue.put(&event_type, Arc::new(major), CatalogueSource::Builtin);
            }
            (name, Arc::new(catalogue))
        };
        FILES.into_iter().map(load).collect()
    })
}
