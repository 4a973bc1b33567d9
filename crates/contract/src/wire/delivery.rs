//! Deliveries and fan-outs.

use std::time::Duration;

use bytes::Bytes;

use super::fields::{
    bad_value, check, id, kind, origin, position, query, rendered_with, required, schema_version, text, time,
    write_check, write_duration, write_id, write_kind, write_origin, write_position, write_rendered_with,
    write_schema_version, write_too_long, written_query,
};
use super::{WireError, generated};
use crate::delivery::{Delivery, DeliveryRef, FanOut};
use crate::ids::{DeliveryId, WebhookId};
use crate::ports::StoredMatch;

pub(super) fn write_reference(reference: &DeliveryRef) -> generated::DeliveryRef {
    generated::DeliveryRef {
        id: write_id(reference.id.as_u128()),
        tenant: reference.tenant.as_str().to_owned(),
        event_id: reference.event_id.as_str().to_owned(),
        event_type: reference.event_type.as_str().to_owned(),
        webhook: write_id(reference.webhook.as_u128()),
        kind: write_kind(reference.kind),
        accepted_at: reference.accepted_at.as_millis(),
        replay: reference.replay,
    }
}

pub(super) fn read_reference(wire: Option<generated::DeliveryRef>) -> Result<DeliveryRef, WireError> {
    let wire = required("reference", wire)?;
    Ok(DeliveryRef {
        id: DeliveryId::from_u128(id("reference.id", &wire.id)?),
        tenant: text("reference.tenant", &wire.tenant)?,
        event_id: text("reference.event_id", &wire.event_id)?,
        event_type: text("reference.event_type", &wire.event_type)?,
        webhook: WebhookId::from_u128(id("reference.webhook", &wire.webhook)?),
        kind: kind(wire.kind)?,
        accepted_at: time("reference.accepted_at", wire.accepted_at)?,
        replay: wire.replay,
    })
}

pub(super) fn write_delivery(delivery: &Delivery) -> generated::Delivery {
    generated::Delivery { body: delivery.body.clone(), ..write_bodiless(delivery) }
}

fn write_bodiless(delivery: &Delivery) -> generated::Delivery {
    generated::Delivery {
        reference: Some(write_reference(&delivery.reference)),
        position: Some(write_position(delivery.position)),
        origin: write_origin(delivery.origin),
        check: write_check(delivery.check),
        due_at: delivery.due_at.as_millis(),
        parked_for: write_duration(delivery.parked_for),
        profile: delivery.profile.as_str().to_owned(),
        rendered_with: Some(write_rendered_with(delivery.rendered_with)),
        schema_version: Some(write_schema_version(delivery.schema_version)),
        event_timestamp: delivery.event_timestamp.as_millis(),
        query: written_query(&delivery.query),
        too_long: write_too_long(&delivery.query),
        body: Bytes::new(),
    }
}

pub(super) fn read_delivery(wire: generated::Delivery) -> Result<Delivery, WireError> {
    Ok(Delivery {
        reference: read_reference(wire.reference)?,
        position: position(wire.position)?,
        origin: origin(wire.origin)?,
        check: check(wire.check)?,
        due_at: time("due_at", wire.due_at)?,
        parked_for: Duration::from_millis(wire.parked_for),
        profile: text("profile", &wire.profile)?,
        rendered_with: rendered_with(wire.rendered_with)?,
        schema_version: schema_version(wire.schema_version)?,
        event_timestamp: time("event_timestamp", wire.event_timestamp)?,
        query: query(wire.query, wire.too_long)?,
        body: wire.body,
    })
}

pub(super) fn write_fan_out(fan_out: &FanOut) -> generated::FanOut {
    generated::FanOut {
        deliveries: fan_out.deliveries.iter().map(write_bodiless).collect(),
        bodies: fan_out.bodies.clone(),
        body_of: fan_out.body_of.clone(),
    }
}

pub(super) fn read_fan_out(wire: generated::FanOut) -> Result<FanOut, WireError> {
    let generated::FanOut { deliveries, bodies, body_of } = wire;
    if body_of.len() != deliveries.len() {
        return Err(bad_value("body_of", "must be as many as there are deliveries"));
    }
    if body_of.iter().any(|index| usize::try_from(*index).map_or(true, |index| index >= bodies.len())) {
        return Err(bad_value("body_of", "names a body that is not there"));
    }
    let deliveries = deliveries.into_iter().map(read_delivery).collect::<Result<_, _>>()?;
    Ok(FanOut { deliveries, bodies, body_of })
}

pub(super) fn write_match(stored: &StoredMatch) -> generated::StoredMatch {
    generated::StoredMatch {
        delivery: write_id(stored.delivery.as_u128()),
        webhook: write_id(stored.webhook.as_u128()),
        profile: stored.profile.as_str().to_owned(),
        rendered_with: Some(write_rendered_with(stored.rendered_with)),
    }
}

pub(super) fn read_match(wire: generated::StoredMatch) -> Result<StoredMatch, WireError> {
    Ok(StoredMatch {
        delivery: DeliveryId::from_u128(id("match.delivery", &wire.delivery)?),
        webhook: WebhookId::from_u128(id("match.webhook", &wire.webhook)?),
        profile: text("match.profile", &wire.profile)?,
        rendered_with: rendered_with(wire.rendered_with)?,
    })
}
