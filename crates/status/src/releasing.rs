//! Releases from the waiting room, level-triggered: each round looks at what is there and does what may be done,
//! so nothing depends on a signal having been seen.
//!
//! Order: published with confirm and a check → marked as released → shown as pending in the log. A crash in between
//! publishes again, and the check drops what was tried already.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use postrider_contract::clock::Timestamp;
use postrider_contract::delivery::Work;
use postrider_contract::ids::{DeliveryId, WebhookId};
use postrider_contract::journal::{JournalRecord, ReleasedRecord};
use postrider_contract::log::{LogWrites, fold};
use postrider_contract::ports::{HeldDelivery, Publication, PublishError, RoomSummary, Route, StoreError};
use postrider_contract::profile::PausedRule;
use postrider_contract::webhook::WebhookState;
use postrider_service::directory::{Found, WebhookEntry};
use postrider_service::failpoint;
use tokio::time::Instant;

use crate::duties::DutyParts;
use crate::window::{Tokens, Window};

/// What one webhook releases in one round, so that the next one's turn comes.
const PER_ROUND: u32 = 256;
/// A released delivery that was not tried for this long is taken to be lost sight of.
const LOST_AFTER: Duration = Duration::from_secs(600);
const REOPEN_EVERY: Duration = Duration::from_secs(60);

#[derive(Debug, thiserror::Error)]
pub(crate) enum ReleaseError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("cannot publish released deliveries")]
    Publish(#[from] PublishError),
    #[error(transparent)]
    Injected(#[from] failpoint::InjectedFailure),
}

pub(crate) struct Releasing {
    parts: DutyParts,
    paces: HashMap<WebhookId, Pace>,
    reopened_at: Instant,
    /// Webhooks whose last release could not be published: told of when they begin to fail.
    failing: HashSet<WebhookId>,
    /// What was published before the store refused to mark it.
    unmarked: Option<Unmarked>,
}

/// Published, and not yet marked as released.
struct Unmarked {
    marks: Vec<(DeliveryId, u32)>,
    writes: LogWrites,
    at: Timestamp,
}

/// How fast one webhook may be released to.
struct Pace {
    window: Window,
    tokens: Option<Tokens>,
    refilled_at: Instant,
}

impl Pace {
    /// A bucket that may not be full yet is kept although nothing waits: a new one would give a token too early.
    fn is_in_use(&self) -> bool {
        self.tokens.is_some() && self.refilled_at.elapsed() < Tokens::FULL_AFTER
    }
}

/// What a round found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Round {
    /// Nothing waits.
    Empty,
    /// Something waits, or waits to be tried.
    Waiting { released: u32 },
}

/// What may be released to a webhook now.
enum Allowance {
    Window,
    Rate(std::num::NonZeroU32),
    Nothing,
}

impl Releasing {
    pub(crate) fn new(parts: DutyParts) -> Self {
        Releasing {
            parts,
            paces: HashMap::new(),
            reopened_at: Instant::now(),
            failing: HashSet::new(),
            unmarked: None,
        }
    }

    pub(crate) async fn round(&mut self) -> Result<Round, ReleaseError> {
        self.finish_marking().await?;
        self.reopen().await?;
        let summaries = self.parts.room.summaries().await?;
        let held: u64 = summaries.iter().map(|summary| summary.waiting).sum();
        self.parts.metrics.held.set(i64::try_from(held).unwrap_or(i64::MAX));
        let seen = self.parts.board.take();
        for (webhook, seen) in seen {
            if let Some(pace) = self.paces.get_mut(&webhook) {
                pace.window.note(seen);
            }
        }
        self.paces.retain(|webhook, pace| {
            pace.is_in_use() || summaries.iter().any(|summary| summary.webhook == *webhook)
        });
        if summaries.is_empty() {
            return Ok(Round::Empty);
        }
        self.failing.retain(|webhook| summaries.iter().any(|summary| summary.webhook == *webhook));
        self.release_each(&summaries).await
    }

    /// Each webhook by itself: what cannot be published for one is no reason to let the others wait. Only where
    /// nothing could be published is the round a failure.
    async fn release_each(&mut self, summaries: &[RoomSummary]) -> Result<Round, ReleaseError> {
        let (mut released, mut first_error) = (0, None);
        for summary in summaries.iter().filter(|summary| summary.waiting > 0) {
            let allowed = self.allowed(summary);
            if allowed == 0 {
                continue;
            }
            match self.release(summary.webhook, allowed.min(PER_ROUND)).await {
                Ok(count) => {
                    self.failing.remove(&summary.webhook);
                    let pace = self.paces.get_mut(&summary.webhook);
                    if let Some(tokens) = pace.and_then(|pace| pace.tokens.as_mut()) {
                        tokens.spend(count);
                    }
                    released += count;
                }
                Err(ReleaseError::Publish(error)) => {
                    if self.failing.insert(summary.webhook) {
                        tracing::warn!(
                            webhook.id = %summary.webhook,
                            error = &error as &dyn std::error::Error,
                            "cannot publish what waits for a webhook; it waits on"
                        );
                    }
                    first_error = first_error.or(Some(error));
                }
                Err(error @ (ReleaseError::Store(_) | ReleaseError::Injected(_))) => return Err(error),
            }
        }
        match first_error {
            Some(error) if released == 0 => Err(error.into()),
            Some(_) | None => Ok(Round::Waiting { released }),
        }
    }

