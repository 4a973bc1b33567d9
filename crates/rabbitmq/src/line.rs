//! A publishing channel: many messages in flight, each with an answer that is certainly its own.
//!
//! One task owns the channel, writes what it is handed and reads the confirms in the order of writing. That
//! order is what makes an answer certain. The client library hands a returned message to whichever confirm it
//! resolves next, and a confirm of many messages at once (`multiple`) resolves them in no order: so *which*
//! message was returned is told by the number in its own properties, and a positive confirm is believed only
//! after every confirm of the same `multiple` was looked at. Those are always a prefix of what is in flight,
//! because a `multiple` covers all that is older; and the broker sends a return before its confirm.
//!
//! A channel on which nothing is taken any more is replaced ([`refusals`]) once everything on it is answered.

mod refusals;

use std::collections::{HashSet, VecDeque};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use lapin::message::BasicReturnMessage;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::{BasicProperties, Channel, Confirmation};
use postrider_contract::ports::PublishError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::Instant;

use crate::connection::Live;
use crate::error::TopologyError;
use crate::publisher::Destination;
use crate::tally::Ticket;

use self::refusals::Refusals;

/// Messages in flight on one line. Throughput no longer grows beyond it (measured: 22,000/s into one quorum
/// queue at 1,024, 9,000/s at 64). A message of many bytes counts as several, see [`places_of`].
const WINDOW: u32 = 1_000;
/// What one place of the window holds: nearly all messages take one place, and a whole window at most 64 MiB.
const PLACE: usize = 64 * 1024;
/// How many messages are written between two looks at the confirms.
const BURST: usize = 128;
/// From this many in flight on the broker is busy, and messages wait for company: each write to the socket wakes our
/// writing thread and the broker's reading one.
const BUSY: usize = 16;
/// With so many a write is worth its while.
const COMPANY: usize = 32;
/// How often the oldest message in flight is looked at for its age.
const LOOK: Duration = Duration::from_millis(250);

/// A message on its way to the broker.
pub(crate) struct Outgoing {
    pub destination: Destination,
    pub exchange: String,
    pub routing_key: String,
    pub properties: BasicProperties,
    pub body: Bytes,
    pub ticket: Ticket,
    /// Its places in the window, held until it is answered.
    pub permit: OwnedSemaphorePermit,
}

/// Where messages are handed in. Bounded by the window: every message holds a permit of it.
pub(crate) struct Line {
    pub window: Arc<Semaphore>,
    pub outgoing: mpsc::UnboundedSender<Outgoing>,
}

/// Told the routing key of each message that came back as unroutable.
pub(crate) type OnReturn = Arc<dyn Fn(&str) + Send + Sync>;

impl Line {
    /// Opens a channel on the connection and starts to publish on it.
    pub async fn open(
        live: &Arc<Live>,
        confirm: Duration,
        on_return: OnReturn,
    ) -> Result<Line, TopologyError> {
        let channel = open_confirming(live).await?;
        let (outgoing, handed_in) = mpsc::unbounded_channel();
        let publishing = Publishing {
            channel,
            live: Arc::clone(live),
            confirm,
            on_return,
            in_flight: VecDeque::new(),
            returned: HashSet::new(),
            last_number: 0,
            refusals: Refusals::default(),
            is_stuck: false,
        };
        tokio::spawn(publishing.run(handed_in));
        Ok(Line { window: Arc::new(Semaphore::new(WINDOW as usize)), outgoing })
    }
}

pub(crate) async fn open_confirming(live: &Live) -> Result<Channel, TopologyError> {
    let channel = live.open_channel().await?;
    live.answer(channel.confirm_select(ConfirmSelectOptions::default())).await?;
    Ok(channel)
}

/// How many places of a window a message takes while it is in flight: at least one, never more than there are.
pub(crate) fn places_of(bytes: usize) -> u32 {
    u32::try_from(bytes.div_ceil(PLACE)).unwrap_or(WINDOW).clamp(1, WINDOW)
}

type ConfirmFuture = Pin<Box<dyn Future<Output = lapin::Result<Confirmation>> + Send>>;

