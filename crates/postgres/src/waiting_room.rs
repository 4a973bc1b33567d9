//! The waiting room: one table, its order of release an index.
//!
//! How many wait is counted as it changes, by triggers, so that asking costs the same whatever is held: see the
//! migration that made them.

use std::sync::Arc;

use async_trait::async_trait;
use postrider_contract::clock::Timestamp;
use postrider_contract::delivery::Work;
use postrider_contract::ids::{DeliveryId, WebhookId};
use postrider_contract::journal::HeldRecord;
use postrider_contract::log::{Rank, RoomExit};
use postrider_contract::ports::{HeldDelivery, RoomSummary, StoreError, WaitingRoom};
use postrider_contract::wire;

use tokio_postgres::Row;

use crate::errors::{Fault, corrupt};
use crate::session::{Database, Session};
use crate::stored::{Id, get, hold_code, hold_reason, number, optional_time, parse, time};

/// One row a webhook, and one probe of the index for the oldest.
const SUMMARIES: &str = "WITH counts AS (
        SELECT webhook, min(tenant) AS tenant, sum(waiting)::bigint AS waiting, sum(released)::bigint AS released,
            count(*) AS parts
        FROM (SELECT * FROM room_counts UNION ALL SELECT * FROM room_changes) AS parts GROUP BY webhook
    )
    SELECT c.*, (
        SELECT w.since FROM waiting_room w WHERE w.webhook = c.webhook AND w.released_at IS NULL
        ORDER BY w.since, w.delivery, w.hold LIMIT 1
    ) AS oldest FROM counts c ORDER BY c.webhook";
/// From this many changes on they are folded into the counts: reading them takes 0.1 ms, and a busy room makes some
/// hundreds a second.
const FOLD_AT: usize = 256;
/// "room" in ASCII.
const FOLD_LOCK: i64 = 0x726f_6f6d;
const FOLD: &str = "WITH gone AS (DELETE FROM room_changes RETURNING *)
    INSERT INTO room_counts AS c
        SELECT webhook, min(tenant), sum(waiting), sum(released) FROM gone GROUP BY webhook ORDER BY webhook
    ON CONFLICT (webhook) DO UPDATE SET waiting = c.waiting + excluded.waiting, released = c.released + excluded.released";
const OLDEST_OF: &str = "SELECT held.why, held.since, held.payload
    FROM unnest($1::uuid[], $2::bigint[]) WITH ORDINALITY AS wanted (webhook, most, place), LATERAL (
        SELECT delivery, hold, why, since, payload FROM waiting_room
        WHERE webhook = wanted.webhook AND released_at IS NULL ORDER BY since, delivery, hold LIMIT wanted.most
    ) held
    ORDER BY wanted.place, held.since, held.delivery, held.hold";
const OLDEST: &str = "SELECT why, since, payload FROM waiting_room
    WHERE webhook = $1 AND released_at IS NULL ORDER BY since, delivery, hold LIMIT $2";
const MARK: &str = "WITH own AS (
        SELECT w.delivery, w.hold FROM waiting_room w
        JOIN unnest($1::uuid[], $2::bigint[]) AS u (delivery, hold) USING (delivery, hold)
        ORDER BY w.delivery, w.hold FOR UPDATE OF w
    )
    UPDATE waiting_room w SET released_at = $3 FROM own
    WHERE w.delivery = own.delivery AND w.hold = own.hold AND w.released_at IS NULL";
/// What was released, not tried, and of which the log has meanwhile heard more, need not wait again.
const DROP_GONE_ON: &str = "WITH old AS (
        SELECT delivery, hold, released_rank FROM waiting_room
        WHERE released_at < $1 ORDER BY delivery, hold FOR UPDATE
    )
    DELETE FROM waiting_room w USING old
    WHERE w.delivery = old.delivery AND w.hold = old.hold AND COALESCE(
        (SELECT d.rank FROM deliveries d WHERE d.id = old.delivery LIMIT 1) > old.released_rank, false)";
