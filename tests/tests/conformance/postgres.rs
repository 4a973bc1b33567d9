//! PostgreSQL: the conformance suite of the stores, and what is PostgreSQL's alone.

#[path = "postgres/bodies.rs"]
mod bodies;
#[path = "postgres/examining.rs"]
mod examining;
#[path = "postgres/outages.rs"]
mod outages;
#[path = "postgres/plans.rs"]
mod plans;
#[path = "postgres/poison.rs"]
mod poison;
#[path = "postgres/tls.rs"]
mod tls;

use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use postrider_contract::clock::{Clock, Timestamp};
use postrider_contract::journal::JournalRecord;
use postrider_contract::log::fold;
use postrider_contract::outcome::DeliveryStatus;
use postrider_contract::ports::{
    AnswerBody, ConfigKey, ConfigKind, ConfigStore, ConfigWrite, DeliveryLog, Expected, KeyedRequests,
    Leadership, LedgerQuery, ListConfig, LogQueries, StoreError, WaitingRoom,
};
use postrider_contract::wire;
use postrider_postgres::{ConnectError, PostgresStore, Settings, migrate};
use postrider_service::system::SystemClock;
use postrider_tests::conformance::samples::{Sample, position, tenant};
use postrider_tests::conformance::{StoreUnderTest, eventually, soon};
use postrider_tests::harness::{self, Postgres, SmallDisk, shared_postgres};
use postrider_tests::store_conformance;

store_conformance!(start);

struct PostgresUnderTest {
    url: String,
    store: PostgresStore,
}

async fn start() -> PostgresUnderTest {
    let server = shared_postgres().await.expect("PostgreSQL starts");
    let url = server.create_database().await.expect("a database is made");
    migrate(&settings(&url)).await.expect("the schema is made");
    let store = connect(&url).await;
    PostgresUnderTest { url, store }
}

fn settings(url: &str) -> Settings {
    let pool_size = NonZeroU16::new(4).expect("four is not zero");
    Settings { pool_size, query_timeout: Duration::from_secs(20), ..Settings::new(url) }
}

async fn connect(url: &str) -> PostgresStore {
    soon(PostgresStore::connect(settings(url))).await.expect("the store is there")
}

#[async_trait]
impl StoreUnderTest for PostgresUnderTest {
    fn configuration(&self) -> Arc<dyn ConfigStore> {
        self.store.configuration()
    }

    fn keyed(&self) -> Arc<dyn KeyedRequests> {
        self.store.keyed_requests()
    }

    fn log(&self) -> Arc<dyn DeliveryLog> {
        self.store.delivery_log()
    }

    fn queries(&self) -> Arc<dyn LogQueries> {
        self.store.log_queries()
    }

    fn room(&self) -> Arc<dyn WaitingRoom> {
        self.store.waiting_room()
    }

    fn leadership(&self) -> Arc<dyn Leadership> {
        self.store.leadership()
    }

    async fn leadership_elsewhere(&self) -> Option<Arc<dyn Leadership>> {
        Some(connect(&self.url).await.leadership())
    }

    async fn reopen(&mut self) {
        self.store = connect(&self.url).await;
    }

    /// The day decides which partitions there may be, and the server knows the real one.
    fn now(&self) -> Timestamp {
        SystemClock.now()
    }
}

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

async fn apply(store: &PostgresStore, records: Vec<JournalRecord>) -> Result<(), StoreError> {
    soon(store.delivery_log().apply(&fold(records))).await
}

async fn status_of(store: &PostgresStore, sample: &Sample) -> Option<DeliveryStatus> {
    let found = soon(store.log_queries().delivery(&sample.tenant, sample.id())).await.expect("it answers");
    found.map(|view| view.status)
}

