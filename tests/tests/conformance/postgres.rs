//! PostgreSQL: the conformance suite of the stores, and what is PostgreSQL's alone.

use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use postrider_contract::clock::{Clock, Timestamp};
use postrider_contract::journal::JournalRecord;
use postrider_contract::log::fold;
use postrider_contract::outcome::DeliveryStatus;
use postrider_contract::ports::{
    ConfigKey, ConfigKind, ConfigStore, ConfigWrite, DeliveryLog, Expected, KeyedRequests, Leadership,
    LedgerQuery, LogQueries, StoreError, WaitingRoom,
};
use postrider_postgres::{ConnectError, PostgresStore, Settings, migrate};
use postrider_service::system::SystemClock;
use postrider_tests::conformance::samples::{Sample, position, tenant};
use postrider_tests::conformance::{StoreUnderTest, eventually, soon};
use postrider_tests::harness::{self, Postgres, shared_postgres};
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
    Settings { pool_size, statement_timeout: Duration::from_secs(20), ..Settings::new(url) }
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
    migrate(&settings(&url)).await.expect("the schema is made");
    let client = harness::postgres::connect(&url).await.expect("the server answers");
    client.batch_execute("UPDATE refinery_schema_history SET version = 1000").await.expect("it is changed");
    let newer = soon(PostgresStore::connect(settings(&url))).await;
    assert!(matches!(newer, Err(ConnectError::SchemaNewer { found: 1000, .. })));
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

#[tokio::test]
async fn a_row_of_an_absurd_day_is_set_aside_and_the_others_are_written() {
    let engine = start().await;
    let absurd = Sample::numbered(1, engine.now().plus(DAY * 40_000));
    let plain = Sample::numbered(2, engine.now());
    let records = vec![absurd.accepted(), plain.accepted(), plain.delivered(position(1, 0))];
    apply(&engine.store, records.clone()).await.expect("the others are written");
    apply(&engine.store, records).await.expect("again");
    assert_eq!(status_of(&engine.store, &plain).await, Some(DeliveryStatus::Delivered));
    assert_eq!(status_of(&engine.store, &absurd).await, None);
    assert_eq!(count(&engine.url, "SELECT count(*) FROM log_refused").await, 2, "its event and its delivery");
}

#[tokio::test]
async fn a_row_that_the_server_refuses_is_found_and_set_aside() {
    let engine = start().await;
    let samples: Vec<Sample> = (0..50).map(|number| Sample::numbered(number, engine.now())).collect();
    // Stands for any row that cannot be stored: the server refuses one event of the batch, whatever the reason.
    let client = harness::postgres::connect(&engine.url).await.expect("the server answers");
    client
        .batch_execute(
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
                BEGIN RAISE EXCEPTION 'refused' USING ERRCODE = '22000'; END $$;
             CREATE TRIGGER refuse BEFORE INSERT ON events FOR EACH ROW WHEN (NEW.id = 'evt_17')
                EXECUTE FUNCTION refuse()",
        )
        .await
        .expect("it is made");
    apply(&engine.store, samples.iter().map(Sample::accepted).collect())
        .await
        .expect("the others are written");
    assert_eq!(count(&engine.url, "SELECT count(*) FROM events").await, 49);
    assert_eq!(count(&engine.url, "SELECT count(*) FROM deliveries").await, 50);
    let refused = "SELECT count(*) FROM log_refused WHERE kind = 'event' AND id = 'acme/evt_17'";
    assert_eq!(count(&engine.url, refused).await, 1);
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_store_recovers_when_the_server_is_back() {
    let mut server = Postgres::start().await.expect("PostgreSQL starts");
    let url = server.create_database().await.expect("a database is made");
    migrate(&settings(&url)).await.expect("the schema is made");
    let store = connect(&url).await;
    let sample = Sample::numbered(1, SystemClock.now());
    apply(&store, vec![sample.accepted()]).await.expect("it is written");
    let lead =
        soon(store.leadership().try_lead("test")).await.expect("it answers").expect("nobody else leads");

    server.kill().expect("it is killed");
    let refused = apply(&store, vec![sample.delivered(position(1, 0))]).await;
    assert!(matches!(refused, Err(StoreError::Unavailable { .. })), "{refused:?}");
    eventually(async || !lead.is_held()).await;
    let led = soon(store.leadership().try_lead("test")).await;
    assert!(matches!(led, Err(StoreError::Unavailable { .. })));

    server.restart().await.expect("it starts again");
    apply(&store, vec![sample.delivered(position(1, 0))]).await.expect("it is written again");
    assert_eq!(status_of(&store, &sample).await, Some(DeliveryStatus::Delivered));
    eventually(async || store.leadership().try_lead("test").await.is_ok_and(|lead| lead.is_some())).await;
    let configuration = store.configuration();
    let key = ConfigKey { kind: ConfigKind::Tenant, tenant: None, id: "acme".to_owned() };
    let write = ConfigWrite { key, expected: Expected::Absent, document: Some("{}".into()) };
    configuration.write(vec![write]).await.expect("it is written");
    soon(configuration.changed()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_does_not_answer_is_given_up_and_used_again_later() {
    let server = Postgres::start().await.expect("PostgreSQL starts");
    let url = server.create_database().await.expect("a database is made");
    migrate(&settings(&url)).await.expect("the schema is made");
    let short = Settings { statement_timeout: Duration::from_millis(500), ..settings(&url) };
    let store = soon(PostgresStore::connect(short)).await.expect("the store is there");
    let sample = Sample::numbered(1, SystemClock.now());
    apply(&store, vec![sample.accepted()]).await.expect("it is written");
    server.freeze().expect("it is frozen");
    let refused = apply(&store, vec![sample.delivered(position(1, 0))]).await;
    assert!(matches!(refused, Err(StoreError::Unavailable { .. })), "{refused:?}");
    server.thaw().expect("it goes on");
    eventually(async || apply(&store, vec![sample.delivered(position(1, 0))]).await.is_ok()).await;
    assert_eq!(status_of(&store, &sample).await, Some(DeliveryStatus::Delivered));
}
