//! Writing a batch into the files of its days.
//!
//! A row that SQLite refuses for its own sake is reported and left out; what the storage refuses fails the batch,
//! which is then applied again, whole.

use std::time::Duration;

use postrider_contract::log::{EventRow, Rank, RoomExit};
use postrider_contract::ports::StoreError;
use rusqlite::{Connection, OptionalExtension, ToSql, params};

use super::batch::{AttemptCells, Batch, DayBatch, DeliveryCells, Hold};
use super::day_files::DayFiles;
use crate::cells;
use crate::error::is_of_the_storage;
use crate::waiting_room::RoomRow;

const INSERT_DELIVERY: &str = "INSERT INTO delivery (id, tenant, event_id, event_type, webhook, kind, accepted_at, \
     replay, origin, rank, status, reason, due_at, held_since, concluded_at, attempts, last_code, last_error, \
     profile, webhook_revision, profile_revision, tenant_revision, first_attempt_id, first_attempt) \
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21, ?22, \
     ?23, ?24) ON CONFLICT DO NOTHING";

/// The same parameters. The right-hand sides see the row as it was.
const UPDATE_DELIVERY: &str = "UPDATE delivery SET \
     origin = CASE WHEN ?9 <> 0 THEN ?9 ELSE origin END, \
     rank = max(rank, ?10), \
     status = CASE WHEN ?10 > rank THEN ?11 ELSE status END, \
     reason = CASE WHEN ?10 > rank THEN ?12 ELSE reason END, \
     due_at = CASE WHEN ?10 > rank THEN ?13 ELSE due_at END, \
     held_since = CASE WHEN ?10 > rank THEN ?14 ELSE held_since END, \
     concluded_at = CASE WHEN ?10 > rank THEN ?15 ELSE concluded_at END, \
     attempts = max(attempts, ?16), \
     last_code = CASE WHEN ?16 > attempts THEN ?17 ELSE last_code END, \
     last_error = CASE WHEN ?16 > attempts THEN ?18 ELSE last_error END, \
     profile = coalesce(profile, ?19), \
     webhook_revision = coalesce(webhook_revision, ?20), \
     profile_revision = coalesce(profile_revision, ?21), \
     tenant_revision = coalesce(tenant_revision, ?22), \
     first_attempt_id = coalesce(first_attempt_id, ?23), \
     first_attempt = coalesce(first_attempt, ?24) \
     WHERE id = ?1 RETURNING first_attempt_id";

/// Rows without a pause, some 150 µs, in a batch of no more than [`FEW_ROWS`].
const AT_A_STRETCH: usize = 4;
const FEW_ROWS: usize = 100;
/// The shortest that a thread can stop for: with the timer's slack, some 60 µs.
const PAUSE: Duration = Duration::from_micros(1);

/// Answers what is left for `queue.db`: the holds whose deliveries have not gone on, and the exits.
pub(crate) fn apply(days: &DayFiles, batch: Batch) -> Result<(Vec<RoomRow>, Vec<RoomExit>), StoreError> {
    let mut rows = Vec::new();
    for (day, batch) in batch.days {
        let waiting = days.write(day, |transaction| write_day(transaction, &batch))?;
        let holds = batch.holds.into_iter().zip(waiting);
        rows.extend(holds.filter(|(_, is_waiting)| *is_waiting).map(|(hold, _)| hold.row));
    }
    Ok((rows, batch.exits))
}

/// Answers for each hold whether its delivery still waits for it.
fn write_day(connection: &Connection, batch: &DayBatch) -> rusqlite::Result<Vec<bool>> {
    let mut pauses = Pauses::among(batch.events.len() + batch.deliveries.len() + batch.attempts.len());
    for event in &batch.events {
        reported("event", &event.event.id, write_event(connection, event))?;
        pauses.after_row();
    }
    for delivery in &batch.deliveries {
        reported("delivery", &delivery.reference.id, write_delivery(connection, delivery))?;
        pauses.after_row();
    }
    for attempt in &batch.attempts {
        reported("attempt", &attempt.id, write_attempt(connection, attempt))?;
        pauses.after_row();
    }
    batch.holds.iter().map(|hold| is_waiting(connection, hold)).collect()
}

/// Nobody waits for the log, and what is woken on this processor meanwhile waits until this thread stops: so, while there
/// is time, it stops every few rows. With many rows there is none
/// ([ADR 37](../../../../docs/adr/0037-sqlite-syncs-what-was-written-and-the-log-gives-way.md)).
struct Pauses {
    rows: usize,
    has_time: bool,
}

impl Pauses {
    fn among(rows: usize) -> Self {
        Pauses { rows: 0, has_time: rows <= FEW_ROWS }
    }

    fn after_row(&mut self) {
        if self.is_due() {
            std::thread::sleep(PAUSE);
        }
    }

    fn is_due(&mut self) -> bool {
        self.rows += 1;
        self.has_time && self.rows.is_multiple_of(AT_A_STRETCH)
    }
}

fn reported(what: &str, id: &dyn std::fmt::Display, result: rusqlite::Result<()>) -> rusqlite::Result<()> {
    match result {
        Err(error) if !is_of_the_storage(&error) => {
            tracing::error!(what, %id, %error, "a row of the log could not be written and is left out");
            Ok(())
        }
        other => other,
    }
}

