//! What the API asks of the log: one event or delivery, and lists, newest first, day by day until a page is full.

use std::time::Duration;

use bytes::Bytes;
use postrider_contract::clock::Timestamp;
use postrider_contract::delivery::DeliveryRef;
use postrider_contract::event::SchemaVersion;
use postrider_contract::ids::{DeliveryId, EventId, TenantId, WebhookId};
use postrider_contract::json::RawObject;
use postrider_contract::outcome::{DeliveryStatus, StatusReason};
use postrider_contract::ports::{
    AttemptView, DeliveryFilter, DeliveryView, EventFilter, EventView, PageOf, StoreError,
};
use postrider_contract::wire;
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, Row, params, params_from_iter};

use super::batch::day_of;
use super::reading::Reading;
use super::upkeep::{first_id_at, time_cell};
use crate::cells;

/// As [`delivery_view`] reads them.
pub(crate) const DELIVERY_COLUMNS: &str = "id, tenant, event_id, event_type, webhook, kind, accepted_at, replay, \
     origin, status, reason, due_at, held_since, concluded_at, attempts, last_code, last_error, profile, \
     webhook_revision, profile_revision, tenant_revision";
/// As [`event_view`] reads them.
const EVENT_COLUMNS: &str = "tenant, id, event_type, accepted_at, in_doubt, timestamp, schema_major, schema_minor, \
     data, summary, workflow, matched";

/// Looked for day by day, newest first; the id does not tell its day, since a producer may bring its own.
pub(crate) fn event(
    reading: &Reading<'_>,
    tenant: &TenantId,
    id: &EventId,
) -> Result<Option<EventView>, StoreError> {
    let sql = format!("SELECT {EVENT_COLUMNS} FROM event WHERE tenant = ?1 AND id = ?2");
    for day in reading.days() {
        let found = reading.read(day, |connection| {
            let mut statement = connection.prepare_cached(&sql)?;
            statement.query_row(params![tenant.as_str(), id.as_str()], event_view).optional()
        })?;
        if let Some(event) = found.flatten() {
            return Ok(Some(event));
        }
    }
    Ok(None)
}

pub(crate) fn events(
    reading: &Reading<'_>,
    tenant: &TenantId,
    filter: &EventFilter,
    page: &PageOf<(Timestamp, EventId)>,
) -> Result<Vec<EventView>, StoreError> {
    let sql = format!(
        "SELECT {EVENT_COLUMNS} FROM event WHERE tenant = ?1 \
         AND accepted_at >= ?2 AND accepted_at <= ?3 AND (?4 IS NULL OR (accepted_at, id) < (?4, ?5)) \
         AND (?6 IS NULL OR event_type = ?6) ORDER BY accepted_at DESC, id DESC LIMIT ?7"
    );
    let before_time = page.before.as_ref().map(|(time, _)| *time);
    let newest = earliest(filter.until, before_time);
    // Said so that a later page begins at its place, not at the day's end.
    let last = earliest(filter.until.map(|until| until.minus(Duration::from_millis(1))), before_time);
    let mut found: Vec<EventView> = Vec::new();
    for day in reading.days_between(filter.since, newest) {
        let wanted = rows_wanted(page.limit, found.len());
        if wanted == 0 {
            break;
        }
        let rows = reading.read(day, |connection| {
            let mut statement = connection.prepare_cached(&sql)?;
            let values = params![
                tenant.as_str(),
                time_cell(filter.since).unwrap_or(i64::MIN),
                time_cell(last).unwrap_or(i64::MAX),
                time_cell(before_time),
                page.before.as_ref().map(|(_, id)| id.as_str()),
                filter.event_type.as_ref().map(|event_type| event_type.as_str()),
                wanted,
            ];
            statement.query_map(values, event_view)?.collect::<rusqlite::Result<Vec<_>>>()
        })?;
        found.extend(rows.unwrap_or_default());
    }
    Ok(found)
}

pub(crate) fn delivery(
    reading: &Reading<'_>,
    tenant: &TenantId,
    id: DeliveryId,
) -> Result<Option<DeliveryView>, StoreError> {
    let sql = format!("SELECT {DELIVERY_COLUMNS} FROM delivery WHERE id = ?1 AND +tenant = ?2");
    let found = reading.read(day_of(id), |connection| {
        let mut statement = connection.prepare_cached(&sql)?;
        let values = params![id.as_u128().to_be_bytes(), tenant.as_str()];
        statement.query_row(values, delivery_view).optional()
    })?;
    Ok(found.flatten())
}

