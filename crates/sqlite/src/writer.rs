//! The one writer of `queue.db`: whatever waits goes into one transaction, one sync to disk, then all are answered.
//!
//! A group that fails in a statement is rolled back and its jobs are tried each alone, so that one bad request
//! does not fail its neighbours; unless the storage itself says no, then all are refused. Until a commit succeeds
//! again, [`Writer::check_writable`] says why not, and an empty write is tried twice a second.
//!
//! A job that panics fails alone. Should the thread itself panic, everyone who waits is told, nothing more is
//! taken, and [`Writer::check_writable`] says so.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use rusqlite::Connection;
use tokio::sync::oneshot;

use crate::error::{WriteError, is_of_the_storage};
use crate::mailbox::{Acknowledged, Group, Job, Mailbox, Storage, Waiting};
use crate::mutex::lock;

/// What must fit before storage that failed is taken for sound again.
const PROBE_BYTES: i64 = 128 * 1024;

/// The handle by which everybody else asks for writes.
pub(crate) struct Writer {
    mailbox: Arc<Mailbox>,
    health: Arc<Health>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Writer {
    /// Starts the thread.
    pub(crate) fn start(connection: Connection) -> std::io::Result<Self> {
        let mailbox = Arc::new(Mailbox::new());
        let health = Arc::new(Health::default());
        let (own_mailbox, own_health) = (Arc::clone(&mailbox), Arc::clone(&health));
        let thread = std::thread::Builder::new()
            .name("sqlite-writer".to_owned())
            .spawn(move || run_guarded(&connection, &own_mailbox, &own_health))?;
        Ok(Writer { mailbox, health, thread: Mutex::new(Some(thread)) })
    }

    pub(crate) fn mailbox(&self) -> &Arc<Mailbox> {
        &self.mailbox
    }

    /// Runs `work` in the writer's next transaction and, once that is committed, `on_commit` on the writer's
    /// thread; answers what that gives. `size` is about how many bytes the work holds. `work` may run twice,
    /// each time from the start. If the caller goes away, both happen all the same. If `work` panics, nothing was
    /// written; if `on_commit` does, it was, but the answer is lost: in doubt.
    pub(crate) async fn write<T, R>(
        &self,
        size: usize,
        work: impl FnMut(&Connection) -> rusqlite::Result<T> + Send + 'static,
        on_commit: impl FnOnce(T) -> R + Send + 'static,
    ) -> Result<R, WriteError>
    where
        T: Send + 'static,
        R: Send + 'static,
    {
        let (answer, answered) = oneshot::channel();
        let task = Task { work, output: None, on_commit, answer };
        self.mailbox.put(Box::new(task), size).await?;
        let is_lost = |_| WriteError::InDoubt("the answer of the write was lost".to_owned());
        answered.await.map_err(is_lost)?
    }

    /// Waits until everything that was put into the mailbox before is written, settlements too.
    pub(crate) async fn flush(&self) -> Result<(), WriteError> {
        self.write(0, |_| Ok(()), |()| ()).await
    }

    pub(crate) fn check_writable(&self) -> Result<(), String> {
        lock(&self.health.trouble).clone().map_or(Ok(()), Err)
    }

    /// Writes what waits and ends the thread. Blocks for that long; the second call does nothing.
    pub(crate) fn close(&self) {
        self.mailbox.close();
        let thread = lock(&self.thread).take();
        if let Some(thread) = thread
            && thread.join().is_err()
        {
            tracing::error!("the writer's thread panicked");
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.close();
    }
}

/// Why the last commit failed, if it did.
#[derive(Default)]
struct Health {
    trouble: Mutex<Option<String>>,
}

impl Health {
    fn storage(&self) -> Storage {
        if lock(&self.trouble).is_some() { Storage::Failing } else { Storage::Sound }
    }

    fn succeeded(&self) {
        if lock(&self.trouble).take().is_some() {
            tracing::info!("the queue's file can be written again");
        }
    }

    fn failed(&self, reason: &str) {
        let before = lock(&self.trouble).replace(reason.to_owned());
        if before.is_none() {
            tracing::error!(reason, "the queue's file cannot be written; nothing is accepted until it can");
        }
    }
}

struct Task<T, R, W, C> {
    work: W,
    output: Option<T>,
    on_commit: C,
    answer: oneshot::Sender<Result<R, WriteError>>,
}

impl<T, R, W, C> Job for Task<T, R, W, C>
where
    T: Send,
    R: Send,
    W: FnMut(&Connection) -> rusqlite::Result<T> + Send,
    C: FnOnce(T) -> R + Send,
{
    fn write(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        self.output = Some((self.work)(connection)?);
        Ok(())
    }

    fn finish(self: Box<Self>, result: Result<(), WriteError>) {
        let Task { output, on_commit, answer, .. } = *self;
        let result = match (result, output) {
            (Ok(()), Some(output)) => Ok(on_commit(output)),
            (Ok(()), None) => Err(WriteError::Closed),
            (Err(error), _) => Err(error),
        };
        if answer.send(result).is_err() {
            tracing::trace!("nobody waits for a write's answer any more");
        }
    }
}

/// A job panicked while it wrote; what it had written is rolled back.
#[derive(Debug, thiserror::Error)]
#[error("the write panicked")]
struct Panicked;

fn run_guarded(connection: &Connection, mailbox: &Mailbox, health: &Health) {
    if catch_unwind(AssertUnwindSafe(|| run(connection, mailbox, health))).is_err() {
        health.failed("the writer's thread panicked; the process must be started again");
        mailbox.abandon();
    }
}

fn run(connection: &Connection, mailbox: &Mailbox, health: &Health) {
    while let Some(group) = mailbox.next_group(health.storage()) {
        write_group(connection, mailbox, health, group);
    }
    // So that a stopped installation is in its files alone, whichever of them is copied.
    let is_busy = |row: &rusqlite::Row<'_>| row.get::<_, bool>(0);
    match connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], is_busy) {
        Ok(false) => {}
        Ok(true) => tracing::warn!("somebody reads the queue's file: its write-ahead log stays beside it"),
        Err(error) => tracing::warn!(%error, "the write-ahead log stays beside the queue's file"),
    }
}

