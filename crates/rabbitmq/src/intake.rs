//! What producers publish, and what of it is refused or put off.

use std::sync::Arc;

use async_trait::async_trait;
use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable};
use postrider_contract::ports::{
    IntakeSource, Lease, ProducerMessage, PutOffQueue, QueueError, Refusal, RefusedQueue,
};

use crate::consumer::{Consuming, Incoming, Reading, Source};
use crate::publisher::{Destination, Message, Publisher, long_text};
use crate::topology::{EVENTS_AGAIN, QueueName};

/// The routing key that a message came in with: its tenant.
const TENANT: &str = "postrider-tenant";

pub(crate) struct RabbitIntake {
    source: Source<ProducerMessage>,
}

impl RabbitIntake {
    pub fn open(consuming: &Arc<Consuming>, prefetch: u16) -> Result<Self, QueueError> {
        Ok(RabbitIntake { source: consuming.open(QueueName::Events, prefetch, ReadAnything)? })
    }
}

#[async_trait]
impl IntakeSource for RabbitIntake {
    async fn next(&mut self) -> Result<Lease<ProducerMessage>, QueueError> {
        self.source.next().await
    }
}

/// The refused queue, written to by the engine's publisher.
pub(crate) struct Refused(pub Arc<Publisher>);

#[async_trait]
impl RefusedQueue for Refused {
    async fn refuse(&self, message: &ProducerMessage, refusal: &Refusal) -> Result<(), QueueError> {
        let mut headers = FieldTable::default();
        headers.insert("postrider-code".into(), long_text(&refusal.code));
        headers.insert("postrider-detail".into(), long_text(&refusal.detail));
        put(&self.0, message, headers, QueueName::EventsRefused).await
    }
}

/// The queue from which messages come in again, written to by the engine's publisher.
pub(crate) struct PutOff(pub Arc<Publisher>);

#[async_trait]
impl PutOffQueue for PutOff {
    async fn put_off(&self, message: &ProducerMessage) -> Result<(), QueueError> {
        put(&self.0, message, FieldTable::default(), QueueName::EventsLater).await
    }
}

/// A producer's message as it came in, with its tenant among the headers. Made anew: no header of the broker is copied.
async fn put(
    publisher: &Publisher,
    message: &ProducerMessage,
    mut headers: FieldTable,
    queue: QueueName,
) -> Result<(), QueueError> {
    headers.insert(TENANT.into(), long_text(&message.routing_key));
    let mut properties = BasicProperties::default().with_headers(headers);
    // Both came in as short strings, so they fit into short strings.
    if let Some(id) = &message.message_id {
        properties = properties.with_message_id(id.as_str().into());
    }
    if let Some(content_type) = &message.content_type {
        properties = properties.with_content_type(content_type.as_str().into());
    }
    let set_aside =
        Message { destination: Destination::Queue(queue), body: message.body.clone(), properties };
    let published = publisher.publish(vec![set_aside]).await;
    published.map_err(|error| QueueError::Unavailable { reason: error.to_string() })
}

/// Whose a message is that came by one of our own keys instead of its producer's.
pub(crate) fn tenant_in(headers: &FieldTable) -> Option<String> {
    let AMQPValue::LongString(tenant) = headers.inner().get(TENANT)? else { return None };
    Some(tenant.to_string())
}

/// Whatever a producer published is handed on as it is; whether it is an event is for the reader to say.
struct ReadAnything;

impl Reading for ReadAnything {
    type Message = ProducerMessage;

    fn decode(&self, incoming: Incoming) -> Result<ProducerMessage, String> {
        let Incoming { mut routing_key, properties, body } = incoming;
        if routing_key == EVENTS_AGAIN
            && let Some(tenant) = properties.headers().as_ref().and_then(tenant_in)
        {
            routing_key = tenant;
        }
        let message_id = properties.message_id().as_ref().map(ToString::to_string);
        let content_type = properties.content_type().as_ref().map(ToString::to_string);
        Ok(ProducerMessage { routing_key, message_id, content_type, body })
    }
}
