//! Heals: a delivery long past its due time, whose message must have been lost, is published again, with a check.
//!
//! A delivery that is late because the queues are behind is not overdue: healing waits while they are.

use std::time::Duration;

use postrider_contract::delivery::{Check, Delivery, Position, Work};
use postrider_contract::journal::{JournalRecord, ReleasedRecord};
use postrider_contract::log::fold;
use postrider_contract::ports::{OverdueDelivery, Publication, PublishError, QueueError, Route, StoreError};

use crate::duties::DutyParts;
use crate::rerendering::{RenderedAs, event_of};

/// At once; the next round takes the next.
const PER_ROUND: u32 = 256;

/// When a delivery is overdue.
#[derive(Clone, Copy, Debug)]
pub struct HealingBounds {
    pub overdue_after: Duration,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum HealError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Queue(#[from] QueueError),
    #[error("cannot publish overdue deliveries")]
    Publish(#[from] PublishError),
}

/// One round. Answers how many were published again.
pub(crate) async fn heal(parts: &DutyParts) -> Result<usize, HealError> {
    let now = parts.clock.now();
    let before = now.minus(parts.healing.overdue_after);
    let overdue = parts.log.overdue(before, PER_ROUND).await?;
    parts.metrics.overdue.set(i64::try_from(overdue.len()).unwrap_or(i64::MAX));
    if overdue.is_empty() || queues_are_behind(parts).await? {
        return Ok(0);
    }
    let (mut publications, mut records) = (Vec::new(), Vec::new());
    for one in overdue {
        let reference = one.reference.clone();
        let Some(delivery) = again(parts, one).await? else {
            tracing::error!(delivery.id = %reference.id, "an overdue delivery cannot be rendered again: its event is in doubt");
            continue;
        };
        let position = delivery.position;
        records.push(JournalRecord::Released(ReleasedRecord {
            delivery: reference,
            position,
            released_at: now,
        }));
        publications.push(Publication { route: Route::Release, work: Work::Deliver(delivery) });
    }
    let count = publications.len();
    if count > 0 {
        parts.queue.publish(publications).await?;
        parts.log.apply(&fold(records)).await?;
        tracing::warn!(count, "published overdue deliveries again");
    }
    Ok(count)
}

/// While anything stands in the queues, or the journal is not read to within the bound, lateness proves nothing.
async fn queues_are_behind(parts: &DutyParts) -> Result<bool, QueueError> {
    let now = parts.clock.now();
    let depths = parts.queue.depths().await?;
    let unread = now.since(parts.journal.settled_until(now).await?);
    Ok(depths.first + depths.retry + depths.release > 0 || unread > parts.healing.overdue_after / 2)
}

async fn again(parts: &DutyParts, overdue: OverdueDelivery) -> Result<Option<Delivery>, StoreError> {
    let OverdueDelivery { reference, origin, position, due_at: _, profile, rendered_with } = overdue;
    let Some(view) = parts.queries.event(&reference.tenant, &reference.event_id).await? else {
        return Ok(None);
    };
    let Some(event) = event_of(view) else { return Ok(None) };
    let rendered = RenderedAs { webhook: reference.webhook, profile: &profile, rendered_with };
    let Some(body) = parts.rerendering.body(&event, rendered).await? else { return Ok(None) };
    Ok(Some(Delivery {
        reference,
        // A step on, so that its new due time counts.
        position: Position { deferrals: position.deferrals.saturating_add(1), ..position },
        origin,
        check: Check::LookUp,
        due_at: parts.clock.now(),
        parked_for: Duration::ZERO,
        profile,
        rendered_with,
        schema_version: event.schema_version,
        event_timestamp: event.timestamp,
        body,
    }))
}

#[cfg(test)]
mod tests;
