//! Keyed requests: many to one statement, the primary key decides who was first.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use async_trait::async_trait;
use postrider_contract::clock::Timestamp;
use postrider_contract::ids::{EventId, TenantId};
use postrider_contract::ports::{
    BegunRequest, KeyName, KeyedOutcome, KeyedRequest, KeyedRequests, KeyedState, StoreError,
};
use postrider_contract::wire;
use tokio_postgres::Row;

use crate::errors::{Fault, corrupt, unavailable};
use crate::session::{CONTENDED_TRIES, Database, Session};
use crate::stored::{get, parse, time};

/// Waits for a row that another transaction is inserting, then leaves it alone.
const INSERT: &str = "INSERT INTO keyed_requests
        (tenant, space, name, body_hash, event_id, accepted_at, matches)
    SELECT * FROM unnest($1::text[], $2::smallint[], $3::bytea[], $4::bytea[], $5::text[], $6::bigint[], $7::bytea[])
    ON CONFLICT (tenant, space, name) DO NOTHING RETURNING tenant, space, name";
const SELECT: &str =
    "SELECT k.* FROM unnest($1::text[], $2::smallint[], $3::bytea[]) AS u (tenant, space, name)
    CROSS JOIN LATERAL (
        SELECT * FROM keyed_requests k
        WHERE k.tenant = u.tenant AND k.space = u.space AND k.name = u.name LIMIT 1
    ) k";
const CONFIRM: &str = "UPDATE keyed_requests k SET is_confirmed = true
    FROM unnest($1::text[], $2::smallint[], $3::bytea[], $4::text[], $5::bigint[])
        AS u (tenant, space, name, event_id, accepted_at)
    WHERE k.tenant = u.tenant AND k.space = u.space AND k.name = u.name AND k.event_id = u.event_id
        AND k.accepted_at = u.accepted_at AND NOT k.is_confirmed";

const WITHDRAW: &str = "DELETE FROM keyed_requests k
    USING unnest($1::text[], $2::smallint[], $3::bytea[], $4::text[], $5::bigint[])
        AS u (tenant, space, name, event_id, accepted_at)
    WHERE k.tenant = u.tenant AND k.space = u.space AND k.name = u.name AND k.event_id = u.event_id
        AND k.accepted_at = u.accepted_at AND NOT k.is_confirmed";

/// What names a request: tenant, namespace, name. The order in which rows are written, by everyone.
type Key = (TenantId, i16, Vec<u8>);

pub(crate) struct Keyed {
    database: Arc<Database>,
}

impl Keyed {
    pub(crate) fn new(database: Arc<Database>) -> Self {
        Keyed { database }
    }

    async fn begin_once(&self, elders: &BTreeMap<Key, &KeyedRequest>) -> Result<Known, Fault> {
        let mut session = self.database.session().await?;
        let mut known = Known::new();
        // A row that is in the way may be forgotten before it is read: then it is inserted after all.
        for _ in 0..CONTENDED_TRIES {
            let missing: Vec<(&Key, &KeyedRequest)> = elders
                .iter()
                .filter(|(key, _)| !known.contains_key(*key))
                .map(|(key, own)| (key, *own))
                .collect();
            if missing.is_empty() {
                return Ok(known);
            }
            insert(&mut session, &missing, &mut known).await?;
            let taken: Vec<&Key> =
                missing.iter().map(|(key, _)| *key).filter(|key| !known.contains_key(*key)).collect();
            if !taken.is_empty() {
                read(&mut session, &taken, &mut known).await?;
            }
        }
        Err(Fault::Store(unavailable("keyed requests came and went while they were inserted")))
    }

    /// In the order in which rows are written, each once.
    async fn execute_for(&self, sql: &'static str, begun: &[BegunRequest]) -> Result<(), StoreError> {
        if begun.is_empty() {
            return Ok(());
        }
        let rows: BTreeSet<(Key, &str, i64)> = begun
            .iter()
            .map(|one| (key_of(&one.tenant, &one.name), one.event.as_str(), one.accepted_at.as_millis()))
            .collect();
        let (tenants, spaces, names) = columns(&rows.iter().map(|(key, _, _)| key).collect::<Vec<_>>());
        let events: Vec<&str> = rows.iter().map(|(_, event, _)| *event).collect();
        let accepted: Vec<i64> = rows.iter().map(|(_, _, accepted_at)| *accepted_at).collect();
        self.database.execute(sql, &[&tenants, &spaces, &names, &events, &accepted]).await?;
        Ok(())
    }
}

/// `None`: inserted by this call.
type Known = BTreeMap<Key, Option<(KeyedRequest, KeyedState)>>;

#[async_trait]
impl KeyedRequests for Keyed {
    async fn begin(&self, requests: Vec<KeyedRequest>) -> Result<Vec<KeyedOutcome>, StoreError> {
        let mut elders: BTreeMap<Key, &KeyedRequest> = BTreeMap::new();
        for request in &requests {
            elders.entry(key_of(&request.tenant, &request.name)).or_insert(request);
        }
        let mut known = self.begin_once(&elders).await;
        for _ in 1..CONTENDED_TRIES {
            let Err(Fault::Contended) = known else { break };
            // Each statement committed by itself: had one of them, nobody lost.
            known = self.begin_once(&elders).await;
        }
        let known = known?;
        let outcomes = requests.iter().map(|request| {
            let key = key_of(&request.tenant, &request.name);
            let elder = elders.get(&key).copied().unwrap_or(request);
            match known.get(&key) {
                Some(Some((found, state))) => KeyedOutcome::Exists { request: found.clone(), state: *state },
                Some(None) | None if std::ptr::eq(elder, request) => KeyedOutcome::Inserted,
                Some(None) | None => {
                    KeyedOutcome::Exists { request: elder.clone(), state: KeyedState::Pending }
                }
            }
        });
        Ok(outcomes.collect())
    }

