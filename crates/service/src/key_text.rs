//! The text of an API key: `prk_` (a tenant's) or `pra_` (the admin's), 192 random bits, a checksum.
//!
//! The prefix lets secret scanners find leaked keys; the checksum tells a typing error, or a guess, from an
//! unknown key without asking the store.

use postrider_contract::clock::Entropy;
use postrider_contract::secret::Secret;
use sha2::{Digest, Sha256};

const TENANT_PREFIX: &str = "prk_";
const ADMIN_PREFIX: &str = "pra_";
const RANDOM_BYTES: usize = 24;
const CHECKSUM_DIGITS: usize = 8;
/// How much of a key is shown afterwards, for its owner to tell it from others: prefix and six digits.
const HINT: usize = 10;

/// Whose key a text claims to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyHolder {
    Tenant,
    Admin,
}

/// Makes a new key.
#[must_use]
pub fn draw_key(holder: KeyHolder, entropy: &dyn Entropy) -> Secret {
    let prefix = match holder {
        KeyHolder::Tenant => TENANT_PREFIX,
        KeyHolder::Admin => ADMIN_PREFIX,
    };
    let mut random = [0_u8; RANDOM_BYTES];
    entropy.fill(&mut random);
    let body = format!("{prefix}{}", hex::encode(random));
    let checksum = checksum(&body);
    Secret::new(body + &checksum)
}

/// True if the text is a key that we could have made: prefix, length and checksum.
#[must_use]
pub fn is_tenant_key(text: &str) -> bool {
    let has_length = text.len() == TENANT_PREFIX.len() + 2 * RANDOM_BYTES + CHECKSUM_DIGITS;
    if !has_length || !text.starts_with(TENANT_PREFIX) || !text.is_ascii() {
        return false;
    }
    let (body, given) = text.split_at(text.len() - CHECKSUM_DIGITS);
    checksum(body) == given
}

/// The part of a key that may be shown.
#[must_use]
pub fn key_hint(key: &Secret) -> String {
    let shown: String = key.reveal().chars().take(HINT).collect();
    format!("{shown}…")
}

fn checksum(body: &str) -> String {
    hex::encode(&Sha256::digest(body.as_bytes())[..CHECKSUM_DIGITS / 2])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::SystemEntropy;

    #[test]
    fn a_drawn_key_is_told_from_a_mistyped_one() {
        let key = draw_key(KeyHolder::Tenant, &SystemEntropy);
        assert!(is_tenant_key(key.reveal()));
        assert!(!is_tenant_key(&key.reveal().replace("prk_", "pra_")));
        assert!(!is_tenant_key(&key.reveal()[..key.reveal().len() - 1]));
        let last = if key.reveal().ends_with('0') { "1" } else { "0" };
        assert!(!is_tenant_key(&format!("{}{last}", &key.reveal()[..key.reveal().len() - 1])));
        assert!(!is_tenant_key(draw_key(KeyHolder::Admin, &SystemEntropy).reveal()));
    }

    #[test]
    fn only_the_beginning_of_a_key_is_shown() {
        let key = draw_key(KeyHolder::Tenant, &SystemEntropy);
        assert_eq!(key_hint(&key).chars().count(), HINT + 1);
    }
}