const REOPEN: &str = "WITH old AS (
        SELECT delivery, hold FROM waiting_room WHERE released_at < $1 ORDER BY delivery, hold FOR UPDATE
    )
    UPDATE waiting_room w SET released_at = NULL FROM old WHERE w.delivery = old.delivery AND w.hold = old.hold";
const INSERT: &str = "INSERT INTO waiting_room
        (delivery, hold, tenant, webhook, why, since, released_rank, payload)
    SELECT * FROM unnest($1::uuid[], $2::bigint[], $3::text[], $4::uuid[], $5::smallint[], $6::bigint[],
        $7::bigint[], $8::bytea[])
    ON CONFLICT (delivery, hold) DO NOTHING";
const LEAVE: &str = "WITH done AS (
        SELECT w.delivery, w.hold FROM waiting_room w
        JOIN unnest($1::uuid[], $2::bigint[]) AS u (delivery, hold) ON w.delivery = u.delivery AND w.hold <= u.hold
        ORDER BY w.delivery, w.hold FOR UPDATE OF w
    )
    DELETE FROM waiting_room w USING done WHERE w.delivery = done.delivery AND w.hold = done.hold";

pub(crate) struct Room {
    /// For what somebody waits for.
    database: Arc<Database>,
    writing: Arc<Database>,
}

impl Room {
    pub(crate) fn new(database: Arc<Database>, writing: Arc<Database>) -> Self {
        Room { database, writing }
    }

    /// One at a time; whoever finds another at it has nothing to do. Nothing is lost if the server crashes before
    /// it is on disk: the sums are the same without it.
    async fn fold_changes(&self) -> Result<(), StoreError> {
        let mut session = self.writing.session().await?;
        session.begin().await?;
        match fold_in(&mut session).await {
            Ok(()) => Ok(session.commit().await?),
            Err(fault) => {
                session.roll_back().await?;
                Err(fault.into())
            }
        }
    }
}

async fn fold_in(session: &mut Session) -> Result<(), Fault> {
    session.run("SET LOCAL synchronous_commit = off").await?;
    let rows = session.query("SELECT pg_try_advisory_xact_lock($1) AS is_ours", &[&FOLD_LOCK]).await?;
    if rows.first().map(|row| get(row, "is_ours")).transpose()? == Some(true) {
        session.execute(FOLD, &[]).await?;
        session.execute("DELETE FROM room_counts WHERE waiting = 0 AND released = 0", &[]).await?;
    }
    Ok(())
}

#[async_trait]
impl WaitingRoom for Room {
    async fn summaries(&self) -> Result<Vec<RoomSummary>, StoreError> {
        let rows = self.database.query(SUMMARIES, &[]).await?;
        let mut summaries = Vec::with_capacity(rows.len());
        let mut parts = 0;
        for row in &rows {
            parts += number::<usize>(row, "parts")?;
            let summary = RoomSummary {
                tenant: parse(row, "tenant")?,
                webhook: WebhookId::from_u128(get::<Id>(row, "webhook")?.0),
                waiting: number(row, "waiting")?,
                oldest: optional_time(row, "oldest")?,
                released: number(row, "released")?,
            };
            if summary.waiting > 0 || summary.released > 0 {
                summaries.push(summary);
            }
        }
        // Each webhook has one part that stays.
        if parts - rows.len() >= FOLD_AT {
            // The sums are the same without it; the next answer comes to it again.
            if let Err(error) = self.fold_changes().await {
                tracing::warn!(%error, "could not add up the counts of the waiting room");
            }
        }
        Ok(summaries)
    }

    async fn oldest(&self, webhook: WebhookId, limit: u32) -> Result<Vec<HeldDelivery>, StoreError> {
        let rows = self.database.query(OLDEST, &[&Id(webhook.as_u128()), &i64::from(limit)]).await?;
        readable(&rows)
    }

    async fn oldest_of(&self, wanted: &[(WebhookId, u32)]) -> Result<Vec<HeldDelivery>, StoreError> {
        let webhooks: Vec<Id> = wanted.iter().map(|(webhook, _)| Id(webhook.as_u128())).collect();
        let limits: Vec<i64> = wanted.iter().map(|(_, limit)| i64::from(*limit)).collect();
        let rows = self.database.query(OLDEST_OF, &[&webhooks, &limits]).await?;
        readable(&rows)
    }

