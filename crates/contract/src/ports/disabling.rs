//! Disabling: what a profile says becomes of a webhook whose receiver is gone. Status notices, manage writes.

use async_trait::async_trait;

use super::StoreError;
use crate::clock::Timestamp;
use crate::ids::{TenantId, WebhookId};

/// A webhook that is to be disabled, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DisableOrder {
    pub tenant: TenantId,
    pub webhook: WebhookId,
    /// When the try began that showed it. A webhook that was changed since has earned another.
    pub tried_at: Timestamp,
    /// For its owner: what happened.
    pub reason: String,
}

#[async_trait]
pub trait WebhookDisabler: Send + Sync {
    /// Disables the webhook if it is active and was not changed since the try. Answers whether it did.
    ///
    /// # Errors
    /// When the store does not answer: the order is to be given again.
    async fn disable(&self, order: &DisableOrder) -> Result<bool, StoreError>;
}
