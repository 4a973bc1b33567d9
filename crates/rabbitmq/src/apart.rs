//! Where work is taken, and bundles apart ([`bundles`]).
//!
//! Promises: each delivery of a bundle is handed out with a lease of its own, and no more of them are in hand than a prefetch
//! allows; the message is settled after the last of them. If all were acknowledged, so is it; if all were given back, so is
//! it; if some were, these are published again by themselves, soon, and before it is settled. A process that dies leaves the
//! whole message, of which every delivery is looked up before it is tried again, as always.
//!
//! [`bundles`]: crate::bundles

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use std::{future, mem};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use postrider_contract::delivery::{Check, Delivery, Work};
use postrider_contract::ports::{
    Lease, LeaseTicket, PublishError, QueueError, Settlement, WorkKind, WorkSource,
};
use postrider_contract::wire;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::bundles::{KIND, message_of};
use crate::consumer::{Consuming, Incoming, Reading, Source, Taken};
use crate::publisher::{Destination, Message};
use crate::topology::QueueName;

/// How many large retries are in hand at most, of those that a prefetch allows: a body may have 1 MiB.
const LARGE_RETRIES: u16 = 16;

/// Who ends gives back nearly all at once; what is then still in hand is tried, and may take long.
const TOGETHER_WITHIN: Duration = Duration::from_millis(100);

/// Work of one kind.
pub(crate) struct Apart {
    ordinary: WorkOf,
    large: Option<WorkOf>,
    /// What is left of a bundle.
    rest: VecDeque<Taken<Work>>,
    republish: Arc<dyn Republish>,
    /// As many as a prefetch allows, since a message may hold more than one.
    in_hand: Arc<Semaphore>,
}

struct WorkOf {
    queue: QueueName,
    source: Source<Packed>,
}

impl WorkOf {
    async fn next(&mut self) -> Result<(QueueName, Taken<Packed>), QueueError> {
        Ok((self.queue, self.source.next_taken().await?))
    }
}

impl Apart {
    pub fn open(sources: &Arc<Consuming>, kind: WorkKind, prefetch: u16) -> Result<Self, QueueError> {
        let open = |queue, prefetch| {
            let source = sources.open(queue, prefetch, ReadWork)?;
            Ok::<_, QueueError>(WorkOf { queue, source })
        };
        let (ordinary, large, in_hand) = match kind {
            WorkKind::First => (open(QueueName::First, prefetch)?, None, prefetch),
            WorkKind::Release => (open(QueueName::Release, prefetch)?, None, prefetch),
            WorkKind::Large => (open(QueueName::Large, prefetch)?, None, prefetch),
            // Small ones and large ones have a queue each, so that what is in hand is bounded in bytes; together no more are
            // in hand than the prefetch (two, of one).
            WorkKind::Retry => {
                let of_large = (prefetch / 2).clamp(1, LARGE_RETRIES);
                let of_small = prefetch.saturating_sub(of_large).max(1);
                let large = open(QueueName::RetryLarge, of_large)?;
                (open(QueueName::Retry, of_small)?, Some(large), of_small + of_large)
            }
        };
        Ok(Apart {
            ordinary,
            large,
            rest: VecDeque::new(),
            republish: Arc::new(BeforeClose { sources: Arc::clone(sources), runtime: Handle::current() }),
            in_hand: Arc::new(Semaphore::new(usize::from(in_hand.max(1)))),
        })
    }

    /// At random where both queues have one, so that neither waits for the other.
    async fn next_message(&mut self) -> Result<(QueueName, Taken<Packed>), QueueError> {
        match &mut self.large {
            None => self.ordinary.next().await,
            Some(large) => tokio::select! {
                taken = self.ordinary.next() => taken,
                taken = large.next() => taken,
            },
        }
    }
}

#[async_trait]
impl WorkSource for Apart {
    async fn next(&mut self) -> Result<Lease<Work>, QueueError> {
        // It is never closed.
        let place = Arc::clone(&self.in_hand).acquire_owned().await.map_err(|_| QueueError::Closed)?;
        loop {
            while let Some(taken) = self.rest.pop_front() {
                if let Some(lease) = taken.into_current() {
                    return Ok(in_place(lease, place));
                }
            }
            let (queue, taken) = self.next_message().await?;
            self.rest.extend(take_apart(taken, queue, &self.republish));
        }
    }
}

/// A lease that keeps its place among those in hand until it is settled.
fn in_place(lease: Lease<Work>, place: OwnedSemaphorePermit) -> Lease<Work> {
    let Lease { message, redelivered, ticket } = lease;
    Lease { message, redelivered, ticket: LeaseTicket::new(Box::new(InPlace { ticket, _place: place })) }
}

struct InPlace {
    ticket: LeaseTicket,
    _place: OwnedSemaphorePermit,
}

impl Settlement for InPlace {
    fn acknowledge(self: Box<Self>) {
        self.ticket.acknowledge();
    }

    fn give_back(self: Box<Self>) {
        self.ticket.give_back();
    }
}

/// How what is given back of a bundle is published again.
trait Republish: Send + Sync + 'static {
    fn publish(&self, rest: Message) -> BoxFuture<'static, Result<(), PublishError>>;

    /// Runs it to its end. A close waits for it, and an acknowledgement that it asks for is still written.
    fn run(&self, task: BoxFuture<'static, ()>);
}

struct BeforeClose {
    sources: Arc<Consuming>,
    /// Leases may be dropped where no runtime is entered.
    runtime: Handle,
}

impl Republish for BeforeClose {
    fn publish(&self, rest: Message) -> BoxFuture<'static, Result<(), PublishError>> {
        let publisher = Arc::clone(&self.sources.publisher);
        Box::pin(async move { publisher.publish(vec![rest]).await })
    }

    fn run(&self, task: BoxFuture<'static, ()>) {
        self.sources.finish_before_close(&self.runtime, task);
    }
}

