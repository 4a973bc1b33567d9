//! What the journal's records mean for the log: each record is folded into rows, and rows of one delivery or
//! event are folded together, so that a batch costs one row a delivery however many records it holds.
//!
//! **Order does not matter.** Every state a delivery can be in has a [`Rank`], a single number; a row only ever
//! replaces one of a lower rank. So records may come twice, late or in any order, and an engine needs no more
//! than `… WHERE excluded.rank > rank`.
//!
//! What an engine must keep to beyond that is written at [`LogWrites`].

use std::collections::{HashMap, HashSet};

use crate::attempt::{Attempt, AttemptResult};
use crate::clock::Timestamp;
use crate::delivery::{AttemptNumber, DeliveryRef, Origin, Position, RenderedWith};
use crate::event::Event;
use crate::ids::{AttemptId, DeliveryId, EventId, TenantId};
use crate::journal::{
    AcceptedRecord, AttemptedRecord, ConcludedRecord, Conclusion, DeferredRecord, HeldRecord, JournalRecord,
    ReleasedRecord,
};
use crate::outcome::{DeliveryStatus, HoldReason, Outcome, StatusReason};
use crate::profile::ProfileName;

#[cfg(test)]
mod tests;

/// Bits for each part of a position within a rank; larger numbers saturate.
const PART_BITS: u32 = 20;
const PART_MAX: u32 = (1 << PART_BITS) - 1;
const CONCLUDED: i64 = 1 << 61;

/// The place of a delivery's state in its history. Unconcluded: its [`Position`], and whether it waits in the
/// room there (lower) or is on its way (higher). Concluded: above all of those, by precedence
/// delivered > failed > expired > canceled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rank(i64);

impl Rank {
    #[must_use]
    pub fn from_number(number: i64) -> Self {
        Rank(number)
    }

    #[must_use]
    pub fn number(self) -> i64 {
        self.0
    }

    fn unconcluded(position: Position, is_on_its_way: bool) -> Self {
        let part = |number: u32| i64::from(number.min(PART_MAX));
        let parts = (part(position.attempt.number()) << (2 * PART_BITS))
            | (part(position.holds) << PART_BITS)
            | part(position.deferrals);
        Rank(parts << 1 | i64::from(is_on_its_way))
    }

    /// In the waiting room at this position.
    #[must_use]
    pub fn held(position: Position) -> Self {
        Self::unconcluded(position, false)
    }

    /// Queued or parked at this position.
    #[must_use]
    pub fn scheduled(position: Position) -> Self {
        Self::unconcluded(position, true)
    }

    fn concluded(status: DeliveryStatus) -> Self {
        Rank(match status {
            DeliveryStatus::Delivered => CONCLUDED + 4,
            DeliveryStatus::Failed => CONCLUDED + 3,
            DeliveryStatus::Expired => CONCLUDED + 2,
            DeliveryStatus::Canceled => CONCLUDED + 1,
            DeliveryStatus::Pending | DeliveryStatus::Retrying | DeliveryStatus::Held => 0,
        })
    }

    /// The position it was made from; `None` for a concluded one.
    #[must_use]
    pub fn position(self) -> Option<Position> {
        if self.is_concluded() {
            return None;
        }
        let part =
            |shift: u32| u32::try_from(self.0 >> (1 + shift) & i64::from(PART_MAX)).unwrap_or(PART_MAX);
        let attempt = AttemptNumber::from_number(part(2 * PART_BITS))?;
        Some(Position { attempt, holds: part(PART_BITS), deferrals: part(0) })
    }

    #[must_use]
    pub fn is_concluded(self) -> bool {
        self.0 > CONCLUDED
    }

    /// True if a try at `position` is known to have been made, or is no longer wanted: what a worker's check
    /// asks. The row has then gone on to a later try, or is concluded.
    #[must_use]
    pub fn is_past(self, position: Position) -> bool {
        self.is_concluded() || self.position().is_some_and(|own| own.attempt > position.attempt)
    }

