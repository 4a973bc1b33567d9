//! Deliveries: one statement that inserts new rows and moves known ones on, by rank.
//!
//! The table has three indexes on every row, the least with which a row's own tenant and webhook find it in
//! order; the others are partial and hold only what is not simply delivered (see the migration).

use std::collections::{BTreeSet, HashMap};

use postrider_contract::log::DeliveryRow;
use postrider_contract::wire;

use crate::errors::Fault;
use crate::session::Session;
use crate::stored::{Id, get, kind_code, millis, origin_code, signed, status_code};

/// A row is left as it is, and not returned, where nothing would change.
const UPSERT: &str = "INSERT INTO deliveries AS d (
        id, tenant, event_id, event_type, webhook, kind, origin, replay, accepted_at,
        rank, status, reason, due_at, held_since, concluded_at, attempts, last_code, last_error,
        profile, rendered_webhook, rendered_profile, rendered_tenant, first_attempt_id, first_attempt)
    SELECT * FROM unnest(
        $1::uuid[], $2::text[], $3::text[], $4::text[], $5::uuid[], $6::smallint[], $7::smallint[], $8::bigint[],
        $9::bigint[], $10::bigint[], $11::smallint[], $12::text[], $13::bigint[], $14::bigint[], $15::bigint[],
        $16::bigint[], $17::integer[], $18::text[], $19::text[], $20::bigint[], $21::bigint[], $22::bigint[],
        $23::uuid[], $24::bytea[])
    ON CONFLICT (id) DO UPDATE SET
        origin = CASE WHEN excluded.origin <> 0 THEN excluded.origin ELSE d.origin END,
        rank = GREATEST(d.rank, excluded.rank),
        status = CASE WHEN excluded.rank > d.rank THEN excluded.status ELSE d.status END,
        reason = CASE WHEN excluded.rank > d.rank THEN excluded.reason ELSE d.reason END,
        due_at = CASE WHEN excluded.rank > d.rank THEN excluded.due_at ELSE d.due_at END,
        held_since = CASE WHEN excluded.rank > d.rank THEN excluded.held_since ELSE d.held_since END,
        concluded_at = CASE WHEN excluded.rank > d.rank THEN excluded.concluded_at ELSE d.concluded_at END,
        attempts = GREATEST(d.attempts, excluded.attempts),
        last_code = CASE WHEN excluded.attempts > d.attempts THEN excluded.last_code ELSE d.last_code END,
        last_error = CASE WHEN excluded.attempts > d.attempts THEN excluded.last_error ELSE d.last_error END,
        profile = COALESCE(d.profile, excluded.profile),
        rendered_webhook = COALESCE(d.rendered_webhook, excluded.rendered_webhook),
        rendered_profile = COALESCE(d.rendered_profile, excluded.rendered_profile),
        rendered_tenant = COALESCE(d.rendered_tenant, excluded.rendered_tenant),
        first_attempt_id = COALESCE(d.first_attempt_id, excluded.first_attempt_id),
        first_attempt =
            CASE WHEN d.first_attempt_id IS NULL THEN excluded.first_attempt ELSE d.first_attempt END,
        writes = d.writes + 1
    WHERE excluded.rank > d.rank OR excluded.attempts > d.attempts
        OR (excluded.origin <> 0 AND d.origin = 0)
        OR (excluded.profile IS NOT NULL AND d.profile IS NULL)
        OR (excluded.rendered_webhook IS NOT NULL AND d.rendered_webhook IS NULL)
        OR (excluded.first_attempt_id IS NOT NULL AND d.first_attempt_id IS NULL)
    RETURNING d.id, d.rank, d.first_attempt_id, d.writes = 1 AS is_new";
/// The bounds let days be passed over, whatever the plan.
const LOOK_UP: &str = "SELECT id, rank, first_attempt_id, false AS is_new FROM deliveries
    WHERE id = ANY($1::uuid[]) AND id >= $2 AND id <= $3";

/// A delivery's row after the upsert.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RowState {
    pub(super) rank: i64,
    pub(super) first_attempt: Option<Id>,
    pub(super) is_new: bool,
}

