//! What status and the workers ask of the log beside writing it: checks, overdue deliveries, days.

use postrider_contract::clock::{Day, Timestamp};
use postrider_contract::delivery::Position;
use postrider_contract::ids::{DeliveryId, WebhookId};
use postrider_contract::log::Rank;
use postrider_contract::ports::{OverdueDelivery, StoreError};
use rusqlite::{Connection, Row, params};

use super::apply::rank_of;
use super::batch::day_of;
use super::day_files::DayFiles;
use super::queries::{DELIVERY_COLUMNS, delivery_view};
use crate::cells;

/// In order; tries of one day are looked up together.
pub(crate) fn is_recorded(
    days: &DayFiles,
    tries: &[(DeliveryId, Position)],
) -> Result<Vec<bool>, StoreError> {
    let mut answers = vec![false; tries.len()];
    let mut asked_days: Vec<Day> = tries.iter().map(|(delivery, _)| day_of(*delivery)).collect();
    asked_days.sort_unstable();
    asked_days.dedup();
    for day in asked_days {
        days.read(day, |connection| {
            for (answer, (delivery, position)) in answers.iter_mut().zip(tries) {
                if day_of(*delivery) == day {
                    let rank = rank_of(connection, delivery.as_u128().to_be_bytes())?;
                    *answer = rank.is_some_and(|rank| rank.is_past(*position));
                }
            }
            Ok(())
        })?;
    }
    Ok(answers)
}

pub(crate) fn has_moved_on(days: &DayFiles, id: DeliveryId, from: Position) -> Result<bool, StoreError> {
    let mut has_moved_on = false;
    days.read(day_of(id), |connection| {
        has_moved_on =
            rank_of(connection, id.as_u128().to_be_bytes())?.is_some_and(|rank| rank.is_beyond(from));
        Ok(())
    })?;
    Ok(has_moved_on)
}

pub(crate) fn overdue(
    days: &DayFiles,
    before: Timestamp,
    limit: u32,
) -> Result<Vec<OverdueDelivery>, StoreError> {
    let mut found = Vec::new();
    for day in days.newest_first(None, None) {
        found.extend(
            days.read(day, |connection| overdue_of_day(connection, before, limit))?.unwrap_or_default(),
        );
    }
    found.sort_by_key(|delivery| (delivery.due_at, delivery.reference.id));
    found.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    Ok(found)
}

fn overdue_of_day(
    connection: &Connection,
    before: Timestamp,
    limit: u32,
) -> rusqlite::Result<Vec<OverdueDelivery>> {
    let sql = format!(
        "SELECT {DELIVERY_COLUMNS}, rank FROM delivery \
         WHERE due_at < ?1 AND due_at IS NOT NULL \
         ORDER BY due_at LIMIT ?2"
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let rows = statement.query_map(params![before.as_millis(), limit], overdue_delivery)?;
    rows.filter_map(Result::transpose).collect()
}

fn overdue_delivery(row: &Row<'_>) -> rusqlite::Result<Option<OverdueDelivery>> {
    let rank = Rank::from_number(row.get("rank")?);
    let view = delivery_view(row)?;
    Ok(rank.position().zip(view.due_at).map(|(position, due_at)| OverdueDelivery {
        reference: view.reference,
        origin: view.origin,
        position,
        due_at,
        rendered: view.profile.zip(view.rendered_with),
    }))
}

pub(crate) fn prepare_days(days: &DayFiles, first: Day, last: Day) -> Result<(), StoreError> {
    let mut day = first;
    while day <= last {
        days.write(day, |_| Ok(()))?;
        day = day.plus(1);
    }
    Ok(())
}

pub(crate) fn drop_days_before(days: &DayFiles, day: Day) -> Result<Vec<Day>, StoreError> {
    let mut dropped = Vec::new();
    for old in days.newest_first(None, Some(day.plus(-1))) {
        if days.read(old, has_unconcluded)? == Some(false) {
            days.remove(old)?;
            dropped.push(old);
        }
    }
    dropped.reverse();
    Ok(dropped)
}

fn has_unconcluded(connection: &Connection) -> rusqlite::Result<bool> {
    // "status <> 3" is said so that the index of statuses serves.
    let sql = "SELECT EXISTS (SELECT 1 FROM delivery WHERE status <= 2 AND status <> 3)";
    connection.query_row(sql, [], |row| row.get(0))
}

/// The first id of a time: what is accepted from then on sorts at or after it.
pub(crate) fn first_id_at(time: Timestamp) -> [u8; 16] {
    let mut bytes = [0; 16];
    let millis = time.as_millis().max(0).to_be_bytes();
    bytes[..6].copy_from_slice(&millis[2..]);
    bytes
}

/// Newest days first: a webhook that is well has delivered on one of those.
pub(crate) fn has_delivered_since(
    days: &DayFiles,
    webhook: WebhookId,
    since: Timestamp,
) -> Result<bool, StoreError> {
    let sql =
        "SELECT EXISTS (SELECT 1 FROM delivery WHERE webhook = ?1 AND concluded_at >= ?2 AND status = 3)";
    let webhook = webhook.as_u128().to_be_bytes();
    for day in days.newest_first(None, None) {
        let found = days.read(day, |connection| {
            let mut statement = connection.prepare_cached(sql)?;
            statement.query_row(params![webhook, since.as_millis()], |row| row.get(0))
        })?;
        if found == Some(true) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// A time as a row has it, for the parts of a query that are optional.
pub(crate) fn time_cell(time: Option<Timestamp>) -> Option<i64> {
    time.map(Timestamp::as_millis)
}

/// Columns that hold counts, added to a total.
pub(crate) fn add_count(row: &Row<'_>, column: usize, total: &mut u64) -> rusqlite::Result<()> {
    *total += cells::count(row, column)?;
    Ok(())
}
