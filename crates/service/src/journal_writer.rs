//! Many records, few messages: gathers the journal records of many callers into batches.
//!
//! A record costs a fraction of a message (DESIGN.md, "Numbers to know"), so records wait for company: with batches under
//! way until there is a full one, at most [`LINGER`] if a producer waits for it and [`LONG_LINGER`] if none does; and with
//! [`MAX_UNDER_WAY`] of them until one is confirmed. With nothing under way a batch leaves at once, unless all that it
//! holds is tries, for which nobody waits.
//!
//! [`JournalWriter::record`] answers only when the message that holds the record is confirmed.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{BoxFuture, try_join_all};
use futures_util::stream::{FuturesUnordered, StreamExt};
use postrider_contract::clock::Clock;
use postrider_contract::journal::{JournalBatch, JournalRecord};
use postrider_contract::ports::{Journal, PublishError};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use crate::failpoint::{InjectedFailure, hit};

/// How long a record waits for company. It delays a producer's 202, never a delivery.
const LINGER: Duration = Duration::from_millis(1);
/// The same for what follows a try: its slot is free already, only its acknowledgement waits. Each message is a write to
/// the disk of every broker, and so are the acknowledgements that follow it, which then come together.
const LONG_LINGER: Duration = Duration::from_millis(10);
/// From here on the gain of a larger batch is below a tenth of a record's cost.
const FULL: usize = 100;
/// The most records in one message, but for what is never parted from the last of them.
const MAX_RECORDS: usize = 200;
/// Held deliveries carry their bodies; a message should stay far below the broker's limit of 16 MiB. The last record, or
/// what is never parted, may come on top of it: some MiB at the most.
const MAX_BATCH_BYTES: usize = 1024 * 1024;
/// Enough to hide a confirm's latency; more would only make the batches smaller.
const MAX_UNDER_WAY: usize = 4;
/// Of these, so many may be under way before they are full.
const MAX_UNDER_WAY_EARLY: usize = 2;
/// Callers wait here before anything is gathered; beyond it they wait to get in.
const QUEUE: usize = 4_096;

struct Entry {
    /// What must not be durable later than the record; nothing, mostly.
    before: Vec<Arc<JournalRecord>>,
    record: Arc<JournalRecord>,
    done: oneshot::Sender<Result<(), PublishError>>,
}

impl Entry {
    fn records(&self) -> impl Iterator<Item = &JournalRecord> {
        self.before.iter().chain([&self.record]).map(AsRef::as_ref)
    }
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
        tokio::spawn(Gathering { journal, clock, receiver, waiting: Waiting::default() }.run());
        JournalWriter { entries }
    }

    /// Resolves when the record is durable.
    ///
    /// # Errors
    /// When its message was not confirmed: it may have been written all the same.
    pub async fn record(&self, record: Arc<JournalRecord>) -> Result<(), PublishError> {
        self.enter(Vec::new(), record).await
    }

    /// Resolves when all are durable, the record in no case sooner than what comes before it: in one message if they
    /// are no more than one holds, and else in turn.
    ///
    /// # Errors
    /// When a message was not confirmed: it may have been written all the same.
    pub async fn record_after(
        &self,
        before: Vec<Arc<JournalRecord>>,
        record: Arc<JournalRecord>,
    ) -> Result<(), PublishError> {
        let bytes: usize = before.iter().chain([&record]).map(|record| weight(record)).sum();
        if before.len() < MAX_RECORDS && bytes <= MAX_BATCH_BYTES {
            return self.enter(before, record).await;
        }
        try_join_all(before.into_iter().map(|record| self.record(record))).await?;
        self.record(record).await
    }

    async fn enter(
        &self,
        before: Vec<Arc<JournalRecord>>,
        record: Arc<JournalRecord>,
    ) -> Result<(), PublishError> {
        let (done, answer) = oneshot::channel();
        let stopped = || PublishError::Refused { reason: "the journal writer has stopped".to_owned() };
        self.entries.send(Entry { before, record, done }).await.map_err(|_| stopped())?;
        answer.await.map_err(|_| stopped())?
    }
}

