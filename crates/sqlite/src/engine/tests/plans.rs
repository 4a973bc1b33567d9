//! How SQLite answers what the engine asks: by an index, whatever has gathered in the files. The statements are those
//! that were executed, by whatever asks the files; so a new one needs to be asked here once, and written nowhere.

use postrider_contract::journal::HeldRecord;
use postrider_contract::outcome::{DeliveryStatus, HoldReason};
use postrider_contract::ports::{
    DeliveryFilter, EventFilter, KeyName, KeyedRequest, LedgerQuery, ListConfig, PageOf, StrayPlace,
};
use rusqlite::params_from_iter;

use super::*;
use crate::statements;

/// Statements that begin to read all of a table, by how they begin, and why they may. A `;` ends a whole one.
const WHOLE: [(&str, &str); 11] = [
    ("SELECT due_at FROM work_retry ORDER BY due_at LIMIT 1", "it ends at the first entry"),
    ("SELECT count(*) FROM sqlite_schema", "what there is does not grow"),
    ("SELECT count(*) FROM work_first;", "when a file is opened"),
    ("SELECT count(*) FROM work_retry;", "when a file is opened"),
    ("SELECT count(*) FROM work_release;", "when a file is opened"),
    ("SELECT count(*) FROM work_large;", "when a file is opened"),
    ("SELECT count(*) FROM journal", "when a file is opened"),
    ("SELECT count(*), max(id) FROM dead", "when a file is opened"),
    ("SELECT coalesce(sum(in_doubt = 0), 0)", "the ledger counts all of a day that is in its window"),
    ("SELECT status, count(*),", "the ledger counts all of a day that is in its window"),
    ("DELETE FROM config_history WHERE (kind", "once a day, of the states of documents, which people make"),
];
/// Tables that do not grow with what is sent: one row each for a day, a counter, a webhook that has something waiting.
const SMALL: [&str; 4] = ["config_day", "counter", "probe", "room_count"];

fn is_read_whole(statement: &str, step: &str) -> bool {
    let is_scan = step.strip_prefix("SCAN ").is_some_and(|rest| {
        !SMALL.contains(&rest) && !rest.starts_with("CONSTANT") && !rest.starts_with('(')
    });
    (is_scan || step.contains("USE TEMP B-TREE FOR ORDER BY"))
        && !WHOLE.iter().any(|(beginning, _)| format!("{statement};").starts_with(beginning))
}

/// What SQLite would do, step by step; nothing for what asks no table.
fn plan(connection: &Connection, statement: &str) -> Vec<String> {
    let asks = ["SELECT", "INSERT", "UPDATE", "DELETE", "WITH"];
    if !asks.iter().any(|word| statement.starts_with(word)) {
        return Vec::new();
    }
    let mut explained =
        connection.prepare(&format!("EXPLAIN QUERY PLAN {statement}")).expect("it is a statement");
    let nothing = vec![rusqlite::types::Null; explained.parameter_count()];
    let steps =
        explained.query_map(params_from_iter(nothing), |row| row.get("detail")).expect("it is explained");
    steps.collect::<Result<_, _>>().expect("it is explained")
}

fn held(number: u32) -> Delivery {
    match delivery(number, 10) {
        Work::Deliver(delivery) => {
            Delivery { position: Position { holds: 1, ..delivery.position }, ..delivery }
        }
        Work::FanOut(_) => unreachable!("it is a delivery"),
    }
}

async fn fill(engine: &SqliteEngine) {
    let conclusion = Conclusion::Expired;
    let concluded = ConcludedRecord { delivery: reference(1), conclusion, at: now() };
    let held = HeldRecord { delivery: held(2), why: HoldReason::Paused, since: now() };
    let records = [JournalRecord::Concluded(concluded), JournalRecord::Held(held)];
    engine.delivery_log().apply(&fold(records)).await.expect("applied");
}

