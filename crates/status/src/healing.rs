//! Heals: a delivery long past its due time, whose message must have been lost, is published again, with a check.
//!
//! A delivery that is late because the queues are behind is not overdue: healing waits while they are, though not for
//! ever. One that cannot be rendered again is told of once and, after a day, concluded.

use std::collections::HashMap;
use std::time::Duration;

use postrider_contract::clock::Timestamp;
use postrider_contract::delivery::{Check, Delivery, DeliveryRef, Position, Work};
use postrider_contract::ids::DeliveryId;
use postrider_contract::journal::{ConcludedRecord, Conclusion, JournalRecord, ReleasedRecord};
use postrider_contract::log::fold;
use postrider_contract::outcome::FailureReason;
use postrider_contract::ports::{OverdueDelivery, Publication, PublishError, QueueError, Route, StoreError};
use postrider_service::failpoint::{InjectedFailure, hit};

use crate::duties::DutyParts;
use crate::rerendering::{RenderedAs, event_of};

/// At once; the next round takes the next.
const PER_ROUND: u32 = 256;
/// So many times past the bound, a delivery is healed although work stands in the queues: a busy installation is never
/// without any, and whatever is an hour late (at the default bound) has been overtaken by all that came after it.
const URGENT_AFTER: u32 = 6;
/// How long after its event was accepted a delivery that cannot be rendered is given up: by then whatever was only late,
/// a journal record or a store, has been back for hours, and somebody could have mended it.
const GIVE_UP_AFTER: Duration = Duration::from_secs(24 * 3_600);
/// Which deliveries were complained of; past this many, some are complained of again.
const TOLD_AT_MOST: usize = 10_000;

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
    #[error(transparent)]
    Injected(#[from] InjectedFailure),
}

/// Deliveries that cannot be rendered again, and of which the log was told already: each is said once.
#[derive(Debug, Default)]
pub(crate) struct Told(HashMap<DeliveryId, Timestamp>);

impl Told {
    /// Since when it is known; `None` if this is news.
    fn since(&mut self, delivery: DeliveryId, now: Timestamp) -> Option<Timestamp> {
        if self.0.len() >= TOLD_AT_MOST {
            self.0.clear();
        }
        let known = self.0.get(&delivery).copied();
        if known.is_none() {
            self.0.insert(delivery, now);
        }
        known
    }
}

/// One round. Answers how many were published again.
///
/// What cannot be rendered again hides nothing behind it: its due time moves on by a round's worth, or it is concluded.
pub(crate) async fn heal(parts: &DutyParts, told: &mut Told) -> Result<usize, HealError> {
    let now = parts.clock.now();
    let bound = parts.healing.overdue_after;
    let mut overdue = parts.log.overdue(now.minus(bound), PER_ROUND).await?;
    parts.metrics.overdue.set(i64::try_from(overdue.len()).unwrap_or(i64::MAX));
    if overdue.is_empty() || journal_is_behind(parts).await? {
        return Ok(0);
    }
    if work_stands_in_the_queues(parts).await? {
        let urgent = now.minus(bound * URGENT_AFTER);
        overdue.retain(|one| one.due_at < urgent);
    }
    let (mut publications, mut released, mut passed_over) = (Vec::new(), Vec::new(), Vec::new());
    for one in overdue {
        let (reference, position) = (one.reference.clone(), step_on(one.position));
        match again(parts, one).await? {
            Some(delivery) => {
                tracing::info!(
                    delivery.id = %reference.id,
                    webhook.id = %reference.webhook,
                    "publishing an overdue delivery again"
                );
                publications.push(Publication { route: Route::Release, work: Work::Deliver(delivery) });
                released.push(step(reference, position, now));
            }
            None => passed_over.push(pass_over(reference, position, now, told)),
        }
    }
    if !passed_over.is_empty() {
        parts.log.apply(&fold(passed_over)).await?;
    }
    let count = publications.len();
    if count > 0 {
        hit("heal.before_publish")?;
        parts.queue.publish(publications).await?;
        parts.metrics.healed.inc_by(u64::try_from(count).unwrap_or(u64::MAX));
        hit("heal.after_publish")?;
        parts.log.apply(&fold(released)).await?;
        tracing::warn!(count, "published overdue deliveries again");
    }
    Ok(count)
}

/// While the journal is not read to within the bound, lateness proves nothing: what is missing may stand in it.
async fn journal_is_behind(parts: &DutyParts) -> Result<bool, QueueError> {
    let now = parts.clock.now();
    let unread = now.since(parts.journal.settled_until(now).await?);
    Ok(unread > parts.healing.overdue_after / 2)
}

async fn work_stands_in_the_queues(parts: &DutyParts) -> Result<bool, QueueError> {
    Ok(parts.queue.depths().await?.tries() > 0)
}

/// What becomes of a delivery that cannot be rendered again: looked at later, or ended.
fn pass_over(delivery: DeliveryRef, position: Position, now: Timestamp, told: &mut Told) -> JournalRecord {
    // From when it was first found so, not from when it was accepted: its schedule may be days long, and its retry may
    // only be late because broker or workers were away.
    let since = told.since(delivery.id, now);
    if since.is_some_and(|since| now.since(since) > GIVE_UP_AFTER) {
        tracing::error!(
            delivery.id = %delivery.id,
            webhook.id = %delivery.webhook,
            "an overdue delivery ends as failed: for a day it could not be rendered again"
        );
        let conclusion = Conclusion::Failed(FailureReason::Internal);
        return JournalRecord::Concluded(ConcludedRecord { delivery, conclusion, at: now });
    }
    if since.is_none() {
        tracing::error!(
            delivery.id = %delivery.id,
            webhook.id = %delivery.webhook,
            "an overdue delivery cannot be rendered again: its event is in doubt, or what it was rendered with is gone"
        );
    }
    step(delivery, position, now)
}

/// A step on, so that the new due time counts.
fn step_on(position: Position) -> Position {
    Position { deferrals: position.deferrals.saturating_add(1), ..position }
}

fn step(delivery: DeliveryRef, position: Position, now: Timestamp) -> JournalRecord {
    JournalRecord::Released(ReleasedRecord { delivery, position, released_at: now })
}

async fn again(parts: &DutyParts, overdue: OverdueDelivery) -> Result<Option<Delivery>, StoreError> {
    let OverdueDelivery { reference, origin, position, due_at: _, rendered } = overdue;
    let Some((profile, rendered_with)) = rendered else { return Ok(None) };
    let Some(view) = parts.queries.event(&reference.tenant, &reference.event_id).await? else {
        return Ok(None);
    };
    let Some(event) = event_of(view) else { return Ok(None) };
    let rendered = RenderedAs { webhook: reference.webhook, profile: &profile, rendered_with };
    let Some(again) = parts.rerendering.again(&event, rendered).await? else { return Ok(None) };
    Ok(Some(Delivery {
        reference,
        position: step_on(position),
        origin,
        check: Check::LookUp,
        due_at: parts.clock.now(),
        parked_for: Duration::ZERO,
        profile,
        rendered_with,
        schema_version: again.schema_version,
        event_timestamp: event.timestamp,
        query: again.query,
        body: again.body,
    }))
}

#[cfg(test)]
mod tests;
