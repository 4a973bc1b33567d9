mod publishing;

use std::num::{NonZeroU16, NonZeroU32};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use postrider_contract::clock::{Clock, Timestamp};
use postrider_contract::delivery::{Check, Delivery};
use postrider_contract::fakes::{FakeLog, PublishFault};
use postrider_contract::ids::DeliveryId;
use postrider_contract::journal::HeldRecord;
use postrider_contract::outcome::{CancelReason, DeliveryStatus, HoldReason, Outcome};
use postrider_contract::ports::{HeldDelivery, WaitingRoom, WorkQueue};
use postrider_contract::webhook::Webhook;
use postrider_service::config_object::ConfigObject;

use super::yielding::NOBODY_AFTER;
use super::*;
use crate::tests::fixture::{Office, QUICK, attempted, webhook};

const START: usize = 4;

fn paused() -> WebhookState {
    WebhookState::Paused { since: Timestamp::EPOCH }
}

/// With whole rounds, since for seconds there was nobody to yield to.
async fn releasing(office: &Office) -> Releasing {
    let mut releasing = Releasing::new(office.parts.clone());
    for _ in 0..3 {
        assert_eq!(releasing.round().await.unwrap(), Round::Empty);
        tokio::time::advance(NOBODY_AFTER + Duration::from_millis(1)).await;
    }
    assert_eq!(releasing.round().await.unwrap(), Round::Empty);
    assert_eq!(office.parts.metrics.release_round.get(), i64::from(PER_ROUND));
    releasing
}

/// A hundred waited for one webhook, and prompt tries have opened its window to sixteen, which are out.
async fn with_sixteen_out(office: &Office) -> Releasing {
    office.put(&webhook(1)).await;
    let mut releasing = releasing(office).await;
    office.hold(1, 100).await;
    for released in [4, 8] {
        assert_eq!(releasing.round().await.unwrap(), Round::Waiting { released });
        conclude(office, &office.published().await, QUICK).await;
    }
    assert_eq!(releasing.round().await.unwrap(), Round::Waiting { released: 16 });
    releasing
}

fn ids(deliveries: &[Delivery]) -> Vec<DeliveryId> {
    deliveries.iter().map(|delivery| delivery.reference.id).collect()
}

/// As workers and the writer would: each was tried once, and the log knows.
async fn conclude(office: &Office, deliveries: &[Delivery], took: Duration) {
    for one in deliveries {
        let JournalRecord::Attempted(tried) = attempted(one, 200, took, Outcome::Delivered) else {
            panic!("a try")
        };
        office.parts.board.note(&tried);
    }
    conclude_elsewhere(office, deliveries, took).await;
}

/// The same, written down by another status process.
async fn conclude_elsewhere(office: &Office, deliveries: &[Delivery], took: Duration) {
    office.log(deliveries.iter().map(|one| attempted(one, 200, took, Outcome::Delivered))).await;
}

#[tokio::test(start_paused = true)]
async fn what_waits_is_released_oldest_first_whole_and_with_a_check() {
    let office = Office::open().await;
    office.put(&webhook(1)).await;
    let mut releasing = releasing(&office).await;
    let held = office.hold(1, 3).await;
    assert_eq!(releasing.round().await.unwrap(), Round::Waiting { released: 3 });
    let now = office.clock.now();
    let expected: Vec<_> = held.iter().map(|one| one.clone().published_again(now)).collect();
    assert_eq!(office.published().await, expected);
    assert!(expected.iter().all(|one| one.check == Check::LookUp));
    for id in ids(&held) {
        let view = office.view(id).await;
        assert_eq!((view.status, view.due_at, view.held_since), (DeliveryStatus::Pending, Some(now), None));
    }
    // They are not released twice while they wait to be tried.
    assert_eq!(releasing.round().await.unwrap(), Round::Waiting { released: 0 });
    conclude(&office, &held, QUICK).await;
    assert_eq!(releasing.round().await.unwrap(), Round::Empty);
}

#[tokio::test(start_paused = true)]
async fn the_window_counts_what_is_released_and_not_yet_tried_and_grows_with_prompt_tries() {
    let office = Office::open().await;
    office.put(&webhook(1)).await;
    let mut releasing = releasing(&office).await;
    office.hold(1, 200).await;
    assert_eq!(releasing.round().await.unwrap(), Round::Waiting { released: 4 });
    assert_eq!(releasing.round().await.unwrap(), Round::Waiting { released: 0 });
    let released = office.published().await;
    assert_eq!(released.len(), START);
    conclude(&office, &released[..1], QUICK).await;
    // One place is free, and the prompt try makes room for one more.
    assert_eq!(releasing.round().await.unwrap(), Round::Waiting { released: 2 });
    conclude(&office, &released[1..], QUICK).await;
    assert_eq!(releasing.round().await.unwrap(), Round::Waiting { released: 6 });
}

