//! Events: accepted ones in their day, those only told of by deliveries in a small table of their own.
//!
//! Two writers may insert the same event at once, one accepted and one in doubt, and neither sees the other. So
//! each, after its commit, deletes the doubts that are settled: the later of the two finds both rows.

use std::collections::{BTreeMap, HashMap};

use postrider_contract::clock::Timestamp;
use postrider_contract::log::{DeliveryRow, EventRow};

use super::deliveries_upsert::RowState;
use crate::errors::Fault;
use crate::session::Session;
use crate::stored::{Id, origin_code};

const INSERT: &str =
    "INSERT INTO events (tenant, id, accepted_at, event_type, origin, schema_major, schema_minor,
        happened_at, matched, data, summary, workflow)
    SELECT * FROM unnest($1::text[], $2::text[], $3::bigint[], $4::text[], $5::smallint[], $6::integer[],
        $7::integer[], $8::bigint[], $9::integer[], $10::bytea[], $11::bytea[], $12::bytea[])
    ON CONFLICT (tenant, id, accepted_at) DO NOTHING";
/// An event's own deliveries carry its accept time, which finds its day; a replay's is another.
const INSERT_IN_DOUBT: &str = "INSERT INTO events_in_doubt AS d (tenant, id, accepted_at, event_type)
    SELECT u.tenant, u.id, u.accepted_at, u.event_type
    FROM unnest($1::text[], $2::text[], $3::bigint[], $4::text[]) AS u (tenant, id, accepted_at, event_type)
    LEFT JOIN LATERAL (
        SELECT true AS is_known FROM events e
        WHERE e.tenant = u.tenant AND e.id = u.id AND e.accepted_at = u.accepted_at LIMIT 1
    ) e ON true
    WHERE e.is_known IS NULL
    ON CONFLICT (tenant, id) DO UPDATE SET accepted_at = excluded.accepted_at
        WHERE excluded.accepted_at < d.accepted_at";
const INSERT_IN_DOUBT_BY_REPLAY: &str =
    "INSERT INTO events_in_doubt AS d (tenant, id, accepted_at, event_type)
    SELECT u.tenant, u.id, u.accepted_at, u.event_type
    FROM unnest($1::text[], $2::text[], $3::bigint[], $4::text[]) AS u (tenant, id, accepted_at, event_type)
    LEFT JOIN LATERAL (
        SELECT true AS is_known FROM events e WHERE e.tenant = u.tenant AND e.id = u.id LIMIT 1
    ) e ON true
    WHERE e.is_known IS NULL
    ON CONFLICT (tenant, id) DO UPDATE SET accepted_at = excluded.accepted_at
        WHERE excluded.accepted_at < d.accepted_at";
const SETTLE_ACCEPTED: &str = "DELETE FROM events_in_doubt d
    USING unnest($1::text[], $2::text[]) AS u (tenant, id) WHERE d.tenant = u.tenant AND d.id = u.id";
const SETTLE_TOLD: &str = "DELETE FROM events_in_doubt d
    USING unnest($1::text[], $2::text[], $3::bigint[]) AS u (tenant, id, accepted_at),
    LATERAL (
        SELECT true FROM events e
        WHERE e.tenant = u.tenant AND e.id = u.id AND e.accepted_at = u.accepted_at LIMIT 1
    ) e
    WHERE d.tenant = u.tenant AND d.id = u.id";

/// An event as a delivery tells of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Told<'a> {
    tenant: &'a str,
    id: &'a str,
    event_type: &'a str,
    accepted_at: Timestamp,
    is_replay: bool,
}

