//! Keys: a secret, read once, ready to sign; and what a receiver of it knows, ready to check.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use super::key_pair::{KeyPair, PublicKey};
use crate::profile::{SecretForm, SecretRule};

/// Why a secret is not one of its profile's. Says nothing of the secret itself.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSecret {
    #[error("must not be empty")]
    Empty,
    #[error("must hold at least {minimum} bytes of key")]
    TooShort { minimum: usize },
    #[error("must hold at most {maximum} bytes of key")]
    TooLong { maximum: usize },
    #[error("must be {prefix} followed by the key in canonical base64 (A-Z a-z 0-9 + /, padded with =)")]
    NotBase64 { prefix: String },
    #[error("must be {prefix} followed by the key in hexadecimal")]
    NotHex { prefix: String },
    #[error(
        "must be {prefix} followed by an Ed25519 key in canonical base64: its 32 bytes of seed, or these and the public key that belongs to them"
    )]
    NotKeyPair { prefix: String },
    #[error("must be {prefix} followed by the 32 bytes of an Ed25519 public key in canonical base64")]
    NotPublicKey { prefix: String },
}

/// What signs. Masked when printed. A shared secret is wiped when dropped; what `ring` has worked out of a key pair is not,
/// since `ring` does not.
#[derive(Clone)]
pub struct SigningKey(Signing);

#[derive(Clone)]
pub(super) enum Signing {
    /// The receiver knows the same bytes.
    Shared(Zeroizing<Vec<u8>>),
    Pair(KeyPair),
}

impl SigningKey {
    /// Reads a secret as its profile's rule says.
    ///
    /// # Errors
    /// When it is empty, too short or too long, or not written in its form. Nothing is trimmed: a key that differs from
    /// the receiver's by a line feed would fail at every delivery.
    pub fn parse(text: &str, rule: &SecretRule) -> Result<Self, InvalidSecret> {
        if text.is_empty() {
            return Err(InvalidSecret::Empty);
        }
        match key_pair_digits(text, rule) {
            Some((prefix, digits)) => {
                let bytes = STANDARD.decode(digits).ok().map(Zeroizing::new);
                let pair = bytes.and_then(|bytes| KeyPair::from_bytes(&bytes));
                let refused = || InvalidSecret::NotKeyPair { prefix: prefix.to_owned() };
                pair.map(|pair| SigningKey(Signing::Pair(pair))).ok_or_else(refused)
            }
            None => shared(text, rule).map(|bytes| SigningKey(Signing::Shared(bytes))),
        }
    }

    pub(super) fn signing(&self) -> &Signing {
        &self.0
    }

    /// What a receiver checks this key's signatures with.
    #[must_use]
    pub fn verifying(&self) -> VerifyingKey {
        VerifyingKey(match &self.0 {
            Signing::Shared(bytes) => Verifying::Shared(bytes.clone()),
            Signing::Pair(pair) => {
                Verifying::Public(PublicKey::from_bytes(pair.public()).expect("a pair has a public key"))
            }
        })
    }

    /// The public half as receivers are told it; `None` of a shared secret.
    #[must_use]
    pub fn public_text(&self, rule: &SecretRule) -> Option<String> {
        match &self.0 {
            Signing::Shared(_) => None,
            Signing::Pair(pair) => {
                Some(format!("{}{}", rule.public_key_prefix, STANDARD.encode(pair.public())))
            }
        }
    }

    #[cfg(test)]
    pub(super) fn from_bytes(bytes: Vec<u8>) -> Self {
        SigningKey(Signing::Shared(Zeroizing::new(bytes)))
    }

    /// Of a shared secret; nothing of a pair.
    #[cfg(test)]
    pub(super) fn bytes(&self) -> &[u8] {
        match &self.0 {
            Signing::Shared(bytes) => bytes,
            Signing::Pair(_) => &[],
        }
    }
}

/// The base64 of a secret that is an Ed25519 key, and the prefix that goes before it; `None` of any other.
fn key_pair_digits<'t, 'r>(text: &'t str, rule: &'r SecretRule) -> Option<(&'r str, &'t str)> {
    match rule.form {
        SecretForm::Ed25519 => Some((rule.prefix.as_str(), text.strip_prefix(&rule.prefix).unwrap_or(text))),
        SecretForm::Text | SecretForm::Base64 | SecretForm::Hex => {
            let prefix = rule.key_pair_prefix.as_deref()?;
            Some((prefix, text.strip_prefix(prefix)?))
        }
    }
}

fn shared(text: &str, rule: &SecretRule) -> Result<Zeroizing<Vec<u8>>, InvalidSecret> {
    let prefix = || rule.prefix.clone();
    let digits = text.strip_prefix(&rule.prefix).unwrap_or(text);
    let bytes = match rule.form {
        SecretForm::Text => text.as_bytes().to_vec(),
        // This engine takes the standard alphabet only, wants padding, and refuses stray bits.
        SecretForm::Base64 | SecretForm::Ed25519 => {
            STANDARD.decode(digits).map_err(|_| InvalidSecret::NotBase64 { prefix: prefix() })?
        }
        SecretForm::Hex => hex::decode(digits).map_err(|_| InvalidSecret::NotHex { prefix: prefix() })?,
    };
    let bytes = Zeroizing::new(bytes);
    if bytes.len() < rule.minimum_bytes {
        return Err(InvalidSecret::TooShort { minimum: rule.minimum_bytes });
    }
    if bytes.len() > rule.maximum_bytes {
        return Err(InvalidSecret::TooLong { maximum: rule.maximum_bytes });
    }
    Ok(bytes)
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningKey(***)")
    }
}

#[cfg(test)]
impl PartialEq for SigningKey {
    fn eq(&self, other: &Self) -> bool {
        self.verifying() == other.verifying()
    }
}

/// What a receiver knows: the shared secret, or the public half of a pair.
#[derive(Clone, PartialEq, Eq)]
pub struct VerifyingKey(Verifying);

#[derive(Clone, PartialEq, Eq)]
pub(super) enum Verifying {
    Shared(Zeroizing<Vec<u8>>),
    Public(PublicKey),
}

impl VerifyingKey {
    /// Reads what a receiver was told, as its profile's rule says: a shared secret, or a public key. The private half of a
    /// pair will do too.
    ///
    /// # Errors
    /// As [`SigningKey::parse`], and when what should be a public key is none.
    pub fn parse(text: &str, rule: &SecretRule) -> Result<Self, InvalidSecret> {
        let takes_pairs = rule.form == SecretForm::Ed25519 || rule.key_pair_prefix.is_some();
        let digits = text.strip_prefix(&rule.public_key_prefix);
        match digits.filter(|_| takes_pairs && !rule.public_key_prefix.is_empty()) {
            Some(digits) => {
                let key = STANDARD.decode(digits).ok().and_then(|bytes| PublicKey::from_bytes(&bytes));
                let refused = || InvalidSecret::NotPublicKey { prefix: rule.public_key_prefix.clone() };
                key.map(|key| VerifyingKey(Verifying::Public(key))).ok_or_else(refused)
            }
            None => SigningKey::parse(text, rule).map(|key| key.verifying()),
        }
    }

    pub(super) fn verifying(&self) -> &Verifying {
        &self.0
    }
}

impl fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("VerifyingKey(***)")
    }
}
