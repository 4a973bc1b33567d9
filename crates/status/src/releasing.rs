//! Releases from the waiting room, level-triggered: each round looks at what is there and does what may be done,
//! so nothing depends on a signal having been seen.
//!
//! A round is a few statements, however many webhooks wait: what is there → the oldest of each → published with
//! confirm and a check → marked as released → shown as pending in the log. A crash in between publishes again, and
//! the check drops what was tried already.

mod pace;
mod turns;
mod yielding;

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use postrider_contract::clock::Timestamp;
use postrider_contract::delivery::{Delivery, Work};
use postrider_contract::ids::{DeliveryId, WebhookId};
use postrider_contract::journal::{JournalRecord, ReleasedRecord};
use postrider_contract::log::{LogWrites, fold};
use postrider_contract::ports::{Publication, PublishError, RoomSummary, Route, StoreError};
use postrider_contract::profile::PausedRule;
use postrider_contract::webhook::WebhookState;
use postrider_service::directory::{Found, WebhookEntry};
use postrider_service::failpoint;
use tokio::time::Instant;

use self::pace::{Allowance, Pace};
use self::turns::Turns;
use self::yielding::Yielding;
use crate::duties::DutyParts;

/// What one round releases at most: some milliseconds' work, and bodies of 256 MiB at the very most.
pub(crate) const PER_ROUND: u32 = 256;
/// What is published at once at most: others who come have their turn after it.
const BURST: usize = 32;
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
    turns: Turns,
    yielding: Yielding,
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

/// Of so many deliveries, perhaps none of which was published.
struct FailedBurst {
    size: usize,
    error: PublishError,
}

/// What a round found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Round {
    /// Nothing waits.
    Empty,
    /// Something waits, or waits to be tried.
    Waiting { released: u32 },
}