/// One number, as the server itself counts it.
async fn count(url: &str, sql: &str) -> i64 {
    let client = harness::postgres::connect(url).await.expect("the server answers");
    client.query_one(sql, &[]).await.expect("it counts").get(0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_may_migrate_at_once_and_again() {
    let server = shared_postgres().await.expect("PostgreSQL starts");
    let url = server.create_database().await.expect("a database is made");
    let migrating: Vec<_> = (0..4)
        .map(|_| {
            let settings = settings(&url);
            tokio::spawn(async move { migrate(&settings).await })
        })
        .collect();
    let mut with_steps = 0;
    for one in migrating {
        let migrated = soon(one).await.expect("it does not panic").expect("it is migrated");
        with_steps += usize::from(migrated.steps > 0);
    }
    assert_eq!(with_steps, 1);
    assert_eq!(migrate(&settings(&url)).await.expect("it is up to date").steps, 0);
}

#[tokio::test]
async fn what_keeps_the_store_from_being_there_is_told_apart() {
    let server = shared_postgres().await.expect("PostgreSQL starts");
    let url = server.create_database().await.expect("a database is made");
    let why = async |url: &str| {
        soon(PostgresStore::connect(settings(url))).await.expect_err("no store").to_string()
    };
    let connected = soon(PostgresStore::connect(settings(&url))).await;
    assert!(matches!(connected, Err(ConnectError::SchemaMissing { .. })));
    assert!(why(&url).await.contains("postrider migrate"));
    let nowhere = soon(PostgresStore::connect(settings(&server.url("nowhere")))).await;
    assert!(
        matches!(nowhere, Err(ConnectError::DatabaseMissing { ref database, .. }) if database == "nowhere")
    );
    let closed = soon(PostgresStore::connect(settings("postgres://postgres:secret@127.0.0.1:1/x"))).await;
    assert!(matches!(closed, Err(ConnectError::Unreachable { .. })));
    assert!(!why("postgres://postgres:secret@127.0.0.1:1/x").await.contains("secret"));
    let odd = soon(PostgresStore::connect(settings("not a url"))).await;
    assert!(matches!(odd, Err(ConnectError::Url { .. })));
}

/// As a cluster is in the middle of an upgrade, or after it was taken back.
#[tokio::test]
async fn a_newer_schema_is_worked_with_if_it_says_that_it_suits() {
    let engine = start().await;
    let known = migrate(&settings(&engine.url)).await.expect("it is up to date").version;
    let client = harness::postgres::connect(&engine.url).await.expect("the server answers");
    let newer = "INSERT INTO refinery_schema_history (version, name, applied_on, checksum)
        VALUES (1000, 'later', '2030-01-01T00:00:00Z', '7')";
    client.batch_execute(newer).await.expect("it is changed");
    let migrated = migrate(&settings(&engine.url)).await.expect("nothing is to be done");
    assert_eq!((migrated.steps, migrated.version), (0, 1000));
    let sample = Sample::numbered(1, engine.now());
    apply(&connect(&engine.url).await, vec![sample.accepted()]).await.expect("it is written");

    let floor = format!("UPDATE schema_floor SET version = {}", known + 1);
    client.batch_execute(&floor).await.expect("it is changed");
    let refused = soon(PostgresStore::connect(settings(&engine.url))).await;
    assert!(matches!(refused, Err(ConnectError::SchemaNewer { found: 1000, .. })));
    let refused = migrate(&settings(&engine.url)).await;
    assert!(matches!(refused, Err(ConnectError::SchemaNewer { found: 1000, .. })));
}

/// A program of the version before writes no bodies apart, and makes days that have no place for them.
#[tokio::test]
async fn a_program_of_the_version_before_may_write_beside_this_one() {
    let engine = start().await;
    let today = engine.now().day();
    let client = harness::postgres::connect(&engine.url).await.expect("the server answers");
    let (ours, theirs) = (Sample::numbered(1, engine.now()), Sample::numbered(2, engine.now()));
    for sample in [&ours, &theirs] {
        let records = vec![sample.accepted(), sample.delivered(position(1, 0))];
        apply(&engine.store, records).await.expect("it is written");
    }
    let attempts =
        async |sample: &Sample| soon(engine.queries().attempts(sample.id())).await.expect("it answers");
    let whole = attempts(&theirs).await;
    let inside = wire::encode_attempt(&whole[0].attempt, &whole[0].outcome);
    let update = "UPDATE deliveries SET first_attempt = $1 WHERE event_id = $2";
    client.execute(update, &[&inside.as_ref(), &theirs.event.as_str()]).await.expect("it is written");
    let day = format!("response_bodies_{:06}", today.number());
    client.batch_execute(&format!("DROP TABLE {day}")).await.expect("there is none");

    assert_eq!(attempts(&theirs).await, whole, "inside the try");
    assert_eq!(attempts(&ours).await[0].body, AnswerBody::Expired);
    // The leader of the new version makes what is missing, for days that are still kept.
    let fresh = connect(&engine.url).await;
    soon(fresh.delivery_log().prepare_days(today.plus(-3), today.plus(3))).await.expect("they are made");
    let third = Sample::numbered(3, engine.now());
    apply(&fresh, vec![third.accepted(), third.delivered(position(1, 0))]).await.expect("it is written");
    assert_eq!(attempts(&third).await[0].body, AnswerBody::Kept);
}

#[tokio::test]
async fn a_day_that_is_missing_is_made_when_it_is_written() {
    let engine = start().await;
    let old = Sample::numbered(1, engine.now().minus(DAY * 20));
    apply(&engine.store, vec![old.accepted(), old.delivered(position(1, 0))]).await.expect("it is written");
    assert_eq!(status_of(&engine.store, &old).await, Some(DeliveryStatus::Delivered));
}

#[tokio::test]
async fn a_day_that_another_process_dropped_is_made_again() {
    let engine = start().await;
    let elsewhere = connect(&engine.url).await;
    let at = engine.now().minus(DAY * 20);
    let (one, two) = (Sample::numbered(1, at), Sample::numbered(2, at));
    let whole = |sample: &Sample| vec![sample.accepted(), sample.delivered(position(1, 0))];
    apply(&engine.store, whole(&one)).await.expect("it is written");
    let dropped =
        soon(elsewhere.delivery_log().drop_days_before(engine.now().day())).await.expect("it answers");
    assert_eq!(dropped, [at.day()]);
    apply(&engine.store, whole(&two)).await.expect("it is written");
    assert_eq!(status_of(&engine.store, &one).await, None);
    assert_eq!(status_of(&engine.store, &two).await, Some(DeliveryStatus::Delivered));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writers_of_the_same_rows_neither_deadlock_nor_lose() {
    const ROWS: u32 = 200;
    let engine = start().await;
    let at = engine.now();
    let writers: Vec<_> = (0..4_usize)
        .map(|writer| {
            let url = engine.url.clone();
            tokio::spawn(async move {
                let store = connect(&url).await;
                let samples: Vec<Sample> = (0..ROWS).map(|number| Sample::numbered(number, at)).collect();
                for round in 0..10_usize {
                    let mut records: Vec<JournalRecord> = samples
                        .iter()
                        .map(|sample| match (writer + round) % 4 {
                            0 => sample.accepted(),
                            1 => sample.retried(position(1, 0), at),
                            2 => sample.held(
                                position(2, 1),
                                postrider_contract::outcome::HoldReason::Overflow,
                                at,
                            ),
                            _ => sample.delivered(position(2, 1)),
                        })
                        .collect();
                    records.rotate_left(writer * 37);
                    apply(&store, records).await.expect("it is written");
                }
            })
        })
        .collect();
    for writer in writers {
        soon(writer).await.expect("it does not panic");
    }
    let query = LedgerQuery { tenant: Some(tenant("acme")), ..LedgerQuery::default() };
    let ledger = soon(engine.queries().ledger(&query, at)).await.expect("it answers");
    let rows = u64::from(ROWS);
    assert_eq!((ledger.accepted, ledger.in_doubt, ledger.expected, ledger.delivered), (rows, 0, rows, rows));
    assert!(soon(engine.room().summaries()).await.expect("it answers").is_empty());
    assert_eq!(count(&engine.url, "SELECT count(*) FROM attempts").await, i64::from(ROWS), "second tries");
    let deadlocks = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()";
    assert_eq!(count(&engine.url, deadlocks).await, 0);
}