async fn ask_for_deliveries(engine: &SqliteEngine) {
    let queries = engine.log_queries();
    let reference = reference(1);
    let statuses = DeliveryStatus::ALL.into_iter().map(Some).chain([None]);
    for (status, chosen) in statuses.flat_map(|status| (0_u32..256).map(move |chosen| (status, chosen))) {
        let has = |bit: u32| chosen & (1 << bit) != 0;
        let filter = DeliveryFilter {
            status,
            webhook: has(0).then_some(reference.webhook),
            event: has(1).then(|| reference.event_id.clone()),
            event_type: has(2).then(|| reference.event_type.clone()),
            kind: has(3).then_some(reference.kind),
            code: has(4).then_some(500),
            since: has(5).then(|| now().minus(Duration::from_secs(60))),
            until: has(6).then(|| now().plus(Duration::from_secs(60))),
        };
        let page = PageOf { before: has(7).then_some(reference.id), limit: 10 };
        queries.deliveries(&reference.tenant, &filter, page).await.expect("it answers");
    }
}

async fn ask_the_log(engine: &SqliteEngine) {
    let (queries, log, reference) = (engine.log_queries(), engine.delivery_log(), reference(1));
    for chosen in 0_u32..16 {
        let has = |bit: u32| chosen & (1 << bit) != 0;
        let (since, until) = (has(0).then(now), has(1).then(|| now().plus(Duration::from_secs(60))));
        let event_type = has(2).then(|| reference.event_type.clone());
        let before = has(3).then(|| (now(), reference.event_id.clone()));
        let page = PageOf { before, limit: 10 };
        let filter = EventFilter { event_type, since, until };
        queries.events(&reference.tenant, &filter, page).await.expect("it answers");
        let tenant = has(2).then(|| reference.tenant.clone());
        let webhook = has(3).then_some(reference.webhook);
        let window = LedgerQuery { tenant, webhook, since, until };
        queries.ledger(&window, now()).await.expect("it answers");
    }
    queries.event(&reference.tenant, &reference.event_id).await.expect("it answers");
    queries.delivery(&reference.tenant, reference.id).await.expect("it answers");
    queries.attempts(reference.id).await.expect("it answers");
    queries.has_delivered_since(reference.webhook, now()).await.expect("it answers");
    log.is_recorded(&[(reference.id, Position::START)]).await.expect("it answers");
    log.has_moved_on(reference.id, Position::START).await.expect("it answers");
    log.overdue(now(), 10).await.expect("it answers");
    log.drop_days_before(now().day().plus(1)).await.expect("it answers");
}

async fn ask_for_configuration(engine: &SqliteEngine) {
    let store = engine.config_store();
    let key = ConfigKey { kind: ConfigKind::Webhook, tenant: None, id: "one".to_owned() };
    let write = ConfigWrite { key: key.clone(), expected: Expected::Absent, document: Some(Bytes::new()) };
    let revision = store.write(vec![write]).await.expect("it is written");
    store.read(&key).await.expect("it answers");
    store.read_at(&key, revision).await.expect("it answers");
    store.changes_since(Revision::from_number(0), 10).await.expect("it answers");
    for before in [None, Some("two".to_owned())] {
        let query = ListConfig { kind: ConfigKind::Webhook, tenant: None, before, limit: 10 };
        assert_eq!(store.list(query).await.expect("it answers").len(), 1);
    }
    for day in 0..2 {
        let today = now().day().plus(day);
        store.forget_superseded_before(today, today).await.expect("it answers");
    }
}

async fn ask_for_keys(engine: &SqliteEngine) {
    let keyed = engine.keyed_requests();
    let name = KeyName::Request("key".to_owned());
    let (tenant, event) = (reference(1).tenant, reference(1).event_id);
    let request = KeyedRequest {
        tenant: tenant.clone(),
        name: name.clone(),
        body_hash: [0; 32],
        event,
        accepted_at: now(),
        matches: Vec::new(),
    };
    let begun = request.begun();
    keyed.begin(vec![request]).await.expect("it answers");
    keyed.find(vec![(tenant, name)]).await.expect("it answers");
    keyed.confirm(vec![begun.clone()]).await.expect("it answers");
    keyed.withdraw(vec![begun]).await.expect("it answers");
    keyed.forget_before(now()).await.expect("it answers");
}

