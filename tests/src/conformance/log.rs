//! What the delivery log promises of single events and deliveries.

use std::time::Duration;

use postrider_contract::attempt::{Attempt, AttemptResult};
use postrider_contract::clock::Timestamp;
use postrider_contract::delivery::Position;
use postrider_contract::event::Event;
use postrider_contract::ids::EventId;
use postrider_contract::journal::{AcceptedRecord, AttemptedRecord, Conclusion, JournalRecord};
use postrider_contract::log::fold;
use postrider_contract::outcome::{
    CancelReason, Cause, DeliveryStatus, FailureReason, HoldReason, Outcome, StatusReason,
};
use postrider_contract::ports::{AnswerBody, AttemptView, DeliveryView, EventView, LedgerQuery};

use super::samples::{Sample, position, profile, rendered_with, tenant};
use super::{StoreUnderTest, soon};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Writes one batch as status does, its days made ready.
pub(super) async fn apply(engine: &dyn StoreUnderTest, records: Vec<JournalRecord>) {
    let log = engine.log();
    let writes = fold(records);
    let days = writes.deliveries.iter().map(|row| row.reference.accepted_at.day());
    let days: Vec<_> = days.chain(writes.events.iter().map(|row| row.event.accepted_at.day())).collect();
    if let (Some(first), Some(last)) = (days.iter().min(), days.iter().max()) {
        soon(log.prepare_days(*first, *last)).await.expect("the days are made ready");
    }
    soon(log.apply(&writes)).await.expect("it is written");
}

pub(super) async fn find(engine: &dyn StoreUnderTest, sample: &Sample) -> Option<DeliveryView> {
    soon(engine.queries().delivery(&sample.tenant, sample.id())).await.expect("it answers")
}

pub(super) async fn view(engine: &dyn StoreUnderTest, sample: &Sample) -> DeliveryView {
    find(engine, sample).await.expect("the delivery is in the log")
}

pub(super) async fn attempts(engine: &dyn StoreUnderTest, sample: &Sample) -> Vec<AttemptView> {
    soon(engine.queries().attempts(sample.id())).await.expect("it answers")
}

pub(super) async fn event(engine: &dyn StoreUnderTest, sample: &Sample) -> Option<EventView> {
    soon(engine.queries().event(&sample.tenant, &sample.event)).await.expect("it answers")
}

fn attempt_of(record: &JournalRecord) -> (Attempt, Outcome) {
    let attempted: Option<&AttemptedRecord> =
        if let JournalRecord::Attempted(attempted) = record { Some(attempted) } else { None };
    let attempted = attempted.expect("a try");
    (attempted.attempt.clone(), attempted.outcome)
}

pub async fn an_accepted_delivery_is_pending(engine: &mut dyn StoreUnderTest) {
    let sample = Sample::numbered(1, engine.now());
    assert_eq!(find(engine, &sample).await, None);
    apply(engine, vec![sample.accepted()]).await;
    let expected = DeliveryView {
        reference: sample.reference(),
        origin: sample.origin,
        status: DeliveryStatus::Pending,
        reason: None,
        due_at: Some(sample.accepted_at),
        held_since: None,
        concluded_at: None,
        attempts: 0,
        last_code: None,
        last_error: None,
        profile: Some(profile()),
        rendered_with: Some(rendered_with()),
    };
    assert_eq!(view(engine, &sample).await, expected);
    engine.reopen().await;
    assert_eq!(view(engine, &sample).await, expected);
    assert!(attempts(engine, &sample).await.is_empty());
}

pub async fn an_event_is_kept_byte_for_byte(engine: &mut dyn StoreUnderTest) {
    let sample = Sample::numbered(1, engine.now());
    apply(engine, vec![sample.accepted_with(Vec::new())]).await;
    let Event { data, summary, workflow, timestamp, schema_version, .. } = sample.event();
    let expected = EventView {
        tenant: sample.tenant.clone(),
        id: sample.event.clone(),
        event_type: sample.event_type.clone(),
        accepted_at: sample.accepted_at,
        in_doubt: false,
        timestamp: Some(timestamp),
        schema_version: Some(schema_version),
        data: Some(data),
        summary,
        workflow,
        matched: Some(0),
    };
    assert_eq!(event(engine, &sample).await, Some(expected));
}

