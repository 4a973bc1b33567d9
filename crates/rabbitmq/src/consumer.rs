//! A source: one queue, consumed for as long as the engine is open.
//!
//! Promises: never more than `prefetch` messages unsettled; survives lost connections, channels closed by the
//! broker, cancelled consumers and deleted queues, by subscribing again (and declaring again, where that is
//! ours to do); what cannot be decoded is set aside, confirmed, before anything else is handed out. A lease
//! belongs to the channel it came over: what was prefetched over a channel that has ended is not handed out,
//! and a settlement that comes too late is harmless.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use lapin::message::Delivery;
use lapin::options::{BasicCancelOptions, BasicConsumeOptions, BasicQosOptions};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Consumer};
use postrider_contract::ports::{Lease, LeaseTicket, QueueError};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use crate::connection::{LinkState, Live, wait_until_up};
use crate::error::TopologyError;
use crate::publisher::Publisher;
use crate::settings::TopologyAtStart;
use crate::settlement::{Settle, SettlementWriter, TagSettlement, patience};
use crate::strays::{Aside, AsideCause};
use crate::topology::{BEFORE_DECLARING_AGAIN, QueueName, Topology};

/// Between two tries to subscribe, or to set a message aside, when the first did not work.
const PAUSE: Duration = Duration::from_millis(500);
/// How long a close waits for sources to end, and then for what is queued to be written.
const FLUSH: Duration = Duration::from_secs(2);

/// A message as it came, for decoding.
pub(crate) struct Incoming {
    pub routing_key: String,
    pub properties: BasicProperties,
    pub body: Bytes,
}

/// How messages of one queue are read.
pub(crate) trait Reading: Send + Sync + 'static {
    type Message: Send + 'static;

    /// `Err` says why nobody can read it.
    fn decode(&self, incoming: Incoming) -> Result<Self::Message, String>;

    /// Called when a message has arrived, before it is handed out.
    fn track(&self, _message: &Self::Message, ticket: LeaseTicket) -> LeaseTicket {
        ticket
    }
}

/// What every source of an engine shares.
pub(crate) struct Consuming {
    pub topology: Arc<Topology>,
    pub at_start: TopologyAtStart,
    pub publisher: Arc<Publisher>,
    renew_idle: Duration,
    link: watch::Receiver<LinkState>,
    closing: CancellationToken,
    sources: TaskTracker,
    /// Cancelled when the last settlement that has to be written was asked for.
    writing_ends: CancellationToken,
    writers: TaskTracker,
}

impl Consuming {
    pub fn new(
        topology: Arc<Topology>,
        at_start: TopologyAtStart,
        renew_idle: Duration,
        publisher: Arc<Publisher>,
        link: watch::Receiver<LinkState>,
    ) -> Self {
        Consuming {
            topology,
            at_start,
            publisher,
            renew_idle,
            link,
            closing: CancellationToken::new(),
            sources: TaskTracker::new(),
            writing_ends: CancellationToken::new(),
            writers: TaskTracker::new(),
        }
    }

    pub fn is_closed(&self) -> bool {
        self.closing.is_cancelled()
    }

    /// Begins to consume.
    pub fn open<R: Reading>(
        self: &Arc<Self>,
        queue: QueueName,
        prefetch: u16,
        reading: R,
    ) -> Result<Source<R::Message>, QueueError> {
        if self.is_closed() {
            return Err(QueueError::Closed);
        }
        // A prefetch of zero would mean without limit.
        let prefetch = prefetch.max(1);
        let (hand_out, taken) = mpsc::channel(usize::from(prefetch));
        let ending = self.closing.child_token();
        let subscriber = Subscriber {
            shared: Arc::clone(self),
            queue,
            prefetch,
            reading,
            hand_out,
            ending: ending.clone(),
        };
        self.sources.spawn(subscriber.run());
        Ok(Source { taken, closing: self.closing.clone(), _ending: ending.drop_guard() })
    }

    /// Runs what settles a lease, and has to be done before the channels are closed.
    pub fn finish_before_close(&self, runtime: &Handle, task: impl Future<Output = ()> + Send + 'static) {
        self.sources.spawn_on(task, runtime);
    }

    /// Ends all sources and writes the settlements that were asked for.
    pub async fn close(&self) {
        self.closing.cancel();
        self.sources.close();
        if tokio::time::timeout(FLUSH, self.sources.wait()).await.is_err() {
            tracing::warn!("a source did not end in time");
        }
        self.writing_ends.cancel();
        self.writers.close();
        if tokio::time::timeout(FLUSH, self.writers.wait()).await.is_err() {
            tracing::warn!("settlements were not written in time; their messages come again");
        }
    }
}

