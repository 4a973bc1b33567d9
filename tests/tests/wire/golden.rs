//! Golden samples: messages as they were first written. A sample is never edited or replaced; a change of the format
//! that cannot read one breaks what waits in somebody's queue.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use postrider_contract::attempt::{
    Attempt, AttemptResult, BodyExtent, FailureClass, Header, Phase, Response, SentRequest, Timings,
};
use postrider_contract::clock::Timestamp;
use postrider_contract::delivery::{
    AttemptNumber, Check, Delivery, DeliveryRef, FanOut, Origin, Position, Query, RenderedWith, TooLong, Work,
};
use postrider_contract::event::{Event, SchemaVersion};
use postrider_contract::ids::{AttemptId, DeliveryId, WebhookId};
use postrider_contract::journal::{
    AcceptedRecord, AttemptedRecord, ConcludedRecord, Conclusion, DeferredRecord, ExpectedDelivery,
    HeldRecord, JournalBatch, JournalRecord, ReleasedRecord,
};
use postrider_contract::json::RawObject;
use postrider_contract::outcome::{CancelReason, Cause, FailureReason, HoldReason, Outcome};
use postrider_contract::ports::StoredMatch;
use postrider_contract::revision::Revision;
use postrider_contract::webhook::WebhookKind;
use postrider_contract::wire::{
    decode_attempt, decode_journal_batch, decode_matches, decode_work, encode_attempt, encode_journal_batch,
    encode_matches, encode_work,
};

const ACCEPTED_AT: i64 = 1_795_253_400_123;

fn at(millis_later: i64) -> Timestamp {
    Timestamp::from_millis(ACCEPTED_AT + millis_later)
}

fn reference() -> DeliveryRef {
    DeliveryRef {
        id: DeliveryId::from_u128(0x01a1_fe0c_2a7b_0102_0304_0506_0708_090a),
        tenant: "acme".parse().expect("it is valid"),
        event_id: "evt_1".parse().expect("it is valid"),
        event_type: "conversion.created".parse().expect("it is valid"),
        webhook: WebhookId::from_u128(0x01a1_fe0c_0000_1112_1314_1516_1718_191a),
        kind: WebhookKind::Webhook,
        accepted_at: at(0),
        replay: 0,
    }
}

fn rendered_with() -> RenderedWith {
    RenderedWith {
        webhook: Revision::from_number(12),
        profile: Revision::from_number(3),
        tenant: Revision::from_number(u64::MAX),
    }
}

fn delivery() -> Delivery {
    Delivery {
        reference: reference(),
        position: Position::START,
        origin: Origin::Producer,
        check: Check::Fresh,
        due_at: at(0),
        parked_for: Duration::ZERO,
        profile: "trcker".parse().expect("it is valid"),
        rendered_with: rendered_with(),
        schema_version: SchemaVersion { major: 1, minor: 0 },
        event_timestamp: at(-5000),
        query: Query::OfUrl,
        body: Bytes::from_static(b"{\"id\": 12345678901234567890123}"),
    }
}

fn number(number: u32) -> AttemptNumber {
    AttemptNumber::from_number(number).expect("it is valid")
}

fn retried() -> Delivery {
    Delivery {
        reference: DeliveryRef { kind: WebhookKind::Postback, replay: 2, ..reference() },
        position: Position { attempt: number(3), holds: 1, deferrals: 4 },
        origin: Origin::Operator,
        check: Check::LookUp,
        due_at: at(30_000),
        parked_for: Duration::from_millis(30_000),
        body: Bytes::new(),
        ..delivery()
    }
}

fn postback(query: Query) -> Delivery {
    Delivery {
        reference: DeliveryRef { kind: WebhookKind::Postback, ..reference() },
        query,
        body: Bytes::new(),
        ..delivery()
    }
}

fn fan_out() -> FanOut {
    let bodiless = |webhook: u128| Delivery {
        reference: DeliveryRef { webhook: WebhookId::from_u128(webhook), ..reference() },
        body: Bytes::new(),
        ..delivery()
    };
    FanOut {
        deliveries: vec![bodiless(1), bodiless(2), bodiless(u128::MAX)],
        bodies: vec![Bytes::from_static(b"{\"a\":1}"), Bytes::from_static(b"{ \"a\": 1 }")],
        body_of: vec![0, 1, 0],
    }
}

