//! How a message of several retries is read and settled.

use postrider_contract::delivery::FanOut;

use super::*;
use crate::samples::{deliveries_in, retry};

fn decode(message: Message) -> Result<Retries, String> {
    let Message { properties, body, .. } = message;
    ReadRetries.decode(Incoming { routing_key: String::new(), properties, body })
}

#[test]
fn a_bundle_is_read_as_the_deliveries_in_it() {
    let deliveries = vec![retry(0, 10), retry(1, 20)];
    let bundle = message_of(Destination::Queue(QueueName::Retry), deliveries.clone());
    assert_eq!(decode(bundle), Ok(Retries::Bundle(deliveries)));
    let alone = message_of(Destination::Queue(QueueName::Retry), vec![retry(0, 10)]);
    assert_eq!(decode(alone), Ok(Retries::Alone(Box::new(Work::Deliver(retry(0, 10))))));
}

#[test]
fn a_fan_out_that_waits_for_room_is_not_taken_apart() {
    let waiting = Work::FanOut(FanOut::of_whole(vec![retry(0, 10), retry(1, 10)]));
    let message = Message::new(Destination::Queue(QueueName::Retry), wire::encode_work(&waiting));
    assert_eq!(decode(message), Ok(Retries::Alone(Box::new(waiting))));
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
            for delivery in deliveries_in(&rest) {
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
fn a_message_of_which_none_is_done_with_is_given_back() {
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
