use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use postrider_contract::fakes::PublishFault;
use postrider_contract::ports::{LeaseTicket, Settlement};
use postrider_contract::webhook::Webhook;
use postrider_service::config_object::ConfigObject;
use postrider_service::metrics::Metrics;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::*;
use crate::tests::fixture::{Door, tenant, tenant_id, webhook};

const SOON: Duration = Duration::from_secs(60);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Acknowledged,
    GivenBack,
}

type Ends = mpsc::UnboundedSender<(usize, End)>;

struct Recording {
    number: usize,
    ends: Ends,
}

impl Settlement for Recording {
    fn acknowledge(self: Box<Self>) {
        // A test that has failed looks no more.
        self.ends.send((self.number, End::Acknowledged)).ok();
    }

    fn give_back(self: Box<Self>) {
        self.ends.send((self.number, End::GivenBack)).ok();
    }
}

struct Messages(mpsc::UnboundedReceiver<Lease<ProducerMessage>>);

#[async_trait]
impl IntakeSource for Messages {
    async fn next(&mut self) -> Result<Lease<ProducerMessage>, QueueError> {
        self.0.recv().await.ok_or(QueueError::Closed)
    }
}

#[derive(Default)]
struct Refused {
    kept: Mutex<Vec<(ProducerMessage, Refusal)>>,
    is_away: AtomicBool,
}

#[async_trait]
impl RefusedQueue for Refused {
    async fn refuse(&self, message: &ProducerMessage, refusal: &Refusal) -> Result<(), QueueError> {
        if self.is_away.load(Ordering::SeqCst) {
            return Err(QueueError::Unavailable { reason: "gone".to_owned() });
        }
        self.kept.lock().unwrap().push((message.clone(), refusal.clone()));
        Ok(())
    }
}

/// What comes in again later.
#[derive(Default)]
struct PutOff {
    kept: Mutex<Vec<ProducerMessage>>,
    /// How many puts fail, every other one with the message kept all the same: its confirm did not come.
    failures: AtomicUsize,
}

#[async_trait]
impl PutOffQueue for PutOff {
    async fn put_off(&self, message: &ProducerMessage) -> Result<(), QueueError> {
        let left = self.failures.load(Ordering::SeqCst);
        self.failures.store(left.saturating_sub(1), Ordering::SeqCst);
        if left.is_multiple_of(2) {
            self.kept.lock().unwrap().push(message.clone());
        }
        if left > 0 { Err(QueueError::Unavailable { reason: "gone".to_owned() }) } else { Ok(()) }
    }
}

struct Broker {
    door: Door,
    messages: mpsc::UnboundedSender<Lease<ProducerMessage>>,
    recording: Ends,
    ends: mpsc::UnboundedReceiver<(usize, End)>,
    refused: Arc<Refused>,
    put_off: Arc<PutOff>,
    stop: Stop,
    running: JoinHandle<Result<(), QueueError>>,
    sent: usize,
}

impl Broker {
    fn start(door: Door) -> Self {
        let (messages, source) = mpsc::unbounded_channel();
        let (recording, ends) = mpsc::unbounded_channel();
        let (refused, put_off) = (Arc::new(Refused::default()), Arc::new(PutOff::default()));
        let asides = Asides {
            refused: Arc::clone(&refused) as Arc<dyn RefusedQueue>,
            put_off: Arc::clone(&put_off) as Arc<dyn PutOffQueue>,
        };
        let stop = Stop::default();
        let metrics = Metrics::new("0", "0").and_then(|metrics| IngestMetrics::register(&metrics)).unwrap();
        let running = tokio::spawn(run_amqp_intake(
            Box::new(Messages(source)),
            asides,
            Arc::clone(&door.intake),
            Arc::new(metrics),
            stop.clone(),
        ));
        Broker { door, messages, recording, ends, refused, put_off, stop, running, sent: 0 }
    }

    fn send(&mut self, message: ProducerMessage) {
        let settlement = Recording { number: self.sent, ends: self.recording.clone() };
        self.sent += 1;
        let ticket = LeaseTicket::new(Box::new(settlement));
        assert!(self.messages.send(Lease { message, redelivered: false, ticket }).is_ok());
    }

    async fn next_end(&mut self) -> (usize, End) {
        let end = tokio::time::timeout(SOON, self.ends.recv()).await;
        end.expect("a message ends before the deadline").unwrap()
    }

