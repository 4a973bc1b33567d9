//! One call's rows, by reference, each kind sorted by its key: every writer takes its row locks in the same
//! order, so two that write the same rows wait for each other instead of deadlocking.

use std::collections::BTreeSet;

use postrider_contract::clock::Day;
use postrider_contract::journal::HeldRecord;
use postrider_contract::log::{AttemptRow, DeliveryRow, EventRow, LogWrites, RoomExit};

use crate::stored::day_of;

#[derive(Clone, Debug, Default)]
pub(super) struct Batch<'a> {
    pub(super) events: Vec<&'a EventRow>,
    pub(super) deliveries: Vec<&'a DeliveryRow>,
    pub(super) attempts: Vec<&'a AttemptRow>,
    pub(super) holds: Vec<&'a HeldRecord>,
    pub(super) exits: Vec<RoomExit>,
}

/// A row that could not be written: which it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RefusedRow {
    pub(super) kind: &'static str,
    pub(super) id: String,
}

impl<'a> Batch<'a> {
    pub(super) fn of(writes: &'a LogWrites) -> Self {
        let mut batch = Batch {
            events: writes.events.iter().collect(),
            deliveries: writes.deliveries.iter().collect(),
            attempts: writes.attempts.iter().collect(),
            holds: writes.holds.iter().collect(),
            exits: writes.exits.clone(),
        };
        batch.events.sort_by(|one, other| event_key(one).cmp(&event_key(other)));
        batch.events.dedup_by(|one, other| event_key(one) == event_key(other));
        batch.deliveries.sort_by_key(|row| row.reference.id);
        batch.attempts.sort_by_key(|row| (row.delivery, row.attempt.id));
        batch.attempts.dedup_by_key(|row| row.attempt.id);
        batch.holds.sort_by_key(|held| (held.delivery.reference.id, held.delivery.position.holds));
        batch.holds.dedup_by_key(|held| (held.delivery.reference.id, held.delivery.position.holds));
        batch.exits.sort_by_key(|exit| (exit.delivery, exit.holds));
        batch
    }

    pub(super) fn len(&self) -> usize {
        self.events.len() + self.deliveries.len() + self.attempts.len() + self.holds.len() + self.exits.len()
    }

    /// The days whose partitions it needs.
    pub(super) fn days(&self) -> BTreeSet<Day> {
        let events = self.events.iter().map(|row| row.event.accepted_at.day());
        let deliveries = self.deliveries.iter().map(|row| day_of(row.reference.id));
        let attempts = self.attempts.iter().map(|row| day_of(row.delivery));
        events.chain(deliveries).chain(attempts).collect()
    }

    /// Takes out the rows of days that cannot be.
    pub(super) fn refuse(&mut self, days: &BTreeSet<Day>) -> Vec<RefusedRow> {
        if days.is_empty() {
            return Vec::new();
        }
        let mut refused = Vec::new();
        let mut keep = |is_kept: bool, row: &dyn Fn() -> RefusedRow| {
            if !is_kept {
                refused.push(row());
            }
            is_kept
        };
        self.events.retain(|row| keep(!days.contains(&row.event.accepted_at.day()), &|| name_event(row)));
        self.deliveries.retain(|row| keep(!days.contains(&day_of(row.reference.id)), &|| name_delivery(row)));
        self.attempts.retain(|row| keep(!days.contains(&day_of(row.delivery)), &|| name_attempt(row)));
        refused
    }

    /// In two, the first of which is to be written first. Rows stay in the order of the tables, so what leaves
    /// the waiting room still does so after what enters it.
    pub(super) fn split(mut self) -> (Self, Self) {
        let mut room = self.len() / 2;
        let rest = Batch {
            events: split_at(&mut self.events, &mut room),
            deliveries: split_at(&mut self.deliveries, &mut room),
            attempts: split_at(&mut self.attempts, &mut room),
            holds: split_at(&mut self.holds, &mut room),
            exits: split_at(&mut self.exits, &mut room),
        };
        (self, rest)
    }

    /// What it holds, for a batch that cannot be split further.
    pub(super) fn names(&self) -> Vec<RefusedRow> {
        let events = self.events.iter().map(|row| name_event(row));
        let deliveries = self.deliveries.iter().map(|row| name_delivery(row));
        let attempts = self.attempts.iter().map(|row| name_attempt(row));
        let holds = self.holds.iter().map(|held| RefusedRow {
            kind: "hold",
            id: format!("{}#{}", held.delivery.reference.id, held.delivery.position.holds),
        });
        let exits = self.exits.iter().map(|exit| RefusedRow { kind: "exit", id: exit.delivery.to_string() });
        events.chain(deliveries).chain(attempts).chain(holds).chain(exits).collect()
    }
}

/// Leaves as many as there is room for, and answers the others.
fn split_at<T>(rows: &mut Vec<T>, room: &mut usize) -> Vec<T> {
    let kept = rows.len().min(*room);
    *room -= kept;
    rows.split_off(kept)
}

fn event_key(row: &EventRow) -> (&str, &str) {
    (row.event.tenant.as_str(), row.event.id.as_str())
}

fn name_event(row: &EventRow) -> RefusedRow {
    RefusedRow { kind: "event", id: format!("{}/{}", row.event.tenant, row.event.id) }
}

fn name_delivery(row: &DeliveryRow) -> RefusedRow {
    RefusedRow { kind: "delivery", id: row.reference.id.to_string() }
}

fn name_attempt(row: &AttemptRow) -> RefusedRow {
    RefusedRow { kind: "attempt", id: format!("{}/{}", row.delivery, row.attempt.id) }
}
