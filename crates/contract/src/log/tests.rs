//! The fold's promises: order, repeats and batching do not matter; ranks put states in their order.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;
use proptest::sample::Index;

use super::*;
use crate::attempt::{BodyExtent, FailureClass, Response, Timings};
use crate::delivery::{Check, Delivery};
use crate::event::SchemaVersion;
use crate::fakes::sent_request;
use crate::ids::WebhookId;
use crate::journal::ExpectedDelivery;
use crate::json::RawObject;
use crate::outcome::{CancelReason, Cause, FailureReason};
use crate::revision::Revision;
use crate::webhook::WebhookKind;

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_millis(1_795_253_400_000).plus(Duration::from_secs(seconds))
}

fn position(attempt: u32, holds: u32, deferrals: u32) -> Position {
    Position { attempt: AttemptNumber::from_number(attempt).expect("from 1"), holds, deferrals }
}

fn rendered_with() -> RenderedWith {
    RenderedWith {
        webhook: Revision::from_number(3),
        profile: Revision::from_number(1),
        tenant: Revision::from_number(2),
    }
}

/// Delivery `number` of event `number / 10`.
fn reference(number: u32) -> DeliveryRef {
    let event_id: EventId = format!("evt_{}", number / 10).parse().expect("an id");
    let webhook = WebhookId::from_u128(u128::from(number));
    DeliveryRef {
        id: DeliveryId::derive(at(0), &event_id, webhook, 0),
        tenant: "acme".parse().expect("an id"),
        event_id,
        event_type: "conversion.created".parse().expect("a type"),
        webhook,
        kind: WebhookKind::Webhook,
        accepted_at: at(0),
        replay: 0,
    }
}

fn accepted(event: u32, deliveries: &[(u32, Option<HoldReason>)]) -> JournalRecord {
    let one = reference(event * 10);
    let event = Event {
        id: one.event_id,
        tenant: one.tenant,
        event_type: one.event_type,
        schema_version: SchemaVersion::FIRST,
        timestamp: at(0),
        accepted_at: at(0),
        data: RawObject::from_stored(Bytes::from_static(b"{}")),
        summary: None,
        workflow: None,
    };
    let expected = |(number, held): &(u32, Option<HoldReason>)| ExpectedDelivery {
        id: reference(*number).id,
        webhook: reference(*number).webhook,
        kind: WebhookKind::Webhook,
        profile: ProfileName::standard(),
        rendered_with: rendered_with(),
        held: *held,
    };
    let deliveries = deliveries.iter().map(expected).collect();
    JournalRecord::Accepted(AcceptedRecord { event, origin: Origin::Test, deliveries })
}

/// The result is a status code, or a failure to connect. `call` tells real calls of one number apart.
fn attempted(
    delivery: u32,
    position: Position,
    call: u128,
    code: Option<u16>,
    outcome: Outcome,
) -> JournalRecord {
    let result = match code {
        Some(status) => AttemptResult::Response(Response {
            status,
            headers: Vec::new(),
            body: Bytes::new(),
            extent: BodyExtent::Whole,
        }),
        None => AttemptResult::Failure { class: FailureClass::Connect, detail: String::new() },
    };
    let id = u128::from(delivery) << 64 | u128::from(position.attempt.number()) << 8 | call;
    let attempt = Attempt {
        id: AttemptId::from_u128(id),
        number: position.attempt,
        started_at: at(u64::from(position.attempt.number())),
        request: sent_request(),
        address: None,
        timings: Timings { total: Duration::from_millis(42), ..Timings::default() },
        result,
    };
    JournalRecord::Attempted(AttemptedRecord { delivery: reference(delivery), position, attempt, outcome })
}

fn retried(delivery: u32, position: Position, due_at: Timestamp) -> JournalRecord {
    attempted(delivery, position, 0, Some(500), Outcome::Retry { at: due_at, cause: Cause::Status(500) })
}

fn delivered(delivery: u32, position: Position) -> JournalRecord {
    attempted(delivery, position, 0, Some(200), Outcome::Delivered)
}

fn held(delivery: u32, position: Position) -> JournalRecord {
    let delivery = Delivery {
        reference: reference(delivery),
        position,
        origin: Origin::Test,
        check: Check::LookUp,
        due_at: at(0),
        parked_for: Duration::ZERO,
        profile: ProfileName::standard(),
        rendered_with: rendered_with(),
        schema_version: SchemaVersion::FIRST,
        event_timestamp: at(0),
        query: crate::delivery::Query::OfUrl,
        body: Bytes::from_static(b"{}"),
    };
    JournalRecord::Held(HeldRecord { delivery, why: HoldReason::Overflow, since: at(0) })
}

