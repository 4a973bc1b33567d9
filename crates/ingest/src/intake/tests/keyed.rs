//! A request that comes twice counts once, whatever happened to the first.

use std::sync::OnceLock;

use postrider_contract::clock::ManualClock;
use postrider_contract::fakes::{FakeKeyedRequests, FakeLog, Outage};
use postrider_contract::journal::{ConcludedRecord, Conclusion};
use postrider_contract::log::fold;
use postrider_contract::outcome::CancelReason;
use postrider_contract::ports::{BegunRequest, DeliveryLog, KeyedRequests, LedgerQuery, LogQueries};
use postrider_contract::tenant::Tenant;
use tokio::sync::watch;

use super::*;

const OWN: &str = r#"{"type":"order.paid","id":"order-7","data":{}}"#;
const OWN_CHANGED: &str = r#"{"type":"order.paid","id":"order-7","data":{"n":1}}"#;

#[tokio::test]
async fn a_repeat_is_answered_as_the_first_was_and_publishes_nothing() {
    let door = Door::open().await;
    door.put(&webhook(1)).await;
    let first = door.accept_keyed(Some("k"), ORDER).await.unwrap();
    door.deliveries().await;
    door.records().await;
    door.clock.advance(Duration::from_secs(3_600));
    door.put(&webhook(2)).await;
    let repeat = door.accept_keyed(Some("k"), ORDER).await.unwrap();
    assert_eq!(repeat, IntakeReceipt { replayed: true, ..first });
    door.assert_nothing_happened().await;
}

#[tokio::test]
async fn a_key_belongs_to_one_body() {
    let door = Door::open().await;
    door.accept_keyed(Some("k"), ORDER).await.unwrap();
    let other = r#"{"type":"order.paid","data":{}}"#;
    assert!(matches!(door.accept_keyed(Some("k"), other).await, Err(IntakeError::KeyReused)));
    door.accept(OWN).await.unwrap();
    assert!(matches!(door.accept(OWN_CHANGED).await, Err(IntakeError::KeyReused)));
}

#[tokio::test]
async fn an_events_own_id_and_a_requests_key_never_meet() {
    let door = Door::open().await;
    assert!(!door.accept(OWN).await.unwrap().replayed);
    assert!(!door.accept_keyed(Some("order-7"), ORDER).await.unwrap().replayed);
}

#[tokio::test]
async fn a_request_with_a_key_and_an_id_of_its_own_is_recognised_by_either() {
    let door = Door::open().await;
    door.put(&webhook(1)).await;
    let first = door.accept_keyed(Some("k"), OWN).await.unwrap();
    let again = IntakeReceipt { replayed: true, ..first };
    assert_eq!(door.accept(OWN).await.unwrap(), again);
    assert_eq!(door.accept_keyed(Some("k"), OWN).await.unwrap(), again);
    assert_eq!(door.accept_keyed(Some("another"), OWN).await.unwrap(), again);
    assert!(matches!(door.accept_keyed(Some("k"), ORDER).await, Err(IntakeError::KeyReused)));
    assert_eq!(door.deliveries().await.len(), 1);
}

#[tokio::test]
async fn the_same_key_of_two_tenants_is_two_keys() {
    let door = Door::open().await;
    door.put(&tenant("b", "standard")).await;
    door.accept_keyed(Some("k"), ORDER).await.unwrap();
    let body = Bytes::from_static(OWN.as_bytes());
    let submission = Submission::parse(&body).unwrap();
    let key = IdempotencyKey::parse("k").ok();
    let receipt = door.intake.accept_request(&tenant_id("b"), submission, key, &body).await.unwrap();
    assert!(!receipt.replayed);
}

#[tokio::test]
async fn a_repeat_while_the_first_may_still_be_running_is_told_to_wait() {
    let door = Door::open().await;
    door.fail_journal();
    assert!(matches!(door.accept_keyed(Some("k"), ORDER).await, Err(IntakeError::InDoubt { .. })));
    door.journal.fail_publishes(PublishFault::None);
    door.clock.advance(STILL_RUNNING - Duration::from_millis(1));
    assert!(matches!(door.accept_keyed(Some("k"), ORDER).await, Err(IntakeError::KeyInProgress)));
    door.clock.advance(Duration::from_millis(1));
    assert!(!door.accept_keyed(Some("k"), ORDER).await.unwrap().replayed);
    assert!(door.accept_keyed(Some("k"), ORDER).await.unwrap().replayed);
}