pub(crate) fn attempts(reading: &Reading<'_>, id: DeliveryId) -> Result<Vec<AttemptView>, StoreError> {
    let found = reading.read(day_of(id), |connection| attempts_of(connection, id))?;
    Ok(found.unwrap_or_default())
}

fn attempts_of(connection: &Connection, id: DeliveryId) -> rusqlite::Result<Vec<AttemptView>> {
    let mut statement = connection.prepare_cached(
        "SELECT first_attempt FROM delivery WHERE id = ?1 AND first_attempt IS NOT NULL \
         UNION ALL SELECT record FROM attempt WHERE delivery = ?1",
    )?;
    let rows = statement.query_map([id.as_u128().to_be_bytes()], |row| {
        let record = Bytes::from(row.get::<_, Vec<u8>>(0)?);
        wire::decode_attempt_with(record, None).map_err(|_| cells::invalid(0, "attempt"))
    })?;
    let mut attempts = rows.collect::<rusqlite::Result<Vec<_>>>()?;
    attempts.sort_by_key(|view| (view.attempt.number, view.attempt.started_at, view.attempt.id));
    Ok(attempts)
}

pub(crate) fn deliveries(
    reading: &Reading<'_>,
    tenant: &TenantId,
    filter: &DeliveryFilter,
    page: &PageOf<DeliveryId>,
) -> Result<Vec<DeliveryView>, StoreError> {
    let query = DeliveryQuery::new(tenant, filter, page.before);
    let newest = earliest(filter.until, page.before.map(DeliveryId::time));
    let mut found: Vec<DeliveryView> = Vec::new();
    for day in reading.days_between(filter.since, newest) {
        let wanted = rows_wanted(page.limit, found.len());
        if wanted == 0 {
            break;
        }
        let rows = reading.read(day, |connection| query.run(connection, wanted))?;
        found.extend(rows.unwrap_or_default());
    }
    Ok(found)
}

/// The conditions that are asked for, and no others, so that the right index serves: event, else webhook, else
/// status, else tenant; of a webhook, the statuses but delivered have theirs. A `+` before a column keeps its index out
/// of the choice.
struct DeliveryQuery {
    conditions: Vec<String>,
    values: Vec<Value>,
}

impl DeliveryQuery {
    fn new(tenant: &TenantId, filter: &DeliveryFilter, before: Option<DeliveryId>) -> Self {
        let mut query = DeliveryQuery { conditions: Vec::new(), values: Vec::new() };
        let of_event = filter.event.is_some();
        // An index of these by webhook would cost every delivery an entry: they are found among their tenant's.
        let of_webhook = filter.webhook.is_some() && filter.status != Some(DeliveryStatus::Pending);
        let is_narrow = of_event || of_webhook;
        query.add(if is_narrow { "+tenant =" } else { "tenant =" }, text(tenant.as_str()));
        if let Some(event) = &filter.event {
            query.add("event_id =", text(event.as_str()));
        }
        if let Some(webhook) = filter.webhook {
            let column = if of_webhook && !of_event { "webhook =" } else { "+webhook =" };
            query.add(column, bytes(webhook.as_u128().to_be_bytes()));
        }
        if let Some(status) = filter.status {
            query.add_status(status, of_event);
        }
        if let Some(event_type) = &filter.event_type {
            query.add("event_type =", text(event_type.as_str()));
        }
        if let Some(kind) = filter.kind {
            query.add("kind =", Value::Integer(cells::kind_number(kind)));
        }
        if let Some(code) = filter.code {
            query.add("last_code =", Value::Integer(i64::from(code)));
        }
        if let Some(since) = filter.since {
            query.add("id >=", bytes(first_id_at(since)));
        }
        if let Some(until) = filter.until {
            query.add("id <", bytes(first_id_at(until)));
        }
        if let Some(before) = before {
            query.add("id <", bytes(before.as_u128().to_be_bytes()));
        }
        query
    }

