//! What is checked before anything is decoded: the version, the length, and how many parts the lists have. A part
//! of two bytes becomes a value of some hundred, so a list is counted before memory is taken for it.

use bytes::Buf;
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};

use super::{MAX_MESSAGE, VERSION, WireError};

/// Of any one list in a message. Above the webhooks of a tenant, the records of a batch and the headers of an answer.
const MAX_PARTS: usize = 100_000;

/// Length and version, in this order. The version is the first field of every message.
pub(super) fn check_message(message: &[u8]) -> Result<(), WireError> {
    if message.len() > MAX_MESSAGE {
        return Err(WireError::TooLarge { what: "the message", limit: MAX_MESSAGE });
    }
    let mut rest = message;
    if !rest.has_remaining() {
        return Err(WireError::Missing { field: "version" });
    }
    if decode_key(&mut rest)? != (1, WireType::Varint) {
        return Err(WireError::Missing { field: "version" });
    }
    match decode_varint(&mut rest)? {
        version if version == u64::from(VERSION) => Ok(()),
        version => Err(WireError::UnknownVersion { version }),
    }
}

/// `path` is the field numbers that lead to the list.
pub(super) fn check_list(message: &[u8], what: &'static str, path: &[u32]) -> Result<(), WireError> {
    let mut found = 0;
    count(message, path, &mut found)?;
    if found > MAX_PARTS { Err(WireError::TooLarge { what, limit: MAX_PARTS }) } else { Ok(()) }
}

/// Goes no deeper than `path` is long.
fn count(mut rest: &[u8], path: &[u32], found: &mut usize) -> Result<(), WireError> {
    let Some((number, below)) = path.split_first() else {
        *found = found.saturating_add(1);
        return Ok(());
    };
    while rest.has_remaining() {
        let (tag, wire_type) = decode_key(&mut rest)?;
        if tag != *number || wire_type != WireType::LengthDelimited {
            skip_field(wire_type, tag, &mut rest, DecodeContext::default())?;
            continue;
        }
        let length = usize::try_from(decode_varint(&mut rest)?).unwrap_or(usize::MAX);
        let Some((part, after)) = rest.split_at_checked(length) else {
            return Err(WireError::Malformed { reason: "a part ends after the message".to_owned() });
        };
        count(part, below, found)?;
        rest = after;
    }
    Ok(())
}
