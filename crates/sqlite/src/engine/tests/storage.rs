//! The disk and its other users: a reader that takes its time, a disk without space, what an orderly stop leaves.

use super::*;

async fn count_first(engine: &SqliteEngine) -> u64 {
    engine.work_queue().depths().await.expect("it answers").first
}

#[tokio::test]
async fn a_reader_that_takes_its_time_keeps_no_writer_waiting() {
    let folder = Folder::new();
    let engine = open(&folder.0);
    engine.work_queue().publish(publications(0..1, Route::First)).await.expect("confirmed");
    let log = engine.delivery_log();
    let record = |number: u32| {
        let conclusion = Conclusion::Expired;
        JournalRecord::Concluded(ConcludedRecord { delivery: reference(number), conclusion, at: now() })
    };
    log.apply(&fold([record(0)])).await.expect("applied");
    let day = folder.join("log").join(format!("{}.db", now().day()));
    let readers: Vec<Connection> = [(folder.join("queue.db"), "work_first"), (day, "delivery")]
        .into_iter()
        .map(|(path, table)| {
            let reader = open_reader(&path).expect("it opens");
            reader.execute_batch("BEGIN").expect("a transaction");
            assert_eq!(rows(&reader, table), 1);
            reader
        })
        .collect();
    // More than what is checkpointed at once, twice over.
    for batch in 1..=20 {
        let work = (0..100).map(|number| delivery(batch * 100 + number, 20_000));
        let publications = work.map(|work| Publication { route: Route::First, work }).collect();
        let published = tokio::time::timeout(DEADLINE, engine.work_queue().publish(publications)).await;
        published.expect("nobody waits for a reader").expect("confirmed");
        let applied = tokio::time::timeout(DEADLINE, log.apply(&fold([record(batch)]))).await;
        applied.expect("nobody waits for a reader").expect("applied");
    }
    assert_eq!(
        (rows(&readers[0], "work_first"), rows(&readers[1], "delivery")),
        (1, 1),
        "a reader sees its moment"
    );
    drop(readers);
    assert_eq!(count_first(&engine).await, 2_001);
}

/// Much work, and nothing to answer before its end.
const LONG: &str = "WITH RECURSIVE number (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM number WHERE n < 3000000) \
                    SELECT count(*) FROM number";

fn count(connection: &Connection, sql: &str) -> rusqlite::Result<i64> {
    connection.query_row(sql, [], |row| row.get(0))
}

#[tokio::test]
async fn a_question_that_takes_too_long_is_ended_as_one_that_is_not_answered_and_harms_none_after_it() {
    let folder = Folder::new();
    let limited = Settings { query_time: Duration::ZERO, ..settings(&folder.0) };
    let engine = open_with(limited).expect("opens");
    let conclusion = Conclusion::Expired;
    let record = ConcludedRecord { delivery: reference(1), conclusion, at: now() };
    engine.delivery_log().apply(&fold([JournalRecord::Concluded(record)])).await.expect("applied");
    let day = now().day();
    for _ in 0..2 {
        let ended = engine.log.ask(move |log| log.read(day, |connection| count(connection, LONG))).await;
        assert!(matches!(ended, Err(StoreError::Unavailable { .. })), "{ended:?}");
        let short = "SELECT count(*) FROM delivery";
        let counted = engine.log.ask(move |log| log.read(day, |connection| count(connection, short))).await;
        assert_eq!(counted.expect("it answers"), Some(1));
    }
}

/// They look at every day there is, in as many steps as it takes.
#[tokio::test]
async fn the_engines_own_questions_to_the_log_have_all_the_time_they_need() {
    let folder = Folder::new();
    let limited = Settings { query_time: Duration::ZERO, ..settings(&folder.0) };
    let engine = open_with(limited).expect("opens");
    let conclusion = Conclusion::Expired;
    let records = (0..2_000).map(|number| {
        JournalRecord::Concluded(ConcludedRecord { delivery: reference(number), conclusion, at: now() })
    });
    let log = engine.delivery_log();
    log.apply(&fold(records)).await.expect("applied");
    let short = "SELECT count(*) FROM event";
    let counted = engine.log.ask(move |log| log.read(now().day(), |c| count(c, short))).await;
    assert_eq!(counted.expect("it answers"), Some(2_000), "the same connection as is used next");
    let tries: Vec<_> = (0..2_000).map(|number| (reference(number).id, Position::START)).collect();
    assert!(log.is_recorded(&tries).await.expect("it answers").into_iter().all(|is_recorded| is_recorded));
}

fn rows(connection: &Connection, table: &str) -> i64 {
    connection.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).expect("it answers")
}

/// As a disk without space does it: the file cannot grow any more.
async fn fill_disk(engine: &SqliteEngine) {
    let pages = |connection: &Connection| {
        let used: i64 = connection.pragma_query_value(None, "page_count", |row| row.get(0))?;
        connection.pragma_update_and_check(None, "max_page_count", used, |_| Ok(()))
    };
    engine.running.writer.write(0, pages, |()| ()).await.expect("it is set");
}

#[tokio::test]
async fn a_full_disk_refuses_what_is_new_and_loses_nothing() {
    let folder = Folder::new();
    let engine = open(&folder.0);
    let queue = engine.work_queue();
    queue.publish(publications(0..500, Route::First)).await.expect("confirmed");
    fill_disk(&engine).await;
    let refused = queue.publish(publications(500..1_000, Route::First)).await;
    assert!(matches!(refused, Err(PublishError::Refused { .. })), "{refused:?}");
    assert!(queue.check_writable().is_err(), "nothing is accepted while it would not fit");
    // What was accepted is delivered all the same; that frees the space that is missing.
    let mut source = source(&engine, WorkKind::First).await;
    let mut seen = HashSet::new();
    for _ in 0..500 {
        let lease = take(&mut source).await;
        seen.insert(event_of(&lease));
        lease.ticket.acknowledge();
    }
    assert_eq!(seen.len(), 500);
    eventually(async || queue.check_writable().is_ok()).await;
    queue.publish(publications(1_000..1_010, Route::First)).await.expect("there is space again");
    assert_eq!(event_of(&take(&mut source).await), "evt_1000", "and nothing that was refused");
}

#[tokio::test]
async fn an_orderly_stop_leaves_everything_in_the_file_itself() {
    let folder = Folder::new();
    let engine = open(&folder.0);
    engine.work_queue().publish(publications(0..100, Route::First)).await.expect("confirmed");
    assert!(count_first(&engine).await == 100);
    engine.work_queue().close().await;
    engine.close().await;
    let wal = fs::metadata(folder.join("queue.db-wal")).map_or(0, |metadata| metadata.len());
    assert_eq!(wal, 0, "a copy of queue.db alone has it all");
    drop(engine);
}
