//! What `postrider doctor` says of a database, and what makes it say so.

use postrider_contract::finding::{Finding, Verdict};
use postrider_postgres::examine;

use super::*;

/// As `status.overdue_after` is by default.
const OVERDUE_AFTER: Duration = Duration::from_secs(600);

async fn found(url: &str, subject: &str) -> Finding {
    let findings = soon(examine(&settings(url), OVERDUE_AFTER, &SystemClock)).await;
    let of_subject = findings.into_iter().find(|finding| finding.subject == subject);
    of_subject.expect("it is looked at")
}

/// It advises, too, unless all is well.
async fn assert_found(url: &str, subject: &str, verdict: Verdict, seen: &str) {
    let finding = found(url, subject).await;
    assert_eq!(finding.verdict, verdict, "{finding:?}");
    assert!(finding.seen.contains(seen), "{finding:?}");
    assert_eq!(finding.advice.is_some(), verdict != Verdict::Well, "{finding:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_doctor_tells_a_database_that_cannot_be_written_and_one_that_forgets() {
    let server = Postgres::start().await.expect("PostgreSQL starts");
    let url = server.create_database().await.expect("a database is made");
    migrate(&settings(&url)).await.expect("the schema is made");
    let standby = server.start_standby().await.expect("a standby starts");
    let database = url.rsplit('/').next().expect("a name");
    assert_found(&standby.url(database), "store.writable", Verdict::Fault, "standby").await;

    assert_found(&url, "store.version", Verdict::Well, "PostgreSQL ").await;
    assert_found(&url, "store.writable", Verdict::Well, "").await;
    server.alter("default_transaction_read_only = on").await.expect("it is set");
    assert_found(&url, "store.writable", Verdict::Fault, "read-only").await;

    assert_found(&url, "store.durability", Verdict::Well, "").await;
    server.alter("full_page_writes = off").await.expect("it is set");
    assert_found(&url, "store.durability", Verdict::Fault, "full_page_writes off").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_doctor_warns_before_the_server_has_no_connection_left() {
    let mut server = Postgres::start().await.expect("PostgreSQL starts");
    server.set("max_connections = 20").expect("it is written");
    server.stop().await.expect("it stops");
    server.restart().await.expect("it starts");
    let url = server.create_database().await.expect("a database is made");
    migrate(&settings(&url)).await.expect("the schema is made");
    assert_found(&url, "store.connections", Verdict::Well, "of 20 connections").await;
    let mut others = Vec::new();
    for _ in 0..15 {
        others.push(harness::postgres::connect(&url).await.expect("it has room"));
    }
    assert_found(&url, "store.connections", Verdict::Warning, "16 of 20 connections").await;
}

#[tokio::test]
async fn the_doctor_counts_what_is_overdue_what_was_refused_and_what_waits() {
    let engine = start().await;
    for subject in ["store.overdue", "store.refused", "store.room"] {
        assert_found(&engine.url, subject, Verdict::Well, "").await;
    }
    let long_ago = engine.now().minus(OVERDUE_AFTER * 2);
    let absurd = engine.now().plus(DAY * 40_000);
    let records =
        [Sample::numbered(1, long_ago), Sample::numbered(2, engine.now()), Sample::numbered(3, absurd)];
    apply(&engine.store, records.iter().map(Sample::accepted).collect()).await.expect("two are written");
    assert_found(&engine.url, "store.overdue", Verdict::Warning, "1 deliveries are past").await;
    assert_found(&engine.url, "store.refused", Verdict::Warning, "2 rows").await;
    let client = harness::postgres::connect(&engine.url).await.expect("the server answers");
    let crowd = "INSERT INTO room_counts VALUES (gen_random_uuid(), 'acme', 100001, 0)";
    client.batch_execute(crowd).await.expect("it is written");
    assert_found(&engine.url, "store.room", Verdict::Warning, "100001 deliveries of 1 webhooks").await;
}
