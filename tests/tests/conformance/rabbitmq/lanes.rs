//! Delay lanes as the broker has them.

use std::time::Duration;

use bytes::Bytes;
use postrider_contract::clock::Clock;
use postrider_contract::ports::{Publication, Route, WorkKind};
use postrider_rabbitmq::{QueueLimits, QueueName, Settings, TopologyAtStart, lane_for};
use postrider_service::system::SystemClock;
use postrider_tests::conformance::samples::Sample;
use postrider_tests::conformance::{eventually, soon, stays_quiet};
use postrider_tests::harness::{Knobs, RabbitMq, shared_rabbitmq};

use super::broker::{Raw, connect, fresh_url, name_of, settings};

fn parked(number: u32, delay: Duration) -> Publication {
    Sample::numbered(number, SystemClock.now()).publication(Route::Retry { delay })
}

#[tokio::test]
async fn a_lane_is_declared_on_first_use_and_is_never_early() {
    let delay = Duration::from_millis(600);
    let url = fresh_url().await;
    let queue = connect(settings(&url)).await.work_queue();
    let raw = Raw::connect(&url).await;
    let lane = settings(&url).describe_topology().lane(lane_for(delay));
    assert_eq!(raw.ready(&lane).await, None, "nobody used it");
    let mut source = queue.consume(WorkKind::Retry, 10).await.expect("work can be taken");
    let parked_at = SystemClock.now();
    soon(queue.publish(vec![parked(1, delay)])).await.expect("it is confirmed");
    assert!(raw.ready(&lane).await.is_some(), "it is there now");
    soon(source.next()).await.expect("it comes back").ticket.acknowledge();
    assert!(SystemClock.now().since(parked_at) >= delay, "it came early");
}

#[tokio::test]
async fn what_enters_a_lane_that_does_not_know_its_time_yet_comes_out_and_so_does_what_follows() {
    let delay = Duration::from_millis(250);
    let url = fresh_url().await;
    let queue = connect(settings(&url)).await.work_queue();
    let mut source = queue.consume(WorkKind::Retry, 10).await.expect("work can be taken");
    soon(queue.publish(vec![parked(1, delay)])).await.expect("it is confirmed");
    soon(source.next()).await.expect("it comes back").ticket.acknowledge();
    let lane = settings(&url).describe_topology().lane(lane_for(delay));
    let broker = shared_rabbitmq().await.expect("it runs");
    broker.forget_time_to_live(&url, &lane).await.expect("it does as it is told");
    for number in [2, 3] {
        soon(queue.publish(vec![parked(number, delay)])).await.expect("it is confirmed");
        soon(source.next()).await.expect("it comes back").ticket.acknowledge();
    }
}

#[tokio::test]
async fn many_first_users_of_a_lane_do_not_get_in_each_others_way() {
    let queue = connect(settings(&fresh_url().await)).await.work_queue();
    let delay = Duration::from_secs(3600);
    let calls = (0..20).map(|number| queue.publish(vec![parked(number, delay)]));
    for published in soon(futures_util::future::join_all(calls)).await {
        published.expect("it is confirmed");
    }
}

#[tokio::test]
async fn a_lane_that_was_deleted_is_declared_again() {
    let url = fresh_url().await;
    let queue = connect(settings(&url)).await.work_queue();
    let delay = Duration::from_secs(3600);
    soon(queue.publish(vec![parked(1, delay)])).await.expect("it is confirmed");
    Raw::connect(&url).await.delete(&settings(&url).describe_topology().lane(lane_for(delay))).await;
    assert!(soon(queue.publish(vec![parked(2, delay)])).await.is_err(), "nothing is lost without a word");
    eventually(|| async { queue.publish(vec![parked(2, delay)]).await.is_ok() }).await;
}

#[tokio::test]
async fn a_lane_that_cannot_be_declared_is_stepped_over_and_stops_nobody() {
    let delay = Duration::from_secs(3600);
    let url = fresh_url().await;
    let queue = connect(settings(&url)).await.work_queue();
    let raw = Raw::connect(&url).await;
    let topology = settings(&url).describe_topology();
    raw.declare_foreign(&topology.lane(lane_for(delay))).await;
    soon(queue.publish(vec![parked(1, delay)])).await.expect("it is parked all the same");
    let longer = queue.parked_for(delay);
    assert!(longer > delay && longer <= delay * 5 / 4, "the next longer lane: {longer:?}");
    assert_eq!(raw.ready(&topology.lane(lane_for(longer))).await, Some(1));
    assert_eq!(raw.ready(&topology.lane(lane_for(delay))).await, Some(0));
    soon(queue.publish(vec![Sample::numbered(2, SystemClock.now()).first()])).await.expect("others go on");
}

