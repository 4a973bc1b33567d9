//! What an accepted event leaves behind, and what a refused one does not.

mod breakers;
mod filters;
mod keyed;
mod pages;
mod postbacks;
mod schemas;
mod unusable;
mod versions;

use std::collections::HashSet;
use std::num::NonZeroU32;

use postrider_contract::delivery::{Position, Work};
use postrider_contract::fakes::{FakeQueue, PublishFault};
use postrider_contract::journal::{JournalBatch, JournalRecord};
use postrider_contract::outcome::HoldReason;
use postrider_contract::ports::{
    ConfigKind, ConfigStore, ConfigWrite, Expected, Journal, JournalSource, KeyName, PublishError,
    QueueError, StoreError,
};
use postrider_contract::profile::Profile;
use postrider_contract::provider::Provider;
use postrider_contract::template::{LoneVariables, Template};
use postrider_contract::webhook::{Webhook, WebhookState};
use postrider_service::config_object::ConfigObject;
use postrider_service::lifecycle::Stop;

use super::*;
use crate::breaker::PAUSE;
use crate::tests::fixture::{Door, MAX_AGE, NOW, paused, tenant, tenant_id, webhook};

const ORDER: &str = r#"{"type":"order.paid","data":{"n":12345678901234567890}}"#;

#[tokio::test]
async fn an_accepted_event_stands_in_the_queue_and_in_the_journal_under_the_same_ids() {
    let door = Door::open().await;
    let other = Webhook { events: vec!["cap.reached".parse().unwrap()], ..webhook(3) };
    for one in [webhook(1), webhook(2), other] {
        door.put(&one).await;
    }
    let receipt = door.accept(ORDER).await.unwrap();
    let deliveries = door.deliveries().await;
    let (accepted, holds) = door.accepted().await;
    assert_eq!(receipt.deliveries.len(), 2);
    assert!(!receipt.replayed && holds.is_empty());
    let in_queue: Vec<_> = deliveries.iter().map(|one| (one.reference.id, one.reference.webhook)).collect();
    let in_journal: Vec<_> = accepted.deliveries.iter().map(|one| (one.id, one.webhook)).collect();
    assert_eq!((&in_queue, &in_journal), (&receipt.deliveries, &receipt.deliveries));
    assert_eq!(accepted.event.id, receipt.event);
    for delivery in deliveries {
        assert_eq!(delivery.position, Position::START);
        assert_eq!(delivery.check, Check::Fresh);
        let body = String::from_utf8(delivery.body.to_vec()).unwrap();
        assert!(body.ends_with(r#""data":{"n":12345678901234567890}}"#), "{body}");
    }
}

#[tokio::test]
async fn an_event_that_nobody_wants_is_accepted_and_counted() {
    let door = Door::open().await;
    assert_eq!(door.accept(ORDER).await.unwrap().deliveries, []);
    let (accepted, _) = door.accepted().await;
    assert_eq!(accepted.deliveries, []);
    assert_eq!(door.published().await, []);
}

fn faults() -> [PublishFault; 3] {
    let reason = || "cut off".to_owned();
    [
        PublishFault::Refused { reason: reason() },
        PublishFault::LostBefore { reason: reason() },
        PublishFault::LostAfter { reason: reason() },
    ]
}

#[tokio::test]
async fn an_event_is_in_doubt_unless_deliveries_and_journal_are_both_durable() {
    for fault in faults() {
        let door = Door::open().await.unsuspecting();
        door.put(&webhook(1)).await;
        door.put(&Webhook { state: paused(), ..webhook(2) }).await;
        for queue in [&door.queue, &door.journal] {
            queue.fail_publishes(fault.clone());
            let refused = door.accept(ORDER).await.unwrap_err();
            assert!(matches!(refused, IntakeError::InDoubt { .. }), "{fault:?}: {refused:?}");
            queue.fail_publishes(PublishFault::None);
            door.clock.advance(PAUSE);
        }
        door.accept(ORDER).await.unwrap();
    }
}

#[tokio::test]
async fn while_the_queue_cannot_be_written_nothing_is_begun() {
    for fault in faults() {
        let door = Door::open().await;
        door.put(&webhook(1)).await;
        door.queue.fail_publishes(fault);
        let refused = door.accept_keyed(Some("k"), ORDER).await.unwrap_err();
        assert!(matches!(refused, IntakeError::Unavailable { .. }), "{refused:?}");
        door.queue.fail_publishes(PublishFault::None);
        door.assert_nothing_happened().await;
        // Not even its key: the repeat is the first.
        assert!(!door.accept_keyed(Some("k"), ORDER).await.unwrap().replayed);
    }
}

#[tokio::test]
async fn data_that_does_not_fit_the_envelope_is_refused_and_leaves_nothing() {
    let door = Door::open().await;
    door.put(&webhook(1)).await;
    let strict = Some("tracktile".parse().unwrap());
    door.put(&Webhook { profile: strict, ..webhook(2) }).await;
    let body = r#"{"type":"order.paid","data":{"id":7}}"#;
    let refused = door.accept_keyed(Some("k"), body).await;
    let Err(IntakeError::Unrenderable { pointer, .. }) = refused else { panic!("{refused:?}") };
    assert_eq!(pointer, "/data/id");
    door.assert_nothing_happened().await;
    // Put right, it is accepted under the key that it was refused under.
    assert!(!door.accept_keyed(Some("k"), ORDER).await.unwrap().replayed);
}

#[tokio::test]
async fn a_webhook_with_a_template_gets_its_own_body_and_the_others_the_envelope() {
    let door = Door::open().await;
    let own = |number: u128, text: &str, lone_variables| {
        let template = Template::parse(text, lone_variables).unwrap();
        Webhook { template: Some(template), profile: Some("tracktile".parse().unwrap()), ..webhook(number) }
    };
    for number in [1, 4] {
        door.put(&webhook(number)).await;
    }
    door.put(&own(2, r#"{"n":"{{event.data.id}}"}"#, LoneVariables::Typed)).await;
    door.put(&own(3, r#"{"n":"{{event.data.id}}"}"#, LoneVariables::Text)).await;
    // The envelope of their profile would not take it; it is not in it.
    door.accept(r#"{"type":"order.paid","data":{"id":12345678901234567890}}"#).await.unwrap();
    let bodies: Vec<_> = door.deliveries().await.into_iter().map(|one| one.body).collect();
    assert!(bodies[0].ends_with(br#""data":{"id":12345678901234567890}}"#));
    assert_eq!(bodies[1], r#"{"n":12345678901234567890}"#);
    assert_eq!(bodies[2], r#"{"n":"12345678901234567890"}"#);
    assert_eq!(bodies[3], bodies[0]);
}

#[tokio::test]
async fn a_webhook_that_is_named_must_be_one_of_the_tenants_own() {
    let door = Door::open().await;
    door.put(&tenant("b", "standard")).await;
    door.put(&webhook(1)).await;
    door.put(&Webhook { tenant: tenant_id("b"), ..webhook(2) }).await;
    door.put(&webhook(3)).await;
    door.delete(webhook(3).key()).await;
    for number in [2, 3, 4] {
        let id = webhook(number).id;
        let body =
            format!(r#"{{"type":"order.paid","data":{{}},"webhook_ids":["{}","{id}"]}}"#, webhook(1).id);
        let refused = door.accept(&body).await.unwrap_err();
        assert!(matches!(refused, IntakeError::UnknownWebhook(unknown) if unknown == id), "{refused:?}");
    }
    door.assert_nothing_happened().await;
}

#[tokio::test]
async fn a_named_webhook_gets_only_what_it_subscribed_to() {
    let door = Door::open().await;
    for number in 1..=3 {
        door.put(&webhook(number)).await;
    }
    door.put(&Webhook { events: vec!["cap.reached".parse().unwrap()], ..webhook(4) }).await;
    let (two, four) = (webhook(2).id, webhook(4).id);
    let body = format!(r#"{{"type":"order.paid","data":{{}},"webhook_ids":["{two}","{four}","{two}"]}}"#);
    let receipt = door.accept(&body).await.unwrap();
    assert_eq!(receipt.deliveries.iter().map(|(_, webhook)| *webhook).collect::<Vec<_>>(), [two]);
}

#[tokio::test]
async fn what_is_for_a_webhook_that_may_not_get_it_now_goes_whole_into_the_waiting_room() {
    let door = Door::open().await;
    door.put(&Webhook { state: paused(), ..webhook(1) }).await;
    door.put(&Webhook { rate_limit_per_second: NonZeroU32::new(5), ..webhook(2) }).await;
    door.put(&webhook(3)).await;
    door.put(&webhook(4)).await;
    door.room.set(HashSet::from([webhook(3).id]));
    let receipt = door.accept(ORDER).await.unwrap();
    let queued = door.deliveries().await;
    assert_eq!(queued.iter().map(|one| one.reference.webhook).collect::<Vec<_>>(), [webhook(4).id]);
    let (accepted, holds) = door.accepted().await;
    let reasons: Vec<_> = accepted.deliveries.iter().map(|one| one.held).collect();
    let expected = [HoldReason::Paused, HoldReason::RateLimited, HoldReason::Overflow];
    assert_eq!(reasons, [Some(expected[0]), Some(expected[1]), Some(expected[2]), None]);
    assert_eq!(holds.iter().map(|held| held.why).collect::<Vec<_>>(), expected);
    for (held, (id, webhook)) in holds.iter().zip(&receipt.deliveries) {
        let delivery = &held.delivery;
        assert_eq!((delivery.reference.id, delivery.reference.webhook), (*id, *webhook));
        assert_eq!(delivery.body, queued[0].body);
        assert_eq!((delivery.position.holds, delivery.check), (1, Check::LookUp));
        assert_eq!(held.since, accepted.event.accepted_at);
    }
}

#[tokio::test]
async fn a_webhook_that_does_not_receive_is_not_matched() {
    let door = Door::open().await;
    let skips = Some("tracktile".parse().unwrap());
    door.put(&Webhook { profile: skips, state: paused(), ..webhook(1) }).await;
    let disabled = WebhookState::Disabled { since: NOW, reason: "gone".to_owned() };
    door.put(&Webhook { state: disabled, ..webhook(2) }).await;
    assert_eq!(door.accept(ORDER).await.unwrap().deliveries, []);
    assert_eq!(door.published().await, []);
}

/// Confirms nothing that holds a held delivery.
struct LosesHolds(FakeQueue);

#[async_trait]
impl Journal for LosesHolds {
    async fn append(&self, batch: JournalBatch) -> Result<(), PublishError> {
        if batch.records.iter().any(|record| matches!(**record, JournalRecord::Held(_))) {
            return Err(PublishError::InDoubt { reason: "no confirm".to_owned() });
        }
        self.0.append(batch).await
    }

    async fn read(&self, prefetch: u16) -> Result<Box<dyn JournalSource>, QueueError> {
        self.0.read(prefetch).await
    }

    async fn settled_until(&self, now: Timestamp) -> Result<Timestamp, QueueError> {
        self.0.settled_until(now).await
    }
}

#[tokio::test]
async fn the_log_is_never_told_that_a_delivery_is_held_of_which_no_copy_is_left() {
    let door = Door::open().await;
    let journal = Arc::new(LosesHolds(door.journal.clone()));
    let door = door.with_journal(journal);
    door.put(&Webhook { state: paused(), ..webhook(1) }).await;
    let refused = door.accept(ORDER).await.unwrap_err();
    assert!(matches!(refused, IntakeError::InDoubt { .. }), "{refused:?}");
    assert_eq!(door.records().await, []);
}

/// The order, before anything is rendered.
async fn prepared(door: &Door) -> Ready {
    let view = door.directory.tenant(&tenant_id("a")).known().unwrap();
    let submission = Submission::parse(&Bytes::from_static(ORDER.as_bytes())).unwrap();
    door.intake.prepare(&view, submission, Origin::Producer).await.unwrap()
}

fn bodies(page: &Page) -> Vec<Bytes> {
    let body = |publication: &postrider_contract::ports::Publication| match &publication.work {
        Work::Deliver(delivery) => delivery.body.clone(),
        Work::FanOut(_) => panic!("single deliveries"),
    };
    page.publications.iter().map(body).collect()
}

#[tokio::test]
async fn webhooks_with_the_same_rendering_share_one_buffer_and_others_do_not() {
    let own = r#"
        name = "own"
        [envelope]
        body = '{"to":${webhook.id},"data":${event.data}}'
        [retry]
        waits = ["1s"]
    "#;
    let own = serde_json::to_vec(&Profile::from_toml(own).unwrap()).unwrap();
    let door = Door::open().await;
    let key = postrider_contract::ports::ConfigKey {
        kind: ConfigKind::Profile,
        tenant: None,
        id: "own".to_owned(),
    };
    let write = ConfigWrite { key, expected: Expected::Absent, document: Some(own.into()) };
    door.configuration.write(vec![write]).await.unwrap();
    for (number, profile) in [(1, None), (2, None), (3, Some("trcker")), (4, Some("own")), (5, Some("own"))] {
        let profile = profile.map(|name| name.parse().unwrap());
        door.put(&Webhook { profile, ..webhook(number) }).await;
    }
    for (number, text, lone_variables) in [
        (6, r#"["{{event.data.n}}"]"#, LoneVariables::Text),
        (7, r#"["{{event.data.n}}"]"#, LoneVariables::Text),
        (8, r#"["{{event.data.n}}"]"#, LoneVariables::Typed),
        (9, r#"["{{event.data.n}}", 9]"#, LoneVariables::Text),
    ] {
        let template = Some(Template::parse(text, lone_variables).unwrap());
        // Its template says what is sent, whatever its profile.
        let profile = (number == 7).then(|| "trcker".parse().unwrap());
        door.put(&Webhook { template, profile, ..webhook(number) }).await;
    }
    for (number, provider) in [(10, Provider::Slack), (11, Provider::Slack), (12, Provider::Discord)] {
        door.put(&Webhook { named_provider: Some(provider), ..webhook(number) }).await;
    }
    let ready = prepared(&door).await;
    let page = Pages::new(&ready.event, &ready.matches, Origin::Producer, Check::Fresh).render_next().await;
    let bodies = bodies(&page);
    let groups: [&[usize]; 9] = [&[1, 2], &[3], &[4], &[5], &[6, 7], &[8], &[9], &[10, 11], &[12]];
    for group in groups {
        for (index, body) in bodies.iter().enumerate() {
            let is_shared = body.as_ptr() == bodies[group[0] - 1].as_ptr();
            assert_eq!(is_shared, group.contains(&(index + 1)), "{group:?} {index}");
        }
    }
    assert!(bodies[2].starts_with(br#"{"id":"#));
    assert_eq!(bodies[3], format!(r#"{{"to":"{}","data":{{"n":12345678901234567890}}}}"#, webhook(4).id));
    assert_ne!(bodies[3], bodies[4]);
    assert_eq!(
        (&bodies[6][..], &bodies[7][..]),
        (br#"["12345678901234567890"]"#.as_ref(), br#"[12345678901234567890]"#.as_ref())
    );
}

#[tokio::test]
async fn above_64_matches_one_message_carries_all_and_each_body_once() {
    let door = Door::open().await;
    for number in 1..=64 {
        door.put(&webhook(number)).await;
    }
    door.accept(ORDER).await.unwrap();
    assert_eq!(door.deliveries().await.len(), 64);
    door.records().await;
    let trcker = Some("trcker".parse().unwrap());
    door.put(&Webhook { profile: trcker, ..webhook(65) }).await;
    let receipt = door.accept(ORDER).await.unwrap();
    let mut works = door.published().await;
    let Some(Work::FanOut(fan_out)) = works.pop() else { panic!("{works:?}") };
    assert!(works.is_empty());
    assert_eq!((fan_out.deliveries.len(), fan_out.bodies.len()), (65, 2));
    assert_eq!(fan_out.body_of[63..], [0, 1]);
    let ids: Vec<_> =
        fan_out.deliveries.iter().map(|one| (one.reference.id, one.reference.webhook)).collect();
    assert_eq!(ids, receipt.deliveries);
    assert_eq!(door.accepted().await.0.deliveries.len(), 65);
}

#[tokio::test]
async fn above_4_mib_together_one_message_carries_all() {
    let door = Door::open().await;
    for number in 1..=5 {
        door.put(&webhook(number)).await;
    }
    let large = format!(r#"{{"type":"order.paid","data":{{"x":"{}"}}}}"#, "x".repeat(1_000_000));
    door.accept(&large).await.unwrap();
    let works = door.published().await;
    assert!(matches!(&works[..], [Work::FanOut(fan_out)] if fan_out.bodies.len() == 1), "{}", works.len());
}

#[tokio::test(start_paused = true)]
async fn a_directory_that_is_too_old_accepts_nothing_until_the_store_answers() {
    let door = Door::open().await;
    door.configuration_outage.begin("gone");
    tokio::time::advance(MAX_AGE).await;
    door.accept(ORDER).await.unwrap();
    tokio::time::advance(Duration::from_millis(1)).await;
    let refused = door.accept(ORDER).await.unwrap_err();
    assert!(matches!(refused, IntakeError::Unavailable { .. }), "{refused:?}");
    door.configuration_outage.end();
    door.directory.refresh().await.unwrap();
    door.accept(ORDER).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn while_first_tries_wait_for_too_long_new_events_are_turned_away() {
    let door = Door::open().await;
    door.put(&webhook(1)).await;
    let (stop, backlog) = (Stop::default(), Arc::clone(&door.backlog));
    let (queue, watched) = (Arc::new(door.queue.clone()), stop.clone());
    let following = tokio::spawn(async move { backlog.follow(queue, watched).await });
    tokio::time::sleep(Duration::from_millis(1)).await;
    door.accept(ORDER).await.unwrap();
    tokio::time::sleep(Duration::from_secs(40)).await;
    assert!(matches!(door.accept(ORDER).await, Err(IntakeError::Overloaded)));
    assert_eq!(door.deliveries().await.len(), 1);
    tokio::time::sleep(Duration::from_secs(2)).await;
    door.accept(ORDER).await.unwrap();
    stop.halt();
    following.await.unwrap();
}

#[tokio::test]
async fn a_tenant_that_is_deleted_or_was_never_there_publishes_nothing() {
    let door = Door::open().await;
    door.put(&webhook(1)).await;
    door.delete(tenant("a", "standard").key()).await;
    assert!(matches!(door.accept(ORDER).await, Err(IntakeError::UnknownTenant)));
    door.assert_nothing_happened().await;
}
