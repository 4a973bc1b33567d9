//! A client of the broker that is not Postrider: a producer, an operator, or whoever else puts messages into queues and
//! takes them out.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use lapin::message::Delivery;
use lapin::options::{
    BasicAckOptions, BasicGetOptions, BasicNackOptions, BasicPublishOptions, ConfirmSelectOptions,
    QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties, Queue};
use postrider_rabbitmq::{QueueLimits, QueueName, Topology};

use super::deadline::eventually;

/// Where producers publish; the routing key is the tenant.
const EVENTS: &str = "postrider.events";

/// One connection, with a channel whose publishes are confirmed.
#[derive(Debug)]
pub struct Stranger {
    pub connection: Connection,
    pub topology: Topology,
    channel: Channel,
}

/// A message as a stranger takes it.
#[derive(Debug, Clone)]
pub struct Taken {
    pub message_id: Option<String>,
    headers: FieldTable,
    pub body: Bytes,
}

impl Taken {
    /// A header that is a text.
    pub fn header(&self, name: &str) -> Option<String> {
        match self.headers.inner().get(name) {
            Some(AMQPValue::LongString(text)) => Some(text.to_string()),
            Some(_) | None => None,
        }
    }
}

impl From<Delivery> for Taken {
    fn from(delivery: Delivery) -> Self {
        Taken {
            message_id: delivery.properties.message_id().as_ref().map(ToString::to_string),
            headers: delivery.properties.headers().clone().unwrap_or_default(),
            body: delivery.data.into(),
        }
    }
}

impl Stranger {
    pub async fn connect(url: &str) -> Result<Self> {
        let connection = Connection::connect(url, ConnectionProperties::default()).await?;
        let channel = connection.create_channel().await?;
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
        Ok(Stranger { connection, topology: Topology::new("postrider", QueueLimits::default()), channel })
    }

    #[expect(clippy::disallowed_methods, reason = "a stranger publishes as any client would")]
    async fn publish(&self, exchange: &str, key: &str, with: BasicProperties, body: &[u8]) -> Result<()> {
        let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
        let properties = with.with_delivery_mode(2);
        let sent = self.channel.basic_publish(exchange.into(), key.into(), options, body, properties);
        let confirm = sent.await?.await?;
        ensure!(confirm.is_ack(), "not confirmed");
        Ok(())
    }

    /// Publishes what is to be an event, as producers do.
    pub async fn produce(&self, tenant: &str, message_id: Option<&str>, body: &[u8]) -> Result<()> {
        let properties = BasicProperties::default();
        let properties = match message_id {
            Some(id) => properties.with_message_id(id.into()),
            None => properties,
        };
        self.publish(EVENTS, tenant, properties, body).await
    }

    /// Puts a message into a queue of ours.
    pub async fn put(&self, queue: QueueName, body: &[u8]) -> Result<()> {
        self.put_with(queue, &[], body).await
    }

    /// The same, with headers.
    pub async fn put_with(&self, queue: QueueName, headers: &[(&str, &str)], body: &[u8]) -> Result<()> {
        let mut table = FieldTable::default();
        for (name, text) in headers {
            table.insert((*name).into(), AMQPValue::LongString((*text).into()));
        }
        let properties = BasicProperties::default().with_headers(table);
        self.publish("", &self.topology.queue(queue), properties, body).await
    }

    /// Takes everything that is ready and gives it back at once.
    pub async fn give_back(&self, queue: QueueName) -> Result<()> {
        if let Some(last) = self.get_all(queue).await?.last() {
            let requeue = BasicNackOptions { multiple: true, requeue: true };
            self.channel.basic_nack(last.delivery_tag, requeue).await?;
        }
        Ok(())
    }

    /// Takes everything that is ready, for good.
    pub async fn take(&self, queue: QueueName) -> Result<Vec<Taken>> {
        let found = self.get_all(queue).await?;
        if let Some(last) = found.last() {
            self.channel.basic_ack(last.delivery_tag, BasicAckOptions { multiple: true }).await?;
        }
        Ok(found.into_iter().map(Taken::from).collect())
    }

    async fn get_all(&self, queue: QueueName) -> Result<Vec<Delivery>> {
        let (name, mut found) = (self.topology.queue(queue), Vec::new());
        let options = BasicGetOptions { no_ack: false };
        while let Some(next) = self.channel.basic_get(name.as_str().into(), options).await? {
            found.push(next.delivery);
        }
        Ok(found)
    }

    /// Messages that nobody has in hand.
    pub async fn ready(&self, queue: QueueName) -> Result<u32> {
        Ok(self.look_at(queue).await?.message_count())
    }

    /// All messages of a queue whose readers have died, once the broker has noticed.
    pub async fn abandoned(&self, queue: QueueName, within: Duration) -> Result<u32> {
        eventually("the broker to notice that nobody reads any more", within, async || {
            let found = self.look_at(queue).await?;
            Ok((found.consumer_count() == 0).then_some(found.message_count()))
        })
        .await
    }

    async fn look_at(&self, queue: QueueName) -> Result<Queue> {
        let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        let name = self.topology.queue(queue);
        let found = self.channel.queue_declare(name.into(), options, FieldTable::default()).await;
        found.context("looking at a queue")
    }
}
