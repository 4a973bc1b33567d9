//! Properties of the wire, over all values and over all bytes.

use bytes::Bytes;
use postrider_contract::wire::{
    decode_attempt, decode_journal_batch, decode_matches, decode_work, encode_attempt, encode_journal_batch,
    encode_matches, encode_work,
};
use proptest::prelude::*;

use super::values;

/// All decoders, on the same bytes. Their answers do not matter, only that they come.
fn decode_all(message: &Bytes) {
    drop(decode_work(message.clone()));
    drop(decode_journal_batch(message.clone()));
    drop(decode_attempt(message.clone()));
    drop(decode_matches(message.clone()));
}

/// The same message with a few bytes overwritten: deeper into the decoders than noise alone comes.
fn damaged(message: &Bytes, changes: &[(prop::sample::Index, u8)]) -> Bytes {
    let mut bytes = message.to_vec();
    for (place, value) in changes {
        let index = place.index(bytes.len());
        bytes[index] = *value;
    }
    bytes.into()
}

fn changes() -> impl Strategy<Value = Vec<(prop::sample::Index, u8)>> {
    prop::collection::vec(any::<(prop::sample::Index, u8)>(), 1..6)
}

proptest! {
    #[test]
    fn work_is_read_as_it_was_written(work in values::work()) {
        prop_assert_eq!(decode_work(encode_work(&work)), Ok(work));
    }

    #[test]
    fn a_batch_is_read_as_it_was_written(batch in values::batch()) {
        prop_assert_eq!(decode_journal_batch(encode_journal_batch(&batch)), Ok(batch));
    }

    #[test]
    fn an_attempt_is_read_as_it_was_written(attempt in values::attempt(), outcome in values::outcome()) {
        prop_assert_eq!(decode_attempt(encode_attempt(&attempt, &outcome)), Ok((attempt, outcome)));
    }

    #[test]
    fn matches_are_read_as_they_were_written(matches in prop::collection::vec(values::stored_match(), 0..4)) {
        prop_assert_eq!(decode_matches(encode_matches(&matches)), Ok(matches));
    }

    #[test]
    fn no_bytes_do_harm(noise in prop::collection::vec(any::<u8>(), 0..300)) {
        decode_all(&noise.clone().into());
        decode_all(&[b"\x08\x01".to_vec(), noise].concat().into());
    }

    #[test]
    fn no_damage_does_harm(work in values::work(), batch in values::batch(), changes in changes()) {
        decode_all(&damaged(&encode_work(&work), &changes));
        decode_all(&damaged(&encode_journal_batch(&batch), &changes));
    }
}
