//! Leadership by advisory locks, each held by a connection of its own for as long as the lead lives.
//!
//! The server gives the lock up when that connection ends, so a leader that is gone is replaced at once. A leader
//! whose connection no longer answers stops counting as one within [`BEAT`] and [`BEAT_ANSWER`].

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use postrider_contract::ports::{Lead, Leadership, StoreError};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

use crate::errors::{describe, unavailable};
use crate::server::Dedicated;
use crate::session::Database;

const BEAT: Duration = Duration::from_secs(2);
const BEAT_ANSWER: Duration = Duration::from_secs(3);

/// For asking whether a lock is free.
const ASK_ANSWER: Duration = Duration::from_secs(5);

pub(crate) struct AdvisoryLocks {
    shared: Arc<Shared>,
}

struct Shared {
    database: Arc<Database>,
    /// A connection to ask with, while nobody is asking; it becomes the lead's own when it gets the lock.
    idle: Mutex<Option<Dedicated>>,
    /// How many locks are just being given back: asking waits, so that one's own lock is not in the way.
    giving_back: watch::Sender<usize>,
    runtime: Handle,
}

impl Shared {
    fn take_idle(&self) -> Option<Dedicated> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.take().filter(|connection| !connection.is_closed())
    }

    /// One is enough: another is closed.
    fn keep_idle(&self, connection: Dedicated) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        *idle = Some(connection);
    }
}

impl AdvisoryLocks {
    pub(crate) fn new(database: Arc<Database>) -> Self {
        let (giving_back, _) = watch::channel(0);
        let shared = Shared { database, idle: Mutex::new(None), giving_back, runtime: Handle::current() };
        AdvisoryLocks { shared: Arc::new(shared) }
    }
}

#[async_trait]
impl Leadership for AdvisoryLocks {
    async fn try_lead(&self, duty: &'static str) -> Result<Option<Box<dyn Lead>>, StoreError> {
        let shared = &self.shared;
        let mut giving_back = shared.giving_back.subscribe();
        // If that takes long, the lock is simply not free yet.
        timeout(ASK_ANSWER, giving_back.wait_for(|count| *count == 0)).await.ok();
        // Taken out: if this future is dropped half-way, so is the connection and any lock with it.
        let idle = shared.take_idle();
        let connection = match idle {
            Some(connection) => connection,
            None => match timeout(ASK_ANSWER, shared.database.server().open(None)).await {
                Ok(opened) => opened.map_err(|error| unavailable(describe(&error)))?,
                Err(_) => return Err(unavailable("no answer in time")),
            },
        };
        let number = lock_number(duty);
        let parameters: [&(dyn tokio_postgres::types::ToSql + Sync); 1] = [&number];
        let asked = connection.client.query_one("SELECT pg_try_advisory_lock($1)", &parameters);
        let answer = match timeout(ASK_ANSWER, asked).await {
            Ok(row) => row.and_then(|row| row.try_get::<_, bool>(0)),
            Err(_) => return Err(unavailable("no answer in time")),
        };
        if !answer.map_err(|error| unavailable(describe(&error)))? {
            shared.keep_idle(connection);
            return Ok(None);
        }
        Ok(Some(Box::new(HeldLock::new(connection, number, Arc::clone(shared)))))
    }
}

struct HeldLock {
    connection: Option<Arc<Dedicated>>,
    is_lost: Arc<AtomicBool>,
    heart: Option<AbortOnDropHandle<()>>,
    number: i64,
    shared: Arc<Shared>,
}

impl HeldLock {
    fn new(connection: Dedicated, number: i64, shared: Arc<Shared>) -> Self {
        let connection = Arc::new(connection);
        let is_lost = Arc::new(AtomicBool::new(false));
        let beating = beat(Arc::clone(&connection), Arc::clone(&is_lost));
        let heart = AbortOnDropHandle::new(shared.runtime.spawn(beating));
        HeldLock { connection: Some(connection), is_lost, heart: Some(heart), number, shared }
    }
}

impl Lead for HeldLock {
    fn is_held(&self) -> bool {
        let is_open = self.connection.as_ref().is_some_and(|connection| !connection.is_closed());
        is_open && !self.is_lost.load(Ordering::Acquire)
    }
}

impl Drop for HeldLock {
    /// Gives the lock back and keeps the connection for the next question; if that fails, the connection is
    /// closed, and the lock goes with it.
    fn drop(&mut self) {
        let Some(connection) = self.connection.take() else { return };
        let heart = self.heart.take();
        let (shared, number) = (Arc::clone(&self.shared), self.number);
        shared.giving_back.send_modify(|count| *count += 1);
        let runtime = shared.runtime.clone();
        runtime.spawn(async move {
            if let Some(heart) = heart {
                heart.abort();
                // Waited for, since it shares the connection; an abort is how it ends.
                heart.await.ok();
            }
            let parameters: [&(dyn tokio_postgres::types::ToSql + Sync); 1] = [&number];
            let given_back = connection.client.query_one("SELECT pg_advisory_unlock($1)", &parameters);
            let is_given_back = matches!(timeout(ASK_ANSWER, given_back).await, Ok(Ok(_)));
            if is_given_back && let Some(connection) = Arc::into_inner(connection) {
                shared.keep_idle(connection);
            }
            shared.giving_back.send_modify(|count| *count -= 1);
        });
    }
}

/// Asks the connection for a sign of life until there is none.
async fn beat(connection: Arc<Dedicated>, is_lost: Arc<AtomicBool>) {
    loop {
        tokio::time::sleep(BEAT).await;
        if !matches!(timeout(BEAT_ANSWER, connection.client.batch_execute("")).await, Ok(Ok(()))) {
            is_lost.store(true, Ordering::Release);
            return;
        }
    }
}

/// FNV-1a of the duty's name, apart from the locks of migrations and days.
fn lock_number(duty: &str) -> i64 {
    let start = 0xcbf2_9ce4_8422_2325_u64;
    let hash = b"postrider/lead/"
        .iter()
        .chain(duty.as_bytes())
        .fold(start, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3));
    i64::from_be_bytes(hash.to_be_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_duty_has_a_lock_of_its_own() {
        let numbers: std::collections::BTreeSet<i64> =
            ["release", "heal", "retention", ""].into_iter().map(lock_number).collect();
        assert_eq!(numbers.len(), 4);
        // Processes of different versions must agree on it.
        assert_eq!(lock_number("release"), 7_648_013_206_239_618_034);
    }
}
