//! What the configuration store promises.

use std::collections::BTreeMap;

use bytes::Bytes;
use postrider_contract::clock::Day;
use postrider_contract::ids::TenantId;
use postrider_contract::ports::{
    ConfigKey, ConfigKind, ConfigRecord, ConfigStore, ConfigWrite, ConfigWriteError, Expected, ListConfig,
};
use postrider_contract::revision::Revision;

use super::samples::tenant;
use super::{StoreUnderTest, soon};

fn key(id: &str) -> ConfigKey {
    ConfigKey { kind: ConfigKind::Webhook, tenant: Some(tenant("acme")), id: id.to_owned() }
}

fn write(id: &str, expected: Expected, document: &'static str) -> ConfigWrite {
    ConfigWrite { key: key(id), expected, document: Some(Bytes::from_static(document.as_bytes())) }
}

fn delete(id: &str, expected: Expected) -> ConfigWrite {
    ConfigWrite { key: key(id), expected, document: None }
}

async fn put(store: &dyn ConfigStore, one: ConfigWrite) -> Revision {
    store.write(vec![one]).await.expect("it is written")
}

async fn read(store: &dyn ConfigStore, id: &str) -> Option<ConfigRecord> {
    store.read(&key(id)).await.expect("it answers")
}

fn text(record: Option<&ConfigRecord>) -> Option<&[u8]> {
    record.and_then(|record| record.document.as_deref())
}

fn conflict(result: Result<Revision, ConfigWriteError>) -> Option<Revision> {
    match result {
        Err(ConfigWriteError::Conflict { current }) => Some(current),
        Err(ConfigWriteError::Store(_)) | Ok(_) => None,
    }
    .expect("a conflict")
}

pub async fn a_document_is_read_as_it_was_written(engine: &mut dyn StoreUnderTest) {
    let store = engine.configuration();
    assert_eq!(read(&*store, "wh_1").await, None);
    let document = "{\"b\": 1, \"a\":12345678901234567890123}";
    let revision = put(&*store, write("wh_1", Expected::Absent, document)).await;
    let record = read(&*store, "wh_1").await.expect("it is there");
    let expected = Bytes::from_static(document.as_bytes());
    assert_eq!(record, ConfigRecord { key: key("wh_1"), revision, document: Some(expected) });
    engine.reopen().await;
    assert_eq!(read(&*engine.configuration(), "wh_1").await, Some(record));
}

pub async fn documents_of_tenants_kinds_and_the_installation_are_apart(engine: &mut dyn StoreUnderTest) {
    let store = engine.configuration();
    let keys = [
        key("x"),
        ConfigKey { tenant: Some(tenant("other")), ..key("x") },
        ConfigKey { tenant: None, ..key("x") },
        ConfigKey { kind: ConfigKind::Key, ..key("x") },
    ];
    for (number, key) in keys.iter().enumerate() {
        let document = Some(Bytes::from(number.to_string()));
        put(&*store, ConfigWrite { key: key.clone(), expected: Expected::Absent, document }).await;
    }
    for (number, key) in keys.iter().enumerate() {
        let record = store.read(key).await.expect("it answers");
        assert_eq!(text(record.as_ref()), Some(number.to_string().as_bytes()));
    }
}

pub async fn what_is_there_already_is_not_written_as_new(engine: &mut dyn StoreUnderTest) {
    let store = engine.configuration();
    let first = put(&*store, write("wh_1", Expected::Absent, "1")).await;
    let refused = store.write(vec![write("wh_1", Expected::Absent, "2")]).await;
    assert!(
        matches!(refused, Err(ConfigWriteError::Conflict { current: Some(current) }) if current == first)
    );
    assert_eq!(text(read(&*store, "wh_1").await.as_ref()), Some(&b"1"[..]));
}

pub async fn a_change_of_an_older_state_is_refused(engine: &mut dyn StoreUnderTest) {
    let store = engine.configuration();
    let first = put(&*store, write("wh_1", Expected::Absent, "1")).await;
    let second = put(&*store, write("wh_1", Expected::At(first), "2")).await;
    assert!(second > first);
    let current = conflict(store.write(vec![write("wh_1", Expected::At(first), "3")]).await);
    assert_eq!(current, Some(second));
    let unknown = conflict(store.write(vec![write("wh_2", Expected::At(first), "1")]).await);
    assert_eq!(unknown, None, "never there");
    assert_eq!(text(read(&*store, "wh_1").await.as_ref()), Some(&b"2"[..]));
}

