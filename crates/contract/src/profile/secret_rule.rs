//! How a webhook of a profile comes by its secret, and what a secret is there.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::clock::Entropy;
use crate::secret::Secret;
use crate::signature::KeyPair;

/// What an absent secret means, and which ones are accepted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SecretRule {
    pub origin: SecretOrigin,
    #[serde(default)]
    pub form: SecretForm,
    /// What a generated secret's text begins with; in every form but `text` not part of the key, and an imported
    /// secret may come without it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub prefix: String,
    /// Where a secret may be an Ed25519 key in place of a shared one: what such a secret begins with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_pair_prefix: Option<String>,
    /// What the public half of an Ed25519 key is shown with.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub public_key_prefix: String,
    /// How many random bytes a generated secret holds.
    #[serde(default = "generated_bytes")]
    pub generated_bytes: usize,
    /// Of the key, imported ones too.
    #[serde(default = "one")]
    pub minimum_bytes: usize,
    #[serde(default = "most_bytes")]
    pub maximum_bytes: usize,
}

/// No scheme has a use for a longer key; a longer one is a file pasted by mistake.
pub(super) const MAX_SECRET_BYTES: usize = 1024;

const fn one() -> usize {
    1
}

const fn generated_bytes() -> usize {
    32
}

const fn most_bytes() -> usize {
    MAX_SECRET_BYTES
}

/// What happens when a webhook is made without a secret. One may be brought along in any case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SecretOrigin {
    /// One is made, and shown once.
    Generated,
    /// Its requests go unsigned.
    Optional,
    /// It is refused.
    Required,
}

/// How a secret's text becomes the key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SecretForm {
    /// The key is the text's UTF-8 bytes, prefix and all.
    #[default]
    Text,
    /// After the prefix the key follows in canonical base64: standard alphabet, padded, no stray bits.
    Base64,
    /// After the prefix the key follows in hexadecimal.
    Hex,
    /// After the prefix follows the base64 of an Ed25519 key: its seed, or seed and public key together.
    Ed25519,
}

impl SecretRule {
    /// A new secret of this form: the prefix, then random bytes in base64 or, in a text, in hexadecimal; or a key pair.
    #[must_use]
    pub fn generate(&self, entropy: &dyn Entropy) -> Secret {
        let mut text = self.prefix.clone();
        match self.form {
            SecretForm::Text | SecretForm::Hex => {
                text.push_str(&Zeroizing::new(hex::encode(&*self.random(entropy))));
            }
            SecretForm::Base64 => STANDARD.encode_string(&*self.random(entropy), &mut text),
            SecretForm::Ed25519 => STANDARD.encode_string(&*KeyPair::draw(entropy), &mut text),
        }
        Secret::new(text)
    }

    /// A new secret that is an Ed25519 key; `None` where the profile has no place for one.
    #[must_use]
    pub fn generate_key_pair(&self, entropy: &dyn Entropy) -> Option<Secret> {
        let mut text = match self.form {
            SecretForm::Ed25519 => self.prefix.clone(),
            SecretForm::Text | SecretForm::Base64 | SecretForm::Hex => self.key_pair_prefix.clone()?,
        };
        STANDARD.encode_string(&*KeyPair::draw(entropy), &mut text);
        Some(Secret::new(text))
    }

    fn random(&self, entropy: &dyn Entropy) -> Zeroizing<Vec<u8>> {
        let mut bytes = Zeroizing::new(vec![0_u8; self.generated_bytes]);
        entropy.fill(&mut bytes);
        bytes
    }
}
