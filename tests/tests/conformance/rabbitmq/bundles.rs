//! Deliveries that share a message. Of retries that are published at one moment, each by itself, the first goes out alone and
//! the others together; first tries that are published together go out so.

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

/// All kinds of work that come in bundles.
const KINDS: [WorkKind; 2] = [WorkKind::First, WorkKind::Retry];

/// Nine deliveries, of which the last eight are certainly in one message.
async fn publish_nine(queue: &dyn WorkQueue, kind: WorkKind) -> Vec<Sample> {
    let samples = samples(9);
    if kind == WorkKind::Retry {
        park(queue, &samples, SOON).await;
    } else {
        let together = samples.iter().map(Sample::first).collect();
        soon(queue.publish(together)).await.expect("it is confirmed");
    }
    samples
}

/// The leases of nine, in the order they came.
async fn take_nine(
    queue: &dyn WorkQueue,
    kind: WorkKind,
) -> (Box<dyn WorkSource>, Vec<Sample>, Vec<Lease<Work>>) {
    let mut source = queue.consume(kind, 10).await.expect("work can be taken");
    let samples = publish_nine(queue, kind).await;
    let mut leases = Vec::new();
    for _ in &samples {
        leases.push(take(&mut source).await);
    }
    assert_eq!(leases.iter().map(event_of).collect::<HashSet<_>>(), events(&samples));
    (source, samples, leases)
}

/// What the next messages of a queue hold, read without knowing of bundles.
async fn read_plainly(raw: &Raw, queue: &str, messages: usize) -> Vec<Vec<Delivery>> {
    let mut read = Vec::new();
    for _ in 0..messages {
        let (_, body) = raw.take(queue).await;
        match wire::decode_work(Bytes::from(body)).expect("it is work") {
            Work::Deliver(delivery) => read.push(vec![delivery]),
            Work::FanOut(bundle) => read.push(bundle.into_whole().collect()),
        }
    }
    assert_eq!(raw.ready(queue).await, Some(0));
    read
}

#[tokio::test]
async fn retries_of_one_moment_share_a_message_that_reads_as_a_fan_out_where_bundles_are_not_known() {
    let url = fresh_url().await;
    let queue = connect(settings(&url)).await.work_queue();
    let samples = samples(9);
    park(&*queue, &samples, FAR_OFF).await;
    let raw = Raw::connect(&url).await;
    let lane = settings(&url).describe_topology().lane(lane_for(FAR_OFF));
    let whole: Vec<Delivery> = samples.iter().map(Sample::delivery).collect();
    assert_eq!(read_plainly(&raw, &lane, 2).await, [whole[..1].to_vec(), whole[1..].to_vec()]);
}

