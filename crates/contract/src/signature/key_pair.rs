//! Ed25519 keys: the private half signs here and leaves this installation never, the public half is for receivers.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use zeroize::Zeroizing;

use crate::clock::Entropy;

/// Of a seed, and of a public key.
const HALF: usize = 32;

/// A private key with its public one.
#[derive(Clone)]
pub struct KeyPair {
    /// Whatever belongs to the seed is worked out once.
    ready: Arc<Ed25519KeyPair>,
    seed: Zeroizing<[u8; HALF]>,
}

impl KeyPair {
    /// A new one.
    #[must_use]
    pub fn draw(entropy: &dyn Entropy) -> Self {
        let mut seed = Zeroizing::new([0; HALF]);
        entropy.fill(&mut *seed);
        KeyPair::of_seed(seed).expect("every 32 bytes are the seed of a key")
    }

    /// From the seed, or from seed and public key, which must belong together. `None` if it is neither.
    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let seed = Zeroizing::new(bytes.get(..HALF)?.try_into().ok()?);
        let pair = KeyPair::of_seed(seed)?;
        let public = &bytes[HALF..];
        (public.is_empty() || *public == *pair.public()).then_some(pair)
    }

    fn of_seed(seed: Zeroizing<[u8; HALF]>) -> Option<Self> {
        let ready = Ed25519KeyPair::from_seed_unchecked(&*seed).ok()?;
        Some(KeyPair { ready: Arc::new(ready), seed })
    }

    /// Appends seed and public key in base64, as a secret's text holds them.
    pub(crate) fn write(&self, text: &mut String) {
        let both = Zeroizing::new([&self.seed[..], self.public()].concat());
        STANDARD.encode_string(&*both, text);
    }

    pub(super) fn public(&self) -> &[u8] {
        self.ready.public_key().as_ref()
    }

    pub(super) fn sign(&self, message: &[u8]) -> Vec<u8> {
        self.ready.sign(message).as_ref().to_vec()
    }
}

/// The public half, as receivers know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey([u8; HALF]);

impl PublicKey {
    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(PublicKey)
    }

    pub(super) fn has_signed(&self, message: &[u8], signature: &[u8]) -> bool {
        UnparsedPublicKey::new(&ED25519, self.0).verify(message, signature).is_ok()
    }
}
