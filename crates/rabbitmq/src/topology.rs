//! What is on the broker: the one place that names queues and exchanges, declares them and takes them down.
//!
//! ```text
//! publish ──▶ publish exchange (direct; no alternate, so that `mandatory` means something)
//!               ├─▶ deliveries.first / .release / .large / .retry / .retry-large     journal      events.refused
//!               ├─▶ lane.<n>ms ───────(TTL, at least once)──▶ due exchange ──▶ deliveries.retry
//!               └─▶ lane-large.<n>ms ─(the same)───────────▶ due exchange ──▶ deliveries.retry-large
//!                                                             └─(alternate)─▶ unrouted exchange ──▶ catch-all
//! delivery limit reached, or unreadable ──▶ dead exchange ──▶ dead ──(status)──▶ put back, or unreadable
//! producers ──▶ <prefix>.events (topic) ──▶ <prefix>.events ──(not acceptable yet)──▶ publish exchange
//!                                             ▲                                             ▼
//!                                             └──── due exchange ◀──(TTL, at least once)── events.later
//! ```
//!
//! Every queue is a quorum queue with `reject-publish`, without which at-least-once dead-lettering silently
//! becomes at-most-once. The exchange that a queue dead-letters to is declared, and its target bound, before the
//! queue. Names carry a version, because arguments cannot be changed in place; the two names producers use are
//! fixed.

use std::time::Duration;

use lapin::options::{
    ExchangeDeclareOptions, ExchangeDeleteOptions, QueueBindOptions, QueueDeclareOptions, QueueDeleteOptions,
};
use lapin::types::{AMQPValue, FieldTable, LongString};
use lapin::{Channel, ExchangeKind, Queue};

use crate::connection::Live;
use crate::error::TopologyError;
use crate::lane::{Lane, LaneQueue, Load};
use crate::settings::QueueLimits;

/// How often a message may come back unsettled before it is taken for one that kills whoever takes it. Every
/// lost connection and, before 4.3, every give-back counts, so this leaves room for a bad day.
const DELIVERY_LIMIT: i64 = 50;
/// For queues whose messages operators look at and put back. From 4.0 a queue without a limit has one of 20 and
/// drops what exceeds it.
const NO_DELIVERY_LIMIT: i64 = 1_000_000;
/// For how long a producer's message is put off. Until it is acceptable a process has to be replaced, or a webhook
/// changed: it does not matter much sooner, and ten thousand that wait go round two thousand times a second.
pub(crate) const PUT_OFF_FOR: Duration = Duration::from_secs(5);
/// The key of what was put off and comes in again. It holds a dot, so that it is no tenant's: a producer who may publish
/// under the key of its tenant alone cannot use it.
pub(crate) const EVENTS_AGAIN: &str = "events.again";
/// How long a queue that was deleted is left alone before it is declared again. The broker tells the consumers of
/// a deleted quorum queue some 30 ms later, and not at all if a queue of that name is there again by then (seen
/// with 3.10.8).
pub(crate) const BEFORE_DECLARING_AGAIN: Duration = Duration::from_secs(1);
/// How long the close of a throw-away channel is waited for.
const CLOSE: Duration = Duration::from_secs(2);

/// The queues other than lanes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum QueueName {
    First,
    Retry,
    /// Retries whose bodies are over 64 KiB, taken with a small prefetch.
    RetryLarge,
    Release,
    Large,
    Journal,
    /// What nobody could read, and what came back too often.
    Dead,
    /// What came out of a lane and found no queue.
    CatchAll,
    /// What status could not read either: kept for people, and for a newer version.
    Unreadable,
    /// What producers publish.
    Events,
    /// What of it cannot be accepted for a while.
    EventsLater,
    EventsRefused,
}

impl QueueName {
    /// In the order of declaration: what others dead-letter to comes first.
    pub const ALL: [QueueName; 12] = [
        QueueName::Dead,
        QueueName::CatchAll,
        QueueName::Unreadable,
        QueueName::Retry,
        QueueName::RetryLarge,
        QueueName::First,
        QueueName::Release,
        QueueName::Large,
        QueueName::Journal,
        QueueName::Events,
        QueueName::EventsLater,
        QueueName::EventsRefused,
    ];

