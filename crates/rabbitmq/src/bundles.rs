//! Bundles: deliveries of one moment that share a message.
//!
//! Every command of a message is on disk before the next of its queue, in one log for all queues: for a first try these are
//! three, for a retry five (into its lane, expired, on to its queue, out of the lane, done with). So deliveries that are
//! published together go into one message, and so do those that come one by one while the broker is busy:
//! - first tries, while [`BUSY`] messages wait for their confirm: until one of these is answered;
//! - retries, when their lane was sent something less than [`GATHERED_FOR`] ago: until then.
//!
//! What comes alone goes out alone and at once. A bundle has the wire form of a fan-out and the type [`KIND`]; a reader that
//! knows no bundles publishes each of the deliveries by itself, as it does with those of a fan-out.
//!
//! Promises: a delivery that is confirmed here is in its queue; one whose caller has gone away by then is not sent. How
//! bundles are taken apart again is `apart.rs`.

use std::collections::HashMap;
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use postrider_contract::delivery::{Delivery, FanOut, Work};
use postrider_contract::ports::PublishError;
use postrider_contract::wire;
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::lane::LARGE;
use crate::publisher::{Destination, Message, Publisher};
use crate::tally::Tally;

/// Nothing waits longer for others. A webhook that fails 200 times a second makes five retries meanwhile, and nobody notices
/// so much more of a wait.
const GATHERED_FOR: Duration = Duration::from_millis(25);
/// With so many messages of one queue in flight the broker has enough to do: one more would only cost.
const BUSY: usize = 8;
/// By then a delivery's share of the message's cost is little, and more would be looked up again after a crash.
const AT_MOST: usize = 16;
/// Of all deliveries together, so that a bundle is read with what has small bodies.
const LONGEST: usize = LARGE;
/// What a delivery has beside its body and its query, at most: names and times.
const NAMES: usize = 2 * 1024;
/// The `type` of a bundle's message, by which it is told from a fan-out that a worker makes deliveries of.
pub(crate) const KIND: &str = "bundle";

/// Whether a delivery is short enough to travel with others.
pub(crate) fn may_share(delivery: &Delivery) -> bool {
    length_of(delivery) <= LONGEST
}

fn length_of(delivery: &Delivery) -> usize {
    delivery.body.len() + delivery.query.length() + NAMES
}

/// Where bundles go.
pub(crate) trait Outlet: Send + Sync + 'static {
    /// Confirmed, or why not.
    fn send(&self, message: Message) -> impl Future<Output = Result<(), PublishError>> + Send;
}

impl Outlet for Arc<Publisher> {
    async fn send(&self, message: Message) -> Result<(), PublishError> {
        self.publish(vec![message]).await
    }
}

/// Gathers the deliveries that one process publishes, by where they go.
pub(crate) struct Bundler<O> {
    outlet: O,
    gatherings: Mutex<HashMap<Destination, Gathering>>,
}

/// What waits for the next message to one destination.
#[derive(Default)]
struct Gathering {
    last_sent: Option<Instant>,
    /// Messages in flight.
    unanswered: usize,
    /// How many messages went out before the next.
    number: u64,
    /// The number of the last one that goes out by the clock, if nothing else sends it.
    timed: Option<u64>,
    deliveries: Vec<Waiting>,
    length: usize,
}

struct Waiting {
    delivery: Delivery,
    sent: oneshot::Sender<Result<(), PublishError>>,
}

impl<O: Outlet> Bundler<O> {
    pub fn new(outlet: O) -> Arc<Self> {
        Arc::new(Bundler { outlet, gatherings: Mutex::default() })
    }

    /// Publishes deliveries that [`may_share`] a message; `Ok` once all are confirmed.
    pub async fn publish(
        self: &Arc<Self>,
        destination: Destination,
        deliveries: Vec<Delivery>,
    ) -> Result<(), PublishError> {
        let (waiting, answers): (Vec<_>, Vec<_>) = deliveries.into_iter().map(Waiting::new).unzip();
        self.add(destination, waiting);
        let tally = Arc::new(Tally::default());
        for answer in answers {
            let nobody = || PublishError::InDoubt { reason: "nobody waited for the confirm".to_owned() };
            tally.ticket().settle(answer.await.unwrap_or_else(|_| Err(nobody())));
        }
        tally.wait().await
    }