/// A lease, and whether the channel that it came over still works.
pub(crate) struct Taken<T> {
    pub lease: Lease<T>,
    pub is_current: Arc<AtomicBool>,
}

impl<T> Taken<T> {
    /// The lease, unless its channel has ended: then its message comes again, and would be worked on twice.
    pub fn into_current(self) -> Option<Lease<T>> {
        self.is_current.load(Ordering::Acquire).then_some(self.lease)
    }
}

/// The receiving end. Dropping it cancels the consumer; leases that are out can still be settled.
pub(crate) struct Source<T> {
    taken: mpsc::Receiver<Taken<T>>,
    closing: CancellationToken,
    _ending: DropGuard,
}

impl<T> Source<T> {
    /// Waits through broken connections; safe to cancel.
    pub async fn next(&mut self) -> Result<Lease<T>, QueueError> {
        loop {
            if let Some(lease) = self.next_taken().await?.into_current() {
                return Ok(lease);
            }
        }
    }

    /// As [`Source::next`], for who hands out a message in parts.
    pub async fn next_taken(&mut self) -> Result<Taken<T>, QueueError> {
        tokio::select! {
            biased;
            () = self.closing.cancelled() => Err(QueueError::Closed),
            taken = self.taken.recv() => taken.ok_or(QueueError::Closed),
        }
    }
}

struct Subscriber<R: Reading> {
    shared: Arc<Consuming>,
    queue: QueueName,
    prefetch: u16,
    reading: R,
    hand_out: mpsc::Sender<Taken<R::Message>>,
    ending: CancellationToken,
}

/// One consumer on one channel.
struct Subscription {
    consumer: Consumer,
    channel: lapin::Channel,
    settle: mpsc::UnboundedSender<Settle>,
    is_current: Arc<AtomicBool>,
}

impl Subscription {
    /// Leases that are not settled: each holds a sender, and so do we.
    fn in_hand(&self) -> usize {
        self.settle.strong_count() - 1
    }
}

impl<R: Reading> Subscriber<R> {
    async fn run(self) {
        let mut link = self.shared.link.clone();
        while let Some(Some(live)) = self.ending.run_until_cancelled(wait_until_up(&mut link)).await {
            match self.ending.run_until_cancelled(self.subscribe(&live)).await {
                None => break,
                Some(Ok(subscription)) => {
                    self.take_all(&live, subscription).await;
                }
                Some(Err(error)) => {
                    let queue = self.name();
                    tracing::warn!(queue, %error, "cannot consume; trying again");
                    self.ending.run_until_cancelled(self.mend(&live, &error)).await;
                    self.pause().await;
                }
            }
        }
    }

    fn name(&self) -> String {
        self.shared.topology.queue(self.queue)
    }

    async fn pause(&self) {
        self.ending.run_until_cancelled(tokio::time::sleep(PAUSE)).await;
    }

    /// A queue that is missing is declared again, where that is ours to do; a connection that does not answer is
    /// replaced.
    async fn mend(&self, live: &Live, error: &TopologyError) {
        match (error, self.shared.at_start) {
            (TopologyError::Missing(_), TopologyAtStart::Declare) => {
                tokio::time::sleep(BEFORE_DECLARING_AGAIN).await;
                if let Err(error) = self.shared.topology.declare(live).await {
                    tracing::error!(%error, "cannot declare the broker's objects again");
                }
            }
            (TopologyError::NoAnswer(_), _) => live.give_up("a subscription was not answered in time"),
            (
                TopologyError::Missing(_)
                | TopologyError::Mismatch(_)
                | TopologyError::Failed(_)
                | TopologyError::Stumbled(_),
                _,
            ) => {}
        }
    }

    async fn subscribe(&self, live: &Arc<Live>) -> Result<Subscription, TopologyError> {
        let channel = live.open_channel().await?;
        live.answer(channel.basic_qos(self.prefetch, BasicQosOptions { global: false })).await?;
        let (settle, requests) = mpsc::unbounded_channel();
        let options = BasicConsumeOptions::default();
        let queue = self.name();
        let consuming =
            channel.basic_consume(queue.as_str().into(), "".into(), options, FieldTable::default());
        let consumer = live.answer(consuming).await?;
        let writer = SettlementWriter {
            channel: channel.clone(),
            live: Arc::clone(live),
            queue,
            requests,
            patience: patience(self.prefetch),
            closing: self.shared.writing_ends.clone(),
        };
        self.shared.writers.spawn(writer.run());
        Ok(Subscription { consumer, channel, settle, is_current: Arc::new(AtomicBool::new(true)) })
    }

