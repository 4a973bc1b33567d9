//! Settling: what is written down before a message is let go of.
//!
//! The order is the no-loss argument, and holds for every way a delivery can leave this worker:
//!
//! 1. the **successor is confirmed** (the next try in its lane; for a hold, the journal record is the successor),
//! 2. the **journal record is confirmed**,
//! 3. the **lease is acknowledged**.
//!
//! So a journal record implies that its follow-up exists, and a crash between two steps repeats work but never
//! loses it. What cannot be confirmed is tried again for as long as the lease is held; meanwhile [`Trouble`] keeps
//! the worker from sending more (only a page of a fan-out does not: `fan_out`). Nothing is ever acknowledged unconfirmed
//! or dropped.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use postrider_contract::attempt::Attempt;
use postrider_contract::clock::Clock;
use postrider_contract::delivery::{Check, Delivery, Work};
use postrider_contract::journal::{
    AttemptedRecord, ConcludedRecord, Conclusion, DeferredRecord, HeldRecord, JournalRecord,
};
use postrider_contract::outcome::{HoldReason, Outcome};
use postrider_contract::ports::{Publication, PublishError, Route, WorkQueue};
use postrider_service::failpoint::{InjectedFailure, hit};
use postrider_service::journal_writer::JournalWriter;
use postrider_service::lifecycle::Stop;

use crate::taken::Taken;

pub(crate) const FIRST_PAUSE: Duration = Duration::from_millis(50);
pub(crate) const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// Why a delivery was given back instead of settled. It will come again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unsettled {
    #[error("the worker was stopped before the queue confirmed")]
    Halted,
    #[error(transparent)]
    Injected(#[from] InjectedFailure),
}

/// How many settlements cannot be confirmed at the moment. While it is not zero, nothing more is sent.
#[derive(Clone, Debug, Default)]
pub struct Trouble(Arc<AtomicUsize>);

impl Trouble {
    #[must_use]
    pub fn is_there(&self) -> bool {
        self.0.load(Ordering::Relaxed) > 0
    }

    /// Told once for all that is in trouble together.
    fn enter(&self, what: &'static str, error: &PublishError) -> TroubleGuard {
        if self.0.fetch_add(1, Ordering::Relaxed) == 0 {
            tracing::warn!(%error, what, "the queue does not confirm; trying again, and sending nothing meanwhile");
        }
        TroubleGuard(Arc::clone(&self.0))
    }
}

struct TroubleGuard(Arc<AtomicUsize>);

impl Drop for TroubleGuard {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Settles deliveries.
#[derive(Clone)]
pub struct Settle {
    pub queue: Arc<dyn WorkQueue>,
    pub journal: JournalWriter,
    pub clock: Arc<dyn Clock>,
    pub trouble: Trouble,
    pub stop: Stop,
}

impl Settle {
    /// After a try.
    ///
    /// # Errors
    /// When it was given back instead.
    pub async fn attempted(&self, taken: Taken, attempt: Attempt, outcome: Outcome) -> Result<(), Unsettled> {
        let Taken { delivery, ticket, .. } = taken;
        let record = AttemptedRecord {
            delivery: delivery.reference.clone(),
            position: delivery.position,
            attempt,
            outcome,
        };
        match outcome {
            Outcome::Retry { at, .. } => {
                let now = self.clock.now();
                let route = Route::Retry { delay: at.since(now) };
                hit("settle.before_successor")?;
                self.publish(vec![Publication { route, work: Work::Deliver(delivery.retry(at, now)) }])
                    .await?;
            }
            Outcome::Delivered
            | Outcome::Failed { .. }
            | Outcome::Held { .. }
            | Outcome::Canceled { .. }
            | Outcome::Expired => {}
        }
        hit("settle.after_successor")?;
        self.record(JournalRecord::Attempted(record)).await?;
        hit("settle.after_journal")?;
        ticket.acknowledge();
        hit("settle.after_acknowledge")?;
        Ok(())
    }

    /// Into the waiting room: the record is the delivery's only copy.
    ///
    /// # Errors
    /// When it was given back instead.
    pub async fn held(&self, taken: Taken, why: HoldReason) -> Result<(), Unsettled> {
        let record = HeldRecord { delivery: taken.delivery.held(), why, since: self.clock.now() };
        hit("hold.before_journal")?;
        self.record(JournalRecord::Held(record)).await?;
        hit("hold.after_journal")?;
        taken.ticket.acknowledge();
        hit("hold.after_acknowledge")?;
        Ok(())
    }

