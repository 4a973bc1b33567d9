//! The publisher: everything that is published goes through here.
//!
//! Promises: persistent, mandatory, confirmed; never more than a window of messages in flight on a line; an
//! answer within the confirm time-out, whatever the broker does. First tries and releases, retries, the
//! journal, and what is set aside have a channel each, because confirms are read in order on a channel and a
//! slow lane must not hold up a first try.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use lapin::BasicProperties;
use lapin::types::{AMQPValue, LongString};
use postrider_contract::clock::{Clock, Timestamp};
use postrider_contract::ports::PublishError;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use crate::connection::{LinkState, Live, wait_until_up};
use crate::error::TopologyError;
use crate::lane::LaneQueue;
use crate::lanes::{Avoided, Lanes};
use crate::line::{Line, OnReturn, Outgoing, places_of};
use crate::probe::Probe;
use crate::settings::{Timings, TopologyAtStart};
use crate::tally::Tally;
use crate::topology::{BEFORE_DECLARING_AGAIN, PUT_OFF_FOR, QueueName, Topology};

/// The longest body that is published: what a broker of version 4 takes at most. A longer one would close the
/// channel and put everything in flight on it in doubt.
const LONGEST_BODY: usize = 16 * 1024 * 1024 - 64 * 1024;
/// Kept by the broker on disk.
const PERSISTENT: u8 = 2;
const OCTETS: &str = "application/octet-stream";

/// Where a message is to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Destination {
    Queue(QueueName),
    Lane(LaneQueue),
}

impl Destination {
    /// How long what goes there stays there; `None` where it waits until it is read.
    ///
    /// The queue is declared with the same. But a broker of version 3.10 tells a new queue only after others can publish
    /// into it, and never if the channel that declares it ends just then; a message that came before has no time to live,
    /// and stays at the head of the queue for ever, with everything behind it. So each carries its own.
    fn time_to_live(self) -> Option<Duration> {
        match self {
            Destination::Lane(lane) => Some(lane.lane.delay()),
            Destination::Queue(QueueName::EventsLater) => Some(PUT_OFF_FOR),
            Destination::Queue(
                QueueName::First
                | QueueName::Retry
                | QueueName::RetryLarge
                | QueueName::Release
                | QueueName::Large
                | QueueName::Journal
                | QueueName::Dead
                | QueueName::CatchAll
                | QueueName::Unreadable
                | QueueName::Events
                | QueueName::EventsRefused,
            ) => None,
        }
    }
}

/// What is published.
pub(crate) struct Message {
    pub destination: Destination,
    pub body: Bytes,
    pub properties: BasicProperties,
}

impl Message {
    /// Bytes of ours, with no properties but those that every message has.
    pub fn new(destination: Destination, body: Bytes) -> Self {
        let properties = BasicProperties::default().with_content_type(OCTETS.into());
        Message { destination, body, properties }
    }
}

/// The open lines of one connection.
struct Lines {
    live: Arc<Live>,
    work: Line,
    retry: Line,
    journal: Line,
    aside: Line,
    lanes: Arc<Lanes>,
}

#[derive(Clone)]
enum State {
    Open(Arc<Lines>),
    Down { reason: String },
}

pub(crate) struct Publisher {
    topology: Arc<Topology>,
    clock: Arc<dyn Clock>,
    confirm: Duration,
    avoided: Avoided,
    state: watch::Receiver<State>,
    declare_again: Arc<Notify>,
    /// Of first tries and large ones, in messages.
    published: AtomicU64,
}

