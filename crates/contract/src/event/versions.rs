//! The data of an event in one or several majors of its type, of which each webhook gets one.
//!
//! Of several, an event keeps what its producer wrote, `{"1": {…}, "2": {…}}`, byte for byte where others keep their
//! data, under [`SchemaVersion::SEVERAL`], which no producer can give. So neither a message nor a table has a field for
//! it, and whoever renders must ask here.

use std::borrow::Cow;
use std::fmt;
use std::num::NonZeroU16;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::{Event, SchemaVersion};
use crate::json::{RawObject, pointer_below};

/// As many as a type may have majors.
pub const MAX_VERSIONS: usize = 16;

/// Why several versions were refused; `pointer` (RFC 6901) is into them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{pointer}: {detail}")]
pub struct InvalidVersions {
    pub pointer: String,
    pub detail: String,
}

/// Data of one version.
#[derive(Clone, Debug, PartialEq)]
pub struct VersionOfData {
    /// Where it stands in the event: `/data`, `/versions/2`.
    pub pointer: Cow<'static, str>,
    pub version: SchemaVersion,
    pub data: RawObject,
}

/// An event's data by major, the lowest first; one at least.
#[derive(Clone, Debug, PartialEq)]
pub struct Versions(Vec<VersionOfData>);

impl Versions {
    /// Of an event that was accepted, or is about to be.
    #[must_use]
    pub fn of(version: SchemaVersion, data: &RawObject) -> Self {
        if version == SchemaVersion::SEVERAL
            && let Ok(versions) = Self::parse(data)
        {
            return versions;
        }
        Versions(vec![VersionOfData { pointer: Cow::Borrowed("/data"), version, data: data.clone() }])
    }

    /// # Errors
    /// When there is none, too many, one twice, or a name that is no version.
    pub fn parse(written: &RawObject) -> Result<Self, InvalidVersions> {
        let bytes = written.as_bytes();
        let refused = |name: &str, detail: &str| InvalidVersions {
            pointer: if name.is_empty() { String::new() } else { pointer_below("", name) },
            detail: detail.to_owned(),
        };
        let Entries(entries) =
            serde_json::from_slice(bytes).map_err(|_| refused("", "must be an object of objects"))?;
        if entries.is_empty() || entries.len() > MAX_VERSIONS {
            return Err(refused("", &format!("must hold 1 to {MAX_VERSIONS} versions")));
        }
        let mut versions = Vec::with_capacity(entries.len());
        for (name, value) in entries {
            let version = read_version(&name)
                .ok_or_else(|| refused(&name, "must be named for its major, or major and minor: 2, 2.1"))?;
            let data =
                RawObject::part_of(bytes, value).map_err(|error| refused(&name, &error.to_string()))?;
            versions.push(VersionOfData { pointer: format!("/versions/{name}").into(), version, data });
        }
        versions.sort_by_key(|one| one.version);
        match versions.windows(2).find(|pair| pair[0].version.major == pair[1].version.major) {
            Some(pair) => Err(refused("", &format!("major {} is there twice", pair[0].version.major))),
            None => Ok(Versions(versions)),
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = &VersionOfData> {
        self.0.iter()
    }

    /// Which one a webhook gets: that of the major it is pinned to, else the highest. `None` where it is pinned to one
    /// that is not there.
    #[must_use]
    pub fn index_for(&self, pinned: Option<NonZeroU16>) -> Option<usize> {
        match pinned {
            Some(major) => self.0.iter().position(|one| one.version.major == major.get()),
            None => self.0.len().checked_sub(1),
        }
    }
}

impl Event {
    /// The event as each of its versions has it, in the order of [`Versions`]; none where there is but one: that is the
    /// event itself.
    #[must_use]
    pub fn by_version(&self) -> Vec<Event> {
        if self.schema_version != SchemaVersion::SEVERAL {
            return Vec::new();
        }
        let versions = Versions::of(self.schema_version, &self.data);
        let with = |one: &VersionOfData| Event {
            schema_version: one.version,
            data: one.data.clone(),
            ..self.clone()
        };
        versions.iter().map(with).collect()
    }
}

fn read_version(name: &str) -> Option<SchemaVersion> {
    let text = if name.contains('.') { name.to_owned() } else { format!("{name}.0") };
    text.parse().ok().filter(|version: &SchemaVersion| version.major > 0)
}

/// The members of an object in the order they were written, each as its own text.
struct Entries<'a>(Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for Entries<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;

        impl<'de> Visitor<'de> for Members {
            type Value = Entries<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Entries(entries))
            }
        }

        deserializer.deserialize_map(Members)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn object(text: &str) -> RawObject {
        RawObject::parse(Bytes::copy_from_slice(text.as_bytes())).expect("an object")
    }

    fn numbers(versions: &Versions) -> Vec<(String, &[u8])> {
        versions.iter().map(|one| (one.version.to_string(), one.data.as_bytes().as_ref())).collect()
    }

    #[test]
    fn versions_are_kept_byte_for_byte_the_lowest_first() {
        let text = r#"{ "2.1": {"a" : 1.0}, "1":{ "a":"\ud800" } }"#;
        let versions = Versions::parse(&object(text)).expect("versions");
        let expected: [(String, &[u8]); 2] =
            [("1.0".to_owned(), br#"{ "a":"\ud800" }"#), ("2.1".to_owned(), br#"{"a" : 1.0}"#)];
        assert_eq!(numbers(&versions), expected);
        assert_eq!(versions, Versions::of(SchemaVersion::SEVERAL, &object(text)));
        let pointers: Vec<&str> = versions.iter().map(|one| one.pointer.as_ref()).collect();
        assert_eq!(pointers, ["/versions/1", "/versions/2.1"]);
    }

    #[test]
    fn a_webhook_gets_the_major_it_is_pinned_to_else_the_highest() {
        let several = Versions::parse(&object(r#"{"1":{},"3":{}}"#)).expect("versions");
        let single = Versions::of("2.4".parse().expect("a version"), &object("{}"));
        for (versions, pinned, index) in [
            (&several, None, Some(1)),
            (&several, NonZeroU16::new(1), Some(0)),
            (&several, NonZeroU16::new(2), None),
            (&several, NonZeroU16::new(3), Some(1)),
            (&single, None, Some(0)),
            (&single, NonZeroU16::new(2), Some(0)),
            (&single, NonZeroU16::new(1), None),
        ] {
            assert_eq!(versions.index_for(pinned), index, "{versions:?} {pinned:?}");
        }
    }

    #[test]
    fn what_are_no_versions_is_refused_with_its_place() {
        let many: Vec<String> = (1..=17).map(|major| format!("\"{major}\":{{}}")).collect();
        for (text, pointer) in [
            ("{}", ""),
            (&format!("{{{}}}", many.join(",")), ""),
            (r#"{"1":{},"1.2":{}}"#, ""),
            (r#"{"1":{},"1":{}}"#, ""),
            (r#"{"0":{}}"#, "/0"),
            (r#"{"v1":{}}"#, "/v1"),
            (r#"{"1.2.3":{}}"#, "/1.2.3"),
            (r#"{"1":[]}"#, "/1"),
            (r#"{"a/b":{}}"#, "/a~1b"),
        ] {
            assert_eq!(Versions::parse(&object(text)).expect_err(text).pointer, pointer, "{text}");
        }
    }
}