#[tokio::test(start_paused = true)]
async fn tries_that_another_status_process_wrote_down_open_the_window_too() {
    let office = Office::open().await;
    office.put(&webhook(1)).await;
    let mut releasing = releasing(&office).await;
    office.hold(1, 100).await;
    for released in [4, 8, 16] {
        assert_eq!(releasing.round().await.unwrap(), Round::Waiting { released });
        conclude_elsewhere(&office, &office.published().await, QUICK).await;
    }
    // Those that were out for long were slow, whoever knows of it.
    assert_eq!(releasing.round().await.unwrap(), Round::Waiting { released: 32 });
    tokio::time::sleep(Duration::from_secs(9)).await;
    conclude_elsewhere(&office, &office.published().await, Duration::from_secs(9)).await;
    assert_eq!(releasing.round().await.unwrap(), Round::Waiting { released: 4 });
}

#[tokio::test(start_paused = true)]
async fn what_a_worker_puts_back_closes_the_window() {
    let office = Office::open().await;
    let mut releasing = with_sixteen_out(&office).await;
    let put_back = office.published().await.into_iter().map(|one| HeldRecord {
        delivery: one.held(),
        why: HoldReason::Overflow,
        since: office.clock.now(),
    });
    let put_back: Vec<HeldRecord> = put_back.collect();
    put_back.iter().for_each(|record| office.parts.board.note_hold(record));
    office.log(put_back.into_iter().map(JournalRecord::Held)).await;
    assert_eq!(releasing.round().await.unwrap(), Round::Waiting { released: 4 });
}

#[tokio::test(start_paused = true)]
async fn a_webhook_whose_tries_are_slow_gets_four_at_a_time() {
    let office = Office::open().await;
    let mut releasing = with_sixteen_out(&office).await;
    for _ in 0..3 {
        conclude(&office, &office.published().await, Duration::from_secs(5)).await;
        assert_eq!(releasing.round().await.unwrap(), Round::Waiting { released: 4 });
    }
}

/// Counts what is asked of the room, and refuses to be asked for one webhook at a time.
struct Counted {
    room: FakeLog,
    questions: AtomicU32,
}

impl Counted {
    fn count(&self) {
        self.questions.fetch_add(1, Ordering::SeqCst);
    }
}

#[async_trait]
impl WaitingRoom for Counted {
    async fn summaries(&self) -> Result<Vec<RoomSummary>, StoreError> {
        self.count();
        self.room.summaries().await
    }

    async fn oldest(&self, _: WebhookId, _: u32) -> Result<Vec<HeldDelivery>, StoreError> {
        panic!("one statement for one webhook")
    }

    async fn oldest_of(&self, wanted: &[(WebhookId, u32)]) -> Result<Vec<HeldDelivery>, StoreError> {
        self.count();
        self.room.oldest_of(wanted).await
    }

    async fn mark_released(&self, released: Vec<(DeliveryId, u32)>, at: Timestamp) -> Result<(), StoreError> {
        self.count();
        self.room.mark_released(released, at).await
    }

    async fn reopen_released_before(&self, time: Timestamp) -> Result<u64, StoreError> {
        self.room.reopen_released_before(time).await
    }
}

#[tokio::test(start_paused = true)]
async fn a_thousand_webhooks_are_released_to_in_a_few_statements() {
    let mut office = Office::open().await;
    for number in 1..=1_000 {
        office.put(&webhook(number)).await;
    }
    let room = Arc::new(Counted { room: office.log.clone(), questions: AtomicU32::new(0) });
    office.parts.room = Arc::clone(&room) as Arc<dyn WaitingRoom>;
    let mut releasing = releasing(&office).await;
    for number in 1..=1_000 {
        office.hold(number, 1).await;
    }
    room.questions.store(0, Ordering::SeqCst);
    for released in [256, 256, 256, 232] {
        assert_eq!(releasing.round().await.unwrap(), Round::Waiting { released });
    }
    assert_eq!(room.questions.load(Ordering::SeqCst), 4 * 3);
    let mut webhooks: Vec<_> = office.published().await.iter().map(|one| one.reference.webhook).collect();
    webhooks.sort();
    webhooks.dedup();
    assert_eq!(webhooks.len(), 1_000);
}

