//! How events come in: from producers over AMQP, and from our own roles.

use async_trait::async_trait;
use bytes::Bytes;

use super::{Lease, QueueError};
use crate::delivery::Origin;
use crate::ids::{DeliveryId, EventId, TenantId, WebhookId};
use crate::schema::Violation;
use crate::submission::Submission;

/// A message as a producer published it, not yet read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProducerMessage {
    /// The routing key: the tenant.
    pub routing_key: String,
    /// The idempotency key; required.
    pub message_id: Option<String>,
    pub content_type: Option<String>,
    pub body: Bytes,
}

/// Why a producer's message was put into the refused queue; goes into its headers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub code: String,
    pub detail: String,
}

#[async_trait]
pub trait IntakeSource: Send {
    /// Waits through broken connections; safe to cancel.
    ///
    /// # Errors
    /// [`QueueError::Closed`] after the queue was closed.
    async fn next(&mut self) -> Result<Lease<ProducerMessage>, QueueError>;
}

/// Where refused messages are kept, with their problems.
#[async_trait]
pub trait RefusedQueue: Send + Sync {
    /// Puts a message into the refused queue, confirmed; the caller then acknowledges its lease.
    ///
    /// # Errors
    /// If it was not confirmed.
    async fn refuse(&self, message: &ProducerMessage, refusal: &Refusal) -> Result<(), QueueError>;
}

/// Where messages wait that cannot be accepted for a while, out of the way of others.
#[async_trait]
pub trait PutOffQueue: Send + Sync {
    /// Puts a message where it stays for some seconds, and comes in again as it was; confirmed. The caller then
    /// acknowledges its lease.
    ///
    /// # Errors
    /// If it was not confirmed.
    async fn put_off(&self, message: &ProducerMessage) -> Result<(), QueueError>;
}

/// What was accepted: 202.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IntakeReceipt {
    pub event: EventId,
    pub deliveries: Vec<(DeliveryId, WebhookId)>,
    /// The answer is that of an earlier request under the same key.
    pub replayed: bool,
}

#[derive(Debug, thiserror::Error)]
pub enum IntakeError {
    #[error("no such tenant")]
    UnknownTenant,
    /// It is there, and this process never could read it: a newer version wrote it. Nothing was published.
    #[error("the tenant cannot be read by this version")]
    UnreadableTenant,
    #[error("webhook {0} does not exist")]
    UnknownWebhook(WebhookId),
    /// It is there, the event may be for it, and this process cannot tell: a newer version wrote it, or its profile.
    /// Nothing was published.
    #[error("webhook {0}, which may want the event, cannot be read by this version")]
    UnusableWebhook(WebhookId),
    #[error("the idempotency key was used with another body")]
    KeyReused,
    #[error("a request with this idempotency key is being worked on")]
    KeyInProgress,
    /// The data cannot be put into the envelope of a matching webhook's profile.
    #[error("data: {detail}")]
    Unrenderable { pointer: String, detail: String },
    /// The data is not what the catalogue says of its type, and the tenant accepts no such event.
    #[error("not what the catalogue says of its type: {}", told(violations))]
    SchemaBroken { violations: Vec<Violation> },
    /// Nothing was published.
    #[error("not accepted: {reason}")]
    Unavailable { reason: String },
    /// Publishing had begun: it may arrive. The producer sends it again.
    #[error("in doubt: {reason}")]
    InDoubt { reason: String },
    /// The oldest first try waits for too long already.
    #[error("the queue of first tries is too old")]
    Overloaded,
}

fn told(violations: &[Violation]) -> String {
    let one = |Violation { pointer, detail }: &Violation| format!("{pointer}: {detail}");
    violations.iter().map(one).collect::<Vec<_>>().join("; ")
}

/// Accepts events by the ordinary path. Ingest implements it; other roles of the same process may be handed it.
#[async_trait]
pub trait EventIntake: Send + Sync {
    /// # Errors
    /// See [`IntakeError`]. On `Ok` the event is durable.
    async fn accept(
        &self,
        tenant: &TenantId,
        submission: Submission,
        origin: Origin,
    ) -> Result<IntakeReceipt, IntakeError>;
}