/// Answers the rows that were inserted or changed. All rows are locked until the transaction ends, those that
/// stayed as they were too.
pub(super) async fn upsert(
    session: &mut Session,
    rows: &[&DeliveryRow],
) -> Result<HashMap<Id, RowState>, Fault> {
    let mut states = HashMap::with_capacity(rows.len());
    if rows.is_empty() {
        return Ok(states);
    }
    let columns = Columns::of(rows);
    let attempts: Vec<Option<&[u8]>> = columns.first_attempts.iter().map(Option::as_deref).collect();
    let written = session
        .query(
            UPSERT,
            &[
                &columns.ids,
                &columns.tenants,
                &columns.events,
                &columns.event_types,
                &columns.webhooks,
                &columns.kinds,
                &columns.origins,
                &columns.replays,
                &columns.accepted,
                &columns.ranks,
                &columns.statuses,
                &columns.reasons,
                &columns.due,
                &columns.held,
                &columns.concluded,
                &columns.attempts,
                &columns.codes,
                &columns.errors,
                &columns.profiles,
                &columns.rendered_webhooks,
                &columns.rendered_profiles,
                &columns.rendered_tenants,
                &columns.first_attempt_ids,
                &attempts,
            ],
        )
        .await?;
    add_states(&written, &mut states)?;
    Ok(states)
}

/// Adds the states of rows that the upsert did not answer.
pub(super) async fn look_up(
    session: &mut Session,
    ids: &BTreeSet<Id>,
    states: &mut HashMap<Id, RowState>,
) -> Result<(), Fault> {
    let (Some(first), Some(last)) = (ids.first(), ids.last()) else { return Ok(()) };
    let all: Vec<Id> = ids.iter().copied().collect();
    let rows = session.query(LOOK_UP, &[&all, first, last]).await?;
    add_states(&rows, states)
}

fn add_states(rows: &[tokio_postgres::Row], states: &mut HashMap<Id, RowState>) -> Result<(), Fault> {
    for row in rows {
        let state = RowState {
            rank: get(row, "rank")?,
            first_attempt: get(row, "first_attempt_id")?,
            is_new: get(row, "is_new")?,
        };
        states.insert(get(row, "id")?, state);
    }
    Ok(())
}

#[derive(Default)]
struct Columns<'a> {
    ids: Vec<Id>,
    tenants: Vec<&'a str>,
    events: Vec<&'a str>,
    event_types: Vec<&'a str>,
    webhooks: Vec<Id>,
    kinds: Vec<i16>,
    origins: Vec<i16>,
    replays: Vec<i64>,
    accepted: Vec<i64>,
    ranks: Vec<i64>,
    statuses: Vec<i16>,
    reasons: Vec<Option<&'static str>>,
    due: Vec<Option<i64>>,
    held: Vec<Option<i64>>,
    concluded: Vec<Option<i64>>,
    attempts: Vec<i64>,
    codes: Vec<Option<i32>>,
    errors: Vec<Option<&'static str>>,
    profiles: Vec<Option<&'a str>>,
    rendered_webhooks: Vec<Option<i64>>,
    rendered_profiles: Vec<Option<i64>>,
    rendered_tenants: Vec<Option<i64>>,
    first_attempt_ids: Vec<Option<Id>>,
    first_attempts: Vec<Option<bytes::Bytes>>,
}

impl<'a> Columns<'a> {
    fn of(rows: &[&'a DeliveryRow]) -> Self {
        let mut columns = Columns::default();
        for row in rows {
            columns.push(row);
        }
        columns
    }

    fn push(&mut self, row: &'a DeliveryRow) {
        let reference = &row.reference;
        self.ids.push(reference.id.into());
        self.tenants.push(reference.tenant.as_str());
        self.events.push(reference.event_id.as_str());
        self.event_types.push(reference.event_type.as_str());
        self.webhooks.push(Id(reference.webhook.as_u128()));
        self.kinds.push(kind_code(reference.kind));
        self.origins.push(origin_code(row.origin));
        self.replays.push(i64::from(reference.replay));
        self.accepted.push(reference.accepted_at.as_millis());
        self.ranks.push(row.rank.number());
        self.statuses.push(status_code(row.status));
        self.reasons.push(row.reason.map(|reason| reason.as_str()));
        self.due.push(millis(row.due_at));
        self.held.push(millis(row.held_since));
        self.concluded.push(millis(row.concluded_at));
        self.attempts.push(i64::from(row.attempts));
        self.codes.push(row.last_code.map(i32::from));
        self.errors.push(row.last_error);
        self.profiles.push(row.profile.as_ref().map(|profile| profile.as_str()));
        let rendered = row.rendered_with;
        self.rendered_webhooks.push(rendered.map(|with| signed(with.webhook.number())));
        self.rendered_profiles.push(rendered.map(|with| signed(with.profile.number())));
        self.rendered_tenants.push(rendered.map(|with| signed(with.tenant.number())));
        let first = row.first_attempt.as_ref();
        self.first_attempt_ids.push(first.map(|first| Id(first.attempt.id.as_u128())));
        self.first_attempts
            .push(first.map(|first| wire::encode_attempt_apart(&first.attempt, &first.outcome).0));
    }
}