pub async fn every_try_is_kept_whole_and_listed_by_number(engine: &mut dyn StoreUnderTest) {
    let now = engine.now();
    let due = now.plus(DAY);
    let sample = Sample::numbered(1, now);
    let records = [
        sample.retried(position(1, 0), due),
        sample.unreached(position(2, 0), due),
        sample.retried(position(3, 0), due),
        sample.exhausted(position(4, 0)),
    ];
    for record in [3, 1, 0, 2] {
        apply(engine, vec![records[record].clone()]).await;
    }
    let expected: Vec<AttemptView> = records
        .iter()
        .map(|record| {
            let (attempt, outcome) = attempt_of(record);
            AttemptView { attempt, outcome, body: AnswerBody::Kept }
        })
        .collect();
    assert_eq!(attempts(engine, &sample).await, expected);
    let row = view(engine, &sample).await;
    assert_eq!((row.status, row.attempts, row.last_code), (DeliveryStatus::Failed, 4, Some(500)));
    assert_eq!(row.reason, Some(StatusReason::Failed(FailureReason::Exhausted)));
    let (last, _) = attempt_of(&records[3]);
    assert_eq!(row.concluded_at, Some(last.started_at.plus(last.timings.total)));
}

pub async fn the_last_error_is_that_of_the_last_try(engine: &mut dyn StoreUnderTest) {
    let now = engine.now();
    let due = now.plus(DAY);
    let sample = Sample::numbered(1, now);
    apply(engine, vec![sample.unreached(position(2, 0), due)]).await;
    apply(engine, vec![sample.retried(position(1, 0), now)]).await;
    let row = view(engine, &sample).await;
    assert_eq!((row.attempts, row.last_code, row.last_error.as_deref()), (2, None, Some("connect")));
    assert_eq!((row.status, row.due_at), (DeliveryStatus::Retrying, Some(due)));
    apply(engine, vec![sample.delivered(position(3, 0))]).await;
    let row = view(engine, &sample).await;
    assert_eq!((row.attempts, row.last_code, row.last_error), (3, Some(200), None));
    assert_eq!((row.status, row.due_at), (DeliveryStatus::Delivered, None));
}

pub async fn two_real_calls_with_one_number_are_both_kept_once(engine: &mut dyn StoreUnderTest) {
    let sample = Sample::numbered(1, engine.now());
    let due = sample.accepted_at.plus(DAY);
    let (one, two) = (sample.retried(position(1, 0), due), sample.delivered(position(1, 0)));
    let (other, third) = (sample.unreached(position(2, 0), due), sample.retried(position(2, 0), due));
    apply(engine, vec![one.clone()]).await;
    apply(engine, vec![two.clone(), other.clone()]).await;
    apply(engine, vec![two, one, third.clone()]).await;
    apply(engine, vec![third, other]).await;
    let kept = attempts(engine, &sample).await;
    let mut ids: Vec<_> = kept.iter().map(|kept| kept.attempt.id).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!((kept.len(), ids.len()), (4, 4));
    let numbers: Vec<u32> = kept.iter().map(|kept| kept.attempt.number.number()).collect();
    assert_eq!(numbers, [1, 1, 2, 2]);
}

pub async fn every_reason_and_conclusion_is_told(engine: &mut dyn StoreUnderTest) {
    let now = engine.now();
    let cases = [
        (Conclusion::Failed(FailureReason::Internal), DeliveryStatus::Failed),
        (Conclusion::Failed(FailureReason::Permanent), DeliveryStatus::Failed),
        (Conclusion::Canceled(CancelReason::WebhookDeleted), DeliveryStatus::Canceled),
        (Conclusion::Canceled(CancelReason::WebhookDisabled), DeliveryStatus::Canceled),
        (Conclusion::Canceled(CancelReason::Skipped), DeliveryStatus::Canceled),
        (Conclusion::Canceled(CancelReason::Superseded), DeliveryStatus::Canceled),
        (Conclusion::Expired, DeliveryStatus::Expired),
    ];
    for (number, (conclusion, status)) in (1..).zip(cases) {
        let sample = Sample::numbered(number, now);
        apply(engine, vec![sample.accepted(), sample.concluded(conclusion, now)]).await;
        let row = view(engine, &sample).await;
        let reason = match conclusion {
            Conclusion::Failed(reason) => Some(StatusReason::Failed(reason)),
            Conclusion::Canceled(reason) => Some(StatusReason::Canceled(reason)),
            Conclusion::Expired => None,
        };
        assert_eq!((row.status, row.reason, row.concluded_at), (status, reason, Some(now)));
        assert_eq!((row.due_at, row.attempts), (None, 0));
    }
}