async fn ask_the_room(engine: &SqliteEngine) {
    let (room, webhook) = (engine.waiting_room(), reference(2).webhook);
    assert_eq!(room.summaries().await.expect("it answers").len(), 1);
    assert_eq!(room.oldest(webhook, 10).await.expect("it answers").len(), 1);
    room.oldest_of(&[(webhook, 10)]).await.expect("it answers");
    room.mark_released(vec![(reference(2).id, 1)], now()).await.expect("it answers");
    let later = now().plus(Duration::from_secs(1));
    assert_eq!(room.reopen_released_before(later).await.expect("it answers"), 1);
}

async fn ask_the_queue(engine: &SqliteEngine) {
    let queue = engine.work_queue();
    for route in [Route::First, Route::Release, Route::Retry { delay: Duration::ZERO }] {
        queue.publish(publications(10..12, route)).await.expect("confirmed");
    }
    for kind in [WorkKind::First, WorkKind::Release, WorkKind::Retry] {
        let mut source = source(engine, kind).await;
        take(&mut source).await.ticket.give_back();
        take(&mut source).await.ticket.acknowledge();
    }
    engine.publish_encoded(WorkKind::First, Bytes::from_static(b"\xff")).await.expect("it is written");
    let mut strays = engine.strays().gather(StrayPlace::Dead, 1).await.expect("strays can be read");
    let stray = tokio::time::timeout(DEADLINE, strays.next()).await.expect("in time").expect("it is open");
    engine.strays().keep(&stray.message).await.expect("it is kept");
    stray.ticket.acknowledge();
    queue.depths().await.expect("it answers");
    engine.journal().settled_until(now()).await.expect("it answers");
}

#[tokio::test]
async fn whatever_is_asked_of_the_files_is_answered_by_an_index() {
    let folder = Folder::new();
    let engine = open(&folder.0);
    fill(&engine).await;
    ask_for_deliveries(&engine).await;
    ask_for_configuration(&engine).await;
    ask_for_keys(&engine).await;
    ask_the_room(&engine).await;
    ask_the_queue(&engine).await;
    drop(engine);
    // Whatever was there at the start is read in other ways.
    let engine = open(&folder.0);
    ask_the_queue(&engine).await;
    ask_the_log(&engine).await;
    let mut wrong = Vec::new();
    for (path, least) in
        [(folder.join("queue.db"), 40), (folder.join("log").join(format!("{}.db", now().day())), 500)]
    {
        let connection = open_reader(&path).expect("it opens");
        let asked = statements::executed(&path);
        assert!(asked.len() >= least, "{}: {} statements were seen", path.display(), asked.len());
        for statement in asked {
            let steps = plan(&connection, &statement);
            if steps.iter().any(|step| is_read_whole(&statement, step)) {
                wrong.push(format!("{statement}\n    {}", steps.join("\n    ")));
            }
        }
    }
    assert!(wrong.is_empty(), "{} read too much:\n{}", wrong.len(), wrong.join("\n"));
}

/// An index that leaves a millionth is no index: a webhook that fails may have had millions of deliveries.
#[tokio::test]
async fn what_is_asked_of_a_failing_webhook_is_at_one_place_of_an_index() {
    let folder = Folder::new();
    let engine = open(&folder.0);
    fill(&engine).await;
    let (queries, reference) = (engine.log_queries(), reference(1));
    queries.has_delivered_since(reference.webhook, now()).await.expect("it answers");
    let failed = DeliveryFilter {
        webhook: Some(reference.webhook),
        status: Some(DeliveryStatus::Failed),
        until: Some(now()),
        ..DeliveryFilter::default()
    };
    let page = PageOf { before: None, limit: 1 };
    queries.deliveries(&reference.tenant, &failed, page).await.expect("it answers");
    let path = folder.join("log").join(format!("{}.db", now().day()));
    let connection = open_reader(&path).expect("it opens");
    let asked = statements::executed(&path);
    for place in [
        "delivery_delivered (webhook=? AND concluded_at>?)",
        "delivery_webhook_status (webhook=? AND status=? AND id<?)",
    ] {
        let is_there =
            |statement: &String| plan(&connection, statement).iter().any(|step| step.ends_with(place));
        assert!(asked.iter().any(is_there), "nothing was looked up in {place}");
    }
}
