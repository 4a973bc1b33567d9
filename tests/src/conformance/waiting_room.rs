//! What the waiting room promises.

use std::time::Duration;

use postrider_contract::clock::Timestamp;
use postrider_contract::delivery::{Check, Delivery, Position};
use postrider_contract::ids::WebhookId;
use postrider_contract::journal::{Conclusion, JournalRecord};
use postrider_contract::outcome::{CancelReason, DeliveryStatus, HoldReason, StatusReason};
use postrider_contract::ports::{HeldDelivery, RoomSummary, WaitingRoom};

use super::log::{apply, view};
use super::samples::{Sample, position, webhook};
use super::{StoreUnderTest, soon};

const LIMIT: u32 = 100;

/// A sample for webhook 1, whatever its number.
fn sample(number: u32, at: Timestamp) -> Sample {
    Sample { webhook: webhook(1), ..Sample::numbered(number, at) }
}

fn held(sample: &Sample, holds: u32, since: Timestamp) -> JournalRecord {
    sample.held(position(1, holds), HoldReason::Paused, since)
}

async fn oldest(room: &dyn WaitingRoom, webhook: WebhookId, limit: u32) -> Vec<HeldDelivery> {
    soon(room.oldest(webhook, limit)).await.expect("it answers")
}

/// Waiting, released, and since when the oldest waits; of the only webhook in the room.
async fn summary(room: &dyn WaitingRoom) -> (u64, u64, Option<Timestamp>) {
    let summaries = soon(room.summaries()).await.expect("it answers");
    assert!(summaries.len() <= 1, "{summaries:?}");
    summaries.first().map_or((0, 0, None), |one| (one.waiting, one.released, one.oldest))
}

pub async fn a_held_delivery_waits_with_all_that_it_is(engine: &mut dyn StoreUnderTest) {
    let now = engine.now();
    let sample = sample(1, now);
    apply(engine, vec![sample.accepted(), held(&sample, 1, now)]).await;
    let row = view(engine, &sample).await;
    assert_eq!(
        (row.status, row.reason),
        (DeliveryStatus::Held, Some(StatusReason::Held(HoldReason::Paused)))
    );
    assert_eq!((row.held_since, row.due_at), (Some(now), None));
    engine.reopen().await;
    let waiting = oldest(&*engine.room(), sample.webhook, LIMIT).await;
    let position = Position { holds: 1, ..Position::START };
    let delivery = Delivery { position, check: Check::LookUp, ..sample.delivery() };
    assert_eq!(waiting, [HeldDelivery { delivery, why: HoldReason::Paused, since: now }]);
    assert_eq!(summary(&*engine.room()).await, (1, 0, Some(now)));
}

pub async fn the_oldest_come_first_and_webhooks_are_apart(engine: &mut dyn StoreUnderTest) {
    let now = engine.now();
    let at = |seconds: u64| now.plus(Duration::from_secs(seconds));
    let samples: Vec<Sample> = (0..4).map(|number| sample(number, at(u64::from(number)))).collect();
    let other = Sample::numbered(9, now);
    let mut records: Vec<JournalRecord> =
        samples.iter().rev().map(|one| held(one, 1, one.accepted_at)).collect();
    records.push(held(&other, 1, now));
    apply(engine, records).await;
    let found = oldest(&*engine.room(), webhook(1), 3).await;
    let ids: Vec<_> = found.iter().map(|held| held.delivery.reference.id).collect();
    assert_eq!(ids, [samples[0].id(), samples[1].id(), samples[2].id()]);
    let mut summaries = soon(engine.room().summaries()).await.expect("it answers");
    summaries.sort_by_key(|one| one.webhook);
    let of = |sample: &Sample, waiting| RoomSummary {
        tenant: sample.tenant.clone(),
        webhook: sample.webhook,
        waiting,
        oldest: Some(now),
        released: 0,
    };
    assert_eq!(summaries, [of(&samples[0], 4), of(&other, 1)]);
}

