//! How much waits for each webhook, asked for at most once a second whatever is read.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use postrider_contract::clock::Timestamp;
use postrider_contract::ids::WebhookId;
use postrider_contract::ports::{RoomSummary, WaitingRoom};
use serde::Serialize;
use tokio::time::Instant;
use utoipa::ToSchema;

/// The room is counted by one statement over an index; a second is as fresh as a person can read.
const KEPT_FOR: Duration = Duration::from_secs(1);

/// The deliveries that wait for one webhook.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct Waiting {
    pub(crate) count: u64,
    /// Since when the oldest of them waits.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub(crate) oldest: Option<Timestamp>,
}

/// What waits at one moment. Absent where the room could not be asked: the webhooks are shown without it.
#[derive(Clone, Debug, Default)]
pub(crate) struct WaitingNow(Option<Arc<HashMap<WebhookId, Waiting>>>);

impl WaitingNow {
    pub(crate) fn of(&self, webhook: WebhookId) -> Option<Waiting> {
        self.0.as_ref().map(|counts| counts.get(&webhook).copied().unwrap_or_default())
    }
}

pub(crate) struct WaitingCounts {
    room: Arc<dyn WaitingRoom>,
    last: Mutex<Last>,
}

#[derive(Default)]
struct Last {
    asked_at: Option<Instant>,
    counts: WaitingNow,
}

impl WaitingCounts {
    pub(crate) fn new(room: Arc<dyn WaitingRoom>) -> Self {
        WaitingCounts { room, last: Mutex::new(Last::default()) }
    }

    /// Whoever comes while another asks is told what is known so far: one question at a time, and no lock while
    /// it is on its way.
    pub(crate) async fn now(&self) -> WaitingNow {
        {
            let mut last = self.last();
            if last.asked_at.is_some_and(|at| at.elapsed() < KEPT_FOR) {
                return last.counts.clone();
            }
            last.asked_at = Some(Instant::now());
        }
        let counts = match self.room.summaries().await {
            Ok(summaries) => {
                let count = |summary: RoomSummary| {
                    (summary.webhook, Waiting { count: summary.waiting, oldest: summary.oldest })
                };
                WaitingNow(Some(Arc::new(summaries.into_iter().map(count).collect())))
            }
            Err(error) => {
                tracing::warn!(%error, "cannot count what waits; webhooks are shown without it");
                WaitingNow(None)
            }
        };
        self.last().counts = counts.clone();
        counts
    }

    fn last(&self) -> MutexGuard<'_, Last> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
