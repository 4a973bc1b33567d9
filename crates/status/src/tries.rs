//! How the last tries of each webhook went, as far as this process wrote them: a sample of what the release window
//! grows and shrinks by.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use postrider_contract::attempt::{AttemptResult, FailureClass};
use postrider_contract::clock::Timestamp;
use postrider_contract::delivery::Position;
use postrider_contract::ids::WebhookId;
use postrider_contract::journal::{AttemptedRecord, HeldRecord};
use postrider_contract::outcome::{HoldReason, Outcome};

/// A try over this is slow: a slot held that long for one webhook is a slot that others miss.
const SLOW: Duration = Duration::from_secs(1);
/// First tries whose waits are kept until they are asked for: a few seconds of a busy process.
const MAX_WAITS: usize = 4_096;
/// Webhooks remembered; beyond it the board is wiped, which only makes windows start anew.
const MAX_WEBHOOKS: usize = 100_000;
/// Different answers remembered of one webhook: more in one second is a receiver that says anything at all.
const MAX_ANSWERS: usize = 32;

/// What was seen of one webhook since the board was last read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Tries that ended in time, whatever the answer.
    pub prompt: u32,
    /// Tries that took over a second, and what a worker put back into the waiting room, since the webhook could not
    /// take it.
    pub slow: u32,
    pub timed_out: u32,
}

/// What the failed tries of one webhook say of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failing {
    /// The statuses that were answered, each with when the last try began that it answered.
    pub(crate) answers: BTreeMap<u16, Timestamp>,
    /// When the last try began.
    pub(crate) tried_at: Timestamp,
    /// Whether a delivery failed for good.
    pub(crate) has_ended: bool,
    /// When the oldest delivery was accepted that failed more than once.
    pub(crate) oldest_retried: Option<Timestamp>,
}

impl Failing {
    /// `None` for a try that has not failed.
    fn of(record: &AttemptedRecord) -> Option<Self> {
        let has_ended = match record.outcome {
            Outcome::Failed { .. } => true,
            Outcome::Retry { .. } => false,
            Outcome::Delivered | Outcome::Held { .. } | Outcome::Canceled { .. } | Outcome::Expired => {
                return None;
            }
        };
        let tried_at = record.attempt.started_at;
        let answers = match &record.attempt.result {
            AttemptResult::Response(response) => BTreeMap::from([(response.status, tried_at)]),
            AttemptResult::Failure { .. } => BTreeMap::new(),
        };
        let is_first = record.position.attempt.is_first();
        let oldest_retried = (!is_first).then_some(record.delivery.accepted_at);
        Some(Failing { answers, tried_at, has_ended, oldest_retried })
    }

    /// Nothing that either was told is forgotten: what disables may have been answered by any of the tries.
    pub(crate) fn merge(&mut self, other: Failing) {
        for (status, at) in other.answers {
            if let Some(known) = self.answers.get_mut(&status) {
                *known = at.max(*known);
            } else if self.answers.len() < MAX_ANSWERS {
                self.answers.insert(status, at);
            }
        }
        self.tried_at = self.tried_at.max(other.tried_at);
        self.has_ended |= other.has_ended;
        self.oldest_retried = match (self.oldest_retried, other.oldest_retried) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
    }
}

#[derive(Default)]
pub struct TryBoard {
    seen: Mutex<HashMap<WebhookId, Seen>>,
    failing: Mutex<HashMap<WebhookId, Failing>>,
    waits: Mutex<Vec<Duration>>,
}

impl TryBoard {
    #[must_use]
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    pub(crate) fn note(&self, record: &AttemptedRecord) {
        self.note_failing(record);
        self.note_wait(record);
        let timed_out = matches!(
            record.attempt.result,
            AttemptResult::Failure { class: FailureClass::Timeout(_), detail: _ }
        );
        let is_slow = record.attempt.timings.total > SLOW;
        self.count(record.delivery.webhook, |seen| match (timed_out, is_slow) {
            (true, _) => &mut seen.timed_out,
            (false, true) => &mut seen.slow,
            (false, false) => &mut seen.prompt,
        });
    }

    /// One that was held before is held again for want of room: its webhook was released more than it takes.
    pub(crate) fn note_hold(&self, record: &HeldRecord) {
        if record.why == HoldReason::Overflow && record.delivery.position.was_held_before() {
            self.count(record.delivery.reference.webhook, |seen| &mut seen.slow);
        }
    }

    fn count(&self, webhook: WebhookId, which: impl FnOnce(&mut Seen) -> &mut u32) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.len() >= MAX_WEBHOOKS {
            seen.clear();
        }
        let count = which(seen.entry(webhook).or_default());
        *count = count.saturating_add(1);
    }

    fn note_wait(&self, record: &AttemptedRecord) {
        // A replay, a retry and a release have waited for more than their turn.
        if record.position == Position::START && record.delivery.replay == 0 {
            let mut waits = self.waits.lock().unwrap_or_else(PoisonError::into_inner);
            if waits.len() < MAX_WAITS {
                waits.push(record.attempt.started_at.since(record.delivery.accepted_at));
            }
        }
    }

    /// How long first tries had waited that were noted since the last call, from acceptance to their beginning.
    pub(crate) fn take_waits(&self) -> Vec<Duration> {
        std::mem::take(&mut *self.waits.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn note_failing(&self, record: &AttemptedRecord) {
        let Some(failing) = Failing::of(record) else { return };
        let mut known = self.failing.lock().unwrap_or_else(PoisonError::into_inner);
        let webhook = record.delivery.webhook;
        if let Some(known) = known.get_mut(&webhook) {
            known.merge(failing);
        } else if known.len() < MAX_WEBHOOKS {
            known.insert(webhook, failing);
        }
    }

    /// Which webhooks had tries fail since the last call.
    pub(crate) fn take_failing(&self) -> HashMap<WebhookId, Failing> {
        std::mem::take(&mut *self.failing.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// What was seen since the last call.
    pub(crate) fn take(&self) -> HashMap<WebhookId, Seen> {
        std::mem::take(&mut *self.seen.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
