//! Many records, few messages: gathers the journal records of many callers into batches.
//!
//! A record costs a fraction of a message (DESIGN.md, "Numbers to know"), so records wait for company, but only
//! while there is a reason to: with nothing under way a batch leaves at once; with batches under way it waits until
//! it is full, at most [`LINGER`] if a producer waits for it and [`LONG_LINGER`] if nobody does; and with
//! [`MAX_UNDER_WAY`] of them until one is confirmed.
//!
//! [`JournalWriter::record`] answers only when the message that holds the record is confirmed.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt};
use postrider_contract::clock::Clock;
use postrider_contract::journal::{JournalBatch, JournalRecord};
use postrider_contract::ports::{Journal, PublishError};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use crate::failpoint::{InjectedFailure, hit};

/// How long a record waits for company. It delays a producer's 202, never a delivery.
const LINGER: Duration = Duration::from_millis(1);
/// The same for what follows a try: its slot is free already, only its acknowledgement waits.
const LONG_LINGER: Duration = Duration::from_millis(10);
/// From here on the gain of a larger batch is below a tenth of a record's cost.
const FULL: usize = 100;
/// The most records in one message.
const MAX_RECORDS: usize = 200;
/// Held deliveries carry their bodies; a message should stay far below the broker's limit of 16 MiB.
const MAX_BATCH_BYTES: usize = 1024 * 1024;
/// Enough to hide a confirm's latency; more would only make the batches smaller.
const MAX_UNDER_WAY: usize = 4;
/// Of these, so many may be under way before they are full.
const MAX_UNDER_WAY_EARLY: usize = 2;
/// Callers wait here before anything is gathered; beyond it they wait to get in.
const QUEUE: usize = 4_096;

struct Entry {
    record: Arc<JournalRecord>,
    done: oneshot::Sender<Result<(), PublishError>>,
}

/// A handle; cheap to clone.
#[derive(Clone)]
pub struct JournalWriter {
    entries: mpsc::Sender<Entry>,
}

impl JournalWriter {
    /// Starts the gathering task on the current runtime. It ends when every handle is gone and everything is
    /// written.
    #[must_use]
    pub fn start(journal: Arc<dyn Journal>, clock: Arc<dyn Clock>) -> Self {
        let (entries, receiver) = mpsc::channel(QUEUE);
        tokio::spawn(Gathering { journal, clock, receiver, waiting: Vec::new(), bytes: 0 }.run());
        JournalWriter { entries }
    }

    /// Resolves when the record is durable.
    ///
    /// # Errors
    /// When its message was not confirmed: it may have been written all the same.
    pub async fn record(&self, record: Arc<JournalRecord>) -> Result<(), PublishError> {
        let (done, answer) = oneshot::channel();
        let stopped = || PublishError::Refused { reason: "the journal writer has stopped".to_owned() };
        self.entries.send(Entry { record, done }).await.map_err(|_| stopped())?;
        answer.await.map_err(|_| stopped())?
    }
}

struct Gathering {
    journal: Arc<dyn Journal>,
    clock: Arc<dyn Clock>,
    receiver: mpsc::Receiver<Entry>,
    waiting: Vec<Entry>,
    bytes: usize,
}

impl Gathering {
    async fn run(mut self) {
        let mut under_way: FuturesUnordered<BoxFuture<'static, ()>> = FuturesUnordered::new();
        // One timer, moved once for a batch: a timer made for every record would wake the runtime's driver for each.
        let mut leave_at = std::pin::pin!(tokio::time::sleep_until(Instant::now()));
        let mut is_open = true;
        while is_open || !self.waiting.is_empty() || !under_way.is_empty() {
            let room = if self.is_full() { MAX_UNDER_WAY } else { MAX_UNDER_WAY_EARLY };
            let may_leave = !self.waiting.is_empty() && under_way.len() < room;
            let is_time = || Instant::now() >= leave_at.deadline();
            if may_leave && (under_way.is_empty() || self.is_full() || !is_open || is_time()) {
                under_way.push(self.send_waiting());
                continue;
            }
            tokio::select! {
                biased;
                entry = self.receiver.recv(), if is_open && !self.is_stuffed() => match entry {
                    Some(entry) => {
                        let first_new = self.waiting.len();
                        self.put(entry);
                        let patience = self.waiting[first_new..].iter().map(|entry| patience(&entry.record));
                        let latest = Instant::now() + patience.min().unwrap_or(LINGER);
                        if first_new == 0 || latest < leave_at.deadline() {
                            leave_at.as_mut().reset(latest);
                        }
                    }
                    None => is_open = false,
                },
                Some(()) = under_way.next() => {}
                () = leave_at.as_mut(), if may_leave => {}
            }
        }
    }

    fn put(&mut self, entry: Entry) {
        self.bytes += weight(&entry.record);
        self.waiting.push(entry);
        // Whatever else is there already comes along without another turn of the loop.
        while !self.is_stuffed() {
            let Ok(more) = self.receiver.try_recv() else { break };
            self.bytes += weight(&more.record);
            self.waiting.push(more);
        }
    }

    fn is_full(&self) -> bool {
        self.waiting.len() >= FULL || self.is_stuffed()
    }

    fn is_stuffed(&self) -> bool {
        self.waiting.len() >= MAX_RECORDS || self.bytes >= MAX_BATCH_BYTES
    }

    fn send_waiting(&mut self) -> BoxFuture<'static, ()> {
        let entries = std::mem::take(&mut self.waiting);
        self.bytes = 0;
        let (records, callers): (Vec<_>, Vec<_>) =
            entries.into_iter().map(|entry| (entry.record, entry.done)).unzip();
        let batch = JournalBatch { written_at: self.clock.now(), records };
        let journal = Arc::clone(&self.journal);
        Box::pin(async move {
            let result = append(&*journal, batch).await;
            for caller in callers {
                // A caller that is gone (its request was cut off) no longer needs to know.
                drop(caller.send(result.clone()));
            }
        })
    }
}

/// How long a record may wait for company: a producer's answer waits for an accepted one, and for what it holds.
fn patience(record: &JournalRecord) -> Duration {
    match record {
        JournalRecord::Accepted(_) | JournalRecord::Held(_) => LINGER,
        JournalRecord::Attempted(_)
        | JournalRecord::Deferred(_)
        | JournalRecord::Released(_)
        | JournalRecord::Concluded(_) => LONG_LINGER,
    }
}

async fn append(journal: &dyn Journal, batch: JournalBatch) -> Result<(), PublishError> {
    let injected = |failure: InjectedFailure| PublishError::InDoubt { reason: failure.to_string() };
    hit("journal.before_append").map_err(injected)?;
    journal.append(batch).await?;
    hit("journal.after_append").map_err(injected)
}

/// What a record adds to its message, as far as it can be large.
fn weight(record: &JournalRecord) -> usize {
    const FRAME: usize = 256;
    let payload = match record {
        JournalRecord::Accepted(accepted) => {
            accepted.event.data.as_bytes().len() + accepted.deliveries.len() * 64
        }
        JournalRecord::Attempted(attempted) => match &attempted.attempt.result {
            postrider_contract::attempt::AttemptResult::Response(response) => response.body.len(),
            postrider_contract::attempt::AttemptResult::Failure { .. } => 0,
        },
        JournalRecord::Held(held) => held.delivery.body.len(),
        JournalRecord::Deferred(_) | JournalRecord::Released(_) | JournalRecord::Concluded(_) => 0,
    };
    FRAME + payload
}

#[cfg(test)]
mod tests;
