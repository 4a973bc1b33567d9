//! What goes together and what does not, and who is told what became of it.

use std::collections::VecDeque;
use std::sync::PoisonError;

use bytes::Bytes;
use lapin::BasicProperties;
use postrider_contract::clock::Timestamp;
use postrider_contract::delivery::{Check, DeliveryRef, Origin, Position, Query, RenderedWith};
use postrider_contract::event::SchemaVersion;
use postrider_contract::ids::{DeliveryId, EventId, WebhookId};
use postrider_contract::profile::ProfileName;
use postrider_contract::revision::Revision;
use postrider_contract::webhook::WebhookKind;
use tokio::task::JoinHandle;

use super::*;
use crate::lane::lane_for;

fn retry(number: usize, body: usize) -> Delivery {
    let event_id: EventId = format!("evt_{number}").parse().expect("an id");
    let webhook = WebhookId::from_u128(1);
    let revision = Revision::ZERO;
    Delivery {
        reference: DeliveryRef {
            id: DeliveryId::derive(Timestamp::EPOCH, &event_id, webhook, 0),
            tenant: "acme".parse().expect("an id"),
            event_id,
            event_type: "order.paid".parse().expect("a type"),
            webhook,
            kind: WebhookKind::Webhook,
            accepted_at: Timestamp::EPOCH,
            replay: 0,
        },
        position: Position::START,
        origin: Origin::Producer,
        check: Check::Fresh,
        due_at: Timestamp::EPOCH,
        parked_for: Duration::from_secs(5),
        profile: ProfileName::standard(),
        rendered_with: RenderedWith { webhook: revision, profile: revision, tenant: revision },
        schema_version: SchemaVersion::FIRST,
        event_timestamp: Timestamp::EPOCH,
        query: Query::OfUrl,
        body: Bytes::from(vec![u8::try_from(number % 250).expect("small"); body]),
    }
}

/// Keeps what is sent; answers `Ok`, or what it is told to.
#[derive(Clone, Default)]
struct Sent(Arc<Mutex<SentState>>);

#[derive(Default)]
struct SentState {
    messages: Vec<(Lane, Vec<Delivery>)>,
    answers: VecDeque<Result<(), PublishError>>,
    /// How long a confirm takes.
    confirm: Duration,
}

impl Sent {
    fn lock(&self) -> MutexGuard<'_, SentState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The deliveries of each message.
    fn messages(&self) -> Vec<Vec<Delivery>> {
        self.lock().messages.iter().map(|(_, deliveries)| deliveries.clone()).collect()
    }

    fn sizes(&self) -> Vec<usize> {
        self.messages().iter().map(Vec::len).collect()
    }
}

fn incoming(properties: BasicProperties, body: Bytes) -> Incoming {
    Incoming { routing_key: String::new(), properties, body }
}

fn read(message: Message) -> Vec<Delivery> {
    match ReadRetries.decode(incoming(message.properties, message.body)).expect("retries") {
        Retries::Alone(work) => match *work {
            Work::Deliver(delivery) => vec![delivery],
            Work::FanOut(_) => panic!("not taken apart"),
        },
        Retries::Bundle(deliveries) => deliveries,
    }
}

impl Outlet for Sent {
    async fn send(&self, message: Message) -> Result<(), PublishError> {
        let Destination::Lane(queue) = message.destination else { panic!("not into a lane") };
        let confirm = {
            let mut state = self.lock();
            state.messages.push((queue.lane, read(message)));
            state.confirm
        };
        tokio::time::sleep(confirm).await;
        self.lock().answers.pop_front().unwrap_or(Ok(()))
    }
}

fn five_seconds() -> Lane {
    lane_for(Duration::from_secs(5))
}

type Parking = JoinHandle<Result<(), PublishError>>;

/// Parks each in a task of its own, and lets all begin.
async fn park(bundler: &Arc<Bundler<Sent>>, retries: impl IntoIterator<Item = Delivery>) -> Vec<Parking> {
    let park_one = |delivery| {
        let bundler = Arc::clone(bundler);
        tokio::spawn(async move { bundler.park(five_seconds(), delivery).await })
    };
    let parking = retries.into_iter().map(park_one).collect();
    for _ in 0..4 {
        tokio::task::yield_now().await;
    }
    parking
}

async fn answers(parking: Vec<Parking>) -> Vec<bool> {
    let mut answers = Vec::new();
    for one in parking {
        answers.push(one.await.expect("no panic").is_ok());
    }
    answers
}

#[tokio::test(start_paused = true)]
async fn a_retry_that_comes_alone_goes_out_alone_and_at_once() {
    let sent = Sent::default();
    let bundler = Bundler::new(sent.clone());
    let began = Instant::now();
    for number in 0..3 {
        bundler.park(five_seconds(), retry(number, 10)).await.expect("confirmed");
        tokio::time::advance(GATHERED_FOR).await;
    }
    assert_eq!(began.elapsed(), GATHERED_FOR * 3, "no time but what the test let pass");
    assert_eq!(sent.sizes(), [1, 1, 1]);
}

