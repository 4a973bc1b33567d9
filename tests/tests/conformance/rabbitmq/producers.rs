//! What producers publish over AMQP, and where it goes if it is not accepted.

use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable};
use postrider_contract::ports::{IntakeSource, Lease, ProducerMessage, Refusal, StrayContents, StrayPlace};
use postrider_rabbitmq::{QueueName, RabbitEngine};
use postrider_tests::conformance::soon;
use postrider_tests::harness::shared_rabbitmq;

use super::broker::{Raw, connect, fresh_url, name_of, settings};

/// A producer's message that has just come in.
struct Scene {
    url: String,
    raw: Raw,
    engine: RabbitEngine,
    intake: Box<dyn IntakeSource>,
    lease: Lease<ProducerMessage>,
}

impl Scene {
    async fn of(tenant: &str, body: &[u8], properties: BasicProperties) -> Self {
        let url = fresh_url().await;
        let engine = connect(settings(&url)).await;
        let raw = Raw::connect(&url).await;
        raw.publish_with("postrider.events", tenant, body, properties).await;
        let mut intake = engine.intake(1).expect("events can be taken");
        let lease = soon(intake.next()).await.expect("it is open");
        Scene { url, raw, engine, intake, lease }
    }
}

fn of_order() -> BasicProperties {
    BasicProperties::default().with_message_id("order-1".into()).with_content_type("application/json".into())
}

#[tokio::test]
async fn a_producers_message_comes_in_as_it_was_published() {
    let Scene { lease, .. } = Scene::of("tnt_acme", b"{\"type\":\"a.b\"}", of_order()).await;
    assert_eq!(lease.message.routing_key, "tnt_acme");
    assert_eq!(lease.message.message_id.as_deref(), Some("order-1"));
    assert_eq!(lease.message.content_type.as_deref(), Some("application/json"));
    assert_eq!(&lease.message.body[..], b"{\"type\":\"a.b\"}");
    lease.ticket.acknowledge();
}

#[tokio::test]
async fn what_is_refused_is_kept_with_the_problem_in_its_headers() {
    let Scene { raw, engine, lease, .. } = Scene::of("nobody", b"{", BasicProperties::default()).await;
    let refusal = Refusal { code: "invalid_json".to_owned(), detail: "it ends too early — ü".to_owned() };
    soon(engine.refused_queue().refuse(&lease.message, &refusal)).await.expect("it is confirmed");
    lease.ticket.acknowledge();
    let (properties, body) = raw.take(&name_of(QueueName::EventsRefused)).await;
    assert_eq!(body, b"{");
    assert!(properties.contains("postrider-code") && properties.contains("invalid_json"), "{properties}");
    assert!(properties.contains("nobody"), "{properties}");
}

#[tokio::test]
async fn what_is_put_off_comes_in_again_as_it_was_published_and_not_at_once() {
    let Scene { raw, engine, mut intake, lease: first, .. } = Scene::of("tnt_acme", b"{}", of_order()).await;
    soon(engine.put_off_queue().put_off(&first.message)).await.expect("it is confirmed");
    let message = first.message.clone();
    first.ticket.acknowledge();
    // Others come in meanwhile.
    raw.publish("postrider.events", "tnt_other", b"[]").await;
    let other = soon(intake.next()).await.expect("it is open");
    assert_eq!(other.message.routing_key, "tnt_other");
    other.ticket.acknowledge();
    // Twice over: a second round is no circle to the broker.
    for _ in 0..2 {
        let again = soon(intake.next()).await.expect("it is open");
        assert_eq!(again.message, message);
        soon(engine.put_off_queue().put_off(&again.message)).await.expect("it is confirmed");
        again.ticket.acknowledge();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_put_off_into_a_queue_that_does_not_know_its_time_yet_comes_in_again() {
    let Scene { url, engine, mut intake, lease, .. } = Scene::of("tnt_acme", b"{}", of_order()).await;
    let broker = shared_rabbitmq().await.expect("it runs");
    let queue = name_of(QueueName::EventsLater);
    broker.forget_time_to_live(&url, &queue).await.expect("it does as it is told");
    soon(engine.put_off_queue().put_off(&lease.message)).await.expect("it is confirmed");
    let message = lease.message.clone();
    lease.ticket.acknowledge();
    assert_eq!(soon(intake.next()).await.expect("it is open").message, message);
}

/// A binding that is missing for a while is no reason to refuse what can be accepted later.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_put_off_and_finds_no_way_back_is_put_off_once_more() {
    let Scene { raw, engine, mut intake, lease, .. } = Scene::of("tnt_acme", b"{}", of_order()).await;
    let message = lease.message.clone();
    raw.unbind(&name_of(QueueName::Events), "postrider.due.v1", "events.again").await;
    soon(engine.put_off_queue().put_off(&message)).await.expect("it is confirmed");
    let waiting = soon(engine.work_queue().depths()).await.expect("it answers").put_off;
    assert_eq!(waiting, 1);
    lease.ticket.acknowledge();
    let strays = engine.strays();
    let mut source = strays.gather(StrayPlace::CatchAll, 10).await.expect("strays can be read");
    let stray = soon(source.next()).await.expect("the queue is open");
    assert_eq!(stray.message.contents, StrayContents::Produced(message.clone()));
    soon(strays.keep(&stray.message)).await.expect("it is confirmed");
    stray.ticket.acknowledge();
    // Who read it has had the binding declared again.
    let again = soon(intake.next()).await.expect("it is open");
    assert_eq!(again.message, message);
}

#[tokio::test]
async fn a_producer_cannot_speak_for_another_tenant_by_the_headers_of_what_is_put_off() {
    let mut headers = FieldTable::default();
    headers.insert("postrider-tenant".into(), AMQPValue::LongString("tnt_other".into()));
    let Scene { lease, .. } = Scene::of("tnt_acme", b"{}", of_order().with_headers(headers)).await;
    assert_eq!(lease.message.routing_key, "tnt_acme");
    lease.ticket.acknowledge();
}
