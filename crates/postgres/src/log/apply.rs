//! One batch, one transaction: deliveries, events, attempts and their bodies, then the waiting room, always in this order.
//!
//! A batch that lost against another is tried again. One that holds a row which cannot be stored is split until
//! that row stands alone; it is set aside in `log_refused` and said once, and all others are written.

use std::collections::{BTreeSet, HashMap};

use postrider_contract::attempt::AttemptResult;
use postrider_contract::log::{AttemptRow, LogWrites, Rank};
use postrider_contract::ports::StoreError;
use postrider_contract::wire;

use super::batch::{Batch, RefusedRow};
use super::deliveries_upsert::{self, RowState};
use super::events_upsert;
use super::partitions::Days;
use crate::errors::Fault;
use crate::session::{CONTENDED_TRIES, Database, Session};
use crate::stored::{Id, day_of, number};
use crate::waiting_room;

const INSERT_ATTEMPTS: &str = "INSERT INTO attempts (delivery, id, attempt)
    SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::bytea[])
    ON CONFLICT (delivery, id) DO NOTHING";
const INSERT_BODIES: &str = "INSERT INTO response_bodies (delivery, attempt, body)
    SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::bytea[])
    ON CONFLICT (delivery, attempt) DO NOTHING";
const INSERT_REFUSED: &str = "INSERT INTO log_refused (kind, id, reason)
    SELECT kind, id, $3::text FROM unnest($1::text[], $2::text[]) AS u (kind, id)
    ON CONFLICT (kind, id) DO NOTHING";

pub(super) async fn apply(database: &Database, days: &Days, writes: &LogWrites) -> Result<(), StoreError> {
    let mut batch = Batch::of(writes);
    let absurd = days.ensure(database, &batch.days()).await?;
    let refused = batch.refuse(&absurd);
    set_aside(database, refused, "its day is too far from today to have a partition").await?;
    // The first halves on top: written before the second ones.
    let mut waiting = vec![batch];
    while let Some(batch) = waiting.pop() {
        if batch.len() == 0 {
            continue;
        }
        match write(database, days, &batch).await {
            Ok(()) => {}
            Err(Fault::BadRow(reason)) if batch.len() == 1 => {
                set_aside(database, batch.names(), &reason).await?;
            }
            Err(Fault::BadRow(_)) => {
                let (first, second) = batch.split();
                waiting.push(second);
                waiting.push(first);
            }
            Err(fault @ (Fault::Contended | Fault::NoPartition | Fault::Store(_))) => {
                return Err(fault.into());
            }
        }
    }
    Ok(())
}

async fn write(database: &Database, days: &Days, batch: &Batch<'_>) -> Result<(), Fault> {
    let mut tries = 0;
    loop {
        tries += 1;
        let written = write_once(database, days, batch).await;
        match written {
            Err(Fault::Contended) if tries < CONTENDED_TRIES => {}
            // Retention elsewhere dropped a day that was known here.
            Err(Fault::NoPartition) if tries < CONTENDED_TRIES => {
                days.forget();
                days.ensure(database, &batch.days()).await?;
            }
            settled => return settled,
        }
    }
}

async fn write_once(database: &Database, days: &Days, batch: &Batch<'_>) -> Result<(), Fault> {
    let mut session = database.session().await?;
    session.begin().await?;
    match write_in(&mut session, days, batch).await {
        Ok(told) => {
            session.commit().await?;
            // After the commit, so that of two writers the later sees what the earlier wrote. If this fails, the
            // batch comes again.
            events_upsert::settle_doubts(&mut session, &batch.events, &told).await
        }
        Err(fault) => {
            session.roll_back().await?;
            Err(fault)
        }
    }
}

/// Answers the events that were told of by deliveries alone.
async fn write_in<'a>(
    session: &mut Session,
    days: &Days,
    batch: &Batch<'a>,
) -> Result<Vec<events_upsert::Told<'a>>, Fault> {
    let mut states = deliveries_upsert::upsert(session, &batch.deliveries).await?;
    events_upsert::insert(session, &batch.events).await?;
    let told = events_upsert::told_by(&batch.deliveries, &states);
    events_upsert::insert_in_doubt(session, &told).await?;

    let unseen: BTreeSet<Id> = deliveries_to_look_up(batch, &states);
    deliveries_upsert::look_up(session, &unseen, &mut states).await?;
    insert_attempts(session, &attempts_to_insert(batch, &states)).await?;
    insert_bodies(session, days, batch).await?;
    let waiting = batch.holds.iter().copied().filter(|held| {
        let state = states.get(&held.delivery.reference.id.into());
        state.is_none_or(|state| state.rank <= Rank::held(held.delivery.position).number())
    });
    waiting_room::insert(session, &waiting.collect::<Vec<_>>()).await?;
    waiting_room::remove(session, &batch.exits).await?;
    Ok(told)
}

