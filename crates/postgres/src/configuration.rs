//! Configuration: documents, their history, and one counter.
//!
//! A write holds the counter's row until it commits, so numbers become visible in their order and a reader that
//! saw number *n* has seen everything up to *n*. Changes are announced by NOTIFY; since notices can be lost, a
//! waiter is also woken every second and looks for itself.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
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
use tokio::sync::{mpsc, watch};
use tokio_postgres::Row;
use tokio_util::task::AbortOnDropHandle;

use crate::errors::{Fault, corrupt, describe};
use crate::session::{CONTENDED_TRIES, Database, Session};
use crate::stored::{get, signed, tenant_word};

/// The port's promise.
const WAKE_AT_LATEST: Duration = Duration::from_secs(1);

/// Between tries to listen again; waiters are woken each second meanwhile.
const LISTEN_AGAIN: Duration = Duration::from_secs(2);

/// How often the listening connection is asked whether it still stands: a half-open one hears nothing.
const LISTEN_CHECK: Duration = Duration::from_secs(15);

const INSERT_HISTORY: &str =
    "INSERT INTO config_history (kind, tenant, id, revision, document) VALUES ($1, $2, $3, $4, $5)";
const UPSERT: &str = "INSERT INTO config_documents (kind, tenant, id, revision, document)
    VALUES ($1, $2, $3, $4, $5)
    ON CONFLICT (kind, tenant, id) DO UPDATE SET revision = excluded.revision, document = excluded.document";
/// Of every document the states before the one that was newest when the counter was at $1.
const FORGET: &str = "DELETE FROM config_history h USING (
        SELECT kind, tenant, id, max(revision) AS revision FROM config_history
        WHERE revision <= $1 GROUP BY kind, tenant, id
    ) kept
    WHERE h.kind = kept.kind AND h.tenant = kept.tenant AND h.id = kept.id AND h.revision < kept.revision";
/// One snapshot of the counter and of what lies after a revision.
const CHANGES: &str = "SELECT c.revision AS up_to, d.kind, d.tenant, d.id, d.revision, d.document
    FROM config_counter c LEFT JOIN LATERAL (
        SELECT * FROM config_documents WHERE revision > $1 ORDER BY revision LIMIT $2
    ) d ON true ORDER BY d.revision";

pub(crate) struct Configuration {
    database: Arc<Database>,
    generation: watch::Sender<u64>,
    seen: AtomicU64,
    _listener: AbortOnDropHandle<()>,
}

impl Configuration {
    pub(crate) fn new(database: Arc<Database>) -> Self {
        let (generation, _) = watch::channel(0);
        let listening = listen(Arc::clone(&database), generation.clone());
        let listener = AbortOnDropHandle::new(tokio::spawn(listening));
        Configuration { database, generation, seen: AtomicU64::new(0), _listener: listener }
    }

    async fn try_write(&self, writes: &[ConfigWrite]) -> Result<Result<Revision, ConfigWriteError>, Fault> {
        let mut session = self.database.session().await?;
        session.begin().await?;
        let written = write_in(&mut session, writes).await;
        match written {
            Ok(Ok(revision)) => {
                session.run("NOTIFY postrider_configuration").await?;
                session.commit().await?;
                Ok(Ok(revision))
            }
            Ok(Err(conflict)) => {
                session.roll_back().await?;
                Ok(Err(conflict))
            }
            Err(fault) => {
                session.roll_back().await?;
                Err(fault)
            }
        }
    }
}

#[async_trait]
impl ConfigStore for Configuration {
    async fn write(&self, writes: Vec<ConfigWrite>) -> Result<Revision, ConfigWriteError> {
        if writes.iter().any(|write| write.key.id.contains('\0')) {
            return Err(ConfigWriteError::Store(corrupt("an id of configuration holds a zero byte")));
        }
        let mut written = self.try_write(&writes).await;
        for _ in 1..CONTENDED_TRIES {
            let Err(Fault::Contended) = written else { break };
            written = self.try_write(&writes).await;
        }
        let revision = written.map_err(StoreError::from)??;
        bump(&self.generation);
        Ok(revision)
    }

