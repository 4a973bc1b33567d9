//! The promise that the log does not depend on the order in which records arrive, nor on how often.

use std::time::Duration;

use postrider_contract::clock::Timestamp;
use postrider_contract::delivery::{DeliveryRef, Origin, Position};
use postrider_contract::ids::{DeliveryId, TenantId};
use postrider_contract::journal::{Conclusion, ExpectedDelivery, JournalRecord};
use postrider_contract::outcome::{
    CancelReason, DeliveryStatus, FailureReason, HoldReason, Outcome, StatusReason,
};
use postrider_contract::ports::{DeliveryView, EventView, Ledger, LedgerQuery};

use super::log::{apply, attempts, event, view};
use super::samples::{Sample, position, tenant, webhook};
use super::{StoreUnderTest, soon};

const ROUNDS: u32 = 8;
/// Samples of one round have webhooks of their own.
const STRIDE: u32 = 100;

/// A source of chance that says the same in every run.
struct Draws(u64);

impl Draws {
    /// Below `bound`, which is not zero.
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 40).expect("24 bits") % bound
    }
}

/// All that the log tells of one delivery and its event, in terms that are the same in every round.
#[derive(Debug, PartialEq)]
struct Told {
    delivery: DeliveryView,
    event: Option<EventView>,
    attempts: Vec<(u32, Timestamp, Outcome)>,
}

/// A history with every kind of record, as it happened.
fn history(round: u32, now: Timestamp) -> (Vec<Sample>, Vec<JournalRecord>) {
    let at = |seconds: u64| now.plus(Duration::from_secs(seconds));
    let mut samples: Vec<Sample> = (0..8)
        .map(|number| Sample {
            tenant: tenant(&format!("round-{round}")),
            webhook: webhook(round * STRIDE + number),
            ..Sample::numbered(number, at(u64::from(number)))
        })
        .collect();
    samples[6].origin = Origin::Test;
    samples.push(Sample { replay: 1, accepted_at: at(500), ..samples[0].clone() });
    let [retried, released, deferred, disputed, doubtful, held, pending, canceled, replay] = &samples[..]
    else {
        return (samples, Vec::new());
    };
    let overflow = Some(HoldReason::Overflow);
    let deferrals = |deferrals| Position { deferrals, ..Position::START };
    let held_at_once = |sample: &Sample| {
        sample.accepted_with(vec![ExpectedDelivery { held: overflow, ..sample.expected() }])
    };
    let records = vec![
        retried.accepted(),
        retried.retried(position(1, 0), at(60)),
        retried.unreached(position(2, 0), at(120)),
        retried.delivered(position(3, 0)),
        held_at_once(released),
        released.held(position(1, 1), HoldReason::Overflow, released.accepted_at),
        released.released(position(1, 1), at(30)),
        released.delivered(position(1, 1)),
        deferred.accepted(),
        deferred.deferred(deferrals(1), at(10)),
        deferred.deferred(deferrals(2), at(20)),
        deferred.exhausted(deferrals(2)),
        disputed.accepted(),
        disputed.concluded(Conclusion::Canceled(CancelReason::Superseded), at(40)),
        disputed.concluded(Conclusion::Expired, at(41)),
        disputed.concluded(Conclusion::Failed(FailureReason::Internal), at(42)),
        disputed.delivered(position(1, 0)),
        doubtful.retried(position(1, 0), at(70)),
        held_at_once(held),
        held.held(position(1, 1), HoldReason::Overflow, held.accepted_at),
        pending.accepted(),
        pending.retried(position(1, 0), at(80)),
        canceled.accepted(),
        canceled.held(position(1, 1), HoldReason::Paused, at(9)),
        canceled.concluded(Conclusion::Canceled(CancelReason::WebhookDeleted), at(90)),
        replay.retried(position(1, 0), at(600)),
    ];
    (samples, records)
}

/// The same records in another order, some of them twice, in pieces.
fn shuffled(records: &[JournalRecord], draws: &mut Draws) -> Vec<Vec<JournalRecord>> {
    let mut all: Vec<JournalRecord> = records.to_vec();
    for record in records {
        if draws.below(3) == 0 {
            all.push(record.clone());
        }
    }
    for index in (1..all.len()).rev() {
        let other = draws.below(index + 1);
        all.swap(index, other);
    }
    let mut pieces = Vec::new();
    while !all.is_empty() {
        let size = (1 + draws.below(6)).min(all.len());
        pieces.push(all.drain(..size).collect());
    }
    pieces
}

async fn told(engine: &dyn StoreUnderTest, sample: &Sample, number: u32) -> Told {
    let everyone = || -> TenantId { tenant("anyone") };
    let delivery = view(engine, sample).await;
    let reference = DeliveryRef {
        id: DeliveryId::from_u128(0),
        tenant: everyone(),
        webhook: webhook(number),
        ..delivery.reference.clone()
    };
    let attempts = attempts(engine, sample).await;
    Told {
        delivery: DeliveryView { reference, ..delivery },
        event: event(engine, sample).await.map(|event| EventView { tenant: everyone(), ..event }),
        attempts: attempts
            .iter()
            .map(|kept| (kept.attempt.number.number(), kept.attempt.started_at, kept.outcome))
            .collect(),
    }
}