    async fn mark_released(&self, released: Vec<(DeliveryId, u32)>, at: Timestamp) -> Result<(), StoreError> {
        if released.is_empty() {
            return Ok(());
        }
        let deliveries: Vec<Id> = released.iter().map(|(delivery, _)| Id::from(*delivery)).collect();
        let holds: Vec<i64> = released.iter().map(|(_, hold)| i64::from(*hold)).collect();
        self.writing.execute(MARK, &[&deliveries, &holds, &at.as_millis()]).await?;
        Ok(())
    }

    async fn reopen_released_before(&self, time: Timestamp) -> Result<u64, StoreError> {
        self.writing.execute(DROP_GONE_ON, &[&time.as_millis()]).await?;
        self.writing.execute(REOPEN, &[&time.as_millis()]).await
    }
}

/// What a newer version wrote, or what is damaged, waits on where it is and hides nobody else's.
fn readable(rows: &[Row]) -> Result<Vec<HeldDelivery>, StoreError> {
    let mut found = Vec::with_capacity(rows.len());
    for row in rows {
        match held(row) {
            Ok(held) => found.push(held),
            Err(StoreError::Corrupt { reason }) => {
                tracing::error!(reason, "a held delivery cannot be read; it waits on");
            }
            Err(error @ StoreError::Unavailable { .. }) => return Err(error),
        }
    }
    Ok(found)
}

fn held(row: &Row) -> Result<HeldDelivery, StoreError> {
    let payload: Vec<u8> = get(row, "payload")?;
    let work = wire::decode_work(payload.into())
        .map_err(|error| corrupt(format!("a delivery in the waiting room: {error}")))?;
    let Work::Deliver(delivery) = work else {
        return Err(corrupt("the waiting room holds what is not one delivery"));
    };
    Ok(HeldDelivery { delivery, why: hold_reason(row)?, since: time(row, "since")? })
}

/// Puts deliveries into the room, within the transaction that wrote their rows. Those that have gone on already
/// were left out by the caller.
pub(crate) async fn insert(session: &mut Session, holds: &[&HeldRecord]) -> Result<(), Fault> {
    if holds.is_empty() {
        return Ok(());
    }
    let ids: Vec<Id> = holds.iter().map(|held| held.delivery.reference.id.into()).collect();
    let numbers: Vec<i64> = holds.iter().map(|held| i64::from(held.delivery.position.holds)).collect();
    let tenants: Vec<&str> = holds.iter().map(|held| held.delivery.reference.tenant.as_str()).collect();
    let webhooks: Vec<Id> = holds.iter().map(|held| Id(held.delivery.reference.webhook.as_u128())).collect();
    let reasons: Vec<i16> = holds.iter().map(|held| hold_code(held.why)).collect();
    let since: Vec<i64> = holds.iter().map(|held| held.since.as_millis()).collect();
    let released: Vec<i64> =
        holds.iter().map(|held| Rank::scheduled(held.delivery.position).number()).collect();
    let payloads: Vec<bytes::Bytes> =
        holds.iter().map(|held| wire::encode_work(&Work::Deliver(held.delivery.clone()))).collect();
    let payloads: Vec<&[u8]> = payloads.iter().map(AsRef::as_ref).collect();
    session
        .execute(INSERT, &[&ids, &numbers, &tenants, &webhooks, &reasons, &since, &released, &payloads])
        .await?;
    Ok(())
}

/// Takes out those that are done with.
pub(crate) async fn remove(session: &mut Session, exits: &[RoomExit]) -> Result<(), Fault> {
    if exits.is_empty() {
        return Ok(());
    }
    let ids: Vec<Id> = exits.iter().map(|exit| exit.delivery.into()).collect();
    let holds: Vec<i64> = exits.iter().map(|exit| i64::from(exit.holds)).collect();
    session.execute(LEAVE, &[&ids, &holds]).await?;
    Ok(())
}