fn concluded(delivery: u32, conclusion: Conclusion) -> JournalRecord {
    JournalRecord::Concluded(ConcludedRecord { delivery: reference(delivery), conclusion, at: at(90) })
}

/// Every kind of record, of seven deliveries of three events; of the last the accepted record is missing.
fn history() -> Vec<JournalRecord> {
    let exhausted = Outcome::Failed { reason: FailureReason::Exhausted, cause: Some(Cause::Status(500)) };
    let unreached = Outcome::Retry { at: at(200), cause: Cause::Failure(FailureClass::Connect) };
    let released =
        ReleasedRecord { delivery: reference(2), position: position(1, 1, 0), released_at: at(30) };
    let deferred = |deferrals, seconds| {
        let position = position(1, 0, deferrals);
        JournalRecord::Deferred(DeferredRecord { delivery: reference(3), position, due_at: at(seconds) })
    };
    vec![
        accepted(0, &[(1, None), (2, Some(HoldReason::Overflow)), (3, None), (4, None)]),
        retried(1, position(1, 0, 0), at(60)),
        attempted(1, position(2, 0, 0), 0, None, unreached),
        delivered(1, position(3, 0, 0)),
        held(2, position(1, 1, 0)),
        JournalRecord::Released(released),
        retried(2, position(1, 1, 0), at(70)),
        deferred(1, 10),
        deferred(2, 20),
        attempted(3, position(1, 0, 2), 0, Some(500), exhausted),
        concluded(4, Conclusion::Canceled(CancelReason::Superseded)),
        concluded(4, Conclusion::Expired),
        delivered(4, position(1, 0, 0)),
        accepted(1, &[(11, None), (12, Some(HoldReason::Overflow))]),
        held(12, position(1, 1, 0)),
        accepted(5, &[]),
        retried(21, position(1, 0, 0), at(80)),
    ]
}

/// What the rows of one or more folds say together, in terms that do not depend on their order.
#[derive(Debug, Default, PartialEq)]
struct Summary {
    deliveries: BTreeMap<DeliveryId, String>,
    events: BTreeMap<EventId, u32>,
    attempts: BTreeSet<AttemptId>,
    holds: BTreeSet<(DeliveryId, u32)>,
    exits: BTreeSet<(DeliveryId, u32)>,
}

fn summary(folds: Vec<LogWrites>) -> Summary {
    let mut summary = Summary::default();
    let mut rows: BTreeMap<DeliveryId, DeliveryRow> = BTreeMap::new();
    for writes in folds {
        summary.events.extend(writes.events.into_iter().map(|row| (row.event.id, row.matched)));
        summary.attempts.extend(writes.attempts.iter().map(|row| row.attempt.id));
        summary.holds.extend(writes.holds.iter().map(|held| {
            let delivery = &held.delivery;
            (delivery.reference.id, delivery.position.holds)
        }));
        summary.exits.extend(writes.exits.iter().map(|exit| (exit.delivery, exit.holds)));
        for row in writes.deliveries {
            summary.attempts.extend(row.first_attempt.as_ref().map(|row| row.attempt.id));
            match rows.get_mut(&row.reference.id) {
                Some(known) => known.merge(row),
                None => drop(rows.insert(row.reference.id, row)),
            }
        }
    }
    let told = |row: DeliveryRow| format!("{:?}", DeliveryRow { first_attempt: None, ..row });
    summary.deliveries = rows.into_iter().map(|(id, row)| (id, told(row))).collect();
    summary
}