    /// The key under which the publish exchange knows it.
    pub(crate) fn routing_key(self) -> &'static str {
        match self {
            QueueName::First => "first",
            QueueName::Retry => "retry",
            QueueName::RetryLarge => "retry-large",
            QueueName::Release => "release",
            QueueName::Large => "large",
            QueueName::Journal => "journal",
            QueueName::Dead => "dead",
            QueueName::CatchAll => "catch-all",
            QueueName::Unreadable => "unreadable",
            QueueName::Events => "events",
            QueueName::EventsLater => "events.later",
            QueueName::EventsRefused => "events.refused",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ExchangeName {
    Publish,
    Due,
    Dead,
    Unrouted,
    Events,
}

impl ExchangeName {
    /// In the order of declaration: an alternate exchange before the exchange that names it.
    const ALL: [ExchangeName; 5] = [
        ExchangeName::Dead,
        ExchangeName::Unrouted,
        ExchangeName::Due,
        ExchangeName::Publish,
        ExchangeName::Events,
    ];

    fn kind(self) -> ExchangeKind {
        match self {
            ExchangeName::Publish | ExchangeName::Due => ExchangeKind::Direct,
            ExchangeName::Dead | ExchangeName::Unrouted => ExchangeKind::Fanout,
            ExchangeName::Events => ExchangeKind::Topic,
        }
    }
}

/// A queue as it is declared.
pub(crate) struct QueuePlan {
    pub name: String,
    pub arguments: FieldTable,
    /// Exchange and key.
    pub bindings: Vec<(String, &'static str)>,
}

/// An exchange as it is declared.
pub(crate) struct ExchangePlan {
    pub name: String,
    pub kind: ExchangeKind,
    pub arguments: FieldTable,
}

/// All names and arguments of one installation.
#[derive(Clone, Debug)]
pub struct Topology {
    prefix: String,
    limits: QueueLimits,
}

impl Topology {
    #[must_use]
    pub fn new(prefix: &str, limits: QueueLimits) -> Self {
        Topology { prefix: prefix.to_owned(), limits }
    }

    /// The queue's name on the broker.
    #[must_use]
    pub fn queue(&self, queue: QueueName) -> String {
        let prefix = &self.prefix;
        match queue {
            QueueName::First
            | QueueName::Retry
            | QueueName::RetryLarge
            | QueueName::Release
            | QueueName::Large => {
                format!("{prefix}.deliveries.{}.v1", queue.routing_key())
            }
            QueueName::Journal
            | QueueName::Dead
            | QueueName::CatchAll
            | QueueName::Unreadable
            | QueueName::EventsLater => {
                format!("{prefix}.{}.v1", queue.routing_key())
            }
            QueueName::Events | QueueName::EventsRefused => format!("{prefix}.{}", queue.routing_key()),
        }
    }

    /// The lane's name on the broker.
    #[must_use]
    pub fn lane(&self, lane: Lane) -> String {
        self.lane_queue(LaneQueue { lane, load: Load::Small })
    }

    pub(crate) fn lane_queue(&self, lane: LaneQueue) -> String {
        format!("{}.{}.v1", self.prefix, Self::lane_key(lane))
    }

    pub(crate) fn lane_key(LaneQueue { lane, load }: LaneQueue) -> String {
        match load {
            Load::Small => format!("lane.{}ms", lane.millis()),
            Load::Large => format!("lane-large.{}ms", lane.millis()),
        }
    }

    /// The exchange that everything of ours is published to.
    pub(crate) fn publish_exchange(&self) -> String {
        self.exchange(ExchangeName::Publish)
    }

    fn exchange(&self, exchange: ExchangeName) -> String {
        let prefix = &self.prefix;
        match exchange {
            ExchangeName::Publish => format!("{prefix}.publish.v1"),
            ExchangeName::Due => format!("{prefix}.due.v1"),
            ExchangeName::Dead => format!("{prefix}.dead.v1"),
            ExchangeName::Unrouted => format!("{prefix}.unrouted.v1"),
            ExchangeName::Events => format!("{prefix}.events"),
        }
    }

    pub(crate) fn exchange_plans(&self) -> Vec<ExchangePlan> {
        ExchangeName::ALL
            .into_iter()
            .map(|exchange| {
                let mut arguments = FieldTable::default();
                match exchange {
                    ExchangeName::Due => {
                        let unrouted = self.exchange(ExchangeName::Unrouted);
                        arguments.insert("alternate-exchange".into(), text(unrouted));
                    }
                    ExchangeName::Publish
                    | ExchangeName::Dead
                    | ExchangeName::Unrouted
                    | ExchangeName::Events => {}
                }
                ExchangePlan { name: self.exchange(exchange), kind: exchange.kind(), arguments }
            })
            .collect()
    }

    pub(crate) fn queue_plan(&self, queue: QueueName) -> QueuePlan {
        let mut arguments = self.bounded_quorum();
        let by_key = (self.publish_exchange(), queue.routing_key());
        let bindings = match queue {
            QueueName::Dead => vec![(self.exchange(ExchangeName::Dead), ""), by_key],
            QueueName::CatchAll => vec![(self.exchange(ExchangeName::Unrouted), "")],
            QueueName::Retry | QueueName::RetryLarge => {
                vec![(self.exchange(ExchangeName::Due), queue.routing_key()), by_key]
            }
            QueueName::Events => vec![
                (self.exchange(ExchangeName::Events), "#"),
                (self.exchange(ExchangeName::Due), EVENTS_AGAIN),
            ],
            QueueName::First
            | QueueName::Release
            | QueueName::Large
            | QueueName::Journal
            | QueueName::Unreadable
            | QueueName::EventsLater
            | QueueName::EventsRefused => vec![by_key],
        };
        match queue {
            QueueName::Dead | QueueName::CatchAll | QueueName::Unreadable | QueueName::EventsRefused => {
                arguments.insert("x-delivery-limit".into(), NO_DELIVERY_LIMIT.into());
            }
            // Kept in hand for as long as the store is away, however often the broker takes them back meanwhile: a
            // record may be the only copy of a delivery. What nobody can read is set aside by its reader.
            QueueName::Journal | QueueName::Events => {
                arguments.insert("x-delivery-limit".into(), NO_DELIVERY_LIMIT.into());
                self.dead_letter(&mut arguments, ExchangeName::Dead, queue.routing_key());
            }
            QueueName::EventsLater => {
                arguments.insert("x-delivery-limit".into(), NO_DELIVERY_LIMIT.into());
                arguments.insert("x-message-ttl".into(), millis(PUT_OFF_FOR).into());
                self.dead_letter(&mut arguments, ExchangeName::Due, EVENTS_AGAIN);
            }
            QueueName::First
            | QueueName::Retry
            | QueueName::RetryLarge
            | QueueName::Release
            | QueueName::Large => {
                arguments.insert("x-delivery-limit".into(), DELIVERY_LIMIT.into());
                self.dead_letter(&mut arguments, ExchangeName::Dead, queue.routing_key());
            }
        }
        QueuePlan { name: self.queue(queue), arguments, bindings }
    }

    pub(crate) fn lane_plan(&self, lane: LaneQueue) -> QueuePlan {
        let mut arguments = self.bounded_quorum();
        arguments.insert("x-message-ttl".into(), millis(lane.lane.delay()).into());
        let target = match lane.load {
            Load::Small => QueueName::Retry,
            Load::Large => QueueName::RetryLarge,
        };
        self.dead_letter(&mut arguments, ExchangeName::Due, target.routing_key());
        QueuePlan { name: self.lane_queue(lane), arguments, bindings: Vec::new() }
    }

    fn bounded_quorum(&self) -> FieldTable {
        let mut arguments = FieldTable::default();
        arguments.insert("x-queue-type".into(), text("quorum"));
        arguments.insert("x-overflow".into(), text("reject-publish"));
        arguments.insert("x-max-length".into(), i64::from(self.limits.messages).into());
        let bytes = i64::try_from(self.limits.bytes).unwrap_or(i64::MAX);
        arguments.insert("x-max-length-bytes".into(), bytes.into());
        arguments
    }

    fn dead_letter(&self, arguments: &mut FieldTable, exchange: ExchangeName, key: &str) {
        arguments.insert("x-dead-letter-exchange".into(), text(self.exchange(exchange)));
        arguments.insert("x-dead-letter-routing-key".into(), text(key));
        arguments.insert("x-dead-letter-strategy".into(), text("at-least-once"));
    }

    /// Declares everything but the lanes; what is there already and equal stays as it is.
    pub(crate) async fn declare(&self, live: &Live) -> Result<(), TopologyError> {
        let channel = live.open_channel().await?;
        for plan in self.exchange_plans() {
            declare_exchange(live, &channel, plan).await?;
        }
        for queue in QueueName::ALL {
            let plan = self.queue_plan(queue);
            declare_queue(live, &channel, &plan.name, plan.arguments).await?;
            for (exchange, key) in plan.bindings {
                bind(live, &channel, &plan.name, &exchange, key).await?;
            }
        }
        close(&channel).await;
        Ok(())
    }

    /// Declares one lane and binds it. The exchange it dead-letters to is there by then: nothing is published
    /// before [`Topology::declare`].
    pub(crate) async fn declare_lane(&self, live: &Live, lane: LaneQueue) -> Result<(), TopologyError> {
        let channel = live.open_channel().await?;
        let plan = self.lane_plan(lane);
        declare_queue(live, &channel, &plan.name, plan.arguments).await?;
        bind(live, &channel, &plan.name, &self.publish_exchange(), &Self::lane_key(lane)).await?;
        close(&channel).await;
        Ok(())
    }

    /// Deletes everything with all messages in it, lanes included. What is not there is not missed.
    pub(crate) async fn tear_down(&self, live: &Live) -> Result<(), TopologyError> {
        let channel = live.open_channel().await?;
        let lanes = LaneQueue::all().map(|lane| self.lane_queue(lane));
        for name in lanes.chain(QueueName::ALL.map(|queue| self.queue(queue))) {
            live.answer(channel.queue_delete(name.into(), QueueDeleteOptions::default())).await?;
        }
        for exchange in ExchangeName::ALL {
            let name = self.exchange(exchange);
            live.answer(channel.exchange_delete(name.into(), ExchangeDeleteOptions::default())).await?;
        }
        close(&channel).await;
        Ok(())
    }

    /// What [`Topology::declare`] declares, one object to a line, for people to read.
    #[must_use]
    pub fn print(&self) -> String {
        let mut lines = Vec::new();
        for plan in self.exchange_plans() {
            lines.push(format!(
                "exchange {} ({}){}",
                plan.name,
                kind_name(&plan.kind),
                show(&plan.arguments)
            ));
        }
        for queue in QueueName::ALL {
            let plan = self.queue_plan(queue);
            lines.push(format!("queue {}{}", plan.name, show(&plan.arguments)));
            lines.extend(
                plan.bindings.iter().map(|(exchange, key)| format!("  bound to {exchange} by {key:?}")),
            );
        }
        for lane in LaneQueue::all() {
            lines.push(format!("lane {} (on first use)", self.lane_queue(lane)));
        }
        for load in Load::ALL {
            lines.extend(Lane::all().next().map(|lane| {
                let plan = self.lane_plan(LaneQueue { lane, load });
                format!("every lane of its kind, as {}{}", plan.name, show(&plan.arguments))
            }));
        }
        lines.join("\n") + "\n"
    }
}

pub(crate) async fn declare_exchange(
    live: &Live,
    channel: &Channel,
    plan: ExchangePlan,
) -> Result<(), TopologyError> {
    let options = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
    live.answer(channel.exchange_declare(plan.name.as_str().into(), plan.kind, options, plan.arguments)).await
}

pub(crate) async fn declare_queue(
    live: &Live,
    channel: &Channel,
    name: &str,
    arguments: FieldTable,
) -> Result<(), TopologyError> {
    let options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    live.answer(channel.queue_declare(name.into(), options, arguments)).await?;
    Ok(())
}

/// Looks at a queue that is said to be there: how many messages are ready, how many consumers it has. On a channel
/// whose other use nobody needs: the broker closes it if there is no such queue.
pub(crate) async fn look_at_queue(
    live: &Live,
    channel: &Channel,
    name: &str,
) -> Result<Queue, TopologyError> {
    let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
    live.answer(channel.queue_declare(name.into(), options, FieldTable::default())).await
}

async fn bind(
    live: &Live,
    channel: &Channel,
    queue: &str,
    exchange: &str,
    key: &str,
) -> Result<(), TopologyError> {
    let (options, arguments) = (QueueBindOptions::default(), FieldTable::default());
    live.answer(channel.queue_bind(queue.into(), exchange.into(), key.into(), options, arguments)).await
}

/// Closes a throw-away channel. That it fails can only mean that it is closed, or about to be with its connection.
pub(crate) async fn close(channel: &Channel) {
    match tokio::time::timeout(CLOSE, channel.close(200, "done".into())).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "a throw-away channel was closed already"),
        Err(_) => tracing::debug!("the broker did not answer the close of a channel"),
    }
}

fn millis(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

fn text(value: impl Into<String>) -> AMQPValue {
    AMQPValue::LongString(LongString::from(value.into()))
}

fn kind_name(kind: &ExchangeKind) -> String {
    format!("{kind:?}").to_lowercase()
}

fn show(arguments: &FieldTable) -> String {
    let shown =
        arguments.inner().iter().map(|(name, value)| format!(" {}={}", name.as_str(), show_value(value)));
    shown.collect()
}

fn show_value(value: &AMQPValue) -> String {
    if let AMQPValue::LongString(text) = value {
        return text.to_string();
    }
    value.as_long_long_int().map_or_else(|| format!("{value:?}"), |number| number.to_string())
}

#[cfg(test)]
mod tests;
