//! Producers may publish over AMQP: the routing key is the tenant, `message_id` the idempotency key. What is refused
//! goes to the refused queue with its problem; nothing vanishes.

use anyhow::{Context, Result, ensure};
use postrider_rabbitmq::QueueName;
use postrider_tests::harness::{ServerOptions, Stranger, eventually, shared_postgres, shared_rabbitmq};
use postrider_tests::stage::{SOON, Stage};
use serde_json::json;

/// The problem codes of so many refused messages.
async fn refused(producer: &Stranger, count: usize) -> Result<Vec<String>> {
    let mut codes = Vec::new();
    eventually("messages to be refused", SOON, async || {
        for message in producer.take(QueueName::EventsRefused).await? {
            codes.push(message.header("postrider-code").context("no code")?);
        }
        Ok((codes.len() >= count).then_some(()))
    })
    .await?;
    Ok(codes)
}

mod cluster {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn a_producers_message_is_delivered_once_and_a_bad_one_is_put_aside() -> Result<()> {
        let queue = shared_rabbitmq().await?.vhost().await?;
        let store = shared_postgres().await?.create_database().await?;
        let stage = Stage::open_with(ServerOptions::cluster(&queue, &store), "standard").await?;
        stage.webhook("/hook", "*", json!({})).await?;
        let producer = Stranger::connect(&queue).await?;

        let body = br#"{"type":"a.b","data":{"n":12345678901234567890123}}"#;
        producer.produce(&stage.tenant, Some("m-1"), body).await?;
        producer.produce(&stage.tenant, Some("m-1"), body).await?;
        let requests = stage.receiver.wait_for_requests("/hook", 1, SOON).await?;
        ensure!(requests[0].body.ends_with(br#""data":{"n":12345678901234567890123}}"#));

        producer.produce(&stage.tenant, None, body).await?;
        producer.produce(&stage.tenant, Some("m-2"), b"not json").await?;
        producer.produce("nobody", Some("m-3"), body).await?;
        producer.produce(&stage.tenant, Some("m-1"), br#"{"type":"a.b","data":{}}"#).await?;
        let mut codes = refused(&producer, 4).await?;
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
