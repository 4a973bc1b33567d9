//! What the metrics are told of tries and outcomes.

use postrider_contract::attempt::{Attempt, AttemptResult, FailureClass};
use postrider_contract::clock::Timestamp;
use postrider_contract::delivery::Delivery;
use postrider_contract::outcome::Outcome;
use postrider_contract::provider::Provider;
use postrider_service::metrics::{AttemptReason, DeliveryEnd, ProviderLabel, RetryStep, WorkerMetrics};

/// Counts for one worker.
#[derive(Clone, Debug)]
pub struct Tally(WorkerMetrics);

impl Tally {
    #[must_use]
    pub fn new(metrics: WorkerMetrics) -> Self {
        Tally(metrics)
    }

    /// A try has ended, with this outcome for its delivery.
    pub fn note(
        &self,
        (delivery, provider): (&Delivery, Provider),
        attempt: &Attempt,
        outcome: Outcome,
        now: Timestamp,
    ) {
        let provider = label_of(provider);
        let met = reason_of(&attempt.result);
        // A status of success with words of failure.
        let is_denied = met == AttemptReason::Success && outcome != Outcome::Delivered;
        let reason = if is_denied { AttemptReason::Protocol } else { met };
        self.0.note_attempt(reason, provider, attempt.timings.total);
        match outcome {
            Outcome::Delivered => {
                self.0.deliveries.at(DeliveryEnd::Delivered, provider).inc();
                self.0.latency.observe(now.since(delivery.reference.accepted_at).as_secs_f64());
            }
            Outcome::Retry { .. } => {
                self.0.retries_scheduled.at(RetryStep::of(attempt.number.number())).inc()
            }
            Outcome::Failed { .. } => self.0.deliveries.at(DeliveryEnd::Failed, provider).inc(),
            Outcome::Canceled { .. } => self.0.deliveries.at(DeliveryEnd::Canceled, provider).inc(),
            Outcome::Expired => self.0.deliveries.at(DeliveryEnd::Expired, provider).inc(),
            Outcome::Held { .. } => {}
        }
    }

    /// A delivery was ended by its webhook's state.
    pub fn note_canceled(&self) {
        // The webhook may be gone, and its provider with it.
        self.0.deliveries.at(DeliveryEnd::Canceled, ProviderLabel::Webhook).inc();
    }

    pub fn note_started(&self) {
        self.0.in_flight.inc();
    }

    pub fn note_ended(&self) {
        self.0.in_flight.dec();
    }
}

fn label_of(provider: Provider) -> ProviderLabel {
    match provider {
        Provider::Webhook => ProviderLabel::Webhook,
        Provider::Slack => ProviderLabel::Slack,
        Provider::Discord => ProviderLabel::Discord,
        Provider::TeamsWebhook => ProviderLabel::TeamsWebhook,
        Provider::Zapier => ProviderLabel::Zapier,
        Provider::Make => ProviderLabel::Make,
    }
}

fn reason_of(result: &AttemptResult) -> AttemptReason {
    match result {
        AttemptResult::Response(response) => match response.status {
            200..=299 => AttemptReason::Success,
            300..=399 => AttemptReason::Redirect,
            429 => AttemptReason::TooManyRequests,
            400..=499 => AttemptReason::ClientError,
            500..=599 => AttemptReason::ServerError,
            0..=199 | 600.. => AttemptReason::Protocol,
        },
        AttemptResult::Failure { class, .. } => match class {
            FailureClass::Dns => AttemptReason::Dns,
            FailureClass::Connect | FailureClass::Closed => AttemptReason::Connect,
            FailureClass::Tls => AttemptReason::Tls,
            FailureClass::Timeout(_) => AttemptReason::Timeout,
            FailureClass::Blocked => AttemptReason::Blocked,
            FailureClass::Protocol => AttemptReason::Protocol,
        },
    }
}
