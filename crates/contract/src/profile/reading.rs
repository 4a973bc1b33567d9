//! Reading profiles, from TOML and from JSON: the same form, and errors that name the place.

use serde::Deserialize;
use serde_path_to_error::Path;

use super::{Profile, ProfileName};
use crate::json::pointer_of;

/// What is wrong with a profile, and where: `retry.waits`, `request.headers[1].name`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}{detail}", if path.is_empty() { String::new() } else { format!("{path}: ") })]
pub struct InvalidProfile {
    pub path: String,
    pub detail: String,
    pointer: String,
}

impl InvalidProfile {
    /// `path` is of members that the form has, which hold no character that a pointer would escape.
    pub(super) fn at(path: impl Into<String>, detail: impl ToString) -> Self {
        let path = path.into();
        let steps = path.replace(['.', '['], "/").replace(']', "");
        let pointer = if path.is_empty() { String::new() } else { format!("/{steps}") };
        InvalidProfile { path, detail: detail.to_string(), pointer }
    }

    /// The place as a JSON pointer (RFC 6901): `/request/headers/1/name`.
    #[must_use]
    pub fn pointer(&self) -> &str {
        &self.pointer
    }

    fn from_path(path: &Path, detail: String) -> Self {
        let text = path.to_string();
        let path_text = if text == "." { String::new() } else { text };
        InvalidProfile { path: path_text, detail, pointer: pointer_of(path) }
    }
}

/// `line 3, column 5: `, both from 1, of a byte of `text`.
fn line_and_column(text: &str, at: usize) -> String {
    let before = text.get(..at).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.chars().rev().take_while(|character| *character != '\n').count() + 1;
    format!("line {line}, column {column}: ")
}

impl Profile {
    /// # Errors
    /// When it is not TOML, a key is unknown or missing, or a value is not what it must be.
    pub fn from_toml(text: &str) -> Result<Self, InvalidProfile> {
        let described = |error: &toml::de::Error| {
            let place = error.span().map(|span| line_and_column(text, span.start)).unwrap_or_default();
            format!("{place}{}", error.message())
        };
        let read =
            toml::Deserializer::parse(text).map_err(|error| InvalidProfile::at("", described(&error)))?;
        serde_path_to_error::deserialize(read)
            .map_err(|error| InvalidProfile::from_path(error.path(), described(error.inner())))
    }

    /// # Errors
    /// When it is not JSON, a key is unknown or missing, or a value is not what it must be.
    pub fn from_json(text: &[u8]) -> Result<Self, InvalidProfile> {
        let mut read = serde_json::Deserializer::from_slice(text);
        let mut track = serde_path_to_error::Track::new();
        let profile = Profile::deserialize(serde_path_to_error::Deserializer::new(&mut read, &mut track));
        let profile = profile.map_err(|error| InvalidProfile::from_path(&track.path(), error.to_string()))?;
        read.end().map_err(|error| InvalidProfile::at("", error))?;
        Ok(profile)
    }

    /// The same under this name, which it must not contradict.
    ///
    /// # Errors
    /// When it was written with another name.
    pub fn named(self, name: &ProfileName) -> Result<Self, InvalidProfile> {
        if self.name.is_none() || self.name == *name {
            return Ok(Profile { name: name.clone(), ..self });
        }
        Err(InvalidProfile::at("name", format!("must be {name}, as it is named elsewhere, or left out")))
    }
}
