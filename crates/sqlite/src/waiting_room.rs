//! The waiting room: rows come and go with the log's batches ([`move_in_and_out`]); status releases them.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use postrider_contract::clock::Timestamp;
use postrider_contract::delivery::{Delivery, Work};
use postrider_contract::ids::{DeliveryId, TenantId, WebhookId};
use postrider_contract::log::RoomExit;
use postrider_contract::outcome::{HoldReason, StatusReason};
use postrider_contract::ports::{HeldDelivery, RoomSummary, StoreError, WaitingRoom};
use postrider_contract::wire;
use rusqlite::{Connection, Row, params};

use crate::cells;
use crate::engine::Running;
use crate::reader::Reader;

pub(crate) struct SqliteWaitingRoom {
    pub(crate) running: Arc<Running>,
    pub(crate) reader: Reader,
}

/// A hold, ready to be a row.
pub(crate) struct RoomRow {
    delivery: DeliveryId,
    holds: u32,
    tenant: TenantId,
    webhook: WebhookId,
    why: HoldReason,
    since: Timestamp,
    payload: Bytes,
}

impl RoomRow {
    pub(crate) fn new(delivery: &Delivery, why: HoldReason, since: Timestamp) -> Self {
        RoomRow {
            delivery: delivery.reference.id,
            holds: delivery.position.holds,
            tenant: delivery.reference.tenant.clone(),
            webhook: delivery.reference.webhook,
            why,
            since,
            payload: wire::encode_work(&Work::Deliver(delivery.clone())),
        }
    }

    pub(crate) fn size(&self) -> usize {
        self.payload.len()
    }
}

/// Part of applying a batch of the journal: first in, then out. Twice is as good as once.
pub(crate) fn move_in_and_out(
    connection: &Connection,
    rows: &[RoomRow],
    exits: &[RoomExit],
) -> rusqlite::Result<()> {
    for row in rows {
        connection
            .prepare_cached(
                "INSERT INTO room (delivery, holds, tenant, webhook, why, since, payload) \
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT DO NOTHING",
            )?
            .execute(params![
                row.delivery.as_u128().to_be_bytes(),
                row.holds,
                row.tenant.as_str(),
                row.webhook.as_u128().to_be_bytes(),
                StatusReason::Held(row.why).as_str(),
                row.since.as_millis(),
                row.payload.as_ref(),
            ])?;
    }
    for exit in exits {
        let mut statement =
            connection.prepare_cached("DELETE FROM room WHERE delivery = ?1 AND holds <= ?2")?;
        statement.execute(params![exit.delivery.as_u128().to_be_bytes(), exit.holds])?;
    }
    Ok(())
}

#[async_trait]
impl WaitingRoom for SqliteWaitingRoom {
    async fn summaries(&self) -> Result<Vec<RoomSummary>, StoreError> {
        let read = |connection: &Connection| {
            let mut statement = connection.prepare_cached(
                "SELECT webhook, tenant, waiting, released, \
                 (SELECT min(since) FROM room WHERE room.webhook = room_count.webhook AND released_at IS NULL) \
                 FROM room_count",
            )?;
            statement.query_map([], summary)?.collect()
        };
        self.reader.read(read).await
    }

    async fn oldest(&self, webhook: WebhookId, limit: u32) -> Result<Vec<HeldDelivery>, StoreError> {
        self.reader.read(move |connection: &Connection| oldest(connection, webhook, limit)).await
    }

    async fn oldest_of(&self, wanted: &[(WebhookId, u32)]) -> Result<Vec<HeldDelivery>, StoreError> {
        let wanted = wanted.to_vec();
        let read = move |connection: &Connection| {
            let mut found = Vec::new();
            for (webhook, limit) in wanted {
                found.extend(oldest(connection, webhook, limit)?);
            }
            Ok(found)
        };
        self.reader.read(read).await
    }

    async fn mark_released(&self, released: Vec<(DeliveryId, u32)>, at: Timestamp) -> Result<(), StoreError> {
        let work = move |connection: &Connection| {
            let mut statement = connection
                .prepare_cached("UPDATE room SET released_at = ?3 WHERE delivery = ?1 AND holds = ?2")?;
            released.iter().try_for_each(|(delivery, holds)| {
                statement
                    .execute(params![delivery.as_u128().to_be_bytes(), holds, at.as_millis()])
                    .map(|_| ())
            })
        };
        Ok(self.running.writer.write(0, work, |()| ()).await?)
    }

    async fn reopen_released_before(&self, time: Timestamp) -> Result<u64, StoreError> {
        let work = move |connection: &Connection| {
            connection
                .prepare_cached("UPDATE room SET released_at = NULL WHERE released_at < ?1")?
                .execute([time.as_millis()])
        };
        let count = self.running.writer.write(0, work, |count| count).await?;
        Ok(u64::try_from(count).unwrap_or(u64::MAX))
    }
}

fn oldest(connection: &Connection, webhook: WebhookId, limit: u32) -> rusqlite::Result<Vec<HeldDelivery>> {
    let mut statement = connection.prepare_cached(
        "SELECT payload, why, since FROM room WHERE webhook = ?1 AND released_at IS NULL \
         ORDER BY since, delivery LIMIT ?2",
    )?;
    let rows = statement.query_map(params![webhook.as_u128().to_be_bytes(), limit], held)?;
    // What a newer version wrote, or what is damaged, waits on where it is and hides nobody else's.
    rows.filter_map(|row| match row {
        Err(rusqlite::Error::FromSqlConversionFailure(_, _, reason)) => {
            tracing::error!(%reason, "a held delivery cannot be read; it waits on");
            None
        }
        row => Some(row),
    })
    .collect()
}

fn summary(row: &Row<'_>) -> rusqlite::Result<RoomSummary> {
    Ok(RoomSummary {
        webhook: WebhookId::from_u128(cells::id(row, 0)?),
        tenant: cells::parsed(row, 1, "tenant")?,
        waiting: cells::count(row, 2)?,
        released: cells::count(row, 3)?,
        oldest: cells::time_or_none(row, 4)?,
    })
}

fn held(row: &Row<'_>) -> rusqlite::Result<HeldDelivery> {
    let payload = Bytes::from(row.get::<_, Vec<u8>>(0)?);
    let delivery = match wire::decode_work(payload) {
        Ok(Work::Deliver(delivery)) => delivery,
        Ok(Work::FanOut(_)) | Err(_) => return Err(cells::invalid(0, "held delivery")),
    };
    let why = match StatusReason::from_word(row.get_ref(1)?.as_str()?) {
        Some(StatusReason::Held(why)) => why,
        Some(StatusReason::Failed(_) | StatusReason::Canceled(_)) | None => {
            return Err(cells::invalid(1, "reason of a hold"));
        }
    };
    Ok(HeldDelivery { delivery, why, since: cells::time(row, 2)? })
}
