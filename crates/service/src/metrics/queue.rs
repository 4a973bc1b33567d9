//! How much stands in the queues.

use prometheus::IntGauge;

use super::label::label_enum;
use super::{GaugeTable, Metrics, MetricsError, options};

label_enum! {
    /// The queues an operator watches.
    QueueName as "queue" {
        First = "first",
        Retry = "retry",
        Release = "release",
        Large = "large",
        Journal = "journal",
        PutOff = "put_off",
        Dead = "dead",
        CatchAll = "catch_all",
        Unreadable = "unreadable",
    }
}

/// The group of whoever holds the engine's connections.
#[derive(Clone, Debug)]
pub struct QueueMetrics {
    /// Messages ready to be taken; parked and leased ones are not counted.
    pub messages: GaugeTable<QueueName>,
    /// Queues that should be there and are not.
    pub missing: IntGauge,
}

impl QueueMetrics {
    /// # Errors
    /// When the group is already registered.
    pub fn register(metrics: &Metrics) -> Result<Self, MetricsError> {
        let missing =
            options("queues_missing", "Queues that are not on the broker and should be; 0 when all are.");
        Ok(QueueMetrics {
            missing: metrics.register(IntGauge::with_opts(missing)?)?,
            messages: GaugeTable::register(
                metrics,
                "queue_messages",
                "Messages ready to be taken, by queue.",
            )?,
        })
    }
}