/// The first try of a request is in doubt: its delivery is in the queue, the journal does not know.
async fn in_doubt(door: &Door, key: &str, body: &str) -> postrider_contract::delivery::Delivery {
    door.fail_journal();
    assert!(matches!(door.accept_keyed(Some(key), body).await, Err(IntakeError::InDoubt { .. })));
    door.journal.fail_publishes(PublishFault::None);
    door.clock.advance(STILL_RUNNING);
    let mut deliveries = door.deliveries().await;
    assert_eq!(deliveries.len(), 1);
    deliveries.remove(0)
}

#[tokio::test]
async fn a_request_in_doubt_is_published_again_byte_for_byte_with_a_check() {
    let door = Door::open().await;
    // This envelope shows the tenant's name, the next one the time of an event that says none.
    door.put(&webhook(1)).await;
    for (profile, number) in [("trakkr", 2), ("trcker", 3)] {
        door.put(&tenant("a", profile)).await;
        let first = in_doubt(&door, profile, ORDER).await;
        door.put(&Tenant { name: "Another".to_owned(), ..tenant("a", "standard") }).await;
        door.put(&webhook(number)).await;
        let receipt = door.accept_keyed(Some(profile), ORDER).await.unwrap();
        assert_eq!(receipt.deliveries, [(first.reference.id, webhook(1).id)]);
        let again = door.deliveries().await;
        let expected = postrider_contract::delivery::Delivery { check: Check::LookUp, ..first };
        assert_eq!(again, [expected]);
        let (accepted, _) = door.accepted().await;
        assert_eq!(accepted.deliveries.len(), 1);
        door.delete(webhook(number).key()).await;
    }
}

#[tokio::test]
async fn a_delivery_to_a_webhook_deleted_meanwhile_is_still_expected_and_ends_as_canceled() {
    let door = Door::open().await;
    door.put(&webhook(1)).await;
    let first = in_doubt(&door, "k", ORDER).await;
    door.delete(webhook(1).key()).await;
    let receipt = door.accept_keyed(Some("k"), ORDER).await.unwrap();
    assert_eq!(receipt.deliveries, [(first.reference.id, webhook(1).id)]);
    let again = door.deliveries().await;
    assert_eq!((again.len(), &again[0].body), (1, &first.body));
    // The worker that gets it knows that the webhook is deleted.
    let concluded = JournalRecord::Concluded(ConcludedRecord {
        delivery: again[0].reference.clone(),
        conclusion: Conclusion::Canceled(CancelReason::WebhookDeleted),
        at: door.clock.now(),
    });
    let log = FakeLog::new(Arc::default());
    log.apply(&fold(door.records().await.into_iter().chain([concluded]))).await.unwrap();
    let ledger = log.ledger(&LedgerQuery::default(), door.clock.now()).await.unwrap();
    assert_eq!((ledger.accepted, ledger.matched, ledger.expected, ledger.canceled), (1, 1, 1, 1));
}

#[tokio::test]
async fn while_the_keys_store_is_away_only_keyed_requests_wait() {
    let door = Door::open().await;
    door.put(&webhook(1)).await;
    door.keyed_outage.begin("gone");
    for refused in [door.accept_keyed(Some("k"), ORDER).await, door.accept(OWN).await] {
        assert!(matches!(refused, Err(IntakeError::Unavailable { .. })), "{refused:?}");
    }
    door.assert_nothing_happened().await;
    door.accept(ORDER).await.unwrap();
    door.keyed_outage.end();
    assert!(!door.accept_keyed(Some("k"), ORDER).await.unwrap().replayed);
}

/// A store with a trouble of its own.
struct Troubled {
    store: FakeKeyedRequests,
    trouble: Trouble,
}

