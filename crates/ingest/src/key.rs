//! Idempotency keys as producers give them.

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
