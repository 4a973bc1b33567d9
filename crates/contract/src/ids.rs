//! Identifiers. Those we make are 128 bits, written as a prefix and 26 base-32 digits, and sort by time.
//!
//! * [`WebhookId`], [`KeyId`], [`AttemptId`]: 48 bits of milliseconds, then 80 bits of chance.
//! * [`DeliveryId`]: the accept time, then 80 bits of hash of (event, webhook, replay number), so every repeat
//!   of the same work makes the same id, and the id alone tells the day under which the delivery is kept.
//! * [`TenantId`] and [`EventId`] are text, since a tenant or a producer may bring its own.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest, Sha256};

use crate::clock::{Entropy, Timestamp};

const DIGITS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
const DIGIT_COUNT: usize = 26;
const RANDOM_BITS: u32 = 80;
const MAX_TENANT_ID: usize = 64;
const MAX_EVENT_ID: usize = 128;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidId {
    #[error("not an id: expected {prefix} followed by 26 characters")]
    Form { prefix: &'static str },
    #[error("must be 1 to {max} characters long")]
    Length { max: usize },
    #[error("may hold letters, digits and {allowed} only")]
    Character { allowed: &'static str },
}

fn encode(value: u128) -> [u8; DIGIT_COUNT] {
    let mut text = [0_u8; DIGIT_COUNT];
    let mut rest = value;
    for digit in text.iter_mut().rev() {
        *digit = DIGITS[(rest & 31) as usize];
        rest >>= 5;
    }
    text
}

fn decode(text: &str) -> Option<u128> {
    // 26 digits hold 130 bits: the first may only be 0 to 7.
    if text.len() != DIGIT_COUNT || !(b'0'..=b'7').contains(&text.as_bytes()[0]) {
        return None;
    }
    text.bytes().try_fold(0_u128, |value, byte| {
        let digit = DIGITS.iter().position(|known| *known == byte)?;
        Some(value << 5 | digit as u128)
    })
}

fn stamped(at: Timestamp, low: u128) -> u128 {
    let millis = u128::from(at.as_millis().max(0).unsigned_abs() & 0xffff_ffff_ffff);
    millis << RANDOM_BITS | (low & ((1 << RANDOM_BITS) - 1))
}

fn drawn(at: Timestamp, entropy: &dyn Entropy) -> u128 {
    let mut bytes = [0_u8; 16];
    entropy.fill(&mut bytes[6..]);
    stamped(at, u128::from_be_bytes(bytes))
}

fn hashed(parts: &[&[u8]]) -> u128 {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    let digest = hash.finalize();
    let mut bytes = [0_u8; 16];
    bytes.copy_from_slice(&digest[..16]);
    u128::from_be_bytes(bytes)
}

macro_rules! numeric_id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(u128);

        impl $name {
            pub const PREFIX: &'static str = $prefix;

            #[must_use]
            pub const fn from_u128(value: u128) -> Self {
                Self(value)
            }

            #[must_use]
            pub const fn as_u128(self) -> u128 {
                self.0
            }

            /// The time the id was made at (for a delivery, the time its event was accepted).
            #[must_use]
            pub fn time(self) -> Timestamp {
                Timestamp::from_millis(i64::try_from(self.0 >> RANDOM_BITS).unwrap_or(i64::MAX))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str($prefix)?;
                f.write_str(std::str::from_utf8(&encode(self.0)).map_err(|_| fmt::Error)?)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                text.strip_prefix($prefix).and_then(decode).map(Self).ok_or(InvalidId::Form { prefix: $prefix })
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

numeric_id!(
    /// A webhook: a subscription of one tenant.
    WebhookId, "wh_"
);
numeric_id!(
    /// An API key. The key's own text is a secret; this id is not.
    KeyId, "key_"
);
numeric_id!(
    /// One event on its way to one webhook (and one replay of it, if replayed).
    DeliveryId, "dlv_"
);
numeric_id!(
    /// One real HTTP call. Its time is the moment the call began.
    AttemptId, "att_"
);

impl WebhookId {
    pub fn draw(now: Timestamp, entropy: &dyn Entropy) -> Self {
        Self(drawn(now, entropy))
    }
}

impl KeyId {
    pub fn draw(now: Timestamp, entropy: &dyn Entropy) -> Self {
        Self(drawn(now, entropy))
    }
}

impl AttemptId {
    pub fn draw(started_at: Timestamp, entropy: &dyn Entropy) -> Self {
        Self(drawn(started_at, entropy))
    }
}

impl DeliveryId {
    /// `accepted_at` is the event's accept time, or for a replay the replay's own.
    #[must_use]
    pub fn derive(accepted_at: Timestamp, event: &EventId, webhook: WebhookId, replay: u32) -> Self {
        let parts: [&[u8]; 3] = [event.as_str().as_bytes(), &webhook.0.to_be_bytes(), &replay.to_be_bytes()];
        Self(stamped(accepted_at, hashed(&parts)))
    }
}

/// An id of (event × webhook) by which receivers drop duplicates: the same on every try and replay.
/// It is written `wh_…`, as receivers that know it expect.
#[must_use]
pub fn duplicate_key(event: &EventId, webhook: WebhookId) -> String {
    let value = hashed(&[b"duplicate-key", event.as_str().as_bytes(), &webhook.0.to_be_bytes()]);
    let digits = encode(value);
    let mut text = String::with_capacity(3 + DIGIT_COUNT);
    text.push_str("wh_");
    text.extend(digits.iter().map(|digit| char::from(*digit)));
    text
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal, $max:ident, $allowed:literal, $is_allowed:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            pub fn draw(now: Timestamp, entropy: &dyn Entropy) -> Self {
                let digits = encode(drawn(now, entropy));
                let mut text = String::with_capacity($prefix.len() + DIGIT_COUNT);
                text.push_str($prefix);
                text.extend(digits.iter().map(|digit| char::from(*digit)));
                Self(text.into())
            }

            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                if text.is_empty() || text.len() > $max {
                    return Err(InvalidId::Length { max: $max });
                }
                let is_allowed: fn(u8) -> bool = $is_allowed;
                if text.bytes().all(is_allowed) {
                    Ok(Self(text.into()))
                } else {
                    Err(InvalidId::Character { allowed: $allowed })
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

text_id!(
    /// A tenant, which is one brand. It is also a routing key, so it holds neither dots nor wildcards.
    TenantId, "tnt_", MAX_TENANT_ID, "- _", |byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')
);
text_id!(
    /// An event, unique within its tenant. Never holds a dot: `id.timestamp.body` is signed, and a dot
    /// in the id would make two different messages sign alike.
    EventId, "evt_", MAX_EVENT_ID, "- _ :",
    |byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b':')
);

impl TenantId {
    /// The reserved tenant under which events for the installation's operator are published.
    #[must_use]
    pub fn operator() -> Self {
        Self("operator".into())
    }

    /// The tenant as a URI reference, for contracts that name their source by one: `/tenants/acme`. None of its
    /// characters needs encoding, in a URI or in a header.
    #[must_use]
    pub fn uri_reference(&self) -> String {
        format!("/tenants/{self}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Counting;

    impl Entropy for Counting {
        fn fill(&self, bytes: &mut [u8]) {
            for (value, byte) in bytes.iter_mut().enumerate() {
                *byte = u8::try_from(value).unwrap_or(255);
            }
        }
    }

    #[test]
    fn an_id_is_read_back_as_it_was_written_and_sorts_by_time() {
        let early = WebhookId::draw(Timestamp::from_millis(1_000), &Counting);
        let late = WebhookId::draw(Timestamp::from_millis(2_000_000_000_000), &Counting);
        assert_eq!(early.to_string().parse(), Ok(early));
        assert_eq!(late.time(), Timestamp::from_millis(2_000_000_000_000));
        assert!(early < late && early.to_string() < late.to_string());
        assert_eq!(late.to_string().len(), "wh_".len() + 26);
    }

    #[test]
    fn the_same_work_makes_the_same_delivery_id_and_a_replay_another() {
        let event: EventId = "evt_1".parse().expect("an id");
        let webhook = WebhookId::from_u128(7);
        let at = Timestamp::from_millis(1_795_253_400_123);
        let id = DeliveryId::derive(at, &event, webhook, 0);
        assert_eq!(id, DeliveryId::derive(at, &event, webhook, 0));
        assert_ne!(id, DeliveryId::derive(at, &event, webhook, 1));
        assert_ne!(id, DeliveryId::derive(at, &event, WebhookId::from_u128(8), 0));
        assert_eq!(id.time(), at);
    }

    #[test]
    fn what_is_not_an_id_is_refused() {
        for text in [
            "",
            "wh_",
            "dlv_00000000000000000000000000",
            "wh_80000000000000000000000000",
            "wh_0000000000000000000000000I",
        ] {
            assert!(text.parse::<WebhookId>().is_err(), "{text}");
        }
        for text in ["", "a.b", "é", "a b", &"x".repeat(129)] {
            assert!(text.parse::<EventId>().is_err(), "{text}");
        }
        for text in ["", "a.b", "a*", "#", &"x".repeat(65)] {
            assert!(text.parse::<TenantId>().is_err(), "{text}");
        }
    }
}
