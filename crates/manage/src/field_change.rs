//! A member of a request that changes something: absent, `null` and a value are three different things.

use serde::{Deserialize, Deserializer};

/// Deserialised from a member of a struct with `#[serde(default)]`, so that absence is [`FieldChange::Keep`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum FieldChange<T> {
    /// Absent: as it was.
    #[default]
    Keep,
    /// `null`: as if it had never been given.
    Clear,
    Set(T),
}

impl<T> FieldChange<T> {
    pub(crate) fn is_kept(&self) -> bool {
        match self {
            FieldChange::Keep => true,
            FieldChange::Clear | FieldChange::Set(_) => false,
        }
    }

    pub(crate) fn given(&self) -> Option<&T> {
        match self {
            FieldChange::Set(value) => Some(value),
            FieldChange::Keep | FieldChange::Clear => None,
        }
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for FieldChange<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(match Option::<T>::deserialize(deserializer)? {
            Some(value) => FieldChange::Set(value),
            None => FieldChange::Clear,
        })
    }
}