pub async fn an_event_is_in_doubt_until_it_is_known_to_be_accepted(engine: &mut dyn StoreUnderTest) {
    let sample = Sample::numbered(1, engine.now());
    apply(engine, vec![sample.delivered(position(1, 0))]).await;
    let doubtful = event(engine, &sample).await.expect("it is made from what is known");
    assert!(doubtful.in_doubt);
    assert_eq!((doubtful.accepted_at, doubtful.event_type), (sample.accepted_at, sample.event_type.clone()));
    assert_eq!((doubtful.data, doubtful.matched), (None, None));
    apply(engine, vec![sample.accepted()]).await;
    let known = event(engine, &sample).await.expect("it is there");
    assert_eq!((known.in_doubt, known.matched), (false, Some(1)));
    assert_eq!(known.data, Some(sample.event().data));
    assert_eq!(view(engine, &sample).await.status, DeliveryStatus::Delivered);
    let other = Sample { replay: 1, ..sample.clone() };
    apply(engine, vec![other.delivered(position(1, 0))]).await;
    assert_eq!(event(engine, &sample).await, Some(known), "never the reverse");
}

pub async fn what_is_recorded_is_known_to_who_asks(engine: &mut dyn StoreUnderTest) {
    let now = engine.now();
    let (retried, ended, pending) =
        (Sample::numbered(1, now), Sample::numbered(2, now), Sample::numbered(3, now));
    let (held, unknown) = (Sample::numbered(4, now), Sample::numbered(5, now));
    let canceled = ended.concluded(Conclusion::Canceled(CancelReason::Requested), now);
    let waiting = held.held(position(1, 1), HoldReason::Overflow, now);
    apply(engine, vec![retried.retried(position(2, 0), now), canceled, pending.accepted(), waiting]).await;
    let asked: Vec<(&Sample, Position, bool)> = vec![
        (&retried, position(1, 0), true),
        (&retried, position(2, 0), true),
        (&retried, position(2, 5), true),
        (&retried, position(3, 0), false),
        (&ended, position(1, 0), true),
        (&ended, position(9, 0), true),
        (&pending, position(1, 0), false),
        (&held, position(1, 1), false),
        (&unknown, position(1, 0), false),
        (&retried, position(1, 0), true),
    ];
    let tries: Vec<_> = asked.iter().map(|(sample, position, _)| (sample.id(), *position)).collect();
    let answers = soon(engine.log().is_recorded(&tries)).await.expect("it answers");
    let expected: Vec<bool> = asked.iter().map(|(_, _, is_recorded)| *is_recorded).collect();
    assert_eq!(answers, expected);
    assert!(soon(engine.log().is_recorded(&[])).await.expect("it answers").is_empty());
}

pub async fn a_delivery_that_moved_on_is_known_to_have(engine: &mut dyn StoreUnderTest) {
    let now = engine.now();
    let [retried, ended, held, deferred, unknown] =
        [1, 2, 3, 4, 5].map(|number| Sample::numbered(number, now));
    let canceled = ended.concluded(Conclusion::Canceled(CancelReason::Requested), now);
    let waiting = held.held(position(1, 1), HoldReason::Overflow, now);
    let again = Position { deferrals: 1, ..position(1, 0) };
    let records =
        vec![retried.retried(position(2, 0), now), canceled, waiting, deferred.deferred(again, now)];
    apply(engine, records).await;
    for (sample, from, expected) in [
        (&retried, position(2, 0), true),
        (&retried, position(3, 0), false),
        (&ended, position(9, 0), true),
        (&held, position(1, 0), true),
        (&held, position(1, 1), false),
        (&deferred, position(1, 0), true),
        (&deferred, again, false),
        (&unknown, position(1, 0), false),
    ] {
        let answer = soon(engine.log().has_moved_on(sample.id(), from)).await.expect("it answers");
        assert_eq!(answer, expected, "{} from {from:?}", sample.id());
    }
}

