//! What is handed out, by which consumer, and that what was settled stays settled. The broker's own list of consumers says
//! when one was replaced.

use std::collections::HashSet;
use std::time::Duration;

use postrider_contract::clock::Clock;
use postrider_contract::delivery::Work;
use postrider_contract::ports::{Lease, WorkKind, WorkQueue, WorkSource};
use postrider_rabbitmq::QueueName;
use postrider_service::system::SystemClock;
use postrider_tests::conformance::samples::Sample;
use postrider_tests::conformance::{eventually, soon, stays_quiet};
use postrider_tests::harness::{Knobs, RabbitMq, shared_rabbitmq};

use super::broker::{Raw, connect, fresh_url, name_of, publish, settings};
use super::bundles::{SOON, park};
use super::consuming::{event_of, publish_each, samples, take};
use super::proxy::Proxy;

/// The broker's word for the one consumer of a queue; each has another.
struct Consumers<'a> {
    broker: &'a RabbitMq,
    virtual_host: String,
}

impl<'a> Consumers<'a> {
    fn on(broker: &'a RabbitMq, url: &str) -> Self {
        let virtual_host = url.rsplit('/').next().unwrap_or_default().replace("%2f", "/");
        Consumers { broker, virtual_host }
    }

    /// `None` while there is none, or two.
    async fn look(&self, queue: QueueName) -> Option<String> {
        let question = ["list_consumers", "-p", &self.virtual_host, "queue_name", "consumer_tag"];
        let listed = self.broker.ctl(&question).await.expect("the broker lists its consumers");
        let name = name_of(queue);
        let mut tags = listed.lines().filter_map(|line| line.strip_prefix(&name)?.strip_prefix('\t'));
        let tag = tags.next()?.trim().to_owned();
        tags.next().is_none().then_some(tag)
    }

    async fn of(&self, queue: QueueName) -> String {
        soon(async {
            loop {
                if let Some(tag) = self.look(queue).await {
                    return tag;
                }
            }
        })
        .await
    }

