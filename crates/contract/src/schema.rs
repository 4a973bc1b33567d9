//! JSON Schema, draft 2020-12: what the `data` of a type of event looks like.
//!
//! A schema is read once, when it is saved, and refused with the place of whatever it cannot mean: a keyword that
//! nobody looks at, a reference that leads out of it or nowhere, a pattern that needs backtracking. After that it is
//! checked against each event, exactly: numbers of any size as decimal numbers, duplicate members each for itself.
//! What a check may cost is bounded, whatever schema and event are; see [`MAX_STEPS`].

mod canonical;
mod checking;
mod keyword;
mod reading;
mod text_pattern;

use std::fmt;

use crate::json::Node;
use keyword::Subschema;

/// The largest schema in the built-in catalogues has 4 KiB.
pub const MAX_SCHEMA_BYTES: usize = 64 * 1024;
/// Of one event: where somebody has to read them, more would not help.
pub const MAX_VIOLATIONS: usize = 16;
/// What a check may take: one step for each value that a subschema looks at, one for each 16 bytes that are compared. An
/// event of 1 MiB whose every value is looked at once has some 300,000.
pub const MAX_STEPS: usize = 1_000_000;
/// Text that patterns are matched against, in one check. Matching takes time in proportion to the text and the pattern,
/// and a pattern is bounded when it is read.
pub const MAX_MATCHED_BYTES: usize = 64 * 1024;
/// Subschemas within subschemas, by way of the data or in place; the stack holds them.
const MAX_LEVELS: usize = 256;

/// Why a schema was refused. `pointer` (RFC 6901) is into the schema.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{pointer}: {detail}")]
pub struct InvalidSchema {
    pub pointer: String,
    pub detail: String,
}

/// What of an event's `data` is not as its schema says. `pointer` (RFC 6901) is into the data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    pub pointer: String,
    pub detail: String,
}

/// A schema that can be checked.
#[derive(Clone)]
pub struct Schema {
    /// The first is the root.
    subschemas: Vec<Subschema>,
}

impl Schema {
    /// # Errors
    /// The first thing that cannot work, with its place.
    pub fn parse(text: &str) -> Result<Self, InvalidSchema> {
        reading::read(text).map(|subschemas| Schema { subschemas })
    }

    /// What is wrong with the data, up to [`MAX_VIOLATIONS`]; empty where nothing is.
    #[must_use]
    pub fn check(&self, data: &Node<'_>) -> Vec<Violation> {
        checking::check(&self.subschemas, data)
    }
}

impl fmt::Debug for Schema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Schema({} subschemas)", self.subschemas.len())
    }
}

#[cfg(test)]
mod tests;