proptest! {
    #[test]
    fn the_fold_depends_on_neither_order_nor_repeats_nor_batches(
        mut records in Just(history()).prop_shuffle(),
        repeats in prop::collection::vec(any::<(Index, Index)>(), 0..8),
        cuts in prop::collection::vec(any::<Index>(), 0..6),
    ) {
        let expected = summary(vec![fold(history())]);
        for (which, place) in repeats {
            let again = records[which.index(records.len())].clone();
            records.insert(place.index(records.len() + 1), again);
        }
        prop_assert_eq!(&summary(vec![fold(records.clone())]), &expected);
        let mut pieces = Vec::new();
        let cuts: BTreeSet<usize> = cuts.iter().map(|cut| cut.index(records.len())).collect();
        for cut in cuts.iter().rev() {
            pieces.push(fold(records.split_off(*cut)));
        }
        pieces.push(fold(records));
        prop_assert_eq!(summary(pieces), expected);
    }

    #[test]
    fn a_rank_gives_its_position_back(attempt in 1..=PART_MAX, holds in 0..=PART_MAX, deferrals in 0..=PART_MAX) {
        let position = position(attempt, holds, deferrals);
        for rank in [Rank::held(position), Rank::scheduled(position)] {
            prop_assert_eq!(rank.position(), Some(position));
            prop_assert_eq!(Rank::from_number(rank.number()), rank);
            prop_assert!(!rank.is_concluded() && rank.number() > 0);
        }
    }

    #[test]
    fn ranks_are_ordered_as_positions_are(
        left in (1..=PART_MAX, 0..=PART_MAX, 0..=PART_MAX),
        right in (1..=PART_MAX, 0..=PART_MAX, 0..=PART_MAX),
    ) {
        let (left, right) = (position(left.0, left.1, left.2), position(right.0, right.1, right.2));
        prop_assert_eq!(Rank::scheduled(left).cmp(&Rank::scheduled(right)), left.cmp(&right));
        prop_assert_eq!(Rank::held(left).cmp(&Rank::held(right)), left.cmp(&right));
        prop_assert_eq!(Rank::scheduled(left) < Rank::held(right), left < right);
    }
}

#[test]
fn a_position_beyond_what_a_rank_holds_saturates() {
    let huge = position(u32::MAX, u32::MAX, u32::MAX);
    assert_eq!(Rank::scheduled(huge).position(), Some(position(PART_MAX, PART_MAX, PART_MAX)));
    assert!(Rank::scheduled(huge) < Rank::concluded(DeliveryStatus::Canceled));
}

#[test]
fn delivered_wins_over_failed_over_expired_over_canceled_over_all_else() {
    let order = [
        Rank::held(Position::START),
        Rank::scheduled(Position::START),
        Rank::held(position(1, 1, 0)),
        Rank::scheduled(position(1, 1, 0)),
        Rank::scheduled(position(1, 1, 1)),
        Rank::scheduled(position(2, 0, 0)),
        Rank::concluded(DeliveryStatus::Canceled),
        Rank::concluded(DeliveryStatus::Expired),
        Rank::concluded(DeliveryStatus::Failed),
        Rank::concluded(DeliveryStatus::Delivered),
    ];
    assert!(order.is_sorted_by(|lower, higher| lower < higher));
    assert!(order[6..].iter().all(|rank| rank.is_concluded() && rank.position().is_none()));
}

#[test]
fn a_try_is_past_when_a_later_one_is_due_or_none() {
    let due = Rank::scheduled(position(3, 1, 4));
    assert!(due.is_past(position(2, 9, 9)) && due.is_past(position(1, 0, 0)));
    assert!(!due.is_past(position(3, 0, 0)) && !due.is_past(position(4, 0, 0)));
    assert!(Rank::concluded(DeliveryStatus::Canceled).is_past(position(9, 0, 0)));
}

#[test]
fn a_batch_makes_one_row_a_delivery_in_the_state_it_ends_in() {
    let records = vec![
        accepted(0, &[(1, None)]),
        retried(1, position(1, 0, 0), at(60)),
        delivered(1, position(2, 0, 0)),
    ];
    let writes = fold(records);
    let [row] = &writes.deliveries[..] else { panic!("one row") };
    assert_eq!((row.status, row.attempts, row.last_code), (DeliveryStatus::Delivered, 2, Some(200)));
    assert!(row.is_accepted_here && row.first_attempt.is_some());
    assert_eq!((writes.attempts.len(), writes.events.len()), (1, 1));
}

#[test]
fn two_real_calls_with_one_number_are_both_kept() {
    let first = position(1, 0, 0);
    let again = attempted(1, first, 1, Some(500), Outcome::Expired);
    let writes = fold(vec![delivered(1, first), again.clone(), again, delivered(1, first)]);
    assert!(writes.deliveries[0].first_attempt.is_some());
    assert_eq!(writes.attempts.len(), 1);
}

#[test]
fn a_try_lets_out_what_was_held_for_it_and_a_conclusion_everything() {
    let writes = fold(vec![delivered(1, position(1, 0, 0)), retried(2, position(1, 3, 0), at(9))]);
    assert_eq!(writes.exits, [RoomExit { delivery: reference(2).id, holds: 3 }]);
    let writes = fold(vec![concluded(1, Conclusion::Expired)]);
    assert_eq!(writes.exits, [RoomExit { delivery: reference(1).id, holds: u32::MAX }]);
}
