//! Was this try made already? One batched look-up in the log, asked only of what may exist twice.
//!
//! It never stands in the way: an answer that does not come within 50 ms counts as "no", and while the store
//! is failing nobody asks. A duplicate is better than a delay, and a delay better than a loss.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use postrider_contract::delivery::Position;
use postrider_contract::ids::DeliveryId;
use postrider_contract::ports::DeliveryLog;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::{Instant, timeout};

/// How long a delivery waits for the answer.
const BOUND: Duration = Duration::from_millis(50);
/// How long the first question of a batch waits for company.
const LINGER: Duration = Duration::from_millis(1);
/// A statement of more grows faster than it saves.
const MAX_BATCH: usize = 256;
/// Statements under way at once; with more, the store is what is slow.
const MAX_UNDER_WAY: usize = 4;
/// After a failure nobody asks for so long.
const SKIP_FOR: Duration = Duration::from_secs(1);

/// What the log says of a try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recorded {
    /// The try was made, or the delivery is concluded: there is nothing left to do.
    Yes,
    /// It was not, or nobody could say.
    No,
}

struct Question {
    id: DeliveryId,
    position: Position,
    answer: oneshot::Sender<bool>,
}

/// A handle; cheap to clone. The task behind it ends with the last handle.
#[derive(Clone)]
pub struct Checker {
    questions: mpsc::Sender<Question>,
    health: Arc<Health>,
}

/// Until when the store is left alone, in milliseconds since `origin`.
struct Health {
    origin: Instant,
    skip_until: AtomicU64,
}

impl Health {
    fn elapsed(&self) -> u64 {
        u64::try_from(self.origin.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn note_failure(&self) {
        let until = self.elapsed().saturating_add(u64::try_from(SKIP_FOR.as_millis()).unwrap_or(u64::MAX));
        self.skip_until.store(until, Ordering::Relaxed);
    }

    fn is_failing(&self) -> bool {
        self.elapsed() < self.skip_until.load(Ordering::Relaxed)
    }
}

impl Checker {
    /// Starts the gathering task on the current runtime.
    #[must_use]
    pub fn start(log: Arc<dyn DeliveryLog>) -> Self {
        let (questions, receiver) = mpsc::channel(MAX_BATCH * MAX_UNDER_WAY);
        let health = Arc::new(Health { origin: Instant::now(), skip_until: AtomicU64::new(0) });
        tokio::spawn(gather(log, receiver, Arc::clone(&health)));
        Checker { questions, health }
    }

    pub async fn is_recorded(&self, id: DeliveryId, position: Position) -> Recorded {
        if self.health.is_failing() {
            return Recorded::No;
        }
        let (answer, answered) = oneshot::channel();
        let ask = async {
            self.questions.send(Question { id, position, answer }).await.ok()?;
            answered.await.ok()
        };
        match timeout(BOUND, ask).await {
            Ok(Some(true)) => Recorded::Yes,
            Ok(Some(false) | None) => Recorded::No,
            Err(_) => {
                self.health.note_failure();
                Recorded::No
            }
        }
    }
}

async fn gather(log: Arc<dyn DeliveryLog>, mut questions: mpsc::Receiver<Question>, health: Arc<Health>) {
    let under_way = Arc::new(Semaphore::new(MAX_UNDER_WAY));
    loop {
        let mut batch = Vec::new();
        if questions.recv_many(&mut batch, MAX_BATCH).await == 0 {
            return;
        }
        if batch.len() < MAX_BATCH {
            tokio::time::sleep(LINGER).await;
            while batch.len() < MAX_BATCH {
                let Ok(question) = questions.try_recv() else { break };
                batch.push(question);
            }
        }
        let Ok(permit) = Arc::clone(&under_way).acquire_owned().await else { return };
        let (log, health) = (Arc::clone(&log), Arc::clone(&health));
        tokio::spawn(async move {
            ask(log.as_ref(), batch, &health).await;
            drop(permit);
        });
    }
}

async fn ask(log: &dyn DeliveryLog, batch: Vec<Question>, health: &Health) {
    let tries: Vec<_> = batch.iter().map(|question| (question.id, question.position)).collect();
    match timeout(BOUND, log.is_recorded(&tries)).await {
        Ok(Ok(recorded)) => {
            for (question, is_recorded) in batch.into_iter().zip(recorded) {
                // Whoever asked may have run out of patience; it then sends, which is what it was told to do.
                question.answer.send(is_recorded).unwrap_or_default();
            }
        }
        Ok(Err(error)) => {
            tracing::warn!(%error, "cannot look up whether tries were made; they are made again");
            health.note_failure();
        }
        Err(_) => health.note_failure(),
    }
}

#[cfg(test)]
mod tests;
