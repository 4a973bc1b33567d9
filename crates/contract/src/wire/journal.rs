//! Journal records.

use super::attempt::{read_attempt, write_attempt};
use super::delivery::{read_delivery, read_reference, write_delivery, write_reference};
use super::fields::{
    id, kind, origin, position, rendered_with, required, schema_version, text, time, write_id, write_kind,
    write_origin, write_position, write_rendered_with, write_schema_version,
};
use super::generated::record::Record as Wire;
use super::outcome::{
    read_cancel_reason, read_failure_reason, read_hold_reason, read_optional_hold, read_outcome,
    write_cancel_reason, write_failure_reason, write_hold_reason, write_outcome,
};
use super::{WireError, generated};
use crate::event::Event;
use crate::ids::{DeliveryId, WebhookId};
use crate::journal::{
    AcceptedRecord, AttemptedRecord, ConcludedRecord, Conclusion, DeferredRecord, ExpectedDelivery,
    HeldRecord, JournalRecord, ReleasedRecord,
};
use crate::json::RawObject;

pub(super) fn write_record(record: &JournalRecord) -> generated::Record {
    let record = match record {
        JournalRecord::Accepted(accepted) => Wire::Accepted(generated::Accepted {
            event: Some(write_event(&accepted.event)),
            origin: write_origin(accepted.origin),
            deliveries: accepted.deliveries.iter().map(write_expected).collect(),
        }),
        JournalRecord::Attempted(attempted) => Wire::Attempted(generated::Attempted {
            delivery: Some(write_reference(&attempted.delivery)),
            position: Some(write_position(attempted.position)),
            attempt: Some(write_attempt(&attempted.attempt)),
            outcome: Some(write_outcome(attempted.outcome)),
        }),
        JournalRecord::Held(held) => Wire::Held(generated::Held {
            delivery: Some(write_delivery(&held.delivery)),
            why: write_hold_reason(held.why),
            since: held.since.as_millis(),
        }),
        JournalRecord::Deferred(deferred) => Wire::Deferred(generated::Deferred {
            delivery: Some(write_reference(&deferred.delivery)),
            position: Some(write_position(deferred.position)),
            due_at: deferred.due_at.as_millis(),
        }),
        JournalRecord::Released(released) => Wire::Released(generated::Released {
            delivery: Some(write_reference(&released.delivery)),
            position: Some(write_position(released.position)),
            released_at: released.released_at.as_millis(),
        }),
        JournalRecord::Concluded(concluded) => Wire::Concluded(write_concluded(concluded)),
    };
    generated::Record { record: Some(record) }
}

pub(super) fn read_record(wire: generated::Record) -> Result<JournalRecord, WireError> {
    Ok(match required("record", wire.record)? {
        Wire::Accepted(accepted) => JournalRecord::Accepted(AcceptedRecord {
            event: read_event(required("accepted.event", accepted.event)?)?,
            origin: origin(accepted.origin)?,
            deliveries: accepted.deliveries.into_iter().map(read_expected).collect::<Result<_, _>>()?,
        }),
        Wire::Attempted(attempted) => JournalRecord::Attempted(AttemptedRecord {
            delivery: read_reference(attempted.delivery)?,
            position: position(attempted.position)?,
            attempt: read_attempt(required("attempted.attempt", attempted.attempt)?)?,
            outcome: read_outcome(required("attempted.outcome", attempted.outcome)?)?,
        }),
        Wire::Held(held) => JournalRecord::Held(HeldRecord {
            delivery: read_delivery(required("held.delivery", held.delivery)?)?,
            why: read_hold_reason("held.why", held.why)?,
            since: time("held.since", held.since)?,
        }),
        Wire::Deferred(deferred) => JournalRecord::Deferred(DeferredRecord {
            delivery: read_reference(deferred.delivery)?,
            position: position(deferred.position)?,
            due_at: time("deferred.due_at", deferred.due_at)?,
        }),
        Wire::Released(released) => JournalRecord::Released(ReleasedRecord {
            delivery: read_reference(released.delivery)?,
            position: position(released.position)?,
            released_at: time("released.released_at", released.released_at)?,
        }),
        Wire::Concluded(concluded) => JournalRecord::Concluded(read_concluded(concluded)?),
    })
}