fn header(name: &str, value: &'static [u8]) -> Header {
    Header { name: name.into(), value: Bytes::from_static(value) }
}

fn answered() -> Attempt {
    Attempt {
        id: AttemptId::from_u128(0x01a1_fe0c_2a80_2122_2324_2526_2728_292a),
        number: number(1),
        started_at: at(5),
        request: SentRequest {
            method: "POST".to_owned(),
            url: "https://hooks.example.com/in?a=b".to_owned(),
            headers: vec![header("Content-Type", b"application/json"), header("X-Empty", b"")],
            body_sha256: [0xab; 32],
            body_length: 31,
        },
        address: Some(SocketAddr::from(([203, 0, 113, 9], 443))),
        timings: Timings {
            dns: Some(Duration::ZERO),
            connect: Some(Duration::from_millis(12)),
            tls: Some(Duration::from_millis(30)),
            first_byte: Some(Duration::from_millis(41)),
            total: Duration::from_millis(42),
        },
        result: AttemptResult::Response(Response {
            status: 503,
            headers: vec![header("Server", b"caf\xe9")],
            body: Bytes::from_static(b"\x00\xff not text"),
            extent: BodyExtent::Truncated,
        }),
    }
}

fn failed() -> Attempt {
    let class = FailureClass::Timeout(Phase::Tls);
    Attempt {
        number: number(2),
        address: Some(SocketAddr::from(([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1], 8443))),
        timings: Timings { total: Duration::from_secs(10), ..Timings::default() },
        result: AttemptResult::Failure { class, detail: "no TLS session in time".to_owned() },
        ..answered()
    }
}

fn retry(cause: Cause) -> Outcome {
    Outcome::Retry { at: at(60_000), cause }
}

fn event() -> Event {
    Event {
        id: "evt_1".parse().expect("it is valid"),
        tenant: "acme".parse().expect("it is valid"),
        event_type: "conversion.created".parse().expect("it is valid"),
        schema_version: SchemaVersion { major: 2, minor: 7 },
        timestamp: at(-5000),
        accepted_at: at(0),
        data: RawObject::from_stored(Bytes::from_static(
            b"{ \"n\": 12345678901234567890123, \"a\":1, \"a\": 2 }",
        )),
        summary: Some(String::new()),
        workflow: Some(RawObject::from_stored(Bytes::from_static(b"{\"name\":\"spring\"}"))),
    }
}

fn accepted() -> AcceptedRecord {
    let expected = |held| ExpectedDelivery {
        id: reference().id,
        webhook: reference().webhook,
        kind: WebhookKind::Webhook,
        profile: "trcker".parse().expect("it is valid"),
        rendered_with: rendered_with(),
        held,
    };
    AcceptedRecord {
        event: event(),
        origin: Origin::Test,
        deliveries: vec![expected(None), expected(Some(HoldReason::RateLimited))],
    }
}

fn attempted(attempt: Attempt, outcome: Outcome) -> JournalRecord {
    let position = Position { attempt: attempt.number, holds: 0, deferrals: 1 };
    JournalRecord::Attempted(AttemptedRecord { delivery: reference(), position, attempt, outcome })
}

fn concluded(conclusion: Conclusion) -> JournalRecord {
    JournalRecord::Concluded(ConcludedRecord { delivery: reference(), conclusion, at: at(-ACCEPTED_AT - 1) })
}

fn batch() -> JournalBatch {
    let exhausted = Outcome::Failed { reason: FailureReason::Exhausted, cause: Some(Cause::Status(500)) };
    let internal = Outcome::Failed { reason: FailureReason::Internal, cause: None };
    let unwanted = Event { summary: None, workflow: None, ..event() };
    let records = vec![
        JournalRecord::Accepted(accepted()),
        JournalRecord::Accepted(AcceptedRecord {
            event: unwanted,
            origin: Origin::Producer,
            deliveries: Vec::new(),
        }),
        attempted(answered(), retry(Cause::Status(503))),
        attempted(failed(), retry(Cause::Failure(FailureClass::Blocked))),
        attempted(Attempt { address: None, ..answered() }, Outcome::Delivered),
        attempted(answered(), exhausted),
        attempted(answered(), internal),
        attempted(answered(), Outcome::Held { why: HoldReason::Overflow }),
        attempted(answered(), Outcome::Canceled { reason: CancelReason::Skipped }),
        attempted(answered(), Outcome::Expired),
        JournalRecord::Held(HeldRecord { delivery: retried(), why: HoldReason::Paused, since: at(9) }),
        JournalRecord::Deferred(DeferredRecord {
            delivery: reference(),
            position: retried().position,
            due_at: Timestamp::LATEST,
        }),
        JournalRecord::Released(ReleasedRecord {
            delivery: reference(),
            position: Position::START,
            released_at: at(10),
        }),
        concluded(Conclusion::Failed(FailureReason::Permanent)),
        concluded(Conclusion::Canceled(CancelReason::Superseded)),
        concluded(Conclusion::Expired),
    ];
    JournalBatch { written_at: at(1), records: records.into_iter().map(Arc::new).collect() }
}

