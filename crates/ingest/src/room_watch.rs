//! Which webhooks have deliveries in the waiting room, as of a second ago.
//!
//! Only a hint: a delivery that is queued although others wait is put behind them by a worker or by the window;
//! one that is held although nobody waits any more is released at the next round.

use std::collections::HashSet;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use postrider_contract::ids::WebhookId;
use postrider_contract::ports::WaitingRoom;
use postrider_service::lifecycle::Stop;

const ASK_EVERY: Duration = Duration::from_secs(1);

#[derive(Default)]
pub struct RoomWatch {
    waiting: RwLock<HashSet<WebhookId>>,
}

impl RoomWatch {
    #[must_use]
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    #[must_use]
    pub fn has_waiting(&self, webhook: WebhookId) -> bool {
        self.waiting.read().unwrap_or_else(PoisonError::into_inner).contains(&webhook)
    }

    /// Follows the room until told to stop.
    pub async fn follow(&self, room: Arc<dyn WaitingRoom>, stop: Stop) {
        let mut ticks = tokio::time::interval(ASK_EVERY);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.halted() => return,
                _ = ticks.tick() => {}
            }
            match room.summaries().await {
                Ok(summaries) => {
                    let waiting = summaries.iter().filter(|summary| summary.waiting > 0);
                    self.set(waiting.map(|summary| summary.webhook).collect());
                }
                Err(error) => tracing::debug!(%error, "cannot ask who waits in the waiting room"),
            }
        }
    }

    pub(crate) fn set(&self, waiting: HashSet<WebhookId>) {
        *self.waiting.write().unwrap_or_else(PoisonError::into_inner) = waiting;
    }
}