    /// Waits until another one has taken its place.
    async fn replaced(&self, queue: QueueName, before: &str) {
        eventually(|| async { self.look(queue).await.is_some_and(|tag| tag != before) }).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_prefetched_over_a_lost_connection_is_not_handed_out() {
    let url = fresh_url().await;
    let proxy = Proxy::before(&url).await;
    let queue = connect(settings(proxy.url())).await.work_queue();
    let samples = samples(5);
    publish_each(&*queue, &samples).await;
    let mut source = queue.consume(WorkKind::First, 10).await.expect("work can be taken");
    let in_hand = take(&mut source).await;
    let raw = Raw::connect(&url).await;
    eventually(|| async { raw.ready(&name_of(QueueName::First)).await == Some(0) }).await;
    let consumers = Consumers::on(shared_rabbitmq().await.expect("it runs"), &url);
    let before = consumers.of(QueueName::First).await;
    proxy.cut();
    consumers.replaced(QueueName::First, &before).await;
    for _ in &samples {
        let lease = take(&mut source).await;
        assert!(lease.redelivered, "it came over the connection that is lost, and comes again");
        lease.ticket.acknowledge();
    }
    in_hand.ticket.acknowledge();
    assert!(stays_quiet(source.next()).await, "all is done");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_left_of_a_bundle_whose_connection_is_lost_is_not_handed_out() {
    let url = fresh_url().await;
    let proxy = Proxy::before(&url).await;
    let queue = connect(settings(proxy.url())).await.work_queue();
    let samples = samples(9);
    park(&*queue, &samples, SOON).await;
    let mut source = queue.consume(WorkKind::Retry, 10).await.expect("work can be taken");
    take(&mut source).await.ticket.acknowledge();
    let in_hand = take(&mut source).await;
    let consumers = Consumers::on(shared_rabbitmq().await.expect("it runs"), &url);
    let before = consumers.of(QueueName::Retry).await;
    proxy.cut();
    consumers.replaced(QueueName::Retry, &before).await;
    // The first may come again too: nobody knows whether its acknowledgement went out before the cut.
    let mut missing: HashSet<_> = samples[1..].iter().map(|sample| sample.event.clone()).collect();
    while !missing.is_empty() {
        let lease = take(&mut source).await;
        assert!(lease.redelivered, "it came over the connection that is lost, and comes again");
        missing.remove(&event_of(&lease));
        lease.ticket.acknowledge();
    }
    in_hand.ticket.acknowledge();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_prefetched_over_a_channel_that_the_broker_closed_is_not_handed_out() {
    let knobs = Knobs { consumer_timeout: Some(Duration::from_secs(2)), ..Knobs::default() };
    let broker = RabbitMq::start_with(&knobs).await.expect("RabbitMQ starts");
    let queue = connect(settings(&broker.url())).await.work_queue();
    let samples = samples(3);
    publish_each(&*queue, &samples).await;
    let mut source = queue.consume(WorkKind::First, 10).await.expect("work can be taken");
    let in_hand = take(&mut source).await;
    let consumers = Consumers::on(&broker, &broker.url());
    let before = consumers.of(QueueName::First).await;
    consumers.replaced(QueueName::First, &before).await;
    let mut seen = HashSet::new();
    while seen.len() < samples.len() {
        let lease = take(&mut source).await;
        assert!(lease.redelivered, "it came over the channel that is closed, and comes again");
        seen.insert(event_of(&lease));
        lease.ticket.acknowledge();
    }
    in_hand.ticket.acknowledge();
}

/// Nothing tells an idle consumer from one that the broker has forgotten.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_consumer_is_replaced_again_and_again_and_one_with_work_in_hand_is_not() {
    let url = fresh_url().await;
    let mut settings = settings(&url);
    settings.timings.renew_idle = Duration::from_millis(200);
    let queue = connect(settings).await.work_queue();
    publish(&*queue, &Sample::numbered(1, SystemClock.now())).await.expect("it is confirmed");
    let mut busy = queue.consume(WorkKind::First, 10).await.expect("work can be taken");
    let in_hand = take(&mut busy).await;
    let _idle = queue.consume(WorkKind::Release, 10).await.expect("work can be taken");
    let consumers = Consumers::on(shared_rabbitmq().await.expect("it runs"), &url);
    let with_work = consumers.of(QueueName::First).await;
    for _ in 0..2 {
        let idle = consumers.of(QueueName::Release).await;
        consumers.replaced(QueueName::Release, &idle).await;
    }
    assert_eq!(consumers.of(QueueName::First).await, with_work);
    in_hand.ticket.acknowledge();
    consumers.replaced(QueueName::First, &with_work).await;
}

/// Far more than the broker hands to a queue at once.
const MANY: u32 = 300;

/// With this prefetch acknowledgements wait a moment for those of older deliveries, and go out singly if those stay in
/// hand.
async fn take_many(queue: &dyn WorkQueue) -> (Box<dyn WorkSource>, Vec<Lease<Work>>) {
    let mut source = queue.consume(WorkKind::First, 400).await.expect("work can be taken");
    let mut in_hand = Vec::new();
    for _ in 0..MANY {
        in_hand.push(take(&mut source).await);
    }
    (source, in_hand)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_right_before_a_close_does_not_come_again() {
    let url = fresh_url().await;
    let queue = connect(settings(&url)).await.work_queue();
    let samples = samples(MANY);
    publish_each(&*queue, &samples).await;
    let (_source, mut in_hand) = take_many(&*queue).await;
    in_hand.drain(1..).for_each(|lease| lease.ticket.acknowledge());
    soon(queue.close()).await;
    assert_only_comes_again(&url, &samples[..1]).await;
}

/// As a worker ends: it takes no more, and finishes what it has.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_after_its_source_was_dropped_does_not_come_again() {
    let url = fresh_url().await;
    let queue = connect(settings(&url)).await.work_queue();
    let samples = samples(MANY);
    publish_each(&*queue, &samples).await;
    let (source, mut in_hand) = take_many(&*queue).await;
    drop(source);
    let consumers = Consumers::on(shared_rabbitmq().await.expect("it runs"), &url);
    eventually(|| async { consumers.look(QueueName::First).await.is_none() }).await;
    in_hand.drain(1..).for_each(|lease| lease.ticket.acknowledge());
    soon(queue.close()).await;
    assert_only_comes_again(&url, &samples[..1]).await;
}

/// What another process gets.
async fn assert_only_comes_again(url: &str, samples: &[Sample]) {
    let queue = connect(settings(url)).await.work_queue();
    let mut source = queue.consume(WorkKind::First, 400).await.expect("work can be taken");
    for sample in samples {
        let lease = take(&mut source).await;
        assert_eq!(event_of(&lease), sample.event);
        lease.ticket.acknowledge();
    }
    assert!(stays_quiet(source.next()).await, "all others were acknowledged");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_channel_that_the_broker_closes_takes_no_other_with_it() {
    let knobs = Knobs { consumer_timeout: Some(Duration::from_secs(2)), ..Knobs::default() };
    let broker = RabbitMq::start_with(&knobs).await.expect("RabbitMQ starts");
    let queue = connect(settings(&broker.url())).await.work_queue();
    publish_each(&*queue, &samples(1)).await;
    let mut source = queue.consume(WorkKind::First, 10).await.expect("work can be taken");
    let _other = queue.consume(WorkKind::Release, 10).await.expect("work can be taken");
    let in_hand = take(&mut source).await;
    let consumers = Consumers::on(&broker, &broker.url());
    let (before, other) = (consumers.of(QueueName::First).await, consumers.of(QueueName::Release).await);
    consumers.replaced(QueueName::First, &before).await;
    let again = take(&mut source).await;
    assert!(again.redelivered, "it was in hand for longer than the broker waits");
    again.ticket.acknowledge();
    assert_eq!(consumers.of(QueueName::Release).await, other);
    in_hand.ticket.acknowledge();
}

/// To the broker, a prefetch of zero is one without a limit.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_asks_for_no_message_at_once_is_given_one_and_not_all() {
    let url = fresh_url().await;
    let queue = connect(settings(&url)).await.work_queue();
    publish_each(&*queue, &samples(5)).await;
    let mut source = queue.consume(WorkKind::First, 0).await.expect("work can be taken");
    let in_hand = take(&mut source).await;
    assert!(stays_quiet(source.next()).await, "one is in hand");
    assert_eq!(Raw::connect(&url).await.ready(&name_of(QueueName::First)).await, Some(4));
    in_hand.ticket.acknowledge();
}
