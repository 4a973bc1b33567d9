//! Which members an object has, by its raw bytes: names written with escapes are found too.

use std::fmt;

use serde::Deserializer;
use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, Visitor};

use crate::json::RawObject;

/// The first of the object's own members that is among `reserved`; members further down do not count.
pub(super) fn find_reserved_member<'r>(object: &RawObject, reserved: &'r [String]) -> Option<&'r str> {
    if reserved.is_empty() {
        return None;
    }
    let mut read = serde_json::Deserializer::from_slice(object.as_bytes());
    // The object was read as JSON when it came; if it were not, there would be no members to find.
    read.deserialize_map(Members { reserved }).ok().flatten()
}

struct Members<'r> {
    reserved: &'r [String],
}

impl<'de, 'r> Visitor<'de> for Members<'r> {
    type Value = Option<&'r str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        while let Some(name) = members.next_key_seed(Name { reserved: self.reserved })? {
            members.next_value::<IgnoredAny>()?;
            found = found.or(name);
        }
        Ok(found)
    }
}

/// A member's name as bytes, since JSON may hold escapes that are no Unicode text (a lone surrogate).
struct Name<'r> {
    reserved: &'r [String],
}

impl<'r> Name<'r> {
    fn among(&self, name: &[u8]) -> Option<&'r str> {
        self.reserved.iter().map(String::as_str).find(|reserved| reserved.as_bytes() == name)
    }
}

impl<'de, 'r> DeserializeSeed<'de> for Name<'r> {
    type Value = Option<&'r str>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_bytes(self)
    }
}

impl<'r> Visitor<'_> for Name<'r> {
    type Value = Option<&'r str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a member's name")
    }

    fn visit_bytes<E>(self, name: &[u8]) -> Result<Self::Value, E> {
        Ok(self.among(name))
    }

    fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
        Ok(self.among(name.as_bytes()))
    }
}
