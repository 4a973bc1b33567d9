//! What may have ended the process is counted as it is given out again, and nothing else is.

use super::*;
use crate::shelf::COUNTED_PAGE;

const BACKLOG: u32 = 300;

/// What a process that was killed leaves.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for name in ["queue.db", "queue.db-wal"] {
        fs::copy(from.join(name), to.join(name)).expect("copied");
    }
}

/// How many rows are counted, and the highest of their counts.
async fn counts(engine: &SqliteEngine) -> (i64, i64) {
    let sql = "SELECT count(*), coalesce(max(times), 0) FROM given_out";
    let read = |connection: &Connection| connection.query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?)));
    engine.config_store.reader.read(read).await.expect("it answers")
}

async fn publish_backlog(engine: &SqliteEngine) {
    engine.work_queue().publish(publications(0..BACKLOG, Route::First)).await.expect("confirmed");
}

#[tokio::test]
async fn what_waits_while_a_process_ends_in_order_is_not_counted() {
    let folder = Folder::new();
    publish_backlog(&open(&folder.0)).await;
    for _ in 0..2 {
        let engine = open(&folder.0);
        take(&mut source(&engine, WorkKind::First).await).await.ticket.give_back();
        assert_eq!(counts(&engine).await, (0, 0));
    }
}

#[tokio::test]
async fn an_end_with_something_in_hand_is_none_in_order() {
    let folder = Folder::new();
    let engine = open(&folder.0);
    publish_backlog(&engine).await;
    let in_hand = take(&mut source(&engine, WorkKind::First).await).await;
    engine.close().await;
    drop((engine, in_hand));
    let engine = open(&folder.0);
    take(&mut source(&engine, WorkKind::First).await).await;
    assert_eq!(counts(&engine).await.1, 1);
}

#[tokio::test]
async fn after_a_crash_no_more_is_counted_than_is_soon_in_hand_and_the_count_goes_with_its_message() {
    let folder = Folder::new();
    let lives: Vec<PathBuf> = (0..4).map(|life| folder.join(&life.to_string())).collect();
    let first = open(&lives[0]);
    publish_backlog(&first).await;
    take(&mut source(&first, WorkKind::First).await).await;
    assert_eq!(counts(&first).await, (0, 0), "nothing is written of what is given out");
    copy(&lives[0], &lives[1]);
    for life in 1..3 {
        let engine = open(&lives[life]);
        assert!(take(&mut source(&engine, WorkKind::First).await).await.redelivered);
        let (rows, times) = counts(&engine).await;
        assert_eq!((usize::try_from(rows), usize::try_from(times)), (Ok(COUNTED_PAGE), Ok(life)));
        copy(&lives[life], &lives[life + 1]);
    }
    let last = open(&lives[3]);
    let mut source = source(&last, WorkKind::First).await;
    for number in 0..BACKLOG {
        let lease = take(&mut source).await;
        assert_eq!(event_of(&lease), format!("evt_{number}"), "in order");
        lease.ticket.acknowledge();
    }
    drop(source);
    drop(last);
    let engine = open(&lives[3]);
    assert_eq!(counts(&engine).await, (0, 0));
}

/// It may be anything that ends the process before it takes any work: that is nobody's fault here.
#[tokio::test]
async fn what_nobody_takes_is_not_counted() {
    let folder = Folder::new();
    let lives: Vec<PathBuf> = (0..3).map(|life| folder.join(&life.to_string())).collect();
    let first = open(&lives[0]);
    publish_backlog(&first).await;
    let retries = publications(0..BACKLOG, Route::Retry { delay: Duration::ZERO });
    first.work_queue().publish(retries).await.expect("confirmed");
    copy(&lives[0], &lives[1]);
    let second = open(&lives[1]);
    // By then the loader has looked at what is ahead of it.
    take(&mut source(&second, WorkKind::Retry).await).await;
    let (rows, times) = counts(&second).await;
    assert_eq!((usize::try_from(rows), times), (Ok(COUNTED_PAGE), 1), "of the retries alone");
    copy(&lives[1], &lives[2]);
    assert_eq!(counts(&open(&lives[2])).await.1, 1);
}
