//! A publish is `Ok` only for what the broker certainly has.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use postrider_contract::clock::Clock;
use postrider_contract::ports::{Publication, PublishError, Route, WorkKind, WorkQueue};
use postrider_rabbitmq::{QueueLimits, QueueName, Settings, TopologyAtStart};
use postrider_service::system::SystemClock;
use postrider_tests::conformance::samples::{Sample, fan_out};
use postrider_tests::conformance::{eventually, soon};
use postrider_tests::harness::RabbitMq;

use super::broker::{Raw, connect, fresh_url, name_of, publish, settings};
use super::proxy::Proxy;

pub fn sample(number: u32) -> Sample {
    Sample::numbered(number, SystemClock.now())
}

/// An engine that leaves what is missing missing.
pub async fn assuming(url: &str) -> Arc<dyn WorkQueue> {
    connect(settings(url)).await.work_queue().close().await;
    connect(Settings { topology: TopologyAtStart::Assume, ..settings(url) }).await.work_queue()
}

#[tokio::test]
async fn an_unroutable_publish_is_refused_and_not_lost() {
    let url = fresh_url().await;
    let queue = assuming(&url).await;
    publish(&*queue, &sample(1)).await.expect("it is confirmed");
    Raw::connect(&url).await.delete(&name_of(QueueName::First)).await;
    let refused = publish(&*queue, &sample(2)).await;
    assert!(matches!(refused, Err(PublishError::Refused { .. })), "{refused:?}");
    soon(queue.publish(vec![sample(3).publication(Route::Release)])).await.expect("the channel lives");
}

/// The broker confirms many messages at once, returned ones among them. None of these shares a message with others.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_message_that_was_returned_is_the_one_that_is_refused() {
    const EACH: u32 = 3_000;
    let url = fresh_url().await;
    let queue = assuming(&url).await;
    let raw = Raw::connect(&url).await;
    raw.delete(&name_of(QueueName::First)).await;
    let mut calls = Vec::new();
    for number in 0..EACH {
        let work = fan_out(1, [Bytes::new(), Bytes::new()], SystemClock.now());
        let unroutable = Publication { route: Route::First, work };
        for publication in [unroutable, sample(number).publication(Route::Release)] {
            let (queue, route) = (Arc::clone(&queue), publication.route);
            calls.push((route, tokio::spawn(async move { queue.publish(vec![publication]).await })));
        }
    }
    for (route, call) in calls {
        let published = soon(call).await.expect("it does not panic");
        assert_eq!(published.is_ok(), route == Route::Release, "{route:?}: {published:?}");
    }
    assert_eq!(raw.ready(&name_of(QueueName::Release)).await, Some(EACH));
}

#[tokio::test]
async fn a_queue_that_was_deleted_is_declared_again() {
    let url = fresh_url().await;
    let queue = connect(settings(&url)).await.work_queue();
    Raw::connect(&url).await.delete(&name_of(QueueName::First)).await;
    eventually(|| async { publish(&*queue, &sample(1)).await.is_ok() }).await;
}

#[tokio::test]
async fn a_full_queue_refuses() {
    let url = fresh_url().await;
    let limits = QueueLimits { messages: 1, ..QueueLimits::default() };
    let queue = connect(Settings { limits, ..settings(&url) }).await.work_queue();
    let mut confirmed = HashSet::new();
    // The limit is soft: the broker takes a few more than it says.
    let refused = soon(async {
        for number in 0.. {
            match publish(&*queue, &sample(number)).await {
                Ok(()) => confirmed.insert(sample(number).event),
                Err(refused) => return refused,
            };
        }
        unreachable!("the queue fills up")
    })
    .await;
    assert!(matches!(refused, PublishError::Refused { .. }), "{refused:?}");
    assert_eq!(soon(queue.depths()).await.expect("it answers").first, confirmed.len() as u64);
}

#[tokio::test]
async fn a_call_of_which_a_part_was_refused_is_in_doubt() {
    let url = fresh_url().await;
    let queue = assuming(&url).await;
    Raw::connect(&url).await.delete(&name_of(QueueName::First)).await;
    let publications = vec![sample(1).first(), sample(2).publication(Route::Release)];
    let published = soon(queue.publish(publications)).await;
    assert!(matches!(published, Err(PublishError::InDoubt { .. })), "{published:?}");
}