pub async fn one_conflict_undoes_the_whole_call(engine: &mut dyn StoreUnderTest) {
    let store = engine.configuration();
    let first = put(&*store, write("wh_1", Expected::Absent, "1")).await;
    let writes = vec![
        write("wh_2", Expected::Absent, "1"),
        write("wh_1", Expected::At(first), "2"),
        write("wh_1", Expected::Absent, "3"),
    ];
    assert!(matches!(store.write(writes).await, Err(ConfigWriteError::Conflict { .. })));
    assert_eq!(read(&*store, "wh_2").await, None);
    assert_eq!(read(&*store, "wh_1").await.map(|record| record.revision), Some(first));
    let changes = store.changes_since(first, 10).await.expect("it answers");
    assert!(changes.records.is_empty());
}

pub async fn each_write_of_a_call_takes_the_next_number(engine: &mut dyn StoreUnderTest) {
    let store = engine.configuration();
    let writes = vec![write("wh_1", Expected::Absent, "1"), write("wh_2", Expected::Absent, "2")];
    let last = store.write(writes).await.expect("it is written");
    let one = read(&*store, "wh_1").await.expect("there").revision;
    let two = read(&*store, "wh_2").await.expect("there").revision;
    assert!(Revision::ZERO < one && one < two && two == last);
}

pub async fn a_deleted_document_is_not_an_unknown_one(engine: &mut dyn StoreUnderTest) {
    let store = engine.configuration();
    let first = put(&*store, write("wh_1", Expected::Absent, "1")).await;
    let deleted = put(&*store, delete("wh_1", Expected::At(first))).await;
    let record = read(&*store, "wh_1").await.expect("a tombstone");
    assert_eq!(record, ConfigRecord { key: key("wh_1"), revision: deleted, document: None });
    let again = conflict(store.write(vec![write("wh_1", Expected::Absent, "2")]).await);
    assert_eq!(again, Some(deleted), "an id is not used twice");
    let changed = store.write(vec![write("wh_1", Expected::At(deleted), "2")]).await;
    assert!(matches!(changed, Err(ConfigWriteError::Conflict { .. })), "what is deleted is not changed");
    let changes = store.changes_since(first, 10).await.expect("it answers");
    assert_eq!(changes.records, vec![record]);
}

pub async fn an_old_revision_is_still_there(engine: &mut dyn StoreUnderTest) {
    let store = engine.configuration();
    let first = put(&*store, write("wh_1", Expected::Absent, "1")).await;
    let between = put(&*store, write("wh_2", Expected::Absent, "other")).await;
    let second = put(&*store, write("wh_1", Expected::At(first), "2")).await;
    let deleted = put(&*store, delete("wh_1", Expected::At(second))).await;
    for (revision, state) in [
        (Revision::ZERO, None),
        (first, Some((first, Some(&b"1"[..])))),
        (between, Some((first, Some(&b"1"[..])))),
        (second, Some((second, Some(&b"2"[..])))),
        (deleted, Some((deleted, None))),
    ] {
        let record = store.read_at(&key("wh_1"), revision).await.expect("it answers");
        let found = record.as_ref().map(|record| (record.revision, record.document.as_deref()));
        assert_eq!(found, state, "at {revision:?}");
    }
}

fn day(number: i32) -> Day {
    Day::from_number(20_000 + number)
}

async fn forget(store: &dyn ConfigStore, before: i32, today: i32) -> u64 {
    soon(store.forget_superseded_before(day(before), day(today))).await.expect("it answers")
}

async fn state_at(store: &dyn ConfigStore, id: &str, revision: Revision) -> Option<Revision> {
    store.read_at(&key(id), revision).await.expect("it answers").map(|record| record.revision)
}