#[tokio::test]
async fn a_lane_can_be_used_by_who_may_not_declare_it() {
    let delay = Duration::from_secs(3600);
    let url = fresh_url().await;
    let declaring = connect(settings(&url)).await.work_queue();
    soon(declaring.publish(vec![parked(1, delay)])).await.expect("it is confirmed");
    // For a user without the right to configure every declaration is refused, one that changes nothing as well; a
    // lane with other arguments is refused likewise, and is easier to have.
    let limits = QueueLimits { messages: 1_000, ..QueueLimits::default() };
    let assuming = Settings { topology: TopologyAtStart::Assume, limits, ..settings(&url) };
    let queue = connect(assuming).await.work_queue();
    soon(queue.publish(vec![parked(2, delay)])).await.expect("it is confirmed");
    let lane = settings(&url).describe_topology().lane(lane_for(delay));
    assert_eq!(Raw::connect(&url).await.ready(&lane).await, Some(2));
}

/// A prefetch counts messages, and a body may have 1 MiB.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_large_retries_few_are_in_hand_and_small_ones_pass_them() {
    const LARGE: u32 = 40;
    let url = fresh_url().await;
    let queue = connect(settings(&url)).await.work_queue();
    let body = Bytes::from(vec![b'x'; 100 * 1024]);
    let large = |number| Sample { body: body.clone(), ..Sample::numbered(number, SystemClock.now()) };
    let delay = Duration::from_millis(250);
    let publications = (0..LARGE).map(|number| large(number).publication(Route::Retry { delay }));
    soon(queue.publish(publications.collect())).await.expect("it is confirmed");
    let raw = Raw::connect(&url).await;
    let name = name_of(QueueName::RetryLarge);
    eventually(|| async { raw.ready(&name).await == Some(LARGE) }).await;
    let mut source = queue.consume(WorkKind::Retry, 400).await.expect("work can be taken");
    let mut in_hand = Vec::new();
    for _ in 0..16 {
        in_hand.push(soon(source.next()).await.expect("it comes back"));
    }
    assert!(stays_quiet(source.next()).await, "no more are in hand");
    assert_eq!(raw.ready(&name).await, Some(LARGE - 16));
    let small = Sample::numbered(99, SystemClock.now());
    soon(queue.publish(vec![small.publication(Route::Retry { delay: Duration::ZERO })]))
        .await
        .expect("it is confirmed");
    let lease = soon(source.next()).await.expect("it comes");
    assert_eq!(lease.message, postrider_contract::delivery::Work::Deliver(small.delivery()));
}

/// With the headers of an earlier round a 3.x broker takes the second for a circle, and the message is stuck.
#[tokio::test]
async fn a_retry_is_parked_again_without_the_marks_of_its_last_lane() {
    let url = fresh_url().await;
    let queue = connect(settings(&url)).await.work_queue();
    let mut source = queue.consume(WorkKind::Retry, 10).await.expect("work can be taken");
    soon(queue.publish(vec![parked(1, Duration::from_millis(250))])).await.expect("it is confirmed");
    for delay in [300, 250, 250, 3_600_000].map(Duration::from_millis) {
        let lease = soon(source.next()).await.expect("it comes back");
        let again = Publication { route: Route::Retry { delay }, work: lease.message };
        soon(queue.publish(vec![again])).await.expect("it is confirmed");
        lease.ticket.acknowledge();
    }
    let lane = settings(&url).describe_topology().lane(lane_for(Duration::from_secs(3600)));
    let (headers, _) = Raw::connect(&url).await.take(&lane).await;
    assert!(!headers.contains("death"), "{headers}");
}