    async fn read(&self, key: &ConfigKey) -> Result<Option<ConfigRecord>, StoreError> {
        self.read_at(key, Revision::from_number(u64::MAX)).await
    }

    async fn read_at(&self, key: &ConfigKey, revision: Revision) -> Result<Option<ConfigRecord>, StoreError> {
        if key.id.contains('\0') {
            return Ok(None);
        }
        let sql = "SELECT kind, tenant, id, revision, document FROM config_history
            WHERE kind = $1 AND tenant = $2 AND id = $3 AND revision <= $4 ORDER BY revision DESC LIMIT 1";
        let (kind, tenant) = (key.kind.as_str(), tenant_word(key.tenant.as_ref()));
        let rows = self.database.query(sql, &[&kind, &tenant, &key.id, &signed(revision.number())]).await?;
        rows.first().map(record).transpose()
    }

    async fn list(&self, query: ListConfig) -> Result<Vec<ConfigRecord>, StoreError> {
        let sql = "SELECT kind, tenant, id, revision, document FROM config_documents
            WHERE kind = $1 AND tenant = $2 AND document IS NOT NULL AND ($3::text IS NULL OR id < $3)
            ORDER BY id DESC LIMIT $4";
        let before = query.before.map(|before| before.replace('\0', ""));
        let (kind, tenant) = (query.kind.as_str(), tenant_word(query.tenant.as_ref()));
        let rows = self.database.query(sql, &[&kind, &tenant, &before, &i64::from(query.limit)]).await?;
        rows.iter().map(record).collect()
    }

    async fn changes_since(&self, revision: Revision, limit: u32) -> Result<Changes, StoreError> {
        let limit = usize::try_from(limit.max(1)).unwrap_or(usize::MAX);
        let one_more = i64::try_from(limit).unwrap_or(i64::MAX).saturating_add(1);
        let rows = self.database.query(CHANGES, &[&signed(revision.number()), &one_more]).await?;
        let Some(first) = rows.first() else { return Err(corrupt("the counter of configuration is gone")) };
        let counter = Revision::from_number(get::<i64>(first, "up_to")?.unsigned_abs());
        let mut records = Vec::with_capacity(rows.len());
        for row in rows.iter().take(limit) {
            if get::<Option<i64>>(row, "revision")?.is_some() {
                records.push(record(row)?);
            }
        }
        let has_more = rows.len() > limit;
        let last = records.last().map(|record| record.revision).filter(|_| has_more);
        Ok(Changes { records, up_to: last.unwrap_or(counter), has_more })
    }

    async fn forget_superseded_before(&self, day: Day, today: Day) -> Result<u64, StoreError> {
        let note = "INSERT INTO config_days (day, revision) SELECT $1::integer, revision FROM config_counter
            ON CONFLICT (day) DO NOTHING";
        self.database.execute(note, &[&today.number()]).await?;
        let sql = "SELECT max(revision) AS revision FROM config_days WHERE day < $1";
        let rows = self.database.query(sql, &[&day.number()]).await?;
        let mark = rows.first().map(|row| get::<Option<i64>>(row, "revision")).transpose()?.flatten();
        let Some(mark) = mark else { return Ok(0) };
        let forgotten = self.database.execute(FORGET, &[&mark]).await?;
        // Last, so that what ends in between is done again.
        self.database.execute("DELETE FROM config_days WHERE day < $1", &[&day.number()]).await?;
        Ok(forgotten)
    }

    async fn changed(&self) {
        let mut generation = self.generation.subscribe();
        let is_new = |generation: &u64| *generation != self.seen.load(Ordering::Acquire);
        // Either way the caller looks for itself: out of time counts as "may have changed".
        let woken = tokio::time::timeout(WAKE_AT_LATEST, generation.wait_for(is_new)).await;
        if let Ok(Ok(now)) = woken {
            self.seen.store(*now, Ordering::Release);
        }
    }
}