impl Releasing {
    pub(crate) fn new(parts: DutyParts) -> Self {
        // Noted while another process released: who knows when.
        drop(parts.board.take_waits());
        Releasing {
            parts,
            paces: HashMap::new(),
            turns: Turns::default(),
            yielding: Yielding::new(Instant::now()),
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
        self.learn(&summaries);
        // Asked for while nothing waits, too: that is when it learns what is ordinary.
        let most = self.yielding.most(self.parts.board.take_waits(), Instant::now());
        self.parts.metrics.release_round.set(i64::from(most));
        if summaries.is_empty() {
            return Ok(Round::Empty);
        }
        let wanted = self.share_out(&summaries, most);
        if wanted.is_empty() {
            return Ok(Round::Waiting { released: 0 });
        }
        let now = self.parts.clock.now();
        let held = self.parts.room.oldest_of(&wanted).await?;
        let deliveries = held.into_iter().map(|held| held.delivery.published_again(now)).collect();
        self.release(deliveries, now).await
    }

    /// From the tries that ended since the last round.
    fn learn(&mut self, summaries: &[RoomSummary]) {
        let mut seen = self.parts.board.take();
        let released: HashMap<WebhookId, u64> =
            summaries.iter().map(|summary| (summary.webhook, summary.released)).collect();
        self.paces.retain(|webhook, pace| pace.is_in_use() || released.contains_key(webhook));
        self.failing.retain(|webhook| released.contains_key(webhook));
        let now = Instant::now();
        for (webhook, pace) in &mut self.paces {
            let still_released = released.get(webhook).copied().unwrap_or_default();
            pace.note(seen.remove(webhook).unwrap_or_default(), still_released, now);
        }
    }

    /// Who releases how many in this round, of so many at most.
    fn share_out(&mut self, summaries: &[RoomSummary], most: u32) -> Vec<(WebhookId, u32)> {
        let mut allowed = Vec::new();
        for summary in summaries.iter().filter(|summary| summary.waiting > 0) {
            let most = u32::try_from(summary.waiting).unwrap_or(u32::MAX);
            allowed.push((summary.webhook, self.allowed(summary).min(most)));
        }
        self.turns.share_out(allowed, most)
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
        let pace = self.paces.entry(summary.webhook).or_insert_with(|| Pace::new(now));
        pace.allowed(allowance, cap.unwrap_or(u32::MAX), summary.released, now)
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

    /// What a failed mark left undone comes first: until it is marked, the same deliveries would be published again
    /// in every round, for as long as the store can be read but not written.
    async fn finish_marking(&mut self) -> Result<(), ReleaseError> {
        if let Some(Unmarked { marks, writes, at }) = &self.unmarked {
            self.parts.room.mark_released(marks.clone(), *at).await?;
            failpoint::hit("release.after_mark")?;
            self.parts.log.apply(writes).await?;
            self.unmarked = None;
        }
        Ok(())
    }

    async fn release(&mut self, deliveries: Vec<Delivery>, now: Timestamp) -> Result<Round, ReleaseError> {
        failpoint::hit("release.before_publish")?;
        let (published, error) = self.publish(deliveries).await;
        if let (Some(error), true) = (error, published.is_empty()) {
            return Err(error.into());
        }
        if published.is_empty() {
            return Ok(Round::Waiting { released: 0 });
        }
        let mut counts: HashMap<WebhookId, u32> = HashMap::new();
        published.iter().for_each(|delivery| *counts.entry(delivery.reference.webhook).or_default() += 1);
        let marks =
            published.iter().map(|delivery| (delivery.reference.id, delivery.position.holds)).collect();
        let released = u32::try_from(published.len()).unwrap_or(u32::MAX);
        let records = published.into_iter().map(|delivery| {
            let Delivery { reference: delivery, position, .. } = delivery;
            JournalRecord::Released(ReleasedRecord { delivery, position, released_at: now })
        });
        self.unmarked = Some(Unmarked { marks, writes: fold(records.collect::<Vec<_>>()), at: now });
        self.yielding.note_released();
        for (webhook, count) in counts {
            if let Some(pace) = self.paces.get_mut(&webhook) {
                pace.note_released(count, Instant::now());
            }
        }
        failpoint::hit("release.after_publish")?;
        self.finish_marking().await?;
        Ok(Round::Waiting { released })
    }

    /// Burst by burst; and from one that fails on each webhook by itself, since what cannot be published for one is no
    /// reason to let the others wait. Answers what was published, and the last thing that stood in the way.
    async fn publish(&mut self, deliveries: Vec<Delivery>) -> (Vec<Delivery>, Option<PublishError>) {
        // What failed last time goes apart, or it would have others published twice, round after round.
        let fails = |one: &Delivery| self.failing.contains(&one.reference.webhook);
        let (mut apart, together): (Vec<Delivery>, Vec<Delivery>) = deliveries.into_iter().partition(fails);
        let (mut published, mut last_error) = (Vec::with_capacity(together.len()), None);
        if let Err(FailedBurst { size, error }) = self.publish_bursts(&together, &mut published).await {
            let mut rest = together[published.len()..].to_vec();
            let first = rest[0].reference.webhook;
            // One whose deliveries were alone in the burst has been tried by itself just now.
            if rest.iter().take(size).all(|one| one.reference.webhook == first) {
                rest.retain(|one| one.reference.webhook != first);
                self.tell_failing(first, &error);
                last_error = Some(error);
            }
            apart.append(&mut rest);
        }
        let is_same = |one: &Delivery, next: &Delivery| one.reference.webhook == next.reference.webhook;
        for group in apart.chunk_by(is_same) {
            match self.publish_bursts(group, &mut published).await {
                Ok(()) => drop(self.failing.remove(&group[0].reference.webhook)),
                Err(FailedBurst { error, size: _ }) => {
                    self.tell_failing(group[0].reference.webhook, &error);
                    last_error = Some(error);
                }
            }
        }
        (published, last_error)
    }

    /// One after the other as they are due, and together what became due while the last was published. Up to the first
    /// burst that fails, so that no delivery overtakes an older one of its webhook.
    async fn publish_bursts(
        &self,
        deliveries: &[Delivery],
        published: &mut Vec<Delivery>,
    ) -> Result<(), FailedBurst> {
        let (gap, begun) = (self.yielding.gap(), Instant::now());
        let least = self.parts.queue.worth_a_publish().min(BURST);
        let due_at = |number: usize| begun + gap * u32::try_from(number).unwrap_or(u32::MAX);
        let mut done = 0;
        while let Some(rest) = deliveries.get(done..).filter(|rest| !rest.is_empty()) {
            tokio::time::sleep_until(due_at(done)).await;
            let now = Instant::now();
            let due =
                (done..deliveries.len()).take_while(|number| due_at(*number) <= now).take(BURST).count();
            let burst = &rest[..due.max(least).min(rest.len())];
            let publication = |delivery: &Delivery| Publication {
                route: Route::Release,
                work: Work::Deliver(delivery.clone()),
            };
            let taken = self.parts.queue.publish(burst.iter().map(publication).collect()).await;
            taken.map_err(|error| FailedBurst { size: burst.len(), error })?;
            published.extend_from_slice(burst);
            done += burst.len();
        }
        Ok(())
    }

    fn tell_failing(&mut self, webhook: WebhookId, error: &PublishError) {
        if self.failing.insert(webhook) {
            tracing::warn!(
                webhook.id = %webhook,
                error = error as &dyn std::error::Error,
                "cannot publish what waits for a webhook; it waits on"
            );
        }
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
