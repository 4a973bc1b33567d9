//! The name of a profile, and what a single webhook may ask for differently.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::HeaderName;

const MAX_NAME: usize = 64;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("must be 1 to {MAX_NAME} lower-case letters, digits and -, beginning with a letter")]
pub struct InvalidProfileName;

/// `standard`, `trcker`, … or an operator's own.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProfileName(Arc<str>);

impl ProfileName {
    /// The profile of a tenant that chose none.
    #[must_use]
    pub fn standard() -> Self {
        ProfileName("standard".into())
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Of a profile as written, until it is [named](super::Profile::named): no profile that compiles has it.
    pub(super) fn none() -> Self {
        ProfileName("".into())
    }

    pub(super) fn is_none(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromStr for ProfileName {
    type Err = InvalidProfileName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let is_allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        let begins_well = text.starts_with(|first: char| first.is_ascii_lowercase());
        if text.len() <= MAX_NAME && begins_well && text.bytes().all(is_allowed) {
            Ok(ProfileName(text.into()))
        } else {
            Err(InvalidProfileName)
        }
    }
}

impl fmt::Display for ProfileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ProfileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for ProfileName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for ProfileName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// What one webhook asks for differently than its profile. Each was checked against the profile's bounds when
/// it was saved.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProfileOverride {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waits: Option<Vec<Duration>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_limit: Option<Duration>,
    /// Where the signature stands, in profiles that leave it open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature_header: Option<HeaderName>,
}
