//! The delivery log in memory. Rules of [`LogWrites`] are kept here; what is asked of it is in its siblings.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use async_trait::async_trait;

use super::Outage;
use super::watched::Watched;
use crate::attempt::AttemptResult;
use crate::clock::{Day, Timestamp};
use crate::delivery::{Origin, Position};
use crate::ids::{AttemptId, DeliveryId, EventId, TenantId};
use crate::journal::HeldRecord;
use crate::log::{AttemptRow, DeliveryRow, EventRow, LogWrites, Rank};
use crate::outcome::DeliveryStatus;
use crate::ports::{
    AnswerBody, AttemptView, DeliveryLog, DeliveryView, EventView, OverdueDelivery, StoreError,
};

/// Clones share one log. It implements the log's both sides and the waiting room.
#[derive(Clone, Debug)]
pub struct FakeLog {
    pub(super) rows: Arc<Watched<Rows>>,
    pub(super) outage: Arc<Outage>,
}

#[derive(Debug)]
pub(super) struct StoredDelivery {
    pub rank: Rank,
    pub view: DeliveryView,
}

#[derive(Debug)]
pub(super) struct RoomRow {
    pub held: HeldRecord,
    pub released_at: Option<Timestamp>,
}

#[derive(Debug, Default)]
pub(super) struct Rows {
    pub events: BTreeMap<(TenantId, EventId), EventView>,
    pub deliveries: BTreeMap<DeliveryId, StoredDelivery>,
    pub attempts: BTreeMap<AttemptId, (DeliveryId, AttemptView)>,
    /// By delivery and hold number.
    pub room: BTreeMap<(DeliveryId, u32), RoomRow>,
}

impl FakeLog {
    #[must_use]
    pub fn new(outage: Arc<Outage>) -> Self {
        FakeLog { rows: Arc::new(Watched::new(Rows::default())), outage }
    }

    /// How far the log knows a delivery to be.
    #[must_use]
    pub fn rank(&self, delivery: DeliveryId) -> Option<Rank> {
        self.rows.read(|rows| rows.deliveries.get(&delivery).map(|row| row.rank))
    }

    /// Whether a delivery waits in the room, not released.
    #[must_use]
    pub fn is_waiting(&self, delivery: DeliveryId) -> bool {
        let of_this = (delivery, 0)..=(delivery, u32::MAX);
        self.rows.read(|rows| rows.room.range(of_this).any(|(_, row)| row.released_at.is_none()))
    }

    /// Whether an event's accepted record was written.
    #[must_use]
    pub fn is_accepted(&self, tenant: &TenantId, event: &EventId) -> bool {
        let key = (tenant.clone(), event.clone());
        self.rows.read(|rows| rows.events.get(&key).is_some_and(|event| !event.in_doubt))
    }

    /// Every delivery that has a row.
    #[must_use]
    pub fn all_deliveries(&self) -> Vec<DeliveryView> {
        self.rows.read(|rows| rows.deliveries.values().map(|row| row.view.clone()).collect())
    }
}

impl StoredDelivery {
    fn new(row: &DeliveryRow) -> Self {
        let view = DeliveryView {
            reference: row.reference.clone(),
            origin: row.origin,
            status: row.status,
            reason: row.reason,
            due_at: row.due_at,
            held_since: row.held_since,
            concluded_at: row.concluded_at,
            attempts: row.attempts,
            last_code: row.last_code,
            last_error: row.last_error.map(str::to_owned),
            profile: row.profile.clone(),
            rendered_with: row.rendered_with,
        };
        StoredDelivery { rank: row.rank, view }
    }

    fn merge(&mut self, row: &DeliveryRow) {
        let view = &mut self.view;
        if row.rank > self.rank {
            self.rank = row.rank;
            view.status = row.status;
            view.reason = row.reason;
            view.due_at = row.due_at;
            view.held_since = row.held_since;
            view.concluded_at = row.concluded_at;
        }
        if row.attempts > view.attempts {
            view.attempts = row.attempts;
            view.last_code = row.last_code;
            view.last_error = row.last_error.map(str::to_owned);
        }
        if row.origin != Origin::Producer {
            view.origin = row.origin;
        }
        if view.profile.is_none() {
            view.profile.clone_from(&row.profile);
        }
        view.rendered_with = view.rendered_with.or(row.rendered_with);
    }
}

impl Rows {
    fn put_event(&mut self, row: &EventRow) {
        let event = row.event.clone();
        let key = (event.tenant.clone(), event.id.clone());
        if self.events.get(&key).is_some_and(|known| !known.in_doubt) {
            return;
        }
        let view = EventView {
            tenant: event.tenant,
            id: event.id,
            event_type: event.event_type,
            accepted_at: event.accepted_at,
            in_doubt: false,
            timestamp: Some(event.timestamp),
            schema_version: Some(event.schema_version),
            data: Some(event.data),
            summary: event.summary,
            workflow: event.workflow,
            matched: Some(row.matched),
        };
        self.events.insert(key, view);
    }

    fn put_delivery(&mut self, row: &DeliveryRow) {
        if let Some(known) = self.deliveries.get_mut(&row.reference.id) {
            known.merge(row);
        } else {
            self.deliveries.insert(row.reference.id, StoredDelivery::new(row));
            if !row.is_accepted_here {
                self.doubt_event(row);
            }
        }
        if let Some(attempt) = &row.first_attempt {
            self.put_attempt(attempt);
        }
    }