    /// Ended without a try.
    ///
    /// # Errors
    /// When it was given back instead.
    pub async fn concluded(&self, taken: Taken, conclusion: Conclusion) -> Result<(), Unsettled> {
        let delivery = taken.delivery.reference;
        let record = ConcludedRecord { delivery, conclusion, at: self.clock.now() };
        hit("conclude.before_journal")?;
        self.record(JournalRecord::Concluded(record)).await?;
        hit("conclude.after_journal")?;
        taken.ticket.acknowledge();
        Ok(())
    }

    /// Tried already, but its row in the waiting room may still be there and hold a place in the window: a record of
    /// the same position takes the row out and changes nothing else.
    ///
    /// # Errors
    /// When it was given back instead.
    pub async fn left_room(&self, taken: Taken) -> Result<(), Unsettled> {
        let Delivery { reference: delivery, position, due_at, .. } = taken.delivery;
        self.record(JournalRecord::Deferred(DeferredRecord { delivery, position, due_at })).await?;
        taken.ticket.acknowledge();
        Ok(())
    }

    /// The same try, later, at no cost of a try.
    ///
    /// # Errors
    /// When it was given back instead.
    pub async fn deferred(&self, taken: Taken, delay: Duration) -> Result<(), Unsettled> {
        let now = self.clock.now();
        let delivery = taken.delivery.deferred(now.plus(self.queue.parked_for(delay)), now);
        let record = DeferredRecord {
            delivery: delivery.reference.clone(),
            position: delivery.position,
            due_at: delivery.due_at,
        };
        let route = Route::Retry { delay };
        hit("defer.before_successor")?;
        self.publish(vec![Publication { route, work: Work::Deliver(delivery) }]).await?;
        hit("defer.after_successor")?;
        self.record(JournalRecord::Deferred(record)).await?;
        hit("defer.after_journal")?;
        taken.ticket.acknowledge();
        Ok(())
    }

    /// Back into a lane for the rest of its delay: it came too early, and nothing about it has changed. It is
    /// marked as not parked, so that it is taken as it comes the next time.
    ///
    /// # Errors
    /// When it was given back instead.
    pub async fn parked_again(&self, taken: Taken, rest: Duration) -> Result<(), Unsettled> {
        let delivery = Delivery { parked_for: Duration::ZERO, ..taken.delivery };
        let route = Route::Retry { delay: rest };
        hit("park.before_successor")?;
        self.publish(vec![Publication { route, work: Work::Deliver(delivery) }]).await?;
        hit("park.after_successor")?;
        taken.ticket.acknowledge();
        Ok(())
    }

    /// Publishes until confirmed. After a doubtful answer that means again, under the same ids.
    ///
    /// # Errors
    /// Only when the worker is stopped first.
    pub async fn publish(&self, publications: Vec<Publication>) -> Result<(), Unsettled> {
        let mut is_repeat = false;
        self.until_confirmed("publish", || {
            let mut publications = publications.clone();
            if std::mem::replace(&mut is_repeat, true) {
                // An earlier copy may have arrived.
                publications.iter_mut().for_each(mark_as_repeat);
            }
            self.queue.publish(publications)
        })
        .await
    }

    /// Journals until confirmed.
    ///
    /// # Errors
    /// Only when the worker is stopped first.
    pub async fn record(&self, record: JournalRecord) -> Result<(), Unsettled> {
        let record = Arc::new(record);
        self.until_confirmed("journal", || self.journal.record(Arc::clone(&record))).await
    }

    async fn until_confirmed<F>(
        &self,
        what: &'static str,
        mut write: impl FnMut() -> F,
    ) -> Result<(), Unsettled>
    where
        F: Future<Output = Result<(), PublishError>>,
    {
        let Err(error) = write().await else { return Ok(()) };
        let _no_more_is_sent = self.trouble.enter(what, &error);
        let mut pause = FIRST_PAUSE;
        loop {
            tokio::select! {
                () = self.stop.halted() => return Err(Unsettled::Halted),
                () = tokio::time::sleep(pause) => {}
            }
            if write().await.is_ok() {
                return Ok(());
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
}

fn mark_as_repeat(publication: &mut Publication) {
    match &mut publication.work {
        Work::Deliver(delivery) => delivery.check = Check::LookUp,
        Work::FanOut(fan_out) => fan_out.deliveries.iter_mut().for_each(|one| one.check = Check::LookUp),
    }
}

#[cfg(test)]
mod tests;