pub async fn what_is_long_past_its_time_is_overdue(engine: &mut dyn StoreUnderTest) {
    let now = engine.now();
    let at = |seconds: u64| now.plus(Duration::from_secs(seconds));
    let samples: Vec<Sample> = (0..6).map(|number| Sample::numbered(number, now)).collect();
    apply(engine, samples.iter().map(Sample::accepted).collect()).await;
    let records = vec![
        samples[0].retried(position(1, 0), at(20)),
        samples[1].retried(position(1, 0), at(100)),
        samples[2].delivered(position(1, 0)),
        samples[3].held(position(1, 1), HoldReason::Paused, now),
        samples[4].deferred(Position { deferrals: 3, ..Position::START }, at(10)),
    ];
    apply(engine, records).await;
    let overdue = soon(engine.log().overdue(at(50), 10)).await.expect("it answers");
    let found: Vec<_> = overdue.iter().map(|row| (row.reference.id, row.due_at, row.position)).collect();
    let deferred = Position { deferrals: 3, ..Position::START };
    let expected = [
        (samples[5].id(), now, Position::START),
        (samples[4].id(), at(10), deferred),
        (samples[0].id(), at(20), position(2, 0)),
    ];
    assert_eq!(found, expected);
    assert_eq!(overdue[0].reference, samples[5].reference());
    assert_eq!(overdue[0].rendered, Some((profile(), rendered_with())));
    assert_eq!(soon(engine.log().overdue(at(50), 2)).await.expect("it answers").len(), 2);
}

/// Of a try alone it is not known what the delivery was rendered with. What the ledger counts, healing must see.
pub async fn what_cannot_be_rendered_again_is_overdue_all_the_same(engine: &mut dyn StoreUnderTest) {
    let now = engine.now();
    let at = |seconds: u64| now.plus(Duration::from_secs(seconds));
    let sample = Sample::numbered(1, now);
    apply(engine, vec![sample.retried(position(1, 0), at(20))]).await;
    let overdue = soon(engine.log().overdue(at(50), 10)).await.expect("it answers");
    let found: Vec<_> = overdue.iter().map(|row| (row.reference.id, row.due_at, &row.rendered)).collect();
    assert_eq!(found, [(sample.id(), at(20), &None)]);
    let ledger = soon(engine.queries().ledger(&LedgerQuery::default(), at(50))).await.expect("it answers");
    assert_eq!(ledger.overdue, 1);
}

pub async fn old_days_go_unless_something_in_them_is_not_over(engine: &mut dyn StoreUnderTest) {
    let today = engine.now().day();
    let noon = |days: i32| today.plus(days).start().plus(DAY / 2);
    let (over, waiting) = (Sample::numbered(1, noon(-4)), Sample::numbered(2, noon(-3)));
    let (beside, newer) = (Sample::numbered(3, noon(-3)), Sample::numbered(4, noon(-2)));
    let delivered = |sample: &Sample| vec![sample.accepted(), sample.delivered(position(1, 0))];
    for sample in [&over, &beside, &newer] {
        apply(engine, delivered(sample)).await;
    }
    apply(engine, vec![waiting.accepted()]).await;
    let log = engine.log();
    let dropped = soon(log.drop_days_before(today.plus(-2))).await.expect("it answers");
    assert!(dropped.contains(&today.plus(-4)) && !dropped.contains(&today.plus(-3)), "{dropped:?}");
    assert!(dropped.iter().all(|day| *day < today.plus(-2)));
    assert_eq!(soon(log.first_day()).await.expect("it answers"), Some(today.plus(-3)));
    assert_eq!((find(engine, &over).await, event(engine, &over).await), (None, None));
    assert!(attempts(engine, &over).await.is_empty());
    for kept in [&waiting, &beside, &newer] {
        assert!(find(engine, kept).await.is_some() && event(engine, kept).await.is_some());
    }
    apply(engine, vec![waiting.delivered(position(1, 0))]).await;
    let dropped = soon(log.drop_days_before(today.plus(-2))).await.expect("it answers");
    assert!(dropped.contains(&today.plus(-3)), "{dropped:?}");
    assert_eq!(soon(log.first_day()).await.expect("it answers"), Some(today.plus(-2)));
    assert_eq!(find(engine, &waiting).await, None);
    assert!(find(engine, &newer).await.is_some());
}