#[tokio::test(start_paused = true)]
async fn the_webhooks_own_limit_caps_the_window() {
    let office = Office::open().await;
    office.put(&Webhook { max_in_flight: NonZeroU16::new(2), ..webhook(1) }).await;
    let mut releasing = releasing(&office).await;
    office.hold(1, 10).await;
    assert_eq!(releasing.round().await.unwrap(), Round::Waiting { released: 2 });
    assert_eq!(releasing.round().await.unwrap(), Round::Waiting { released: 0 });
}

#[tokio::test(start_paused = true)]
async fn a_paused_webhook_gets_nothing_until_it_is_resumed_and_others_go_on() {
    let office = Office::open().await;
    office.put(&Webhook { state: paused(), ..webhook(1) }).await;
    office.put(&webhook(2)).await;
    let mut releasing = releasing(&office).await;
    let held = office.hold(1, 2).await;
    let other = office.hold(2, 1).await;
    assert_eq!(releasing.round().await.unwrap(), Round::Waiting { released: 1 });
    assert_eq!(ids(&office.published().await), ids(&other));
    office.put(&webhook(1)).await;
    assert_eq!(releasing.round().await.unwrap(), Round::Waiting { released: 2 });
    assert_eq!(ids(&office.published().await), ids(&held));
}

#[tokio::test(start_paused = true)]
async fn a_rate_limit_is_kept_whether_or_not_others_wait() {
    let office = Office::open().await;
    office.put(&Webhook { rate_limit_per_second: NonZeroU32::new(1), ..webhook(1) }).await;
    let mut releasing = releasing(&office).await;
    let mut released = 0;
    // Four a second come, one at a time, and each is tried at once: the room is empty most of the time.
    for number in 0..40 {
        let (_, delivery) = office.delivery(&format!("e{number}"), 1);
        let delivery = delivery.held();
        let (why, since) = (HoldReason::RateLimited, office.clock.now());
        office.log([JournalRecord::Held(HeldRecord { delivery, why, since })]).await;
        for _ in 0..5 {
            releasing.round().await.unwrap();
            let published = office.published().await;
            released += published.len();
            conclude(&office, &published, QUICK).await;
            tokio::time::sleep(Duration::from_millis(50)).await;
            office.clock.advance(Duration::from_millis(50));
        }
    }
    assert!((9..=11).contains(&released), "{released} in ten seconds");
}

#[tokio::test(start_paused = true)]
async fn a_single_delivery_at_a_time_does_not_get_around_a_rate_limit() {
    let office = Office::open().await;
    office.put(&Webhook { rate_limit_per_second: NonZeroU32::new(1), ..webhook(1) }).await;
    let mut releasing = releasing(&office).await;
    let first = office.hold(1, 1).await;
    assert_eq!(releasing.round().await.unwrap(), Round::Waiting { released: 1 });
    conclude(&office, &first, QUICK).await;
    assert_eq!(releasing.round().await.unwrap(), Round::Empty);
    tokio::time::sleep(Duration::from_millis(500)).await;
    office.clock.advance(Duration::from_millis(500));
    office.hold(1, 1).await;
    assert_eq!(releasing.round().await.unwrap(), Round::Waiting { released: 0 });
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(releasing.round().await.unwrap(), Round::Waiting { released: 1 });
}

