//! Days of the log: a partition of each table a day, and no DEFAULT one, which would take a lock to be left again.
//!
//! Attached rather than created in place, so that making one does not stop the writers. A row of a day that is
//! not there makes it, if that day is not absurdly far from the server's today; otherwise the row is refused,
//! since ids that are made up must not make tables.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};

use postrider_contract::clock::Day;
use postrider_contract::ports::StoreError;

use crate::errors::{Fault, corrupt};
use crate::session::{Database, Session};
use crate::stored::{Id, get};

/// Retries last days, replays look back months: a year and a month cover both.
const DAYS_BACK: i32 = 400;
/// Clocks of producers' machines do not come in here, only ours.
const DAYS_AHEAD: i32 = 2;

/// How many days one call may make: more is a mistake in a setting.
const MAX_PREPARED: i32 = 1000;

/// Held while days are made, by everyone who makes any: "pdays" in ASCII.
const DAYS_LOCK: i64 = 0x70_6461_7973;

/// How long writers may be made to wait while a day is made or dropped; after that it is left for the next time.
const LOCK_TIMEOUT: &str = "SET LOCAL lock_timeout = '2s'";

/// In the order in which writers take them.
const TABLES: [&str; 4] = ["deliveries", "events", "attempts", BODIES];

/// Has fewer days than the others: see [`Bodies`].
const BODIES: &str = "response_bodies";

/// The last day but one is younger than the shortest time for which bodies are kept.
const BODIES_BACK: i32 = 1;

/// Of a table's partitions, the days; each is named for its day's number.
const KNOWN: &str = "SELECT c.relname AS name FROM pg_inherits i
    JOIN pg_class c ON c.oid = i.inhrelid
    WHERE i.inhparent = to_regclass($1) ORDER BY c.relname";

/// Whether a day has its partition for the bodies of responses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bodies {
    There,
    /// Their time is over; or a program that knew none made this day.
    Gone,
}

/// The days that are known to be there.
#[derive(Debug, Default)]
pub(super) struct Days {
    known: Mutex<BTreeMap<Day, Bodies>>,
}

impl Days {
    /// Makes the days that are missing and answers those that must not be made.
    pub(super) async fn ensure(
        &self,
        database: &Database,
        days: &BTreeSet<Day>,
    ) -> Result<BTreeSet<Day>, StoreError> {
        if self.unknown(days).is_empty() {
            return Ok(BTreeSet::new());
        }
        let mut session = database.session().await?;
        self.learn(&mut session).await?;
        let unknown = self.unknown(days);
        if unknown.is_empty() {
            return Ok(BTreeSet::new());
        }
        let today = today(&mut session).await?;
        let possible = today.plus(-DAYS_BACK)..=today.plus(DAYS_AHEAD);
        let (make, absurd): (BTreeSet<Day>, BTreeSet<Day>) =
            unknown.into_iter().partition(|day| possible.contains(day));
        self.make(&mut session, &make).await?;
        Ok(absurd)
    }

    /// What was asked for by name is made, however far away.
    pub(super) async fn prepare(&self, database: &Database, first: Day, last: Day) -> Result<(), StoreError> {
        let first = first.number().max(0);
        let last = last.number().min(first.saturating_add(MAX_PREPARED));
        let days: BTreeSet<Day> = (first..=last).map(Day::from_number).collect();
        let mut session = database.session().await?;
        self.learn(&mut session).await?;
        let mut missing = self.unknown(&days);
        let youngest = today(&mut session).await?.plus(-BODIES_BACK);
        missing.extend(days.range(youngest..).filter(|day| !self.keeps_bodies(**day)));
        self.make(&mut session, &missing).await?;
        Ok(())
    }

    /// Drops the bodies of days, oldest first, each in a transaction of its own.
    pub(super) async fn drop_bodies_before(
        &self,
        database: &Database,
        day: Day,
    ) -> Result<Vec<Day>, StoreError> {
        let mut session = database.session().await?;
        let old = days_of(&mut session, BODIES).await?;
        let mut dropped = Vec::new();
        for day in old.range(..day).copied() {
            session.begin().await?;
            match drop_bodies_of(&mut session, day).await {
                Ok(()) => {
                    session.commit().await?;
                    self.lock().entry(day).and_modify(|bodies| *bodies = Bodies::Gone);
                    dropped.push(day);
                }
                Err(fault) => {
                    session.roll_back().await?;
                    let error = StoreError::from(fault);
                    tracing::warn!(%day, %error, "a day's bodies could not be dropped; it is tried again");
                }
            }
        }
        Ok(dropped)
    }