#[tokio::test]
async fn first_tries_that_are_published_together_share_a_message_that_reads_as_a_fan_out() {
    let url = fresh_url().await;
    let queue = connect(settings(&url)).await.work_queue();
    let whole: Vec<Delivery> =
        publish_nine(&*queue, WorkKind::First).await.iter().map(Sample::delivery).collect();
    let depths = soon(queue.depths()).await.expect("it answers");
    assert_eq!((depths.first, depths.published), (1, 1), "both count messages");
    let raw = Raw::connect(&url).await;
    assert_eq!(read_plainly(&raw, &name_of(QueueName::First), 1).await, [whole]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn first_tries_that_come_one_by_one_share_messages_once_the_broker_is_busy() {
    const MANY: u32 = 200;
    let url = fresh_url().await;
    let queue = connect(settings(&url)).await.work_queue();
    let samples = samples(MANY);
    let one_by_one = samples.iter().map(|sample| queue.publish(vec![sample.first()]));
    for published in soon(join_all(one_by_one)).await {
        published.expect("it is confirmed");
    }
    let messages = soon(queue.depths()).await.expect("it answers").first;
    assert!(messages < u64::from(MANY / 2), "{messages} messages");
    let mut source = queue.consume(WorkKind::First, 1_000).await.expect("work can be taken");
    let mut found = HashSet::new();
    while found.len() < samples.len() {
        let lease = take(&mut source).await;
        found.insert(event_of(&lease));
        lease.ticket.acknowledge();
    }
    assert_eq!(found, events(&samples));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deliveries_that_shared_a_message_come_out_each_by_itself_and_whole() {
    for kind in KINDS {
        let queue = connect(settings(&fresh_url().await)).await.work_queue();
        let (mut source, samples, leases) = take_nine(&*queue, kind).await;
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
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deliveries_that_are_given_back_come_again_and_not_those_that_are_done_with() {
    for kind in KINDS {
        let queue = connect(settings(&fresh_url().await)).await.work_queue();
        let (mut source, _, mut leases) = take_nine(&*queue, kind).await;
        // The first may have come alone.
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
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_more_deliveries_are_in_hand_than_a_prefetch_allows_however_they_came() {
    const PREFETCH: u16 = 4;
    for kind in KINDS {
        let queue = connect(settings(&fresh_url().await)).await.work_queue();
        let mut source = queue.consume(kind, PREFETCH).await.expect("work can be taken");
        let samples = publish_nine(&*queue, kind).await;
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
}

/// As a worker does that is told to stop.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_given_back_right_before_a_close_comes_again_and_nothing_else() {
    for kind in KINDS {
        let url = fresh_url().await;
        let queue = connect(settings(&url)).await.work_queue();
        let (source, _, mut leases) = take_nine(&*queue, kind).await;
        let given_back = leases.remove(5);
        let expected = event_of(&given_back);
        drop((source, given_back));
        for lease in leases {
            lease.ticket.acknowledge();
        }
        soon(queue.close()).await;
        let queue = connect(settings(&url)).await.work_queue();
        let mut source = queue.consume(kind, 10).await.expect("work can be taken");
        let lease = take(&mut source).await;
        assert_eq!(event_of(&lease), expected);
        lease.ticket.acknowledge();
        assert!(stays_quiet(source.next()).await, "nothing else was left");
    }
}

/// As with a worker that takes no more and still tries what it has begun.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_given_back_comes_to_others_while_what_it_came_with_is_still_tried() {
    for kind in KINDS {
        let url = fresh_url().await;
        let ending = connect(settings(&url)).await.work_queue();
        let (source, samples, mut leases) = take_nine(&*ending, kind).await;
        let tried = leases.pop().expect("the last");
        drop((source, leases));
        let queue = connect(settings(&url)).await.work_queue();
        let mut source = queue.consume(kind, 10).await.expect("work can be taken");
        let mut again = HashSet::new();
        for _ in 1..samples.len() {
            let lease = take(&mut source).await;
            again.insert(event_of(&lease));
            lease.ticket.acknowledge();
        }
        assert!(!again.contains(&event_of(&tried)), "it is still tried");
        tried.ticket.acknowledge();
        soon(ending.close()).await;
        assert!(stays_quiet(source.next()).await, "all is done");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bundle_that_is_given_back_whole_comes_again_marked() {
    for kind in KINDS {
        let queue = connect(settings(&fresh_url().await)).await.work_queue();
        let (mut source, samples, mut leases) = take_nine(&*queue, kind).await;
        // A retry that came alone, before the others.
        let alone = usize::from(kind == WorkKind::Retry);
        leases.drain(..alone).for_each(|lease| lease.ticket.acknowledge());
        drop(leases);
        let mut again = HashSet::new();
        for _ in alone..samples.len() {
            let lease = take(&mut source).await;
            assert!(lease.redelivered, "it is looked up before it is tried");
            again.insert(event_of(&lease));
            lease.ticket.acknowledge();
        }
        assert_eq!(again, events(&samples[alone..]));
        assert!(stays_quiet(source.next()).await, "all is done");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deliveries_that_came_back_too_often_together_are_told_whole_and_with_why() {
    for kind in KINDS {
        let engine = connect(settings(&fresh_url().await)).await;
        let queue = engine.work_queue();
        let (mut source, samples, leases) = take_nine(&*queue, kind).await;
        let giving_back = tokio::spawn(async move {
            drop(leases);
            while let Ok(lease) = source.next().await {
                lease.ticket.give_back();
            }
        });
        let mut dead = engine.strays().gather(StrayPlace::Dead, 10).await.expect("strays can be read");
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
                    panic!("a delivery")
                }
            }
            ticket.acknowledge();
        }
        assert_eq!(found, events(&samples));
        giving_back.abort();
    }
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