/// Takes the counter's row, compares what is there with what is expected, writes.
async fn write_in(
    session: &mut Session,
    writes: &[ConfigWrite],
) -> Result<Result<Revision, ConfigWriteError>, Fault> {
    let counter = session.query("SELECT revision FROM config_counter FOR UPDATE", &[]).await?;
    let Some(counter) = counter.first() else {
        return Err(corrupt("the counter of configuration is gone").into());
    };
    let mut revision: i64 = get(counter, "revision")?;
    let mut states: BTreeMap<&ConfigKey, Option<(i64, bool)>> = BTreeMap::new();
    for write in writes {
        let (kind, tenant, id) =
            (write.key.kind.as_str(), tenant_word(write.key.tenant.as_ref()), write.key.id.as_str());
        if !states.contains_key(&write.key) {
            let sql = "SELECT revision, document IS NULL AS is_deleted FROM config_documents
                WHERE kind = $1 AND tenant = $2 AND id = $3";
            let rows = session.query(sql, &[&kind, &tenant, &id]).await?;
            let state = match rows.first() {
                Some(row) => Some((get(row, "revision")?, get(row, "is_deleted")?)),
                None => None,
            };
            states.insert(&write.key, state);
        }
        let state = states.get(&write.key).copied().flatten();
        let is_as_expected = match (write.expected, state) {
            (Expected::Absent, None) => true,
            (Expected::At(expected), Some((found, is_deleted))) => {
                !is_deleted && signed(expected.number()) == found
            }
            (Expected::Absent, Some(_)) | (Expected::At(_), None) => false,
        };
        if !is_as_expected {
            let current = state.map(|(found, _)| Revision::from_number(found.unsigned_abs()));
            return Ok(Err(ConfigWriteError::Conflict { current }));
        }
        revision += 1;
        let document = write.document.as_deref();
        session.execute(UPSERT, &[&kind, &tenant, &id, &revision, &document]).await?;
        session.execute(INSERT_HISTORY, &[&kind, &tenant, &id, &revision, &document]).await?;
        states.insert(&write.key, Some((revision, write.document.is_none())));
    }
    session.execute("UPDATE config_counter SET revision = $1", &[&revision]).await?;
    Ok(Ok(Revision::from_number(revision.unsigned_abs())))
}

fn record(row: &Row) -> Result<ConfigRecord, StoreError> {
    let kind: &str = get(row, "kind")?;
    let tenant: &str = get(row, "tenant")?;
    let tenant = match tenant {
        "" => None,
        word => Some(
            word.parse::<TenantId>().map_err(|_| corrupt("configuration of a tenant with no valid id"))?,
        ),
    };
    let kind = ConfigKind::from_word(kind)
        .ok_or_else(|| corrupt(format!("configuration of the unknown kind {kind}")))?;
    Ok(ConfigRecord {
        key: ConfigKey { kind, tenant, id: get(row, "id")? },
        revision: Revision::from_number(get::<i64>(row, "revision")?.unsigned_abs()),
        document: get::<Option<Vec<u8>>>(row, "document")?.map(Bytes::from),
    })
}

fn bump(generation: &watch::Sender<u64>) {
    generation.send_modify(|number| *number = number.wrapping_add(1));
}

/// Listens for as long as it is not aborted, and says so at every (re)connection: what was announced in between
/// was not heard.
async fn listen(database: Arc<Database>, generation: watch::Sender<u64>) {
    loop {
        let (heard, mut notices) = mpsc::channel(1);
        match database.server().open(Some(heard)).await {
            Ok(connection) => {
                if connection.client.batch_execute("LISTEN postrider_configuration").await.is_ok() {
                    bump(&generation);
                    loop {
                        match tokio::time::timeout(LISTEN_CHECK, notices.recv()).await {
                            Ok(Some(())) => bump(&generation),
                            Ok(None) => break,
                            Err(_) => {
                                let check = connection.client.batch_execute("");
                                if !matches!(tokio::time::timeout(LISTEN_CHECK, check).await, Ok(Ok(()))) {
                                    break;
                                }
                            }
                        }
                    }
                }
            }
            Err(error) => {
                tracing::debug!(error = describe(&error), "cannot listen for changes of configuration");
            }
        }
        tokio::time::sleep(LISTEN_AGAIN).await;
    }
}
