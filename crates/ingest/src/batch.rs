//! A batch of events: each is accepted or refused for itself, and the answers stand in the order of the request.
//!
//! They are accepted side by side. Of two with the same id the second may find the first still being worked on; it is
//! asked for once more when all others are answered, and is a repeat by then (or, with other bytes, a reused id).

use bytes::Bytes;
use futures_util::stream::{self, StreamExt};
use postrider_contract::ids::{EventId, TenantId};
use postrider_contract::json::{self, InvalidJson};
use postrider_service::metrics::{IngestResult, IngestSource};
use postrider_service::problem::{Code, Problem};
use postrider_service::raw_body::{BatchLayout, RawBatch};
use serde::Serialize;
use serde_json::value::RawValue;
use tokio::time::Instant;
use utoipa::ToSchema;

use crate::http::{Accepted, IngestState, Start, Text, Warning, accept, result_of};

const MAX_EVENTS: usize = 1_000;
/// As `POST /v1/events` has it.
const MAX_EVENT_BYTES: usize = 1024 * 1024;
/// Enough to fill a confirm window, few enough that one batch cannot take all of it.
const AT_ONCE: usize = 256;

/// What became of each event.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct BatchAnswer {
    accepted: usize,
    rejected: usize,
    results: Vec<BatchResult>,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum BatchResult {
    Accepted {
        #[schema(value_type = String)]
        id: EventId,
        /// As a single event would have been answered with.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        warnings: Vec<Warning>,
    },
    Rejected {
        /// A problem, as a single event would have been answered with.
        #[schema(value_type = Object)]
        error: Problem,
    },
}

/// # Errors
/// When the batch as a whole cannot be read. Nothing was accepted then.
pub(crate) async fn publish(
    state: &IngestState,
    tenant: &TenantId,
    batch: RawBatch,
    answer_by: Instant,
) -> Result<BatchAnswer, Problem> {
    let items = split(&batch)?;
    if items.len() > MAX_EVENTS {
        let detail = format!("a batch holds at most {MAX_EVENTS} events; this one has {}", items.len());
        return Err(Problem::new(Code::PayloadTooLarge, detail));
    }
    let mut outcomes: Vec<Result<Accepted, Problem>> = stream::iter(items.clone())
        .map(|item| async move { accept_item(state, tenant, &item, answer_by).await })
        .buffered(AT_ONCE)
        .collect()
        .await;
    for (item, outcome) in items.iter().zip(&mut outcomes) {
        if matches!(outcome, Err(problem) if problem.code() == Code::IdempotencyInProgress) {
            *outcome = accept_item(state, tenant, item, answer_by).await;
        }
    }
    let results: Vec<BatchResult> = outcomes.into_iter().map(|outcome| told(state, outcome)).collect();
    let accepted = results.iter().filter(|result| matches!(result, BatchResult::Accepted { .. })).count();
    Ok(BatchAnswer { accepted, rejected: results.len() - accepted, results })
}

/// Counts it, once.
fn told(state: &IngestState, result: Result<Accepted, Problem>) -> BatchResult {
    let metric = match &result {
        Ok(event) if event.receipt.replayed => IngestResult::Duplicate,
        Ok(_) => IngestResult::Accepted,
        Err(problem) => result_of(problem.code()),
    };
    state.metrics.events.at(IngestSource::Http, metric).inc();
    match result {
        Ok(Accepted { receipt, warnings }) => BatchResult::Accepted { id: receipt.event, warnings },
        Err(error) => BatchResult::Rejected { error },
    }
}

async fn accept_item(
    state: &IngestState,
    tenant: &TenantId,
    Item { start, bytes }: &Item,
    answer_by: Instant,
) -> Result<Accepted, Problem> {
    if bytes.len() > MAX_EVENT_BYTES {
        return Err(Problem::new(
            Code::PayloadTooLarge,
            format!("an event is at most {MAX_EVENT_BYTES} bytes"),
        ));
    }
    accept(state, tenant, bytes, None, Text { start: *start, answer_by }).await
}

/// One event of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Item {
    start: Start,
    bytes: Bytes,
}

/// The bytes of each event, as slices of the request.
fn split(batch: &RawBatch) -> Result<Vec<Item>, Problem> {
    match batch.layout {
        BatchLayout::Array => {
            json::check_depth(&batch.bytes).map_err(|error| malformed(&error))?;
            let items: Vec<&RawValue> = serde_json::from_slice(&batch.bytes).map_err(|error| {
                if error.is_data() {
                    Problem::invalid_field("", "must be an array of events")
                } else {
                    malformed(&InvalidJson::from_serde(&error))
                }
            })?;
            // They are valid JSON already, so no error will ask where they begin.
            let start = Start::default();
            let item = |item: &RawValue| Item { start, bytes: batch.bytes.slice_ref(item.get().as_bytes()) };
            Ok(items.into_iter().map(item).collect())
        }
        BatchLayout::Lines => {
            let lines = batch.bytes.split(|byte| *byte == b'\n').enumerate();
            let item = |(lines, line): (usize, &[u8])| {
                let text = line.trim_ascii_start();
                let start = Start { lines, columns: line.len() - text.len() };
                Item { start, bytes: batch.bytes.slice_ref(text.trim_ascii_end()) }
            };
            Ok(lines.map(item).filter(|item| !item.bytes.is_empty()).collect())
        }
    }
}

fn malformed(error: &InvalidJson) -> Problem {
    Problem::new(Code::MalformedJson, error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(layout: BatchLayout, text: &'static str) -> RawBatch {
        RawBatch { layout, bytes: Bytes::from_static(text.as_bytes()) }
    }

    #[test]
    fn both_layouts_give_the_same_events_byte_for_byte() {
        let array = split(&batch(BatchLayout::Array, "[ {\"a\": 1.0},\n {\"b\":2} ]")).expect("a batch");
        let lines = split(&batch(BatchLayout::Lines, "{\"a\": 1.0}\r\n\n {\"b\":2}\n")).expect("a batch");
        let bytes = |items: &[Item]| items.iter().map(|item| item.bytes.clone()).collect::<Vec<_>>();
        assert_eq!(bytes(&array), bytes(&lines));
        assert_eq!(array[0].bytes, "{\"a\": 1.0}");
        assert_eq!(lines[1].start, Start { lines: 2, columns: 1 });
    }

    #[test]
    fn what_is_not_an_array_is_refused_whole() {
        for (text, code) in
            [("{}", Code::InvalidRequest), ("[{}", Code::MalformedJson), ("", Code::MalformedJson)]
        {
            let refused = split(&batch(BatchLayout::Array, text)).expect_err("not a batch");
            assert_eq!(refused.code(), code, "{text}");
        }
    }
}
