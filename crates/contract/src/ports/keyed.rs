//! Keyed requests: a producer repeats a request under the same key, and it counts once.

use async_trait::async_trait;

use super::StoreError;
use crate::clock::Timestamp;
use crate::delivery::RenderedWith;
use crate::ids::{DeliveryId, EventId, TenantId, WebhookId};
use crate::profile::ProfileName;

/// Two namespaces that never meet: keys of requests, and event ids that producers bring.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum KeyName {
    /// `Idempotency-Key`, or the AMQP `message_id`.
    Request(String),
    /// A producer's own event id.
    Event(EventId),
}

/// A match as first made, so that a repeat publishes the same deliveries whatever changed meanwhile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredMatch {
    pub delivery: DeliveryId,
    pub webhook: WebhookId,
    pub profile: ProfileName,
    pub rendered_with: RenderedWith,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyedRequest {
    pub tenant: TenantId,
    pub name: KeyName,
    /// SHA-256 of the request's body.
    pub body_hash: [u8; 32],
    pub event: EventId,
    pub accepted_at: Timestamp,
    pub matches: Vec<StoredMatch>,
}

impl KeyedRequest {
    /// By what this very request is known, and not another one of the same key.
    #[must_use]
    pub fn begun(&self) -> BegunRequest {
        BegunRequest {
            tenant: self.tenant.clone(),
            name: self.name.clone(),
            event: self.event.clone(),
            accepted_at: self.accepted_at,
        }
    }
}

/// One request under its key. The key alone does not name it: its row may be gone, and another's be there.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct BegunRequest {
    pub tenant: TenantId,
    pub name: KeyName,
    pub event: EventId,
    pub accepted_at: Timestamp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyedState {
    /// Its publishing was not confirmed (yet).
    Pending,
    Confirmed,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyedOutcome {
    /// Nothing was there: now pending, the caller publishes.
    Inserted,
    /// Something was there already: compare `request.body_hash` with one's own.
    Exists { request: KeyedRequest, state: KeyedState },
}

#[async_trait]
pub trait KeyedRequests: Send + Sync {
    /// Inserts each as pending unless its (tenant, name) exists. Many requests to one statement; answers in
    /// order. A repeat within one call finds its elder.
    ///
    /// # Errors
    /// When the store does not answer; then nothing may be assumed.
    async fn begin(&self, requests: Vec<KeyedRequest>) -> Result<Vec<KeyedOutcome>, StoreError>;

    /// Marks as confirmed. What is not there, or is another request under the same key, is passed over.
    ///
    /// # Errors
    /// When the store does not answer: they stay pending, and a repeat publishes again under the same ids.
    async fn confirm(&self, begun: Vec<BegunRequest>) -> Result<(), StoreError>;

    /// What there is under these names, in order; nothing is begun.
    ///
    /// # Errors
    /// When the store does not answer.
    async fn find(
        &self,
        names: Vec<(TenantId, KeyName)>,
    ) -> Result<Vec<Option<(KeyedRequest, KeyedState)>>, StoreError>;

    /// Takes back what was begun and will not be published: as long as they are pending. Others are passed over:
    /// somebody else's under the same key, and what is confirmed.
    ///
    /// # Errors
    /// When the store does not answer: they stay pending, and their names are taken for as long as a request may run.
    async fn withdraw(&self, begun: Vec<BegunRequest>) -> Result<(), StoreError>;

    /// Forgets requests accepted before a time.
    ///
    /// # Errors
    /// When the store does not answer.
    async fn forget_before(&self, time: Timestamp) -> Result<(), StoreError>;
}