    /// True if the delivery is known to have gone on from `position`, in whatever way.
    #[must_use]
    pub fn is_beyond(self, position: Position) -> bool {
        self.is_concluded() || self.position().is_some_and(|own| own > position)
    }
}

/// One delivery's row, as far as the records at hand tell.
#[derive(Clone, Debug, PartialEq)]
pub struct DeliveryRow {
    pub reference: DeliveryRef,
    pub origin: Origin,
    pub rank: Rank,
    pub status: DeliveryStatus,
    pub reason: Option<StatusReason>,
    pub due_at: Option<Timestamp>,
    pub held_since: Option<Timestamp>,
    pub concluded_at: Option<Timestamp>,
    /// The highest number of a try that these records tell of; 0 if of none.
    pub attempts: u32,
    /// Of that try.
    pub last_code: Option<u16>,
    pub last_error: Option<&'static str>,
    pub profile: Option<ProfileName>,
    pub rendered_with: Option<RenderedWith>,
    /// The first try, which is kept inside the row: most deliveries have only that one.
    pub first_attempt: Option<AttemptRow>,
    /// The event's accepted record is in the same batch, so the event needs no row made from this one.
    pub is_accepted_here: bool,
}

/// One real HTTP call.
#[derive(Clone, Debug, PartialEq)]
pub struct AttemptRow {
    pub delivery: DeliveryId,
    pub attempt: Attempt,
    pub outcome: Outcome,
}

/// An accepted event.
#[derive(Clone, Debug, PartialEq)]
pub struct EventRow {
    pub event: Event,
    pub origin: Origin,
    pub matched: u32,
}

/// Rows of the waiting room that are done with: those of `delivery` with a hold number up to `holds`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RoomExit {
    pub delivery: DeliveryId,
    pub holds: u32,
}

/// What a batch of records asks of the store. For an engine:
///
/// * **deliveries** — upsert by id. `rank, status, reason, due_at, held_since, concluded_at` are replaced together,
///   only by a higher rank. `attempts` is the greatest; `last_code, last_error` go with it. `profile` and
///   `rendered_with` are filled where they are absent. `first_attempt` is filled where absent; where another real
///   call holds that place already (another attempt id), this one is an attempt row like any other.
/// * **events** — upsert by (tenant, id): an accepted event replaces one that was in doubt, never the reverse.
///   For a delivery row that is *newly inserted* and not `is_accepted_here`, an event in doubt is inserted if there
///   is none, from the row's reference.
/// * **attempts** — insert by attempt id, unless there.
/// * **holds** — insert into the waiting room by (delivery, hold number), unless there, and unless the delivery's row has
///   a rank above [`Rank::held`] of the hold's position: then it has gone on already. After `deliveries`.
/// * **exits** — delete from the waiting room. After `holds`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LogWrites {
    pub events: Vec<EventRow>,
    pub deliveries: Vec<DeliveryRow>,
    pub attempts: Vec<AttemptRow>,
    pub holds: Vec<HeldRecord>,
    pub exits: Vec<RoomExit>,
}

impl LogWrites {
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.events.is_empty() && self.deliveries.is_empty() && self.holds.is_empty() && self.exits.is_empty()
    }
}

/// Folds records, in any order and with repeats, into rows: one a delivery, one an event.
#[must_use]
pub fn fold(records: impl IntoIterator<Item = JournalRecord>) -> LogWrites {
    let mut folding = Folding::default();
    for record in records {
        match record {
            JournalRecord::Accepted(accepted) => folding.accepted(accepted),
            JournalRecord::Attempted(attempted) => folding.attempted(attempted),
            JournalRecord::Held(held) => folding.held(held),
            JournalRecord::Deferred(deferred) => folding.deferred(deferred),
            JournalRecord::Released(released) => folding.released(released),
            JournalRecord::Concluded(concluded) => folding.concluded(concluded),
        }
    }
    folding.writes
}