    fn doubt_event(&mut self, row: &DeliveryRow) {
        let reference = &row.reference;
        let key = (reference.tenant.clone(), reference.event_id.clone());
        self.events.entry(key).or_insert_with(|| EventView {
            tenant: reference.tenant.clone(),
            id: reference.event_id.clone(),
            event_type: reference.event_type.clone(),
            accepted_at: reference.accepted_at,
            in_doubt: true,
            timestamp: None,
            schema_version: None,
            data: None,
            summary: None,
            workflow: None,
            matched: None,
        });
    }

    fn put_attempt(&mut self, row: &AttemptRow) {
        let view = AttemptView { attempt: row.attempt.clone(), outcome: row.outcome, body: AnswerBody::Kept };
        self.attempts.entry(row.attempt.id).or_insert((row.delivery, view));
    }

    fn put_hold(&mut self, held: &HeldRecord) {
        let (id, position) = (held.delivery.reference.id, held.delivery.position);
        if self.deliveries.get(&id).is_some_and(|row| row.rank > Rank::held(position)) {
            return;
        }
        self.room
            .entry((id, position.holds))
            .or_insert_with(|| RoomRow { held: held.clone(), released_at: None });
    }

    fn days(&self) -> BTreeSet<Day> {
        let of_events = self.events.values().map(|event| event.accepted_at.day());
        of_events.chain(self.deliveries.values().map(|row| row.view.reference.accepted_at.day())).collect()
    }

    fn drop_day(&mut self, day: Day) {
        self.events.retain(|_, event| event.accepted_at.day() != day);
        self.deliveries.retain(|_, row| row.view.reference.accepted_at.day() != day);
        let deliveries = &self.deliveries;
        self.attempts.retain(|_, (delivery, _)| deliveries.contains_key(delivery));
    }
}

#[async_trait]
impl DeliveryLog for FakeLog {
    async fn apply(&self, writes: &LogWrites) -> Result<(), StoreError> {
        self.outage.check()?;
        self.rows.change(|rows| {
            writes.events.iter().for_each(|row| rows.put_event(row));
            writes.deliveries.iter().for_each(|row| rows.put_delivery(row));
            writes.attempts.iter().for_each(|row| rows.put_attempt(row));
            writes.holds.iter().for_each(|held| rows.put_hold(held));
            for exit in &writes.exits {
                rows.room.retain(|(delivery, holds), _| *delivery != exit.delivery || *holds > exit.holds);
            }
        });
        Ok(())
    }

    async fn is_recorded(&self, tries: &[(DeliveryId, Position)]) -> Result<Vec<bool>, StoreError> {
        self.outage.check()?;
        Ok(self.rows.read(|rows| {
            let is_past = |(id, position): &(DeliveryId, Position)| {
                rows.deliveries.get(id).is_some_and(|row| row.rank.is_past(*position))
            };
            tries.iter().map(is_past).collect()
        }))
    }

    async fn has_moved_on(&self, id: DeliveryId, from: Position) -> Result<bool, StoreError> {
        self.outage.check()?;
        Ok(self.rows.read(|rows| rows.deliveries.get(&id).is_some_and(|row| row.rank.is_beyond(from))))
    }

    async fn overdue(&self, before: Timestamp, limit: u32) -> Result<Vec<OverdueDelivery>, StoreError> {
        self.outage.check()?;
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let mut found: Vec<OverdueDelivery> =
            self.rows.read(|rows| rows.deliveries.values().filter_map(overdue).collect());
        found.retain(|delivery| delivery.due_at < before);
        found.sort_by_key(|delivery| (delivery.due_at, delivery.reference.id));
        found.truncate(limit);
        Ok(found)
    }

    async fn prepare_days(&self, _first: Day, _last: Day) -> Result<(), StoreError> {
        self.outage.check()
    }

    async fn first_day(&self) -> Result<Option<Day>, StoreError> {
        self.outage.check()?;
        Ok(self.rows.read(|rows| rows.days().first().copied()))
    }

    async fn drop_days_before(&self, day: Day) -> Result<Vec<Day>, StoreError> {
        self.outage.check()?;
        Ok(self.rows.change(|rows| {
            let unconcluded = rows.deliveries.values().filter(|row| !row.view.status.is_concluded());
            let kept: BTreeSet<Day> = unconcluded.map(|row| row.view.reference.accepted_at.day()).collect();
            let mut dropped: Vec<Day> = rows.days().range(..day).copied().collect();
            dropped.retain(|day| !kept.contains(day));
            dropped.iter().for_each(|day| rows.drop_day(*day));
            dropped
        }))
    }

    async fn drop_bodies_before(&self, day: Day) -> Result<Vec<Day>, StoreError> {
        self.outage.check()?;
        Ok(self.rows.change(|rows| {
            let mut dropped = BTreeSet::new();
            for (delivery, view) in rows.attempts.values_mut() {
                let own = delivery.time().day();
                if own < day && drop_body(view) {
                    dropped.insert(own);
                }
            }
            dropped.into_iter().collect()
        }))
    }
}

/// Whether there was one.
fn drop_body(view: &mut AttemptView) -> bool {
    let AttemptResult::Response(response) = &mut view.attempt.result else { return false };
    let had_body = !std::mem::take(&mut response.body).is_empty();
    if had_body {
        view.body = AnswerBody::Expired;
    }
    had_body
}

fn overdue(row: &StoredDelivery) -> Option<OverdueDelivery> {
    let view = &row.view;
    if !matches!(view.status, DeliveryStatus::Pending | DeliveryStatus::Retrying) {
        return None;
    }
    Some(OverdueDelivery {
        reference: view.reference.clone(),
        origin: view.origin,
        position: row.rank.position()?,
        due_at: view.due_at?,
        rendered: view.profile.clone().zip(view.rendered_with),
    })
}