#[tokio::test(start_paused = true)]
async fn what_is_for_a_deleted_disabled_or_skipping_webhook_goes_to_a_worker_that_cancels_it() {
    let office = Office::open().await;
    let disabled = WebhookState::Disabled { since: Timestamp::EPOCH, reason: "gone".to_owned() };
    let skips = Some("tracktile".parse().unwrap());
    office.put(&webhook(1)).await;
    office.put(&Webhook { state: disabled, ..webhook(2) }).await;
    office.put(&Webhook { profile: skips, state: paused(), ..webhook(3) }).await;
    let mut releasing = releasing(&office).await;
    let mut held = Vec::new();
    for number in 1..=3 {
        held.extend(office.hold(number, 1).await);
    }
    // Of this one the directory knows nothing: it may be newer, so nothing is concluded.
    office.hold(4, 1).await;
    office.delete(webhook(1).key()).await;
    assert_eq!(releasing.round().await.unwrap(), Round::Waiting { released: 3 });
    let released = office.published().await;
    assert_eq!(ids(&released), ids(&held));
    let canceled = Outcome::Canceled { reason: CancelReason::WebhookDeleted };
    office.log([attempted(&released[0], 410, QUICK, canceled)]).await;
    assert_eq!(office.view(released[0].reference.id).await.status, DeliveryStatus::Canceled);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_marked_as_released_unless_its_publish_was_confirmed() {
    let reason = || "cut off".to_owned();
    for (fault, copies) in [
        (PublishFault::Refused { reason: reason() }, 1),
        (PublishFault::LostBefore { reason: reason() }, 1),
        (PublishFault::LostAfter { reason: reason() }, 2),
    ] {
        let office = Office::open().await;
        office.put(&webhook(1)).await;
        let mut releasing = releasing(&office).await;
        let held = office.hold(1, 1).await;
        office.queue.fail_publishes(fault);
        assert!(releasing.round().await.is_err());
        assert_eq!(office.view(held[0].reference.id).await.status, DeliveryStatus::Held);
        office.queue.fail_publishes(PublishFault::None);
        assert_eq!(releasing.round().await.unwrap(), Round::Waiting { released: 1 });
        let published = office.published().await;
        assert_eq!(ids(&published), vec![held[0].reference.id; copies]);
        assert!(published.iter().all(|one| one.check == Check::LookUp));
    }
}

/// Dies between publishing and marking.
struct NeverMarks(FakeLog);

#[async_trait]
impl WaitingRoom for NeverMarks {
    async fn summaries(&self) -> Result<Vec<RoomSummary>, StoreError> {
        self.0.summaries().await
    }

    async fn oldest(&self, webhook: WebhookId, limit: u32) -> Result<Vec<HeldDelivery>, StoreError> {
        self.0.oldest(webhook, limit).await
    }

    async fn mark_released(&self, _: Vec<(DeliveryId, u32)>, _: Timestamp) -> Result<(), StoreError> {
        Err(StoreError::Unavailable { reason: "gone".to_owned() })
    }

    async fn reopen_released_before(&self, time: Timestamp) -> Result<u64, StoreError> {
        self.0.reopen_released_before(time).await
    }
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_dies_after_publishing_leaves_the_same_release_to_the_next() {
    let office = Office::open().await;
    office.put(&webhook(1)).await;
    let held = office.hold(1, 1).await;
    let room = Arc::new(NeverMarks(office.log.clone()));
    let mut dying = Releasing::new(DutyParts { room, ..office.parts.clone() });
    assert!(dying.round().await.is_err());
    let mut next = Releasing::new(office.parts.clone());
    assert_eq!(next.round().await.unwrap(), Round::Waiting { released: 1 });
    let published = office.published().await;
    assert_eq!(published.len(), 2);
    assert_eq!(published[0], published[1]);
    conclude(&office, &published[..1], QUICK).await;
    assert_eq!(next.round().await.unwrap(), Round::Empty);
    assert_eq!(office.view(held[0].reference.id).await.status, DeliveryStatus::Delivered);
}

#[tokio::test(start_paused = true)]
async fn a_released_delivery_that_is_lost_sight_of_waits_again() {
    let office = Office::open().await;
    office.put(&webhook(1)).await;
    let mut releasing = releasing(&office).await;
    let held = office.hold(1, 1).await;
    releasing.round().await.unwrap();
    assert_eq!(ids(&office.published().await), ids(&held));
    for (moved_on, released) in [(LOST_AFTER, 0), (Duration::from_secs(60), 1)] {
        office.clock.advance(moved_on);
        tokio::time::advance(moved_on).await;
        assert_eq!(releasing.round().await.unwrap(), Round::Waiting { released });
    }
    assert_eq!(ids(&office.published().await), ids(&held));
}

/// First tries of others, each of which began so long after its event was accepted.
fn note_first_tries(office: &Office, waited: Duration) {
    for number in 0..100 {
        let (_, mut delivery) = office.delivery(&format!("other{number}"), 1);
        delivery.due_at = delivery.reference.accepted_at.plus(waited);
        let JournalRecord::Attempted(record) = attempted(&delivery, 200, QUICK, Outcome::Delivered) else {
            unreachable!("that is what it makes")
        };
        office.parts.board.note(&record);
    }
}

#[tokio::test(start_paused = true)]
async fn less_is_released_as_soon_as_first_tries_of_others_begin_later() {
    let office = Office::open().await;
    office.put(&webhook(1)).await;
    let mut releasing = releasing(&office).await;
    note_first_tries(&office, Duration::from_millis(2));
    office.hold(1, 100).await;
    assert_eq!(releasing.round().await.unwrap(), Round::Waiting { released: 4 });
    note_first_tries(&office, Duration::from_millis(20));
    releasing.round().await.unwrap();
    let round = office.parts.metrics.release_round.get();
    assert!(round < i64::from(PER_ROUND), "{round}");
}
