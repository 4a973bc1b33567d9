//! What workers ask before they send again, and healing before it publishes again.

use std::collections::HashMap;
use std::sync::Arc;

use postrider_contract::clock::Timestamp;
use postrider_contract::delivery::Position;
use postrider_contract::ids::DeliveryId;
use postrider_contract::log::Rank;
use postrider_contract::ports::{OverdueDelivery, StoreError};

use super::views::{profile, reference, rendered_with};
use crate::errors::{corrupt, unavailable};
use crate::session::Database;
use crate::stored::{Id, get, origin, time};

/// The bounds let days be passed over, whatever the plan.
const RANKS: &str = "SELECT id, rank FROM deliveries WHERE id = ANY($1::uuid[]) AND id >= $2 AND id <= $3";
/// By the partial index on what is not concluded, day by day.
const OVERDUE: &str =
    "SELECT id, tenant, event_id, event_type, webhook, kind, origin, replay, accepted_at, rank,
        due_at, profile, rendered_webhook, rendered_profile, rendered_tenant
    FROM deliveries
    WHERE concluded_at IS NULL AND due_at < $1
    ORDER BY due_at LIMIT $2";

/// Whoever asks waits for some milliseconds only. The statement then goes on without them, so that its
/// connection is used again instead of closed.
pub(super) async fn is_recorded(
    database: &Arc<Database>,
    tries: &[(DeliveryId, Position)],
) -> Result<Vec<bool>, StoreError> {
    let mut ids: Vec<Id> = tries.iter().map(|(delivery, _)| Id::from(*delivery)).collect();
    ids.sort_unstable();
    ids.dedup();
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let asking = tokio::spawn(ranks(Arc::clone(database), ids));
    let ranks = asking.await.map_err(|_| unavailable("the look-up was ended with the program"))??;
    let is_past = |(delivery, position): &(DeliveryId, Position)| {
        ranks.get(&Id::from(*delivery)).is_some_and(|rank| rank.is_past(*position))
    };
    Ok(tries.iter().map(is_past).collect())
}

pub(super) async fn has_moved_on(
    database: &Arc<Database>,
    id: DeliveryId,
    from: Position,
) -> Result<bool, StoreError> {
    let ranks = ranks(Arc::clone(database), vec![Id::from(id)]).await?;
    Ok(ranks.values().any(|rank| rank.is_beyond(from)))
}

async fn ranks(database: Arc<Database>, ids: Vec<Id>) -> Result<HashMap<Id, Rank>, StoreError> {
    let (Some(first), Some(last)) = (ids.first(), ids.last()) else { return Ok(HashMap::new()) };
    let rows = database.query(RANKS, &[&ids, first, last]).await?;
    let pair = |row| Ok((get::<Id>(row, "id")?, Rank::from_number(get(row, "rank")?)));
    rows.iter().map(pair).collect()
}

pub(super) async fn overdue(
    database: &Database,
    before: Timestamp,
    limit: u32,
) -> Result<Vec<OverdueDelivery>, StoreError> {
    let rows = database.query(OVERDUE, &[&before.as_millis(), &i64::from(limit)]).await?;
    let mut overdue = Vec::with_capacity(rows.len());
    for row in &rows {
        let rank = Rank::from_number(get(row, "rank")?);
        overdue.push(OverdueDelivery {
            reference: reference(row)?,
            origin: origin(row)?,
            position: rank.position().ok_or_else(|| corrupt("a delivery that is due has no position"))?,
            due_at: time(row, "due_at")?,
            rendered: profile(row)?.zip(rendered_with(row)?),
        });
    }
    Ok(overdue)
}