#[derive(Default)]
struct Folding {
    writes: LogWrites,
    delivery_at: HashMap<DeliveryId, usize>,
    events_seen: HashSet<(TenantId, EventId)>,
    attempts_seen: HashSet<AttemptId>,
}

impl DeliveryRow {
    fn new(reference: DeliveryRef, rank: Rank, status: DeliveryStatus) -> Self {
        DeliveryRow {
            reference,
            origin: Origin::Producer,
            rank,
            status,
            reason: None,
            due_at: None,
            held_since: None,
            concluded_at: None,
            attempts: 0,
            last_code: None,
            last_error: None,
            profile: None,
            rendered_with: None,
            first_attempt: None,
            is_accepted_here: false,
        }
    }

    fn scheduled(reference: DeliveryRef, position: Position, due_at: Timestamp) -> Self {
        let status =
            if position.attempt.is_first() { DeliveryStatus::Pending } else { DeliveryStatus::Retrying };
        DeliveryRow { due_at: Some(due_at), ..Self::new(reference, Rank::scheduled(position), status) }
    }

    fn held(reference: DeliveryRef, position: Position, why: HoldReason, since: Timestamp) -> Self {
        DeliveryRow {
            reason: Some(StatusReason::Held(why)),
            held_since: Some(since),
            ..Self::new(reference, Rank::held(position), DeliveryStatus::Held)
        }
    }

    fn concluded(
        reference: DeliveryRef,
        status: DeliveryStatus,
        reason: Option<StatusReason>,
        at: Timestamp,
    ) -> Self {
        let rank = Rank::concluded(status);
        DeliveryRow { reason, concluded_at: Some(at), ..Self::new(reference, rank, status) }
    }

    /// The state after a try.
    fn attempted(record: &AttemptedRecord) -> Self {
        let reference = record.delivery.clone();
        let ended_at = record.attempt.started_at.plus(record.attempt.timings.total);
        let next = Position { attempt: record.position.attempt.next(), deferrals: 0, ..record.position };
        let concluded = |status, reason| Self::concluded(reference.clone(), status, reason, ended_at);
        match record.outcome {
            Outcome::Delivered => concluded(DeliveryStatus::Delivered, None),
            Outcome::Retry { at, cause: _ } => Self::scheduled(reference, next, at),
            Outcome::Failed { reason, cause: _ } => {
                concluded(DeliveryStatus::Failed, Some(StatusReason::Failed(reason)))
            }
            Outcome::Held { why } => Self::held(reference, next, why, ended_at),
            Outcome::Canceled { reason } => {
                concluded(DeliveryStatus::Canceled, Some(StatusReason::Canceled(reason)))
            }
            Outcome::Expired => concluded(DeliveryStatus::Expired, None),
        }
    }

    /// Both tell of the same delivery.
    fn merge(&mut self, other: DeliveryRow) {
        if other.attempts > self.attempts {
            self.attempts = other.attempts;
            self.last_code = other.last_code;
            self.last_error = other.last_error;
        }
        if other.rank > self.rank {
            self.rank = other.rank;
            self.status = other.status;
            self.reason = other.reason;
            self.due_at = other.due_at;
            self.held_since = other.held_since;
            self.concluded_at = other.concluded_at;
        }
        if other.origin != Origin::Producer {
            self.origin = other.origin;
        }
        self.profile = self.profile.take().or(other.profile);
        self.rendered_with = self.rendered_with.or(other.rendered_with);
        self.first_attempt = self.first_attempt.take().or(other.first_attempt);
        self.is_accepted_here |= other.is_accepted_here;
    }
}

impl Folding {
    fn put(&mut self, row: DeliveryRow) {
        match self.delivery_at.get(&row.reference.id) {
            Some(index) => self.writes.deliveries[*index].merge(row),
            None => {
                self.delivery_at.insert(row.reference.id, self.writes.deliveries.len());
                self.writes.deliveries.push(row);
            }
        }
    }