/// A failure of one transaction: what to tell, and whether the storage is to blame.
struct Failed {
    error: WriteError,
    is_of_the_storage: bool,
}

fn write_group(connection: &Connection, mailbox: &Mailbox, health: &Health, group: Group) {
    let Group { mut jobs, mut acknowledged } = group;
    let is_failing = health.storage() == Storage::Failing;
    if is_failing {
        // What frees space goes first, by itself: it may be what there is space for.
        acknowledged = delete_alone(connection, acknowledged);
    }
    let result = in_transaction(connection, || {
        if is_failing {
            probe(connection)?;
        }
        delete(connection, &acknowledged)?;
        jobs.iter_mut().try_for_each(|waiting| write_caught(waiting, connection))
    });
    let failed = match result {
        Ok(()) => {
            health.succeeded();
            return jobs.into_iter().for_each(|waiting| finish_caught(waiting, Ok(())));
        }
        Err(failed) => failed,
    };
    mailbox.put_back(acknowledged);
    if failed.is_of_the_storage {
        health.failed(&failed.error.to_string());
    }
    if failed.is_of_the_storage || jobs.len() < 2 {
        return jobs.into_iter().for_each(|waiting| finish_caught(waiting, Err(failed.error.clone())));
    }
    for mut waiting in jobs {
        let result = in_transaction(connection, || write_caught(&mut waiting, connection));
        finish_caught(waiting, result.map_err(|failed| failed.error));
    }
}

/// The panic hook has logged the message and the place. Safe to go on after: the transaction is rolled back, and
/// a job that is written again begins from the start.
fn write_caught(waiting: &mut Waiting, connection: &Connection) -> rusqlite::Result<()> {
    catch_unwind(AssertUnwindSafe(|| waiting.job.write(connection)))
        .unwrap_or_else(|_| Err(rusqlite::Error::ToSqlConversionFailure(Box::new(Panicked))))
}

/// The answer goes down with a job that panics here, which tells whoever waits for it.
fn finish_caught(waiting: Waiting, result: Result<(), WriteError>) {
    if catch_unwind(AssertUnwindSafe(|| waiting.job.finish(result))).is_err() {
        tracing::error!("what follows a write panicked");
    }
}

fn in_transaction(
    connection: &Connection,
    work: impl FnOnce() -> rusqlite::Result<()>,
) -> Result<(), Failed> {
    let in_statement = |error: rusqlite::Error| {
        // After some errors SQLite has rolled back by itself; then there is nothing left to do.
        if !connection.is_autocommit()
            && let Err(rollback) = connection.execute_batch("ROLLBACK")
        {
            tracing::warn!(error = %rollback, "could not roll back");
        }
        Failed { error: WriteError::in_statement(&error), is_of_the_storage: is_of_the_storage(&error) }
    };
    connection
        .prepare_cached("BEGIN IMMEDIATE")
        .and_then(|mut begin| begin.execute([]))
        .map_err(in_statement)?;
    work().map_err(in_statement)?;
    let committed = connection.prepare_cached("COMMIT").and_then(|mut commit| commit.execute([]));
    committed
        .map(|_| ())
        .map_err(|error| Failed { error: WriteError::in_commit(&error), ..in_statement(error) })
}

/// Needs space for more than one message, so that storage which has room for a crumb is not taken for sound.
fn probe(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute("INSERT INTO probe (space) VALUES (zeroblob(?1))", [PROBE_BYTES])?;
    connection.execute("DELETE FROM probe", [])?;
    Ok(())
}

