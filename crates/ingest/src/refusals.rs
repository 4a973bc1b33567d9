//! What a request is told of what went wrong behind it.

use postrider_contract::ports::{IntakeError, PublishError, StoreError};
use postrider_contract::rendering::RenderError;
use postrider_service::failpoint;

use crate::keyed_gate::Unanswered;

pub(crate) fn not_now() -> IntakeError {
    let reason = "the queue refused an event a moment ago, or did not answer".to_owned();
    IntakeError::Unavailable { reason }
}

pub(crate) fn unavailable(error: Unanswered) -> IntakeError {
    IntakeError::Unavailable { reason: error.to_string() }
}

pub(crate) fn store_away(error: &StoreError) -> IntakeError {
    IntakeError::Unavailable { reason: error.to_string() }
}

pub(crate) fn unrenderable(error: RenderError) -> IntakeError {
    IntakeError::Unrenderable { pointer: error.pointer, detail: error.detail }
}

pub(crate) fn in_doubt(error: PublishError) -> IntakeError {
    IntakeError::InDoubt { reason: error.to_string() }
}

pub(crate) fn hit(place: &'static str) -> Result<(), IntakeError> {
    failpoint::hit(place).map_err(|failure| IntakeError::InDoubt { reason: failure.to_string() })
}
