//! Secrets at rest: XChaCha20-Poly1305 under the master key, bound to the ids of what they belong to.
//!
//! The text form is `v1:<key id, 8 hex digits>:<base64 of nonce and ciphertext>`. The ids are associated data, so a
//! sealed secret that is moved to another row does not open there. Nonces are 24 random bytes, enough never to meet.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use postrider_contract::clock::Entropy;
use postrider_contract::secret::{SealedSecret, Secret};
use zeroize::Zeroizing;

use crate::master_key::MasterKey;

const VERSION: &str = "v1";
const NONCE_BYTES: usize = 24;

/// Why a sealed secret does not open.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    #[error("not a sealed secret")]
    Malformed,
    #[error("sealed under master key {sealed_under}, but this process has {ours}")]
    OtherKey { sealed_under: String, ours: String },
    #[error("the sealed secret was changed or belongs to something else")]
    NotAuthentic,
}

/// Seals and opens with one master key.
#[derive(Clone)]
pub struct SecretBox {
    cipher: XChaCha20Poly1305,
    key_id: String,
}

impl SecretBox {
    #[must_use]
    pub fn new(key: &MasterKey) -> Self {
        SecretBox { cipher: XChaCha20Poly1305::new(key.as_bytes().into()), key_id: hex::encode(key.id()) }
    }

    /// Which key this is, 8 hexadecimal digits.
    #[must_use]
    pub fn key_id(&self) -> &str {
        &self.key_id
    }

    /// Seals `secret` for the thing that `ids` name, most general first (tenant, webhook, purpose).
    #[must_use]
    pub fn seal(&self, secret: &Secret, ids: &[&str], entropy: &dyn Entropy) -> SealedSecret {
        let mut nonce = [0_u8; NONCE_BYTES];
        entropy.fill(&mut nonce);
        let payload = Payload { msg: secret.reveal().as_bytes(), aad: &associated(ids) };
        let ciphertext = self
            .cipher
            .encrypt(&XNonce::from(nonce), payload)
            .expect("encryption fails only past 256 GiB, and a secret is at most a request body");
        let mut sealed = nonce.to_vec();
        sealed.extend_from_slice(&ciphertext);
        let text = format!("{VERSION}:{}:{}", self.key_id, STANDARD.encode(sealed));
        SealedSecret::from_sealed_text(text)
    }

    /// Opens what [`SecretBox::seal`] sealed for the same ids.
    ///
    /// # Errors
    /// When it is of another key, was changed, or was sealed for other ids.
    pub fn open(&self, sealed: &SealedSecret, ids: &[&str]) -> Result<Secret, OpenError> {
        let mut parts = sealed.as_str().splitn(3, ':');
        let (Some(VERSION), Some(key_id), Some(encoded)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(OpenError::Malformed);
        };
        if key_id != self.key_id {
            let is_key_id = key_id.len() == 8 && key_id.bytes().all(|byte| byte.is_ascii_hexdigit());
            return Err(if is_key_id {
                OpenError::OtherKey { sealed_under: key_id.to_owned(), ours: self.key_id.clone() }
            } else {
                OpenError::Malformed
            });
        }
        let bytes = STANDARD.decode(encoded).map_err(|_| OpenError::Malformed)?;
        let (nonce, ciphertext) = bytes.split_first_chunk::<NONCE_BYTES>().ok_or(OpenError::Malformed)?;
        let payload = Payload { msg: ciphertext, aad: &associated(ids) };
        let opened =
            self.cipher.decrypt(&XNonce::from(*nonce), payload).map_err(|_| OpenError::NotAuthentic)?;
        let opened = Zeroizing::new(opened);
        let text = std::str::from_utf8(&opened).map_err(|_| OpenError::Malformed)?;
        Ok(Secret::new(text.to_owned()))
    }
}

impl fmt::Debug for SecretBox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretBox(key {})", self.key_id)
    }
}

/// Each id with its length, so that no two lists of ids read the same.
fn associated(ids: &[&str]) -> Vec<u8> {
    let mut data = Vec::from(VERSION.as_bytes());
    for id in ids {
        data.extend_from_slice(&(id.len() as u64).to_be_bytes());
        data.extend_from_slice(id.as_bytes());
    }
    data
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::SystemEntropy;

    fn boxed(byte: &str) -> SecretBox {
        SecretBox::new(&byte.repeat(32).parse().expect("a key"))
    }

    #[test]
    fn a_secret_opens_only_under_its_key_and_ids() {
        let ours = boxed("ab");
        let secret = Secret::new("whsec_s3cret".to_owned());
        let sealed = ours.seal(&secret, &["tnt_a", "wh_1"], &SystemEntropy);
        assert!(sealed.as_str().starts_with(&format!("v1:{}:", ours.key_id())), "{}", sealed.as_str());
        assert_eq!(ours.open(&sealed, &["tnt_a", "wh_1"]).expect("ours").reveal(), "whsec_s3cret");
        for other in [&["tnt_a", "wh_2"][..], &["tnt_awh_1"], &["tnt_a", "wh_1", ""], &[]] {
            assert_eq!(ours.open(&sealed, other), Err(OpenError::NotAuthentic));
        }
        let theirs = boxed("cd").open(&sealed, &["tnt_a", "wh_1"]);
        assert!(matches!(theirs, Err(OpenError::OtherKey { .. })), "{theirs:?}");
    }

    #[test]
    fn the_same_secret_is_never_sealed_alike() {
        let secret = Secret::new("same".to_owned());
        let seal = || boxed("ab").seal(&secret, &[], &SystemEntropy);
        assert_ne!(seal(), seal());
    }

    #[test]
    fn a_changed_or_foreign_text_is_an_error_of_its_own_kind() {
        let ours = boxed("ab");
        let sealed = ours.seal(&Secret::new("x".to_owned()), &["a"], &SystemEntropy);
        let mut bytes = STANDARD.decode(sealed.as_str().rsplit(':').next().expect("a part")).expect("base64");
        *bytes.last_mut().expect("a tag") ^= 1;
        let changed = format!("v1:{}:{}", ours.key_id(), STANDARD.encode(bytes));
        for (text, expected) in [
            (changed, OpenError::NotAuthentic),
            (format!("v1:{}:AAAA", ours.key_id()), OpenError::Malformed),
            ("v2:abababab:AAAA".to_owned(), OpenError::Malformed),
            ("whsec_plain".to_owned(), OpenError::Malformed),
            (String::new(), OpenError::Malformed),
        ] {
            assert_eq!(ours.open(&SealedSecret::from_sealed_text(text), &["a"]), Err(expected));
        }
    }
}