/// Answers those that are still to be deleted.
fn delete_alone(connection: &Connection, acknowledged: Vec<Acknowledged>) -> Vec<Acknowledged> {
    if acknowledged.is_empty() {
        return acknowledged;
    }
    match in_transaction(connection, || delete(connection, &acknowledged)) {
        Ok(()) => Vec::new(),
        Err(failed) => {
            tracing::debug!(error = %failed.error, "what is done with could not be deleted yet");
            acknowledged
        }
    }
}

fn delete(connection: &Connection, acknowledged: &[Acknowledged]) -> rusqlite::Result<()> {
    for row in acknowledged {
        connection.prepare_cached(row.table.delete_sql())?.execute([row.id])?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    /// Inserts a number, and tells what became of it.
    struct Insert {
        number: i64,
        told: mpsc::Sender<(i64, bool)>,
    }

    impl Job for Insert {
        fn write(&mut self, connection: &Connection) -> rusqlite::Result<()> {
            connection.execute("INSERT INTO number (n) VALUES (?1)", [self.number]).map(|_| ())
        }

        fn finish(self: Box<Self>, result: Result<(), WriteError>) {
            self.told.send((self.number, result.is_ok())).expect("the test listens");
        }
    }

    fn write(connection: &Connection, numbers: &[i64]) -> Vec<(i64, bool)> {
        let (mailbox, health) = (Mailbox::new(), Health::default());
        let (told, answers) = mpsc::channel();
        for number in numbers {
            mailbox.put_unbounded(Box::new(Insert { number: *number, told: told.clone() }));
        }
        let group = mailbox.next_group(Storage::Sound).expect("something waits");
        assert_eq!(group.jobs.len(), numbers.len(), "one transaction for all");
        write_group(connection, &mailbox, &health, group);
        assert!(health.storage() == Storage::Sound, "a bad request is not bad storage");
        answers.try_iter().collect()
    }

    #[test]
    fn one_bad_request_does_not_fail_its_neighbours() {
        let connection = Connection::open_in_memory().expect("in memory");
        connection.execute_batch("CREATE TABLE number (n INTEGER PRIMARY KEY)").expect("a table");
        assert_eq!(write(&connection, &[1, 2]), [(1, true), (2, true)]);
        assert_eq!(write(&connection, &[3, 1, 4]), [(3, true), (1, false), (4, true)]);
        let stored: i64 =
            connection.query_row("SELECT sum(n) FROM number", [], |row| row.get(0)).expect("it answers");
        assert_eq!(stored, 10);
    }

    /// Far longer than anything here takes; only a caller that hangs waits for it.
    const DEADLINE: std::time::Duration = std::time::Duration::from_secs(30);

    async fn answer<T>(writing: impl Future<Output = Result<T, WriteError>>) -> Result<T, WriteError> {
        tokio::time::timeout(DEADLINE, writing).await.expect("an answer before the deadline")
    }

    fn insert(connection: &Connection, number: i64) -> rusqlite::Result<()> {
        connection.execute("INSERT INTO number (n) VALUES (?1)", [number]).map(|_| ())
    }

    #[tokio::test]
    async fn a_job_that_panics_is_answered_and_fails_alone() {
        let connection = Connection::open_in_memory().expect("in memory");
        connection.execute_batch("CREATE TABLE number (n INTEGER PRIMARY KEY)").expect("a table");
        let writer = Writer::start(connection).expect("a thread");
        let panics = writer.write(
            0,
            |connection| {
                insert(connection, 1)?;
                panic!("a job of the test")
            },
            |()| (),
        );
        let (refused, written) =
            tokio::join!(answer(panics), answer(writer.write(0, |c| insert(c, 2), |()| ())));
        assert!(matches!(refused, Err(WriteError::Refused(_))), "{refused:?}");
        written.expect("its neighbour is written");
        let lost = answer(writer.write(0, |c| insert(c, 3), |()| panic!("a job of the test"))).await;
        assert!(matches!(lost, Err(WriteError::InDoubt(_))), "{lost:?}");
        let sum = |c: &Connection| c.query_row("SELECT sum(n) FROM number", [], |row| row.get::<_, i64>(0));
        assert_eq!(answer(writer.write(0, sum, |sum| sum)).await.expect("it answers"), 5);
        writer.check_writable().expect("the storage is sound");
    }

    #[tokio::test]
    async fn without_its_thread_nobody_waits_for_the_writer() {
        let mailbox = Arc::new(Mailbox::new());
        let health = Arc::new(Health::default());
        let writer = Writer { mailbox, health, thread: Mutex::new(None) };
        let mut waits = std::pin::pin!(writer.write(0, |_| Ok(()), |()| ()));
        let first = std::future::poll_fn(|cx| std::task::Poll::Ready(waits.as_mut().poll(cx))).await;
        assert!(first.is_pending(), "nobody writes");
        writer.mailbox.abandon();
        let told = answer(waits).await;
        assert!(matches!(told, Err(WriteError::InDoubt(_))), "{told:?}");
        let refused = answer(writer.flush()).await;
        assert!(matches!(refused, Err(WriteError::Closed)), "{refused:?}");
    }
}