    async fn reopen(&mut self) -> Result<(), StoreError> {
        if self.reopened_at.elapsed() < REOPEN_EVERY {
            return Ok(());
        }
        self.reopened_at = Instant::now();
        let lost = self.parts.room.reopen_released_before(self.parts.clock.now().minus(LOST_AFTER)).await?;
        if lost > 0 {
            tracing::warn!(count = lost, "released deliveries were not tried for ten minutes and wait again");
        }
        Ok(())
    }

    fn allowed(&mut self, summary: &RoomSummary) -> u32 {
        let (allowance, cap) = match self.parts.directory.webhook(summary.webhook) {
            Found::Known(entry) => {
                (allowance(&entry), entry.webhook.max_in_flight.map(|cap| u32::from(cap.get())))
            }
            // A worker concludes what is meant for a deleted webhook.
            Found::Deleted => (Allowance::Window, None),
            Found::Unknown => (Allowance::Nothing, None),
        };
        let now = Instant::now();
        let new = || Pace { window: Window::new(), tokens: None, refilled_at: now };
        let pace = self.paces.entry(summary.webhook).or_insert_with(new);
        let in_flight = u32::try_from(summary.released).unwrap_or(u32::MAX);
        let window = pace.window.size().min(cap.unwrap_or(u32::MAX)).saturating_sub(in_flight);
        match allowance {
            Allowance::Nothing => 0,
            Allowance::Window => {
                pace.tokens = None;
                window
            }
            Allowance::Rate(rate) => {
                if pace.tokens.is_none_or(|tokens| tokens.rate() != rate) {
                    pace.tokens = Some(Tokens::new(rate));
                }
                let elapsed = now - std::mem::replace(&mut pace.refilled_at, now);
                pace.tokens.as_mut().map_or(0, |tokens| {
                    tokens.refill(elapsed);
                    tokens.available().min(window)
                })
            }
        }
    }

    /// What a failed mark left undone comes first: until it is marked, the same deliveries would be published again
    /// in every round, for as long as the store can be read but not written.
    async fn finish_marking(&mut self) -> Result<(), StoreError> {
        if let Some(Unmarked { marks, writes, at }) = &self.unmarked {
            self.parts.room.mark_released(marks.clone(), *at).await?;
            self.parts.log.apply(writes).await?;
            self.unmarked = None;
        }
        Ok(())
    }

    async fn release(&mut self, webhook: WebhookId, count: u32) -> Result<u32, ReleaseError> {
        let held = self.parts.room.oldest(webhook, count).await?;
        if held.is_empty() {
            return Ok(0);
        }
        let now = self.parts.clock.now();
        let again = |held: HeldDelivery| held.delivery.published_again(now);
        let deliveries: Vec<_> = held.into_iter().map(again).collect();
        let marks =
            deliveries.iter().map(|delivery| (delivery.reference.id, delivery.position.holds)).collect();
        let records = deliveries.iter().map(|delivery| {
            JournalRecord::Released(ReleasedRecord {
                delivery: delivery.reference.clone(),
                position: delivery.position,
                released_at: now,
            })
        });
        let writes = fold(records.collect::<Vec<_>>());
        let publication = |delivery| Publication { route: Route::Release, work: Work::Deliver(delivery) };
        let released = u32::try_from(deliveries.len()).unwrap_or(u32::MAX);
        self.parts.queue.publish(deliveries.into_iter().map(publication).collect()).await?;
        self.unmarked = Some(Unmarked { marks, writes, at: now });
        failpoint::hit("release.after_publish")?;
        self.finish_marking().await?;
        Ok(released)
    }
}

fn allowance(entry: &WebhookEntry) -> Allowance {
    let webhook = &entry.webhook;
    match &webhook.state {
        WebhookState::Paused { .. } => match entry.profile.profile.definition().webhook.paused {
            PausedRule::Hold => Allowance::Nothing,
            // A worker concludes it.
            PausedRule::Skip => Allowance::Window,
        },
        WebhookState::Disabled { .. } => Allowance::Window,
        WebhookState::Active => {
            let rate = webhook.rate_limit_per_second.or(webhook.resume_rate_per_second);
            rate.map_or(Allowance::Window, Allowance::Rate)
        }
    }
}

#[cfg(test)]
mod tests;
