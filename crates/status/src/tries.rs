//! How the last tries of each webhook went, as far as this process wrote them: a sample of what the release window
//! grows and shrinks by.

use std::collections::HashMap;
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

/// The last delivery of a webhook that failed for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ending {
    /// Of the last try's response; `None` where none came.
    pub(crate) status: Option<u16>,
    /// When that try began.
    pub(crate) tried_at: Timestamp,
}

#[derive(Default)]
pub struct TryBoard {
    seen: Mutex<HashMap<WebhookId, Seen>>,
    endings: Mutex<HashMap<WebhookId, Ending>>,
    waits: Mutex<Vec<Duration>>,
}

impl TryBoard {
    #[must_use]
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    pub(crate) fn note(&self, record: &AttemptedRecord) {
        self.note_ending(record);
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

    fn note_ending(&self, record: &AttemptedRecord) {
        let Outcome::Failed { .. } = record.outcome else { return };
        let status = match &record.attempt.result {
            AttemptResult::Response(response) => Some(response.status),
            AttemptResult::Failure { .. } => None,
        };
        let mut endings = self.endings.lock().unwrap_or_else(PoisonError::into_inner);
        if endings.len() < MAX_WEBHOOKS {
            endings.insert(record.delivery.webhook, Ending { status, tried_at: record.attempt.started_at });
        }
    }

    /// Which webhooks had a delivery fail for good since the last call.
    pub(crate) fn take_endings(&self) -> HashMap<WebhookId, Ending> {
        std::mem::take(&mut *self.endings.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// What was seen since the last call.
    pub(crate) fn take(&self) -> HashMap<WebhookId, Seen> {
        std::mem::take(&mut *self.seen.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
