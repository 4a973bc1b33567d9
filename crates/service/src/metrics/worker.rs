//! What the delivery workers tried and how it ended.

use prometheus::{Histogram, IntCounter, IntCounterVec, IntGauge};

use super::label::label_enum;
use super::{
    CounterGrid, CounterTable, HistogramTable, Label, Metrics, MetricsError, histogram_options, options,
};

label_enum! {
    /// The kind of receiver.
    ProviderLabel as "provider" {
        Webhook = "webhook",
        Slack = "slack",
        Discord = "discord",
        TeamsWebhook = "teams_webhook",
        Zapier = "zapier",
        Make = "make",
    }
}

label_enum! {
    /// How a delivery was concluded.
    DeliveryEnd as "outcome" {
        Delivered = "delivered",
        Failed = "failed",
        Canceled = "canceled",
        Expired = "expired",
    }
}

label_enum! {
    /// What one try met.
    AttemptReason as "reason" {
        Success = "2xx",
        Redirect = "3xx",
        ClientError = "4xx",
        TooManyRequests = "429",
        ServerError = "5xx",
        Timeout = "timeout",
        Dns = "dns",
        Tls = "tls",
        Connect = "connect",
        Protocol = "protocol",
        Blocked = "blocked",
    }
}

label_enum! {
    /// Whether a try succeeded.
    AttemptResult as "outcome" {
        Success = "success",
        Failure = "failure",
    }
}

label_enum! {
    /// Which retry was scheduled: the first ones singly, the rest together.
    RetryStep as "step" {
        First = "1",
        Second = "2",
        Third = "3",
        Fourth = "4",
        Fifth = "5",
        Sixth = "6",
        Seventh = "7",
        Eighth = "8",
        Ninth = "9",
        Later = "10+",
    }
}

impl AttemptReason {
    fn result(self) -> AttemptResult {
        match self {
            AttemptReason::Success => AttemptResult::Success,
            AttemptReason::Redirect
            | AttemptReason::ClientError
            | AttemptReason::TooManyRequests
            | AttemptReason::ServerError
            | AttemptReason::Timeout
            | AttemptReason::Dns
            | AttemptReason::Tls
            | AttemptReason::Connect
            | AttemptReason::Protocol
            | AttemptReason::Blocked => AttemptResult::Failure,
        }
    }
}

impl RetryStep {
    /// `retry` counts from 1; 0 is taken for 1.
    #[must_use]
    pub fn of(retry: u32) -> Self {
        let index = usize::try_from(retry.saturating_sub(1)).unwrap_or(usize::MAX);
        RetryStep::ALL.get(index).copied().unwrap_or(RetryStep::Later)
    }
}

/// The group of the delivery worker.
#[derive(Clone, Debug)]
pub struct WorkerMetrics {
    pub deliveries: CounterGrid<DeliveryEnd, ProviderLabel>,
    pub retries_scheduled: CounterTable<RetryStep>,
    /// Tries under way at this moment.
    pub in_flight: IntGauge,
    /// From the acceptance of an event to its first success at a receiver, in seconds.
    pub latency: Histogram,
    /// Tries refused because of the address they would have gone to.
    pub blocked: IntCounter,
    attempts: CounterGrid<AttemptReason, ProviderLabel>,
    attempt_durations: HistogramTable<AttemptResult>,
}

impl WorkerMetrics {
    /// # Errors
    /// When the group is already registered.
    pub fn register(metrics: &Metrics) -> Result<Self, MetricsError> {
        const TRY: [f64; 11] = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];
        const LATENCY: [f64; 17] = [
            0.0025, 0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0, 3600.0,
            21_600.0, 86_400.0,
        ];
        let attempts = options("delivery_attempts_total", "Tries made, by what they met.");
        let attempts = IntCounterVec::new(attempts, &["outcome", "reason", "provider"])?;
        let attempts = metrics.register(attempts)?;
        let latency = histogram_options(
            "event_delivery_latency_seconds",
            "From the acceptance of an event to its first success at a receiver.",
            &LATENCY,
        );
        let in_flight = options("deliveries_inflight", "Tries under way.");
        let blocked = options("ssrf_blocked_total", "Tries refused because of their address.");
        Ok(WorkerMetrics {
            deliveries: CounterGrid::register(metrics, "deliveries_total", "Deliveries concluded.")?,
            retries_scheduled: CounterTable::register(
                metrics,
                "delivery_retries_scheduled_total",
                "Retries scheduled.",
            )?,
            in_flight: metrics.register(IntGauge::with_opts(in_flight)?)?,
            latency: metrics.register(Histogram::with_opts(latency)?)?,
            blocked: metrics.register(IntCounter::with_opts(blocked)?)?,
            attempts: CounterGrid::of(|reason: AttemptReason, provider: ProviderLabel| {
                attempts.with_label_values(&[reason.result().as_str(), reason.as_str(), provider.as_str()])
            }),
            attempt_durations: HistogramTable::register(
                metrics,
                "delivery_attempt_duration_seconds",
                "From the start of a try to its end.",
                &TRY,
            )?,
        })
    }

    /// Notes one try that has ended.
    pub fn note_attempt(&self, reason: AttemptReason, provider: ProviderLabel, took: std::time::Duration) {
        self.attempts.at(reason, provider).inc();
        self.attempt_durations.at(reason.result()).observe(took.as_secs_f64());
        if reason == AttemptReason::Blocked {
            self.blocked.inc();
        }
    }
}
