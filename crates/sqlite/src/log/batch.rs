//! A batch of the log, by day, owned and encoded: made on the caller's thread so that the file's lock is held for
//! the writing alone.

use std::collections::BTreeMap;

use bytes::Bytes;
use postrider_contract::clock::{Day, Timestamp};
use postrider_contract::delivery::{DeliveryRef, Origin, RenderedWith};
use postrider_contract::ids::{AttemptId, DeliveryId};
use postrider_contract::log::{AttemptRow, DeliveryRow, EventRow, LogWrites, Rank, RoomExit};
use postrider_contract::outcome::{DeliveryStatus, StatusReason};
use postrider_contract::profile::ProfileName;
use postrider_contract::wire;

use crate::waiting_room::RoomRow;

pub(crate) struct Batch {
    pub(crate) days: BTreeMap<Day, DayBatch>,
    pub(crate) exits: Vec<RoomExit>,
}

#[derive(Default)]
pub(crate) struct DayBatch {
    pub(crate) events: Vec<EventRow>,
    pub(crate) deliveries: Vec<DeliveryCells>,
    pub(crate) attempts: Vec<AttemptCells>,
    pub(crate) holds: Vec<Hold>,
}

pub(crate) struct DeliveryCells {
    pub(crate) reference: DeliveryRef,
    pub(crate) origin: Origin,
    pub(crate) rank: Rank,
    pub(crate) status: DeliveryStatus,
    pub(crate) reason: Option<StatusReason>,
    pub(crate) due_at: Option<Timestamp>,
    pub(crate) held_since: Option<Timestamp>,
    pub(crate) concluded_at: Option<Timestamp>,
    pub(crate) attempts: u32,
    pub(crate) last_code: Option<u16>,
    pub(crate) last_error: Option<&'static str>,
    pub(crate) profile: Option<ProfileName>,
    pub(crate) rendered_with: Option<RenderedWith>,
    pub(crate) first_attempt: Option<AttemptCells>,
    pub(crate) is_accepted_here: bool,
}

pub(crate) struct AttemptCells {
    pub(crate) delivery: DeliveryId,
    pub(crate) id: AttemptId,
    pub(crate) number: u32,
    pub(crate) record: Bytes,
}

/// A hold, and the rank above which its delivery has gone on already.
pub(crate) struct Hold {
    pub(crate) delivery: DeliveryId,
    pub(crate) rank: Rank,
    pub(crate) row: RoomRow,
}

impl Batch {
    pub(crate) fn new(writes: &LogWrites) -> Self {
        let mut days: BTreeMap<Day, DayBatch> = BTreeMap::new();
        for event in &writes.events {
            days.entry(event.event.accepted_at.day()).or_default().events.push(event.clone());
        }
        for row in &writes.deliveries {
            days.entry(day_of(row.reference.id)).or_default().deliveries.push(DeliveryCells::new(row));
        }
        for attempt in &writes.attempts {
            days.entry(day_of(attempt.delivery)).or_default().attempts.push(AttemptCells::new(attempt));
        }
        for held in &writes.holds {
            let delivery = held.delivery.reference.id;
            let row = RoomRow::new(&held.delivery, held.why, held.since);
            let hold = Hold { delivery, rank: Rank::held(held.delivery.position), row };
            days.entry(day_of(delivery)).or_default().holds.push(hold);
        }
        Batch { days, exits: writes.exits.clone() }
    }
}

/// The day in whose file a delivery is.
pub(crate) fn day_of(delivery: DeliveryId) -> Day {
    delivery.time().day()
}

impl DeliveryCells {
    fn new(row: &DeliveryRow) -> Self {
        DeliveryCells {
            reference: row.reference.clone(),
            origin: row.origin,
            rank: row.rank,
            status: row.status,
            reason: row.reason,
            due_at: row.due_at,
            held_since: row.held_since,
            concluded_at: row.concluded_at,
            attempts: row.attempts,
            last_code: row.last_code,
            last_error: row.last_error,
            profile: row.profile.clone(),
            rendered_with: row.rendered_with,
            first_attempt: row.first_attempt.as_ref().map(AttemptCells::new),
            is_accepted_here: row.is_accepted_here,
        }
    }
}

impl AttemptCells {
    fn new(row: &AttemptRow) -> Self {
        AttemptCells {
            delivery: row.delivery,
            id: row.attempt.id,
            number: row.attempt.number.number(),
            record: wire::encode_attempt(&row.attempt, &row.outcome),
        }
    }
}
