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