    /// What the indexes of statuses leave out is said as they say it.
    fn add_status(&mut self, status: DeliveryStatus, of_event: bool) {
        let left_out: &[&str] = match status {
            DeliveryStatus::Delivered => &[],
            DeliveryStatus::Pending => &["status <> 3"],
            DeliveryStatus::Retrying
            | DeliveryStatus::Held
            | DeliveryStatus::Failed
            | DeliveryStatus::Canceled
            | DeliveryStatus::Expired => &["status <> 3", "status <> 0"],
        };
        let has_index = !of_event && !left_out.is_empty();
        if has_index {
            self.conditions.extend(left_out.iter().map(|condition| (*condition).to_owned()));
        }
        let column = if has_index { "status =" } else { "+status =" };
        self.add(column, Value::Integer(cells::status_number(status)));
    }

    fn add(&mut self, condition: &str, value: Value) {
        self.values.push(value);
        self.conditions.push(format!("{condition} ?{}", self.values.len()));
    }

    fn run(&self, connection: &Connection, limit: u32) -> rusqlite::Result<Vec<DeliveryView>> {
        let conditions = self.conditions.join(" AND ");
        let sql = format!(
            "SELECT {DELIVERY_COLUMNS} FROM delivery WHERE {conditions} ORDER BY id DESC LIMIT {limit}"
        );
        let mut statement = connection.prepare_cached(&sql)?;
        statement.query_map(params_from_iter(&self.values), delivery_view)?.collect()
    }
}

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

fn bytes(bytes: [u8; 16]) -> Value {
    Value::Blob(bytes.to_vec())
}

fn rows_wanted(limit: u32, found: usize) -> u32 {
    limit.saturating_sub(u32::try_from(found).unwrap_or(u32::MAX))
}

fn earliest(one: Option<Timestamp>, other: Option<Timestamp>) -> Option<Timestamp> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

fn event_view(row: &Row<'_>) -> rusqlite::Result<EventView> {
    let major: Option<u16> = row.get(6)?;
    let minor: Option<u16> = row.get(7)?;
    let json = |column: usize| -> rusqlite::Result<Option<RawObject>> {
        let stored: Option<Vec<u8>> = row.get(column)?;
        Ok(stored.map(|stored| RawObject::from_stored(Bytes::from(stored))))
    };
    Ok(EventView {
        tenant: cells::parsed(row, 0, "tenant")?,
        id: cells::parsed(row, 1, "event id")?,
        event_type: cells::parsed(row, 2, "event type")?,
        accepted_at: cells::time(row, 3)?,
        in_doubt: row.get(4)?,
        timestamp: cells::time_or_none(row, 5)?,
        schema_version: major.zip(minor).map(|(major, minor)| SchemaVersion { major, minor }),
        data: json(8)?,
        summary: row.get(9)?,
        workflow: json(10)?,
        matched: row.get(11)?,
    })
}

pub(crate) fn delivery_view(row: &Row<'_>) -> rusqlite::Result<DeliveryView> {
    let reason: Option<String> = row.get(10)?;
    let known = |word: String| StatusReason::from_word(&word).ok_or_else(|| cells::invalid(10, "reason"));
    let reference = DeliveryRef {
        id: DeliveryId::from_u128(cells::id(row, 0)?),
        tenant: cells::parsed(row, 1, "tenant")?,
        event_id: cells::parsed(row, 2, "event id")?,
        event_type: cells::parsed(row, 3, "event type")?,
        webhook: WebhookId::from_u128(cells::id(row, 4)?),
        kind: cells::kind(row, 5)?,
        accepted_at: cells::time(row, 6)?,
        replay: row.get(7)?,
    };
    Ok(DeliveryView {
        reference,
        origin: cells::origin(row, 8)?,
        status: cells::status(row, 9)?,
        reason: reason.map(known).transpose()?,
        due_at: cells::time_or_none(row, 11)?,
        held_since: cells::time_or_none(row, 12)?,
        concluded_at: cells::time_or_none(row, 13)?,
        attempts: row.get(14)?,
        last_code: row.get(15)?,
        last_error: row.get(16)?,
        profile: cells::parsed_or_none(row, 17, "profile")?,
        rendered_with: cells::rendered_with(row, 18)?,
    })
}