#[tokio::test]
async fn a_confirm_that_does_not_come_leaves_the_publish_in_doubt() {
    let proxy = Proxy::before(&fresh_url().await).await;
    // Heartbeats are far away, so that they do not find out first.
    let mut settings = settings(&format!("{}?heartbeat=600", proxy.url()));
    settings.timings.confirm = Duration::from_millis(300);
    let queue = connect(settings).await.work_queue();
    publish(&*queue, &sample(1)).await.expect("it is confirmed");
    proxy.fall_silent();
    let published = publish(&*queue, &sample(2)).await;
    assert!(matches!(published, Err(PublishError::InDoubt { .. })), "{published:?}");
    eventually(|| async { queue.check_writable().is_err() }).await;
    proxy.pass();
    eventually(|| async { publish(&*queue, &sample(3)).await.is_ok() }).await;
}

#[tokio::test]
async fn without_a_connection_a_publish_is_refused_at_once() {
    let proxy = Proxy::before(&fresh_url().await).await;
    let queue = connect(settings(proxy.url())).await.work_queue();
    proxy.refuse();
    eventually(|| async { queue.check_writable().is_err() }).await;
    let published = publish(&*queue, &sample(1)).await;
    assert!(matches!(published, Err(PublishError::Refused { .. })), "{published:?}");
    proxy.pass();
    eventually(|| async { queue.check_writable().is_ok() }).await;
    publish(&*queue, &sample(2)).await.expect("it is confirmed");
}

/// Whatever is confirmed while the connection is cut again and again is there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_confirmed_survives_cuts() {
    let url = fresh_url().await;
    let proxy = Proxy::before(&url).await;
    let queue = connect(settings(proxy.url())).await.work_queue();
    let mut confirmed = HashSet::new();
    for round in 0..10_u32 {
        eventually(|| async { queue.check_writable().is_ok() }).await;
        let calls: Vec<_> = (0..50)
            .map(|number| {
                let (queue, sample) = (Arc::clone(&queue), sample(round * 50 + number));
                tokio::spawn(async move { queue.publish(vec![sample.first()]).await.map(|()| sample.event) })
            })
            .collect();
        tokio::task::yield_now().await;
        proxy.cut();
        for call in calls {
            confirmed.extend(soon(call).await.expect("it does not panic"));
        }
    }
    let reader = connect(settings(&url)).await.work_queue();
    let mut source = reader.consume(WorkKind::First, 1_000).await.expect("work can be taken");
    while !confirmed.is_empty() {
        let lease = soon(source.next()).await.expect("it is open");
        if let postrider_contract::delivery::Work::Deliver(delivery) = &lease.message {
            confirmed.remove(&delivery.reference.event_id);
        }
        lease.ticket.acknowledge();
    }
}

/// An exchange that is gone closes the channel with everything in flight on it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_in_flight_on_a_channel_that_the_broker_closes_is_in_doubt_and_the_rest_goes_on() {
    let url = fresh_url().await;
    let queue = connect(settings(&url)).await.work_queue();
    let raw = Raw::connect(&url).await;
    let mut calls: Vec<_> = (0..200)
        .map(|number| {
            let (queue, sample) = (Arc::clone(&queue), sample(number));
            tokio::spawn(async move {
                (sample.event.clone(), queue.publish(vec![sample.publication(Route::Release)]).await)
            })
        })
        .collect();
    raw.delete_exchange("postrider.publish.v1").await;
    calls.extend((200..400).map(|number| {
        let (queue, sample) = (Arc::clone(&queue), sample(number));
        tokio::spawn(async move {
            (sample.event.clone(), queue.publish(vec![sample.publication(Route::Release)]).await)
        })
    }));
    let mut confirmed = HashSet::new();
    let mut in_doubt = 0;
    for call in calls {
        match soon(call).await.expect("it does not panic") {
            (event, Ok(())) => confirmed.insert(event),
            (_, Err(PublishError::InDoubt { .. })) => {
                in_doubt += 1;
                false
            }
            (_, Err(PublishError::Refused { .. })) => false,
        };
    }
    assert!(in_doubt > 0, "some were on their way");
    eventually(|| async { publish(&*queue, &sample(1_000)).await.is_ok() }).await;
    let there = soon(queue.depths()).await.expect("it answers").release;
    assert!(there >= confirmed.len() as u64, "{there} are there, {} were confirmed", confirmed.len());
}

