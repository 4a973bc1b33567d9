//! What makes a request recognisable when it is repeated.

use bytes::Bytes;
use postrider_contract::event::Event;
use postrider_contract::ids::EventId;
use postrider_contract::ports::{BegunRequest, IntakeReceipt, KeyName, KeyedRequest};
use sha2::{Digest, Sha256};

/// AMQP short strings hold 255 bytes, and `message_id` is one.
const MAX_KEY: usize = 255;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("must be 1 to {MAX_KEY} visible ASCII characters")]
pub struct InvalidIdempotencyKey;

/// `Idempotency-Key`, or the AMQP `message_id`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct IdempotencyKey(String);

impl IdempotencyKey {
    /// # Errors
    /// When it is empty, too long, or holds anything but visible ASCII.
    pub fn parse(text: &str) -> Result<Self, InvalidIdempotencyKey> {
        let is_valid =
            !text.is_empty() && text.len() <= MAX_KEY && text.bytes().all(|byte| byte.is_ascii_graphic());
        if is_valid { Ok(IdempotencyKey(text.to_owned())) } else { Err(InvalidIdempotencyKey) }
    }

    #[must_use]
    pub fn into_text(self) -> String {
        self.0
    }
}

/// A name under which a request counts once, with the hash by which its repeat is told from another's use of the name.
pub(crate) struct Keyed {
    pub name: KeyName,
    pub body_hash: [u8; 32],
}

/// Those of a request: its event's own id, its key.
pub(crate) fn keys_of(own_id: Option<&EventId>, key: Option<IdempotencyKey>, body: &Bytes) -> Vec<Keyed> {
    let event = own_id.map(|id| KeyName::Event(id.clone()));
    let request = key.map(|key| KeyName::Request(key.into_text()));
    let names = event.into_iter().chain(request);
    names.map(|name| Keyed { name, body_hash: Sha256::digest(body).into() }).collect()
}

/// What a key stands for once this event was begun under it.
pub(crate) fn begun_under(event: &Event, name: &KeyName) -> BegunRequest {
    BegunRequest {
        tenant: event.tenant.clone(),
        name: name.clone(),
        event: event.id.clone(),
        accepted_at: event.accepted_at,
    }
}

/// What a repeat is answered: as the first request was.
pub(crate) fn replayed(request: &KeyedRequest) -> IntakeReceipt {
    let deliveries = request.matches.iter().map(|stored| (stored.delivery, stored.webhook)).collect();
    IntakeReceipt { event: request.event.clone(), deliveries, replayed: true }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_visible_ascii_of_a_length_that_amqp_can_carry() {
        assert!(IdempotencyKey::parse("order-4711/created").is_ok());
        for text in ["", "a b", "é", "\u{0}", &"k".repeat(256)] {
            assert!(IdempotencyKey::parse(text).is_err(), "{text}");
        }
    }
}
