//! What cannot be read is refused with its reason, and what is read is not copied.

use bytes::Bytes;
use postrider_contract::clock::Timestamp;
use postrider_contract::delivery::{FanOut, Work};
use postrider_contract::wire::{
    MAX_MESSAGE, WireError, decode_attempt, decode_journal_batch, decode_work, encode_journal_batch,
    encode_work,
};
use postrider_tests::conformance::samples::{Sample, fan_out};

fn now() -> Timestamp {
    Timestamp::from_millis(1_795_253_400_123)
}

fn sample() -> Bytes {
    encode_work(&Work::Deliver(Sample::numbered(1, now()).delivery()))
}

#[test]
fn an_unknown_version_is_told_before_anything_else_is_read() {
    for (message, version) in [
        (&b"\x08\x02"[..], 2),
        (b"\x08\x02\xff\xff\xff", 2),
        (b"\x08\x00", 0),
        (b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", u64::MAX),
    ] {
        let expected = WireError::UnknownVersion { version };
        let message = Bytes::copy_from_slice(message);
        assert_eq!(decode_work(message.clone()), Err(expected.clone()));
        assert_eq!(decode_journal_batch(message.clone()), Err(expected.clone()));
        assert_eq!(decode_attempt(message), Err(expected));
    }
}

#[test]
fn a_message_without_a_version_is_not_ours() {
    for message in [&b""[..], b"\x12\x00", b"\x10\x01\x08\x01"] {
        let refused = decode_work(Bytes::copy_from_slice(message));
        assert_eq!(refused, Err(WireError::Missing { field: "version" }));
    }
}

#[test]
fn a_message_of_nothing_but_its_version_lacks_its_content() {
    let message = Bytes::from_static(b"\x08\x01");
    assert_eq!(decode_work(message.clone()), Err(WireError::Missing { field: "work" }));
    assert_eq!(decode_attempt(message.clone()), Err(WireError::Missing { field: "attempt" }));
    assert!(decode_journal_batch(message).unwrap().records.is_empty());
}

#[test]
fn a_message_cut_off_anywhere_is_refused() {
    let whole = sample();
    for length in 0..whole.len() {
        assert!(decode_work(whole.slice(..length)).is_err(), "{length} of {}", whole.len());
    }
}

#[test]
fn a_field_that_says_nonsense_is_named() {
    let swap = |from: &[u8], to: &[u8]| {
        let text = sample();
        let place = text.windows(from.len()).position(|window| window == from).unwrap();
        let mut changed = text.to_vec();
        changed[place..place + from.len()].copy_from_slice(to);
        decode_work(changed.into())
    };
    for (from, to, field) in [
        (&b"acme"[..], &b"a.me"[..], "reference.tenant"),
        (b"evt_1", b"evt.1", "reference.event_id"),
        (b"conversion.created", b"conversion..reated", "reference.event_type"),
        (b"standard", b"Standard", "profile"),
    ] {
        let refused = swap(from, to);
        assert!(
            matches!(&refused, Err(WireError::BadValue { field: named, .. }) if *named == field),
            "{refused:?}"
        );
    }
}

#[test]
fn a_fan_out_whose_parts_do_not_fit_is_refused() {
    let bodies = [Bytes::from_static(b"{}"), Bytes::from_static(b"[]")];
    let Work::FanOut(sound) = fan_out(4, bodies, now()) else { panic!("a fan-out") };
    let with =
        |body_of: Vec<u32>| decode_work(encode_work(&Work::FanOut(FanOut { body_of, ..sound.clone() })));
    assert!(with(vec![0, 1, 1, 0]).is_ok());
    for body_of in [vec![0, 1, 0], vec![0, 1, 0, 1, 0], vec![0, 1, 0, 2], vec![0, 0, 0, u32::MAX]] {
        let refused = with(body_of);
        assert!(matches!(refused, Err(WireError::BadValue { field: "body_of", .. })), "{refused:?}");
    }
}

#[test]
fn a_message_of_endless_parts_is_refused_before_memory_is_taken() {
    let refused = |message: Vec<u8>| decode_journal_batch(message.into());
    let records = [b"\x08\x01".to_vec(), b"\x1a\x00".repeat(200_000)].concat();
    assert!(matches!(refused(records), Err(WireError::TooLarge { what: "records", .. })));
    let mut fan_out = b"\x08\x01\x1a".to_vec();
    let deliveries = b"\x0a\x00".repeat(200_000);
    fan_out.extend([0x80, 0xb5, 0x18]);
    fan_out.extend(deliveries);
    let refused = decode_work(fan_out.into());
    assert!(matches!(refused, Err(WireError::TooLarge { what: "fan_out.deliveries", .. })), "{refused:?}");
    let long = Bytes::from(vec![8; MAX_MESSAGE + 1]);
    assert!(matches!(decode_work(long), Err(WireError::TooLarge { what: "the message", .. })));
}

#[test]
fn bodies_are_slices_of_the_message() {
    let is_within = |part: &Bytes, whole: &Bytes| whole.as_ptr_range().contains(&part.as_ptr());
    let body = Bytes::from(vec![b'x'; 100_000]);
    let sample = Sample { body: body.clone(), ..Sample::numbered(1, now()) };
    let message = encode_work(&Work::Deliver(sample.delivery()));
    let Work::Deliver(delivery) = decode_work(message.clone()).unwrap() else { panic!("a delivery") };
    assert!(is_within(&delivery.body, &message));
    let message = encode_work(&fan_out(1000, [body.clone(), Bytes::new()], now()));
    assert!(message.len() < body.len() * 4, "each body is written once");
    let Work::FanOut(read) = decode_work(message.clone()).unwrap() else { panic!("a fan-out") };
    assert!(is_within(&read.bodies[0], &message));
}

#[test]
fn an_empty_batch_is_a_batch() {
    let batch = postrider_contract::journal::JournalBatch { written_at: now(), records: Vec::new() };
    assert_eq!(decode_journal_batch(encode_journal_batch(&batch)), Ok(batch));
}