enum Trouble {
    /// It goes away once something is begun.
    NeverConfirms,
    /// A first question is answered late, by this clock once it is set, and others at once.
    Late(OnceLock<Arc<ManualClock>>),
    /// A request that was read as pending is confirmed before its reader goes on.
    ConfirmedMeanwhile,
}

impl Troubled {
    fn begin_to_be_late(&self, by: &Arc<ManualClock>) {
        let Trouble::Late(clock) = &self.trouble else { panic!("not its trouble") };
        assert!(clock.set(Arc::clone(by)).is_ok(), "it is late already");
    }
}

#[async_trait]
impl KeyedRequests for Troubled {
    async fn begin(&self, requests: Vec<KeyedRequest>) -> Result<Vec<KeyedOutcome>, StoreError> {
        let outcomes = self.store.begin(requests).await?;
        match &self.trouble {
            Trouble::NeverConfirms => {}
            Trouble::Late(clock) => {
                if outcomes.contains(&KeyedOutcome::Inserted)
                    && let Some(clock) = clock.get()
                {
                    clock.advance(STILL_RUNNING);
                }
            }
            Trouble::ConfirmedMeanwhile => {
                for outcome in &outcomes {
                    match outcome {
                        KeyedOutcome::Inserted => {}
                        KeyedOutcome::Exists { request, .. } => {
                            self.store.confirm(vec![request.begun()]).await?;
                        }
                    }
                }
            }
        }
        Ok(outcomes)
    }

    async fn confirm(&self, begun: Vec<BegunRequest>) -> Result<(), StoreError> {
        match self.trouble {
            Trouble::NeverConfirms => Err(StoreError::Unavailable { reason: "gone".to_owned() }),
            Trouble::Late(_) | Trouble::ConfirmedMeanwhile => self.store.confirm(begun).await,
        }
    }

    async fn find(
        &self,
        names: Vec<(TenantId, KeyName)>,
    ) -> Result<Vec<Option<(KeyedRequest, KeyedState)>>, StoreError> {
        self.store.find(names).await
    }

    async fn withdraw(&self, begun: Vec<BegunRequest>) -> Result<(), StoreError> {
        self.store.withdraw(begun).await
    }

    async fn forget_before(&self, time: Timestamp) -> Result<(), StoreError> {
        self.store.forget_before(time).await
    }
}

async fn troubled_door(trouble: Trouble) -> (Door, Arc<Troubled>) {
    let outage = Arc::new(Outage::default());
    let store = FakeKeyedRequests::new(Arc::clone(&outage));
    let troubled = Arc::new(Troubled { store, trouble });
    let door = Door::open_with(Arc::clone(&troubled) as Arc<dyn KeyedRequests>, outage).await;
    door.put(&webhook(1)).await;
    (door, troubled)
}

#[tokio::test]
async fn an_event_that_is_durable_is_accepted_although_its_key_cannot_be_confirmed() {
    let (door, _) = troubled_door(Trouble::NeverConfirms).await;
    let first = door.accept_keyed(Some("k"), ORDER).await.unwrap();
    assert_eq!(door.deliveries().await[0].check, Check::Fresh);
    door.clock.advance(STILL_RUNNING);
    assert_eq!(door.accept_keyed(Some("k"), ORDER).await.unwrap(), first);
    assert_eq!(door.deliveries().await[0].check, Check::LookUp);
}

#[tokio::test]
async fn a_request_whose_row_was_late_is_published_as_one_that_another_may_have_taken_over() {
    let (door, store) = troubled_door(Trouble::Late(OnceLock::new())).await;
    store.begin_to_be_late(&door.clock);
    door.accept_keyed(Some("k"), ORDER).await.unwrap();
    assert_eq!(door.deliveries().await[0].check, Check::LookUp);
}

