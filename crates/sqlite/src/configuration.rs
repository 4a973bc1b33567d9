//! The configuration store: the newest state of each document, every older one, and one counter that numbers
//! all changes in commit order.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use postrider_contract::clock::Day;
use postrider_contract::ids::TenantId;
use postrider_contract::ports::{
    Changes, ConfigKey, ConfigKind, ConfigRecord, ConfigStore, ConfigWrite, ConfigWriteError, Expected,
    ListConfig, StoreError,
};
use postrider_contract::revision::Revision;
use rusqlite::{Connection, OptionalExtension, Row, params};
use tokio::sync::Notify;

use crate::cells;
use crate::engine::Running;
use crate::reader::Reader;

/// The longest that [`ConfigStore::changed`] waits: its promise, and the cure of a notice that was missed.
const LONGEST_WAIT: Duration = Duration::from_secs(1);
/// States dropped in one transaction: a few milliseconds of the writer's time.
const FORGOTTEN_AT_ONCE: usize = 5_000;
/// The columns of a record, as [`record`] reads them.
const COLUMNS: &str = "kind, tenant, id, revision, document";

pub(crate) struct SqliteConfigStore {
    pub(crate) running: Arc<Running>,
    pub(crate) reader: Reader,
    pub(crate) changed: Arc<Notify>,
}

/// What became of a set of writes; a conflict is an answer, not a failure of the transaction.
enum Written {
    Upto(Revision),
    Conflict { current: Option<Revision> },
}

#[async_trait]
impl ConfigStore for SqliteConfigStore {
    async fn write(&self, writes: Vec<ConfigWrite>) -> Result<Revision, ConfigWriteError> {
        let size = writes.iter().map(|write| write.document.as_ref().map_or(0, Bytes::len)).sum();
        let changed = Arc::clone(&self.changed);
        let work = move |connection: &Connection| write_all(connection, &writes);
        let announce = move |written| {
            // Those who wait now, and the next one to ask: it may have been reading when this was committed.
            changed.notify_waiters();
            changed.notify_one();
            written
        };
        match self.running.writer.write(size, work, announce).await.map_err(StoreError::from)? {
            Written::Upto(revision) => Ok(revision),
            Written::Conflict { current } => Err(ConfigWriteError::Conflict { current }),
        }
    }

    async fn read(&self, key: &ConfigKey) -> Result<Option<ConfigRecord>, StoreError> {
        let key = key.clone();
        self.reader.read(move |connection| newest(connection, &key)).await
    }

    async fn read_at(&self, key: &ConfigKey, revision: Revision) -> Result<Option<ConfigRecord>, StoreError> {
        let key = key.clone();
        let sql = format!(
            "SELECT {COLUMNS} FROM config_history WHERE kind = ?1 AND tenant = ?2 AND id = ?3 AND revision <= ?4 \
             ORDER BY revision DESC LIMIT 1"
        );
        let read = move |connection: &Connection| {
            let mut statement = connection.prepare_cached(&sql)?;
            let values = params![
                key.kind.as_str(),
                tenant_cell(key.tenant.as_ref()),
                key.id,
                cells::revision_number(revision)
            ];
            statement.query_row(values, record).optional()
        };
        self.reader.read(read).await
    }

    async fn list(&self, query: ListConfig) -> Result<Vec<ConfigRecord>, StoreError> {
        // Left out where there is none, so that a later page begins at its place.
        let before = if query.before.is_some() { "AND id < ?3" } else { "AND ?3 IS NULL" };
        let sql = format!(
            "SELECT {COLUMNS} FROM config WHERE kind = ?1 AND tenant = ?2 AND document IS NOT NULL {before} \
             ORDER BY id DESC LIMIT ?4"
        );
        let read = move |connection: &Connection| {
            let mut statement = connection.prepare_cached(&sql)?;
            let values =
                params![query.kind.as_str(), tenant_cell(query.tenant.as_ref()), query.before, query.limit];
            statement.query_map(values, record)?.collect()
        };
        self.reader.read(read).await
    }

    async fn changes_since(&self, revision: Revision, limit: u32) -> Result<Changes, StoreError> {
        self.reader.read(move |connection| changes_since(connection, revision, limit.max(1))).await
    }

    async fn forget_superseded_before(&self, day: Day, today: Day) -> Result<u64, StoreError> {
        let work = move |connection: &Connection| note_day(connection, day, today);
        let Some(mark) = self.running.writer.write(0, work, |mark| mark).await? else { return Ok(0) };
        let mut forgotten = 0;
        loop {
            let work = move |connection: &Connection| forget_some(connection, mark);
            let dropped = self.running.writer.write(0, work, |dropped| dropped).await?;
            forgotten += u64::try_from(dropped).unwrap_or(u64::MAX);
            if dropped < FORGOTTEN_AT_ONCE {
                break;
            }
        }
        // Last, so that what ends in between is done again.
        let sql = "DELETE FROM config_day WHERE day < ?1";
        let work = move |connection: &Connection| connection.execute(sql, [day.number()]);
        self.running.writer.write(0, work, |_| ()).await?;
        Ok(forgotten)
    }

    async fn changed(&self) {
        // Running out is one of the ways to resolve.
        if tokio::time::timeout(LONGEST_WAIT, self.changed.notified()).await.is_err() {
            tracing::trace!("no change of configuration was announced");
        }
    }
}