struct InFlight {
    number: u64,
    destination: Destination,
    confirm: ConfirmFuture,
    written_at: Instant,
    ticket: Ticket,
    permit: OwnedSemaphorePermit,
}

struct Publishing {
    channel: Channel,
    live: Arc<Live>,
    confirm: Duration,
    on_return: OnReturn,
    in_flight: VecDeque<InFlight>,
    /// Numbers of messages that were returned and whose own confirm was not read yet.
    returned: HashSet<u64>,
    last_number: u64,
    refusals: Refusals,
    /// Nothing more is written on this channel.
    is_stuck: bool,
}

impl Publishing {
    /// Until nobody hands in any more and everything is answered, or the connection ends. What is not answered
    /// by then is in doubt: its ticket is dropped.
    async fn run(mut self, mut handed_in: mpsc::UnboundedReceiver<Outgoing>) {
        let live = Arc::clone(&self.live);
        let mut ended = std::pin::pin!(live.ended());
        let mut look = tokio::time::interval(LOOK);
        let mut burst = Vec::with_capacity(BURST);
        let mut is_open = true;
        while is_open || !self.in_flight.is_empty() {
            if self.is_stuck && self.in_flight.is_empty() {
                self.replace_channel().await;
            }
            tokio::select! {
                biased;
                () = ended.as_mut() => return,
                read = std::future::poll_fn(|context| self.poll_oldest(context)), if !self.in_flight.is_empty() => {
                    if let Err(error) = self.read_confirms(read) {
                        live.give_up(&format!("a publish failed: {error}"));
                        return;
                    }
                }
                taken = handed_in.recv_many(&mut burst, BURST), if is_open && !self.is_stuck => {
                    is_open = taken > 0;
                    if self.in_flight.len() >= BUSY {
                        gather(&mut handed_in, &mut burst).await;
                    }
                    for message in burst.drain(..) {
                        self.write(message);
                    }
                }
                _ = look.tick() => {
                    if self.is_overdue() {
                        live.give_up("a publish was not confirmed in time");
                        return;
                    }
                }
            }
        }
        crate::topology::close(&self.channel).await;
    }

    /// Only while nothing is in flight, so that no answer is lost with it.
    async fn replace_channel(&mut self) {
        self.is_stuck = false;
        match open_confirming(&self.live).await {
            Ok(fresh) => {
                self.returned.clear();
                let stuck = std::mem::replace(&mut self.channel, fresh);
                crate::topology::close(&stuck).await;
            }
            Err(error) => self.live.give_up(&format!("cannot open another channel: {error}")),
        }
    }

