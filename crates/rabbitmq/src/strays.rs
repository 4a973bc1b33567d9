//! What fell off the ordinary path: the dead queue, the catch-all queue, and what is kept as unreadable.
//!
//! Where a message was meant to go and why it did not is told by our own headers, if a reader of ours set it aside,
//! else by those that the broker adds when it dead-letters. A message is published anew each time it moves, so that
//! no header of the broker goes with it: a copied `x-death` would be taken for a cycle.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use lapin::BasicProperties;
use lapin::options::{BasicAckOptions, BasicGetOptions};
use lapin::types::{AMQPValue, FieldTable};
use postrider_contract::ports::{
    Lease, ProducerMessage, PutOffQueue, QueueError, Refusal, RefusedQueue, Stray, StrayCause, StrayContents,
    StrayPlace, StraySource, Strays,
};

use crate::connection::Link;
use crate::consumer::{Consuming, Incoming, Reading, Source};
use crate::intake::{PutOff, Refused, tenant_in};
use crate::publisher::{Destination, Message, Publisher, long_text};
use crate::topology::{QueueName, Topology, close, look_at_queue};

const REASON: &str = "postrider-reason";
const ORIGIN: &str = "postrider-queue";
const CAUSE: &str = "postrider-cause";
/// What the broker writes when a queue's delivery limit is reached.
const DELIVERY_LIMIT: &str = "delivery_limit";
/// The problem that a producer's message is refused with if nobody could ever settle it.
const NEVER_SETTLED: &str = "internal";

/// Why a message was set aside, as its headers say it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AsideCause {
    Unread,
    GivenOutTooOften,
}

impl AsideCause {
    fn word(self) -> &'static str {
        match self {
            AsideCause::Unread => "unread",
            AsideCause::GivenOutTooOften => "given_out_too_often",
        }
    }
}

/// A message on its way aside.
pub(crate) struct Aside<'a> {
    /// The queue it was meant for.
    pub origin: &'a str,
    pub cause: AsideCause,
    pub reason: &'a str,
}

impl Aside<'_> {
    pub fn message(&self, to: QueueName, body: &Bytes) -> Message {
        let mut headers = FieldTable::default();
        headers.insert(REASON.into(), long_text(self.reason));
        headers.insert(ORIGIN.into(), long_text(self.origin));
        headers.insert(CAUSE.into(), long_text(self.cause.word()));
        let mut message = Message::new(Destination::Queue(to), body.clone());
        message.properties = message.properties.with_headers(headers);
        message
    }
}

pub(crate) struct RabbitStrays {
    consuming: Arc<Consuming>,
    link: Arc<Link>,
}

impl RabbitStrays {
    pub fn new(consuming: Arc<Consuming>, link: Arc<Link>) -> Self {
        RabbitStrays { consuming, link }
    }

    /// Each is confirmed in the dead queue before it is acknowledged where it was. Only as many as there were at the
    /// beginning: whoever reads the dead queue may put them back meanwhile.
    async fn put_back(&self) -> Result<u64, QueueError> {
        let live = self.link.live().map_err(|reason| QueueError::Unavailable { reason })?;
        let name = self.consuming.topology.queue(QueueName::Unreadable);
        let channel = live.open_channel().await?;
        let count = look_at_queue(&live, &channel, &name).await?.message_count();
        let mut moved = 0;
        for _ in 0..count {
            let getting = channel.basic_get(name.as_str().into(), BasicGetOptions { no_ack: false });
            let Some(found) = live.answer(getting).await? else { break };
            let tag = found.delivery.delivery_tag;
            let headers = found.delivery.properties.headers().clone().unwrap_or_default();
            let mut message = Message::new(Destination::Queue(QueueName::Dead), found.delivery.data.into());
            message.properties = message.properties.with_headers(own_headers(&headers));
            let published = self.consuming.publisher.publish(vec![message]).await;
            published.map_err(|error| QueueError::Unavailable { reason: error.to_string() })?;
            let acknowledging = channel.basic_ack(tag, BasicAckOptions { multiple: false });
            live.answer(acknowledging).await?;
            moved += 1;
        }
        close(&channel).await;
        Ok(moved)
    }
}

#[async_trait]
impl Strays for RabbitStrays {
    async fn gather(&self, place: StrayPlace, prefetch: u16) -> Result<Box<dyn StraySource>, QueueError> {
        let queue = match place {
            StrayPlace::Dead => QueueName::Dead,
            StrayPlace::CatchAll => QueueName::CatchAll,
        };
        let (topology, publisher) =
            (Arc::clone(&self.consuming.topology), Arc::clone(&self.consuming.publisher));
        let reading = ReadStray { place, topology, publisher };
        Ok(Box::new(StrayReader(self.consuming.open(queue, prefetch, reading)?)))
    }

    async fn keep(&self, stray: &Stray) -> Result<(), QueueError> {
        let publisher = &self.consuming.publisher;
        let reason = match &stray.contents {
            // What it came from was put off, and the way back from there was missing. Whoever reads it has that declared
            // again.
            StrayContents::Produced(message) if stray.cause == StrayCause::Unroutable => {
                return PutOff(Arc::clone(publisher)).put_off(message).await;
            }
            StrayContents::Produced(message) => {
                let detail = "it was given out too often without being settled".to_owned();
                let refusal = Refusal { code: NEVER_SETTLED.to_owned(), detail };
                return Refused(Arc::clone(publisher)).refuse(message, &refusal).await;
            }
            StrayContents::Unreadable(error) => error.to_string(),
            StrayContents::Work(_) | StrayContents::Journal(_) => "it could not be put back".to_owned(),
        };
        let cause = match &stray.cause {
            StrayCause::GivenOutTooOften => AsideCause::GivenOutTooOften,
            StrayCause::Unroutable | StrayCause::SetAside { .. } => AsideCause::Unread,
        };
        let message = Aside { origin: &stray.origin, cause, reason: &reason };
        let published = publisher.publish(vec![message.message(QueueName::Unreadable, &stray.bytes)]).await;
        published.map_err(|error| QueueError::Unavailable { reason: error.to_string() })
    }

