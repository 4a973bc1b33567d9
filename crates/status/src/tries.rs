//! How the last tries of each webhook went, as far as this process wrote them: what the release window grows and
//! shrinks by.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use postrider_contract::attempt::{AttemptResult, FailureClass};
use postrider_contract::ids::WebhookId;
use postrider_contract::journal::AttemptedRecord;

/// A try over this is slow: a slot held that long for one webhook is a slot that others miss.
const SLOW: Duration = Duration::from_secs(1);
/// Webhooks remembered; beyond it the board is wiped, which only makes windows start anew.
const MAX_WEBHOOKS: usize = 100_000;

/// What was seen of one webhook since the board was last read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Tries that ended in time, whatever the answer.
    pub prompt: u32,
    /// Tries that timed out or took over a second.
    pub slow: u32,
}

#[derive(Default)]
pub struct TryBoard {
    seen: Mutex<HashMap<WebhookId, Seen>>,
}

impl TryBoard {
    #[must_use]
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    pub(crate) fn note(&self, record: &AttemptedRecord) {
        let timed_out = matches!(
            record.attempt.result,
            AttemptResult::Failure { class: FailureClass::Timeout(_), detail: _ }
        );
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if seen.len() >= MAX_WEBHOOKS {
            seen.clear();
        }
        let entry = seen.entry(record.delivery.webhook).or_default();
        if timed_out || record.attempt.timings.total > SLOW {
            entry.slow = entry.slow.saturating_add(1);
        } else {
            entry.prompt = entry.prompt.saturating_add(1);
        }
    }

    /// What was seen since the last call.
    pub(crate) fn take(&self) -> HashMap<WebhookId, Seen> {
        std::mem::take(&mut *self.seen.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