#[tokio::test]
async fn a_message_that_is_too_long_is_refused_and_harms_no_other() {
    let queue = connect(settings(&fresh_url().await)).await.work_queue();
    let long = Sample { body: Bytes::from(vec![b'x'; 17 * 1024 * 1024]), ..sample(1) };
    let (refused, published) =
        tokio::join!(queue.publish(vec![long.first()]), queue.publish(vec![sample(2).first()]));
    assert!(matches!(refused, Err(PublishError::Refused { .. })), "{refused:?}");
    published.expect("it is confirmed");
}

/// By its deliveries alone it is as long as a large body, and a prefetch counts messages.
#[tokio::test]
async fn a_long_fan_out_of_small_bodies_goes_by_itself() {
    let queue = connect(settings(&fresh_url().await)).await.work_queue();
    let work = fan_out(1_000, [Bytes::from_static(b"{}"), Bytes::from_static(b"{} ")], SystemClock.now());
    soon(queue.publish(vec![Publication { route: Route::First, work: work.clone() }]))
        .await
        .expect("it is confirmed");
    let mut large = queue.consume(WorkKind::Large, 10).await.expect("work can be taken");
    assert_eq!(soon(large.next()).await.expect("it is open").message, work);
}

#[tokio::test]
async fn a_call_of_more_than_a_window_is_confirmed_whole() {
    let queue = connect(settings(&fresh_url().await)).await.work_queue();
    let release = |number| sample(number).publication(Route::Release);
    soon(queue.publish((0..5_000).map(release).collect())).await.expect("it is confirmed");
    assert_eq!(soon(queue.depths()).await.expect("it answers").release, 5_000, "a message for each");
}

#[tokio::test]
async fn while_the_broker_blocks_nothing_is_written_but_settlements_and_then_it_goes_on() {
    let broker = RabbitMq::start().await.expect("RabbitMQ starts");
    let mut settings = settings(&broker.url());
    settings.timings.confirm = Duration::from_secs(2);
    let queue = connect(settings).await.work_queue();
    // One in hand at a time: the second comes only when the broker has the acknowledgement of the first.
    let mut source = queue.consume(WorkKind::First, 1).await.expect("work can be taken");
    publish(&*queue, &sample(1)).await.expect("it is confirmed");
    publish(&*queue, &sample(5)).await.expect("it is confirmed");
    broker.ctl(&["set_vm_memory_high_watermark", "0.000001"]).await.expect("the alarm is set off");
    // The broker tells a connection when it next publishes.
    eventually(|| async { publish(&*queue, &sample(2)).await.is_err() }).await;
    eventually(|| async { queue.check_writable().is_err() }).await;
    let published = publish(&*queue, &sample(3)).await;
    assert!(matches!(published, Err(PublishError::Refused { .. })), "{published:?}");
    soon(source.next()).await.expect("consuming goes on").ticket.acknowledge();
    soon(source.next()).await.expect("settling too").ticket.acknowledge();
    broker.ctl(&["set_vm_memory_high_watermark", "0.6"]).await.expect("the alarm is over");
    eventually(|| async { publish(&*queue, &sample(4)).await.is_ok() }).await;
}

/// Another one would be blocked as well, and what is on its way on this one would be in doubt.
#[tokio::test]
async fn a_connection_that_the_broker_blocks_is_kept_for_longer_than_a_confirm_may_take() {
    let broker = RabbitMq::start().await.expect("RabbitMQ starts");
    let mut settings = settings(&broker.url());
    settings.timings.confirm = Duration::from_millis(500);
    let queue = connect(settings).await.work_queue();
    publish(&*queue, &sample(1)).await.expect("it is confirmed");
    let before = publishing_connection(&broker).await;
    broker.ctl(&["set_vm_memory_high_watermark", "0.000001"]).await.expect("the alarm is set off");
    eventually(|| async { publish(&*queue, &sample(2)).await.is_err() }).await;
    eventually(|| async { queue.check_writable().is_err() }).await;
    assert_eq!(publishing_connection(&broker).await, before);
    broker.ctl(&["set_vm_memory_high_watermark", "0.6"]).await.expect("the alarm is over");
    eventually(|| async { publish(&*queue, &sample(3)).await.is_ok() }).await;
    assert_eq!(publishing_connection(&broker).await, before);
}

/// The broker's word for it; each has another.
async fn publishing_connection(broker: &RabbitMq) -> String {
    let listed = broker.ctl(&["list_connections", "pid", "client_properties"]).await.expect("it answers");
    let line = listed.lines().find(|line| line.contains("(publishing)")).expect("it is there");
    line.split('\t').next().unwrap_or_default().to_owned()
}
