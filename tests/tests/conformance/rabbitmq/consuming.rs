//! A source goes on whatever happens to its connection, its channel, its consumer and its queue.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use postrider_contract::clock::Clock;
use postrider_contract::delivery::Work;
use postrider_contract::ids::EventId;
use postrider_contract::ports::{Lease, Route, WorkKind, WorkQueue, WorkSource};
use postrider_rabbitmq::QueueName;
use postrider_service::system::SystemClock;
use postrider_tests::conformance::samples::Sample;
use postrider_tests::conformance::{eventually, soon, stays_quiet};
use postrider_tests::harness::{Knobs, RabbitMq};

use super::broker::{Raw, connect, fresh_url, name_of, publish, settings};
use super::proxy::Proxy;

pub fn samples(count: u32) -> Vec<Sample> {
    let now = SystemClock.now();
    (0..count).map(|number| Sample::numbered(number, now)).collect()
}

/// Each in a message of its own.
pub async fn publish_each(queue: &dyn WorkQueue, samples: &[Sample]) {
    for sample in samples {
        soon(queue.publish(vec![sample.first()])).await.expect("it is confirmed");
    }
}

/// In as few messages as hold them.
pub async fn publish_all(queue: &dyn WorkQueue, samples: &[Sample]) {
    soon(queue.publish(samples.iter().map(Sample::first).collect())).await.expect("it is confirmed");
}

pub async fn take(source: &mut Box<dyn WorkSource>) -> Lease<Work> {
    soon(source.next()).await.expect("the queue is open")
}