    fn add(self: &Arc<Self>, destination: Destination, deliveries: Vec<Waiting>) {
        let now = Instant::now();
        let mut gatherings = self.lock();
        let gathering = gatherings.entry(destination).or_default();
        let due = gathering.due(destination, now);
        for waiting in deliveries {
            let length = length_of(&waiting.delivery);
            if gathering.length + length > LONGEST {
                self.send(destination, gathering, now);
            }
            gathering.length += length;
            gathering.deliveries.push(waiting);
            if gathering.deliveries.len() == AT_MOST {
                self.send(destination, gathering, now);
            }
        }
        if due <= now {
            self.send(destination, gathering, now);
        } else if !gathering.deliveries.is_empty() && gathering.timed != Some(gathering.number) {
            gathering.timed = Some(gathering.number);
            tokio::spawn(Arc::clone(self).send_at(due, destination, gathering.number));
        }
    }

    /// The message of this number, unless it went out before.
    async fn send_at(self: Arc<Self>, due: Instant, destination: Destination, number: u64) {
        tokio::time::sleep_until(due).await;
        if let Some(gathering) = self.lock().get_mut(&destination)
            && gathering.number == number
        {
            self.send(destination, gathering, Instant::now());
        }
    }

    /// In a task of its own, since whoever came last may go away before the others have their answer.
    fn send(self: &Arc<Self>, destination: Destination, gathering: &mut Gathering, now: Instant) {
        let mut gathered = gathering.take(now);
        // Who waits no longer has given its delivery back, or told its producer: it comes again.
        gathered.retain(|waiting| !waiting.sent.is_closed());
        if gathered.is_empty() {
            return;
        }
        gathering.unanswered += 1;
        let bundler = Arc::clone(self);
        tokio::spawn(async move {
            let (deliveries, waiting): (Vec<_>, Vec<_>) =
                gathered.into_iter().map(|one| (one.delivery, one.sent)).unzip();
            let answer = bundler.outlet.send(message_of(destination, deliveries)).await;
            bundler.note_answer(destination);
            for sent in waiting {
                sent.send(answer.clone()).ok();
            }
        });
    }

    fn note_answer(self: &Arc<Self>, destination: Destination) {
        let now = Instant::now();
        if let Some(gathering) = self.lock().get_mut(&destination) {
            gathering.unanswered -= 1;
            if gathering.due(destination, now) <= now {
                self.send(destination, gathering, now);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Destination, Gathering>> {
        self.gatherings.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    fn new(delivery: Delivery) -> (Self, oneshot::Receiver<Result<(), PublishError>>) {
        let (sent, answer) = oneshot::channel();
        (Waiting { delivery, sent }, answer)
    }
}

impl Gathering {
    /// Until when what comes now may be gathered.
    fn due(&self, destination: Destination, now: Instant) -> Instant {
        match destination {
            Destination::Lane(_) => self.last_sent.map_or(now, |sent| sent + GATHERED_FOR),
            Destination::Queue(_) if self.unanswered < BUSY => now,
            Destination::Queue(_) => now + GATHERED_FOR,
        }
    }

    fn take(&mut self, now: Instant) -> Vec<Waiting> {
        if !self.deliveries.is_empty() {
            self.last_sent = Some(now);
            self.number += 1;
        }
        self.length = 0;
        mem::take(&mut self.deliveries)
    }
}

/// One delivery as it is, several as a bundle.
pub(crate) fn message_of(destination: Destination, mut deliveries: Vec<Delivery>) -> Message {
    match deliveries.pop() {
        Some(alone) if deliveries.is_empty() => {
            Message::new(destination, wire::encode_work(&Work::Deliver(alone)))
        }
        last => {
            deliveries.extend(last);
            let bundle = Work::FanOut(FanOut::of_whole(deliveries));
            let mut message = Message::new(destination, wire::encode_work(&bundle));
            message.properties = message.properties.with_type(KIND.into());
            message
        }
    }
}

#[cfg(test)]
mod tests;