    /// What comes for a day whose bodies are known to be gone is not written. Of a day that is not known, because another
    /// task has read anew which ones there are, they are: if not, the server says so.
    pub(super) fn keeps_bodies(&self, day: Day) -> bool {
        self.lock().get(&day) != Some(&Bodies::Gone)
    }

    pub(super) async fn first(&self, database: &Database) -> Result<Option<Day>, StoreError> {
        let mut session = database.session().await?;
        self.learn(&mut session).await?;
        Ok(self.lock().keys().next().copied())
    }

    /// Drops days, oldest first, each in a transaction of its own.
    pub(super) async fn drop_before(&self, database: &Database, day: Day) -> Result<Vec<Day>, StoreError> {
        let mut session = database.session().await?;
        self.learn(&mut session).await?;
        let old: Vec<Day> = self.lock().range(..day).map(|(known, _)| *known).collect();
        let mut dropped = Vec::new();
        for day in old {
            session.begin().await?;
            let is_dropped = match drop_one(&mut session, day).await {
                Ok(true) => {
                    session.commit().await?;
                    true
                }
                Ok(false) => {
                    session.roll_back().await?;
                    false
                }
                Err(fault) => {
                    session.roll_back().await?;
                    let error = StoreError::from(fault);
                    tracing::warn!(%day, %error, "a day of the log could not be dropped; it is tried again");
                    false
                }
            };
            if is_dropped {
                self.lock().remove(&day);
                dropped.push(day);
            }
        }
        // Events that nobody ever accepted go with the days of their deliveries.
        let sql = "DELETE FROM events_in_doubt d WHERE accepted_at < $1
            AND NOT EXISTS (SELECT 1 FROM deliveries p WHERE p.tenant = d.tenant AND p.event_id = d.id)";
        if !dropped.is_empty() {
            session.execute(sql, &[&day.start().as_millis()]).await?;
        }
        let sql = "DELETE FROM log_refused WHERE refused_at < to_timestamp($1::double precision / 1000)";
        #[expect(
            clippy::cast_precision_loss,
            reason = "milliseconds of any day there is are exact in a double"
        )]
        let millis = day.start().as_millis() as f64;
        session.execute(sql, &[&millis]).await?;
        Ok(dropped)
    }

    /// After a surprise: nothing is known any more.
    pub(super) fn forget(&self) {
        self.lock().clear();
    }

    fn unknown(&self, days: &BTreeSet<Day>) -> BTreeSet<Day> {
        let known = self.lock();
        days.iter().copied().filter(|day| !known.contains_key(day)).collect()
    }

    /// Reads which days are there. A day counts once its attempts are: its tables are made in one transaction. They are
    /// read first: of a day that another process makes meanwhile the bodies are then seen too, or nothing.
    async fn learn(&self, session: &mut Session) -> Result<(), StoreError> {
        let days = days_of(session, "attempts").await?;
        let with_bodies = days_of(session, BODIES).await?;
        let bodies = |day| if with_bodies.contains(&day) { Bodies::There } else { Bodies::Gone };
        *self.lock() = days.into_iter().map(|day| (day, bodies(day))).collect();
        Ok(())
    }

    /// Each in a transaction of its own: a day's tables and indexes take some twenty locks, of which a server
    /// has a limited number.
    async fn make(&self, session: &mut Session, days: &BTreeSet<Day>) -> Result<(), Fault> {
        for day in days {
            session.begin().await?;
            match make_one(session, *day).await {
                Ok(()) => session.commit().await?,
                Err(fault) => {
                    session.roll_back().await?;
                    return Err(fault);
                }
            }
            self.lock().insert(*day, Bodies::There);
        }
        Ok(())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<Day, Bodies>> {
        // A map is whole at any time, whoever panicked while it held the lock.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn make_one(session: &mut Session, day: Day) -> Result<(), Fault> {
    session.query("SELECT pg_advisory_xact_lock($1)", &[&DAYS_LOCK]).await?;
    session.run(LOCK_TIMEOUT).await?;
    for table in TABLES {
        if is_there(session, table, day).await? {
            continue;
        }
        let name = partition(table, day);
        let (from, to) = bounds(table, day);
        session
            .run(&format!(
                "CREATE TABLE {name} (LIKE {table} INCLUDING ALL);
                 ALTER TABLE {table} ATTACH PARTITION {name} FOR VALUES FROM ({from}) TO ({to})"
            ))
            .await?;
    }
    Ok(())
}

async fn today(session: &mut Session) -> Result<Day, StoreError> {
    let sql = "SELECT (extract(epoch FROM now())::bigint / 86400)::integer AS today";
    match session.query(sql, &[]).await?.first() {
        Some(row) => Ok(Day::from_number(get(row, "today")?)),
        None => Err(corrupt("the server does not tell its day")),
    }
}

async fn days_of(session: &mut Session, table: &str) -> Result<BTreeSet<Day>, StoreError> {
    let rows = session.query(KNOWN, &[&table]).await?;
    let mut days = BTreeSet::new();
    for row in &rows {
        let name: &str = get(row, "name")?;
        let number = name.rsplit('_').next().and_then(|number| number.parse().ok());
        days.extend(number.map(Day::from_number));
    }
    Ok(days)
}

async fn is_there(session: &mut Session, table: &str, day: Day) -> Result<bool, Fault> {
    let name = partition(table, day);
    let rows = session.query("SELECT to_regclass($1) IS NOT NULL AS is_there", &[&name]).await?;
    match rows.first() {
        Some(row) => Ok(get(row, "is_there")?),
        None => Ok(false),
    }
}

/// False if something in it is not concluded. Locks the tables first, in the order of the writers, so that
/// nothing can come into that day between the look and the drop.
async fn drop_one(session: &mut Session, day: Day) -> Result<bool, Fault> {
    // A look without locks first: most days that must stay are seen by it.
    if has_unconcluded(session, day).await? {
        return Ok(false);
    }
    session.run(LOCK_TIMEOUT).await?;
    session.query("SELECT pg_advisory_xact_lock($1)", &[&DAYS_LOCK]).await?;
    if !is_there(session, TABLES[0], day).await? {
        return Ok(false);
    }
    for table in TABLES {
        session.run(&format!("LOCK TABLE ONLY {table} IN ACCESS EXCLUSIVE MODE")).await?;
    }
    if has_unconcluded(session, day).await? {
        return Ok(false);
    }
    for table in TABLES {
        // The bodies may be gone already.
        session.run(&format!("DROP TABLE IF EXISTS {}", partition(table, day))).await?;
    }
    Ok(true)
}

async fn drop_bodies_of(session: &mut Session, day: Day) -> Result<(), Fault> {
    session.run(LOCK_TIMEOUT).await?;
    session.query("SELECT pg_advisory_xact_lock($1)", &[&DAYS_LOCK]).await?;
    session.run(&format!("DROP TABLE IF EXISTS {}", partition(BODIES, day))).await
}

/// By the partial index on what is not concluded.
async fn has_unconcluded(session: &mut Session, day: Day) -> Result<bool, Fault> {
    let sql = "SELECT EXISTS (
        SELECT 1 FROM deliveries WHERE concluded_at IS NULL AND id >= $1 AND id < $2) AS is_found";
    let (from, to) = (Id::first_at(day.start()), Id::first_at(day.plus(1).start()));
    let rows = session.query(sql, &[&from, &to]).await?;
    match rows.first() {
        Some(row) => Ok(get(row, "is_found")?),
        None => Ok(true),
    }
}