    /// Hands out messages until the subscription or this source ends.
    async fn take_all(&self, live: &Live, mut subscription: Subscription) {
        let mut look = tokio::time::interval(self.shared.renew_idle);
        look.reset();
        let mut was_busy = true;
        loop {
            let delivery = tokio::select! {
                biased;
                () = self.ending.cancelled() => return self.cancel(live, subscription).await,
                () = self.hand_out.closed() => return self.cancel(live, subscription).await,
                () = live.ended() => break,
                delivery = subscription.consumer.next() => delivery,
                _ = look.tick() => {
                    // A quorum queue that was deleted and at once declared again by somebody leaves its
                    // consumers without a word, and hands messages to them that never arrive. Nothing tells
                    // this from an idle queue, so an idle subscription is replaced now and then; closing its
                    // channel frees what is stuck.
                    if !was_busy && subscription.in_hand() == 0 {
                        return self.cancel(live, subscription).await;
                    }
                    was_busy = false;
                    continue;
                }
            };
            was_busy = true;
            match delivery {
                Some(Ok(delivery)) => {
                    if !self.take(live, &subscription, delivery).await {
                        if live.has_ended() {
                            break;
                        }
                        // Leases may still be out, which keep the channel: what it has buffered is given back.
                        return self.cancel(live, subscription).await;
                    }
                }
                Some(Err(error)) => {
                    tracing::warn!(queue = self.name(), %error, "the channel of a consumer ended");
                    subscription.is_current.store(false, Ordering::Release);
                    break;
                }
                None => {
                    tracing::warn!(queue = self.name(), "the broker cancelled a consumer");
                    break;
                }
            }
        }
        // A consumer that the broker cancelled leaves a channel that works: leases in hand can be settled on
        // it, so what was handed out stays current.
        if live.has_ended() || !subscription.channel.status().connected() {
            subscription.is_current.store(false, Ordering::Release);
        }
    }

    /// `false` once the subscription is of no more use.
    async fn take(&self, live: &Live, subscription: &Subscription, delivery: Delivery) -> bool {
        let Delivery { delivery_tag, routing_key, redelivered, properties, data, .. } = delivery;
        let settlement = TagSettlement { tag: delivery_tag, requests: subscription.settle.clone() };
        let ticket = LeaseTicket::new(Box::new(settlement));
        let body = Bytes::from(data);
        let incoming = Incoming { routing_key: routing_key.to_string(), properties, body: body.clone() };
        match self.reading.decode(incoming) {
            Ok(message) => {
                let ticket = self.reading.track(&message, ticket);
                let lease = Lease { message, redelivered, ticket };
                let taken = Taken { lease, is_current: Arc::clone(&subscription.is_current) };
                // Room for a whole prefetch, so this waits only for messages of an earlier channel.
                tokio::select! {
                    sent = self.hand_out.send(taken) => sent.is_ok(),
                    () = live.ended() => false,
                }
            }
            Err(reason) => self.set_aside(live, &reason, body, ticket).await,
        }
    }

    /// Confirmed in the dead queue first, then acknowledged. As long as the first cannot be had, nothing else is
    /// handed out from this queue.
    async fn set_aside(&self, live: &Live, reason: &str, body: Bytes, ticket: LeaseTicket) -> bool {
        let queue = self.name();
        tracing::error!(queue, reason, bytes = body.len(), "setting aside a message that cannot be read");
        while !live.has_ended() && !self.ending.is_cancelled() {
            let message =
                Aside { origin: &queue, cause: AsideCause::Unread, reason }.message(QueueName::Dead, &body);
            match self.shared.publisher.publish(vec![message]).await {
                Ok(()) => {
                    ticket.acknowledge();
                    return true;
                }
                Err(error) => {
                    tracing::warn!(queue, %error, "cannot set a message aside; trying again");
                    self.pause().await;
                }
            }
        }
        false
    }

    /// Takes no more, and gives back what was prefetched and not handed out. The channel stays until every
    /// lease that is out was settled.
    async fn cancel(&self, live: &Live, mut subscription: Subscription) {
        let tag = subscription.consumer.tag();
        let cancelling = subscription.channel.basic_cancel(tag, BasicCancelOptions::default());
        if let Err(error) = live.answer(cancelling).await {
            tracing::debug!(%error, "the consumer had ended before it was cancelled");
            return;
        }
        let drain = async {
            while let Some(Ok(delivery)) = subscription.consumer.next().await {
                subscription.settle.send(Settle::GiveBack(delivery.delivery_tag)).ok();
            }
        };
        if tokio::time::timeout(FLUSH, drain).await.is_err() {
            tracing::debug!("a cancelled consumer did not end in time");
        }
    }
}
