//! What the deliveries queue promises while it runs.

use std::collections::HashSet;
use std::time::Duration;

use bytes::Bytes;
use postrider_contract::clock::Timestamp;
use postrider_contract::delivery::Work;
use postrider_contract::ids::DeliveryId;
use postrider_contract::ports::{Lease, Publication, Route, WorkKind, WorkSource};

use super::samples::{Sample, fan_out};
use super::{QueueUnderTest, eventually, soon, stays_quiet};

/// What is over this goes to `Large`.
const LARGE: usize = 64 * 1024;
/// What a clock that counts milliseconds may be off by, where two are compared.
const GRAIN: Duration = Duration::from_millis(2);

/// The next message, which must be a delivery and come soon.
pub(super) async fn take(source: &mut Box<dyn WorkSource>) -> Lease<Work> {
    soon(source.next()).await.expect("the queue is open")
}

/// The delivery that a message carries.
pub(super) fn id_of(lease: &Lease<Work>) -> DeliveryId {
    match &lease.message {
        Work::Deliver(delivery) => Some(delivery.reference.id),
        Work::FanOut(_) => None,
    }
    .expect("one delivery")
}

pub(super) async fn source(engine: &dyn QueueUnderTest, kind: WorkKind) -> Box<dyn WorkSource> {
    engine.queue().consume(kind, 100).await.expect("work can be taken")
}

pub(super) async fn publish(engine: &dyn QueueUnderTest, publications: Vec<Publication>) {
    soon(engine.queue().publish(publications)).await.expect("it is confirmed");
}

pub async fn a_delivery_arrives_as_it_was_published(engine: &mut dyn QueueUnderTest) {
    let body = Bytes::from_static(b"{\"n\": 12345678901234567890123,\"z\":1, \"a\":2}");
    let sample = Sample { body, ..Sample::numbered(1, engine.now()) };
    let mut source = source(engine, WorkKind::First).await;
    publish(engine, vec![sample.first()]).await;
    let lease = take(&mut source).await;
    assert_eq!(lease.message, Work::Deliver(sample.delivery()));
    assert!(!lease.redelivered, "nobody had it before");
    lease.ticket.acknowledge();
}

pub async fn what_is_published_before_anyone_takes_is_kept(engine: &mut dyn QueueUnderTest) {
    let sample = Sample::numbered(1, engine.now());
    publish(engine, vec![sample.first()]).await;
    let mut source = source(engine, WorkKind::First).await;
    assert_eq!(id_of(&take(&mut source).await), sample.id());
}

pub async fn what_is_given_back_comes_again_marked(engine: &mut dyn QueueUnderTest) {
    let sample = Sample::numbered(1, engine.now());
    let mut source = source(engine, WorkKind::First).await;
    publish(engine, vec![sample.first()]).await;
    take(&mut source).await.ticket.give_back();
    let again = take(&mut source).await;
    assert!(again.redelivered, "it was in other hands");
    assert_eq!(again.message, Work::Deliver(sample.delivery()));
    again.ticket.acknowledge();
}

pub async fn a_dropped_lease_comes_again_marked(engine: &mut dyn QueueUnderTest) {
    let sample = Sample::numbered(1, engine.now());
    let mut source = source(engine, WorkKind::First).await;
    publish(engine, vec![sample.first()]).await;
    drop(take(&mut source).await);
    let again = take(&mut source).await;
    assert_eq!((id_of(&again), again.redelivered), (sample.id(), true));
    again.ticket.acknowledge();
}

pub async fn no_more_are_in_hand_than_the_prefetch(engine: &mut dyn QueueUnderTest) {
    let now = engine.now();
    let publications = (1..=3).map(|number| Sample::numbered(number, now).first()).collect();
    publish(engine, publications).await;
    let mut source = engine.queue().consume(WorkKind::First, 2).await.expect("work can be taken");
    let one = take(&mut source).await;
    let two = take(&mut source).await;
    assert!(stays_quiet(source.next()).await, "two are in hand");
    one.ticket.acknowledge();
    let three = take(&mut source).await;
    let seen: HashSet<DeliveryId> = [id_of(&two), id_of(&three)].into();
    assert_eq!(seen.len(), 2);
}

