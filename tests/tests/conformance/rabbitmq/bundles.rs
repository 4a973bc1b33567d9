//! Retries that share a message of a lane. Those that are published at one moment are the first, which goes out by itself,
//! and the others, together.

use std::collections::{HashSet, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use postrider_contract::clock::Clock;
use postrider_contract::delivery::{Check, Delivery, Work};
use postrider_contract::ids::EventId;
use postrider_contract::ports::{
    Lease, Publication, Route, StrayCause, StrayContents, StrayPlace, WorkKind, WorkQueue, WorkSource,
};
use postrider_contract::wire;
use postrider_rabbitmq::{QueueName, lane_for};
use postrider_service::system::SystemClock;
use postrider_tests::conformance::samples::{Sample, fan_out};
use postrider_tests::conformance::{soon, stays_quiet};

use super::broker::{Raw, connect, fresh_url, name_of, settings};
use super::consuming::{event_of, samples, take};

pub const SOON: Duration = Duration::from_millis(250);
const FAR_OFF: Duration = Duration::from_secs(3600);

/// Publishes each by itself, all at one moment.
pub async fn park(queue: &dyn WorkQueue, samples: &[Sample], delay: Duration) {
    let one_by_one =
        samples.iter().map(|sample| queue.publish(vec![sample.publication(Route::Retry { delay })]));
    for published in soon(join_all(one_by_one)).await {
        published.expect("it is confirmed");
    }
}

fn events(samples: &[Sample]) -> HashSet<EventId> {
    samples.iter().map(|sample| sample.event.clone()).collect()
}

/// Nine retries, of which eight came in one message: their leases, in the order they came.
async fn take_nine(queue: &dyn WorkQueue) -> (Box<dyn WorkSource>, Vec<Sample>, Vec<Lease<Work>>) {
    let samples = samples(9);
    let mut source = queue.consume(WorkKind::Retry, 10).await.expect("work can be taken");
    park(queue, &samples, SOON).await;
    let mut leases = Vec::new();
    for _ in &samples {
        leases.push(take(&mut source).await);
    }
    assert_eq!(leases.iter().map(event_of).collect::<HashSet<_>>(), events(&samples));
    (source, samples, leases)
}

#[tokio::test]
async fn retries_of_one_moment_share_a_message_that_reads_as_a_fan_out_where_bundles_are_not_known() {
    let url = fresh_url().await;
    let queue = connect(settings(&url)).await.work_queue();
    let samples = samples(9);
    park(&*queue, &samples, FAR_OFF).await;
    let raw = Raw::connect(&url).await;
    let lane = settings(&url).describe_topology().lane(lane_for(FAR_OFF));
    let mut read = Vec::new();
    for _ in 0..2 {
        let (_, body) = raw.take(&lane).await;
        match wire::decode_work(Bytes::from(body)).expect("it is work") {
            Work::Deliver(delivery) => read.push(vec![delivery]),
            Work::FanOut(bundle) => read.push(bundle.into_whole().collect()),
        }
    }
    let whole: Vec<Delivery> = samples.iter().map(Sample::delivery).collect();
    assert_eq!(read, [whole[..1].to_vec(), whole[1..].to_vec()]);
    assert_eq!(raw.ready(&lane).await, Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn retries_that_shared_a_message_come_out_each_by_itself_and_whole() {
    let queue = connect(settings(&fresh_url().await)).await.work_queue();
    let (mut source, samples, leases) = take_nine(&*queue).await;
    for lease in leases {
        let Work::Deliver(delivery) = &lease.message else { panic!("not taken apart") };
        let sample = samples.iter().find(|sample| sample.event == delivery.reference.event_id);
        assert_eq!(delivery, &sample.expect("one of them").delivery());
        assert!(!lease.redelivered);
        lease.ticket.acknowledge();
    }
    queue.close().await;
    assert!(source.next().await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn retries_that_are_given_back_come_again_and_not_those_that_are_done_with() {
    let queue = connect(settings(&fresh_url().await)).await.work_queue();
    let (mut source, _, mut leases) = take_nine(&*queue).await;
    // The first came alone.
    let given_back = [leases.remove(6), leases.remove(2)];
    let expected: HashSet<_> = given_back.iter().map(event_of).collect();
    given_back.into_iter().for_each(|lease| lease.ticket.give_back());
    for lease in leases {
        lease.ticket.acknowledge();
    }
    let mut again = HashSet::new();
    for _ in 0..2 {
        let lease = take(&mut source).await;
        let Work::Deliver(delivery) = &lease.message else { panic!("not taken apart") };
        assert_eq!(delivery.check, Check::LookUp, "it was in other hands before");
        again.insert(event_of(&lease));
        lease.ticket.acknowledge();
    }
    assert_eq!(again, expected);
    assert!(stays_quiet(source.next()).await, "all is done");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_more_retries_are_in_hand_than_a_prefetch_allows_however_they_came() {
    const PREFETCH: u16 = 4;
    let queue = connect(settings(&fresh_url().await)).await.work_queue();
    let samples = samples(9);
    let mut source = queue.consume(WorkKind::Retry, PREFETCH).await.expect("work can be taken");
    park(&*queue, &samples, SOON).await;
    let mut in_hand = VecDeque::new();
    for _ in 0..PREFETCH {
        in_hand.push_back(take(&mut source).await);
    }
    assert!(stays_quiet(source.next()).await, "four are in hand");
    let mut done = HashSet::new();
    while let Some(lease) = in_hand.pop_front() {
        done.insert(event_of(&lease));
        lease.ticket.acknowledge();
        if done.len() + in_hand.len() < samples.len() {
            in_hand.push_back(take(&mut source).await);
        }
    }
    assert_eq!(done, events(&samples));
}

/// As a worker does that is told to stop.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_given_back_right_before_a_close_comes_again_and_nothing_else() {
    let url = fresh_url().await;
    let queue = connect(settings(&url)).await.work_queue();
    let (source, _, mut leases) = take_nine(&*queue).await;
    let given_back = leases.remove(5);
    let expected = event_of(&given_back);
    drop((source, given_back));
    for lease in leases {
        lease.ticket.acknowledge();
    }
    soon(queue.close()).await;
    let queue = connect(settings(&url)).await.work_queue();
    let mut source = queue.consume(WorkKind::Retry, 10).await.expect("work can be taken");
    let lease = take(&mut source).await;
    assert_eq!(event_of(&lease), expected);
    lease.ticket.acknowledge();
    assert!(stays_quiet(source.next()).await, "nothing else was left");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bundle_that_is_given_back_whole_comes_again_marked() {
    let queue = connect(settings(&fresh_url().await)).await.work_queue();
    let (mut source, samples, mut leases) = take_nine(&*queue).await;
    leases.remove(0).ticket.acknowledge();
    drop(leases);
    let mut again = HashSet::new();
    for _ in 1..samples.len() {
        let lease = take(&mut source).await;
        assert!(lease.redelivered, "it is looked up before it is tried");
        again.insert(event_of(&lease));
        lease.ticket.acknowledge();
    }
    assert_eq!(again, events(&samples[1..]));
    assert!(stays_quiet(source.next()).await, "all is done");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn retries_that_came_back_too_often_together_are_told_whole_and_with_why() {
    let url = fresh_url().await;
    let engine = connect(settings(&url)).await;
    let queue = engine.work_queue();
    let (mut source, samples, leases) = take_nine(&*queue).await;
    let giving_back = tokio::spawn(async move {
        drop(leases);
        while let Ok(lease) = source.next().await {
            lease.ticket.give_back();
        }
    });
    let strays = engine.strays();
    let mut dead = strays.gather(StrayPlace::Dead, 10).await.expect("strays can be read");
    let mut found = HashSet::new();
    while found.len() < samples.len() {
        let Lease { message: stray, ticket, .. } = soon(dead.next()).await.expect("the queue is open");
        assert_eq!(stray.cause, StrayCause::GivenOutTooOften);
        match stray.contents {
            StrayContents::Work(Work::Deliver(delivery)) => {
                found.insert(delivery.reference.event_id);
            }
            StrayContents::Work(Work::FanOut(bundle)) => {
                found.extend(bundle.into_whole().map(|delivery| delivery.reference.event_id));
            }
            StrayContents::Journal(_) | StrayContents::Produced(_) | StrayContents::Unreadable(_) => {
                panic!("a retry")
            }
        }
        ticket.acknowledge();
    }
    assert_eq!(found, events(&samples));
    giving_back.abort();
}

/// As it was before there were bundles: a fan-out that waits for room comes whole.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fan_out_that_went_through_a_lane_comes_out_whole() {
    let url = fresh_url().await;
    let queue = connect(settings(&url)).await.work_queue();
    let bodies = [Bytes::from_static(b"{}"), Bytes::from_static(b"{\"n\":1}")];
    let work = fan_out(3, bodies, SystemClock.now());
    let mut source = queue.consume(WorkKind::Retry, 10).await.expect("work can be taken");
    let publication = Publication { route: Route::Retry { delay: SOON }, work: work.clone() };
    soon(queue.publish(vec![publication])).await.expect("it is confirmed");
    let lease = take(&mut source).await;
    assert_eq!(lease.message, work);
    lease.ticket.acknowledge();
    let raw = Raw::connect(&url).await;
    assert_eq!(raw.ready(&name_of(QueueName::Retry)).await, Some(0));
}
