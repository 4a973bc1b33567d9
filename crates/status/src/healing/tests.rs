use std::num::NonZeroU16;

use bytes::Bytes;
use postrider_contract::clock::Clock;
use postrider_contract::egress::WebhookUrl;
use postrider_contract::event::{Event, SchemaVersion};
use postrider_contract::fakes::PublishFault;
use postrider_contract::journal::HeldRecord;
use postrider_contract::json::RawObject;
use postrider_contract::outcome::{Cause, DeliveryStatus, HoldReason, Outcome};
use postrider_contract::ports::{
    DeliveryLog, Journal, KeyName, KeyedOutcome, KeyedRequest, KeyedRequests, LogQueries, WorkKind,
};
use postrider_contract::tenant::Tenant;
use postrider_contract::webhook::Webhook;

use super::*;
use crate::retention::tidy;
use crate::tests::fixture::{
    OVERDUE_AFTER, Office, QUICK, accepted, attempted, template, tenant, tenant_id, webhook,
};

/// A round of a process that has just begun to lead.
async fn heal(parts: &DutyParts) -> Result<usize, HealError> {
    super::heal(parts, &mut Told::default()).await
}

/// With webhook 1, whose deliveries get lost.
async fn office() -> Office {
    let office = Office::open().await;
    office.put(&webhook(1)).await;
    office
}

const A_MOMENT: Duration = Duration::from_millis(1);

/// A delivery as healing publishes it, all else as it was.
fn healed_now(office: &Office, delivery: Delivery) -> Delivery {
    Delivery {
        position: Position { deferrals: 1, ..Position::START },
        check: Check::LookUp,
        due_at: office.clock.now(),
        ..delivery
    }
}

#[tokio::test]
async fn an_overdue_delivery_is_published_again_byte_for_byte_with_a_check() {
    let office = office().await;
    let (event, delivery) = office.delivery("e", 1);
    office.log([accepted(event, &delivery, None)]).await;
    // The envelope shows the tenant's name, which is another by now.
    office.put(&Tenant { name: "Another".to_owned(), ..tenant("a") }).await;
    office.clock.advance(OVERDUE_AFTER);
    assert_eq!(heal(&office.parts).await.unwrap(), 0, "it is late, not yet overdue");
    office.clock.advance(A_MOMENT);
    assert_eq!(heal(&office.parts).await.unwrap(), 1);
    assert_eq!(office.published().await, [healed_now(&office, delivery)]);
}

/// With the URL as it was when the event was accepted: what an event fills in is the same for every try.
#[tokio::test]
async fn an_overdue_postback_is_published_again_as_it_was_filled() {
    let office = Office::open().await;
    let (postback, event, delivery) = office.postback("e={event.id}&x={nowhere}", b"e=e&x=").await;
    office.log([accepted(event, &delivery, None)]).await;
    let changed = WebhookUrl::from_stored("https://partner.example/other?changed={event.type}").unwrap();
    office.put(&Webhook { url: changed, ..postback }).await;
    office.clock.advance(OVERDUE_AFTER + A_MOMENT);
    assert_eq!(heal(&office.parts).await.unwrap(), 1);
    assert_eq!(office.published().await, [healed_now(&office, delivery)]);
}