fn write_event(connection: &Connection, row: &EventRow) -> rusqlite::Result<()> {
    let event = &row.event;
    connection
        .prepare_cached(
            "INSERT INTO event (tenant, id, event_type, accepted_at, in_doubt, origin, timestamp, schema_major, \
             schema_minor, data, summary, workflow, matched) \
             VALUES (?1, ?2, ?3, ?4, 0, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12) \
             ON CONFLICT (tenant, id) DO UPDATE SET event_type = excluded.event_type, \
             accepted_at = excluded.accepted_at, in_doubt = 0, origin = excluded.origin, \
             timestamp = excluded.timestamp, schema_major = excluded.schema_major, \
             schema_minor = excluded.schema_minor, data = excluded.data, summary = excluded.summary, \
             workflow = excluded.workflow, matched = excluded.matched WHERE in_doubt = 1",
        )?
        .execute(params![
            event.tenant.as_str(),
            event.id.as_str(),
            event.event_type.as_str(),
            event.accepted_at.as_millis(),
            cells::origin_number(row.origin),
            event.timestamp.as_millis(),
            event.schema_version.major,
            event.schema_version.minor,
            event.data.as_bytes().as_ref(),
            event.summary,
            event.workflow.as_ref().map(|workflow| workflow.as_bytes().as_ref()),
            row.matched,
        ])?;
    Ok(())
}

fn write_delivery(connection: &Connection, row: &DeliveryCells) -> rusqlite::Result<()> {
    let reference = &row.reference;
    let id = reference.id.as_u128().to_be_bytes();
    let webhook = reference.webhook.as_u128().to_be_bytes();
    let first_attempt_id = row.first_attempt.as_ref().map(|attempt| attempt.id.as_u128().to_be_bytes());
    let rendered_with = row.rendered_with;
    let revisions =
        rendered_with.map(|with| [with.webhook, with.profile, with.tenant].map(cells::revision_number));
    let values: [&dyn ToSql; 24] = [
        &id,
        &reference.tenant.as_str(),
        &reference.event_id.as_str(),
        &reference.event_type.as_str(),
        &webhook,
        &cells::kind_number(reference.kind),
        &reference.accepted_at.as_millis(),
        &reference.replay,
        &cells::origin_number(row.origin),
        &row.rank.number(),
        &cells::status_number(row.status),
        &row.reason.map(|reason| reason.as_str()),
        &row.due_at.map(|time| time.as_millis()),
        &row.held_since.map(|time| time.as_millis()),
        &row.concluded_at.map(|time| time.as_millis()),
        &row.attempts,
        &row.last_code,
        &row.last_error,
        &row.profile.as_ref().map(|profile| profile.as_str()),
        &revisions.map(|numbers| numbers[0]),
        &revisions.map(|numbers| numbers[1]),
        &revisions.map(|numbers| numbers[2]),
        &first_attempt_id,
        &row.first_attempt.as_ref().map(|attempt| attempt.record.as_ref()),
    ];
    if connection.prepare_cached(INSERT_DELIVERY)?.execute(values.as_slice())? > 0 {
        return if row.is_accepted_here { Ok(()) } else { write_event_in_doubt(connection, row) };
    }
    let mut update = connection.prepare_cached(UPDATE_DELIVERY)?;
    let holder: Option<[u8; 16]> = update.query_row(values.as_slice(), |row| row.get(0))?;
    match &row.first_attempt {
        Some(attempt) if holder != first_attempt_id => write_attempt(connection, attempt),
        Some(_) | None => Ok(()),
    }
}

/// Another record than the accepted one came first: the event is made from what that one tells. A replay's event
/// was accepted on a day of its own, and is in the log already.
fn write_event_in_doubt(connection: &Connection, row: &DeliveryCells) -> rusqlite::Result<()> {
    let reference = &row.reference;
    if reference.replay > 0 {
        return Ok(());
    }
    connection
        .prepare_cached(
            "INSERT INTO event (tenant, id, event_type, accepted_at, in_doubt, origin) \
             VALUES (?1, ?2, ?3, ?4, 1, ?5) ON CONFLICT DO NOTHING",
        )?
        .execute(params![
            reference.tenant.as_str(),
            reference.event_id.as_str(),
            reference.event_type.as_str(),
            reference.accepted_at.as_millis(),
            cells::origin_number(row.origin),
        ])?;
    Ok(())
}

/// Unless it is there, here or as the first try inside its delivery's row.
fn write_attempt(connection: &Connection, attempt: &AttemptCells) -> rusqlite::Result<()> {
    connection
        .prepare_cached(
            "INSERT INTO attempt (delivery, id, number, record) SELECT ?1, ?2, ?3, ?4 \
             WHERE NOT EXISTS (SELECT 1 FROM delivery WHERE id = ?1 AND first_attempt_id = ?2) \
             ON CONFLICT DO NOTHING",
        )?
        .execute(params![
            attempt.delivery.as_u128().to_be_bytes(),
            attempt.id.as_u128().to_be_bytes(),
            attempt.number,
            attempt.record.as_ref(),
        ])?;
    Ok(())
}

fn is_waiting(connection: &Connection, hold: &Hold) -> rusqlite::Result<bool> {
    let rank = rank_of(connection, hold.delivery.as_u128().to_be_bytes())?;
    Ok(rank.is_none_or(|rank| rank <= hold.rank))
}

pub(crate) fn rank_of(connection: &Connection, delivery: [u8; 16]) -> rusqlite::Result<Option<Rank>> {
    let mut statement = connection.prepare_cached("SELECT rank FROM delivery WHERE id = ?1")?;
    statement.query_row([delivery], |row| row.get(0).map(Rank::from_number)).optional()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_batch_pauses_every_few_rows_and_a_large_one_never() {
        let mut few = Pauses::among(FEW_ROWS);
        let due: Vec<usize> = (1..=12).filter(|_| few.is_due()).collect();
        assert_eq!(due, [4, 8, 12]);
        let mut many = Pauses::among(FEW_ROWS + 1);
        assert!((0..=FEW_ROWS).all(|_| !many.is_due()));
    }
}