/// Forty are more than the broker's own worker moves at a time by default: without another way out for them, nothing
/// behind them would ever come out of a lane.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_finds_no_queue_after_its_lane_is_kept_and_blocks_nothing() {
    let url = fresh_url().await;
    connect(settings(&url)).await.work_queue().close().await;
    let assuming = Settings { topology: TopologyAtStart::Assume, ..settings(&url) };
    let engine = connect(assuming).await;
    let queue = engine.work_queue();
    let raw = Raw::connect(&url).await;
    raw.delete(&name_of(QueueName::Retry)).await;
    let delay = Duration::from_millis(250);
    // One after the other, so that each has a message of its own.
    for number in 0..40 {
        soon(queue.publish(vec![parked(number, delay)])).await.expect("it is confirmed");
    }
    eventually(|| async { raw.ready(&name_of(QueueName::CatchAll)).await == Some(40) }).await;
    soon(engine.declare_topology()).await.expect("it is declared");
    soon(queue.publish(vec![parked(99, delay)])).await.expect("it is confirmed");
    let mut source = queue.consume(WorkKind::Retry, 10).await.expect("work can be taken");
    soon(source.next()).await.expect("it comes back").ticket.acknowledge();
}

/// A short delay behind a long one is not held up by it, as it would be with a time to live of each message.
#[tokio::test]
async fn a_short_delay_does_not_wait_for_a_long_one() {
    let queue = connect(settings(&fresh_url().await)).await.work_queue();
    let mut source = queue.consume(WorkKind::Retry, 10).await.expect("work can be taken");
    let (long, short) = (parked(1, Duration::from_secs(3600)), parked(2, Duration::from_millis(250)));
    soon(queue.publish(vec![long])).await.expect("it is confirmed");
    soon(queue.publish(vec![short.clone()])).await.expect("it is confirmed");
    assert_eq!(soon(source.next()).await.expect("it comes back").message, short.work);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_finds_its_queue_full_waits_in_its_lane() {
    let knobs = Knobs { dead_letter_again: Duration::from_secs(1), ..Knobs::default() };
    let broker = RabbitMq::start_with(&knobs).await.expect("RabbitMQ starts");
    let limits = QueueLimits { messages: 5, ..QueueLimits::default() };
    let queue = connect(Settings { limits, ..settings(&broker.url()) }).await.work_queue();
    let mut sent = 0;
    // The limit is soft: the broker takes a few more than it says.
    while soon(queue.publish(vec![parked(sent, Duration::ZERO)])).await.is_ok() {
        sent += 1;
    }
    let full = sent;
    let delay = Duration::from_millis(250);
    for number in 100..103 {
        soon(queue.publish(vec![parked(number, delay)])).await.expect("its lane has room");
        sent += 1;
    }
    // When this one has come to its queue, which has room, the others have come to theirs.
    let body = Bytes::from(vec![b'x'; 100 * 1024]);
    let large = Sample { body, ..Sample::numbered(200, SystemClock.now()) };
    let later = large.publication(Route::Retry { delay: Duration::from_millis(300) });
    soon(queue.publish(vec![later])).await.expect("its lane has room");
    let raw = Raw::connect(&broker.url()).await;
    eventually(|| async { raw.ready(&name_of(QueueName::RetryLarge)).await == Some(1) }).await;
    eventually(|| async { raw.ready(&name_of(QueueName::Retry)).await == Some(full) }).await;
    let mut source = queue.consume(WorkKind::Retry, 100).await.expect("work can be taken");
    for _ in 0..=sent {
        soon(source.next()).await.expect("none is lost").ticket.acknowledge();
    }
}

/// Dead-lettered at most once, it would be gone: the broker finds nowhere to move it to.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_leaves_its_lane_while_its_way_out_is_missing_is_kept_until_there_is_one() {
    let knobs = Knobs { dead_letter_again: Duration::from_secs(1), ..Knobs::default() };
    let broker = RabbitMq::start_with(&knobs).await.expect("RabbitMQ starts");
    let engine = connect(settings(&broker.url())).await;
    let queue = engine.work_queue();
    let raw = Raw::connect(&broker.url()).await;
    raw.delete_exchange("postrider.due.v1").await;
    let delay = Duration::from_millis(250);
    soon(queue.publish(vec![parked(1, delay)])).await.expect("it is confirmed");
    let lane = settings("").describe_topology().lane(lane_for(delay));
    eventually(|| async { raw.ready(&lane).await == Some(0) }).await;
    soon(engine.declare_topology()).await.expect("it is declared");
    let mut source = queue.consume(WorkKind::Retry, 10).await.expect("work can be taken");
    soon(source.next()).await.expect("it comes back").ticket.acknowledge();
}