pub async fn the_oldest_of_many_webhooks_come_each_up_to_its_limit(engine: &mut dyn StoreUnderTest) {
    let now = engine.now();
    let at = |seconds: u32| now.plus(Duration::from_secs(u64::from(seconds)));
    let samples: Vec<Sample> = (0..12)
        .map(|number| Sample { webhook: webhook(1 + number % 3), ..Sample::numbered(number, at(number)) })
        .collect();
    apply(engine, samples.iter().rev().map(|one| held(one, 1, one.accepted_at)).collect()).await;
    let room = engine.room();
    room.mark_released(vec![(samples[0].id(), 1)], now).await.expect("it answers");
    let wanted = [(webhook(3), 1), (webhook(1), 2), (webhook(9), 5), (webhook(2), 100)];
    let found = soon(room.oldest_of(&wanted)).await.expect("it answers");
    let ids: Vec<_> = found.iter().map(|held| held.delivery.reference.id).collect();
    let expected = [2, 3, 6, 1, 4, 7, 10].map(|number: usize| samples[number].id());
    assert_eq!(ids, expected);
    assert_eq!(soon(room.oldest_of(&[])).await.expect("it answers"), []);
}

pub async fn a_released_one_waits_no_more_and_leaves_when_tried(engine: &mut dyn StoreUnderTest) {
    let now = engine.now();
    let later = now.plus(Duration::from_secs(5));
    let (one, two) = (sample(1, now), sample(2, later));
    apply(engine, vec![held(&one, 1, now), held(&two, 1, later)]).await;
    let room = engine.room();
    room.mark_released(vec![(one.id(), 1)], later).await.expect("it answers");
    assert_eq!(summary(&*room).await, (1, 1, Some(later)));
    assert_eq!(oldest(&*room, webhook(1), LIMIT).await.len(), 1);
    apply(engine, vec![one.released(position(1, 1), later)]).await;
    assert_eq!(view(engine, &one).await.status, DeliveryStatus::Pending);
    apply(engine, vec![one.retried(position(1, 1), later)]).await;
    assert_eq!(summary(&*room).await, (1, 0, Some(later)));
    let row = view(engine, &one).await;
    assert_eq!((row.status, row.due_at, row.held_since), (DeliveryStatus::Retrying, Some(later), None));
}

pub async fn what_was_released_and_lost_waits_again(engine: &mut dyn StoreUnderTest) {
    let now = engine.now();
    let later = now.plus(Duration::from_secs(60));
    let (one, two, three) = (sample(1, now), sample(2, now), sample(3, now));
    apply(engine, vec![held(&one, 1, now), held(&two, 1, now), held(&three, 1, now)]).await;
    let room = engine.room();
    room.mark_released(vec![(one.id(), 1)], now).await.expect("it answers");
    room.mark_released(vec![(two.id(), 1)], later).await.expect("it answers");
    assert_eq!(soon(room.reopen_released_before(later)).await.expect("it answers"), 1);
    assert_eq!(summary(&*room).await, (2, 1, Some(now)));
    assert_eq!(soon(room.reopen_released_before(later)).await.expect("it answers"), 0);
}

pub async fn a_second_hold_of_the_same_try_is_not_the_first(engine: &mut dyn StoreUnderTest) {
    let now = engine.now();
    let later = now.plus(Duration::from_secs(5));
    let one = sample(1, now);
    apply(engine, vec![held(&one, 1, now)]).await;
    let room = engine.room();
    room.mark_released(vec![(one.id(), 1)], now).await.expect("it answers");
    apply(engine, vec![one.released(position(1, 1), now), held(&one, 2, later)]).await;
    assert_eq!(view(engine, &one).await.status, DeliveryStatus::Held);
    apply(engine, vec![held(&one, 1, now)]).await;
    let waiting = oldest(&*room, webhook(1), LIMIT).await;
    let holds: Vec<u32> = waiting.iter().map(|held| held.delivery.position.holds).collect();
    assert_eq!(holds, [2]);
    room.mark_released(vec![(one.id(), 1)], later).await.expect("it answers");
    assert_eq!(oldest(&*room, webhook(1), LIMIT).await.len(), 1, "the second hold was not released");
    room.mark_released(vec![(one.id(), 2)], later).await.expect("it answers");
    assert!(oldest(&*room, webhook(1), LIMIT).await.is_empty());
    apply(engine, vec![one.delivered(position(1, 2))]).await;
    assert_eq!(summary(&*room).await, (0, 0, None), "both are gone");
}

