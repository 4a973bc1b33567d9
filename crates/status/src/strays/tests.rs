use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use postrider_contract::delivery::{AttemptNumber, Check, FanOut, Position};
use postrider_contract::fakes::{Behind, Door, FakeQueue, PublishFault};
use postrider_contract::journal::{DeferredRecord, HeldRecord};
use postrider_contract::outcome::{DeliveryStatus, HoldReason, Outcome, StatusReason};
use postrider_contract::ports::WorkKind;
use postrider_contract::wire::{encode_journal_batch, encode_work};
use tokio::task::JoinHandle;

use super::*;
use crate::tests::fixture::{Office, QUICK, accepted, attempted};

const NEWER: &[u8] = &[0x08, 0x02, 0x12, 0x00];

struct Running {
    stop: Stop,
    task: JoinHandle<Result<(), QueueError>>,
}

fn parts(office: &Office) -> StrayParts {
    StrayParts {
        strays: Arc::new(office.queue.clone()),
        queue: Arc::new(office.queue.clone()),
        journal: Arc::new(office.queue.clone()),
        log: Arc::new(office.log.clone()),
        metrics: Arc::clone(&office.parts.metrics),
        clock: office.clock.clone(),
    }
}

fn start(office: &Office) -> Running {
    let stop = Stop::default();
    Running { task: tokio::spawn(run_strays(parts(office), stop.clone())), stop }
}

/// On a clock that stands still: whatever can happen without waiting has happened.
async fn settle() {
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
}

/// The journal has had the time to be read beyond the moment at which strays were taken, and they are looked at again.
async fn look_again(office: &Office) {
    office.clock.advance(JOURNAL_READ_BEYOND);
    tokio::time::sleep(TRY_AGAIN_AT_MOST).await;
    settle().await;
}

fn given_out() -> (StrayPlace, StrayCause) {
    (StrayPlace::Dead, StrayCause::GivenOutTooOften)
}

fn unroutable() -> (StrayPlace, StrayCause) {
    (StrayPlace::CatchAll, StrayCause::Unroutable)
}

fn set_aside() -> (StrayPlace, StrayCause) {
    (StrayPlace::Dead, StrayCause::SetAside { reason: "not read".to_owned() })
}

fn put(office: &Office, (place, cause): (StrayPlace, StrayCause), work: &Work) {
    office.queue.inject_stray(place, cause, "first", encode_work(work));
}

fn put_bytes(office: &Office, origin: &str, bytes: Bytes) {
    let (place, cause) = set_aside();
    office.queue.inject_stray(place, cause, origin, bytes);
}

/// Dead, catch-all, unreadable.
async fn depths(office: &Office) -> (u64, u64, u64) {
    let depths = office.queue.depths().await.expect("it answers");
    (depths.dead, depths.catch_all, depths.unreadable)
}

fn count(office: &Office, reason: StrayReason) -> u64 {
    office.parts.metrics.strays.at(reason).get()
}

async fn write_journal(office: &Office) {
    let mut source = office.queue.read(100).await.expect("open");
    while office.queue.depths().await.expect("it answers").journal > 0 {
        let lease = source.next().await.expect("open");
        office.log(lease.message.records.into_iter().map(Arc::unwrap_or_clone)).await;
        lease.ticket.acknowledge();
    }
}

#[tokio::test(start_paused = true)]
async fn what_found_no_queue_is_published_again_with_a_check() {
    let office = Office::open().await;
    let (event, delivery) = office.delivery("e", 1);
    office.log([accepted(event, &delivery, None)]).await;
    let second = Position { attempt: AttemptNumber::FIRST.next(), ..Position::START };
    let retry = Delivery { position: second, parked_for: Duration::from_secs(1), ..delivery };
    put(&office, unroutable(), &Work::Deliver(retry.clone()));
    start(&office);
    settle().await;
    let now = office.clock.now();
    let expected =
        Delivery { check: Check::LookUp, parked_for: Duration::ZERO, due_at: now, ..retry.clone() };
    assert_eq!(office.queue.depths().await.unwrap().release, 1);
    assert_eq!(office.published().await, [expected]);
    assert_eq!((depths(&office).await, count(&office, StrayReason::Unroutable)), ((0, 0, 0), 1));
}

#[tokio::test(start_paused = true)]
async fn what_was_given_out_too_often_ends_as_failed_and_is_seen() {
    let office = Office::open().await;
    let (event, delivery) = office.delivery("e", 1);
    office.log([accepted(event, &delivery, None)]).await;
    put(&office, given_out(), &Work::Deliver(delivery.clone()));
    start(&office);
    settle().await;
    look_again(&office).await;
    assert_eq!((depths(&office).await, count(&office, StrayReason::GivenOutTooOften)), ((0, 0, 0), 1));
    write_journal(&office).await;
    let view = office.view(delivery.reference.id).await;
    let internal = StatusReason::Failed(FailureReason::Internal);
    assert_eq!((view.status, view.reason), (DeliveryStatus::Failed, Some(internal)));
    assert!(office.published().await.is_empty());
}

