//! The wire form of work, journal batches and stored attempts: protobuf, as `proto/postrider/v1/queue.proto` says.
//!
//! Promises: what is encoded decodes to an equal value (durations in whole milliseconds); decoding never panics and
//! never takes much more memory than the message is long, whatever the bytes; bodies are slices of the message,
//! not copies; a version that is not known is an error of its own, found before anything else is read.

use std::sync::Arc;

use bytes::Bytes;
use prost::Message;

use crate::attempt::Attempt;
use crate::delivery::Work;
use crate::journal::JournalBatch;
use crate::outcome::Outcome;
use crate::ports::{AnswerBody, AttemptView, StoredMatch};

mod attempt;
mod bounds;
mod delivery;
mod fields;
#[expect(clippy::large_enum_variant, reason = "generated from the .proto file; values live for one call")]
#[rustfmt::skip]
mod generated;
mod journal;
mod outcome;

use bounds::check_list;
use fields::required;

/// The version that this code writes, and the only one it reads.
pub const VERSION: u32 = 1;

/// The longest message that is read: well above the largest fan-out or batch that is written.
pub const MAX_MESSAGE: usize = 64 * 1024 * 1024;

/// Why bytes could not be read. Whoever gets one sets the message aside: trying again does not help.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// Written by a newer (or a foreign) program.
    #[error("format version {version} is not known")]
    UnknownVersion { version: u64 },
    #[error("{field} is missing")]
    Missing { field: &'static str },
    #[error("{field}: {reason}")]
    BadValue { field: &'static str, reason: String },
    /// Longer, or with more parts, than anything that is written.
    #[error("{what} is larger than {limit}")]
    TooLarge { what: &'static str, limit: usize },
    /// Cut off, or not protobuf at all.
    #[error("cannot be decoded: {reason}")]
    Malformed { reason: String },
}

impl From<prost::DecodeError> for WireError {
    fn from(error: prost::DecodeError) -> Self {
        WireError::Malformed { reason: error.to_string() }
    }
}

/// The exact number of bytes is allocated once. The bodies of a fan-out are written once each.
#[must_use]
pub fn encode_work(work: &Work) -> Bytes {
    let work = match work {
        Work::Deliver(delivery) => generated::work::Work::Deliver(delivery::write_delivery(delivery)),
        Work::FanOut(fan_out) => generated::work::Work::FanOut(delivery::write_fan_out(fan_out)),
    };
    generated::Work { version: VERSION, work: Some(work) }.encode_to_vec().into()
}

/// # Errors
/// See [`WireError`].
pub fn decode_work(message: Bytes) -> Result<Work, WireError> {
    bounds::check_message(&message)?;
    check_list(&message, "fan_out.deliveries", &[3, 1])?;
    check_list(&message, "fan_out.bodies", &[3, 2])?;
    match required("work", generated::Work::decode(message)?.work)? {
        generated::work::Work::Deliver(delivery) => Ok(Work::Deliver(delivery::read_delivery(delivery)?)),
        generated::work::Work::FanOut(fan_out) => Ok(Work::FanOut(delivery::read_fan_out(fan_out)?)),
    }
}

/// As [`encode_work`].
#[must_use]
pub fn encode_journal_batch(batch: &JournalBatch) -> Bytes {
    let records = batch.records.iter().map(|record| journal::write_record(record)).collect();
    let written_at = batch.written_at.as_millis();
    generated::JournalBatch { version: VERSION, written_at, records }.encode_to_vec().into()
}

/// # Errors
/// See [`WireError`].
pub fn decode_journal_batch(message: Bytes) -> Result<JournalBatch, WireError> {
    bounds::check_message(&message)?;
    check_list(&message, "records", &[3])?;
    check_list(&message, "accepted.deliveries", &[3, 1, 3])?;
    check_list(&message, "attempt.request.headers", &[3, 2, 3, 4, 3])?;
    check_list(&message, "attempt.response.headers", &[3, 2, 3, 7, 2])?;
    let batch = generated::JournalBatch::decode(message)?;
    let records = batch
        .records
        .into_iter()
        .map(|record| journal::read_record(record).map(Arc::new))
        .collect::<Result<_, _>>()?;
    Ok(JournalBatch { written_at: fields::time("written_at", batch.written_at)?, records })
}

/// For an engine's log: one try as opaque bytes.
#[must_use]
pub fn encode_attempt(attempt: &Attempt, outcome: &Outcome) -> Bytes {
    let attempt = Some(attempt::write_attempt(attempt));
    let outcome = Some(outcome::write_outcome(*outcome));
    generated::StoredAttempt { version: VERSION, attempt, outcome, body_apart: 0 }.encode_to_vec().into()
}

/// As [`encode_attempt`], with the body of the response beside it, so that it can be kept for a shorter time.
#[must_use]
pub fn encode_attempt_apart(attempt: &Attempt, outcome: &Outcome) -> (Bytes, Bytes) {
    let mut written = attempt::write_attempt(attempt);
    let body = attempt::take_body(&mut written);
    // At most `MAX_KEPT_BODY`.
    let body_apart = u32::try_from(body.len()).unwrap_or(u32::MAX);
    let (attempt, outcome) = (Some(written), Some(outcome::write_outcome(*outcome)));
    let record = generated::StoredAttempt { version: VERSION, attempt, outcome, body_apart };
    (record.encode_to_vec().into(), body)
}

/// Without the body of the response, if that was kept apart.
///
/// # Errors
/// See [`WireError`].
pub fn decode_attempt(stored: Bytes) -> Result<(Attempt, Outcome), WireError> {
    decode_attempt_with(stored, None).map(|view| (view.attempt, view.outcome))
}

/// With the body of the response, if that was kept apart and is still there.
///
/// # Errors
/// See [`WireError`].
pub fn decode_attempt_with(stored: Bytes, apart: Option<Bytes>) -> Result<AttemptView, WireError> {
    bounds::check_message(&stored)?;
    check_list(&stored, "attempt.request.headers", &[2, 4, 3])?;
    check_list(&stored, "attempt.response.headers", &[2, 7, 2])?;
    let stored = generated::StoredAttempt::decode(stored)?;
    let mut attempt = attempt::read_attempt(required("attempt", stored.attempt)?)?;
    let outcome = outcome::read_outcome(required("outcome", stored.outcome)?)?;
    let mut body = AnswerBody::Kept;
    if stored.body_apart > 0 {
        match apart {
            Some(apart) => attempt::put_body(&mut attempt, apart),
            None => body = AnswerBody::Expired,
        }
    }
    Ok(AttemptView { attempt, outcome, body })
}

/// For an engine's keyed requests: the matches as opaque bytes.
#[must_use]
pub fn encode_matches(matches: &[StoredMatch]) -> Bytes {
    let matches = matches.iter().map(delivery::write_match).collect();
    generated::StoredMatches { version: VERSION, matches }.encode_to_vec().into()
}

/// # Errors
/// See [`WireError`].
pub fn decode_matches(stored: Bytes) -> Result<Vec<StoredMatch>, WireError> {
    bounds::check_message(&stored)?;
    check_list(&stored, "matches", &[2])?;
    generated::StoredMatches::decode(stored)?.matches.into_iter().map(delivery::read_match).collect()
}