/// What leaves with the next message.
#[derive(Default)]
struct Waiting {
    entries: Vec<Entry>,
    records: usize,
    bytes: usize,
    /// Somebody waits for one of them.
    is_awaited: bool,
}

impl Waiting {
    /// Answers how long it may wait for company.
    fn put(&mut self, entry: Entry) -> Duration {
        for record in entry.records() {
            self.records += 1;
            self.bytes += weight(record);
        }
        let (patience, is_awaited) = patience(&entry.record);
        self.is_awaited |= is_awaited;
        self.entries.push(entry);
        patience
    }

    fn is_full(&self) -> bool {
        self.records >= FULL || self.is_stuffed()
    }

    fn is_stuffed(&self) -> bool {
        self.records >= MAX_RECORDS || self.bytes >= MAX_BATCH_BYTES
    }
}

struct Gathering {
    journal: Arc<dyn Journal>,
    clock: Arc<dyn Clock>,
    receiver: mpsc::Receiver<Entry>,
    waiting: Waiting,
}

impl Gathering {
    async fn run(mut self) {
        let mut under_way: FuturesUnordered<BoxFuture<'static, ()>> = FuturesUnordered::new();
        // One timer, moved once for a batch: a timer made for every record would wake the runtime's driver for each.
        let mut leave_at = std::pin::pin!(tokio::time::sleep_until(Instant::now()));
        let mut is_open = true;
        while is_open || !self.waiting.entries.is_empty() || !under_way.is_empty() {
            let room = if self.waiting.is_full() { MAX_UNDER_WAY } else { MAX_UNDER_WAY_EARLY };
            let may_leave = !self.waiting.entries.is_empty() && under_way.len() < room;
            let may_leave_early = self.waiting.is_full() || self.waiting.is_awaited && under_way.is_empty();
            let is_time = || Instant::now() >= leave_at.deadline();
            if may_leave && (may_leave_early || !is_open || is_time()) {
                under_way.push(self.send_waiting());
                continue;
            }
            tokio::select! {
                biased;
                entry = self.receiver.recv(), if is_open && !self.waiting.is_stuffed() => match entry {
                    Some(entry) => {
                        let is_first = self.waiting.entries.is_empty();
                        let latest = Instant::now() + self.put(entry);
                        if is_first || latest < leave_at.deadline() {
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

    /// With whatever else is there already, which comes along without another turn of the loop. Answers how long all of
    /// it may wait.
    fn put(&mut self, entry: Entry) -> Duration {
        let mut patience = self.waiting.put(entry);
        while !self.waiting.is_stuffed() {
            let Ok(more) = self.receiver.try_recv() else { break };
            patience = patience.min(self.waiting.put(more));
        }
        patience
    }

    fn send_waiting(&mut self) -> BoxFuture<'static, ()> {
        let Waiting { entries, records: count, .. } = std::mem::take(&mut self.waiting);
        let (mut records, mut callers) = (Vec::with_capacity(count), Vec::with_capacity(entries.len()));
        for Entry { before, record, done } in entries {
            records.extend(before);
            records.push(record);
            callers.push(done);
        }
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

/// How long a record may wait for company, and whether anybody waits for it: a producer for an accepted record and for
/// what that holds, and a worker's slot for what is not about a try.
fn patience(record: &JournalRecord) -> (Duration, bool) {
    match record {
        JournalRecord::Accepted(_) | JournalRecord::Held(_) => (LINGER, true),
        JournalRecord::Deferred(_) | JournalRecord::Released(_) | JournalRecord::Concluded(_) => {
            (LONG_LINGER, true)
        }
        JournalRecord::Attempted(_) => (LONG_LINGER, false),
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