fn matches() -> Vec<StoredMatch> {
    let stored = |number: u128| StoredMatch {
        delivery: DeliveryId::from_u128(number),
        webhook: WebhookId::from_u128(u128::MAX - number),
        profile: "standard".parse().expect("it is valid"),
        rendered_with: rendered_with(),
    };
    vec![stored(1), stored(2)]
}

fn path(name: &str) -> PathBuf {
    PathBuf::from(super::PROTO).join("golden/v1").join(name)
}

/// The sample as it was first written. For a new one, `written` is put where it can be taken from.
fn sample(name: &str, written: &Bytes) -> Bytes {
    let read = fs::read(path(name));
    if read.is_err() {
        let draft = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::write(draft, written).expect("it is valid");
    }
    read.expect("a sample is missing; if the message is new, the build's folder for tests has its draft")
        .into()
}

fn works() -> [(&'static str, Work); 5] {
    [
        ("work-deliver.bin", Work::Deliver(delivery())),
        ("work-deliver-again.bin", Work::Deliver(retried())),
        ("work-fan-out.bin", Work::FanOut(fan_out())),
        (
            "work-postback.bin",
            Work::Deliver(postback(Query::Filled(Bytes::from_static(
                b"cid=a%20b&n=12345678901234567890123",
            )))),
        ),
        ("work-postback-too-long.bin", Work::Deliver(postback(Query::TooLong(TooLong::Form)))),
    ]
}

fn attempts() -> [(&'static str, Attempt, Outcome); 2] {
    [
        ("attempt-answered.bin", answered(), retry(Cause::Status(503))),
        ("attempt-failed.bin", failed(), retry(Cause::Failure(FailureClass::Timeout(Phase::Tls)))),
    ]
}

#[test]
fn every_work_sample_is_read_and_written_as_ever() {
    for (name, work) in works() {
        let written = encode_work(&work);
        let sample = sample(name, &written);
        assert_eq!(written, sample, "{name}");
        assert_eq!(decode_work(sample), Ok(work), "{name}");
    }
}

#[test]
fn every_journal_sample_is_read_and_written_as_ever() {
    let written = encode_journal_batch(&batch());
    let sample = sample("journal-batch.bin", &written);
    assert_eq!(written, sample);
    assert_eq!(decode_journal_batch(sample), Ok(batch()));
}

#[test]
fn every_stored_sample_is_read_and_written_as_ever() {
    for (name, attempt, outcome) in attempts() {
        let written = encode_attempt(&attempt, &outcome);
        let sample = sample(name, &written);
        assert_eq!(written, sample, "{name}");
        assert_eq!(decode_attempt(sample), Ok((attempt, outcome)), "{name}");
    }
    let written = encode_matches(&matches());
    let sample = sample("matches.bin", &written);
    assert_eq!(written, sample);
    assert_eq!(decode_matches(sample), Ok(matches()));
}

#[test]
fn every_sample_in_the_folder_is_tested() {
    let mut names: Vec<String> = works().iter().map(|(name, _)| (*name).to_owned()).collect();
    names.extend(attempts().iter().map(|(name, _, _)| (*name).to_owned()));
    names.extend(["journal-batch.bin", "matches.bin", "README.md"].map(str::to_owned));
    let mut found: Vec<String> = fs::read_dir(path(""))
        .expect("it is valid")
        .map(|entry| entry.expect("it is valid").file_name().into_string().expect("it is valid"))
        .collect();
    names.sort();
    found.sort();
    assert_eq!(found, names);
}
