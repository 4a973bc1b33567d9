//! Outcomes, their causes and reasons.

use super::fields::{known, required, time};
use super::generated::outcome::Outcome as Wire;
use super::{WireError, generated};
use crate::attempt::{FailureClass, Phase};
use crate::outcome::{CancelReason, Cause, FailureReason, HoldReason, Outcome};

pub(super) fn write_outcome(outcome: Outcome) -> generated::Outcome {
    let outcome = match outcome {
        Outcome::Delivered => Wire::Delivered(generated::Nothing {}),
        Outcome::Retry { at, cause } => {
            Wire::Retry(generated::RetryOutcome { at: at.as_millis(), cause: Some(write_cause(cause)) })
        }
        Outcome::Failed { reason, cause } => {
            let reason = write_failure_reason(reason);
            Wire::Failed(generated::FailedOutcome { reason, cause: cause.map(write_cause) })
        }
        Outcome::Held { why } => Wire::Held(write_hold_reason(why)),
        Outcome::Canceled { reason } => Wire::Canceled(write_cancel_reason(reason)),
        Outcome::Expired => Wire::Expired(generated::Nothing {}),
    };
    generated::Outcome { outcome: Some(outcome) }
}

pub(super) fn read_outcome(wire: generated::Outcome) -> Result<Outcome, WireError> {
    Ok(match required("outcome", wire.outcome)? {
        Wire::Delivered(generated::Nothing {}) => Outcome::Delivered,
        Wire::Retry(retry) => Outcome::Retry {
            at: time("outcome.at", retry.at)?,
            cause: read_cause(required("outcome.cause", retry.cause)?)?,
        },
        Wire::Failed(failed) => Outcome::Failed {
            reason: read_failure_reason("outcome.reason", failed.reason)?,
            cause: failed.cause.map(read_cause).transpose()?,
        },
        Wire::Held(why) => Outcome::Held { why: read_hold_reason("outcome.held", why)? },
        Wire::Canceled(reason) => {
            Outcome::Canceled { reason: read_cancel_reason("outcome.canceled", reason)? }
        }
        Wire::Expired(generated::Nothing {}) => Outcome::Expired,
    })
}

fn write_cause(cause: Cause) -> generated::Cause {
    let cause = match cause {
        Cause::Status(status) => generated::cause::Cause::Status(u32::from(status)),
        Cause::Failure(class) => generated::cause::Cause::Failure(write_class(class)),
    };
    generated::Cause { cause: Some(cause) }
}

fn read_cause(wire: generated::Cause) -> Result<Cause, WireError> {
    Ok(match required("cause", wire.cause)? {
        generated::cause::Cause::Status(status) => Cause::Status(read_status("cause.status", status)?),
        generated::cause::Cause::Failure(class) => Cause::Failure(read_class("cause.failure", class)?),
    })
}

/// Any number of 16 bits: what a receiver answers with is its own matter.
pub(super) fn read_status(field: &'static str, status: u32) -> Result<u16, WireError> {
    u16::try_from(status).map_err(|_| super::fields::bad_value(field, "is not a status code"))
}

pub(super) fn write_class(class: FailureClass) -> i32 {
    i32::from(match class {
        FailureClass::Dns => generated::FailureClass::Dns,
        FailureClass::Connect => generated::FailureClass::Connect,
        FailureClass::Tls => generated::FailureClass::Tls,
        FailureClass::Timeout(Phase::Dns) => generated::FailureClass::TimeoutDns,
        FailureClass::Timeout(Phase::Connect) => generated::FailureClass::TimeoutConnect,
        FailureClass::Timeout(Phase::Tls) => generated::FailureClass::TimeoutTls,
        FailureClass::Timeout(Phase::Headers) => generated::FailureClass::TimeoutHeaders,
        FailureClass::Blocked => generated::FailureClass::Blocked,
        FailureClass::Closed => generated::FailureClass::Closed,
        FailureClass::Protocol => generated::FailureClass::Protocol,
    })
}