/// By then a repeat may have taken the row for a dead one's and be publishing what it says.
#[tokio::test]
async fn a_row_is_not_withdrawn_when_a_repeat_may_stand_by_it() {
    let (door, store) = troubled_door(Trouble::Late(OnceLock::new())).await;
    door.accept_keyed(Some("k"), ORDER).await.unwrap();
    store.begin_to_be_late(&door.clock);
    assert!(matches!(door.accept_keyed(Some("k"), OWN).await, Err(IntakeError::KeyReused)));
    let own = KeyName::Event("order-7".parse().unwrap());
    let found = store.find(vec![(tenant_id("a"), own)]).await.unwrap();
    assert!(matches!(found[..], [Some((_, KeyedState::Pending))]), "{found:?}");
}

/// The first request under this key was another one: nothing was published for this one, and its id is free.
#[tokio::test]
async fn an_own_id_beside_a_reused_key_is_not_taken_by_it() {
    let door = Door::open().await;
    door.put(&webhook(1)).await;
    door.accept_keyed(Some("k"), ORDER).await.unwrap();
    assert!(matches!(door.accept_keyed(Some("k"), OWN).await, Err(IntakeError::KeyReused)));
    assert!(!door.accept_keyed(Some("its-own"), OWN_CHANGED).await.unwrap().replayed);
}

#[tokio::test]
async fn an_own_id_beside_a_key_in_progress_is_not_taken_by_it() {
    let door = Door::open().await;
    door.put(&webhook(1)).await;
    door.fail_journal();
    assert!(matches!(door.accept_keyed(Some("k"), ORDER).await, Err(IntakeError::InDoubt { .. })));
    door.mend_journal();
    let body = Bytes::from_static(ORDER.as_bytes());
    let own = Submission::parse(&Bytes::from_static(OWN.as_bytes())).unwrap();
    let key = IdempotencyKey::parse("k").ok();
    let refused = door.intake.accept_request(&tenant_id("a"), own, key, &body).await;
    assert!(matches!(refused, Err(IntakeError::KeyInProgress)), "{refused:?}");
    assert!(!door.accept(OWN).await.unwrap().replayed);
}

const NAMED: &str = r#"{"type":"order.paid","data":{},"webhook_ids":["wh_WEBHOOK"]}"#;

fn naming(number: u128) -> &'static str {
    let id = webhook(number).id.to_string();
    Box::leak(NAMED.replace("wh_WEBHOOK", &id).into_boxed_str())
}

#[tokio::test]
async fn what_was_accepted_under_a_key_stays_accepted_although_its_webhook_is_gone() {
    let door = Door::open().await;
    door.put(&webhook(1)).await;
    let body = naming(1);
    let first = door.accept_keyed(Some("k"), body).await.unwrap();
    door.deliveries().await;
    door.records().await;
    door.delete(webhook(1).key()).await;
    let repeat = door.accept_keyed(Some("k"), body).await.unwrap();
    assert_eq!(repeat, IntakeReceipt { replayed: true, ..first });
    door.assert_nothing_happened().await;
    let refused = door.accept_keyed(Some("another"), body).await;
    assert!(matches!(refused, Err(IntakeError::UnknownWebhook(_))), "{refused:?}");
}

#[tokio::test]
async fn a_request_in_doubt_is_published_again_although_its_webhook_is_gone() {
    let door = Door::open().await;
    door.put(&webhook(1)).await;
    let body = naming(1);
    let first = in_doubt(&door, "k", body).await;
    door.delete(webhook(1).key()).await;
    let receipt = door.accept_keyed(Some("k"), body).await.unwrap();
    assert_eq!(receipt.deliveries, [(first.reference.id, webhook(1).id)]);
    assert_eq!(door.deliveries().await.len(), 1);
    assert!(door.accept_keyed(Some("k"), body).await.unwrap().replayed);
}

/// Confirms nothing until it is let.
struct Waiting {
    journal: FakeQueue,
    is_let: watch::Sender<bool>,
    asked: watch::Sender<usize>,
}

impl Waiting {
    fn before(journal: &FakeQueue) -> Arc<Self> {
        let (is_let, asked) = (watch::Sender::new(true), watch::Sender::new(0));
        Arc::new(Waiting { journal: journal.clone(), is_let, asked })
    }
}

