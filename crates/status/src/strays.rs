//! Brings back what fell off the ordinary path, or keeps it for people. Every status process does it: strays are
//! leased, and whatever is done about one may be done twice.
//!
//! **What is done about a stray is confirmed, then it is acknowledged.** Until then it is tried again, a little later
//! each time, beside the others: one that cannot be dealt with does not hold up those that can.
//!
//! | stray | becomes |
//! |---|---|
//! | unroutable | published again, with a check |
//! | given out too often | `failed(internal)`, unless the log, once the journal is read so far, knows that it has gone on from there; a fan-out: its deliveries, each by itself |
//! | set aside by a reader that could not read it, and can be read now | published again, a minute later: that reader may still be there |
//! | a journal batch that can be read | written to the log |
//! | what cannot be read, and what a producer published | kept; its delivery, if it is one, is healed from the log |

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use postrider_contract::clock::{Clock, Timestamp};
use postrider_contract::delivery::{Delivery, Work};
use postrider_contract::journal::{ConcludedRecord, Conclusion, JournalBatch, JournalRecord};
use postrider_contract::log::fold;
use postrider_contract::outcome::FailureReason;
use postrider_contract::ports::{
    DeliveryLog, Journal, Lease, Publication, PublishError, QueueError, Route, StoreError, Stray, StrayCause,
    StrayContents, StrayPlace, Strays, WorkQueue,
};
use postrider_contract::wire::WireError;
use postrider_service::failpoint::{InjectedFailure, hit};
use postrider_service::lifecycle::Stop;
use postrider_service::metrics::{StatusMetrics, StrayReason};

/// Strays of one place in hand. They are few; the bound is for a flood.
const PREFETCH: u16 = 64;
/// Publishes confirmed together, as in any expanding of a fan-out.
const PAGE: usize = 128;
/// How much later something is published that a reader could not read: while an older version is being replaced, it
/// may come back as often as this.
const READER_REPLACED_WITHIN: Duration = Duration::from_secs(60);
/// A delivery is not concluded for being given out too often before the journal is read this far beyond the moment at
/// which it was taken: what is missing may say that its try was made, or that it is held. So late may a record come into
/// the journal whose writer is gone by then, and so much may clocks differ; nobody waits for the conclusion.
const JOURNAL_READ_BEYOND: Duration = Duration::from_secs(5);
const TRY_AGAIN: Duration = Duration::from_millis(250);
const TRY_AGAIN_AT_MOST: Duration = Duration::from_secs(30);

/// What bringing back works with.
#[derive(Clone)]
pub struct StrayParts {
    pub strays: Arc<dyn Strays>,
    pub queue: Arc<dyn WorkQueue>,
    pub journal: Arc<dyn Journal>,
    pub log: Arc<dyn DeliveryLog>,
    pub metrics: Arc<StatusMetrics>,
    pub clock: Arc<dyn Clock>,
}

