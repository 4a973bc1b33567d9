//! Bundles: retries that share a message of a lane.
//!
//! A retry that has a message to itself costs the broker five commands that each are on disk before the next: into the
//! lane, expired, on to its queue, out of the lane, done with. The first tries of all webhooks wait behind them. So when a
//! lane was sent something less than [`GATHERED_FOR`] ago, what comes for it meanwhile goes into one message, in the wire
//! form of a fan-out and with the type [`KIND`]. A retry that comes alone goes out alone and at once. A reader that knows
//! no bundles publishes each of the deliveries by itself, as it does with those of a fan-out.
//!
//! Promises: a retry that is confirmed here is in its lane; one whose caller has gone away by then is not sent. How bundles
//! are taken apart again is `retries.rs`.

use std::collections::HashMap;
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use postrider_contract::delivery::{Delivery, FanOut, Work};
use postrider_contract::ports::PublishError;
use postrider_contract::wire;
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::lane::{LARGE, Lane, LaneQueue, Load};
use crate::publisher::{Destination, Message, Publisher};

/// A webhook that fails 200 times a second makes five retries meanwhile, and nobody notices so much more of a wait.
const GATHERED_FOR: Duration = Duration::from_millis(25);
/// By then a retry's share of the message's cost is little, and more would be looked up again after a crash.
const AT_MOST: usize = 16;
/// Of all deliveries together, so that a bundle is read with what has small bodies.
const LONGEST: usize = LARGE;
/// What a delivery has beside its body and its query, at most: names and times.
const NAMES: usize = 2 * 1024;
/// The `type` of a bundle's message, by which it is told from a fan-out that waits for room.
pub(crate) const KIND: &str = "retries";

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

/// Gathers the retries of one process, lane by lane.
pub(crate) struct Bundler<O> {
    outlet: O,
    lanes: Mutex<HashMap<Lane, Gathering>>,
}

/// What waits for the next message of a lane.
#[derive(Default)]
struct Gathering {
    last_sent: Option<Instant>,
    /// How many messages went out before it.
    number: u64,
    retries: Vec<Waiting>,
    length: usize,
}

struct Waiting {
    delivery: Delivery,
    parked: oneshot::Sender<Result<(), PublishError>>,
}

impl<O: Outlet> Bundler<O> {
    pub fn new(outlet: O) -> Arc<Self> {
        Arc::new(Bundler { outlet, lanes: Mutex::default() })
    }

    /// Puts a retry into a lane, alone or with others; `Ok` once that is confirmed.
    pub async fn park(self: &Arc<Self>, lane: Lane, delivery: Delivery) -> Result<(), PublishError> {
        let (parked, answer) = oneshot::channel();
        self.add(lane, Waiting { delivery, parked });
        answer.await.unwrap_or_else(|_| {
            Err(PublishError::InDoubt { reason: "nobody waited for the confirm".to_owned() })
        })
    }

    fn add(self: &Arc<Self>, lane: Lane, retry: Waiting) {
        let now = Instant::now();
        let mut lanes = self.lock();
        let gathering = lanes.entry(lane).or_default();
        if gathering.length + length_of(&retry.delivery) > LONGEST {
            self.send(lane, gathering.take(now));
        }
        gathering.length += length_of(&retry.delivery);
        gathering.retries.push(retry);
        let due = gathering.last_sent.map_or(now, |sent| sent + GATHERED_FOR);
        if due <= now || gathering.retries.len() == AT_MOST {
            self.send(lane, gathering.take(now));
        } else if gathering.retries.len() == 1 {
            tokio::spawn(Arc::clone(self).send_at(due, lane, gathering.number));
        }
    }

    /// The lane's message of this number, unless it was full before.
    async fn send_at(self: Arc<Self>, due: Instant, lane: Lane, number: u64) {
        tokio::time::sleep_until(due).await;
        let now = Instant::now();
        let gathered = match self.lock().get_mut(&lane) {
            Some(gathering) if gathering.number == number => gathering.take(now),
            Some(_) | None => Vec::new(),
        };
        self.send(lane, gathered);
    }

    /// In a task of its own, since whoever came last may go away before the others have their answer.
    fn send(self: &Arc<Self>, lane: Lane, mut retries: Vec<Waiting>) {
        // Who waits no longer has given its delivery back: it comes again by itself.
        retries.retain(|retry| !retry.parked.is_closed());
        if retries.is_empty() {
            return;
        }
        let destination = Destination::Lane(LaneQueue { lane, load: Load::Small });
        let bundler = Arc::clone(self);
        tokio::spawn(async move {
            let (deliveries, waiting): (Vec<_>, Vec<_>) =
                retries.into_iter().map(|retry| (retry.delivery, retry.parked)).unzip();
            let sent = bundler.outlet.send(message_of(destination, deliveries)).await;
            for parked in waiting {
                parked.send(sent.clone()).ok();
            }
        });
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Lane, Gathering>> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Gathering {
    fn take(&mut self, now: Instant) -> Vec<Waiting> {
        if !self.retries.is_empty() {
            self.last_sent = Some(now);
            self.number += 1;
        }
        self.length = 0;
        mem::take(&mut self.retries)
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
