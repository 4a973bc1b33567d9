//! A switch that makes a store stop answering.

use std::sync::{Mutex, PoisonError};

use crate::ports::StoreError;

/// Shared by the stores that fail together.
#[derive(Debug, Default)]
pub struct Outage(Mutex<Option<String>>);

impl Outage {
    /// From now on every call answers [`StoreError::Unavailable`].
    pub fn begin(&self, reason: &str) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(reason.to_owned());
    }

    pub fn end(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    pub(super) fn check(&self) -> Result<(), StoreError> {
        match &*self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(reason) => Err(StoreError::Unavailable { reason: reason.clone() }),
            None => Ok(()),
        }
    }
}