    fn accepted(&mut self, record: AcceptedRecord) {
        let event = &record.event;
        for expected in &record.deliveries {
            let reference = DeliveryRef {
                id: expected.id,
                tenant: event.tenant.clone(),
                event_id: event.id.clone(),
                event_type: event.event_type.clone(),
                webhook: expected.webhook,
                kind: expected.kind,
                accepted_at: event.accepted_at,
                replay: 0,
            };
            let state = match expected.held {
                None => DeliveryRow::scheduled(reference, Position::START, event.accepted_at),
                Some(why) => {
                    let position = Position { holds: 1, ..Position::START };
                    DeliveryRow::held(reference, position, why, event.accepted_at)
                }
            };
            self.put(DeliveryRow {
                origin: record.origin,
                profile: Some(expected.profile.clone()),
                rendered_with: Some(expected.rendered_with),
                is_accepted_here: true,
                ..state
            });
        }
        if self.events_seen.insert((event.tenant.clone(), event.id.clone())) {
            let matched = u32::try_from(record.deliveries.len()).unwrap_or(u32::MAX);
            self.writes.events.push(EventRow { event: record.event, origin: record.origin, matched });
        }
    }

    fn attempted(&mut self, record: AttemptedRecord) {
        let (last_code, last_error) = match &record.attempt.result {
            AttemptResult::Response(response) => (Some(response.status), None),
            AttemptResult::Failure { class, detail: _ } => (None, Some(class.as_str())),
        };
        let mut row = DeliveryRow {
            attempts: record.attempt.number.number(),
            last_code,
            last_error,
            ..DeliveryRow::attempted(&record)
        };
        if record.position.holds > 0 {
            self.exit(record.delivery.id, record.position.holds);
        }
        let attempt =
            AttemptRow { delivery: record.delivery.id, attempt: record.attempt, outcome: record.outcome };
        if self.attempts_seen.insert(attempt.attempt.id) {
            if attempt.attempt.number.is_first() && !self.has_first_attempt(attempt.delivery) {
                row.first_attempt = Some(attempt);
            } else {
                self.writes.attempts.push(attempt);
            }
        }
        self.put(row);
    }

    fn has_first_attempt(&self, delivery: DeliveryId) -> bool {
        let row = self.delivery_at.get(&delivery).map(|index| &self.writes.deliveries[*index]);
        row.is_some_and(|row| row.first_attempt.is_some())
    }

    fn held(&mut self, record: HeldRecord) {
        let delivery = &record.delivery;
        if let Some(earlier) = delivery.position.holds.checked_sub(1).filter(|holds| *holds > 0) {
            self.exit(delivery.reference.id, earlier);
        }
        let state =
            DeliveryRow::held(delivery.reference.clone(), delivery.position, record.why, record.since);
        self.put(DeliveryRow {
            origin: delivery.origin,
            profile: Some(delivery.profile.clone()),
            rendered_with: Some(delivery.rendered_with),
            ..state
        });
        self.writes.holds.push(record);
    }

    fn deferred(&mut self, record: DeferredRecord) {
        if record.position.holds > 0 {
            // It is in a lane now: its place in the window is free for another.
            self.exit(record.delivery.id, record.position.holds);
        }
        self.put(DeliveryRow::scheduled(record.delivery, record.position, record.due_at));
    }

    fn released(&mut self, record: ReleasedRecord) {
        self.put(DeliveryRow::scheduled(record.delivery, record.position, record.released_at));
    }

    fn concluded(&mut self, record: ConcludedRecord) {
        let (status, reason) = match record.conclusion {
            Conclusion::Failed(reason) => (DeliveryStatus::Failed, Some(StatusReason::Failed(reason))),
            Conclusion::Canceled(reason) => (DeliveryStatus::Canceled, Some(StatusReason::Canceled(reason))),
            Conclusion::Expired => (DeliveryStatus::Expired, None),
        };
        self.exit(record.delivery.id, u32::MAX);
        self.put(DeliveryRow::concluded(record.delivery, status, reason, record.at));
    }

    fn exit(&mut self, delivery: DeliveryId, holds: u32) {
        self.writes.exits.push(RoomExit { delivery, holds });
    }
}