#[derive(Debug, thiserror::Error)]
enum StrayError {
    #[error("the log does not answer")]
    Store(#[from] StoreError),
    #[error("the queue does not answer")]
    Queue(#[from] QueueError),
    #[error("cannot publish")]
    Publish(#[from] PublishError),
    #[error("the journal is behind: the try may have been made")]
    JournalBehind,
    #[error(transparent)]
    Injected(#[from] InjectedFailure),
}

/// Until told to stop. What was kept as unreadable is looked at once more first: this may be a newer version.
///
/// # Errors
/// When strays cannot be read and that will not mend itself.
pub async fn run_strays(parts: StrayParts, stop: Stop) -> Result<(), QueueError> {
    match parts.strays.review().await {
        Ok(0) => {}
        Ok(count) => tracing::info!(count, "looking once more at messages that could not be read"),
        Err(error) => tracing::warn!(
            error = &error as &dyn std::error::Error,
            "cannot look once more at messages that could not be read; the next start will"
        ),
    }
    let [dead, catch_all] = StrayPlace::ALL.map(|place| parts.empty(place, &stop));
    tokio::try_join!(dead, catch_all).map(|((), ())| ())
}

impl StrayParts {
    async fn empty(&self, place: StrayPlace, stop: &Stop) -> Result<(), QueueError> {
        let mut source = self.strays.gather(place, PREFETCH).await?;
        let mut in_hand = FuturesUnordered::new();
        loop {
            tokio::select! {
                // What is in hand is given back as it is dropped.
                () = stop.draining() => return Ok(()),
                Some(()) = in_hand.next(), if !in_hand.is_empty() => {}
                lease = source.next() => match lease {
                    Ok(lease) => in_hand.push(self.settle(lease)),
                    Err(QueueError::Closed) if stop.is_draining() => return Ok(()),
                    Err(error) => return Err(error),
                },
            }
        }
    }

    async fn settle(&self, lease: Lease<Stray>) {
        let Lease { message: stray, ticket, redelivered: _ } = lease;
        let reason = reason_of(&stray);
        tell(&stray, reason);
        let taken_at = self.clock.now();
        let mut wait = TRY_AGAIN;
        // Deliveries of a fan-out that were published: what failed behind them does not publish them once more.
        let mut published = 0;
        while let Err(error) = self.bring_back(&stray, taken_at, &mut published).await {
            match &error {
                // Each of them waits for it, and how far the journal is behind is told by its metric.
                StrayError::JournalBehind => {}
                StrayError::Store(_)
                | StrayError::Queue(_)
                | StrayError::Publish(_)
                | StrayError::Injected(_) => tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    queue = stray.origin,
                    reason = reason.word(),
                    "cannot deal with a stray message yet; trying again"
                ),
            }
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(TRY_AGAIN_AT_MOST);
        }
        self.metrics.strays.at(reason).inc();
        ticket.acknowledge();
    }

    async fn bring_back(
        &self,
        stray: &Stray,
        taken_at: Timestamp,
        published: &mut usize,
    ) -> Result<(), StrayError> {
        match &stray.contents {
            StrayContents::Work(Work::Deliver(delivery)) => {
                self.bring_back_one(stray, taken_at, delivery).await?;
            }
            StrayContents::Work(Work::FanOut(fan_out)) => {
                self.publish(fan_out.clone().into_whole().collect(), route_of(&stray.cause), published)
                    .await?;
            }
            StrayContents::Journal(batch) => {
                hit("stray.before_write")?;
                let records = batch.records.iter().map(|record| JournalRecord::clone(record));
                match self.log.apply(&fold(records)).await {
                    Err(StoreError::Corrupt { reason }) => {
                        tracing::error!(reason, "the log does not take a journal batch; it is kept");
                        self.keep(stray).await?;
                    }
                    written => written?,
                }
            }
            StrayContents::Produced(_) | StrayContents::Unreadable(_) => self.keep(stray).await?,
        }
        Ok(hit("stray.before_acknowledge")?)
    }

    async fn keep(&self, stray: &Stray) -> Result<(), StrayError> {
        hit("stray.before_keep")?;
        Ok(self.strays.keep(stray).await?)
    }

    async fn bring_back_one(
        &self,
        stray: &Stray,
        taken_at: Timestamp,
        delivery: &Delivery,
    ) -> Result<(), StrayError> {
        match stray.cause {
            StrayCause::Unroutable | StrayCause::SetAside { .. } => {
                self.publish(vec![delivery.clone()], route_of(&stray.cause), &mut 0).await
            }
            StrayCause::GivenOutTooOften => self.conclude(delivery, taken_at).await,
        }
    }

    async fn publish(
        &self,
        deliveries: Vec<Delivery>,
        route: Route,
        published: &mut usize,
    ) -> Result<(), StrayError> {
        let now = self.clock.now();
        let publications: Vec<Publication> = deliveries
            .into_iter()
            .skip(*published)
            .map(|delivery| Publication { route, work: Work::Deliver(delivery.published_again(now)) })
            .collect();
        for page in publications.chunks(PAGE) {
            hit("stray.before_publish")?;
            self.queue.publish(page.to_vec()).await?;
            *published += page.len();
        }
        Ok(())
    }

    /// A record implies that its follow-up exists: the next try, the row in the waiting room, the same try put off. Then
    /// this message is a copy, and there is nothing to end. Whatever was done with this message was recorded before it
    /// was taken, so the log is asked once all of that is in it.
    async fn conclude(&self, delivery: &Delivery, taken_at: Timestamp) -> Result<(), StrayError> {
        let now = self.clock.now();
        if self.journal.settled_until(now).await? < taken_at.plus(JOURNAL_READ_BEYOND) {
            return Err(StrayError::JournalBehind);
        }
        if self.log.has_moved_on(delivery.reference.id, delivery.position).await? {
            return Ok(());
        }
        hit("stray.before_conclusion")?;
        let conclusion = Conclusion::Failed(FailureReason::Internal);
        let record = ConcludedRecord { delivery: delivery.reference.clone(), conclusion, at: now };
        let records = vec![Arc::new(JournalRecord::Concluded(record))];
        Ok(self.journal.append(JournalBatch { written_at: now, records }).await?)
    }
}

fn route_of(cause: &StrayCause) -> Route {
    match cause {
        StrayCause::Unroutable | StrayCause::GivenOutTooOften => Route::Release,
        StrayCause::SetAside { .. } => Route::Retry { delay: READER_REPLACED_WITHIN },
    }
}

fn reason_of(stray: &Stray) -> StrayReason {
    match (&stray.contents, &stray.cause) {
        (StrayContents::Unreadable(WireError::UnknownVersion { .. }), _) => StrayReason::UnknownVersion,
        (StrayContents::Unreadable(_), _) => StrayReason::Unreadable,
        (_, StrayCause::Unroutable) => StrayReason::Unroutable,
        (_, StrayCause::GivenOutTooOften) => StrayReason::GivenOutTooOften,
        (_, StrayCause::SetAside { .. }) => StrayReason::ReadableAgain,
    }
}

/// Once for each stray, with whatever names it; never its bytes.
fn tell(stray: &Stray, reason: StrayReason) {
    let (queue, reason, bytes) = (stray.origin.as_str(), reason.word(), stray.bytes.len());
    match &stray.contents {
        StrayContents::Work(Work::Deliver(delivery)) => tracing::error!(
            queue,
            reason,
            delivery.id = %delivery.reference.id,
            webhook.id = %delivery.reference.webhook,
            "a delivery fell off its path"
        ),
        StrayContents::Work(Work::FanOut(_)) => {
            tracing::error!(queue, reason, bytes, "a fan-out fell off its path");
        }
        StrayContents::Journal(_) => {
            tracing::error!(queue, reason, bytes, "a journal batch fell off its path")
        }
        StrayContents::Produced(_) => {
            let became = match stray.cause {
                StrayCause::Unroutable => "found no way back in; it is put off once more",
                StrayCause::GivenOutTooOften | StrayCause::SetAside { .. } => {
                    "could never be settled; it is refused"
                }
            };
            tracing::error!(queue, reason, bytes, "a producer's message {became}");
        }
        StrayContents::Unreadable(error) => {
            tracing::error!(queue, reason, bytes, %error, "a message that nobody can read is kept");
        }
    }
}

#[cfg(test)]
mod tests;
