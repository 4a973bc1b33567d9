//! What is looked at every second, for `/readyz` and `/metrics`: can we publish, is the directory fresh, how much
//! stands in the queues, how far behind is the log.

use std::sync::Arc;
use std::time::Duration;

use postrider_contract::clock::Clock;
use postrider_contract::ports::{Journal, WorkQueue};
use postrider_service::directory::Directory;
use postrider_service::health::HealthReporter;
use postrider_service::lifecycle::Stop;
use postrider_service::metrics::{QueueMetrics, QueueName, StatusMetrics, WebhookState};

const EVERY: Duration = Duration::from_secs(1);
/// The directory asks the store anew every minute.
const STORE_SILENT: Duration = Duration::from_secs(75);

pub struct Sampling {
    pub queue: Arc<dyn WorkQueue>,
    pub directory: Arc<Directory>,
    pub queue_health: HealthReporter,
    pub store_health: HealthReporter,
    pub metrics: QueueMetrics,
    /// Only where this process has the status role: webhooks are counted once.
    pub status: Option<StatusSampling>,
}

/// What a process with the status role looks at besides.
pub struct StatusSampling {
    pub metrics: Arc<StatusMetrics>,
    pub journal: Arc<dyn Journal>,
    pub clock: Arc<dyn Clock>,
}

impl StatusSampling {
    /// Whatever the writers do, stuck ones included: how old is what is not written?
    async fn sample(&self, directory: &Directory) {
        let now = self.clock.now();
        if let Ok(settled_until) = self.journal.settled_until(now).await {
            self.metrics.lag_seconds.set(now.since(settled_until).as_secs_f64());
        }
        let states =
            [WebhookState::Active, WebhookState::Paused, WebhookState::Disabled, WebhookState::Unusable];
        for (state, (_, count)) in states.into_iter().zip(directory.webhook_counts()) {
            self.metrics.webhooks.at(state).set(i64::try_from(count).unwrap_or(i64::MAX));
        }
    }
}

impl Sampling {
    pub async fn run(self, stop: Stop) {
        let mut ticks = tokio::time::interval(EVERY);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut missing = Vec::new();
        loop {
            tokio::select! {
                () = stop.halted() => return,
                _ = ticks.tick() => {}
            }
            self.sample(&mut missing).await;
        }
    }

    /// `missing`: the queues that were missing the last time.
    async fn sample(&self, missing: &mut Vec<String>) {
        match self.queue.check_writable() {
            Ok(()) => self.queue_health.ready(),
            Err(error) => self.queue_health.not_ready(error.to_string()),
        }
        if self.directory.age() < STORE_SILENT {
            self.store_health.ready();
        } else {
            self.store_health.not_ready("the store does not answer");
        }
        if let Ok(depths) = self.queue.depths().await {
            let queues = [
                (QueueName::First, depths.first),
                (QueueName::Retry, depths.retry),
                (QueueName::Release, depths.release),
                (QueueName::Large, depths.large),
                (QueueName::Journal, depths.journal),
                (QueueName::PutOff, depths.put_off),
                (QueueName::Dead, depths.dead),
                (QueueName::CatchAll, depths.catch_all),
                (QueueName::Unreadable, depths.unreadable),
            ];
            for (queue, count) in queues {
                self.metrics.messages.at(queue).set(i64::try_from(count).unwrap_or(i64::MAX));
            }
            self.metrics.missing.set(i64::try_from(depths.missing.len()).unwrap_or(i64::MAX));
            if *missing != depths.missing {
                tell_missing(&depths.missing);
                *missing = depths.missing;
            }
        }
        if let Some(status) = &self.status {
            status.sample(&self.directory).await;
        }
    }
}

/// Once, when it changes.
fn tell_missing(queues: &[String]) {
    if queues.is_empty() {
        tracing::info!("every queue is on the broker again");
    } else {
        let names = queues.join(", ");
        tracing::error!(
            queues = names,
            "queues are missing on the broker; `postrider topology declare` makes them"
        );
    }
}