    async fn confirm(&self, begun: Vec<BegunRequest>) -> Result<(), StoreError> {
        self.execute_for(CONFIRM, &begun).await
    }

    async fn find(
        &self,
        names: Vec<(TenantId, KeyName)>,
    ) -> Result<Vec<Option<(KeyedRequest, KeyedState)>>, StoreError> {
        let keys: Vec<Key> = names.iter().map(|(tenant, name)| key_of(tenant, name)).collect();
        let (tenants, spaces, texts) = columns(&keys.iter().collect::<Vec<_>>());
        let mut found = BTreeMap::new();
        for row in self.database.query(SELECT, &[&tenants, &spaces, &texts]).await? {
            let (key, request, state) = stored_request(&row)?;
            found.insert(key, (request, state));
        }
        Ok(keys.iter().map(|key| found.get(key).cloned()).collect())
    }

    async fn withdraw(&self, begun: Vec<BegunRequest>) -> Result<(), StoreError> {
        self.execute_for(WITHDRAW, &begun).await
    }

    async fn forget_before(&self, time: Timestamp) -> Result<(), StoreError> {
        let sql = "DELETE FROM keyed_requests WHERE accepted_at < $1";
        self.database.execute(sql, &[&time.as_millis()]).await?;
        Ok(())
    }
}

async fn insert(
    session: &mut Session,
    missing: &[(&Key, &KeyedRequest)],
    known: &mut Known,
) -> Result<(), Fault> {
    let keys: Vec<&Key> = missing.iter().map(|(key, _)| *key).collect();
    let (tenants, spaces, names) = columns(&keys);
    let hashes: Vec<&[u8]> = missing.iter().map(|(_, request)| request.body_hash.as_slice()).collect();
    let events: Vec<&str> = missing.iter().map(|(_, request)| request.event.as_str()).collect();
    let accepted: Vec<i64> = missing.iter().map(|(_, request)| request.accepted_at.as_millis()).collect();
    let matches: Vec<bytes::Bytes> =
        missing.iter().map(|(_, request)| wire::encode_matches(&request.matches)).collect();
    let matches: Vec<&[u8]> = matches.iter().map(AsRef::as_ref).collect();
    let rows =
        session.query(INSERT, &[&tenants, &spaces, &names, &hashes, &events, &accepted, &matches]).await?;
    for row in rows {
        known.insert((parse(&row, "tenant")?, get(&row, "space")?, get(&row, "name")?), None);
    }
    Ok(())
}

async fn read(session: &mut Session, taken: &[&Key], known: &mut Known) -> Result<(), Fault> {
    let (tenants, spaces, names) = columns(taken);
    for row in session.query(SELECT, &[&tenants, &spaces, &names]).await? {
        let (key, request, state) = stored_request(&row)?;
        known.insert(key, Some((request, state)));
    }
    Ok(())
}

fn stored_request(row: &Row) -> Result<(Key, KeyedRequest, KeyedState), StoreError> {
    let tenant: TenantId = parse(row, "tenant")?;
    let space: i16 = get(row, "space")?;
    let name: Vec<u8> = get(row, "name")?;
    let text = String::from_utf8(name.clone()).map_err(|_| corrupt("a request's key is not text"))?;
    let key_name = match space {
        0 => KeyName::Request(text),
        1 => KeyName::Event(text.parse::<EventId>().map_err(|_| corrupt("a key is not an event id"))?),
        _ => return Err(corrupt(format!("keyed request of the unknown namespace {space}"))),
    };
    let hash: &[u8] = get(row, "body_hash")?;
    let stored: Vec<u8> = get(row, "matches")?;
    let matches = wire::decode_matches(stored.into())
        .map_err(|error| corrupt(format!("the matches of a keyed request: {error}")))?;
    let request = KeyedRequest {
        tenant: tenant.clone(),
        name: key_name,
        body_hash: hash.try_into().map_err(|_| corrupt("a body's hash has the wrong length"))?,
        event: parse(row, "event_id")?,
        accepted_at: time(row, "accepted_at")?,
        matches,
    };
    let state = if get(row, "is_confirmed")? { KeyedState::Confirmed } else { KeyedState::Pending };
    Ok(((tenant, space, name), request, state))
}

fn key_of(tenant: &TenantId, name: &KeyName) -> Key {
    match name {
        KeyName::Request(key) => (tenant.clone(), 0, key.as_bytes().to_vec()),
        KeyName::Event(id) => (tenant.clone(), 1, id.as_str().as_bytes().to_vec()),
    }
}

fn columns<'a>(keys: &[&'a Key]) -> (Vec<&'a str>, Vec<i16>, Vec<&'a [u8]>) {
    let tenants = keys.iter().map(|key| key.0.as_str()).collect();
    let spaces = keys.iter().map(|key| key.1).collect();
    (tenants, spaces, keys.iter().map(|key| key.2.as_slice()).collect())
}