#[tokio::test]
async fn a_body_made_by_a_template_is_made_by_that_template_again_though_it_is_another_by_now() {
    let office = office().await;
    let own = |text: &str| Webhook { template: Some(template(text)), ..webhook(1) };
    office.put(&own(r#"{"n":"{{event.data.n}}","no":"<{{event.data.no}}>"}"#)).await;
    let (event, delivery) = office.delivery("e", 1);
    assert_eq!(delivery.body, r#"{"n":12345678901234567890,"no":"<>"}"#);
    office.log([accepted(event, &delivery, None)]).await;
    for later in [own(r#"{"other":1}"#), webhook(1)] {
        office.put(&later).await;
        office.clock.advance(OVERDUE_AFTER + A_MOMENT);
        assert_eq!(heal(&office.parts).await.unwrap(), 1);
        assert_eq!(office.published().await[0].body, delivery.body);
    }
}

#[tokio::test]
async fn of_several_versions_the_one_that_was_sent_is_published_again_though_its_webhook_was_moved() {
    let office = office().await;
    let pinned = |major| Webhook { schema_major: NonZeroU16::new(major), ..webhook(1) };
    office.put(&pinned(1)).await;
    let (event, delivery) = office.delivery("e", 1);
    let data = RawObject::from_stored(Bytes::from_static(br#"{"1":{"old":1},"2":{"new":2}}"#));
    let event = Event { schema_version: SchemaVersion::SEVERAL, data, ..event };
    office.log([accepted(event, &delivery, None)]).await;
    office.put(&pinned(2)).await;
    office.clock.advance(OVERDUE_AFTER + A_MOMENT);
    assert_eq!(heal(&office.parts).await.unwrap(), 1);
    let published = office.published().await.remove(0);
    let body = String::from_utf8(published.body.to_vec()).unwrap();
    assert!(body.contains(r#""data":{"old":1}"#), "{body}");
    assert_eq!(published.schema_version, SchemaVersion::FIRST);
}

#[tokio::test]
async fn what_was_healed_is_not_overdue_again_until_it_is_late_once_more() {
    let office = office().await;
    let (event, delivery) = office.delivery("e", 1);
    office.log([accepted(event, &delivery, None)]).await;
    for round in 1..=3 {
        office.clock.advance(OVERDUE_AFTER + A_MOMENT);
        assert_eq!(heal(&office.parts).await.unwrap(), 1);
        assert_eq!(heal(&office.parts).await.unwrap(), 0);
        let published = office.published().await;
        assert_eq!((published.len(), published[0].position.deferrals), (1, round));
    }
    let view = office.view(delivery.reference.id).await;
    assert_eq!((view.status, view.due_at), (DeliveryStatus::Pending, Some(office.clock.now())));
}

#[tokio::test]
async fn a_retry_that_is_lost_goes_on_where_it_was() {
    let office = office().await;
    let (event, delivery) = office.delivery("e", 1);
    let at = office.clock.now().plus(Duration::from_secs(3_600));
    let retry = Outcome::Retry { at, cause: Cause::Status(500) };
    office.log([accepted(event, &delivery, None), attempted(&delivery, 500, QUICK, retry)]).await;
    office.clock.set(at.plus(OVERDUE_AFTER));
    assert_eq!(heal(&office.parts).await.unwrap(), 0);
    office.clock.advance(A_MOMENT);
    assert_eq!(heal(&office.parts).await.unwrap(), 1);
    let published = office.published().await;
    assert_eq!(published[0].position.attempt.number(), 2);
    assert_eq!(published[0].body, delivery.body);
    assert_eq!(office.view(delivery.reference.id).await.status, DeliveryStatus::Retrying);
}

#[tokio::test]
async fn nothing_is_overdue_while_the_queues_or_the_journal_are_behind() {
    let office = office().await;
    let (event, delivery) = office.delivery("e", 1);
    office.log([accepted(event, &delivery, None)]).await;
    let (late, _) = office.delivery("late", 1);
    office.journal(vec![accepted(late, &delivery, None)]).await;
    office.clock.advance(OVERDUE_AFTER + A_MOMENT);
    assert_eq!(heal(&office.parts).await.unwrap(), 0, "the journal may hold its attempt");
    let mut source = Journal::read(&office.queue, 10).await.unwrap();
    source.next().await.unwrap().ticket.acknowledge();
    for kind in [WorkKind::First, WorkKind::Retry, WorkKind::Release] {
        let waiting = postrider_contract::wire::encode_work(&Work::Deliver(delivery.clone()));
        office.queue.inject(kind, waiting);
        assert_eq!(heal(&office.parts).await.unwrap(), 0, "{kind:?} is behind");
        office.published().await;
    }
    assert_eq!(heal(&office.parts).await.unwrap(), 1);
}

#[tokio::test]
async fn what_is_concluded_or_held_is_left_alone() {
    let office = office().await;
    let (event, done) = office.delivery("done", 1);
    let delivered = attempted(&done, 200, QUICK, Outcome::Delivered);
    office.log([accepted(event, &done, None), delivered]).await;
    office.hold(1, 1).await;
    office.clock.advance(OVERDUE_AFTER * 10);
    assert_eq!(heal(&office.parts).await.unwrap(), 0);
    assert_eq!(office.published().await, []);
}

#[tokio::test]
async fn a_delivery_whose_event_is_in_doubt_is_passed_over_and_others_are_healed() {
    let office = office().await;
    let (_, doubtful) = office.delivery("doubtful", 1);
    let doubtful = doubtful.held();
    let held =
        HeldRecord { delivery: doubtful.clone(), why: HoldReason::Overflow, since: office.clock.now() };
    let released = ReleasedRecord {
        delivery: doubtful.reference.clone(),
        position: doubtful.position,
        released_at: office.clock.now(),
    };
    office.log([JournalRecord::Held(held), JournalRecord::Released(released)]).await;
    let (event, delivery) = office.delivery("e", 1);
    office.log([accepted(event, &delivery, None)]).await;
    office.clock.advance(OVERDUE_AFTER + A_MOMENT);
    assert_eq!(office.log.overdue(office.clock.now(), 10).await.unwrap().len(), 2);
    let mut told = Told::default();
    assert_eq!(super::heal(&office.parts, &mut told).await.unwrap(), 1);
    assert_eq!(office.published().await[0].reference, delivery.reference);
    // It hides nothing behind it, is looked at again later, and ends after a day of that, however old it is.
    assert_eq!(office.log.overdue(office.clock.now(), 10).await.unwrap(), []);
    assert_eq!(office.view(doubtful.reference.id).await.status, DeliveryStatus::Pending);
    office.clock.advance(GIVE_UP_AFTER + A_MOMENT);
    heal(&office.parts).await.unwrap();
    let view = office.view(doubtful.reference.id).await;
    assert_eq!(view.status, DeliveryStatus::Pending, "news to whoever has just begun to lead");
    office.clock.advance(OVERDUE_AFTER * URGENT_AFTER + A_MOMENT);
    super::heal(&office.parts, &mut told).await.unwrap();
    let view = office.view(doubtful.reference.id).await;
    assert_eq!(view.status, DeliveryStatus::Failed);
    assert_eq!(view.reason.map(|reason| reason.as_str()), Some("internal"));
}

#[test]
fn a_delivery_that_cannot_be_rendered_is_complained_of_once() {
    let mut told = Told::default();
    let [one, other] = [1, 2].map(DeliveryId::from_u128);
    let [now, later] = [0, 1].map(Timestamp::from_millis);
    assert_eq!((told.since(one, now), told.since(one, later)), (None, Some(now)));
    assert_eq!(told.since(other, later), None);
}

#[tokio::test]
async fn what_is_very_late_is_healed_however_busy_the_queues_are() {
    let office = office().await;
    let (event, lost) = office.delivery("lost", 1);
    office.log([accepted(event, &lost, None)]).await;
    office.clock.advance(OVERDUE_AFTER * URGENT_AFTER);
    let (_, waiting) = office.delivery("waiting", 2);
    let waiting = postrider_contract::wire::encode_work(&Work::Deliver(waiting));
    office.queue.inject(WorkKind::First, waiting);
    assert_eq!(heal(&office.parts).await.unwrap(), 0, "its turn may yet come");
    office.clock.advance(A_MOMENT);
    assert_eq!(heal(&office.parts).await.unwrap(), 1);
}

#[tokio::test]
async fn a_publish_that_is_not_confirmed_is_made_again() {
    let office = office().await;
    let (event, delivery) = office.delivery("e", 1);
    office.log([accepted(event, &delivery, None)]).await;
    office.clock.advance(OVERDUE_AFTER + A_MOMENT);
    office.queue.fail_publishes(PublishFault::LostBefore { reason: "cut off".to_owned() });
    assert!(matches!(heal(&office.parts).await, Err(HealError::Publish(_))));
    office.queue.fail_publishes(PublishFault::None);
    assert_eq!(heal(&office.parts).await.unwrap(), 1);
    assert_eq!(office.published().await.len(), 1);
}

#[tokio::test]
async fn days_are_dropped_once_they_are_old_and_nothing_of_them_is_open_and_keys_are_forgotten() {
    let office = office().await;
    let (open_event, open) = office.delivery("open", 1);
    office.log([accepted(open_event, &open, None)]).await;
    office.clock.advance(Duration::from_secs(86_400));
    let (event, done) = office.delivery("done", 1);
    office.log([accepted(event, &done, None), attempted(&done, 200, QUICK, Outcome::Delivered)]).await;
    let request = keyed_request(&office);
    office.keyed.begin(vec![request.clone()]).await.unwrap();
    tidy(&office.parts).await.unwrap();
    assert!(matches!(
        office.keyed.begin(vec![request.clone()]).await.unwrap()[..],
        [KeyedOutcome::Exists { .. }]
    ));
    office.clock.advance(Duration::from_secs(86_400 * u64::from(office.parts.retention.days)));
    tidy(&office.parts).await.unwrap();
    let tenant = tenant_id("a");
    let known = async |id| office.log.delivery(&tenant, id).await.unwrap().is_some();
    assert!(known(done.reference.id).await, "the day is kept to its end");
    office.clock.advance(Duration::from_secs(86_400));
    tidy(&office.parts).await.unwrap();
    assert!(!known(done.reference.id).await);
    assert!(known(open.reference.id).await, "it is not concluded");
    assert_eq!(office.keyed.begin(vec![request]).await.unwrap(), [KeyedOutcome::Inserted]);
}

fn keyed_request(office: &Office) -> KeyedRequest {
    KeyedRequest {
        tenant: tenant_id("a"),
        name: KeyName::Request("k".to_owned()),
        body_hash: [0; 32],
        event: "e".parse().unwrap(),
        accepted_at: office.clock.now(),
        matches: Vec::new(),
    }
}