pub async fn a_try_ends_the_holds_before_it_alone(engine: &mut dyn StoreUnderTest) {
    let now = engine.now();
    let one = sample(1, now);
    apply(engine, vec![held(&one, 1, now)]).await;
    let next = one.held(position(2, 2), HoldReason::RateLimited, now);
    apply(engine, vec![one.retried(position(1, 1), now), next]).await;
    let waiting = oldest(&*engine.room(), webhook(1), LIMIT).await;
    let found: Vec<_> = waiting.iter().map(|held| held.delivery.position).collect();
    assert_eq!(found, [position(2, 2)]);
}

pub async fn a_hold_that_comes_late_is_not_put_in(engine: &mut dyn StoreUnderTest) {
    let now = engine.now();
    let (tried, ended, ahead) = (sample(1, now), sample(2, now), sample(3, now));
    let canceled = Conclusion::Canceled(CancelReason::WebhookDeleted);
    apply(engine, vec![tried.retried(position(1, 1), now), ended.concluded(canceled, now)]).await;
    apply(engine, vec![ahead.released(position(1, 1), now)]).await;
    apply(engine, vec![held(&tried, 1, now), held(&ended, 1, now), held(&ahead, 1, now)]).await;
    assert_eq!(summary(&*engine.room()).await, (0, 0, None));
    assert_eq!(view(engine, &tried).await.status, DeliveryStatus::Retrying);
    assert_eq!(view(engine, &ended).await.status, DeliveryStatus::Canceled);
    assert_eq!(view(engine, &ahead).await.status, DeliveryStatus::Pending);
}

pub async fn a_conclusion_empties_the_room(engine: &mut dyn StoreUnderTest) {
    let now = engine.now();
    let (one, two) = (sample(1, now), sample(2, now));
    apply(engine, vec![held(&one, 1, now), held(&two, 1, now)]).await;
    apply(engine, vec![one.concluded(Conclusion::Expired, now), two.delivered(position(1, 1))]).await;
    assert_eq!(summary(&*engine.room()).await, (0, 0, None));
    assert_eq!(view(engine, &one).await.status, DeliveryStatus::Expired);
}

pub async fn a_hold_that_comes_twice_is_one(engine: &mut dyn StoreUnderTest) {
    let now = engine.now();
    let one = sample(1, now);
    apply(engine, vec![held(&one, 1, now), held(&one, 1, now)]).await;
    apply(engine, vec![held(&one, 1, now)]).await;
    let room = engine.room();
    assert_eq!(summary(&*room).await, (1, 0, Some(now)));
    room.mark_released(vec![(one.id(), 1)], now).await.expect("it answers");
    apply(engine, vec![held(&one, 1, now)]).await;
    assert_eq!(summary(&*room).await, (0, 1, None), "it stays released");
}

#[macro_export]
macro_rules! waiting_room_promises {
    ($start:ident) => {
        $crate::promises! {
            $start,
            waiting_room:
            a_held_delivery_waits_with_all_that_it_is,
            the_oldest_come_first_and_webhooks_are_apart,
            the_oldest_of_many_webhooks_come_each_up_to_its_limit,
            a_released_one_waits_no_more_and_leaves_when_tried,
            what_was_released_and_lost_waits_again,
            a_second_hold_of_the_same_try_is_not_the_first,
            a_try_ends_the_holds_before_it_alone,
            a_hold_that_comes_late_is_not_put_in,
            a_conclusion_empties_the_room,
            a_hold_that_comes_twice_is_one,
        }
    };
}