pub fn event_of(lease: &Lease<Work>) -> EventId {
    match &lease.message {
        Work::Deliver(delivery) => Some(delivery.reference.event_id.clone()),
        Work::FanOut(_) => None,
    }
    .expect("one delivery")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_source_outlives_a_cut_connection_and_what_was_in_hand_comes_again_marked() {
    let proxy = Proxy::before(&fresh_url().await).await;
    let queue = connect(settings(proxy.url())).await.work_queue();
    let samples = samples(20);
    publish_all(&*queue, &samples).await;
    let mut source = queue.consume(WorkKind::First, 10).await.expect("work can be taken");
    let in_hand = take(&mut source).await;
    let taken = event_of(&in_hand);
    proxy.cut();
    let mut redelivered = HashMap::new();
    while redelivered.len() < samples.len() {
        let lease = take(&mut source).await;
        redelivered.insert(event_of(&lease), lease.redelivered);
        lease.ticket.acknowledge();
    }
    assert_eq!(redelivered.get(&taken), Some(&true));
    in_hand.ticket.acknowledge();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn settling_after_a_reconnection_is_harmless() {
    let proxy = Proxy::before(&fresh_url().await).await;
    let queue = connect(settings(proxy.url())).await.work_queue();
    let samples = samples(4);
    publish_all(&*queue, &samples).await;
    let mut source = queue.consume(WorkKind::First, 10).await.expect("work can be taken");
    let mut before = Vec::new();
    for _ in &samples {
        before.push(take(&mut source).await);
    }
    proxy.cut();
    let mut after = Vec::new();
    for _ in &samples {
        after.push(take(&mut source).await);
    }
    // The tags of both channels are the same numbers: were these taken for each other, the queue would lose
    // what is still in hand, or the channel would be closed.
    for lease in before {
        lease.ticket.acknowledge();
    }
    assert!(stays_quiet(source.next()).await, "nothing else is there");
    for lease in after {
        lease.ticket.give_back();
    }
    for _ in &samples {
        take(&mut source).await.ticket.acknowledge();
    }
    assert!(stays_quiet(source.next()).await, "all is done");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_source_outlives_a_channel_that_the_broker_closes() {
    let knobs = Knobs { consumer_timeout: Some(Duration::from_secs(2)), ..Knobs::default() };
    let broker = RabbitMq::start_with(&knobs).await.expect("RabbitMQ starts");
    let queue = connect(settings(&broker.url())).await.work_queue();
    let samples = samples(1);
    publish_all(&*queue, &samples).await;
    let mut source = queue.consume(WorkKind::First, 10).await.expect("work can be taken");
    let in_hand = take(&mut source).await;
    let again = take(&mut source).await;
    assert!(again.redelivered, "it was in hand for longer than the broker waits");
    again.ticket.acknowledge();
    in_hand.ticket.acknowledge();
    let more = Sample::numbered(99, SystemClock.now());
    publish(&*queue, &more).await.expect("it is confirmed");
    assert_eq!(event_of(&take(&mut source).await), more.event);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_source_outlives_its_queue() {
    let url = fresh_url().await;
    let queue = connect(settings(&url)).await.work_queue();
    let samples = samples(2);
    publish_all(&*queue, &samples[..1]).await;
    let mut source = queue.consume(WorkKind::First, 10).await.expect("work can be taken");
    let in_hand = take(&mut source).await;
    Raw::connect(&url).await.delete(&name_of(QueueName::First)).await;
    eventually(|| async { publish(&*queue, &samples[1]).await.is_ok() }).await;
    let lease = take(&mut source).await;
    assert_eq!(event_of(&lease), samples[1].event);
    lease.ticket.acknowledge();
    in_hand.ticket.acknowledge();
}

/// The broker tells its consumers nothing then.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_source_outlives_a_queue_that_is_deleted_and_at_once_there_again() {
    let url = fresh_url().await;
    let mut settings = settings(&url);
    settings.timings.renew_idle = Duration::from_millis(500);
    let engine = connect(settings).await;
    let queue = engine.work_queue();
    let mut source = queue.consume(WorkKind::First, 10).await.expect("work can be taken");
    let samples = samples(2);
    publish(&*queue, &samples[0]).await.expect("it is confirmed");
    take(&mut source).await.ticket.acknowledge();
    Raw::connect(&url).await.delete(&name_of(QueueName::First)).await;
    // While it is still deleting, the broker may answer with an error of its own and drop the connection.
    eventually(|| async { engine.declare_topology().await.is_ok() }).await;
    publish(&*queue, &samples[1]).await.expect("it is confirmed");
    assert_eq!(event_of(&take(&mut source).await), samples[1].event);
}

#[tokio::test]
async fn what_nobody_can_read_is_kept_with_its_reason() {
    let url = fresh_url().await;
    let queue = connect(settings(&url)).await.work_queue();
    let raw = Raw::connect(&url).await;
    raw.publish("", &name_of(QueueName::First), b"not protobuf").await;
    let mut source = queue.consume(WorkKind::First, 10).await.expect("work can be taken");
    assert!(stays_quiet(source.next()).await, "there is nothing to read");
    let (properties, body) = raw.take(&name_of(QueueName::Dead)).await;
    assert_eq!(body, b"not protobuf");
    assert!(properties.contains("postrider-reason"), "{properties}");
    assert!(properties.contains(&name_of(QueueName::First)), "{properties}");
    assert_eq!(raw.ready(&name_of(QueueName::First)).await, Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_comes_back_too_often_is_kept_among_the_dead() {
    let url = fresh_url().await;
    let queue = connect(settings(&url)).await.work_queue();
    let samples = samples(1);
    publish_all(&*queue, &samples).await;
    let mut source = queue.consume(WorkKind::First, 10).await.expect("work can be taken");
    let giving_back = tokio::spawn(async move {
        while let Ok(lease) = source.next().await {
            lease.ticket.give_back();
        }
    });
    let raw = Raw::connect(&url).await;
    let (properties, _) = raw.take(&name_of(QueueName::Dead)).await;
    assert!(properties.contains("delivery_limit"), "{properties}");
    giving_back.abort();
}

/// Acknowledged in no order at all, and none comes again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acknowledgements_in_any_order_settle_each_message_once() {
    const MANY: usize = 2_000;
    let url = fresh_url().await;
    let engine = connect(settings(&url)).await;
    let queue = engine.work_queue();
    // Of these each is a message of its own.
    let released = samples(2_000).iter().map(|sample| sample.publication(Route::Release)).collect();
    soon(queue.publish(released)).await.expect("it is confirmed");
    let mut source = queue.consume(WorkKind::Release, 500).await.expect("work can be taken");
    let mut in_hand: Vec<Lease<Work>> = Vec::new();
    let mut settled = 0;
    while settled < MANY {
        while in_hand.len() < 400.min(MANY - settled) {
            let lease = take(&mut source).await;
            assert!(!lease.redelivered, "the channel lives");
            in_hand.push(lease);
        }
        // Every third from the middle on, then some of the oldest.
        let next = if settled % 3 == 0 { in_hand.len() / 2 } else { 0 };
        in_hand.remove(next).ticket.acknowledge();
        settled += 1;
    }
    assert!(stays_quiet(source.next()).await, "all is done");
    drop(source);
    soon(queue.close()).await;
    assert_eq!(Raw::connect(&url).await.ready(&name_of(QueueName::Release)).await, Some(0));
}

/// The broker gives no more than the prefetch until something was acknowledged.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_delivery_that_hangs_holds_no_other_acknowledgement_up() {
    const PREFETCH: u16 = 200;
    let queue = connect(settings(&fresh_url().await)).await.work_queue();
    publish_all(&*queue, &samples(300)).await;
    let mut source = queue.consume(WorkKind::First, PREFETCH).await.expect("work can be taken");
    let hangs = take(&mut source).await;
    for _ in 1..300 {
        take(&mut source).await.ticket.acknowledge();
    }
    hangs.ticket.acknowledge();
    assert!(stays_quiet(source.next()).await, "all is done");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_source_that_is_dropped_leaves_the_rest_to_others() {
    let queue = connect(settings(&fresh_url().await)).await.work_queue();
    let samples = samples(10);
    publish_all(&*queue, &samples).await;
    let mut first = queue.consume(WorkKind::First, 10).await.expect("work can be taken");
    let in_hand = take(&mut first).await;
    drop(first);
    let mut second = queue.consume(WorkKind::First, 10).await.expect("work can be taken");
    let mut seen = HashMap::new();
    while seen.len() < samples.len() - 1 {
        let lease = take(&mut second).await;
        seen.insert(event_of(&lease), ());
        lease.ticket.acknowledge();
    }
    assert!(!seen.contains_key(&event_of(&in_hand)), "it is still in hand");
    in_hand.ticket.acknowledge();
    assert!(stays_quiet(second.next()).await, "all is done");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restarted_broker_is_found_again() {
    let mut broker = RabbitMq::start().await.expect("RabbitMQ starts");
    let queue: Arc<dyn WorkQueue> = connect(settings(&broker.url())).await.work_queue();
    let samples = samples(5);
    publish_all(&*queue, &samples).await;
    let mut source = queue.consume(WorkKind::First, 10).await.expect("work can be taken");
    let in_hand = take(&mut source).await;
    broker.kill().expect("it is killed");
    eventually(|| async { queue.check_writable().is_err() }).await;
    broker.restart().await.expect("it starts again");
    let mut seen = HashMap::new();
    while seen.len() < samples.len() {
        let lease = take(&mut source).await;
        seen.insert(event_of(&lease), ());
        lease.ticket.acknowledge();
    }
    drop(in_hand);
    eventually(|| async { queue.check_writable().is_ok() }).await;
}

/// The connection stays open and heartbeats are far away: only a time limit of our own finds out.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subscription_that_is_never_answered_is_made_on_another_connection() {
    let url = fresh_url().await;
    let proxy = Proxy::before(&url).await;
    let mut settings = settings(&format!("{}?heartbeat=600", proxy.url()));
    settings.timings.round_trip = Duration::from_secs(1);
    let queue = connect(settings).await.work_queue();
    let samples = samples(1);
    publish_all(&*queue, &samples).await;
    proxy.swallow();
    let mut source = queue.consume(WorkKind::First, 10).await.expect("work can be taken");
    assert_eq!(event_of(&take(&mut source).await), samples[0].event);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_question_that_is_never_answered_ends_in_time() {
    let proxy = Proxy::before(&fresh_url().await).await;
    let mut settings = settings(&format!("{}?heartbeat=600", proxy.url()));
    settings.timings.round_trip = Duration::from_secs(1);
    let engine = connect(settings).await;
    proxy.swallow();
    assert!(soon(engine.work_queue().depths()).await.is_err(), "nobody knows");
    assert!(soon(engine.journal().settled_until(SystemClock.now())).await.is_err(), "nobody knows");
    assert!(soon(engine.declare_topology()).await.is_err(), "nothing is known to be declared");
    assert!(soon(engine.verify_topology()).await.is_err(), "nothing is known to be right");
}

/// Who publishes would learn of it by what is returned, and here nobody does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_queue_that_was_deleted_is_declared_again_by_who_consumes_it() {
    let url = fresh_url().await;
    let queue = connect(settings(&url)).await.work_queue();
    publish_all(&*queue, &samples(1)).await;
    let mut source = queue.consume(WorkKind::First, 10).await.expect("work can be taken");
    take(&mut source).await.ticket.acknowledge();
    let (raw, name) = (Raw::connect(&url).await, name_of(QueueName::First));
    raw.delete(&name).await;
    eventually(|| async { raw.ready(&name).await.is_some() }).await;
}