pub async fn giving_up_waiting_loses_nothing(engine: &mut dyn QueueUnderTest) {
    let mut source = source(engine, WorkKind::First).await;
    assert!(stays_quiet(source.next()).await, "nothing is there");
    let sample = Sample::numbered(1, engine.now());
    publish(engine, vec![sample.first()]).await;
    assert_eq!(id_of(&take(&mut source).await), sample.id());
}

pub async fn two_sources_share_the_work(engine: &mut dyn QueueUnderTest) {
    let now = engine.now();
    let mut left = engine.queue().consume(WorkKind::First, 1).await.expect("work can be taken");
    let mut right = engine.queue().consume(WorkKind::First, 1).await.expect("work can be taken");
    for number in 1..=2 {
        publish(engine, vec![Sample::numbered(number, now).first()]).await;
    }
    let (one, two) = (take(&mut left).await, take(&mut right).await);
    assert_ne!(id_of(&one), id_of(&two));
}

pub async fn many_in_one_call_all_arrive_once(engine: &mut dyn QueueUnderTest) {
    let now = engine.now();
    let samples: Vec<Sample> = (0..500).map(|number| Sample::numbered(number, now)).collect();
    let mut source = source(engine, WorkKind::First).await;
    publish(engine, samples.iter().map(Sample::first).collect()).await;
    let mut seen = HashSet::new();
    for _ in 0..samples.len() {
        let lease = take(&mut source).await;
        assert!(seen.insert(id_of(&lease)), "each comes once");
        lease.ticket.acknowledge();
    }
    assert!(samples.iter().all(|sample| seen.contains(&sample.id())));
}

pub async fn the_kinds_are_taken_apart(engine: &mut dyn QueueUnderTest) {
    let now = engine.now();
    let routes = [
        (Route::First, WorkKind::First),
        (Route::Retry { delay: Duration::ZERO }, WorkKind::Retry),
        (Route::Release, WorkKind::Release),
    ];
    let sample = |number: usize| Sample::numbered(u32::try_from(number).expect("small"), now);
    let publications =
        routes.iter().enumerate().map(|(number, (route, _))| sample(number).publication(*route));
    publish(engine, publications.collect()).await;
    for (number, (_, kind)) in routes.iter().enumerate().rev() {
        let mut source = source(engine, *kind).await;
        let lease = take(&mut source).await;
        assert_eq!(id_of(&lease), sample(number).id(), "{kind:?}");
        lease.ticket.acknowledge();
        assert!(stays_quiet(source.next()).await, "{kind:?} has one alone");
    }
}

pub async fn large_bodies_go_by_themselves(engine: &mut dyn QueueUnderTest) {
    let now = engine.now();
    let sized = |number: u32, size: usize| Sample {
        body: Bytes::from(vec![b'x'; size]),
        ..Sample::numbered(number, now)
    };
    let (largest, first, release, retry) =
        (sized(1, LARGE), sized(2, LARGE + 1), sized(3, LARGE + 1), sized(4, LARGE + 1));
    let publications = vec![
        largest.first(),
        first.first(),
        release.publication(Route::Release),
        retry.publication(Route::Retry { delay: Duration::ZERO }),
    ];
    publish(engine, publications).await;
    let mut large = source(engine, WorkKind::Large).await;
    let (one, two) = (take(&mut large).await, take(&mut large).await);
    let seen: HashSet<DeliveryId> = [id_of(&one), id_of(&two)].into();
    assert_eq!(seen, [first.id(), release.id()].into());
    let small = take(&mut source(engine, WorkKind::First).await).await;
    assert_eq!(id_of(&small), largest.id(), "64 KiB are not large");
    let again = take(&mut source(engine, WorkKind::Retry).await).await;
    assert_eq!(again.message, Work::Deliver(retry.delivery()), "retries stay retries");
}

