//! Producers may publish over AMQP: the routing key is the tenant, `message_id` the idempotency key. What is refused
//! goes to the refused queue with its problem; nothing vanishes.

use anyhow::{Context, Result, ensure};
use futures_util::StreamExt;
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, ConfirmSelectOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties};
use postrider_tests::harness::{ServerOptions, shared_postgres, shared_rabbitmq};
use postrider_tests::stage::{SOON, Stage};
use serde_json::json;

const EXCHANGE: &str = "postrider.events";
const REFUSED: &str = "postrider.events.refused";

struct Producer {
    channel: Channel,
    _connection: Connection,
}

impl Producer {
    async fn connect(url: &str) -> Result<Self> {
        let connection = Connection::connect(url, ConnectionProperties::default()).await?;
        let channel = connection.create_channel().await?;
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
        Ok(Producer { channel, _connection: connection })
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "a producer is not Postrider: it publishes as any client would"
    )]
    async fn publish(&self, tenant: &str, message_id: Option<&str>, body: &str) -> Result<()> {
        let mut properties = BasicProperties::default().with_delivery_mode(2);
        if let Some(id) = message_id {
            properties = properties.with_message_id(id.into());
        }
        let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
        let sent =
            self.channel.basic_publish(EXCHANGE.into(), tenant.into(), options, body.as_bytes(), properties);
        let confirm = sent.await?.await?;
        ensure!(confirm.is_ack(), "not confirmed");
        Ok(())
    }

    /// The problem codes of what was refused, in order.
    async fn refused(&self, count: usize) -> Result<Vec<String>> {
        let options = BasicConsumeOptions::default();
        let mut consumer =
            self.channel.basic_consume(REFUSED.into(), "test".into(), options, FieldTable::default()).await?;
        let mut codes = Vec::new();
        while codes.len() < count {
            let next = tokio::time::timeout(SOON, consumer.next()).await.context("nothing was refused")?;
            let delivery = next.context("the consumer ended")??;
            let headers = delivery.properties.headers().clone().context("no headers")?;
            let found = headers.inner().iter().find(|(name, _)| name.as_str().contains("code"));
            match found {
                Some((_, AMQPValue::LongString(code))) => codes.push(code.to_string()),
                other => anyhow::bail!("no code in the headers: {other:?}"),
            }
            delivery.ack(BasicAckOptions::default()).await?;
        }
        Ok(codes)
    }
}

mod cluster {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn a_producers_message_is_delivered_once_and_a_bad_one_is_put_aside() -> Result<()> {
        let queue = shared_rabbitmq().await?.vhost().await?;
        let store = shared_postgres().await?.create_database().await?;
        let stage = Stage::open_with(ServerOptions::cluster(&queue, &store), "standard").await?;
        stage.webhook("/hook", "*", json!({})).await?;
        let producer = Producer::connect(&queue).await?;

        let body = r#"{"type":"a.b","data":{"n":12345678901234567890123}}"#;
        producer.publish(&stage.tenant, Some("m-1"), body).await?;
        producer.publish(&stage.tenant, Some("m-1"), body).await?;
        let requests = stage.receiver.wait_for_requests("/hook", 1, SOON).await?;
        ensure!(requests[0].body.ends_with(br#""data":{"n":12345678901234567890123}}"#));

        producer.publish(&stage.tenant, None, body).await?;
        producer.publish(&stage.tenant, Some("m-2"), "not json").await?;
        producer.publish("nobody", Some("m-3"), body).await?;
        producer.publish(&stage.tenant, Some("m-1"), r#"{"type":"a.b","data":{}}"#).await?;
        let mut codes = producer.refused(4).await?;
        codes.sort();
        ensure!(
            codes == ["idempotency_key_reused", "invalid_request", "malformed_json", "not_found"],
            "{codes:?}"
        );

        let ledger = stage.wait_until_settled(SOON).await?;
        ensure!(ledger["events"]["accepted"] == 1 && ledger["deliveries"]["delivered"] == 1, "{ledger}");
        ensure!(stage.receiver.count() == 1, "a repeated message_id counted twice");
        Ok(())
    }
}