#[async_trait]
impl Journal for Waiting {
    async fn append(&self, batch: JournalBatch) -> Result<(), PublishError> {
        self.asked.send_modify(|asked| *asked += 1);
        self.is_let.subscribe().wait_for(|is_let| *is_let).await.unwrap();
        self.journal.append(batch).await
    }

    async fn read(&self, prefetch: u16) -> Result<Box<dyn JournalSource>, QueueError> {
        self.journal.read(prefetch).await
    }

    async fn settled_until(&self, now: Timestamp) -> Result<Timestamp, QueueError> {
        self.journal.settled_until(now).await
    }
}

async fn waiting_door() -> (Door, Arc<Waiting>) {
    let door = Door::open().await;
    let journal = Waiting::before(&door.journal);
    let door = door.with_journal(Arc::clone(&journal) as Arc<dyn Journal>);
    door.put(&webhook(1)).await;
    (door, journal)
}

/// A request under the key, and another one once the first publishes and `meanwhile` was done. The first is let go on
/// when the other is answered, which is at once.
async fn two_at_once(
    door: &Door,
    journal: &Waiting,
    meanwhile: impl FnOnce(),
) -> [Result<IntakeReceipt, IntakeError>; 2] {
    journal.is_let.send_replace(false);
    let asked_before = *journal.asked.borrow();
    let first = door.accept_keyed(Some("k"), ORDER);
    let other = async {
        journal.asked.subscribe().wait_for(|asked| *asked > asked_before).await.unwrap();
        meanwhile();
        let answered = tokio::time::timeout(STILL_RUNNING, door.accept_keyed(Some("k"), ORDER)).await;
        journal.is_let.send_replace(true);
        answered.expect("it publishes too")
    };
    tokio::join!(first, other).into()
}

#[tokio::test(start_paused = true)]
async fn a_request_that_publishes_for_long_is_not_taken_for_dead() {
    let (door, journal) = waiting_door().await;
    let [first, other] = two_at_once(&door, &journal, || door.clock.advance(STILL_RUNNING)).await;
    assert!(matches!(other, Err(IntakeError::KeyInProgress)), "{other:?}");
    assert!(!first.unwrap().replayed);
    assert_eq!(door.deliveries().await.len(), 1);
    assert!(door.accept_keyed(Some("k"), ORDER).await.unwrap().replayed);
}

#[tokio::test(start_paused = true)]
async fn of_repeats_that_come_together_one_publishes() {
    let (door, journal) = waiting_door().await;
    let first = in_doubt(&door, "k", ORDER).await;
    let [repeat, other] = two_at_once(&door, &journal, || ()).await;
    assert!(matches!(other, Err(IntakeError::KeyInProgress | IntakeError::Unavailable { .. })), "{other:?}");
    assert_eq!(repeat.unwrap().deliveries, [(first.reference.id, webhook(1).id)]);
    assert_eq!(door.deliveries().await.len(), 1);
    assert!(door.accept_keyed(Some("k"), ORDER).await.unwrap().replayed);
}

/// Nobody holds what has ended, however it ended.
#[tokio::test]
async fn what_came_into_doubt_again_is_published_again() {
    let door = Door::open().await;
    door.put(&webhook(1)).await;
    let first = in_doubt(&door, "k", ORDER).await;
    door.fail_journal();
    assert!(matches!(door.accept_keyed(Some("k"), ORDER).await, Err(IntakeError::InDoubt { .. })));
    door.mend_journal();
    let receipt = door.accept_keyed(Some("k"), ORDER).await.unwrap();
    assert_eq!(receipt.deliveries, [(first.reference.id, webhook(1).id)]);
    assert_eq!(door.deliveries().await.len(), 2, "a copy of the one in doubt, and one that counts");
}

#[tokio::test]
async fn a_repeat_that_had_to_wait_publishes_nothing_that_was_confirmed_meanwhile() {
    let (door, _) = troubled_door(Trouble::ConfirmedMeanwhile).await;
    let first = in_doubt(&door, "k", ORDER).await;
    let repeat = door.accept_keyed(Some("k"), ORDER).await.unwrap();
    assert_eq!((repeat.replayed, repeat.deliveries[0].0), (true, first.reference.id));
    door.assert_nothing_happened().await;
}
