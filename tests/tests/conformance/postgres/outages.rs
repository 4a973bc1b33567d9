//! A server that is away, stuck, full, or takes no writes: nothing hangs, nothing that was answered is lost, and
//! all goes on by itself when it is over.

use super::*;

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
    let short = Settings { write_timeout: SHORT, ..settings(&url) };
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

/// How long whoever waits for the store may be kept waiting in these tests.
const SHORT: Duration = Duration::from_secs(3);

fn whole(sample: &Sample) -> Vec<JournalRecord> {
    vec![sample.accepted(), sample.delivered(position(1, 0))]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_locked_log_hangs_nobody_and_takes_nothing_from_the_others() {
    let engine = start().await;
    // Whoever finds no free connection is told so long before those that wait for the lock give theirs back.
    let short = Settings {
        connect_timeout: SHORT / 6,
        query_timeout: SHORT,
        write_timeout: SHORT,
        ..settings(&engine.url)
    };
    let store = soon(PostgresStore::connect(short)).await.expect("the store is there");
    let (one, two) = (Sample::numbered(1, engine.now()), Sample::numbered(2, engine.now()));
    eventually(async || apply(&store, whole(&one)).await.is_ok()).await;
    let listed = ListConfig { kind: ConfigKind::Tenant, tenant: None, before: None, limit: 1 };
    eventually(async || store.configuration().list(listed.clone()).await.is_ok()).await;
    let client = harness::postgres::connect(&engine.url).await.expect("the server answers");
    client
        .batch_execute("BEGIN; LOCK TABLE deliveries IN ACCESS EXCLUSIVE MODE")
        .await
        .expect("it is locked");
    // More writers than there are connections to write with.
    let writers: Vec<_> = (0..20)
        .map(|_| {
            let (store, records) = (store.clone(), whole(&two));
            tokio::spawn(async move { apply(&store, records).await })
        })
        .collect();
    let stuck = "SELECT count(*) FROM pg_stat_activity
        WHERE datname = current_database() AND application_name = 'postrider' AND wait_event_type = 'Lock'";
    eventually(async || count(&engine.url, stuck).await >= 4).await;
    for _ in 0..5 {
        soon(store.configuration().list(listed.clone())).await.expect("it answers while the log is locked");
    }
    let asked = soon(store.log_queries().delivery(&one.tenant, one.id())).await;
    assert!(matches!(asked, Err(StoreError::Unavailable { .. })), "{asked:?}");
    for writer in writers {
        let written = soon(writer).await.expect("it does not panic");
        assert!(matches!(written, Err(StoreError::Unavailable { .. })), "{written:?}");
    }
    client.batch_execute("ROLLBACK").await.expect("it is unlocked");
    eventually(async || apply(&store, whole(&two)).await.is_ok()).await;
    assert_eq!(status_of(&store, &two).await, Some(DeliveryStatus::Delivered));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_takes_no_writes_is_waited_for_and_answers_questions() {
    let server = Postgres::start().await.expect("PostgreSQL starts");
    let url = server.create_database().await.expect("a database is made");
    migrate(&settings(&url)).await.expect("the schema is made");
    let store = connect(&url).await;
    let (one, two) = (Sample::numbered(1, SystemClock.now()), Sample::numbered(2, SystemClock.now()));
    apply(&store, whole(&one)).await.expect("it is written");
    server.alter("default_transaction_read_only = on").await.expect("it is changed");
    eventually(async || apply(&store, whole(&two)).await.is_err()).await;
    let refused = apply(&store, whole(&two)).await;
    assert!(matches!(refused, Err(StoreError::Unavailable { .. })), "{refused:?}");
    assert_eq!(status_of(&store, &one).await, Some(DeliveryStatus::Delivered), "it can be read");
    server.alter("default_transaction_read_only = off").await.expect("it is changed back");
    eventually(async || apply(&store, whole(&two)).await.is_ok()).await;
    assert_eq!(status_of(&store, &two).await, Some(DeliveryStatus::Delivered));
}

/// A pair of servers, the first of which is written to, and a URL of both, the standby first.
async fn pair() -> (Postgres, Postgres, String) {
    let first = Postgres::start().await.expect("PostgreSQL starts");
    let url = first.create_database().await.expect("a database is made");
    migrate(&settings(&url)).await.expect("the schema is made");
    let second = first.start_standby().await.expect("a standby starts");
    let database = url.rsplit('/').next().expect("a name");
    let hosts = format!("127.0.0.1:{},127.0.0.1:{}", second.port(), first.port());
    (first, second, format!("postgres://postgres@{hosts}/{database}"))
}

async fn wait_until_followed(first: &Postgres, second: &Postgres) {
    let ahead = "SELECT (pg_current_wal_flush_lsn() - '0/0')::bigint";
    let goal = count(&first.url("postgres"), ahead).await;
    let behind = "SELECT (pg_last_wal_replay_lsn() - '0/0')::bigint";
    eventually(async || count(&second.url("postgres"), behind).await >= goal).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_fail_over_the_promoted_server_is_written_to() {
    let (mut first, second, url) = pair().await;
    let store = connect(&url).await;
    let (one, two) = (Sample::numbered(1, SystemClock.now()), Sample::numbered(2, SystemClock.now()));
    apply(&store, whole(&one)).await.expect("the one that takes writes is found");
    wait_until_followed(&first, &second).await;
    first.kill().expect("it is killed");
    // Nobody takes writes now: not one of them is answered as written.
    for _ in 0..3 {
        let refused = apply(&store, whole(&two)).await;
        assert!(matches!(refused, Err(StoreError::Unavailable { .. })), "{refused:?}");
    }
    second.promote().await.expect("it is promoted");
    eventually(async || apply(&store, whole(&two)).await.is_ok()).await;
    for sample in [&one, &two] {
        assert_eq!(status_of(&store, sample).await, Some(DeliveryStatus::Delivered));
    }
    eventually(async || store.leadership().try_lead("test").await.is_ok_and(|lead| lead.is_some())).await;
}

/// What is left of the first server goes on answering, and would refuse every write for good.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_to_a_server_that_was_set_read_only_are_left_for_the_promoted_one() {
    let (first, second, url) = pair().await;
    let store = connect(&url).await;
    let (one, two) = (Sample::numbered(1, SystemClock.now()), Sample::numbered(2, SystemClock.now()));
    apply(&store, whole(&one)).await.expect("it is written");
    wait_until_followed(&first, &second).await;
    second.promote().await.expect("it is promoted");
    first.alter("default_transaction_read_only = on").await.expect("it is changed");
    eventually(async || apply(&store, whole(&two)).await.is_ok()).await;
    let database = url.rsplit('/').next().expect("a name");
    let deliveries = "SELECT count(*) FROM deliveries";
    assert_eq!(count(&second.url(database), deliveries).await, 2, "on the promoted one");
    assert_eq!(count(&first.url(database), deliveries).await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_is_waited_for_and_nothing_that_was_written_is_lost() {
    let server = Postgres::start().await.expect("PostgreSQL starts");
    let Some(disk) = SmallDisk::mount(server.folder(), 24, server.account()) else { return };
    let folder = disk.path().join("tables");
    std::fs::create_dir(&folder).expect("a folder is made");
    let account = server.account().expect("mounted for it");
    std::os::unix::fs::chown(&folder, Some(account.uid), Some(account.gid)).expect("it is given");
    let url = server.create_database().await.expect("a database is made");
    let client = harness::postgres::connect(&url).await.expect("the server answers");
    let space = format!("CREATE TABLESPACE small LOCATION '{}'", folder.display());
    client.batch_execute(&space).await.expect("it is made");
    migrate(&settings(&url)).await.expect("the schema is made");
    // The days that are made from here on, by sessions that are opened from here on.
    let name = url.rsplit('/').next().expect("a name");
    client
        .batch_execute(&format!("ALTER DATABASE {name} SET default_tablespace = small"))
        .await
        .expect("it is set");
    let store = connect(&url).await;
    soon(store.delivery_log().prepare_days(SystemClock.now().day(), SystemClock.now().day()))
        .await
        .expect("the day is made");
    let ballast = disk.path().join("ballast");
    std::fs::write(&ballast, vec![1; 8 << 20]).expect("there is room yet");

    let at = SystemClock.now();
    let batch = |number: u32| (0..500).map(move |row| Sample::numbered(number * 500 + row, at));
    let records = |number| batch(number).flat_map(|sample| whole(&sample)).collect::<Vec<_>>();
    let mut written = 0;
    let refused = loop {
        match apply(&store, records(written)).await {
            Ok(()) => written += 1,
            Err(error) => break error,
        }
        assert!(written < 200, "24 MiB hold no 100,000 deliveries");
    };
    assert!(matches!(refused, StoreError::Unavailable { .. }), "{refused:?}");
    assert!(refused.to_string().contains("53100"), "the disk is full: {refused}");
    assert_eq!(
        count(&url, "SELECT count(*) FROM deliveries").await,
        i64::from(written) * 500,
        "all or nothing"
    );
    assert_eq!(count(&url, "SELECT count(*) FROM log_refused").await, 0, "no row is at fault");

    std::fs::remove_file(ballast).expect("there is room again");
    apply(&store, records(written)).await.expect("it goes on");
    assert_eq!(count(&url, "SELECT count(*) FROM deliveries").await, i64::from(written + 1) * 500);
    drop(store);
    drop(server);
    drop(disk);
}
