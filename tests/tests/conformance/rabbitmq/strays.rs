//! The broker's own ways to set messages aside: the delivery limit, and a lane whose messages find no queue.

use std::collections::HashSet;
use std::time::Duration;

use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldArray, FieldTable};
use postrider_contract::clock::Clock;
use postrider_contract::delivery::Work;
use postrider_contract::ids::DeliveryId;
use postrider_contract::ports::{
    Lease, Publication, Route, Stray, StrayCause, StrayContents, StrayPlace, StraySource, Strays, WorkKind,
};
use postrider_rabbitmq::QueueName;
use postrider_service::system::SystemClock;
use postrider_tests::conformance::samples::Sample;
use postrider_tests::conformance::{eventually, soon};

use super::broker::{Raw, connect, fresh_url, name_of, publish, settings};

/// More than a dead-letter worker of the broker holds at once: by default 32.
const MANY: u32 = 40;
const DELAY: Duration = Duration::from_millis(300);

fn parked(number: u32) -> Publication {
    Sample::numbered(number, SystemClock.now()).publication(Route::Retry { delay: DELAY })
}

async fn read(strays: &dyn Strays, place: StrayPlace) -> Box<dyn StraySource> {
    strays.gather(place, 100).await.expect("strays can be read")
}

async fn next(source: &mut Box<dyn StraySource>) -> Lease<Stray> {
    soon(source.next()).await.expect("the queue is open")
}

fn delivery_of(stray: &Stray) -> DeliveryId {
    match &stray.contents {
        StrayContents::Work(Work::Deliver(delivery)) => Some(delivery.reference.id),
        StrayContents::Work(Work::FanOut(_))
        | StrayContents::Journal(_)
        | StrayContents::Produced(_)
        | StrayContents::Unreadable(_) => None,
    }
    .expect("a delivery")
}

/// A crash loop counts for every message in the same hands, those that did nothing wrong too: none may vanish.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_given_out_too_often_is_told_whole_and_with_why() {
    let engine = connect(settings(&fresh_url().await)).await;
    let queue = engine.work_queue();
    let sample = Sample::numbered(1, SystemClock.now());
    publish(&*queue, &sample).await.expect("it is confirmed");
    let mut source = queue.consume(WorkKind::First, 10).await.expect("work can be taken");
    let giving_back = tokio::spawn(async move {
        while let Ok(lease) = source.next().await {
            lease.ticket.give_back();
        }
    });
    let stray = next(&mut read(&*engine.strays(), StrayPlace::Dead).await).await;
    assert_eq!(stray.message.cause, StrayCause::GivenOutTooOften);
    assert_eq!(stray.message.contents, StrayContents::Work(Work::Deliver(sample.delivery())));
    assert_eq!(stray.message.origin, name_of(QueueName::First));
    stray.ticket.acknowledge();
    giving_back.abort();
}

/// Without the alternate exchange the lane itself would be stuck behind what finds no queue.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn retries_that_find_no_queue_are_told_and_hold_up_nothing() {
    let url = fresh_url().await;
    let engine = connect(settings(&url)).await;
    let queue = engine.work_queue();
    let raw = Raw::connect(&url).await;
    raw.unbind(&name_of(QueueName::Retry), "postrider.due.v1", "retry").await;
    // One after the other, so that each has a message of its own.
    for number in 0..MANY {
        soon(queue.publish(vec![parked(number)])).await.expect("it is confirmed");
    }
    let catch_all = name_of(QueueName::CatchAll);
    eventually(|| async { raw.ready(&catch_all).await == Some(MANY) }).await;
    assert_eq!(soon(queue.depths()).await.expect("it answers").catch_all, u64::from(MANY));
    let mut source = read(&*engine.strays(), StrayPlace::CatchAll).await;
    let mut seen = HashSet::new();
    for _ in 0..MANY {
        let stray = next(&mut source).await;
        assert_eq!(stray.message.cause, StrayCause::Unroutable);
        seen.insert(delivery_of(&stray.message));
        stray.ticket.acknowledge();
    }
    assert_eq!(seen.len(), usize::try_from(MANY).expect("small"));
    // Who reads them has what is missing declared again, and the next ones go the ordinary way.
    let mut retries = queue.consume(WorkKind::Retry, 10).await.expect("work can be taken");
    soon(async {
        for number in MANY.. {
            queue.publish(vec![parked(number)]).await.expect("it is confirmed");
            if let Ok(lease) = tokio::time::timeout(DELAY * 4, retries.next()).await {
                return lease.expect("the queue is open").ticket.acknowledge();
            }
        }
    })
    .await;
}

/// The broker's own `x-death` would be taken for a cycle.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_kept_has_no_header_of_the_broker() {
    let url = fresh_url().await;
    let engine = connect(settings(&url)).await;
    let raw = Raw::connect(&url).await;
    // Dead-lettered by the broker, and nobody can read it.
    raw.publish("", &name_of(QueueName::First), b"not protobuf").await;
    let other = Raw::connect(&url).await;
    let giving_back = tokio::spawn(async move {
        loop {
            other.give_back(&name_of(QueueName::First)).await;
        }
    });
    let stray = next(&mut read(&*engine.strays(), StrayPlace::Dead).await).await;
    assert_eq!(stray.message.cause, StrayCause::GivenOutTooOften);
    giving_back.abort();
    soon(engine.strays().keep(&stray.message)).await.expect("it is confirmed");
    stray.ticket.acknowledge();
    let (headers, body) = raw.take(&name_of(QueueName::Unreadable)).await;
    assert_eq!(body, b"not protobuf");
    assert!(headers.contains("postrider-queue=postrider.deliveries.first.v1"), "{headers}");
    assert!(headers.contains("postrider-cause=given_out_too_often"), "{headers}");
    assert!(!headers.contains("x-death") && !headers.contains("x-first-death"), "{headers}");
}

/// Whoever put it there by other means than ours may have left them on it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_looked_at_once_more_has_no_header_of_the_broker() {
    let url = fresh_url().await;
    let engine = connect(settings(&url)).await;
    let raw = Raw::connect(&url).await;
    let (mut headers, mut death) = (FieldTable::default(), FieldTable::default());
    death.insert("queue".into(), AMQPValue::LongString(name_of(QueueName::Dead).into()));
    headers.insert(
        "x-death".into(),
        AMQPValue::FieldArray(FieldArray::from(vec![AMQPValue::FieldTable(death)])),
    );
    headers.insert("postrider-reason".into(), AMQPValue::LongString("not protobuf".into()));
    let properties = BasicProperties::default().with_headers(headers);
    raw.publish_with("", &name_of(QueueName::Unreadable), b"not protobuf", properties).await;
    assert_eq!(soon(engine.strays().review()).await.expect("it answers"), 1);
    let (headers, _) = raw.take(&name_of(QueueName::Dead)).await;
    assert!(headers.contains("postrider-reason=not protobuf"), "{headers}");
    assert!(!headers.contains("x-death"), "{headers}");
}
