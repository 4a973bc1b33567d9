//! Where retries are taken: two queues, of small and of large ones, and the bundles of the former apart ([`bundles`]).
//!
//! Promises: each retry of a bundle is handed out with a lease of its own, and no more of them are in hand than a prefetch
//! allows; the message is settled after the last of them. If all were acknowledged, so is it; if all were given back, so is
//! it; if some were, these are first published again by themselves. A process that dies leaves the whole message, of which
//! every retry is looked up before it is tried again, as always.
//!
//! [`bundles`]: crate::bundles

use std::collections::VecDeque;
use std::mem;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use postrider_contract::delivery::{Check, Delivery, Work};
use postrider_contract::ports::{Lease, LeaseTicket, QueueError, Settlement, WorkSource};
use postrider_contract::wire;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::bundles::{KIND, message_of};
use crate::consumer::{Consuming, Incoming, Reading, Source, Taken};
use crate::publisher::{Destination, Message};
use crate::topology::QueueName;

/// How many large retries are in hand at most, of those that a prefetch allows: a body may have 1 MiB.
const LARGE_RETRIES: u16 = 16;

/// Retries, small and large.
pub(crate) struct RetrySource {
    small: Source<Retries>,
    large: Source<Retries>,
    /// What is left of a bundle.
    rest: VecDeque<Taken<Work>>,
    publish_rest: PublishRest,
    /// As many as a prefetch allows, since a message may hold more than one.
    in_hand: Arc<Semaphore>,
}

impl RetrySource {
    /// Small retries and large ones have a queue each, so that what is in hand is bounded in bytes; together no
    /// more are in hand than the prefetch (two, of one).
    pub fn open(sources: &Arc<Consuming>, prefetch: u16) -> Result<Self, QueueError> {
        let of_large = (prefetch / 2).clamp(1, LARGE_RETRIES);
        let of_small = prefetch.saturating_sub(of_large).max(1);
        Ok(RetrySource {
            small: sources.open(QueueName::Retry, of_small, ReadRetries)?,
            large: sources.open(QueueName::RetryLarge, of_large, ReadRetries)?,
            rest: VecDeque::new(),
            publish_rest: publish_rest(sources),
            in_hand: Arc::new(Semaphore::new(usize::from(of_small + of_large))),
        })
    }
}

#[async_trait]
impl WorkSource for RetrySource {
    async fn next(&mut self) -> Result<Lease<Work>, QueueError> {
        // It is never closed.
        let place = Arc::clone(&self.in_hand).acquire_owned().await.map_err(|_| QueueError::Closed)?;
        loop {
            while let Some(taken) = self.rest.pop_front() {
                if let Some(lease) = taken.into_current() {
                    return Ok(in_place(lease, place));
                }
            }
            // At random where both have one, so that neither waits for the other.
            let taken = tokio::select! {
                taken = self.small.next_taken() => taken?,
                taken = self.large.next_taken() => taken?,
            };
            self.rest.extend(take_apart(taken, &self.publish_rest));
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

/// A close waits for it, and an acknowledgement that it asks for is still written.
fn publish_rest(sources: &Arc<Consuming>) -> PublishRest {
    let sources = Arc::clone(sources);
    // Leases may be dropped where no runtime is entered.
    let runtime = Handle::current();
    Arc::new(move |rest, ticket| {
        let publisher = Arc::clone(&sources.publisher);
        sources.finish_before_close(&runtime, async move {
            match publisher.publish(vec![rest]).await {
                Ok(()) => ticket.acknowledge(),
                Err(error) => {
                    tracing::warn!(%error, "retries that are given back take those with them that they came with");
                    ticket.give_back();
                }
            }
        });
    })
}

/// What a message of retries holds.
#[derive(Debug, PartialEq, Eq)]
enum Retries {
    Alone(Box<Work>),
    Bundle(Vec<Delivery>),
}

struct ReadRetries;

impl Reading for ReadRetries {
    type Message = Retries;

    fn decode(&self, incoming: Incoming) -> Result<Retries, String> {
        let is_bundle = incoming.properties.kind().as_ref().is_some_and(|kind| kind.as_str() == KIND);
        match wire::decode_work(incoming.body).map_err(|error| error.to_string())? {
            Work::FanOut(bundle) if is_bundle && bundle.deliveries.is_empty() => {
                Err("a bundle of nothing".to_owned())
            }
            Work::FanOut(bundle) if is_bundle => Ok(Retries::Bundle(bundle.into_whole().collect())),
            work @ (Work::FanOut(_) | Work::Deliver(_)) => Ok(Retries::Alone(Box::new(work))),
        }
    }
}

/// Publishes what is left of a bundle, in a message of its own, and then acknowledges the bundle.
type PublishRest = Arc<dyn Fn(Message, LeaseTicket) + Send + Sync>;

/// A lease for each.
fn take_apart(taken: Taken<Retries>, publish_rest: &PublishRest) -> Vec<Taken<Work>> {
    let Taken { lease: Lease { message, redelivered, ticket }, is_current } = taken;
    let deliveries = match message {
        Retries::Alone(work) => {
            return vec![Taken { lease: Lease { message: *work, redelivered, ticket }, is_current }];
        }
        Retries::Bundle(deliveries) => deliveries,
    };
    let shared = Arc::new(Shared {
        state: Mutex::new(SharedState { ticket: Some(ticket), given_back: Vec::new(), is_any_done: false }),
        is_current: Arc::clone(&is_current),
        publish_rest: Arc::clone(publish_rest),
    });
    let part = |delivery: Delivery| {
        let part = Part { shared: Arc::clone(&shared), delivery: delivery.clone() };
        let ticket = LeaseTicket::new(Box::new(part));
        let lease = Lease { message: Work::Deliver(delivery), redelivered, ticket };
        Taken { lease, is_current: Arc::clone(&is_current) }
    };
    deliveries.into_iter().map(part).collect()
}

/// A message, settled when the last of its parts is.
struct Shared {
    state: Mutex<SharedState>,
    is_current: Arc<AtomicBool>,
    publish_rest: PublishRest,
}

struct SharedState {
    ticket: Option<LeaseTicket>,
    given_back: Vec<Delivery>,
    /// At least one of them was acknowledged.
    is_any_done: bool,
}

impl Drop for Shared {
    fn drop(&mut self) {
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        let Some(ticket) = state.ticket.take() else { return };
        let mut rest = mem::take(&mut state.given_back);
        if rest.is_empty() {
            ticket.acknowledge();
        } else if state.is_any_done && self.is_current.load(Ordering::Acquire) {
            rest.iter_mut().for_each(|delivery| delivery.check = Check::LookUp);
            (self.publish_rest)(message_of(Destination::Queue(QueueName::Retry), rest), ticket);
        } else {
            // None is done with; or the channel has ended, and all of them come again whatever is said here.
            ticket.give_back();
        }
    }
}

struct Part {
    shared: Arc<Shared>,
    delivery: Delivery,
}

impl Part {
    fn state(&self) -> MutexGuard<'_, SharedState> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Settlement for Part {
    fn acknowledge(self: Box<Self>) {
        self.state().is_any_done = true;
    }

    fn give_back(self: Box<Self>) {
        self.state().given_back.push(self.delivery.clone());
    }
}

#[cfg(test)]
mod tests;