pub(super) fn read_class(field: &'static str, number: i32) -> Result<FailureClass, WireError> {
    Ok(match known(field, number)? {
        generated::FailureClass::Unspecified => return Err(WireError::Missing { field }),
        generated::FailureClass::Dns => FailureClass::Dns,
        generated::FailureClass::Connect => FailureClass::Connect,
        generated::FailureClass::Tls => FailureClass::Tls,
        generated::FailureClass::TimeoutDns => FailureClass::Timeout(Phase::Dns),
        generated::FailureClass::TimeoutConnect => FailureClass::Timeout(Phase::Connect),
        generated::FailureClass::TimeoutTls => FailureClass::Timeout(Phase::Tls),
        generated::FailureClass::TimeoutHeaders => FailureClass::Timeout(Phase::Headers),
        generated::FailureClass::Blocked => FailureClass::Blocked,
        generated::FailureClass::Closed => FailureClass::Closed,
        generated::FailureClass::Protocol => FailureClass::Protocol,
    })
}

pub(super) fn write_failure_reason(reason: FailureReason) -> i32 {
    i32::from(match reason {
        FailureReason::Exhausted => generated::FailureReason::Exhausted,
        FailureReason::Permanent => generated::FailureReason::Permanent,
        FailureReason::Internal => generated::FailureReason::Internal,
    })
}

pub(super) fn read_failure_reason(field: &'static str, number: i32) -> Result<FailureReason, WireError> {
    match known(field, number)? {
        generated::FailureReason::Unspecified => Err(WireError::Missing { field }),
        generated::FailureReason::Exhausted => Ok(FailureReason::Exhausted),
        generated::FailureReason::Permanent => Ok(FailureReason::Permanent),
        generated::FailureReason::Internal => Ok(FailureReason::Internal),
    }
}

pub(super) fn write_hold_reason(reason: HoldReason) -> i32 {
    i32::from(match reason {
        HoldReason::Paused => generated::HoldReason::Paused,
        HoldReason::RateLimited => generated::HoldReason::RateLimited,
        HoldReason::Overflow => generated::HoldReason::Overflow,
    })
}

/// 0 is "not held".
pub(super) fn read_optional_hold(field: &'static str, number: i32) -> Result<Option<HoldReason>, WireError> {
    Ok(match known(field, number)? {
        generated::HoldReason::Unspecified => None,
        generated::HoldReason::Paused => Some(HoldReason::Paused),
        generated::HoldReason::RateLimited => Some(HoldReason::RateLimited),
        generated::HoldReason::Overflow => Some(HoldReason::Overflow),
    })
}

pub(super) fn read_hold_reason(field: &'static str, number: i32) -> Result<HoldReason, WireError> {
    required(field, read_optional_hold(field, number)?)
}

pub(super) fn write_cancel_reason(reason: CancelReason) -> i32 {
    i32::from(match reason {
        CancelReason::WebhookDeleted => generated::CancelReason::WebhookDeleted,
        CancelReason::WebhookDisabled => generated::CancelReason::WebhookDisabled,
        CancelReason::Skipped => generated::CancelReason::Skipped,
        CancelReason::Requested => generated::CancelReason::Requested,
        CancelReason::Superseded => generated::CancelReason::Superseded,
    })
}

pub(super) fn read_cancel_reason(field: &'static str, number: i32) -> Result<CancelReason, WireError> {
    match known(field, number)? {
        generated::CancelReason::Unspecified => Err(WireError::Missing { field }),
        generated::CancelReason::WebhookDeleted => Ok(CancelReason::WebhookDeleted),
        generated::CancelReason::WebhookDisabled => Ok(CancelReason::WebhookDisabled),
        generated::CancelReason::Skipped => Ok(CancelReason::Skipped),
        generated::CancelReason::Requested => Ok(CancelReason::Requested),
        generated::CancelReason::Superseded => Ok(CancelReason::Superseded),
    }
}