pub async fn the_body_of_an_answer_may_go_before_its_try(engine: &mut dyn StoreUnderTest) {
    let today = engine.now().day();
    let noon = |days: i32| today.plus(days).start().plus(DAY / 2);
    let (old, newer) = (Sample::numbered(1, noon(-4)), Sample::numbered(2, noon(-2)));
    let tries = |sample: &Sample| {
        vec![
            sample.accepted(),
            sample.retried(position(1, 0), noon(0)),
            sample.unreached(position(2, 0), noon(0)),
            sample.exhausted(position(3, 0)),
        ]
    };
    for sample in [&old, &newer] {
        apply(engine, tries(sample)).await;
    }
    let whole = attempts(engine, &old).await;
    let dropped = soon(engine.log().drop_bodies_before(today.plus(-2))).await.expect("it answers");
    // A record that comes late, or again, brings no body back.
    apply(engine, tries(&old)).await;
    let left = attempts(engine, &old).await;
    if engine.drops_bodies() {
        assert!(dropped.contains(&today.plus(-4)) && !dropped.contains(&today.plus(-2)), "{dropped:?}");
        let fates: Vec<AnswerBody> = left.iter().map(|view| view.body).collect();
        assert_eq!(fates, [AnswerBody::Expired, AnswerBody::Kept, AnswerBody::Expired]);
        let without: Vec<AttemptView> = whole.into_iter().map(without_body).collect();
        assert_eq!(left.into_iter().map(without_body).collect::<Vec<_>>(), without, "all else stays");
    } else {
        assert_eq!((dropped, left), (Vec::new(), whole));
    }
    let kept = attempts(engine, &newer).await;
    assert!(kept.iter().all(|view| view.body == AnswerBody::Kept));
    assert!(kept.iter().any(|view| without_body(view.clone()) != *view), "there are bodies to be kept");
}

fn without_body(mut view: AttemptView) -> AttemptView {
    if let AttemptResult::Response(response) = &mut view.attempt.result {
        response.body = bytes::Bytes::new();
    }
    view.body = AnswerBody::Kept;
    view
}

pub async fn one_tenant_sees_nothing_of_another(engine: &mut dyn StoreUnderTest) {
    let sample = Sample::numbered(1, engine.now());
    apply(engine, vec![sample.accepted()]).await;
    let other = Sample { tenant: tenant("other"), ..sample };
    assert_eq!((find(engine, &other).await, event(engine, &other).await), (None, None));
}

pub async fn an_odd_row_does_not_lose_the_others(engine: &mut dyn StoreUnderTest) {
    let (odd, plain) = (Sample::numbered(1, engine.now()), Sample::numbered(2, engine.now()));
    let event_with_nul = Event { summary: Some("a\0b".to_owned()), ..odd.event() };
    let accepted =
        AcceptedRecord { event: event_with_nul, origin: odd.origin, deliveries: vec![odd.expected()] };
    let failed = Outcome::Failed { reason: FailureReason::Permanent, cause: Some(Cause::Status(u16::MAX)) };
    let records = vec![
        JournalRecord::Accepted(accepted),
        odd.attempted(position(1, 0), u16::MAX, failed),
        plain.accepted(),
        plain.delivered(position(1, 0)),
    ];
    apply(engine, records).await;
    assert_eq!(view(engine, &plain).await.status, DeliveryStatus::Delivered);
    assert!(event(engine, &plain).await.is_some());
}

pub async fn times_at_the_ends_of_what_can_be_written_are_kept(engine: &mut dyn StoreUnderTest) {
    let now = engine.now();
    let sample = Sample { event: "evt:a-b_c".parse::<EventId>().expect("an id"), ..Sample::numbered(1, now) };
    apply(engine, vec![sample.retried(position(1, 0), Timestamp::LATEST)]).await;
    assert_eq!(view(engine, &sample).await.due_at, Some(Timestamp::LATEST));
}

#[macro_export]
macro_rules! log_promises {
    ($start:ident) => {
        $crate::promises! {
            $start,
            log:
            an_accepted_delivery_is_pending,
            an_event_is_kept_byte_for_byte,
            every_try_is_kept_whole_and_listed_by_number,
            the_last_error_is_that_of_the_last_try,
            two_real_calls_with_one_number_are_both_kept_once,
            every_reason_and_conclusion_is_told,
            an_event_is_in_doubt_until_it_is_known_to_be_accepted,
            what_is_recorded_is_known_to_who_asks,
            a_delivery_that_moved_on_is_known_to_have,
            what_is_long_past_its_time_is_overdue,
            what_cannot_be_rendered_again_is_overdue_all_the_same,
            old_days_go_unless_something_in_them_is_not_over,
            one_tenant_sees_nothing_of_another,
            the_body_of_an_answer_may_go_before_its_try,
            an_odd_row_does_not_lose_the_others,
            times_at_the_ends_of_what_can_be_written_are_kept,
        }
    };
}