/// What a message holds.
#[derive(Debug, PartialEq, Eq)]
enum Packed {
    Alone(Box<Work>),
    Bundle {
        deliveries: Vec<Delivery>,
        /// As it came.
        bytes: Bytes,
    },
}

struct ReadWork;

impl Reading for ReadWork {
    type Message = Packed;

    fn decode(&self, incoming: Incoming) -> Result<Packed, String> {
        let is_bundle = incoming.properties.kind().as_ref().is_some_and(|kind| kind.as_str() == KIND);
        let bytes = incoming.body;
        match wire::decode_work(bytes.clone()).map_err(|error| error.to_string())? {
            Work::FanOut(bundle) if is_bundle && bundle.deliveries.is_empty() => {
                Err("a bundle of nothing".to_owned())
            }
            Work::FanOut(bundle) if is_bundle => {
                Ok(Packed::Bundle { deliveries: bundle.into_whole().collect(), bytes })
            }
            work @ (Work::FanOut(_) | Work::Deliver(_)) => Ok(Packed::Alone(Box::new(work))),
        }
    }
}

/// A lease for each; what of them is given back goes to this queue again.
fn take_apart(taken: Taken<Packed>, queue: QueueName, republish: &Arc<dyn Republish>) -> Vec<Taken<Work>> {
    let Taken { lease: Lease { message, redelivered, ticket }, is_current } = taken;
    let (deliveries, bytes) = match message {
        Packed::Alone(work) => {
            return vec![Taken { lease: Lease { message: *work, redelivered, ticket }, is_current }];
        }
        Packed::Bundle { deliveries, bytes } => (deliveries, bytes),
    };
    let shared = Arc::new(Shared {
        state: Mutex::new(SharedState { ticket: Some(ticket), given_back: Vec::new(), is_any_done: false }),
        queue,
        bytes,
        is_current: Arc::clone(&is_current),
        republish: Arc::clone(republish),
    });
    let part = |(index, delivery): (usize, Delivery)| {
        let ticket = LeaseTicket::new(Box::new(Part { shared: Arc::clone(&shared), index }));
        let lease = Lease { message: Work::Deliver(delivery), redelivered, ticket };
        Taken { lease, is_current: Arc::clone(&is_current) }
    };
    deliveries.into_iter().enumerate().map(part).collect()
}

/// A message, settled when the last of its parts is.
struct Shared {
    state: Mutex<SharedState>,
    queue: QueueName,
    bytes: Bytes,
    is_current: Arc<AtomicBool>,
    republish: Arc<dyn Republish>,
}

struct SharedState {
    ticket: Option<LeaseTicket>,
    /// Which of the deliveries, as long as they are nowhere else.
    given_back: Vec<usize>,
    /// At least one of them was acknowledged, or is published again.
    is_any_done: bool,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, SharedState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn give_back(self: &Arc<Self>, index: usize) {
        let is_first = {
            let mut state = self.state();
            state.given_back.push(index);
            state.given_back.len() == 1
        };
        if is_first {
            let shared = Arc::downgrade(self);
            self.republish.run(Box::pin(async move {
                tokio::time::sleep(TOGETHER_WITHIN).await;
                if let Some(shared) = shared.upgrade() {
                    shared.let_go().await;
                }
            }));
        }
    }

    /// Publishes what was given back while others are still in hand, which may take as long as a try may. It counts as given
    /// back until that is confirmed: if this is cut off, the message must not be acknowledged.
    async fn let_go(&self) {
        while self.is_current.load(Ordering::Acquire) {
            let given_back = self.state().given_back.clone();
            if given_back.is_empty() {
                return;
            }
            if let Err(error) = self.publish_again(&given_back).await {
                tracing::warn!(%error, "deliveries that are given back wait for those that they came with");
                return;
            }
            let mut state = self.state();
            state.is_any_done = true;
            // What was given back meanwhile came behind these.
            state.given_back.drain(..given_back.len());
        }
    }

    fn publish_again(&self, given_back: &[usize]) -> BoxFuture<'static, Result<(), PublishError>> {
        // Read once more, since nearly every message is done with as a whole.
        let Ok(Work::FanOut(bundle)) = wire::decode_work(self.bytes.clone()) else {
            let reason = "the bundle cannot be read again".to_owned();
            return Box::pin(future::ready(Err(PublishError::Refused { reason })));
        };
        let rest = given_back.iter().filter_map(|index| bundle.whole(*index));
        let rest = rest.map(|delivery| Delivery { check: Check::LookUp, ..delivery }).collect();
        self.republish.publish(message_of(Destination::Queue(self.queue), rest))
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        let Some(ticket) = state.ticket.take() else { return };
        let given_back = mem::take(&mut state.given_back);
        if given_back.is_empty() {
            ticket.acknowledge();
        } else if state.is_any_done && self.is_current.load(Ordering::Acquire) {
            let publishing = self.publish_again(&given_back);
            self.republish.run(Box::pin(async move {
                match publishing.await {
                    Ok(()) => ticket.acknowledge(),
                    Err(error) => {
                        tracing::warn!(%error, "deliveries that are given back take those with them that they came with");
                        ticket.give_back();
                    }
                }
            }));
        } else {
            // None is done with; or the channel has ended, and all of them come again whatever is said here.
            ticket.give_back();
        }
    }
}

struct Part {
    shared: Arc<Shared>,
    index: usize,
}

impl Settlement for Part {
    fn acknowledge(self: Box<Self>) {
        self.shared.state().is_any_done = true;
    }

    fn give_back(self: Box<Self>) {
        self.shared.give_back(self.index);
    }
}

#[cfg(test)]
mod tests;
