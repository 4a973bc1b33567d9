//! The hash functions under signatures. What is old and broken among them is for old receivers alone.

use md5::{Digest, Md5};
use ring::{digest, hmac};

use crate::profile::Algorithm;

/// Takes the signed bytes, piece by piece.
pub(super) type Sink<'a> = &'a mut dyn FnMut(&[u8]);

/// The signature by a secret that both sides know; `None` where the algorithm takes none.
pub(super) fn keyed_sum(algorithm: Algorithm, key: &[u8], feed: impl FnOnce(Sink<'_>)) -> Option<Vec<u8>> {
    match algorithm {
        Algorithm::HmacSha256 => Some(hmac_of(hmac::HMAC_SHA256, key, feed)),
        Algorithm::HmacSha512 => Some(hmac_of(hmac::HMAC_SHA512, key, feed)),
        Algorithm::HmacSha1 => Some(hmac_of(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, key, feed)),
        Algorithm::Ed25519 => None,
        Algorithm::Sha256 => Some(hash_of(&digest::SHA256, feed)),
        Algorithm::Sha512 => Some(hash_of(&digest::SHA512, feed)),
        Algorithm::Sha1 => Some(hash_of(&digest::SHA1_FOR_LEGACY_USE_ONLY, feed)),
        Algorithm::Md5 => {
            let mut hash = Md5::new();
            feed(&mut |bytes| hash.update(bytes));
            Some(hash.finalize().to_vec())
        }
    }
}

fn hmac_of(algorithm: hmac::Algorithm, key: &[u8], feed: impl FnOnce(Sink<'_>)) -> Vec<u8> {
    let mut context = hmac::Context::with_key(&hmac::Key::new(algorithm, key));
    feed(&mut |bytes| context.update(bytes));
    context.sign().as_ref().to_vec()
}

fn hash_of(algorithm: &'static digest::Algorithm, feed: impl FnOnce(Sink<'_>)) -> Vec<u8> {
    let mut context = digest::Context::new(algorithm);
    feed(&mut |bytes| context.update(bytes));
    context.finish().as_ref().to_vec()
}