/// The day's number since 1970: sorts and is read back without a calendar.
fn partition(table: &str, day: Day) -> String {
    format!("{table}_{:06}", day.number())
}

/// Of events in milliseconds, of the others in ids, which begin with them.
fn bounds(table: &str, day: Day) -> (String, String) {
    let (from, to) = (day.start(), day.plus(1).start());
    if table == "events" {
        return (from.as_millis().to_string(), to.as_millis().to_string());
    }
    let quoted = |at| format!("'{:032x}'", Id::first_at(at).0);
    (quoted(from), quoted(to))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Another task reads anew which days there are, while a writer is about to write to one.
    #[test]
    fn bodies_of_a_day_that_is_not_known_are_kept() {
        let (days, day) = (Days::default(), Day::from_number(20_778));
        assert!(days.keeps_bodies(day));
        days.lock().insert(day, Bodies::Gone);
        assert!(!days.keeps_bodies(day), "their time is over");
    }

    #[test]
    fn days_follow_one_another_without_a_gap() {
        let day = Day::from_number(20_778);
        for table in TABLES {
            assert_eq!(bounds(table, day).1, bounds(table, day.plus(1)).0, "{table}");
        }
        assert_eq!(bounds("events", day).0, "1795219200000");
        assert_eq!(bounds("deliveries", day).0, "'01a1fb67180000000000000000000000'");
        assert_eq!(partition("deliveries", day), "deliveries_020778");
    }
}
