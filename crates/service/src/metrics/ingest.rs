//! What ingest took and refused.

use super::label::label_enum;
use super::{CounterGrid, HistogramTable, Metrics, MetricsError};

label_enum! {
    /// The way an event came in.
    IngestSource as "source" {
        Http = "http",
        Amqp = "amqp",
    }
}

label_enum! {
    /// What became of an event at the door.
    IngestResult as "result" {
        Accepted = "accepted",
        Duplicate = "duplicate",
        Invalid = "invalid",
        Unauthorized = "unauthorized",
        Limited = "limited",
        Unavailable = "unavailable",
    }
}

/// The group of the ingest role.
#[derive(Clone, Debug)]
pub struct IngestMetrics {
    pub events: CounterGrid<IngestSource, IngestResult>,
    /// From the request read to its answer made, in seconds.
    pub durations: HistogramTable<IngestSource>,
}

impl IngestMetrics {
    /// # Errors
    /// When the group is already registered.
    pub fn register(metrics: &Metrics) -> Result<Self, MetricsError> {
        const BUCKETS: [f64; 12] =
            [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0];
        Ok(IngestMetrics {
            events: CounterGrid::register(metrics, "ingest_events_total", "Events that came to the door.")?,
            durations: HistogramTable::register(
                metrics,
                "ingest_duration_seconds",
                "From an event read to its answer made.",
                &BUCKETS,
            )?,
        })
    }
}
