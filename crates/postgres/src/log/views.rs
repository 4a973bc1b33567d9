//! Rows of the log as the contract shows them.

use bytes::Bytes;
use postrider_contract::delivery::{DeliveryRef, RenderedWith};
use postrider_contract::event::SchemaVersion;
use postrider_contract::ids::{DeliveryId, WebhookId};
use postrider_contract::json::RawObject;
use postrider_contract::outcome::StatusReason;
use postrider_contract::ports::{AttemptView, DeliveryView, EventView, StoreError};
use postrider_contract::profile::ProfileName;
use postrider_contract::revision::Revision;
use postrider_contract::wire;
use tokio_postgres::Row;

use crate::errors::corrupt;
use crate::stored::{Id, get, kind, number, optional_time, origin, parse, status, time};

/// What [`accepted_event`] reads.
pub(super) const EVENT_COLUMNS: &str = "tenant, id, accepted_at, event_type, schema_major, schema_minor,
    happened_at, matched, data, summary, workflow";
/// What [`doubted_event`] reads.
pub(super) const DOUBT_COLUMNS: &str = "tenant, id, accepted_at, event_type";
/// What [`delivery`] reads.
pub(super) const DELIVERY_COLUMNS: &str = "id, tenant, event_id, event_type, webhook, kind, origin, replay,
    accepted_at, status, reason, due_at, held_since, concluded_at, attempts, last_code, last_error, profile,
    rendered_webhook, rendered_profile, rendered_tenant";

pub(super) fn accepted_event(row: &Row) -> Result<EventView, StoreError> {
    let part = |column| {
        let number: i32 = get(row, column)?;
        u16::try_from(number).map_err(|_| corrupt(format!("column {column} is out of range")))
    };
    let data: Vec<u8> = get(row, "data")?;
    let workflow: Option<Vec<u8>> = get(row, "workflow")?;
    let summary = get::<Option<Vec<u8>>>(row, "summary")?
        .map(String::from_utf8)
        .transpose()
        .map_err(|_| corrupt("an event's summary is not text"))?;
    Ok(EventView {
        in_doubt: false,
        timestamp: Some(time(row, "happened_at")?),
        schema_version: Some(SchemaVersion { major: part("schema_major")?, minor: part("schema_minor")? }),
        data: Some(RawObject::from_stored(Bytes::from(data))),
        summary,
        workflow: workflow.map(|bytes| RawObject::from_stored(Bytes::from(bytes))),
        matched: Some(get::<i32>(row, "matched")?.unsigned_abs()),
        ..doubted_event(row)?
    })
}

pub(super) fn doubted_event(row: &Row) -> Result<EventView, StoreError> {
    Ok(EventView {
        tenant: parse(row, "tenant")?,
        id: parse(row, "id")?,
        event_type: parse(row, "event_type")?,
        accepted_at: time(row, "accepted_at")?,
        in_doubt: true,
        timestamp: None,
        schema_version: None,
        data: None,
        summary: None,
        workflow: None,
        matched: None,
    })
}

pub(super) fn delivery(row: &Row) -> Result<DeliveryView, StoreError> {
    let reason = get::<Option<&str>>(row, "reason")?
        .map(|word| {
            StatusReason::from_word(word).ok_or_else(|| corrupt(format!("the reason {word} is not known")))
        })
        .transpose()?;
    let last_code = get::<Option<i32>>(row, "last_code")?
        .map(u16::try_from)
        .transpose()
        .map_err(|_| corrupt("a status code is out of range"))?;
    Ok(DeliveryView {
        reference: reference(row)?,
        origin: origin(row)?,
        status: status(row)?,
        reason,
        due_at: optional_time(row, "due_at")?,
        held_since: optional_time(row, "held_since")?,
        concluded_at: optional_time(row, "concluded_at")?,
        attempts: number(row, "attempts")?,
        last_code,
        last_error: get(row, "last_error")?,
        profile: profile(row)?,
        rendered_with: rendered_with(row)?,
    })
}

pub(super) fn reference(row: &Row) -> Result<DeliveryRef, StoreError> {
    Ok(DeliveryRef {
        id: DeliveryId::from_u128(get::<Id>(row, "id")?.0),
        tenant: parse(row, "tenant")?,
        event_id: parse(row, "event_id")?,
        event_type: parse(row, "event_type")?,
        webhook: WebhookId::from_u128(get::<Id>(row, "webhook")?.0),
        kind: kind(row)?,
        accepted_at: time(row, "accepted_at")?,
        replay: number(row, "replay")?,
    })
}

/// `None` while no record has told of it.
pub(super) fn profile(row: &Row) -> Result<Option<ProfileName>, StoreError> {
    let name = get::<Option<&str>>(row, "profile")?;
    let profile = name.map(str::parse::<ProfileName>).transpose();
    profile.map_err(|_| corrupt("a delivery names no valid profile"))
}

/// `None` unless all three are known: they are written together.
pub(super) fn rendered_with(row: &Row) -> Result<Option<RenderedWith>, StoreError> {
    let part = |column| {
        let number: Option<i64> = get(row, column)?;
        Ok::<_, StoreError>(number.map(|number| Revision::from_number(number.unsigned_abs())))
    };
    let parts = (part("rendered_webhook")?, part("rendered_profile")?, part("rendered_tenant")?);
    let (Some(webhook), Some(profile), Some(tenant)) = parts else { return Ok(None) };
    Ok(Some(RenderedWith { webhook, profile, tenant }))
}

pub(super) fn attempt(stored: Vec<u8>, body: Option<Vec<u8>>) -> Result<AttemptView, StoreError> {
    wire::decode_attempt_with(Bytes::from(stored), body.map(Bytes::from))
        .map_err(|error| corrupt(format!("a stored attempt: {error}")))
}