pub async fn what_was_superseded_before_a_day_is_forgotten_and_nothing_else(engine: &mut dyn StoreUnderTest) {
    let store = engine.configuration();
    let first = put(&*store, write("wh_1", Expected::Absent, "1")).await;
    let second = put(&*store, write("wh_1", Expected::At(first), "2")).await;
    let alone = put(&*store, write("wh_2", Expected::Absent, "1")).await;
    assert_eq!(forget(&*store, 0, 0).await, 0, "nobody noted how it was before");
    let third = put(&*store, write("wh_1", Expected::At(second), "3")).await;
    let short = put(&*store, write("wh_3", Expected::Absent, "1")).await;
    let deleted = put(&*store, delete("wh_3", Expected::At(short))).await;
    assert_eq!(forget(&*store, 0, 1).await, 0, "what was newest on that day may be needed");
    let fourth = put(&*store, write("wh_1", Expected::At(third), "4")).await;
    assert_eq!(forget(&*store, 1, 2).await, 1, "superseded before that day was noted");
    assert_eq!(state_at(&*store, "wh_1", first).await, None);
    assert_eq!(state_at(&*store, "wh_1", second).await, Some(second));
    assert_eq!(state_at(&*store, "wh_3", short).await, Some(short));
    assert_eq!(forget(&*store, 2, 3).await, 2);
    assert_eq!(forget(&*store, 2, 3).await, 0, "all of that is done");
    engine.reopen().await;
    let store = engine.configuration();
    for (id, revision, kept) in [
        ("wh_1", second, None),
        ("wh_1", third, Some(third)),
        ("wh_1", fourth, Some(fourth)),
        ("wh_2", fourth, Some(alone)),
        ("wh_3", short, None),
        ("wh_3", fourth, Some(deleted)),
    ] {
        assert_eq!(state_at(&*store, id, revision).await, kept, "{id} at {revision:?}");
    }
    let newest = store.changes_since(Revision::ZERO, 10).await.expect("it answers").records;
    assert_eq!(newest.iter().map(|record| record.revision).collect::<Vec<_>>(), [alone, deleted, fourth]);
}

pub async fn a_list_is_newest_first_and_paged(engine: &mut dyn StoreUnderTest) {
    let store = engine.configuration();
    for id in ["wh_3", "wh_1", "wh_5", "wh_2", "wh_4"] {
        put(&*store, write(id, Expected::Absent, "x")).await;
    }
    let revision = read(&*store, "wh_4").await.expect("there").revision;
    put(&*store, delete("wh_4", Expected::At(revision))).await;
    put(&*store, ConfigWrite { key: installation("wh_9"), ..write("", Expected::Absent, "x") }).await;
    let other = ConfigKey { tenant: Some(tenant("other")), ..key("wh_8") };
    put(&*store, ConfigWrite { key: other, ..write("", Expected::Absent, "x") }).await;
    let list = |tenant: Option<TenantId>, before: Option<&str>, limit| {
        let before = before.map(str::to_owned);
        ids(&*store, ListConfig { kind: ConfigKind::Webhook, tenant, before, limit })
    };
    let acme = Some(tenant("acme"));
    assert_eq!(list(acme.clone(), None, 10).await, ["wh_5", "wh_3", "wh_2", "wh_1"]);
    assert_eq!(list(acme.clone(), None, 2).await, ["wh_5", "wh_3"]);
    assert_eq!(list(acme, Some("wh_3"), 2).await, ["wh_2", "wh_1"]);
    assert_eq!(list(None, None, 10).await, ["wh_9"]);
}

fn installation(id: &str) -> ConfigKey {
    ConfigKey { tenant: None, ..key(id) }
}

async fn ids(store: &dyn ConfigStore, query: ListConfig) -> Vec<String> {
    let records = store.list(query).await.expect("it answers");
    assert!(records.iter().all(|record| record.document.is_some()));
    records.into_iter().map(|record| record.key.id).collect()
}

pub async fn changes_come_in_order_with_the_newest_state_only(engine: &mut dyn StoreUnderTest) {
    let store = engine.configuration();
    let empty = store.changes_since(Revision::ZERO, 10).await.expect("it answers");
    assert!(empty.records.is_empty() && !empty.has_more);
    let first = put(&*store, write("wh_1", Expected::Absent, "1")).await;
    let second = put(&*store, write("wh_2", Expected::Absent, "1")).await;
    let third = put(&*store, write("wh_1", Expected::At(first), "2")).await;
    let all = store.changes_since(Revision::ZERO, 10).await.expect("it answers");
    let found: Vec<_> = all.records.iter().map(|record| (record.key.id.as_str(), record.revision)).collect();
    assert_eq!(found, [("wh_2", second), ("wh_1", third)]);
    assert_eq!((all.up_to, all.has_more), (third, false));
    let none = store.changes_since(third, 10).await.expect("it answers");
    assert_eq!((none.records.len(), none.up_to, none.has_more), (0, third, false));
}

