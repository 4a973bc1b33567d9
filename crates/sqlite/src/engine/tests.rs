//! What is SQLite's alone: crashes, foreign files, one process, a full disk, memory that is smaller than the queue.

use std::collections::HashSet;
use std::fs;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use postrider_contract::clock::{Day, ManualClock, Timestamp};
use postrider_contract::delivery::{
    Check, Delivery, DeliveryRef, Origin, Position, Query, RenderedWith, Work,
};
use postrider_contract::event::SchemaVersion;
use postrider_contract::ids::{DeliveryId, EventId, WebhookId};
use postrider_contract::journal::{ConcludedRecord, Conclusion, JournalRecord};
use postrider_contract::log::fold;
use postrider_contract::ports::{
    ConfigKey, ConfigKind, ConfigWrite, Expected, Lease, Publication, Route, StoreError, WorkSource,
};
use postrider_contract::profile::ProfileName;
use postrider_contract::revision::Revision;
use postrider_contract::webhook::WebhookKind;

use postrider_contract::ports::QueueError;

use super::*;
use crate::schema::DAY;

mod plans;
mod storage;

/// Far longer than anything here takes; only a broken engine waits for it.
const DEADLINE: Duration = Duration::from_secs(30);

/// Removed when dropped.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("postrider-sqlite-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).expect("a folder");
        Folder(path)
    }

    fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            tracing::warn!(%error, "a test's folder is left");
        }
    }
}

fn now() -> Timestamp {
    Timestamp::from_millis(1_795_253_400_000)
}

fn settings(folder: &Path) -> Settings {
    Settings::new(folder)
}

fn open_with(settings: Settings) -> Result<SqliteEngine, OpenError> {
    SqliteEngine::open(settings, Arc::new(ManualClock::at(now())))
}

fn open(folder: &Path) -> SqliteEngine {
    open_with(settings(folder)).expect("the data directory opens")
}

fn refusal(folder: &Path) -> OpenError {
    open_with(settings(folder)).err().expect("it is refused")
}

fn reference(number: u32) -> DeliveryRef {
    let event_id: EventId = format!("evt_{number}").parse().expect("an id");
    let webhook = WebhookId::from_u128(7);
    DeliveryRef {
        id: DeliveryId::derive(now(), &event_id, webhook, 0),
        tenant: "acme".parse().expect("an id"),
        event_id,
        event_type: "conversion.created".parse().expect("a type"),
        webhook,
        kind: WebhookKind::Webhook,
        accepted_at: now(),
        replay: 0,
    }
}

fn delivery(number: u32, body: usize) -> Work {
    let revision = Revision::from_number(1);
    Work::Deliver(Delivery {
        reference: reference(number),
        position: Position::START,
        origin: Origin::Producer,
        check: Check::Fresh,
        due_at: now(),
        parked_for: Duration::ZERO,
        profile: ProfileName::standard(),
        rendered_with: RenderedWith { webhook: revision, profile: revision, tenant: revision },
        schema_version: SchemaVersion::FIRST,
        event_timestamp: now(),
        query: Query::OfUrl,
        body: Bytes::from(vec![b'x'; body]),
    })
}

fn publications(numbers: std::ops::Range<u32>, route: Route) -> Vec<Publication> {
    numbers.map(|number| Publication { route, work: delivery(number, 600) }).collect()
}

async fn source(engine: &SqliteEngine, kind: WorkKind) -> Box<dyn WorkSource> {
    engine.work_queue().consume(kind, 100).await.expect("the queue is open")
}

async fn take(source: &mut Box<dyn WorkSource>) -> Lease<Work> {
    let next = tokio::time::timeout(DEADLINE, source.next()).await;
    next.expect("before the deadline").expect("the queue is open")
}

fn event_of(lease: &Lease<Work>) -> String {
    match &lease.message {
        Work::Deliver(delivery) => delivery.reference.event_id.to_string(),
        Work::FanOut(_) => String::new(),
    }
}

