//! What an event says to people: title, summary, fields, and where it comes from; the same for every provider.

use std::fmt;

use serde::Deserializer;
use serde::de::{DeserializeSeed, Error, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::event::Event;
use crate::json::RawObject;
use crate::profile::Colour;
use crate::tenant::Tenant;

/// The most fields that any provider shows (Discord's 25); the others are counted.
pub(super) const MAX_FIELDS: usize = 25;
/// Characters. What is longer is cut by every provider anyway.
const LONGEST_TEXT: usize = 8 * 1024;

pub(super) struct Message {
    /// The event's type: words of ASCII letters, digits, `-`, `_` and dots, at most 128.
    pub(super) title: String,
    /// May be empty.
    pub(super) summary: String,
    /// One line.
    pub(super) brand: String,
    /// RFC 3339.
    pub(super) timestamp: String,
    pub(super) event_id: String,
    pub(super) fields: Vec<Field>,
    /// How many members of the data are not among the fields.
    pub(super) omitted: usize,
    pub(super) accent: Option<Colour>,
}

pub(super) struct Field {
    /// One line.
    pub(super) name: String,
    pub(super) value: String,
}

impl Message {
    pub(super) fn of(event: &Event, tenant: &Tenant, accent: Option<Colour>) -> Self {
        let (fields, omitted) = fields_of(&event.data);
        Message {
            title: event.event_type.to_string(),
            summary: lines(event.summary.as_deref().unwrap_or_default()),
            brand: one_line(&tenant.name),
            timestamp: event.timestamp.to_string(),
            event_id: event.id.to_string(),
            fields,
            omitted,
            accent,
        }
    }

    /// Who, when, which; and how much is not shown beyond the first `shown` fields.
    pub(super) fn origin(&self, shown: usize) -> String {
        let hidden = self.omitted + self.fields.len().saturating_sub(shown);
        let more = if hidden == 0 { String::new() } else { format!(" · {hidden} more not shown") };
        format!("{} · {}{more}", self.brand, self.event_id)
    }

    /// What stands for all of it where there is room for one line.
    pub(super) fn in_short(&self) -> String {
        if self.summary.is_empty() { self.title.clone() } else { format!("{}: {}", self.title, self.summary) }
    }
}

/// Without controls but for line ends: some providers refuse them, and they show nothing.
fn lines(text: &str) -> String {
    let visible = |character: char| if character.is_control() && character != '\n' { ' ' } else { character };
    text.chars().take(LONGEST_TEXT).map(visible).collect()
}

fn one_line(text: &str) -> String {
    let visible = |character: char| if character.is_control() { ' ' } else { character };
    text.chars().take(LONGEST_TEXT).map(visible).collect()
}

/// The data's members in their order: texts as they read, everything else as it was written.
fn fields_of(data: &RawObject) -> (Vec<Field>, usize) {
    let mut read = serde_json::Deserializer::from_slice(data.as_bytes());
    // It was read as JSON when it came; if it were not, there would be no members to show.
    read.deserialize_map(Fields).unwrap_or_default()
}

/// A JSON string's text, or the JSON itself. Escapes that are half a character become the replacement character.
fn value_text(json: &str) -> String {
    if !json.starts_with('"') {
        return lines(json);
    }
    let mut read = serde_json::Deserializer::from_str(json);
    lines(&read.deserialize_bytes(Text).unwrap_or_default())
}

struct Fields;

impl<'de> Visitor<'de> for Fields {
    type Value = (Vec<Field>, usize);

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
        let (mut fields, mut omitted) = (Vec::new(), 0);
        while fields.len() < MAX_FIELDS {
            let Some(name) = members.next_key_seed(Text)? else { return Ok((fields, omitted)) };
            let value = members.next_value::<&RawValue>()?;
            fields.push(Field { name: one_line(&name), value: value_text(value.get()) });
        }
        while members.next_key_seed(Text)?.is_some() {
            members.next_value::<IgnoredAny>()?;
            omitted += 1;
        }
        Ok((fields, omitted))
    }
}

/// Text by its bytes, since JSON may hold escapes that are no Unicode text (a lone surrogate).
struct Text;

impl<'de> DeserializeSeed<'de> for Text {
    type Value = String;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_bytes(self)
    }
}

impl Visitor<'_> for Text {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("text")
    }

    fn visit_bytes<E: Error>(self, text: &[u8]) -> Result<Self::Value, E> {
        Ok(String::from_utf8_lossy(text).into_owned())
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(text.to_owned())
    }
}