    fn has_ended(&mut self) -> bool {
        self.ends.try_recv().is_ok()
    }
}

fn message(id: &str, body: &str) -> ProducerMessage {
    ProducerMessage {
        routing_key: "a".to_owned(),
        message_id: Some(id.to_owned()),
        content_type: None,
        body: Bytes::copy_from_slice(body.as_bytes()),
    }
}

const ORDER: &str = r#"{"type":"order.paid","data":{}}"#;

#[tokio::test]
async fn a_message_is_acknowledged_once_its_event_is_durable_and_a_redelivery_counts_once() {
    let mut broker = Broker::start(Door::open().await);
    broker.door.put(&webhook(1)).await;
    for number in 0..2 {
        broker.send(message("m", ORDER));
        assert_eq!(broker.next_end().await, (number, End::Acknowledged));
    }
    assert_eq!(broker.door.deliveries().await.len(), 1);
    assert_eq!(broker.door.accepted().await.0.deliveries.len(), 1);
}

#[tokio::test]
async fn what_can_never_work_is_kept_with_its_problem_and_acknowledged() {
    let mut broker = Broker::start(Door::open().await);
    broker.door.put(&Webhook { profile: Some("tracktile".parse().unwrap()), ..webhook(1) }).await;
    let foreign = format!(r#"{{"type":"order.paid","data":{{}},"webhook_ids":["{}"]}}"#, webhook(9).id);
    broker.send(message("used", ORDER));
    broker.next_end().await;
    let reserved = r#"{"type":"postrider.webhook.failing","data":{}}"#;
    let too_long = "k".repeat(256);
    let too_large = format!(r#"{{"type":"a","data":{{"x":"{}"}}}}"#, "x".repeat(MAX_BODY));
    let cases = [
        (ProducerMessage { message_id: None, ..message("", ORDER) }, "invalid_request"),
        (message("", ORDER), "invalid_request"),
        (message(&too_long, ORDER), "invalid_request"),
        (ProducerMessage { routing_key: "nobody".to_owned(), ..message("k1", ORDER) }, "not_found"),
        (ProducerMessage { routing_key: "a.b".to_owned(), ..message("k2", ORDER) }, "not_found"),
        (message("k3", "{"), "malformed_json"),
        (message("k4", r#"{"type":"order.paid"}"#), "invalid_request"),
        (message("k5", reserved), "invalid_request"),
        (message("k6", &foreign), "invalid_request"),
        (message("k7", r#"{"type":"order.paid","data":{"id":1}}"#), "invalid_request"),
        (message("k8", &too_large), "payload_too_large"),
        (message("used", r#"{"type":"order.paid","data":{"n":1}}"#), "idempotency_key_reused"),
    ];
    for (number, (message, code)) in cases.into_iter().enumerate() {
        broker.send(message.clone());
        assert_eq!(broker.next_end().await, (number + 1, End::Acknowledged));
        let (kept, refusal) = broker.refused.kept.lock().unwrap().pop().expect("it was refused");
        assert_eq!((&kept, refusal.code.as_str()), (&message, code), "{}", refusal.detail);
        assert!(!refusal.detail.is_empty());
    }
    assert_eq!(broker.door.deliveries().await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_can_work_later_is_kept_in_hand_and_tried_again() {
    let mut broker = Broker::start(Door::open().await);
    broker.door.queue.fail_publishes(PublishFault::Refused { reason: "gone".to_owned() });
    broker.door.put(&webhook(1)).await;
    broker.send(message("m", ORDER));
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(!broker.has_ended());
    broker.door.queue.fail_publishes(PublishFault::None);
    broker.door.keyed_outage.begin("gone");
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(!broker.has_ended());
    broker.door.keyed_outage.end();
    assert_eq!(broker.next_end().await, (0, End::Acknowledged));
    assert!(broker.refused.kept.lock().unwrap().is_empty());
    assert_eq!(broker.door.deliveries().await.len(), 1);
}

/// Else an hour without a place for large events, say, would be an hour of the broker's log.
#[tokio::test(start_paused = true)]
async fn nothing_is_kept_in_hand_without_end_and_what_was_put_off_for_it_comes_in_again() {
    let mut broker = Broker::start(Door::open().await);
    broker.door.queue.fail_publishes(PublishFault::Refused { reason: "full".to_owned() });
    broker.door.put(&webhook(1)).await;
    broker.send(message("m", ORDER));
    tokio::time::sleep(LONGEST_IN_HAND - TRY_AGAIN).await;
    assert!(!broker.has_ended());
    assert_eq!(broker.next_end().await, (0, End::Acknowledged));
    let kept = broker.put_off.kept.lock().unwrap().pop().expect("it is put off");
    broker.door.queue.fail_publishes(PublishFault::None);
    broker.send(kept);
    assert_eq!(broker.next_end().await, (1, End::Acknowledged));
    assert_eq!(broker.door.deliveries().await.len(), 1);
}

/// A webhook that a newer version wrote is not there for this one until it is replaced.
fn newer_webhook() -> Webhook {
    Webhook { profile: Some("of-a-newer-version".parse().unwrap()), ..webhook(1) }
}

#[tokio::test(start_paused = true)]
async fn messages_that_wait_for_a_newer_version_are_put_off_and_keep_no_others_out() {
    let mut broker = Broker::start(Door::open().await);
    broker.door.put(&newer_webhook()).await;
    broker.door.put(&webhook(2)).await;
    let other = format!(r#"{{"type":"order.paid","data":{{}},"webhook_ids":["{}"]}}"#, webhook(2).id);
    let waiting = AT_ONCE * 2;
    for number in 0..waiting {
        broker.send(message(&format!("m{number}"), ORDER));
    }
    broker.send(message("other", &other));
    let mut ends = Vec::new();
    for _ in 0..=waiting {
        ends.push(broker.next_end().await);
    }
    assert!(ends.contains(&(waiting, End::Acknowledged)), "the one that can be accepted is");
    assert_eq!(broker.door.deliveries().await.len(), 1);
    let kept = std::mem::take(&mut *broker.put_off.kept.lock().unwrap());
    assert_eq!(kept.len(), waiting);
    assert!(kept.iter().all(|kept| kept.routing_key == "a" && kept.body == ORDER));
    assert!(broker.refused.kept.lock().unwrap().is_empty());
    // Each comes in again, by whoever can read the webhook by then.
    broker.door.put(&webhook(1)).await;
    broker.send(kept.into_iter().next().unwrap());
    assert_eq!(broker.next_end().await, (waiting + 1, End::Acknowledged));
    assert_eq!(broker.door.deliveries().await.len(), 2);
    assert!(broker.put_off.kept.lock().unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_message_is_not_acknowledged_before_it_is_put_off_and_one_that_was_twice_counts_once() {
    let mut broker = Broker::start(Door::open().await);
    broker.door.put(&newer_webhook()).await;
    // Before the effect, after it, and then it works.
    broker.put_off.failures.store(3, Ordering::SeqCst);
    broker.send(message("m", ORDER));
    assert_eq!(broker.next_end().await, (0, End::Acknowledged));
    let kept = std::mem::take(&mut *broker.put_off.kept.lock().unwrap());
    assert_eq!(kept, [message("m", ORDER), message("m", ORDER)]);
    broker.door.put(&webhook(1)).await;
    for (number, again) in (1..).zip(kept) {
        broker.send(again);
        assert_eq!(broker.next_end().await, (number, End::Acknowledged));
    }
    assert_eq!(broker.door.deliveries().await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_message_that_cannot_be_put_off_is_kept_in_hand_until_it_can() {
    let mut broker = Broker::start(Door::open().await);
    broker.door.put(&newer_webhook()).await;
    broker.put_off.failures.store(usize::MAX, Ordering::SeqCst);
    broker.send(message("m", ORDER));
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(!broker.has_ended());
    broker.put_off.failures.store(0, Ordering::SeqCst);
    assert_eq!(broker.next_end().await, (0, End::Acknowledged));
}

#[tokio::test(start_paused = true)]
async fn a_message_of_a_tenant_that_this_version_never_could_read_is_put_off_and_not_refused() {
    let mut broker = Broker::start(Door::open().await);
    broker.door.put_unreadable(tenant("b", "standard").key()).await;
    broker.send(ProducerMessage { routing_key: "b".to_owned(), ..message("m", ORDER) });
    assert_eq!(broker.next_end().await, (0, End::Acknowledged));
    assert!(broker.refused.kept.lock().unwrap().is_empty());
    assert_eq!(broker.put_off.kept.lock().unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_message_in_doubt_waits_until_its_first_try_is_surely_over_and_keeps_its_ids() {
    let mut broker = Broker::start(Door::open().await);
    broker.door.put(&webhook(1)).await;
    broker.door.fail_journal();
    broker.send(message("m", ORDER));
    tokio::time::sleep(Duration::from_secs(2)).await;
    broker.door.journal.fail_publishes(PublishFault::None);
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(!broker.has_ended());
    let first = broker.door.deliveries().await;
    broker.door.clock.advance(Duration::from_secs(10));
    assert_eq!(broker.next_end().await, (0, End::Acknowledged));
    let again = broker.door.deliveries().await;
    assert_eq!((first.len(), again.len()), (1, 1));
    assert_eq!(first[0].reference, again[0].reference);
}

#[tokio::test(start_paused = true)]
async fn a_tenant_newer_than_the_directory_is_not_refused_and_nothing_is_while_the_store_is_away() {
    let mut broker = Broker::start(Door::open().await);
    broker.door.put_unseen(&tenant("b", "standard")).await;
    broker.door.put_unseen(&Webhook { tenant: tenant_id("b"), ..webhook(1) }).await;
    broker.door.configuration_outage.begin("gone");
    let named = format!(r#"{{"type":"order.paid","data":{{}},"webhook_ids":["{}"]}}"#, webhook(1).id);
    broker.send(ProducerMessage { routing_key: "b".to_owned(), ..message("m", &named) });
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(!broker.has_ended());
    broker.door.configuration_outage.end();
    assert_eq!(broker.next_end().await, (0, End::Acknowledged));
    assert!(broker.refused.kept.lock().unwrap().is_empty());
    assert_eq!(broker.door.deliveries().await.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_refused_message_is_not_acknowledged_before_it_is_kept() {
    let mut broker = Broker::start(Door::open().await);
    broker.refused.is_away.store(true, Ordering::SeqCst);
    broker.send(message("m", "{"));
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(!broker.has_ended());
    broker.refused.is_away.store(false, Ordering::SeqCst);
    assert_eq!(broker.next_end().await, (0, End::Acknowledged));
    assert_eq!(broker.refused.kept.lock().unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn when_draining_what_cannot_be_finished_is_given_back_and_the_role_ends() {
    let mut broker = Broker::start(Door::open().await);
    broker.door.queue.fail_publishes(PublishFault::Refused { reason: "gone".to_owned() });
    broker.send(message("m", ORDER));
    tokio::time::sleep(Duration::from_secs(1)).await;
    broker.stop.drain();
    assert_eq!(broker.next_end().await, (0, End::GivenBack));
    broker.running.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_queue_that_ends_by_itself_is_an_error() {
    let broker = Broker::start(Door::open().await);
    drop(broker.messages);
    assert!(matches!(broker.running.await.unwrap(), Err(QueueError::Closed)));
}

#[tokio::test]
async fn an_event_is_refused_for_good_only_by_a_schema_that_the_store_has() {
    use postrider_contract::catalogue::{EventTypeDefinition, SchemaCheck, WrittenMajor};
    use postrider_contract::tenant::Tenant;

    let door = Door::open().await;
    let described = |schema: &str| EventTypeDefinition {
        tenant: Some(tenant_id("a")),
        event_type: "order.paid".parse().unwrap(),
        majors: vec![WrittenMajor {
            version: "1.0".parse().unwrap(),
            description: String::new(),
            schema: serde_json::from_str(schema).unwrap(),
            example: None,
            sunset_at: None,
        }],
    };
    door.put(&Tenant { schema_check: SchemaCheck::Enforce, ..tenant("a", "standard") }).await;
    door.put(&described(r#"{"required":["old"]}"#)).await;
    door.put_unseen(&described(r#"{"required":["new"]}"#)).await;
    let mut broker = Broker::start(door);
    for (id, data) in [("m1", "new"), ("m2", "old")] {
        broker.send(message(id, &format!(r#"{{"type":"order.paid","data":{{"{data}":1}}}}"#)));
        assert_eq!(broker.next_end().await.1, End::Acknowledged);
    }
    let refused = broker.refused.kept.lock().unwrap();
    let refused: Vec<_> =
        refused.iter().map(|(message, refusal)| (message.message_id.as_deref(), refusal)).collect();
    let [(Some("m2"), refusal)] = refused.as_slice() else { panic!("{refused:?}") };
    assert_eq!(refusal.code, "invalid_request");
    assert!(refusal.detail.ends_with(r#"/data: must have "new""#), "{}", refusal.detail);
}
