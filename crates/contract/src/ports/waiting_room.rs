//! The waiting room: held deliveries with their bodies, by webhook, oldest first.
//!
//! Rows come in through the journal and go when the try they were released for has ended (both through
//! [`super::DeliveryLog::apply`]); status alone releases.

use async_trait::async_trait;

use super::StoreError;
use crate::clock::Timestamp;
use crate::delivery::Delivery;
use crate::ids::{DeliveryId, TenantId, WebhookId};
use crate::outcome::HoldReason;

/// How one webhook's part of the room stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoomSummary {
    pub tenant: TenantId,
    pub webhook: WebhookId,
    /// Not released.
    pub waiting: u64,
    /// Since when the oldest of those waits.
    pub oldest: Option<Timestamp>,
    /// Released and not yet tried.
    pub released: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldDelivery {
    pub delivery: Delivery,
    pub why: HoldReason,
    pub since: Timestamp,
}

#[async_trait]
pub trait WaitingRoom: Send + Sync {
    /// Every webhook with a row in the room. One statement over an index, since it is asked every second.
    ///
    /// # Errors
    /// When the store does not answer.
    async fn summaries(&self) -> Result<Vec<RoomSummary>, StoreError>;

    /// The oldest that are not released, of one webhook.
    ///
    /// # Errors
    /// When the store does not answer.
    async fn oldest(&self, webhook: WebhookId, limit: u32) -> Result<Vec<HeldDelivery>, StoreError>;

    /// The same of many webhooks, each with its own limit: by webhook in the order asked for, oldest first. In one
    /// statement.
    ///
    /// # Errors
    /// When the store does not answer.
    async fn oldest_of(&self, wanted: &[(WebhookId, u32)]) -> Result<Vec<HeldDelivery>, StoreError> {
        let mut found = Vec::new();
        for (webhook, limit) in wanted {
            found.extend(self.oldest(*webhook, *limit).await?);
        }
        Ok(found)
    }

    /// Marks as released: (delivery, its hold number). Only after their publishes are confirmed.
    ///
    /// # Errors
    /// When the store does not answer: they will be released again, with a check.
    async fn mark_released(&self, released: Vec<(DeliveryId, u32)>, at: Timestamp) -> Result<(), StoreError>;

    /// Makes those released before `time` and still not tried wait again: their message was lost sight of.
    /// Answers how many.
    ///
    /// # Errors
    /// When the store does not answer.
    async fn reopen_released_before(&self, time: Timestamp) -> Result<u64, StoreError>;
}