#[tokio::test(start_paused = true)]
async fn what_comes_soon_after_goes_out_together_each_with_its_own_body() {
    let sent = Sent::default();
    let bundler = Bundler::new(sent.clone());
    let retries: Vec<Delivery> = (0..6).map(|number| retry(number, number + 1)).collect();
    let began = Instant::now();
    let parking = park(&bundler, retries.clone()).await;
    assert_eq!(answers(parking).await, [true; 6]);
    assert!(began.elapsed() < GATHERED_FOR * 2);
    assert_eq!(sent.messages(), [retries[..1].to_vec(), retries[1..].to_vec()]);
}

#[tokio::test(start_paused = true)]
async fn a_full_bundle_waits_for_no_more_and_what_is_left_goes_out_after_it() {
    let sent = Sent::default();
    let bundler = Bundler::new(sent.clone());
    let parking = park(&bundler, (0..AT_MOST + 3).map(|number| retry(number, 10))).await;
    assert_eq!(sent.sizes(), [1, AT_MOST], "before any time has passed");
    assert_eq!(answers(parking).await, [true; AT_MOST + 3]);
    assert_eq!(sent.sizes(), [1, AT_MOST, 2]);
}

#[tokio::test(start_paused = true)]
async fn what_follows_a_full_bundle_is_gathered_for_as_long_as_any_other() {
    let sent = Sent::default();
    let bundler = Bundler::new(sent.clone());
    let mut parking = park(&bundler, (0..AT_MOST).map(|number| retry(number, 10))).await;
    tokio::time::advance(GATHERED_FOR / 2).await;
    parking.extend(park(&bundler, (0..4).map(|number| retry(number, 10))).await);
    assert_eq!(sent.sizes(), [1, AT_MOST]);
    tokio::time::advance(GATHERED_FOR * 3 / 4).await;
    parking.extend(park(&bundler, (0..4).map(|number| retry(number, 10))).await);
    assert_eq!(answers(parking).await, [true; AT_MOST + 8]);
    assert_eq!(sent.sizes(), [1, AT_MOST, 7]);
}

#[tokio::test(start_paused = true)]
async fn bodies_that_are_too_long_together_go_apart_in_the_order_they_came() {
    let sent = Sent::default();
    let bundler = Bundler::new(sent.clone());
    let parking = park(&bundler, (0..6).map(|number| retry(number, LONGEST / 3))).await;
    answers(parking).await;
    assert_eq!(sent.sizes(), [1, 2, 2, 1]);
    let order: Vec<_> = sent.messages().concat().into_iter().map(|one| one.reference.event_id).collect();
    let expected: Vec<_> = (0..6).map(|number| retry(number, 0).reference.event_id).collect();
    assert_eq!(order, expected);
    let longest = sent.messages().iter().map(|of| of.iter().map(length_of).sum::<usize>()).max();
    assert!(longest <= Some(LONGEST));
    assert!(!may_share(&retry(0, LONGEST)) && may_share(&retry(0, LONGEST - NAMES)));
}

#[tokio::test(start_paused = true)]
async fn lanes_gather_apart() {
    let sent = Sent::default();
    let bundler = Bundler::new(sent.clone());
    let other = lane_for(Duration::from_secs(60));
    let parking = park(&bundler, (0..2).map(|number| retry(number, 10))).await;
    bundler.park(other, retry(9, 10)).await.expect("confirmed");
    assert_eq!(sent.sizes(), [1, 1], "the first of each lane");
    answers(parking).await;
    let lanes: Vec<Lane> = sent.lock().messages.iter().map(|(lane, _)| *lane).collect();
    assert_eq!(lanes, [five_seconds(), other, five_seconds()]);
}

#[tokio::test(start_paused = true)]
async fn each_is_told_what_became_of_the_message_that_it_was_in() {
    let sent = Sent::default();
    let bundler = Bundler::new(sent.clone());
    let in_doubt = PublishError::InDoubt { reason: "no confirm".to_owned() };
    sent.lock().answers = VecDeque::from([Ok(()), Err(in_doubt)]);
    let parking = park(&bundler, (0..4).map(|number| retry(number, 10))).await;
    assert_eq!(answers(parking).await, [true, false, false, false]);
    bundler.park(five_seconds(), retry(9, 10)).await.expect("the next one is confirmed");
}

