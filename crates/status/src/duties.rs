//! What one status process does for all: releasing, healing, retention. Each is idempotent, so two leaders for a
//! moment do no harm.

use std::sync::Arc;
use std::time::Duration;

use postrider_contract::clock::Clock;
use postrider_contract::ports::{
    ConfigStore, DeliveryLog, Journal, KeyedRequests, Lead, Leadership, LogQueries, WaitingRoom, WorkQueue,
};
use postrider_service::directory::Directory;
use postrider_service::lifecycle::Stop;
use postrider_service::metrics::StatusMetrics;
use tokio::time::Instant;

use crate::healing::{HealingBounds, Told, heal};
use crate::releasing::{PER_ROUND, Releasing, Round};
use crate::rerendering::Rerendering;
use crate::retention::{Retention, tidy};
use crate::tries::TryBoard;

const DUTY: &str = "status";
const SEEK_LEAD_EVERY: Duration = Duration::from_secs(2);
/// While something waits; a release is at most this late.
pub(crate) const BUSY_ROUND: Duration = Duration::from_millis(50);
const IDLE_ROUND: Duration = Duration::from_millis(250);
const HEAL_EVERY: Duration = Duration::from_secs(30);
const TIDY_EVERY: Duration = Duration::from_secs(3_600);
const AFTER_FAILURE: Duration = Duration::from_secs(1);

/// What the duties work with.
#[derive(Clone)]
pub struct DutyParts {
    pub room: Arc<dyn WaitingRoom>,
    pub queue: Arc<dyn WorkQueue>,
    pub journal: Arc<dyn Journal>,
    pub log: Arc<dyn DeliveryLog>,
    pub queries: Arc<dyn LogQueries>,
    pub keyed: Arc<dyn KeyedRequests>,
    pub configuration: Arc<dyn ConfigStore>,
    pub directory: Arc<Directory>,
    pub board: Arc<TryBoard>,
    pub rerendering: Arc<Rerendering>,
    pub metrics: Arc<StatusMetrics>,
    pub clock: Arc<dyn Clock>,
    pub healing: HealingBounds,
    pub retention: Retention,
}

pub struct Duties {
    parts: DutyParts,
    leadership: Arc<dyn Leadership>,
}

impl Duties {
    #[must_use]
    pub fn new(parts: DutyParts, leadership: Arc<dyn Leadership>) -> Self {
        Duties { parts, leadership }
    }

    /// Leads whenever it can, until told to stop.
    pub async fn run(self, stop: Stop) {
        while !stop.is_draining() {
            match self.leadership.try_lead(DUTY).await {
                Ok(Some(lead)) => self.lead(&*lead, &stop).await,
                Ok(None) => {}
                Err(error) => tracing::debug!(%error, "cannot ask who leads"),
            }
            pause(&stop, SEEK_LEAD_EVERY).await;
        }
    }

    async fn lead(&self, lead: &dyn Lead, stop: &Stop) {
        tracing::info!("leading: releases, healing and retention are done by this process");
        let mut releasing = Releasing::new(self.parts.clone());
        let mut told = Told::default();
        let (mut heal_at, mut tidy_at) = (Instant::now(), Instant::now());
        while lead.is_held() && !stop.is_draining() {
            if Instant::now() >= tidy_at {
                match tidy(&self.parts).await {
                    Ok(()) => tidy_at = Instant::now() + TIDY_EVERY,
                    Err(error) => {
                        tracing::warn!(%error, "cannot make days of the log ready, or drop old ones");
                        tidy_at = Instant::now() + AFTER_FAILURE;
                    }
                }
            }
            if Instant::now() >= heal_at {
                if let Err(error) = heal(&self.parts, &mut told).await {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "cannot heal overdue deliveries"
                    );
                }
                // A sample: where the store does not answer, healing has said so.
                if let Ok(refused) = self.parts.log.refused_rows().await {
                    self.parts.metrics.refused.set(i64::try_from(refused).unwrap_or(i64::MAX));
                }
                heal_at = Instant::now() + HEAL_EVERY;
            }
            let began_at = Instant::now();
            let wait = match releasing.round().await {
                // There may be more: only a yield, in which others get their turn.
                Ok(Round::Waiting { released: PER_ROUND.. }) => Duration::ZERO,
                Ok(Round::Waiting { released: _ }) => BUSY_ROUND.saturating_sub(began_at.elapsed()),
                Ok(Round::Empty) => IDLE_ROUND,
                Err(error) => {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "cannot release from the waiting room"
                    );
                    AFTER_FAILURE
                }
            };
            pause(stop, wait).await;
        }
        // Another process counts from here on; two would be added up.
        self.parts.metrics.held.set(0);
        self.parts.metrics.release_round.set(0);
        self.parts.metrics.overdue.set(0);
        self.parts.metrics.refused.set(0);
    }
}

async fn pause(stop: &Stop, wait: Duration) {
    tokio::select! {
        () = stop.draining() => {}
        () = tokio::time::sleep(wait) => {}
    }
}

#[cfg(test)]
mod tests;