impl Publisher {
    /// Opens the lines now, and again on every later connection.
    pub async fn start(
        topology: Arc<Topology>,
        clock: Arc<dyn Clock>,
        at_start: TopologyAtStart,
        timings: Timings,
        mut link: watch::Receiver<LinkState>,
    ) -> Self {
        let (announce, mut state) = watch::channel(State::Down { reason: "not connected yet".to_owned() });
        let declare_again = Arc::new(Notify::new());
        let avoided = Avoided::default();
        let keeper = Keeper {
            topology: Arc::clone(&topology),
            at_start,
            confirm: timings.confirm,
            avoided: avoided.clone(),
            announce,
            declare_again: Arc::clone(&declare_again),
        };
        tokio::spawn(async move {
            while let Some(live) = wait_until_up(&mut link).await {
                keeper.serve(live).await;
            }
            keeper.announce.send_replace(State::Down { reason: "closed".to_owned() });
        });
        // So that a publish right after the start is not refused; if it cannot be, the reason is in the state.
        let opened = state.wait_for(|state| matches!(state, State::Open(_)));
        if tokio::time::timeout(timings.connect, opened).await.is_err() {
            tracing::warn!("the publishing channels are not open yet");
        }
        let published = AtomicU64::new(0);
        Publisher { topology, clock, confirm: timings.confirm, avoided, state, declare_again, published }
    }

    /// Something is missing on the broker: everything is declared again soon, where that is ours to do. Asked any
    /// number of times meanwhile, it is done once.
    pub fn declare_again(&self) {
        self.declare_again.notify_one();
    }

    /// `Err` with the reason while a publish would not be confirmed.
    pub fn check_writable(&self) -> Result<(), String> {
        self.lines().map(|_| ())
    }

    fn lines(&self) -> Result<Arc<Lines>, String> {
        let lines = match &*self.state.borrow() {
            State::Open(lines) => Arc::clone(lines),
            State::Down { reason } => return Err(reason.clone()),
        };
        if lines.live.has_ended() {
            return Err("the connection to the broker ended".to_owned());
        }
        if lines.live.is_blocked() {
            return Err("the broker takes no publishes: it is short of memory or disk".to_owned());
        }
        Ok(lines)
    }

    /// Sends all, then waits for all confirms.
    pub async fn publish(&self, mut messages: Vec<Message>) -> Result<(), PublishError> {
        let lines = self.lines().map_err(|reason| PublishError::Refused { reason })?;
        if let Some(message) = messages.iter().find(|message| message.body.len() > LONGEST_BODY) {
            let reason = format!("a message of {} bytes is longer than {LONGEST_BODY}", message.body.len());
            return Err(PublishError::Refused { reason });
        }
        let deadline = Instant::now() + self.confirm;
        // Nothing was published yet, so whatever fails here is a refusal.
        for message in &mut messages {
            match &mut message.destination {
                Destination::Queue(_) => {}
                Destination::Lane(lane) => {
                    let ready = lines.lanes.ready(&lines.live, *lane, deadline).await;
                    *lane = ready.map_err(|reason| PublishError::Refused { reason })?;
                }
            }
        }
        let tally = Arc::new(Tally::default());
        let published_at = self.clock.now();
        for message in messages {
            let line = lines.line(message.destination);
            let places = Arc::clone(&line.window).acquire_many_owned(places_of(message.body.len()));
            let permit = tokio::time::timeout_at(deadline, places).await;
            let Ok(Ok(permit)) = permit else {
                // One more ticket, dropped unwritten: what was sent before decides between refused and in doubt.
                drop(tally.ticket());
                break;
            };
            if matches!(message.destination, Destination::Queue(QueueName::First | QueueName::Large)) {
                self.published.fetch_add(1, Ordering::Relaxed);
            }
            let outgoing = Outgoing {
                destination: message.destination,
                exchange: self.topology.publish_exchange(),
                routing_key: routing_key(message.destination),
                properties: complete(message.properties, message.destination, published_at),
                body: message.body,
                ticket: tally.ticket(),
                permit,
            };
            // A line that has ended drops it, and the ticket tells.
            line.outgoing.send(outgoing).ok();
        }
        tokio::time::timeout_at(deadline, tally.wait()).await.unwrap_or_else(|_| {
            Err(PublishError::InDoubt { reason: format!("no confirm within {:?}", self.confirm) })
        })
    }

    /// How many messages this process has sent to the queues of first tries and of large bodies.
    pub fn published(&self) -> u64 {
        self.published.load(Ordering::Relaxed)
    }

    /// How long a message with this delay is parked: longer than its own lane does where that is out of order.
    pub fn parked_for(&self, delay: Duration) -> Duration {
        self.avoided.lane_for(delay).delay()
    }
}