pub(super) async fn insert(session: &mut Session, rows: &[&EventRow]) -> Result<(), Fault> {
    if rows.is_empty() {
        return Ok(());
    }
    let events = || rows.iter().map(|row| &row.event);
    let tenants: Vec<&str> = events().map(|event| event.tenant.as_str()).collect();
    let ids: Vec<&str> = events().map(|event| event.id.as_str()).collect();
    let accepted: Vec<i64> = events().map(|event| event.accepted_at.as_millis()).collect();
    let types: Vec<&str> = events().map(|event| event.event_type.as_str()).collect();
    let origins: Vec<i16> = rows.iter().map(|row| origin_code(row.origin)).collect();
    let majors: Vec<i32> = events().map(|event| i32::from(event.schema_version.major)).collect();
    let minors: Vec<i32> = events().map(|event| i32::from(event.schema_version.minor)).collect();
    let happened: Vec<i64> = events().map(|event| event.timestamp.as_millis()).collect();
    let matched: Vec<i32> = rows.iter().map(|row| i32::try_from(row.matched).unwrap_or(i32::MAX)).collect();
    let data: Vec<&[u8]> = events().map(|event| event.data.as_bytes().as_ref()).collect();
    let summaries: Vec<Option<&[u8]>> =
        events().map(|event| event.summary.as_deref().map(str::as_bytes)).collect();
    let workflows: Vec<Option<&[u8]>> =
        events().map(|event| event.workflow.as_ref().map(|workflow| workflow.as_bytes().as_ref())).collect();
    session
        .execute(
            INSERT,
            &[
                &tenants, &ids, &accepted, &types, &origins, &majors, &minors, &happened, &matched, &data,
                &summaries, &workflows,
            ],
        )
        .await?;
    Ok(())
}

/// Of the deliveries just inserted, the events that no accepted record of this batch tells of; each once, with
/// the earliest time, its own deliveries before replays.
pub(super) fn told_by<'a>(rows: &[&'a DeliveryRow], states: &HashMap<Id, RowState>) -> Vec<Told<'a>> {
    let mut events: BTreeMap<(&str, &str), Told<'a>> = BTreeMap::new();
    for row in rows {
        let is_new = states.get(&row.reference.id.into()).is_some_and(|state| state.is_new);
        if !is_new || row.is_accepted_here {
            continue;
        }
        let told = Told {
            tenant: row.reference.tenant.as_str(),
            id: row.reference.event_id.as_str(),
            event_type: row.reference.event_type.as_str(),
            accepted_at: row.reference.accepted_at,
            is_replay: row.reference.replay > 0,
        };
        let known = events.entry((told.tenant, told.id)).or_insert(told);
        if (told.is_replay, told.accepted_at) < (known.is_replay, known.accepted_at) {
            *known = told;
        }
    }
    events.into_values().collect()
}

pub(super) async fn insert_in_doubt(session: &mut Session, told: &[Told<'_>]) -> Result<(), Fault> {
    let (replays, own): (Vec<Told<'_>>, Vec<Told<'_>>) =
        told.iter().copied().partition(|told| told.is_replay);
    for (sql, told) in [(INSERT_IN_DOUBT, own), (INSERT_IN_DOUBT_BY_REPLAY, replays)] {
        if !told.is_empty() {
            let (tenants, ids, accepted) = columns(&told);
            let types: Vec<&str> = told.iter().map(|told| told.event_type).collect();
            session.execute(sql, &[&tenants, &ids, &accepted, &types]).await?;
        }
    }
    Ok(())
}

/// After the commit.
pub(super) async fn settle_doubts(
    session: &mut Session,
    accepted: &[&EventRow],
    told: &[Told<'_>],
) -> Result<(), Fault> {
    if !accepted.is_empty() {
        let tenants: Vec<&str> = accepted.iter().map(|row| row.event.tenant.as_str()).collect();
        let ids: Vec<&str> = accepted.iter().map(|row| row.event.id.as_str()).collect();
        session.execute(SETTLE_ACCEPTED, &[&tenants, &ids]).await?;
    }
    if !told.is_empty() {
        let (tenants, ids, accepted) = columns(told);
        session.execute(SETTLE_TOLD, &[&tenants, &ids, &accepted]).await?;
    }
    Ok(())
}

fn columns<'a>(told: &[Told<'a>]) -> (Vec<&'a str>, Vec<&'a str>, Vec<i64>) {
    let tenants = told.iter().map(|told| told.tenant).collect();
    let ids = told.iter().map(|told| told.id).collect();
    (tenants, ids, told.iter().map(|told| told.accepted_at.as_millis()).collect())
}
