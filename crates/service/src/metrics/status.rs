//! How the log keeps up, and what it says of the whole installation.

use prometheus::{Gauge, Histogram, IntCounter, IntGauge};

use super::label::{Label, label_enum};
use super::{CounterTable, GaugeTable, Metrics, MetricsError, histogram_options, options};

label_enum! {
    /// How a webhook stands.
    WebhookState as "state" {
        Active = "active",
        Paused = "paused",
        Disabled = "disabled",
        /// A newer version wrote it, or its profile is not there.
        Unusable = "unusable",
    }
}

label_enum! {
    /// Why a message fell off its path.
    StrayReason as "reason" {
        /// It came out of a lane and found no queue.
        Unroutable = "unroutable",
        /// Without being settled.
        GivenOutTooOften = "given_out_too_often",
        /// An earlier reader could not read it, this one can.
        ReadableAgain = "readable_again",
        /// A newer version wrote it, or a foreign program.
        UnknownVersion = "unknown_version",
        /// Not a message of ours, or a damaged one.
        Unreadable = "unreadable",
    }
}

impl StrayReason {
    /// As the metric has it.
    #[must_use]
    pub fn word(self) -> &'static str {
        self.as_str()
    }
}

/// The group of the status role.
#[derive(Clone, Debug)]
pub struct StatusMetrics {
    /// Journal records written by one statement.
    pub batch_size: Histogram,
    /// Of one batch, in seconds.
    pub write_duration: Histogram,
    /// Age of the oldest journal record not yet written, looked at every second.
    pub lag_seconds: Gauge,
    /// Only whoever leads knows; 0 with all others.
    pub held: IntGauge,
    /// How many deliveries a round may release; as `held`. Below 256, releases yield to first tries.
    pub release_round: IntGauge,
    /// As `held`. A round of healing looks at 256 at most.
    pub overdue: IntGauge,
    /// Anything but 0 is worth a look: a message was lost, or its producer was never answered.
    pub healed: IntCounter,
    /// Rows of the log that could not be written and were set aside.
    pub refused: IntGauge,
    pub webhooks: GaugeTable<WebhookState>,
    /// Dealt with, each by why it was one.
    pub strays: CounterTable<StrayReason>,
}

impl StatusMetrics {
    /// # Errors
    /// When the group is already registered.
    pub fn register(metrics: &Metrics) -> Result<Self, MetricsError> {
        const SIZES: [f64; 11] = [1.0, 2.0, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1000.0, 5000.0];
        const WRITES: [f64; 11] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0];
        const HELD: &str =
            "Deliveries in the waiting room. Counted by the status process that leads, 0 elsewhere.";
        const RELEASE_ROUND: &str =
            "Deliveries that a round may release; below 256, releases yield to first tries";
        const OVERDUE: &str = "Deliveries whose next try is late by more than status.overdue_after, as the last round of \
                               healing found them (256 at most). Counted by the status process that leads, 0 elsewhere.";
        const HEALED: &str = "Deliveries published again because they were overdue.";
        let batch_size = histogram_options("status_batch_size", "Journal records to a batch.", &SIZES);
        let write = histogram_options("status_write_duration_seconds", "Writing one batch.", &WRITES);
        const REFUSED: &str = "Rows of the log that could not be written and were set aside, of the days that are kept; 0 \
            where the process does not lead.";
        let gauge = |name, help| IntGauge::with_opts(options(name, help));
        let lag = options(
            "status_lag_seconds",
            "Age of the oldest journal record not yet written, as of this second; 0 when all are.",
        );
        Ok(StatusMetrics {
            batch_size: metrics.register(Histogram::with_opts(batch_size)?)?,
            write_duration: metrics.register(Histogram::with_opts(write)?)?,
            lag_seconds: metrics.register(Gauge::with_opts(lag)?)?,
            held: metrics.register(gauge("deliveries_held", HELD)?)?,
            release_round: metrics.register(gauge("release_round_deliveries", RELEASE_ROUND)?)?,
            refused: metrics.register(gauge("log_rows_refused", REFUSED)?)?,
            overdue: metrics.register(gauge("deliveries_overdue", OVERDUE)?)?,
            healed: metrics.register(IntCounter::with_opts(options("deliveries_healed_total", HEALED))?)?,
            webhooks: GaugeTable::register(metrics, "webhooks", "Webhooks by state.")?,
            strays: CounterTable::register(
                metrics,
                "strays_total",
                "Messages that fell off the ordinary path and were brought back or kept, by why.",
            )?,
        })
    }
}