/// Applies changes from `since` on, a few at a time, until there are no more.
async fn follow(store: &dyn ConfigStore, since: &mut Revision, seen: &mut BTreeMap<String, Revision>) {
    loop {
        let changes = store.changes_since(*since, 3).await.expect("it answers");
        assert!(changes.up_to >= *since);
        assert!(changes.records.is_sorted_by_key(|record| record.revision));
        seen.extend(changes.records.into_iter().map(|record| (record.key.id, record.revision)));
        *since = changes.up_to;
        if !changes.has_more {
            return;
        }
    }
}

pub async fn following_changes_misses_nothing_under_concurrent_writers(engine: &mut dyn StoreUnderTest) {
    const WRITERS: usize = 4;
    const WRITES: usize = 25;
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let store = engine.configuration();
            tokio::spawn(async move {
                let mut written = Vec::new();
                for number in 0..WRITES {
                    let id = format!("wh_{writer}_{number}");
                    let revision = put(&*store, write(&id, Expected::Absent, "x")).await;
                    written.push((id, revision));
                }
                written
            })
        })
        .collect();
    let store = engine.configuration();
    let (mut since, mut seen) = (Revision::ZERO, BTreeMap::new());
    while !writers.iter().all(tokio::task::JoinHandle::is_finished) {
        follow(&*store, &mut since, &mut seen).await;
        tokio::task::yield_now().await;
    }
    follow(&*store, &mut since, &mut seen).await;
    let mut written = BTreeMap::new();
    for writer in writers {
        written.extend(soon(writer).await.expect("it does not panic"));
    }
    assert_eq!(seen, written);
    let numbers: std::collections::BTreeSet<_> = written.values().collect();
    assert_eq!(numbers.len(), WRITERS * WRITES, "no number is used twice");
}

pub async fn of_two_writers_that_expect_the_same_one_wins(engine: &mut dyn StoreUnderTest) {
    let first = put(&*engine.configuration(), write("wh_1", Expected::Absent, "1")).await;
    let writers: Vec<_> = (0..8)
        .map(|_| {
            let store = engine.configuration();
            tokio::spawn(
                async move { store.write(vec![write("wh_1", Expected::At(first), "2")]).await.is_ok() },
            )
        })
        .collect();
    let mut winners = 0;
    for writer in writers {
        winners += usize::from(soon(writer).await.expect("it does not panic"));
    }
    assert_eq!(winners, 1);
}

pub async fn a_change_wakes_who_waits_for_one(engine: &mut dyn StoreUnderTest) {
    let store = engine.configuration();
    put(&*store, write("wh_1", Expected::Absent, "1")).await;
    soon(store.changed()).await;
    let waiting = engine.configuration();
    let waiter = tokio::spawn(async move {
        let mut since = Revision::ZERO;
        let mut seen = BTreeMap::new();
        while !seen.contains_key("wh_2") {
            waiting.changed().await;
            follow(&*waiting, &mut since, &mut seen).await;
        }
    });
    tokio::task::yield_now().await;
    put(&*store, write("wh_2", Expected::Absent, "1")).await;
    soon(waiter).await.expect("it does not panic");
}

#[macro_export]
macro_rules! configuration_promises {
    ($start:ident) => {
        $crate::promises! {
            $start,
            configuration:
            a_document_is_read_as_it_was_written,
            documents_of_tenants_kinds_and_the_installation_are_apart,
            what_is_there_already_is_not_written_as_new,
            a_change_of_an_older_state_is_refused,
            one_conflict_undoes_the_whole_call,
            each_write_of_a_call_takes_the_next_number,
            a_deleted_document_is_not_an_unknown_one,
            an_old_revision_is_still_there,
            what_was_superseded_before_a_day_is_forgotten_and_nothing_else,
            a_list_is_newest_first_and_paged,
            changes_come_in_order_with_the_newest_state_only,
            following_changes_misses_nothing_under_concurrent_writers,
            of_two_writers_that_expect_the_same_one_wins,
            a_change_wakes_who_waits_for_one,
        }
    };
}