fn tenant_cell(tenant: Option<&TenantId>) -> &str {
    tenant.map_or("", TenantId::as_str)
}

fn record(row: &Row<'_>) -> rusqlite::Result<ConfigRecord> {
    let kind = ConfigKind::from_word(row.get_ref(0)?.as_str()?).ok_or_else(|| cells::invalid(0, "kind"))?;
    let tenant = match row.get_ref(1)?.as_str()? {
        "" => None,
        text => Some(text.parse().map_err(|_| cells::invalid(1, "tenant"))?),
    };
    let document: Option<Vec<u8>> = row.get(4)?;
    let key = ConfigKey { kind, tenant, id: row.get(2)? };
    Ok(ConfigRecord { key, revision: cells::revision(row, 3)?, document: document.map(Bytes::from) })
}

fn newest(connection: &Connection, key: &ConfigKey) -> rusqlite::Result<Option<ConfigRecord>> {
    let sql = format!("SELECT {COLUMNS} FROM config WHERE kind = ?1 AND tenant = ?2 AND id = ?3");
    let mut statement = connection.prepare_cached(&sql)?;
    statement
        .query_row(params![key.kind.as_str(), tenant_cell(key.tenant.as_ref()), key.id], record)
        .optional()
}

fn counter(connection: &Connection) -> rusqlite::Result<Revision> {
    let mut statement = connection.prepare_cached("SELECT value FROM counter WHERE name = 'revision'")?;
    statement.query_row([], |row| cells::revision(row, 0))
}

/// All or nothing: a savepoint within the group's transaction, so that a conflict undoes these writes alone.
fn write_all(connection: &Connection, writes: &[ConfigWrite]) -> rusqlite::Result<Written> {
    connection.execute_batch("SAVEPOINT config")?;
    let mut last = counter(connection)?;
    for write in writes {
        let current = newest(connection, &write.key)?;
        if !is_as_expected(write.expected, current.as_ref()) {
            connection.execute_batch("ROLLBACK TO config; RELEASE config")?;
            return Ok(Written::Conflict { current: current.map(|record| record.revision) });
        }
        last = Revision::from_number(last.number() + 1);
        write_one(connection, write, last)?;
    }
    let set = "UPDATE counter SET value = ?1 WHERE name = 'revision'";
    connection.prepare_cached(set)?.execute([cells::revision_number(last)])?;
    connection.execute_batch("RELEASE config")?;
    Ok(Written::Upto(last))
}

fn is_as_expected(expected: Expected, current: Option<&ConfigRecord>) -> bool {
    match expected {
        Expected::Absent => current.is_none(),
        Expected::At(revision) => {
            current.is_some_and(|record| record.revision == revision && record.document.is_some())
        }
    }
}

fn write_one(connection: &Connection, write: &ConfigWrite, revision: Revision) -> rusqlite::Result<()> {
    let key = &write.key;
    for table in ["config", "config_history"] {
        let sql = format!("INSERT OR REPLACE INTO {table} ({COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5)");
        connection.prepare_cached(&sql)?.execute(params![
            key.kind.as_str(),
            tenant_cell(key.tenant.as_ref()),
            key.id,
            cells::revision_number(revision),
            write.document.as_deref(),
        ])?;
    }
    Ok(())
}

/// Notes how far today begins; answers how far the last day that was noted before `day` began.
fn note_day(connection: &Connection, day: Day, today: Day) -> rusqlite::Result<Option<i64>> {
    let note = "INSERT INTO config_day (day, revision) SELECT ?1, value FROM counter WHERE name = 'revision' \
                ON CONFLICT DO NOTHING";
    connection.prepare_cached(note)?.execute([today.number()])?;
    let sql = "SELECT max(revision) FROM config_day WHERE day < ?1";
    connection.prepare_cached(sql)?.query_row([day.number()], |row| row.get(0))
}

/// Of every document some of the states before the one that was newest when the counter was at `mark`.
fn forget_some(connection: &Connection, mark: i64) -> rusqlite::Result<usize> {
    let sql = "DELETE FROM config_history WHERE (kind, tenant, id, revision) IN ( \
                   SELECT kind, tenant, id, revision FROM config_history AS old WHERE revision < ( \
                       SELECT max(kept.revision) FROM config_history AS kept WHERE kept.kind = old.kind \
                       AND kept.tenant = old.tenant AND kept.id = old.id AND kept.revision <= ?1) \
                   LIMIT ?2)";
    let some = i64::try_from(FORGOTTEN_AT_ONCE).unwrap_or(i64::MAX);
    connection.prepare_cached(sql)?.execute(params![mark, some])
}

fn changes_since(connection: &Connection, since: Revision, limit: u32) -> rusqlite::Result<Changes> {
    // One transaction: the counter must not be newer than the records.
    let transaction = connection.unchecked_transaction()?;
    let now = counter(&transaction)?;
    let sql = format!("SELECT {COLUMNS} FROM config WHERE revision > ?1 ORDER BY revision LIMIT ?2");
    let mut statement = transaction.prepare_cached(&sql)?;
    let values = params![cells::revision_number(since), i64::from(limit) + 1];
    let mut records = statement.query_map(values, record)?.collect::<rusqlite::Result<Vec<_>>>()?;
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let has_more = records.len() > limit;
    records.truncate(limit);
    let last = records.last().map(|record| record.revision);
    let up_to = if has_more { last.unwrap_or(since) } else { now.max(since) };
    Ok(Changes { records, up_to, has_more })
}
