//! API keys: who may call, for which tenant, and for what.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::ids::{KeyId, TenantId};

/// What a key may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    Publish,
    Read,
    Manage,
}

/// SHA-256 of a key's whole text, in hexadecimal. Keys hold 256 random bits, so a fast hash is enough.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct KeyHash(String);

impl KeyHash {
    #[must_use]
    pub fn of(key_text: &str) -> Self {
        use sha2::Digest;
        KeyHash(hex::encode(sha2::Sha256::digest(key_text.as_bytes())))
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A tenant's key as it is stored; its text is shown once, when it is made, and never stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiKey {
    pub id: KeyId,
    pub tenant: TenantId,
    pub name: String,
    pub scopes: BTreeSet<Scope>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
    pub hash: KeyHash,
    /// The first characters of the key's text, by which its owner can tell it from others.
    pub hint: String,
    pub created_at: Timestamp,
}

/// The key of whoever runs the installation. There is one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AdminKey {
    pub hash: KeyHash,
    pub created_at: Timestamp,
}