#[tokio::test(start_paused = true)]
async fn a_retry_that_nobody_waits_for_any_more_is_not_sent() {
    let sent = Sent::default();
    let bundler = Bundler::new(sent.clone());
    let mut parking = park(&bundler, (0..4).map(|number| retry(number, 10))).await;
    parking.remove(2).abort();
    answers(parking).await;
    assert_eq!(sent.messages()[1], [retry(1, 10), retry(3, 10)]);
}

#[tokio::test(start_paused = true)]
async fn whoever_goes_away_before_the_confirm_takes_nobody_elses_retry_with_it() {
    let sent = Sent::default();
    sent.lock().confirm = Duration::from_millis(1);
    let bundler = Bundler::new(sent.clone());
    let mut parking = park(&bundler, (0..=AT_MOST).map(|number| retry(number, 10))).await;
    assert_eq!(sent.sizes(), [1, AT_MOST], "the last one filled the bundle");
    parking.pop().expect("the last").abort();
    assert_eq!(answers(parking).await, [true; AT_MOST]);
}

#[test]
fn a_fan_out_that_waits_for_room_is_not_taken_apart() {
    let waiting = Work::FanOut(FanOut::of_whole(vec![retry(0, 10), retry(1, 10)]));
    let read = ReadRetries.decode(incoming(BasicProperties::default(), wire::encode_work(&waiting)));
    assert_eq!(read, Ok(Retries::Alone(Box::new(waiting))));
}

#[test]
fn a_bundle_of_nothing_is_not_readable() {
    let properties = BasicProperties::default().with_type(KIND.into());
    let nothing = wire::encode_work(&Work::FanOut(FanOut::of_whole(Vec::new())));
    assert!(ReadRetries.decode(incoming(properties, nothing)).is_err());
}

/// Writes down how it is settled, and what is published in between.
#[derive(Clone)]
struct Settled {
    steps: Arc<Mutex<Vec<String>>>,
    is_current: Arc<AtomicBool>,
}

impl Settled {
    fn new() -> Self {
        Settled { steps: Arc::default(), is_current: Arc::new(AtomicBool::new(true)) }
    }

    fn leases(&self, count: usize) -> Vec<Lease<Work>> {
        let message = Retries::Bundle((0..count).map(|number| retry(number, 10)).collect());
        let ticket = LeaseTicket::new(Box::new(self.clone()));
        let lease = Lease { message, redelivered: true, ticket };
        let taken = Taken { lease, is_current: Arc::clone(&self.is_current) };
        let steps = self.clone();
        let publish_rest: PublishRest = Arc::new(move |rest, ticket| {
            assert_eq!(rest.destination, Destination::Queue(QueueName::Retry));
            for delivery in read(rest) {
                steps.note(&format!("published {} {:?}", delivery.reference.event_id, delivery.check));
            }
            ticket.acknowledge();
        });
        take_apart(taken, &publish_rest).into_iter().filter_map(Taken::into_current).collect()
    }

    fn steps(&self) -> Vec<String> {
        self.steps.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn note(&self, step: &str) {
        self.steps.lock().unwrap_or_else(PoisonError::into_inner).push(step.to_owned());
    }
}

impl Settlement for Settled {
    fn acknowledge(self: Box<Self>) {
        self.note("acknowledged");
    }

    fn give_back(self: Box<Self>) {
        self.note("given back");
    }
}

#[test]
fn a_message_is_acknowledged_once_each_of_its_retries_is() {
    let settled = Settled::new();
    let leases = settled.leases(3);
    assert!(leases.iter().all(|lease| lease.redelivered));
    for lease in leases {
        assert!(settled.steps().is_empty());
        lease.ticket.acknowledge();
    }
    assert_eq!(settled.steps(), ["acknowledged"]);
}

#[test]
fn a_message_of_which_none_was_begun_is_given_back() {
    let settled = Settled::new();
    let mut leases = settled.leases(3);
    drop(leases.split_off(1));
    assert!(settled.steps().is_empty(), "one is still in hand");
    drop(leases);
    assert_eq!(settled.steps(), ["given back"]);
}

#[test]
fn what_is_given_back_is_published_again_without_what_is_done_with() {
    let settled = Settled::new();
    let mut leases = settled.leases(4);
    leases.remove(3).ticket.give_back();
    leases.remove(1).ticket.give_back();
    leases.remove(1).ticket.acknowledge();
    assert!(settled.steps().is_empty(), "one is still tried");
    leases.remove(0).ticket.acknowledge();
    assert_eq!(settled.steps(), ["published evt_3 LookUp", "published evt_1 LookUp", "acknowledged"]);
}

#[test]
fn nothing_is_published_again_of_a_message_that_comes_again_anyway() {
    let settled = Settled::new();
    let mut leases = settled.leases(2);
    settled.is_current.store(false, Ordering::Release);
    leases.remove(0).ticket.acknowledge();
    drop(leases);
    assert_eq!(settled.steps(), ["given back"]);
}
