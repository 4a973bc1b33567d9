//! Outcomes: what becomes of a delivery after a try, or instead of one; and the status its log row shows.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::attempt::FailureClass;
use crate::clock::Timestamp;

/// Why a try did not succeed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cause {
    Status(u16),
    Failure(FailureClass),
}

/// `status 500`, `timeout_headers`.
impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Cause::Status(status) => write!(f, "status {status}"),
            Cause::Failure(class) => f.write_str(class.as_str()),
        }
    }
}

/// Why a delivery ended without success.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FailureReason {
    /// The last try of the schedule failed.
    Exhausted,
    /// The receiver's answer ends the delivery at once, by its profile.
    Permanent,
    /// Postrider itself could not go on with it (an unreadable message, a vanished profile); an alert goes with it.
    Internal,
}

/// Why a delivery waits in the waiting room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HoldReason {
    /// The webhook is paused (or disabled where the profile holds for it).
    Paused,
    /// The webhook has a rate limit.
    RateLimited,
    /// The webhook cannot take more now, or others wait before this one.
    Overflow,
}

/// Why a delivery was ended on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CancelReason {
    /// The webhook is deleted.
    WebhookDeleted,
    /// The webhook is disabled.
    WebhookDisabled,
    /// The webhook is paused, and its profile skips what comes meanwhile.
    Skipped,
    /// Asked for through the API.
    Requested,
    /// A manual retry took its place.
    Superseded,
}

/// What `decide` says, and `settle` acts on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    Delivered,
    Retry { at: Timestamp, cause: Cause },
    Failed { reason: FailureReason, cause: Option<Cause> },
    Held { why: HoldReason },
    Canceled { reason: CancelReason },
    Expired,
}

impl Outcome {
    /// The stable word for it in the log and the API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Outcome::Delivered => "delivered",
            Outcome::Retry { .. } => "retry",
            Outcome::Failed { .. } => "failed",
            Outcome::Held { .. } => "held",
            Outcome::Canceled { .. } => "canceled",
            Outcome::Expired => "expired",
        }
    }

    /// What made it so: `status 500`, `permanent: status 404`.
    #[must_use]
    pub fn reason(self) -> Option<String> {
        match self {
            Outcome::Retry { cause, .. } => Some(cause.to_string()),
            Outcome::Failed { reason, cause } => {
                let cause = cause.map(|cause| format!(": {cause}")).unwrap_or_default();
                Some(format!("{}{cause}", StatusReason::Failed(reason).as_str()))
            }
            Outcome::Delivered | Outcome::Held { .. } | Outcome::Canceled { .. } | Outcome::Expired => None,
        }
    }

    /// When the next try is due, if there is one.
    #[must_use]
    pub fn next_attempt_at(self) -> Option<Timestamp> {
        match self {
            Outcome::Retry { at, .. } => Some(at),
            Outcome::Delivered
            | Outcome::Failed { .. }
            | Outcome::Held { .. }
            | Outcome::Canceled { .. }
            | Outcome::Expired => None,
        }
    }
}

/// The status of a delivery, as lists and the ledger show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DeliveryStatus {
    Pending,
    Retrying,
    Held,
    Delivered,
    Failed,
    Canceled,
    Expired,
}

impl DeliveryStatus {
    pub const ALL: [DeliveryStatus; 7] = [
        DeliveryStatus::Pending,
        DeliveryStatus::Retrying,
        DeliveryStatus::Held,
        DeliveryStatus::Delivered,
        DeliveryStatus::Failed,
        DeliveryStatus::Canceled,
        DeliveryStatus::Expired,
    ];

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            DeliveryStatus::Pending => "pending",
            DeliveryStatus::Retrying => "retrying",
            DeliveryStatus::Held => "held",
            DeliveryStatus::Delivered => "delivered",
            DeliveryStatus::Failed => "failed",
            DeliveryStatus::Canceled => "canceled",
            DeliveryStatus::Expired => "expired",
        }
    }

    #[must_use]
    pub fn is_concluded(self) -> bool {
        match self {
            DeliveryStatus::Pending | DeliveryStatus::Retrying | DeliveryStatus::Held => false,
            DeliveryStatus::Delivered
            | DeliveryStatus::Failed
            | DeliveryStatus::Canceled
            | DeliveryStatus::Expired => true,
        }
    }
}

/// The stable word behind a status: `exhausted`, `paused`, `webhook_deleted`, …
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StatusReason {
    Failed(FailureReason),
    Held(HoldReason),
    Canceled(CancelReason),
}

impl StatusReason {
    pub const ALL: [StatusReason; 11] = [
        StatusReason::Failed(FailureReason::Exhausted),
        StatusReason::Failed(FailureReason::Permanent),
        StatusReason::Failed(FailureReason::Internal),
        StatusReason::Held(HoldReason::Paused),
        StatusReason::Held(HoldReason::RateLimited),
        StatusReason::Held(HoldReason::Overflow),
        StatusReason::Canceled(CancelReason::WebhookDeleted),
        StatusReason::Canceled(CancelReason::WebhookDisabled),
        StatusReason::Canceled(CancelReason::Skipped),
        StatusReason::Canceled(CancelReason::Requested),
        StatusReason::Canceled(CancelReason::Superseded),
    ];

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            StatusReason::Failed(FailureReason::Exhausted) => "exhausted",
            StatusReason::Failed(FailureReason::Permanent) => "permanent",
            StatusReason::Failed(FailureReason::Internal) => "internal",
            StatusReason::Held(HoldReason::Paused) => "paused",
            StatusReason::Held(HoldReason::RateLimited) => "rate_limited",
            StatusReason::Held(HoldReason::Overflow) => "overflow",
            StatusReason::Canceled(CancelReason::WebhookDeleted) => "webhook_deleted",
            StatusReason::Canceled(CancelReason::WebhookDisabled) => "webhook_disabled",
            StatusReason::Canceled(CancelReason::Skipped) => "skipped",
            StatusReason::Canceled(CancelReason::Requested) => "requested",
            StatusReason::Canceled(CancelReason::Superseded) => "superseded",
        }
    }

    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == word)
    }
}
