//! Keyed requests: the first under its key counts, whoever asks again finds it.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use postrider_contract::clock::Timestamp;
use postrider_contract::ids::TenantId;
use postrider_contract::ports::{
    BegunRequest, KeyName, KeyedOutcome, KeyedRequest, KeyedRequests, KeyedState, StoreError,
};
use postrider_contract::wire;
use rusqlite::{Connection, OptionalExtension, Row, Statement, params};

use crate::cells;
use crate::engine::Running;
use crate::reader::Reader;

/// Rows forgotten in one transaction: a few milliseconds of the writer's time.
const FORGOTTEN_AT_ONCE: usize = 5_000;

pub(crate) struct SqliteKeyedRequests {
    pub(crate) running: Arc<Running>,
    pub(crate) reader: Reader,
}

#[async_trait]
impl KeyedRequests for SqliteKeyedRequests {
    async fn begin(&self, requests: Vec<KeyedRequest>) -> Result<Vec<KeyedOutcome>, StoreError> {
        let rows: Vec<(KeyedRequest, Bytes)> = requests
            .into_iter()
            .map(|request| {
                let matches = wire::encode_matches(&request.matches);
                (request, matches)
            })
            .collect();
        let size = rows.iter().map(|(_, matches)| matches.len()).sum();
        let work = move |connection: &Connection| {
            rows.iter().map(|(request, matches)| begin_one(connection, request, matches)).collect()
        };
        Ok(self.running.writer.write(size, work, |outcomes| outcomes).await?)
    }

    async fn confirm(&self, begun: Vec<BegunRequest>) -> Result<(), StoreError> {
        let work = move |connection: &Connection| {
            let mut statement = connection.prepare_cached(
                "UPDATE keyed_request SET is_confirmed = 1 WHERE tenant = ?1 AND name_kind = ?2 AND name = ?3 \
                 AND event = ?4 AND accepted_at = ?5",
            )?;
            begun.iter().try_for_each(|one| execute_for(&mut statement, one))
        };
        Ok(self.running.writer.write(0, work, |()| ()).await?)
    }

    async fn find(
        &self,
        names: Vec<(TenantId, KeyName)>,
    ) -> Result<Vec<Option<(KeyedRequest, KeyedState)>>, StoreError> {
        let work = move |connection: &Connection| {
            names.iter().map(|(tenant, name)| find_one(connection, tenant, name)).collect()
        };
        self.reader.read(work).await
    }

    async fn withdraw(&self, begun: Vec<BegunRequest>) -> Result<(), StoreError> {
        let work = move |connection: &Connection| {
            let mut statement = connection.prepare_cached(
                "DELETE FROM keyed_request WHERE tenant = ?1 AND name_kind = ?2 AND name = ?3 \
                 AND event = ?4 AND accepted_at = ?5 AND is_confirmed = 0",
            )?;
            begun.iter().try_for_each(|one| execute_for(&mut statement, one))
        };
        Ok(self.running.writer.write(0, work, |()| ()).await?)
    }

    async fn forget_before(&self, time: Timestamp) -> Result<(), StoreError> {
        let time = time.as_millis();
        loop {
            let work = move |connection: &Connection| {
                let mut statement = connection.prepare_cached(
                    "DELETE FROM keyed_request WHERE (tenant, name_kind, name) IN \
                     (SELECT tenant, name_kind, name FROM keyed_request WHERE accepted_at < ?1 LIMIT ?2)",
                )?;
                statement.execute(params![time, i64::try_from(FORGOTTEN_AT_ONCE).unwrap_or(i64::MAX)])
            };
            if self.running.writer.write(0, work, |forgotten| forgotten).await? < FORGOTTEN_AT_ONCE {
                return Ok(());
            }
        }
    }
}

fn name_cells(name: &KeyName) -> (i64, &str) {
    match name {
        KeyName::Request(key) => (0, key),
        KeyName::Event(event) => (1, event.as_str()),
    }
}

fn execute_for(statement: &mut Statement<'_>, one: &BegunRequest) -> rusqlite::Result<()> {
    let (kind, text) = name_cells(&one.name);
    let (event, accepted_at) = (one.event.as_str(), one.accepted_at.as_millis());
    statement.execute(params![one.tenant.as_str(), kind, text, event, accepted_at]).map(|_| ())
}

fn begin_one(
    connection: &Connection,
    request: &KeyedRequest,
    matches: &Bytes,
) -> rusqlite::Result<KeyedOutcome> {
    let (kind, name) = name_cells(&request.name);
    let inserted = connection
        .prepare_cached(
            "INSERT INTO keyed_request (tenant, name_kind, name, body_hash, event, accepted_at, matches) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT DO NOTHING",
        )?
        .execute(params![
            request.tenant.as_str(),
            kind,
            name,
            request.body_hash,
            request.event.as_str(),
            request.accepted_at.as_millis(),
            matches.as_ref(),
        ])?;
    if inserted > 0 {
        return Ok(KeyedOutcome::Inserted);
    }
    let found = find_one(connection, &request.tenant, &request.name)?;
    let (request, state) = found.ok_or(rusqlite::Error::QueryReturnedNoRows)?;
    Ok(KeyedOutcome::Exists { request, state })
}

fn find_one(
    connection: &Connection,
    tenant: &TenantId,
    name: &KeyName,
) -> rusqlite::Result<Option<(KeyedRequest, KeyedState)>> {
    let mut statement = connection.prepare_cached(
        "SELECT body_hash, event, accepted_at, is_confirmed, matches FROM keyed_request \
         WHERE tenant = ?1 AND name_kind = ?2 AND name = ?3",
    )?;
    let (kind, text) = name_cells(name);
    statement.query_row(params![tenant.as_str(), kind, text], |row| existing(row, tenant, name)).optional()
}

fn existing(
    row: &Row<'_>,
    tenant: &TenantId,
    name: &KeyName,
) -> rusqlite::Result<(KeyedRequest, KeyedState)> {
    let matches = Bytes::from(row.get::<_, Vec<u8>>(4)?);
    let request = KeyedRequest {
        tenant: tenant.clone(),
        name: name.clone(),
        body_hash: row.get(0)?,
        event: cells::parsed(row, 1, "event id")?,
        accepted_at: cells::time(row, 2)?,
        matches: wire::decode_matches(matches).map_err(|_| cells::invalid(4, "list of matches"))?,
    };
    let state = if row.get(3)? { KeyedState::Confirmed } else { KeyedState::Pending };
    Ok((request, state))
}