/// What the log tells of a round, the counts, and how many wait.
async fn all_told(
    engine: &dyn StoreUnderTest,
    samples: &[Sample],
    now: Timestamp,
) -> (Vec<Told>, Ledger, Vec<u64>) {
    let mut deliveries = Vec::new();
    for (number, sample) in (0..).zip(samples) {
        deliveries.push(told(engine, sample, number).await);
    }
    let query = LedgerQuery { tenant: Some(samples[0].tenant.clone()), ..LedgerQuery::default() };
    let ledger = soon(engine.queries().ledger(&query, now)).await.expect("it answers");
    let mut waiting = Vec::new();
    for sample in samples {
        let found = soon(engine.room().oldest(sample.webhook, 10)).await.expect("it answers");
        waiting.push(found.len() as u64);
    }
    (deliveries, ledger, waiting)
}

pub async fn the_same_records_tell_the_same_in_any_order(engine: &mut dyn StoreUnderTest) {
    let now = engine.now();
    let (samples, records) = history(0, now);
    apply(engine, records).await;
    let expected = all_told(engine, &samples, now).await;
    for round in 1..=ROUNDS {
        let mut draws = Draws(u64::from(round));
        let (samples, records) = history(round, now);
        for piece in shuffled(&records, &mut draws) {
            apply(engine, piece).await;
        }
        assert_eq!(all_told(engine, &samples, now).await, expected, "round {round}");
    }
}

pub async fn one_record_at_a_time_tells_the_same_as_all_at_once(engine: &mut dyn StoreUnderTest) {
    let now = engine.now();
    let (samples, records) = history(0, now);
    apply(engine, records).await;
    let expected = all_told(engine, &samples, now).await;
    let (samples, records) = history(1, now);
    for record in &records {
        apply(engine, vec![record.clone()]).await;
    }
    assert_eq!(all_told(engine, &samples, now).await, expected);
    for record in records.iter().rev() {
        apply(engine, vec![record.clone()]).await;
    }
    assert_eq!(all_told(engine, &samples, now).await, expected, "all of it again, backwards");
}

pub async fn delivered_wins_over_failed_over_expired_over_canceled(engine: &mut dyn StoreUnderTest) {
    let now = engine.now();
    let sample = Sample::numbered(1, now);
    let steps = [
        (sample.concluded(Conclusion::Canceled(CancelReason::Requested), now), DeliveryStatus::Canceled),
        (sample.concluded(Conclusion::Expired, now), DeliveryStatus::Expired),
        (sample.exhausted(position(1, 0)), DeliveryStatus::Failed),
        (sample.delivered(position(2, 0)), DeliveryStatus::Delivered),
    ];
    for (record, status) in &steps {
        apply(engine, vec![record.clone()]).await;
        assert_eq!(view(engine, &sample).await.status, *status);
    }
    for (record, _) in &steps {
        apply(engine, vec![record.clone()]).await;
        assert_eq!(view(engine, &sample).await.status, DeliveryStatus::Delivered);
    }
    let late = sample.held(position(3, 1), HoldReason::Paused, now);
    apply(engine, vec![late, sample.retried(position(3, 0), now)]).await;
    assert_eq!(view(engine, &sample).await.status, DeliveryStatus::Delivered, "over is over");
}

pub async fn of_two_states_of_one_rank_the_first_stays(engine: &mut dyn StoreUnderTest) {
    let now = engine.now();
    let later = now.plus(Duration::from_secs(5));
    let (ended, waiting) = (Sample::numbered(1, now), Sample::numbered(2, now));
    let canceled = |reason, at| ended.concluded(Conclusion::Canceled(reason), at);
    apply(engine, vec![canceled(CancelReason::Requested, now), waiting.deferred(position(1, 0), now)]).await;
    apply(engine, vec![canceled(CancelReason::Superseded, later), waiting.deferred(position(1, 0), later)])
        .await;
    let row = view(engine, &ended).await;
    let requested = StatusReason::Canceled(CancelReason::Requested);
    assert_eq!((row.reason, row.concluded_at), (Some(requested), Some(now)));
    assert_eq!(view(engine, &waiting).await.due_at, Some(now));
}

pub async fn concurrent_batches_lose_nothing(engine: &mut dyn StoreUnderTest) {
    let now = engine.now();
    let (samples, records) = history(0, now);
    apply(engine, records).await;
    let expected = all_told(engine, &samples, now).await;
    let (samples, records) = history(1, now);
    let pieces = shuffled(&records, &mut Draws(99));
    let engine: &dyn StoreUnderTest = engine;
    futures_util::future::join_all(pieces.into_iter().map(|piece| apply(engine, piece))).await;
    assert_eq!(all_told(engine, &samples, now).await, expected);
}

#[macro_export]
macro_rules! log_order_promises {
    ($start:ident) => {
        $crate::promises! {
            $start,
            log_order:
            the_same_records_tell_the_same_in_any_order,
            one_record_at_a_time_tells_the_same_as_all_at_once,
            delivered_wins_over_failed_over_expired_over_canceled,
            of_two_states_of_one_rank_the_first_stays,
            concurrent_batches_lose_nothing,
        }
    };
}
