//! A signing key: a secret, read once, ready to sign.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

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
}

/// The bytes that sign. Wiped when dropped, masked when printed.
#[derive(Clone, PartialEq, Eq)]
pub struct SigningKey(Zeroizing<Vec<u8>>);

impl SigningKey {
    /// Reads a secret as its profile's rule says.
    ///
    /// # Errors
    /// When it is empty, too short or too long, or not in canonical base64 where that is its form. Nothing is
    /// trimmed: a key that differs from the receiver's by a line feed would fail at every delivery.
    pub fn parse(text: &str, rule: &SecretRule) -> Result<Self, InvalidSecret> {
        if text.is_empty() {
            return Err(InvalidSecret::Empty);
        }
        let bytes = match rule.form {
            SecretForm::Text => text.as_bytes().to_vec(),
            SecretForm::Base64 => {
                let digits = text.strip_prefix(&rule.prefix).unwrap_or(text);
                let refused = |_| InvalidSecret::NotBase64 { prefix: rule.prefix.clone() };
                // This engine takes the standard alphabet only, wants padding, and refuses stray bits.
                STANDARD.decode(digits).map_err(refused)?
            }
        };
        let key = SigningKey(Zeroizing::new(bytes));
        if key.0.len() < rule.minimum_bytes {
            return Err(InvalidSecret::TooShort { minimum: rule.minimum_bytes });
        }
        if key.0.len() > rule.maximum_bytes {
            return Err(InvalidSecret::TooLong { maximum: rule.maximum_bytes });
        }
        Ok(key)
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }

    #[cfg(test)]
    pub(super) fn from_bytes(bytes: Vec<u8>) -> Self {
        SigningKey(Zeroizing::new(bytes))
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningKey(***)")
    }
}
