//! Ed25519 keys: the private half signs here and leaves this installation never, the public half is for receivers.

use std::sync::Arc;

use ring::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use zeroize::Zeroizing;

use crate::clock::Entropy;

/// Of a seed, and of a public key.
const HALF: usize = 32;

/// A private key with its public one: whatever belongs to the seed is worked out once, and the seed itself not kept.
#[derive(Clone)]
pub struct KeyPair(Arc<Ed25519KeyPair>);

impl KeyPair {
    /// Seed and public key of a new one, as a secret's text holds them in base64.
    pub(crate) fn draw(entropy: &dyn Entropy) -> Zeroizing<Vec<u8>> {
        // Room for both from the start: nothing of it is copied to another place, and left behind where it was.
        let mut both = Zeroizing::new(Vec::with_capacity(2 * HALF));
        both.resize(HALF, 0);
        entropy.fill(&mut both);
        let pair = KeyPair::of_seed(&both).expect("every 32 bytes are the seed of a key");
        both.extend_from_slice(pair.public());
        both
    }

    /// From the seed, or from seed and public key, which must belong together. `None` if it is neither.
    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let pair = KeyPair::of_seed(bytes.get(..HALF)?)?;
        let public = &bytes[HALF..];
        (public.is_empty() || *public == *pair.public()).then_some(pair)
    }

    fn of_seed(seed: &[u8]) -> Option<Self> {
        Some(KeyPair(Arc::new(Ed25519KeyPair::from_seed_unchecked(seed).ok()?)))
    }

    pub(super) fn public(&self) -> &[u8] {
        self.0.public_key().as_ref()
    }

    pub(super) fn sign(&self, message: &[u8]) -> Vec<u8> {
        self.0.sign(message).as_ref().to_vec()
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