impl Lines {
    fn line(&self, destination: Destination) -> &Line {
        match destination {
            Destination::Lane(_) => &self.retry,
            Destination::Queue(queue) => match queue {
                QueueName::First | QueueName::Release | QueueName::Large => &self.work,
                QueueName::Retry | QueueName::RetryLarge => &self.retry,
                QueueName::Journal => &self.journal,
                QueueName::Dead
                | QueueName::CatchAll
                | QueueName::Unreadable
                | QueueName::Events
                | QueueName::EventsLater
                | QueueName::EventsRefused => &self.aside,
            },
        }
    }
}

/// Opens the lines on each connection and declares again what was found missing.
struct Keeper {
    topology: Arc<Topology>,
    at_start: TopologyAtStart,
    confirm: Duration,
    avoided: Avoided,
    announce: watch::Sender<State>,
    declare_again: Arc<Notify>,
}

impl Keeper {
    /// Returns once the connection has ended.
    async fn serve(&self, live: Arc<Live>) {
        match self.open(&live).await {
            Ok((lines, probe)) => {
                self.announce.send_replace(State::Open(Arc::new(lines)));
                self.look_after(&live, probe).await;
                let reason = "the connection to the broker ended".to_owned();
                self.announce.send_replace(State::Down { reason });
            }
            Err(error) => {
                self.announce.send_replace(State::Down { reason: error.to_string() });
                live.give_up(&format!("cannot publish on it: {error}"));
            }
        }
    }

    async fn look_after(&self, live: &Live, mut probe: Probe) {
        loop {
            tokio::select! {
                () = live.ended() => return,
                () = self.declare_again.notified() => self.declare(live).await,
                never = probe.go_on() => match never {},
            }
        }
    }

    async fn open(&self, live: &Arc<Live>) -> Result<(Lines, Probe), TopologyError> {
        match self.at_start {
            TopologyAtStart::Declare => self.topology.declare(live).await?,
            TopologyAtStart::Assume => {}
        }
        let lanes = Lanes::new(Arc::clone(&self.topology), self.at_start, self.avoided.clone());
        let lanes = Arc::new(lanes);
        let (known, again) = (Arc::clone(&lanes), Arc::clone(&self.declare_again));
        let on_return: OnReturn = Arc::new(move |routing_key| {
            tracing::error!(routing_key, "a message was returned: the queue it should go to is gone");
            known.forget_all();
            again.notify_one();
        });
        let open = || Line::open(live, self.confirm, Arc::clone(&on_return));
        let lines = Lines {
            live: Arc::clone(live),
            work: open().await?,
            retry: open().await?,
            journal: open().await?,
            aside: open().await?,
            lanes,
        };
        let mut probe = Probe::open(live, self.topology.publish_exchange()).await?;
        probe.first_answer(live, self.confirm).await;
        Ok((lines, probe))
    }

    async fn declare(&self, live: &Live) {
        match self.at_start {
            TopologyAtStart::Declare => {
                tokio::time::sleep(BEFORE_DECLARING_AGAIN).await;
                if let Err(error) = self.topology.declare(live).await {
                    tracing::error!(%error, "cannot declare the broker's objects again");
                }
            }
            TopologyAtStart::Assume => {}
        }
    }
}

fn routing_key(destination: Destination) -> String {
    match destination {
        Destination::Queue(queue) => queue.routing_key().to_owned(),
        Destination::Lane(lane) => Topology::lane_key(lane),
    }
}

fn complete(
    properties: BasicProperties,
    destination: Destination,
    published_at: Timestamp,
) -> BasicProperties {
    let seconds = u64::try_from(published_at.as_seconds()).unwrap_or(0);
    let properties = properties.with_delivery_mode(PERSISTENT).with_timestamp(seconds);
    match destination.time_to_live() {
        Some(time) => properties.with_expiration(time.as_millis().to_string().into()),
        None => properties,
    }
}

pub(crate) fn long_text(value: &str) -> AMQPValue {
    AMQPValue::LongString(LongString::from(value))
}
