//! How a message of several retries is read and settled.

use postrider_contract::delivery::FanOut;
use tokio::task::JoinHandle;

use super::*;
use crate::samples::{deliveries_in, delivery};

fn decode(message: Message) -> Result<Packed, String> {
    let Message { properties, body, .. } = message;
    ReadWork.decode(Incoming { routing_key: String::new(), properties, body })
}

#[test]
fn a_bundle_is_read_as_the_deliveries_in_it() {
    let deliveries = vec![delivery(0, 10), delivery(1, 20)];
    let bundle = message_of(Destination::Queue(QueueName::Retry), deliveries.clone());
    let bytes = bundle.body.clone();
    assert_eq!(decode(bundle), Ok(Packed::Bundle { deliveries, bytes }));
    let alone = message_of(Destination::Queue(QueueName::Retry), vec![delivery(0, 10)]);
    assert_eq!(decode(alone), Ok(Packed::Alone(Box::new(Work::Deliver(delivery(0, 10))))));
}

#[test]
fn a_fan_out_that_waits_for_room_is_not_taken_apart() {
    let waiting = Work::FanOut(FanOut::of_whole(vec![delivery(0, 10), delivery(1, 10)]));
    let message = Message::new(Destination::Queue(QueueName::Retry), wire::encode_work(&waiting));
    assert_eq!(decode(message), Ok(Packed::Alone(Box::new(waiting))));
}

#[test]
fn a_bundle_of_nothing_is_not_readable() {
    let nothing = message_of(Destination::Queue(QueueName::Retry), Vec::new());
    assert!(decode(nothing).is_err());
}

/// Writes down how it is settled, and what is published in between.
#[derive(Clone)]
struct Settled {
    steps: Arc<Mutex<Vec<String>>>,
    is_current: Arc<AtomicBool>,
    is_refused: Arc<AtomicBool>,
    /// Nothing is confirmed.
    is_silent: Arc<AtomicBool>,
    tasks: Arc<Mutex<Vec<JoinHandle<()>>>>,
}

impl Settled {
    fn new() -> Self {
        let is_current = Arc::new(AtomicBool::new(true));
        Settled {
            steps: Arc::default(),
            is_current,
            is_refused: Arc::default(),
            is_silent: Arc::default(),
            tasks: Arc::default(),
        }
    }

    fn leases(&self, count: usize) -> Vec<Lease<Work>> {
        let deliveries: Vec<_> = (0..count).map(|number| delivery(number, 10)).collect();
        let bytes = message_of(Destination::Queue(QueueName::First), deliveries.clone()).body;
        let message = Packed::Bundle { deliveries, bytes };
        let ticket = LeaseTicket::new(Box::new(self.clone()));
        let lease = Lease { message, redelivered: true, ticket };
        let taken = Taken { lease, is_current: Arc::clone(&self.is_current) };
        let republish: Arc<dyn Republish> = Arc::new(self.clone());
        let parts = take_apart(taken, QueueName::First, &republish);
        parts.into_iter().filter_map(Taken::into_current).collect()
    }

    fn steps(&self) -> Vec<String> {
        self.steps.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn note(&self, step: &str) {
        self.steps.lock().unwrap_or_else(PoisonError::into_inner).push(step.to_owned());
    }
}

impl Republish for Settled {
    fn publish(&self, rest: Message) -> BoxFuture<'static, Result<(), PublishError>> {
        assert_eq!(rest.destination, Destination::Queue(QueueName::First), "where it came from");
        if self.is_refused.load(Ordering::Acquire) {
            return Box::pin(future::ready(Err(PublishError::Refused { reason: "full".to_owned() })));
        }
        if self.is_silent.load(Ordering::Acquire) {
            return Box::pin(future::pending());
        }
        for delivery in deliveries_in(&rest) {
            self.note(&format!("published {} {:?}", delivery.reference.event_id, delivery.check));
        }
        Box::pin(future::ready(Ok(())))
    }

    fn run(&self, task: BoxFuture<'static, ()>) {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner).push(tokio::spawn(task));
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

/// Lets pass whatever is to happen soon.
async fn soon() {
    tokio::time::sleep(TOGETHER_WITHIN * 2).await;
}

#[tokio::test(start_paused = true)]
async fn a_message_is_acknowledged_once_each_of_its_deliveries_is() {
    let settled = Settled::new();
    let leases = settled.leases(3);
    assert!(leases.iter().all(|lease| lease.redelivered));
    for lease in leases {
        assert!(settled.steps().is_empty());
        lease.ticket.acknowledge();
    }
    assert_eq!(settled.steps(), ["acknowledged"]);
}

#[tokio::test(start_paused = true)]
async fn a_message_of_which_none_is_done_with_is_given_back() {
    let settled = Settled::new();
    let mut leases = settled.leases(3);
    drop(leases.split_off(1));
    assert!(settled.steps().is_empty(), "one is still in hand");
    drop(leases);
    soon().await;
    assert_eq!(settled.steps(), ["given back"]);
}

#[tokio::test(start_paused = true)]
async fn what_is_given_back_is_published_again_without_what_is_done_with() {
    let settled = Settled::new();
    let mut leases = settled.leases(4);
    leases.remove(3).ticket.give_back();
    leases.remove(1).ticket.give_back();
    leases.remove(1).ticket.acknowledge();
    assert!(settled.steps().is_empty(), "one is still tried");
    leases.remove(0).ticket.acknowledge();
    soon().await;
    assert_eq!(settled.steps(), ["published evt_3 LookUp", "published evt_1 LookUp", "acknowledged"]);
}

#[tokio::test(start_paused = true)]
async fn what_is_given_back_does_not_wait_for_what_is_still_tried() {
    let settled = Settled::new();
    let mut leases = settled.leases(3);
    leases.remove(1).ticket.give_back();
    leases.remove(1).ticket.give_back();
    soon().await;
    let published = ["published evt_1 LookUp", "published evt_2 LookUp"];
    assert_eq!(settled.steps(), published);
    leases.remove(0).ticket.give_back();
    soon().await;
    assert_eq!(settled.steps()[2..], ["published evt_0 LookUp", "acknowledged"], "and nothing twice");
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_published_again_comes_again_with_what_it_came_with() {
    let settled = Settled::new();
    settled.is_refused.store(true, Ordering::Release);
    let mut leases = settled.leases(2);
    leases.remove(1).ticket.give_back();
    soon().await;
    leases.remove(0).ticket.acknowledge();
    soon().await;
    assert_eq!(settled.steps(), ["given back"]);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_published_again_of_a_message_that_comes_again_anyway() {
    let settled = Settled::new();
    let mut leases = settled.leases(3);
    leases.remove(2).ticket.give_back();
    settled.is_current.store(false, Ordering::Release);
    soon().await;
    leases.remove(0).ticket.acknowledge();
    drop(leases);
    soon().await;
    assert_eq!(settled.steps(), ["given back"]);
}

#[tokio::test(start_paused = true)]
async fn a_publish_that_is_cut_off_acknowledges_nothing() {
    let settled = Settled::new();
    settled.is_silent.store(true, Ordering::Release);
    let mut leases = settled.leases(2);
    leases.remove(1).ticket.give_back();
    soon().await;
    leases.remove(0).ticket.acknowledge();
    // The first publish, and then the one that is made in its place.
    for _ in 0..2 {
        settled.tasks.lock().unwrap_or_else(PoisonError::into_inner).drain(..).for_each(|task| task.abort());
        soon().await;
    }
    assert_eq!(settled.steps(), ["given back"]);
}