fn write_event(event: &Event) -> generated::Event {
    generated::Event {
        id: event.id.as_str().to_owned(),
        tenant: event.tenant.as_str().to_owned(),
        event_type: event.event_type.as_str().to_owned(),
        schema_version: Some(write_schema_version(event.schema_version)),
        timestamp: event.timestamp.as_millis(),
        accepted_at: event.accepted_at.as_millis(),
        data: event.data.as_bytes().clone(),
        summary: event.summary.clone(),
        workflow: event.workflow.as_ref().map(|workflow| workflow.as_bytes().clone()),
    }
}

/// `data` and `workflow` were checked when the event was accepted, and are not parsed again.
fn read_event(wire: generated::Event) -> Result<Event, WireError> {
    Ok(Event {
        id: text("event.id", &wire.id)?,
        tenant: text("event.tenant", &wire.tenant)?,
        event_type: text("event.event_type", &wire.event_type)?,
        schema_version: schema_version(wire.schema_version)?,
        timestamp: time("event.timestamp", wire.timestamp)?,
        accepted_at: time("event.accepted_at", wire.accepted_at)?,
        data: RawObject::from_stored(wire.data),
        summary: wire.summary,
        workflow: wire.workflow.map(RawObject::from_stored),
    })
}

fn write_expected(expected: &ExpectedDelivery) -> generated::ExpectedDelivery {
    generated::ExpectedDelivery {
        id: write_id(expected.id.as_u128()),
        webhook: write_id(expected.webhook.as_u128()),
        kind: write_kind(expected.kind),
        profile: expected.profile.as_str().to_owned(),
        rendered_with: Some(write_rendered_with(expected.rendered_with)),
        held: expected.held.map_or(i32::from(generated::HoldReason::Unspecified), write_hold_reason),
    }
}

fn read_expected(wire: generated::ExpectedDelivery) -> Result<ExpectedDelivery, WireError> {
    Ok(ExpectedDelivery {
        id: DeliveryId::from_u128(id("expected.id", &wire.id)?),
        webhook: WebhookId::from_u128(id("expected.webhook", &wire.webhook)?),
        kind: kind(wire.kind)?,
        profile: text("expected.profile", &wire.profile)?,
        rendered_with: rendered_with(wire.rendered_with)?,
        held: read_optional_hold("expected.held", wire.held)?,
    })
}

fn write_concluded(concluded: &ConcludedRecord) -> generated::Concluded {
    let conclusion = match concluded.conclusion {
        Conclusion::Failed(reason) => generated::concluded::Conclusion::Failed(write_failure_reason(reason)),
        Conclusion::Canceled(reason) => {
            generated::concluded::Conclusion::Canceled(write_cancel_reason(reason))
        }
        Conclusion::Expired => generated::concluded::Conclusion::Expired(generated::Nothing {}),
    };
    generated::Concluded {
        delivery: Some(write_reference(&concluded.delivery)),
        at: concluded.at.as_millis(),
        conclusion: Some(conclusion),
    }
}

fn read_concluded(wire: generated::Concluded) -> Result<ConcludedRecord, WireError> {
    let conclusion = match required("concluded.conclusion", wire.conclusion)? {
        generated::concluded::Conclusion::Failed(reason) => {
            Conclusion::Failed(read_failure_reason("concluded.failed", reason)?)
        }
        generated::concluded::Conclusion::Canceled(reason) => {
            Conclusion::Canceled(read_cancel_reason("concluded.canceled", reason)?)
        }
        generated::concluded::Conclusion::Expired(generated::Nothing {}) => Conclusion::Expired,
    };
    Ok(ConcludedRecord {
        delivery: read_reference(wire.delivery)?,
        conclusion,
        at: time("concluded.at", wire.at)?,
    })
}