async fn eventually(mut is_so: impl AsyncFnMut() -> bool) {
    let asking = async {
        while !is_so().await {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(DEADLINE, asking).await.expect("before the deadline");
}

#[tokio::test]
async fn what_was_confirmed_is_there_after_a_crash() {
    let folder = Folder::new();
    let (before, after) = (folder.join("before"), folder.join("after"));
    let engine = open(&before);
    engine.work_queue().publish(publications(0..3, Route::First)).await.expect("confirmed");
    fs::create_dir_all(&after).expect("a folder");
    for name in ["queue.db", "queue.db-wal"] {
        fs::copy(before.join(name), after.join(name)).expect("copied");
    }
    let again = open(&after);
    let mut source = source(&again, WorkKind::First).await;
    for number in 0..3 {
        let lease = take(&mut source).await;
        assert_eq!((event_of(&lease), lease.redelivered), (format!("evt_{number}"), true));
    }
}

#[tokio::test]
async fn what_was_not_written_by_a_close_is_written_when_the_engine_goes() {
    let folder = Folder::new();
    let engine = open(&folder.0);
    engine.work_queue().publish(publications(0..2, Route::First)).await.expect("confirmed");
    let mut before = source(&engine, WorkKind::First).await;
    take(&mut before).await.ticket.acknowledge();
    drop(engine);
    drop(before);
    let engine = open(&folder.0);
    let lease = take(&mut source(&engine, WorkKind::First).await).await;
    assert_eq!(event_of(&lease), "evt_1");
    assert_eq!(engine.work_queue().depths().await.expect("it answers").first, 0, "the other one is in hand");
}

#[tokio::test]
async fn a_second_process_is_refused() {
    let folder = Folder::new();
    let engine = open(&folder.0);
    assert!(matches!(refusal(&folder.0), OpenError::InUse { .. }));
    engine.close().await;
    assert!(matches!(refusal(&folder.0), OpenError::InUse { .. }), "a handle is left");
    drop(engine);
    drop(open(&folder.0));
}

#[test]
fn a_file_that_is_not_ours_is_refused() {
    let text = Folder::new();
    fs::write(text.join("queue.db"), "this is a letter to my aunt, and no database".repeat(100))
        .expect("written");
    assert!(matches!(refusal(&text.0), OpenError::Foreign { .. }));

    let other = Folder::new();
    let database = Connection::open(other.join("queue.db")).expect("opens");
    database.execute_batch("CREATE TABLE stamp (id INTEGER)").expect("a table");
    drop(database);
    assert!(matches!(refusal(&other.0), OpenError::Foreign { .. }));

    let newer = Folder::new();
    drop(open(&newer.0));
    let database = Connection::open(newer.join("queue.db")).expect("opens");
    database.pragma_update(None, "user_version", 99).expect("set");
    drop(database);
    assert!(matches!(refusal(&newer.0), OpenError::Newer { found: 99, .. }));
}

#[test]
fn a_foreign_file_among_the_days_is_refused_and_other_files_are_left_alone() {
    let folder = Folder::new();
    fs::create_dir_all(folder.join("log")).expect("a folder");
    fs::write(folder.join("log").join("notes.txt"), "mine").expect("written");
    drop(open(&folder.0));
    fs::write(folder.join("log").join("20261121.db"), "not a database at all, but long enough".repeat(50))
        .expect("written");
    assert!(matches!(refusal(&folder.0), OpenError::Foreign { .. }));
    let notes = fs::read_to_string(folder.join("log").join("notes.txt")).expect("still there");
    assert_eq!(notes, "mine");
}

#[test]
fn a_damaged_file_is_refused() {
    let folder = Folder::new();
    drop(open(&folder.0));
    let path = folder.join("queue.db");
    let mut bytes = fs::read(&path).expect("read");
    let from = 4096;
    bytes[from..].fill(0xa5);
    fs::write(&path, bytes).expect("written");
    let refused = refusal(&folder.0);
    assert!(matches!(refused, OpenError::Damaged { .. }), "{refused}");
}

#[tokio::test]
async fn a_row_that_cannot_be_read_is_set_aside_with_its_reason() {
    let folder = Folder::new();
    let engine = open(&folder.0);
    engine.publish_encoded(WorkKind::First, Bytes::from_static(b"\xff\xff")).await.expect("written");
    drop(engine);
    let engine = open(&folder.0);
    engine.work_queue().publish(publications(0..1, Route::First)).await.expect("confirmed");
    let mut source = source(&engine, WorkKind::First).await;
    assert_eq!(event_of(&take(&mut source).await), "evt_0");
    eventually(async || engine.work_queue().depths().await.is_ok_and(|depths| depths.dead == 1)).await;
    drop(source);
    drop(engine);
    let database = Connection::open(folder.join("queue.db")).expect("opens");
    let row = database.query_row("SELECT source, reason <> '', payload FROM dead", [], |row| {
        Ok((row.get::<_, String>(0)?, row.get::<_, bool>(1)?, row.get::<_, Vec<u8>>(2)?))
    });
    assert_eq!(row.expect("one row"), ("work_first".to_owned(), true, b"\xff\xff".to_vec()));
}

/// What a killed process wrote is in the kernel's hands, so that no crash test here shows this.
#[test]
fn whatever_is_committed_is_synced_first() {
    const FULL: i64 = 2;
    let folder = Folder::new();
    for (file, schema) in [("queue.db", &QUEUE), ("day.db", &DAY)] {
        let connection = open_writer(&folder.0.join(file), schema).expect("opens");
        let set: i64 =
            connection.pragma_query_value(None, "synchronous", |row| row.get(0)).expect("it answers");
        assert_eq!(set, FULL, "{file}");
    }
}

#[tokio::test]
async fn more_than_fits_into_memory_comes_in_order_and_once() {
    let folder = Folder::new();
    let engine = open_with(Settings { ready_messages: 16, ..settings(&folder.0) }).expect("opens");
    let queue = engine.work_queue();
    queue.publish(publications(0..300, Route::First)).await.expect("confirmed");
    let mut source = source(&engine, WorkKind::First).await;
    let publishing = tokio::spawn(async move {
        for start in (300..900).step_by(20) {
            queue.publish(publications(start..start + 20, Route::First)).await.expect("confirmed");
        }
    });
    for number in 0..900 {
        let lease = take(&mut source).await;
        assert_eq!((event_of(&lease), lease.redelivered), (format!("evt_{number}"), false));
        lease.ticket.acknowledge();
    }
    publishing.await.expect("it does not panic");
    assert_eq!(engine.work_queue().depths().await.expect("it answers").first, 0);
}

#[tokio::test]
async fn more_retries_than_fit_into_memory_all_come_once() {
    let folder = Folder::new();
    let engine = open_with(Settings { ready_messages: 16, ..settings(&folder.0) }).expect("opens");
    let queue = engine.work_queue();
    let route = Route::Retry { delay: Duration::ZERO };
    queue.publish(publications(0..200, route)).await.expect("confirmed");
    let mut source = source(&engine, WorkKind::Retry).await;
    let publishing = tokio::spawn(async move {
        for start in (200..400).step_by(10) {
            queue.publish(publications(start..start + 10, route)).await.expect("confirmed");
        }
    });
    let mut seen = HashSet::new();
    for number in 0..500 {
        if seen.len() == 400 {
            break;
        }
        let lease = take(&mut source).await;
        if number % 5 == 0 {
            lease.ticket.give_back();
        } else {
            assert!(seen.insert(event_of(&lease)), "each is acknowledged once");
            lease.ticket.acknowledge();
        }
    }
    assert_eq!(seen.len(), 400);
    publishing.await.expect("it does not panic");
}

#[tokio::test]
async fn a_delay_follows_the_clock_that_was_given() {
    let folder = Folder::new();
    let clock = Arc::new(ManualClock::at(now()));
    let engine =
        SqliteEngine::open(settings(&folder.0), Arc::clone(&clock) as Arc<dyn Clock>).expect("opens");
    let route = Route::Retry { delay: Duration::from_secs(3600) };
    engine.work_queue().publish(publications(0..1, route)).await.expect("confirmed");
    assert_eq!(engine.work_queue().depths().await.expect("it answers").retry, 0, "it is parked");
    clock.advance(Duration::from_secs(3601));
    assert_eq!(event_of(&take(&mut source(&engine, WorkKind::Retry).await).await), "evt_0");
}

#[tokio::test]
async fn a_full_disk_refuses_publishes_loses_nothing_and_is_noticed_when_it_has_space_again() {
    let folder = Folder::new();
    let engine = open(&folder.0);
    let queue = engine.work_queue();
    let limit =
        |connection: &Connection| connection.pragma_update_and_check(None, "max_page_count", 200, |_| Ok(()));
    engine.running.writer.write(0, limit, |()| ()).await.expect("set");
    let mut confirmed = 0;
    let refused = loop {
        match queue.publish(publications(confirmed..confirmed + 50, Route::First)).await {
            Ok(()) => confirmed += 50,
            Err(error) => break error,
        }
    };
    assert!(matches!(refused, PublishError::Refused { .. }), "{refused}");
    assert!(matches!(queue.check_writable(), Err(QueueError::Unavailable { .. })));
    let mut source = source(&engine, WorkKind::First).await;
    for number in 0..confirmed {
        let lease = take(&mut source).await;
        assert_eq!(event_of(&lease), format!("evt_{number}"));
        lease.ticket.acknowledge();
    }
    eventually(async || queue.check_writable().is_ok()).await;
    queue.publish(publications(0..50, Route::First)).await.expect("there is space again");
}

#[tokio::test]
async fn a_conflict_of_configuration_undoes_nothing_else_of_its_group() {
    let folder = Folder::new();
    let engine = open(&folder.0);
    let store = engine.config_store();
    let write = |id: &str, expected| ConfigWrite {
        key: ConfigKey { kind: ConfigKind::Webhook, tenant: None, id: id.to_owned() },
        expected,
        document: Some(Bytes::from_static(b"{}")),
    };
    let good = store.write(vec![write("one", Expected::Absent)]);
    let bad = store
        .write(vec![write("two", Expected::Absent), write("two", Expected::At(Revision::from_number(99)))]);
    let queue = engine.work_queue();
    let publish = queue.publish(publications(0..1, Route::First));
    let (good, bad, publish) = tokio::join!(good, bad, publish);
    assert!(good.is_ok() && bad.is_err() && publish.is_ok());
    let key = |id: &str| ConfigKey { kind: ConfigKind::Webhook, tenant: None, id: id.to_owned() };
    assert!(store.read(&key("one")).await.expect("it answers").is_some());
    assert!(store.read(&key("two")).await.expect("it answers").is_none());
}

#[tokio::test]
async fn days_are_files_that_go_with_their_day() {
    let folder = Folder::new();
    let engine = open(&folder.0);
    let log = engine.delivery_log();
    let record = |number: u32| {
        let conclusion = Conclusion::Expired;
        JournalRecord::Concluded(ConcludedRecord { delivery: reference(number), conclusion, at: now() })
    };
    log.apply(&fold([record(1), record(2)])).await.expect("applied");
    let today = now().day();
    log.prepare_days(today.plus(1), today.plus(2)).await.expect("made");
    let files = || {
        let entries = fs::read_dir(folder.join("log")).expect("there");
        let names = entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned());
        let mut days: Vec<String> = names.filter(|name| name.ends_with(".db")).collect();
        days.sort();
        days
    };
    let names = |days: &[Day]| days.iter().map(|day| format!("{day}.db")).collect::<Vec<_>>();
    assert_eq!(files(), names(&[today, today.plus(1), today.plus(2)]));
    assert_eq!(log.drop_days_before(today.plus(1)).await.expect("dropped"), [today]);
    assert_eq!(files(), names(&[today.plus(1), today.plus(2)]));
    drop(log);
    drop(engine);
    let engine = open(&folder.0);
    let found = engine.log_queries().delivery(&reference(1).tenant, reference(1).id).await;
    assert!(found.expect("it answers").is_none());
}

#[tokio::test]
async fn after_the_close_everything_is_refused_and_nothing_hangs() {
    let folder = Folder::new();
    let engine = open(&folder.0);
    let mut source = source(&engine, WorkKind::First).await;
    engine.close().await;
    engine.close().await;
    assert!(matches!(source.next().await, Err(QueueError::Closed)));
    assert!(engine.work_queue().publish(publications(0..1, Route::First)).await.is_err());
    let forgotten = engine.keyed_requests().forget_before(now()).await;
    assert!(matches!(forgotten, Err(StoreError::Unavailable { .. })));
}

fn mode(path: &Path) -> u32 {
    use std::os::unix::fs::PermissionsExt;
    fs::metadata(path).unwrap_or_else(|error| panic!("{}: {error}", path.display())).permissions().mode()
        & 0o777
}

#[tokio::test]
async fn what_is_made_is_for_this_user_alone_and_what_was_there_keeps_its_mode() {
    use std::os::unix::fs::PermissionsExt;
    let folder = Folder::new();
    fs::set_permissions(&folder.0, fs::Permissions::from_mode(0o750)).expect("a mode");
    let data = folder.join("made/data");
    let engine = open(&data);
    let today = now().day();
    engine.delivery_log().prepare_days(today, today).await.expect("a day's file");
    engine.work_queue().publish(publications(0..1, Route::First)).await.expect("published");
    assert_eq!(mode(&folder.0), 0o750, "it was there");
    for made in ["made", "made/data", "made/data/log"] {
        assert_eq!(mode(&folder.join(made)), 0o700, "{made}");
    }
    let day = format!("log/{today}.db");
    for made in ["queue.db", "queue.db-wal", "queue.db-shm", "lock", &day] {
        assert_eq!(mode(&data.join(made)), 0o600, "{made}");
    }
}
