//! Reading profiles, from TOML and from JSON: the same form, and errors that name the place.

use serde::Deserialize;

use super::Profile;

/// What is wrong with a profile, and where: `retry.waits`, `request.headers[1].name`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}{detail}", if path.is_empty() { String::new() } else { format!("{path}: ") })]
pub struct InvalidProfile {
    pub path: String,
    pub detail: String,
}

impl InvalidProfile {
    pub(super) fn at(path: impl Into<String>, detail: impl ToString) -> Self {
        InvalidProfile { path: path.into(), detail: detail.to_string() }
    }

    /// The place as a JSON pointer (RFC 6901): `/request/headers/1/name`.
    #[must_use]
    pub fn pointer(&self) -> String {
        if self.path.is_empty() {
            return String::new();
        }
        format!("/{}", self.path.replace(['.', '['], "/").replace(']', ""))
    }

    fn from_path<E: std::error::Error>(error: &serde_path_to_error::Error<E>, detail: String) -> Self {
        let path = error.path().to_string();
        InvalidProfile { path: if path == "." { String::new() } else { path }, detail }
    }
}

impl Profile {
    /// # Errors
    /// When it is not TOML, a key is unknown or missing, or a value is not what it must be.
    pub fn from_toml(text: &str) -> Result<Self, InvalidProfile> {
        let read =
            toml::Deserializer::parse(text).map_err(|error| InvalidProfile::at("", error.message()))?;
        let profile = serde_path_to_error::deserialize(read);
        profile.map_err(|error| {
            let detail = error.inner().message().to_owned();
            InvalidProfile::from_path(&error, detail)
        })
    }

    /// # Errors
    /// When it is not JSON, a key is unknown or missing, or a value is not what it must be.
    pub fn from_json(text: &[u8]) -> Result<Self, InvalidProfile> {
        let mut read = serde_json::Deserializer::from_slice(text);
        let mut track = serde_path_to_error::Track::new();
        let profile = Profile::deserialize(serde_path_to_error::Deserializer::new(&mut read, &mut track));
        let profile = profile.map_err(|error| {
            let detail = error.to_string();
            InvalidProfile::from_path(&serde_path_to_error::Error::new(track.path(), error), detail)
        })?;
        read.end().map_err(|error| InvalidProfile::at("", error))?;
        Ok(profile)
    }
}