    /// Puts a message into the client library's buffer, in order.
    fn write(&mut self, message: Outgoing) {
        let Outgoing { destination, exchange, routing_key, properties, body, mut ticket, permit } = message;
        self.last_number += 1;
        let properties = properties.with_correlation_id(self.last_number.to_string().into());
        ticket.mark_written();
        let mut confirm = publish(self.channel.clone(), exchange, routing_key, properties, body);
        // The first poll takes the message's place in the order and queues its frames. Nobody is woken for it:
        // only the oldest message in flight is waited for.
        let ready = match confirm.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Pending => confirm,
            Poll::Ready(result) => Box::pin(std::future::ready(result)),
        };
        self.in_flight.push_back(InFlight {
            number: self.last_number,
            destination,
            confirm: ready,
            written_at: Instant::now(),
            ticket,
            permit,
        });
    }

    fn poll_oldest(&mut self, context: &mut Context<'_>) -> Poll<lapin::Result<Confirmation>> {
        match self.in_flight.front_mut() {
            Some(oldest) => oldest.confirm.as_mut().poll(context),
            None => Poll::Pending,
        }
    }

    /// Takes the oldest message's answer and every further one that is there, and settles them together.
    fn read_confirms(&mut self, oldest: lapin::Result<Confirmation>) -> Result<(), lapin::Error> {
        self.wait_for_the_whole_multiple();
        let mut answers = Vec::new();
        let mut answer = oldest;
        loop {
            let Some(message) = self.in_flight.pop_front() else {
                break;
            };
            let is_acknowledged = self.read_answer(answer?);
            answers.push((message, is_acknowledged));
            match self.poll_oldest(&mut Context::from_waker(Waker::noop())) {
                Poll::Ready(next) => answer = next,
                Poll::Pending => break,
            }
        }
        for (message, is_acknowledged) in answers {
            self.note_answer(message.destination, is_acknowledged);
            let was_returned = self.returned.remove(&message.number);
            message.ticket.settle(match is_acknowledged {
                true if !was_returned => Ok(()),
                true => Err(refused("no queue takes it: the message was returned as unroutable")),
                false => Err(refused("the queue is full, or could not take it")),
            });
            drop(message.permit);
        }
        Ok(())
    }

    fn note_answer(&mut self, destination: Destination, is_acknowledged: bool) {
        if is_acknowledged {
            self.refusals.note_taken(destination);
        } else if self.refusals.note_refused(destination, Instant::now()) {
            tracing::warn!(?destination, "a queue takes nothing; asking it again on another channel");
            self.is_stuck = true;
        }
    }

    /// The library resolves all confirms of one `multiple` under the lock that this call takes for a moment, so
    /// once it returns they are all there to be read. What it returns belongs to publishes without a confirm, of
    /// which there are none.
    fn wait_for_the_whole_multiple(&self) {
        if let Some(Ok(strays)) = self.channel.wait_for_confirms().now_or_never()
            && !strays.is_empty()
        {
            tracing::error!(count = strays.len(), "messages were returned that nobody waits for");
        }
    }

    /// Whether the broker took the message that this answer is for. A returned message that comes with it may be
    /// another one.
    fn read_answer(&mut self, answer: Confirmation) -> bool {
        let (is_acknowledged, returned) = match answer {
            Confirmation::Ack(returned) => (true, returned),
            Confirmation::Nack(returned) => (false, returned),
            // The channel was put into confirm mode before anything was written.
            Confirmation::NotRequested => (false, None),
        };
        if let Some(returned) = returned {
            (self.on_return)(returned.routing_key.as_str());
            if let Some(number) = read_number(&returned) {
                self.returned.insert(number);
            }
        }
        is_acknowledged
    }

    /// A connection that is blocked is not given up for it: it comes back by itself, and another one would be
    /// blocked as well.
    fn is_overdue(&self) -> bool {
        let oldest = self.in_flight.front();
        oldest.is_some_and(|oldest| oldest.written_at.elapsed() > self.confirm) && !self.live.is_blocked()
    }
}

/// Lets whoever is ready to run hand in more first, twice at most; nobody is waited for.
async fn gather(handed_in: &mut mpsc::UnboundedReceiver<Outgoing>, burst: &mut Vec<Outgoing>) {
    for _ in 0..2 {
        if burst.len() >= COMPANY {
            return;
        }
        tokio::task::yield_now().await;
        while burst.len() < BURST
            && let Ok(more) = handed_in.try_recv()
        {
            burst.push(more);
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "this is the confirming publisher")]
fn publish(
    channel: Channel,
    exchange: String,
    routing_key: String,
    properties: BasicProperties,
    body: Bytes,
) -> ConfirmFuture {
    let options = BasicPublishOptions { mandatory: true, immediate: false };
    Box::pin(async move {
        let (exchange, routing_key) = (exchange.into(), routing_key.into());
        channel.basic_publish(exchange, routing_key, options, &body, properties).await?.await
    })
}

fn read_number(returned: &BasicReturnMessage) -> Option<u64> {
    returned.properties.correlation_id().as_ref()?.as_str().parse().ok()
}

fn refused(reason: &str) -> PublishError {
    PublishError::Refused { reason: reason.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_holds_64_mib_of_whatever_size() {
        for (bytes, places) in [(0, 1), (600, 1), (PLACE, 1), (PLACE + 1, 2), (1024 * 1024, 16)] {
            assert_eq!(places_of(bytes), places, "{bytes}");
        }
        // The longest there are still leave room for three more.
        assert_eq!(places_of(16 * 1024 * 1024), 256);
        assert_eq!(places_of(usize::MAX), WINDOW);
    }
}