    async fn review(&self) -> Result<u64, QueueError> {
        self.put_back().await
    }
}

struct StrayReader(Source<Stray>);

#[async_trait]
impl StraySource for StrayReader {
    async fn next(&mut self) -> Result<Lease<Stray>, QueueError> {
        self.0.next().await
    }
}

/// Reads whatever there is: what cannot be decoded is a stray all the same.
struct ReadStray {
    place: StrayPlace,
    topology: Arc<Topology>,
    publisher: Arc<Publisher>,
}

impl Reading for ReadStray {
    type Message = Stray;

    fn decode(&self, incoming: Incoming) -> Result<Stray, String> {
        let headers = incoming.properties.headers().clone().unwrap_or_default();
        let origin = text_of(&headers, ORIGIN).or_else(|| of_latest_death(&headers, "queue"));
        let origin = origin.unwrap_or_default();
        let cause = match self.place {
            StrayPlace::CatchAll => {
                // A binding is gone. Until it is there again, every retry comes this way.
                self.publisher.declare_again();
                StrayCause::Unroutable
            }
            StrayPlace::Dead => cause_of(&headers),
        };
        let contents = self.contents(&origin, &headers, &incoming);
        Ok(Stray { cause, origin, contents, bytes: incoming.body })
    }
}

impl ReadStray {
    fn contents(&self, origin: &str, headers: &FieldTable, incoming: &Incoming) -> StrayContents {
        let queue = QueueName::ALL.into_iter().find(|queue| self.topology.queue(*queue) == origin);
        match queue {
            Some(QueueName::Events | QueueName::EventsLater) => {
                StrayContents::Produced(produced(headers, incoming))
            }
            Some(QueueName::Journal) => StrayContents::of_journal(&incoming.body),
            Some(
                QueueName::First
                | QueueName::Retry
                | QueueName::RetryLarge
                | QueueName::Release
                | QueueName::Large,
            ) => StrayContents::of_work(&incoming.body),
            // A lane, which is none of these; or somebody put it there by hand.
            None
            | Some(
                QueueName::Dead | QueueName::CatchAll | QueueName::Unreadable | QueueName::EventsRefused,
            ) => StrayContents::recognise(&incoming.body),
        }
    }
}

fn cause_of(headers: &FieldTable) -> StrayCause {
    let own = text_of(headers, CAUSE);
    let by_broker = of_latest_death(headers, "reason");
    if own.as_deref() == Some(AsideCause::GivenOutTooOften.word())
        || by_broker.as_deref() == Some(DELIVERY_LIMIT)
    {
        return StrayCause::GivenOutTooOften;
    }
    StrayCause::SetAside { reason: text_of(headers, REASON).or(by_broker).unwrap_or_default() }
}

/// A producer's message as it was before it was dead-lettered, which changed its routing key.
fn produced(headers: &FieldTable, incoming: &Incoming) -> ProducerMessage {
    let properties: &BasicProperties = &incoming.properties;
    let first = first_routing_key(headers).unwrap_or_else(|| incoming.routing_key.clone());
    let was_put_off = first == QueueName::EventsLater.routing_key();
    ProducerMessage {
        routing_key: tenant_in(headers).filter(|_| was_put_off).unwrap_or(first),
        message_id: properties.message_id().as_ref().map(ToString::to_string),
        content_type: properties.content_type().as_ref().map(ToString::to_string),
        body: incoming.body.clone(),
    }
}

/// Why the broker dead-lettered a message the last time, or where from. The first time is of no use: every retry has left
/// its lane that way.
fn of_latest_death(headers: &FieldTable, field: &str) -> Option<String> {
    let AMQPValue::FieldTable(latest) = deaths(headers)?.first()? else { return None };
    text_of(latest, field)
}

fn first_routing_key(headers: &FieldTable) -> Option<String> {
    let AMQPValue::FieldTable(oldest) = deaths(headers)?.last()? else { return None };
    let AMQPValue::FieldArray(keys) = oldest.inner().get("routing-keys")? else { return None };
    keys.as_slice().first().and_then(read_text)
}

/// The latest first, as the broker keeps them.
fn deaths(headers: &FieldTable) -> Option<&[AMQPValue]> {
    let AMQPValue::FieldArray(deaths) = headers.inner().get("x-death")? else { return None };
    Some(deaths.as_slice())
}

fn text_of(headers: &FieldTable, name: &str) -> Option<String> {
    headers.inner().get(name).and_then(read_text)
}

fn read_text(value: &AMQPValue) -> Option<String> {
    if let AMQPValue::LongString(text) = value { Some(text.to_string()) } else { None }
}

/// Only ours: the broker's stay behind.
fn own_headers(headers: &FieldTable) -> FieldTable {
    let mut own = FieldTable::default();
    for name in [REASON, ORIGIN, CAUSE] {
        if let Some(value) = headers.inner().get(name) {
            own.insert(name.into(), value.clone());
        }
    }
    own
}