/// A crash after the retry was parked and before the acknowledgement leaves a copy of the earlier try.
#[tokio::test(start_paused = true)]
async fn a_copy_of_a_try_that_was_made_ends_nothing() {
    let office = Office::open().await;
    let (event, delivery) = office.delivery("e", 1);
    let at = office.clock.now().plus(Duration::from_secs(5));
    let retry = Outcome::Retry { at, cause: postrider_contract::outcome::Cause::Status(500) };
    office.log([accepted(event, &delivery, None), attempted(&delivery, 500, QUICK, retry)]).await;
    put(&office, given_out(), &Work::Deliver(delivery.clone()));
    start(&office);
    settle().await;
    look_again(&office).await;
    write_journal(&office).await;
    assert_eq!(office.view(delivery.reference.id).await.status, DeliveryStatus::Retrying);
    assert_eq!(depths(&office).await, (0, 0, 0));
}

/// Its hold was recorded and its lease never acknowledged: the copy that came back too often is not the one that waits.
#[tokio::test(start_paused = true)]
async fn a_copy_of_a_delivery_that_is_held_or_put_off_ends_nothing() {
    let office = Office::open().await;
    let (event, delivery) = office.delivery("e", 1);
    let (other, put_off) = office.delivery("f", 1);
    let since = office.clock.now();
    let held = HeldRecord { delivery: delivery.clone().held(), why: HoldReason::Overflow, since };
    let later = put_off.clone().deferred(since.plus(Duration::from_secs(5)), since);
    let deferred =
        DeferredRecord { delivery: later.reference.clone(), position: later.position, due_at: later.due_at };
    let records = [
        accepted(event, &delivery, None),
        JournalRecord::Held(held),
        accepted(other, &put_off, None),
        JournalRecord::Deferred(deferred),
    ];
    office.log(records).await;
    put(&office, given_out(), &Work::Deliver(delivery.clone()));
    put(&office, given_out(), &Work::Deliver(put_off.clone()));
    start(&office);
    settle().await;
    look_again(&office).await;
    write_journal(&office).await;
    assert_eq!(office.view(delivery.reference.id).await.status, DeliveryStatus::Held);
    assert_eq!(office.view(put_off.reference.id).await.status, DeliveryStatus::Pending);
    assert_eq!(depths(&office).await, (0, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_delivery_is_not_ended_before_the_log_knows_what_was_tried() {
    let office = Office::open().await;
    let (event, delivery) = office.delivery("e", 1);
    office.journal(vec![accepted(event, &delivery, None)]).await;
    office.journal(vec![attempted(&delivery, 200, QUICK, Outcome::Delivered)]).await;
    put(&office, given_out(), &Work::Deliver(delivery.clone()));
    start(&office);
    settle().await;
    look_again(&office).await;
    assert_eq!(office.queue.depths().await.unwrap().journal, 2, "nothing is concluded yet");
    write_journal(&office).await;
    look_again(&office).await;
    assert_eq!((office.queue.depths().await.unwrap().journal, depths(&office).await), (0, (0, 0, 0)));
    assert_eq!(office.view(delivery.reference.id).await.status, DeliveryStatus::Delivered);
}

/// The log does not know of the hold yet; a conclusion would take its row out of the room.
#[tokio::test(start_paused = true)]
async fn a_hold_that_is_on_its_way_to_the_log_is_not_ended_by_a_copy() {
    let office = Office::open().await;
    let (event, delivery) = office.delivery("e", 1);
    office.log([accepted(event, &delivery, None)]).await;
    let since = office.clock.now();
    let held = HeldRecord { delivery: delivery.clone().held(), why: HoldReason::Overflow, since };
    office.journal(vec![JournalRecord::Held(held)]).await;
    put(&office, given_out(), &Work::Deliver(delivery.clone()));
    start(&office);
    settle().await;
    look_again(&office).await;
    let journal = office.queue.depths().await.unwrap().journal;
    assert_eq!((journal, count(&office, StrayReason::GivenOutTooOften)), (1, 0), "nothing is concluded yet");
    write_journal(&office).await;
    look_again(&office).await;
    assert_eq!((office.queue.depths().await.unwrap().journal, depths(&office).await), (0, (0, 0, 0)));
    assert_eq!(office.view(delivery.reference.id).await.status, DeliveryStatus::Held);
}

/// Its writer was killed when the broker had the record and had not passed it on.
#[tokio::test(start_paused = true)]
async fn a_hold_that_comes_into_the_journal_a_little_late_is_waited_for() {
    let office = Office::open().await;
    let (event, delivery) = office.delivery("e", 1);
    office.log([accepted(event, &delivery, None)]).await;
    let since = office.clock.now();
    let held = HeldRecord { delivery: delivery.clone().held(), why: HoldReason::Overflow, since };
    put(&office, given_out(), &Work::Deliver(delivery.clone()));
    start(&office);
    settle().await;
    office.journal(vec![JournalRecord::Held(held)]).await;
    write_journal(&office).await;
    look_again(&office).await;
    write_journal(&office).await;
    assert_eq!(depths(&office).await, (0, 0, 0));
    assert_eq!(office.view(delivery.reference.id).await.status, DeliveryStatus::Held);
}

#[tokio::test(start_paused = true)]
async fn each_delivery_of_a_fan_out_that_was_given_out_too_often_is_published_by_itself() {
    let office = Office::open().await;
    let (_, one) = office.delivery("e", 1);
    let (_, two) = office.delivery("e", 2);
    let bodiless = |delivery: &Delivery| Delivery { body: Bytes::new(), ..delivery.clone() };
    let fan_out = FanOut {
        deliveries: vec![bodiless(&one), bodiless(&two)],
        bodies: vec![one.body.clone(), two.body.clone()],
        body_of: vec![0, 1],
    };
    put(&office, given_out(), &Work::FanOut(fan_out));
    start(&office);
    settle().await;
    let published = office.published().await;
    let bodies: Vec<_> =
        published.iter().map(|delivery| (delivery.reference.id, delivery.body.clone())).collect();
    assert_eq!(bodies, [(one.reference.id, one.body), (two.reference.id, two.body)]);
    assert!(published.iter().all(|delivery| delivery.check == Check::LookUp));
}

/// Takes one page, then none for a while.
struct OnePage {
    queue: FakeQueue,
    is_full: AtomicBool,
}

#[async_trait]
impl Door for OnePage {
    fn queue(&self) -> &dyn WorkQueue {
        &self.queue
    }

    async fn publish(&self, publications: Vec<Publication>) -> Result<(), PublishError> {
        if self.is_full.swap(true, Ordering::SeqCst) {
            return Err(PublishError::Refused { reason: "full".to_owned() });
        }
        self.queue.publish(publications).await
    }
}

#[tokio::test(start_paused = true)]
async fn a_fan_out_that_was_interrupted_goes_on_behind_the_pages_that_were_published() {
    let office = Office::open().await;
    let all = 2 * PAGE;
    let made = (0..all).map(|number| office.delivery(&format!("e{number}"), 1).1);
    let fan_out = FanOut { deliveries: made.collect(), bodies: vec![Bytes::new()], body_of: vec![0; all] };
    put(&office, unroutable(), &Work::FanOut(fan_out));
    let queue = Arc::new(Behind(OnePage { queue: office.queue.clone(), is_full: AtomicBool::new(false) }));
    let parts = StrayParts { queue: Arc::clone(&queue) as _, ..parts(&office) };
    tokio::spawn(run_strays(parts, Stop::default()));
    settle().await;
    queue.0.is_full.store(false, Ordering::SeqCst);
    tokio::time::sleep(TRY_AGAIN).await;
    settle().await;
    assert_eq!(count(&office, StrayReason::Unroutable), 1);
    assert_eq!(office.queue.depths().await.unwrap().release, u64::try_from(all).unwrap());
}

/// At once, it might go round and round as long as an older worker runs beside.
#[tokio::test(start_paused = true)]
async fn what_can_be_read_now_is_published_again_a_little_later() {
    let office = Office::open().await;
    let (_, delivery) = office.delivery("e", 1);
    put(&office, set_aside(), &Work::Deliver(delivery.clone()));
    start(&office);
    settle().await;
    assert!(office.published().await.is_empty());
    office.clock.advance(READER_REPLACED_WITHIN);
    office.queue.tick();
    assert_eq!(office.published().await[0].reference, delivery.reference);
    assert_eq!(count(&office, StrayReason::ReadableAgain), 1);
}

#[tokio::test(start_paused = true)]
async fn a_journal_batch_that_was_set_aside_is_written_to_the_log() {
    let office = Office::open().await;
    let (event, delivery) = office.delivery("e", 1);
    let records = vec![Arc::new(accepted(event, &delivery, None))];
    let batch = JournalBatch { written_at: office.clock.now(), records };
    put_bytes(&office, "journal", encode_journal_batch(&batch));
    office.log_outage.begin("gone");
    start(&office);
    settle().await;
    assert_eq!(count(&office, StrayReason::ReadableAgain), 0, "it is in hand until it is written");
    office.log_outage.end();
    tokio::time::sleep(TRY_AGAIN_AT_MOST).await;
    settle().await;
    assert_eq!(office.view(delivery.reference.id).await.status, DeliveryStatus::Pending);
    assert_eq!((depths(&office).await, count(&office, StrayReason::ReadableAgain)), ((0, 0, 0), 1));
}

#[tokio::test(start_paused = true)]
async fn what_nobody_can_read_is_kept_and_holds_up_nothing() {
    let office = Office::open().await;
    let (event, delivery) = office.delivery("e", 1);
    office.log([accepted(event, &delivery, None)]).await;
    put_bytes(&office, "first", Bytes::from_static(b"\xff\xff rubbish"));
    put_bytes(&office, "journal", Bytes::from_static(NEWER));
    put(&office, given_out(), &Work::Deliver(delivery.clone()));
    start(&office);
    settle().await;
    assert_eq!(count(&office, StrayReason::GivenOutTooOften), 0, "it is in hand until the journal is read");
    look_again(&office).await;
    assert_eq!(depths(&office).await, (0, 0, 2));
    assert_eq!(count(&office, StrayReason::Unreadable), 1);
    assert_eq!(count(&office, StrayReason::UnknownVersion), 1);
    assert_eq!(count(&office, StrayReason::GivenOutTooOften), 1);
    assert_eq!(office.queue.dead().len(), 2, "byte for byte");
}

#[tokio::test(start_paused = true)]
async fn what_is_kept_is_looked_at_once_more_at_every_start() {
    let office = Office::open().await;
    put_bytes(&office, "journal", Bytes::from_static(NEWER));
    for starts in 1..=2 {
        let running = start(&office);
        settle().await;
        assert_eq!(depths(&office).await, (0, 0, 1));
        assert_eq!(count(&office, StrayReason::UnknownVersion), starts);
        running.stop.drain();
        running.task.await.unwrap().unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn one_that_cannot_be_dealt_with_does_not_hold_up_the_others() {
    let office = Office::open().await;
    let (event, delivery) = office.delivery("e", 1);
    let batch = JournalBatch {
        written_at: office.clock.now(),
        records: vec![Arc::new(accepted(event, &delivery, None))],
    };
    office.log_outage.begin("gone");
    put_bytes(&office, "journal", encode_journal_batch(&batch));
    put_bytes(&office, "first", Bytes::from_static(NEWER));
    put(&office, unroutable(), &Work::Deliver(delivery));
    start(&office);
    settle().await;
    assert_eq!(count(&office, StrayReason::UnknownVersion), 1);
    assert_eq!(count(&office, StrayReason::Unroutable), 1);
}

/// Before the effect and after it: what is done about a stray may be done twice, never not at all.
#[tokio::test(start_paused = true)]
async fn a_stray_is_let_go_of_only_after_what_is_done_about_it_is_confirmed() {
    let reason = || "asked for".to_owned();
    for fault in [
        PublishFault::Refused { reason: reason() },
        PublishFault::LostBefore { reason: reason() },
        PublishFault::LostAfter { reason: reason() },
    ] {
        let office = Office::open().await;
        let (event, delivery) = office.delivery("e", 1);
        office.log([accepted(event, &delivery, None)]).await;
        put(&office, unroutable(), &Work::Deliver(delivery.clone()));
        put(&office, given_out(), &Work::Deliver(delivery.clone()));
        put_bytes(&office, "first", Bytes::from_static(NEWER));
        office.queue.fail_publishes(fault);
        let running = start(&office);
        settle().await;
        look_again(&office).await;
        running.stop.drain();
        running.task.await.unwrap().unwrap();
        let (dead, catch_all, _) = depths(&office).await;
        assert_eq!((dead, catch_all), (2, 1), "given back");
        office.queue.fail_publishes(PublishFault::None);
        start(&office);
        settle().await;
        look_again(&office).await;
        let (dead, catch_all, unreadable) = depths(&office).await;
        assert!((dead, catch_all) == (0, 0) && unreadable >= 1, "{unreadable}");
        assert!(office.queue.depths().await.unwrap().journal >= 1);
        assert!(!office.published().await.is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn two_processes_share_the_strays() {
    let office = Office::open().await;
    for number in 0..10 {
        let (_, delivery) = office.delivery(&format!("e{number}"), 1);
        put(&office, unroutable(), &Work::Deliver(delivery));
    }
    let (_one, _two) = (start(&office), start(&office));
    settle().await;
    assert_eq!(office.published().await.len(), 10);
    assert_eq!(office.queue.depths().await.unwrap().first, 0);
    let mut source = office.queue.consume(WorkKind::Release, 1).await.unwrap();
    assert!(futures_util::FutureExt::now_or_never(source.next()).is_none());
}
