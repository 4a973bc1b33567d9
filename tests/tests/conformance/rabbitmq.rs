//! RabbitMQ: the conformance suite of the queue and the journal, and what is RabbitMQ's alone.

#[path = "rabbitmq/at_once.rs"]
mod at_once;
#[path = "rabbitmq/broker.rs"]
mod broker;
#[path = "rabbitmq/bundles.rs"]
mod bundles;
#[path = "rabbitmq/consuming.rs"]
mod consuming;
#[path = "rabbitmq/handing_out.rs"]
mod handing_out;
#[path = "rabbitmq/lanes.rs"]
mod lanes;
#[path = "rabbitmq/producers.rs"]
mod producers;
#[path = "rabbitmq/proxy.rs"]
mod proxy;
#[path = "rabbitmq/publishing.rs"]
mod publishing;
#[path = "rabbitmq/secured.rs"]
mod secured;
#[path = "rabbitmq/starting.rs"]
mod starting;
#[path = "rabbitmq/strays.rs"]
mod strays_of_the_broker;

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable, LongString};
use postrider_contract::clock::{Clock, Timestamp};
use postrider_contract::ports::{Journal, Strays, WorkKind, WorkQueue};
use postrider_rabbitmq::{QueueName, RabbitEngine};
use postrider_service::system::SystemClock;
use postrider_tests::conformance::{MeantFor, QueueUnderTest};
use postrider_tests::queue_conformance;

use broker::{Raw, connect, fresh_url, settings};

queue_conformance!(start);

struct RabbitUnderTest {
    url: String,
    engine: Option<RabbitEngine>,
}

async fn start() -> RabbitUnderTest {
    let url = fresh_url().await;
    let engine = Some(connect(settings(&url)).await);
    RabbitUnderTest { url, engine }
}

impl RabbitUnderTest {
    fn engine(&self) -> &RabbitEngine {
        self.engine.as_ref().expect("it is open")
    }
}

#[async_trait]
impl QueueUnderTest for RabbitUnderTest {
    fn queue(&self) -> Arc<dyn WorkQueue> {
        self.engine().work_queue()
    }

    fn journal(&self) -> Arc<dyn Journal> {
        self.engine().journal()
    }

    fn strays(&self) -> Arc<dyn Strays> {
        self.engine().strays()
    }

    async fn set_aside(&self, meant_for: MeantFor, bytes: Bytes) {
        let topology = settings(&self.url).describe_topology();
        let queue = match meant_for {
            MeantFor::FirstTries => QueueName::First,
            MeantFor::Journal => QueueName::Journal,
        };
        let mut headers = FieldTable::default();
        let text = |text: &str| AMQPValue::LongString(LongString::from(text));
        headers.insert("postrider-queue".into(), text(&topology.queue(queue)));
        headers.insert("postrider-reason".into(), text("set aside by hand"));
        let properties = BasicProperties::default().with_headers(headers);
        let raw = Raw::connect(&self.url).await;
        raw.publish_with("", &topology.queue(QueueName::Dead), &bytes, properties).await;
    }

    async fn reopen(&mut self) {
        // Dropped, not closed: its connections end, and what it had in hand comes again.
        self.engine = None;
        self.engine = Some(connect(settings(&self.url)).await);
    }

    async fn inject_undecodable(&self, kind: WorkKind) {
        let queue = match kind {
            WorkKind::First => QueueName::First,
            WorkKind::Retry => QueueName::Retry,
            WorkKind::Release => QueueName::Release,
            WorkKind::Large => QueueName::Large,
        };
        let raw = Raw::connect(&self.url).await;
        raw.publish("", &settings(&self.url).describe_topology().queue(queue), b"not protobuf").await;
    }

    fn now(&self) -> Timestamp {
        SystemClock.now()
    }
}
