//! What producers publish, and what of it is refused.

use std::sync::Arc;

use async_trait::async_trait;
use lapin::BasicProperties;
use lapin::types::FieldTable;
use postrider_contract::ports::{IntakeSource, Lease, ProducerMessage, QueueError, Refusal, RefusedQueue};

use crate::consumer::{Consuming, Incoming, Reading, Source};
use crate::publisher::{Destination, Message, Publisher, long_text};
use crate::topology::QueueName;

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
        headers.insert("postrider-tenant".into(), long_text(&message.routing_key));
        let mut properties = BasicProperties::default().with_headers(headers);
        // Both came in as short strings, so they fit into short strings.
        if let Some(id) = &message.message_id {
            properties = properties.with_message_id(id.as_str().into());
        }
        if let Some(content_type) = &message.content_type {
            properties = properties.with_content_type(content_type.as_str().into());
        }
        let destination = Destination::Queue(QueueName::EventsRefused);
        let refused = Message { destination, body: message.body.clone(), properties };
        let published = self.0.publish(vec![refused]).await;
        published.map_err(|error| QueueError::Unavailable { reason: error.to_string() })
    }
}

/// Whatever a producer published is handed on as it is; whether it is an event is for the reader to say.
struct ReadAnything;

impl Reading for ReadAnything {
    type Message = ProducerMessage;

    fn decode(&self, incoming: Incoming) -> Result<ProducerMessage, String> {
        let Incoming { routing_key, properties, body } = incoming;
        let message_id = properties.message_id().as_ref().map(ToString::to_string);
        let content_type = properties.content_type().as_ref().map(ToString::to_string);
        Ok(ProducerMessage { routing_key, message_id, content_type, body })
    }
}
