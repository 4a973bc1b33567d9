//! Templates: a webhook's own body, in place of its profile's envelope.
//!
//! A template is JSON, an object or an array, with `{{variable}}` inside its strings. It is read once, when it is
//! saved, and refused there with place and reason if it cannot work. What was accepted gives valid JSON whatever
//! the event: a value is escaped inside its string, so that nothing in an event can end one. A string that is
//! nothing but one variable is `null` where there is no value, and else a string, or the value with its own JSON
//! type where the webhook asks for it ([`LoneVariables`]). Values of the event's data are copied as they were
//! written: numbers digit for digit, escapes as they are.
//!
//! Filling in parses nothing but the event's data, which is read once for all templates, and is bounded in what it
//! writes by [`MAX_BODY`].

mod filling;
mod reading;
mod variable;

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

pub use filling::{Filled, Gap, GapReason};
pub use reading::{InvalidTemplate, TemplateProblem};
pub use variable::MAX_VARIABLE;

use variable::Source;

/// The longest template. A card of a chat service with every field it may have takes some 20 KiB.
pub const MAX_TEMPLATE: usize = 64 * 1024;
/// How deep a template may be nested; values that keep their own type come on top of it.
pub const MAX_TEMPLATE_DEPTH: usize = 32;
/// The most variables in one template.
pub const MAX_VARIABLES: usize = 256;
/// The longest body that a template gives. A value that would make it longer is left out, and that is noted.
pub const MAX_BODY: usize = 256 * 1024;

/// What a string that is nothing but one variable becomes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LoneVariables {
    /// A string that holds the value's text.
    #[default]
    Text,
    /// The value itself: a number, a boolean, an object, an array or a string.
    Typed,
}

/// A template that was read and found right. Cheap to clone.
#[derive(Clone)]
pub struct Template {
    parsed: Arc<Parsed>,
    lone_variables: LoneVariables,
}

#[derive(Debug)]
struct Parsed {
    text: Box<str>,
    pieces: Vec<Piece>,
    /// Bytes that variables may take together.
    room: usize,
}

/// A part of the body.
#[derive(Debug)]
enum Piece {
    /// JSON text, from anywhere to anywhere.
    Literal(Box<str>),
    /// Within a string.
    Within(Variable),
    /// In place of a whole string, quotes included.
    Alone(Variable),
}

#[derive(Debug)]
struct Variable {
    source: Source,
    /// As it is written in the template, for notes.
    name: Box<str>,
}

impl Template {
    /// # Errors
    /// With the place of the first thing that cannot work, and why.
    pub fn parse(text: &str, lone_variables: LoneVariables) -> Result<Self, InvalidTemplate> {
        Ok(Template { parsed: Arc::new(reading::read(text)?), lone_variables })
    }

    /// The JSON it was read from, as it was written.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.parsed.text
    }

    #[must_use]
    pub fn lone_variables(&self) -> LoneVariables {
        self.lone_variables
    }

    /// The same text, with strings of one variable made otherwise.
    #[must_use]
    pub fn with(self, lone_variables: LoneVariables) -> Self {
        Template { lone_variables, ..self }
    }
}

/// What is read from one text is the same.
impl PartialEq for Template {
    fn eq(&self, other: &Self) -> bool {
        self.text() == other.text() && self.lone_variables == other.lone_variables
    }
}

impl Eq for Template {}

impl Hash for Template {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.text().hash(state);
        self.lone_variables.hash(state);
    }
}

impl fmt::Debug for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Template({} bytes, {:?})", self.text().len(), self.lone_variables)
    }
}

/// As it is stored.
#[derive(Serialize, Deserialize)]
struct Stored {
    text: String,
    #[serde(default)]
    lone_variables: LoneVariables,
}

impl Serialize for Template {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let stored = Stored { text: self.text().to_owned(), lone_variables: self.lone_variables() };
        stored.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Template {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let stored = Stored::deserialize(deserializer)?;
        Template::parse(&stored.text, stored.lone_variables).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests;