pub async fn a_fan_out_arrives_as_it_was_published(engine: &mut dyn QueueUnderTest) {
    let bodies = [Bytes::from_static(b"{\"a\":1}"), Bytes::from_static(b"{\"a\": 1}")];
    let work = fan_out(200, bodies, engine.now());
    publish(engine, vec![Publication { route: Route::First, work: work.clone() }]).await;
    let lease = take(&mut source(engine, WorkKind::First).await).await;
    assert_eq!(lease.message, work);
    let large = fan_out(2, [Bytes::from(vec![b'x'; LARGE + 1]), Bytes::new()], engine.now());
    publish(engine, vec![Publication { route: Route::First, work: large.clone() }]).await;
    let lease = take(&mut source(engine, WorkKind::Large).await).await;
    assert_eq!(lease.message, large);
}

pub async fn a_parked_delivery_comes_back_and_not_early(engine: &mut dyn QueueUnderTest) {
    let (short, long) = (Duration::from_millis(300), Duration::from_millis(700));
    let now = engine.now();
    let (sooner, later) = (Sample::numbered(1, now), Sample::numbered(2, now));
    let mut source = source(engine, WorkKind::Retry).await;
    let parked_at = engine.now();
    let route = |delay| Route::Retry { delay };
    publish(engine, vec![later.publication(route(long)), sooner.publication(route(short))]).await;
    for (sample, delay) in [(sooner, short), (later, long)] {
        engine.pass(delay);
        let lease = take(&mut source).await;
        assert_eq!(id_of(&lease), sample.id(), "the shorter delay ends first");
        assert_is_past(engine.now(), parked_at, delay);
        lease.ticket.acknowledge();
    }
}

/// Not a measure of speed: being late is no failure, being early is.
fn assert_is_past(now: Timestamp, since: Timestamp, delay: Duration) {
    assert!(now.since(since) + GRAIN >= delay, "it came early");
}

pub async fn what_nobody_can_read_is_set_aside(engine: &mut dyn QueueUnderTest) {
    let sample = Sample::numbered(1, engine.now());
    engine.inject_undecodable(WorkKind::First).await;
    publish(engine, vec![sample.first()]).await;
    let mut source = source(engine, WorkKind::First).await;
    let lease = take(&mut source).await;
    assert_eq!(id_of(&lease), sample.id(), "the one that can be read comes through");
    lease.ticket.acknowledge();
    let queue = engine.queue();
    eventually(|| async { queue.depths().await.is_ok_and(|depths| depths.dead == 1) }).await;
}

pub async fn a_running_queue_says_that_it_can_be_written(engine: &mut dyn QueueUnderTest) {
    let queue = engine.queue();
    eventually(|| async { queue.check_writable().is_ok() }).await;
    soon(queue.publish(Vec::new())).await.expect("nothing is confirmed at once");
}

#[macro_export]
macro_rules! queue_promises {
    ($start:ident) => {
        $crate::promises! {
            $start,
            queue:
            a_delivery_arrives_as_it_was_published,
            what_is_published_before_anyone_takes_is_kept,
            what_is_given_back_comes_again_marked,
            a_dropped_lease_comes_again_marked,
            no_more_are_in_hand_than_the_prefetch,
            giving_up_waiting_loses_nothing,
            two_sources_share_the_work,
            many_in_one_call_all_arrive_once,
            the_kinds_are_taken_apart,
            large_bodies_go_by_themselves,
            a_fan_out_arrives_as_it_was_published,
            a_parked_delivery_comes_back_and_not_early,
            what_nobody_can_read_is_set_aside,
            a_running_queue_says_that_it_can_be_written,
        }
    };
}
