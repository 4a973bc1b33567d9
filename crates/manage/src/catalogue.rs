//! The built-in event catalogues: one file each, part of the program.

use std::collections::HashMap;
use std::sync::OnceLock;

use postrider_contract::event::{EventType, SchemaVersion};
use postrider_contract::profile::CompiledProfile;
use serde::Deserialize;
use serde_json::value::RawValue;

const FILES: [(&str, &str); 5] = [
    ("trcker", include_str!("../catalogues/trcker.json")),
    ("trackdesk", include_str!("../catalogues/trackdesk.json")),
    ("trakkr", include_str!("../catalogues/trakkr.json")),
    ("track360", include_str!("../catalogues/track360.json")),
    ("tracktile", include_str!("../catalogues/tracktile.json")),
];

/// One type of event, as its tenants may rely on it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CatalogueEntry {
    #[serde(rename = "type")]
    pub(crate) event_type: EventType,
    pub(crate) description: String,
    pub(crate) version: SchemaVersion,
    /// JSON Schema, draft 2020-12, of `data`.
    pub(crate) schema: Box<RawValue>,
    /// A `data` that satisfies the schema.
    pub(crate) example: Box<RawValue>,
}

/// The types of the built-in catalogue that a profile names, by type; none where it names none.
pub(crate) fn catalogue_of(profile: &CompiledProfile) -> &'static [CatalogueEntry] {
    let name = profile.definition().catalogue.as_deref();
    name.and_then(|name| catalogues().get(name)).map(Vec::as_slice).unwrap_or_default()
}

/// The names of the built-in catalogues.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    FILES.into_iter().map(|(name, _)| name)
}

fn catalogues() -> &'static HashMap<&'static str, Vec<CatalogueEntry>> {
    static CATALOGUES: OnceLock<HashMap<&'static str, Vec<CatalogueEntry>>> = OnceLock::new();
    CATALOGUES.get_or_init(|| {
        let load = |(name, text)| {
            let mut entries: Vec<CatalogueEntry> = serde_json::from_str(text)
                .expect("the files are part of the program, and a test loads each of them");
            entries.sort_by(|one, other| one.event_type.cmp(&other.event_type));
            (name, entries)
        };
        FILES.into_iter().map(load).collect()
    })
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn every_catalogue_is_whole() {
        for (name, count) in
            [("trcker", 8), ("trackdesk", 10), ("trakkr", 5), ("track360", 17), ("tracktile", 1)]
        {
            let entries = &catalogues()[name];
            assert_eq!(entries.len(), count, "{name}");
            assert!(entries.windows(2).all(|pair| pair[0].event_type < pair[1].event_type), "{name}");
        }
    }

    #[test]
    fn every_example_has_what_its_schema_requires_and_nothing_it_does_not_know() {
        for entry in catalogues().values().flatten() {
            let schema: Value = serde_json::from_str(entry.schema.get()).expect("JSON");
            let example: Value = serde_json::from_str(entry.example.get()).expect("JSON");
            assert!(!entry.description.is_empty());
            check(&schema, &example, entry.event_type.as_str());
        }
    }

    /// As much of JSON Schema as the catalogues use.
    fn check(schema: &Value, value: &Value, place: &str) {
        let is_of = |name: &str| match name {
            "object" => value.is_object(),
            "array" => value.is_array(),
            "string" => value.is_string(),
            "integer" => value.is_i64() || value.is_u64(),
            "number" => value.is_number(),
            "boolean" => value.is_boolean(),
            "null" => value.is_null(),
            other => panic!("{place}: {other} is not used here"),
        };
        match &schema["type"] {
            Value::String(name) => assert!(is_of(name), "{place}: {value} is not of type {name}"),
            Value::Array(names) => {
                assert!(names.iter().any(|name| is_of(name.as_str().expect("a word"))), "{place}: {value}");
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => panic!("{place}: no type"),
        }
        if let Some(allowed) = schema["enum"].as_array() {
            assert!(allowed.contains(value), "{place}: {value} is none of {allowed:?}");
        }
        if let (Some(items), Some(values)) = (schema.get("items"), value.as_array()) {
            values.iter().for_each(|value| check(items, value, place));
        }
        let Some(members) = value.as_object() else { return };
        for name in schema["required"].as_array().into_iter().flatten() {
            let name = name.as_str().expect("a name");
            assert!(members.contains_key(name), "{place}: {name} is missing");
        }
        for (name, member) in members {
            let of_member = &schema["properties"][name];
            assert!(of_member.is_object(), "{place}: {name} is not described");
            check(of_member, member, &format!("{place}/{name}"));
        }
    }
}