/// Rows that the upsert left as they were did not tell their state; it is needed where a first try may be
/// another than the one in the row, and where something is held.
fn deliveries_to_look_up(batch: &Batch<'_>, states: &HashMap<Id, RowState>) -> BTreeSet<Id> {
    let first = batch.deliveries.iter().filter(|row| row.first_attempt.is_some()).map(|row| row.reference.id);
    let others = batch.attempts.iter().filter(|row| row.attempt.number.is_first()).map(|row| row.delivery);
    let held = batch.holds.iter().map(|held| held.delivery.reference.id);
    first.chain(others).chain(held).map(Id::from).filter(|id| !states.contains_key(id)).collect()
}

/// All but those kept inside their delivery's row.
fn attempts_to_insert<'a>(batch: &Batch<'a>, states: &HashMap<Id, RowState>) -> Vec<&'a AttemptRow> {
    let is_kept_inside = |row: &AttemptRow| {
        let state = states.get(&row.delivery.into());
        state.and_then(|state| state.first_attempt) == Some(Id(row.attempt.id.as_u128()))
    };
    let displaced = batch.deliveries.iter().filter_map(|row| row.first_attempt.as_ref());
    let mut rows: Vec<&AttemptRow> =
        displaced.chain(batch.attempts.iter().copied()).filter(|row| !is_kept_inside(row)).collect();
    rows.sort_by_key(|row| (row.delivery, row.attempt.id));
    rows
}

async fn insert_attempts(session: &mut Session, rows: &[&AttemptRow]) -> Result<(), Fault> {
    if rows.is_empty() {
        return Ok(());
    }
    let deliveries: Vec<Id> = rows.iter().map(|row| row.delivery.into()).collect();
    let ids: Vec<Id> = rows.iter().map(|row| Id(row.attempt.id.as_u128())).collect();
    let stored: Vec<bytes::Bytes> =
        rows.iter().map(|row| wire::encode_attempt_apart(&row.attempt, &row.outcome).0).collect();
    let stored: Vec<&[u8]> = stored.iter().map(AsRef::as_ref).collect();
    session.execute(INSERT_ATTEMPTS, &[&deliveries, &ids, &stored]).await?;
    Ok(())
}

/// Of every try in the batch that had one, unless those of its day are gone.
async fn insert_bodies(session: &mut Session, days: &Days, batch: &Batch<'_>) -> Result<(), Fault> {
    let first = batch.deliveries.iter().filter_map(|row| row.first_attempt.as_ref());
    let mut rows: Vec<(Id, Id, &[u8])> = first
        .chain(batch.attempts.iter().copied())
        .filter_map(|row| match &row.attempt.result {
            AttemptResult::Response(response) if !response.body.is_empty() => Some((row, &response.body)),
            AttemptResult::Response(_) | AttemptResult::Failure { class: _, detail: _ } => None,
        })
        .filter(|(row, _)| days.keeps_bodies(day_of(row.delivery)))
        .map(|(row, body)| (row.delivery.into(), Id(row.attempt.id.as_u128()), body.as_ref()))
        .collect();
    if rows.is_empty() {
        return Ok(());
    }
    rows.sort_unstable();
    let deliveries: Vec<Id> = rows.iter().map(|row| row.0).collect();
    let attempts: Vec<Id> = rows.iter().map(|row| row.1).collect();
    let bodies: Vec<&[u8]> = rows.iter().map(|row| row.2).collect();
    session.execute(INSERT_BODIES, &[&deliveries, &attempts, &bodies]).await?;
    Ok(())
}

pub(super) async fn refused_rows(database: &Database) -> Result<u64, StoreError> {
    let rows = database.query("SELECT count(*) AS refused FROM log_refused", &[]).await?;
    rows.first().map_or(Ok(0), |row| number(row, "refused"))
}

async fn set_aside(database: &Database, refused: Vec<RefusedRow>, reason: &str) -> Result<(), StoreError> {
    if refused.is_empty() {
        return Ok(());
    }
    for row in &refused {
        tracing::error!(
            row.kind,
            row.id,
            reason,
            "a row of the log was refused and set aside in log_refused"
        );
    }
    let kinds: Vec<&str> = refused.iter().map(|row| row.kind).collect();
    let ids: Vec<&str> = refused.iter().map(|row| row.id.as_str()).collect();
    database.execute(INSERT_REFUSED, &[&kinds, &ids, &reason]).await?;
    Ok(())
}
