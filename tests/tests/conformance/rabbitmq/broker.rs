//! Engines for the tests, and the broker's own view of what they did.

use std::sync::Arc;
use std::time::Duration;

use lapin::options::{
    BasicGetOptions, BasicNackOptions, BasicPublishOptions, ConfirmSelectOptions, ExchangeDeleteOptions,
    QueueDeclareOptions, QueueDeleteOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties};
use postrider_contract::ports::{PublishError, WorkQueue};
use postrider_rabbitmq::{ConnectError, QueueName, RabbitEngine, Settings};
use postrider_service::system::{SystemClock, SystemEntropy};
use postrider_tests::conformance::samples::Sample;
use postrider_tests::conformance::soon;
use postrider_tests::harness::shared_rabbitmq;

/// A virtual host that no other test has.
pub async fn fresh_url() -> String {
    let broker = shared_rabbitmq().await.expect("RabbitMQ starts");
    broker.vhost().await.expect("a virtual host is made")
}

/// Defaults, but quicker to come back.
pub fn settings(url: &str) -> Settings {
    let mut settings = Settings::new(url, "test@localhost");
    settings.timings.first_pause = Duration::from_millis(20);
    settings.timings.longest_pause = Duration::from_millis(200);
    settings
}

pub async fn try_connect(settings: Settings) -> Result<RabbitEngine, ConnectError> {
    soon(RabbitEngine::connect(settings, Arc::new(SystemClock), Arc::new(SystemEntropy))).await
}

pub async fn connect(settings: Settings) -> RabbitEngine {
    try_connect(settings).await.expect("the broker is there")
}

/// The name of a queue, with the default prefix.
pub fn name_of(queue: QueueName) -> String {
    Settings::new("", "").describe_topology().queue(queue)
}

pub async fn publish(queue: &dyn WorkQueue, sample: &Sample) -> Result<(), PublishError> {
    soon(queue.publish(vec![sample.first()])).await
}

fn read_headers(properties: &BasicProperties) -> String {
    let headers = properties.headers().clone().unwrap_or_default();
    headers.inner().iter().map(|(name, value)| format!("{}={} ", name.as_str(), read_value(value))).collect()
}

fn read_value(value: &AMQPValue) -> String {
    if let AMQPValue::LongString(text) = value {
        return text.to_string();
    }
    if let AMQPValue::FieldArray(values) = value {
        return values.as_slice().iter().map(read_value).collect::<Vec<_>>().join(",");
    }
    if let AMQPValue::FieldTable(fields) = value {
        return fields
            .inner()
            .iter()
            .map(|(name, value)| format!("{}:{} ", name.as_str(), read_value(value)))
            .collect();
    }
    format!("{value:?}")
}

/// A client beside the engine.
pub struct Raw {
    connection: Connection,
}

impl Raw {
    pub async fn connect(url: &str) -> Raw {
        let connecting = Connection::connect(url, ConnectionProperties::default());
        Raw { connection: soon(connecting).await.expect("the broker is there") }
    }

    async fn channel(&self) -> Channel {
        self.connection.create_channel().await.expect("a channel")
    }

    pub async fn publish(&self, exchange: &str, key: &str, body: &[u8]) {
        self.publish_with(exchange, key, body, BasicProperties::default()).await;
    }

    #[expect(clippy::disallowed_methods, reason = "stands for a foreign program")]
    pub async fn publish_with(&self, exchange: &str, key: &str, body: &[u8], properties: BasicProperties) {
        let channel = self.channel().await;
        channel.confirm_select(ConfirmSelectOptions::default()).await.expect("confirm mode");
        let options = BasicPublishOptions { mandatory: true, immediate: false };
        let published = channel.basic_publish(exchange.into(), key.into(), options, body, properties).await;
        let confirmation = published.expect("it is sent").await.expect("it is confirmed");
        assert!(confirmation.is_ack() && confirmation.take_message().is_none(), "it arrived");
    }

    /// Takes the oldest message for good, once there is one: its headers as text, and its body.
    pub async fn take(&self, queue: &str) -> (String, Vec<u8>) {
        let channel = self.channel().await;
        let options = BasicGetOptions { no_ack: true };
        soon(async {
            loop {
                if let Some(found) =
                    channel.basic_get(queue.into(), options).await.expect("the queue is there")
                {
                    return (read_headers(&found.delivery.properties), found.delivery.data);
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        })
        .await
    }

    /// Takes the oldest message, if there is one, and gives it back at once.
    pub async fn give_back(&self, queue: &str) {
        let channel = self.channel().await;
        let options = BasicGetOptions { no_ack: false };
        let found = channel.basic_get(queue.into(), options).await.expect("the queue is there");
        if let Some(found) = found {
            let requeue = BasicNackOptions { multiple: false, requeue: true };
            channel.basic_nack(found.delivery.delivery_tag, requeue).await.expect("it is given back");
        }
        // Whatever the channel still had to say is said by then.
        channel.close(200, "done".into()).await.expect("it is closed");
    }

    pub async fn unbind(&self, queue: &str, exchange: &str, key: &str) {
        let channel = self.channel().await;
        let unbound = channel.queue_unbind(queue.into(), exchange.into(), key.into(), FieldTable::default());
        unbound.await.expect("it is unbound");
    }

    /// How many are ready; `None` if there is no such queue.
    pub async fn ready(&self, queue: &str) -> Option<u32> {
        let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        let found = self.channel().await.queue_declare(queue.into(), options, FieldTable::default()).await;
        found.ok().map(|queue| queue.message_count())
    }

    pub async fn delete(&self, queue: &str) {
        let deleted = self.channel().await.queue_delete(queue.into(), QueueDeleteOptions::default()).await;
        deleted.expect("it is deleted");
    }

    /// As [`Raw::delete`], and its bindings with it.
    pub async fn delete_exchange(&self, exchange: &str) {
        let options = ExchangeDeleteOptions::default();
        let deleted = self.channel().await.exchange_delete(exchange.into(), options).await;
        deleted.expect("it is deleted");
    }

    /// A durable classic queue without arguments.
    pub async fn declare_foreign(&self, queue: &str) {
        let options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
        let declared = self.channel().await.queue_declare(queue.into(), options, FieldTable::default()).await;
        declared.expect("it is declared");
    }
}
