//! The deliveries queue and the journal in memory. Messages are kept in their wire form, so that what does not
//! survive the wire does not survive this either.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use super::mailbox::{Mailbox, Message};
use super::strays::{Fallen, FallenPlaces};
use super::watched::Watched;
use crate::clock::{Clock, Timestamp};
use crate::delivery::Work;
use crate::journal::JournalBatch;
use crate::ports::{
    Journal, JournalSource, Lease, LeaseTicket, Publication, PublishError, QueueDepths, QueueError, Route,
    Settlement, StrayCause, StrayPlace, WorkKind, WorkQueue, WorkSource,
};
use crate::wire::{WireError, decode_journal_batch, decode_work, encode_journal_batch, encode_work};

/// Bodies over this are work of the kind [`WorkKind::Large`].
const LARGE_BODIES: usize = 64 * 1024;

/// Where strays come from that are no work.
pub(super) const JOURNAL: &str = "journal";

/// What becomes of publishes and appends.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum PublishFault {
    #[default]
    None,
    /// Nothing happens, and the publisher is told so.
    Refused { reason: String },
    /// Nothing happens, and the publisher is told nothing.
    LostBefore { reason: String },
    /// It happens, and the publisher is told nothing.
    LostAfter { reason: String },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Place {
    Work(WorkKind),
    Journal,
}

impl Place {
    /// Where strays say that they come from.
    fn name(self) -> &'static str {
        match self {
            Place::Work(WorkKind::First) => "first",
            Place::Work(WorkKind::Retry) => "retry",
            Place::Work(WorkKind::Release) => "release",
            Place::Work(WorkKind::Large) => "large",
            Place::Journal => JOURNAL,
        }
    }
}

/// A message in a lane.
#[derive(Clone, Debug)]
struct Parked {
    bytes: Bytes,
    /// The way out of its lane is gone.
    finds_no_queue: bool,
}

#[derive(Debug, Default)]
pub(super) struct State {
    mailboxes: HashMap<Place, Mailbox>,
    /// By the time they are due, then in the order they came.
    parked: BTreeMap<(Timestamp, u64), Parked>,
    parked_ever: u64,
    /// Of first tries and large ones.
    published_ever: u64,
    pub(super) fallen: FallenPlaces,
    fault: PublishFault,
    pub(super) is_closed: bool,
    /// Sources and leases of earlier lives count for nothing.
    pub(super) life: u64,
    pub(super) sources_ever: u64,
}

/// The messages of a queue that nobody has let go of, in their wire form; strays are among them.
#[derive(Clone, Debug, Default)]
pub struct Unacknowledged {
    pub work: Vec<Bytes>,
    pub journal: Vec<Bytes>,
}

/// Clones share one queue.
#[derive(Clone, Debug)]
pub struct FakeQueue {
    pub(super) state: Arc<Watched<State>>,
    clock: Arc<dyn Clock>,
}

impl FakeQueue {
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        FakeQueue { state: Arc::new(Watched::new(State::default())), clock }
    }

    /// The process dies: every source ends, every lease is lost and its message comes again. The queue is open
    /// again at once, for the next process.
    pub fn crash(&self) {
        self.state.change(|state| {
            state.life += 1;
            state.is_closed = false;
            state.mailboxes.values_mut().for_each(Mailbox::lose_leases);
            state.fallen.lose_leases();
        });
    }

    /// Until it is called with [`PublishFault::None`].
    pub fn fail_publishes(&self, fault: PublishFault) {
        self.state.change(|state| state.fault = fault);
    }

    /// To be called when the clock was moved: what is due by it can be taken.
    pub fn tick(&self) {
        let now = self.clock.now();
        self.state.change(|state| state.unpark(now));
    }

    /// Puts raw bytes where work of a kind is taken from.
    pub fn inject(&self, kind: WorkKind, bytes: Bytes) {
        self.state.change(|state| state.mailbox(Place::Work(kind)).put(bytes));
    }

    /// Makes a stray of raw bytes, meant for the queue `origin`: `first`, `retry`, `release`, `large` or `journal`.
    pub fn inject_stray(&self, place: StrayPlace, cause: StrayCause, origin: &str, bytes: Bytes) {
        let fallen = Fallen { cause, origin: origin.to_owned(), bytes };
        self.state.change(|state| state.fallen.put(place, fallen));
    }

    /// What was set aside and nobody has dealt with, each with its reason; then what is kept.
    #[must_use]
    pub fn dead(&self) -> Vec<(Bytes, String)> {
        self.state.read(|state| state.fallen.set_aside())
    }

    /// When the next parked delivery is due: as far as a simulation may move its clock at once.
    #[must_use]
    pub fn next_due(&self) -> Option<Timestamp> {
        self.state.read(|state| state.parked.first_key_value().map(|((due_at, _), _)| *due_at))
    }

    /// Everything that is not acknowledged, work and journal, ready, in hand, parked or astray; in no order that means
    /// anything.
    #[must_use]
    pub fn unacknowledged(&self) -> Unacknowledged {
        self.state.read(|state| {
            let mut found = Unacknowledged::default();
            for (place, mailbox) in &state.mailboxes {
                let messages = mailbox.unacknowledged().map(|message| message.bytes.clone());
                match place {
                    Place::Work(_) => found.work.extend(messages),
                    Place::Journal => found.journal.extend(messages),
                }
            }
            found.work.extend(state.parked.values().map(|parked| parked.bytes.clone()));
            for fallen in state.fallen.unacknowledged() {
                let kind = if fallen.origin == JOURNAL { &mut found.journal } else { &mut found.work };
                kind.push(fallen.bytes.clone());
            }
            found
        })
    }

    /// What is parked and due next will come twice, neither copy marked: a broker changed its leader between handing
    /// a message on and letting go of it. Answers whether anything is parked.
    pub fn duplicate_next_parked(&self) -> bool {
        self.state.change(|state| {
            let next = state.parked.first_key_value().map(|((due_at, _), parked)| (*due_at, parked.clone()));
            let Some((due_at, parked)) = next else { return false };
            state.parked_ever += 1;
            state.parked.insert((due_at, state.parked_ever), parked);
            true
        })
    }

    /// What is parked and due next finds no queue as it leaves its lane, and becomes a stray. Answers whether anything is
    /// parked.
    pub fn misroute_next_parked(&self) -> bool {
        self.state.change(|state| {
            let next = state.parked.first_entry();
            next.map(|mut next| next.get_mut().finds_no_queue = true).is_some()
        })
    }

    /// A message of work that came back, and is ready, was given out once too often and becomes a stray. Answers whether
    /// there is one.
    pub fn give_up_on_one(&self) -> bool {
        self.state.change(|state| {
            let found = [WorkKind::First, WorkKind::Retry, WorkKind::Release, WorkKind::Large]
                .into_iter()
                .map(Place::Work)
                .find_map(|place| Some((place, state.mailbox(place).remove_redelivered()?)));
            let Some((place, bytes)) = found else { return false };
            let (cause, origin) = (StrayCause::GivenOutTooOften, place.name().to_owned());
            state.fallen.put(StrayPlace::Dead, Fallen { cause, origin, bytes });
            true
        })
    }

    pub(super) fn write(&self, effect: impl FnOnce(&mut State)) -> Result<(), PublishError> {
        self.state.change(|state| {
            if state.is_closed {
                return Err(PublishError::Refused { reason: "the queue is closed".to_owned() });
            }
            match state.fault.clone() {
                PublishFault::None => {
                    effect(state);
                    Ok(())
                }
                PublishFault::Refused { reason } => Err(PublishError::Refused { reason }),
                PublishFault::LostBefore { reason } => Err(PublishError::InDoubt { reason }),
                PublishFault::LostAfter { reason } => {
                    effect(state);
                    Err(PublishError::InDoubt { reason })
                }
            }
        })
    }

    fn open(&self, place: Place, prefetch: u16) -> Result<Source, QueueError> {
        self.state.change(|state| {
            if state.is_closed {
                return Err(QueueError::Closed);
            }
            state.sources_ever += 1;
            let (life, number) = (state.life, state.sources_ever);
            Ok(Source { queue: self.clone(), place, prefetch, life, number })
        })
    }
}

impl State {
    fn mailbox(&mut self, place: Place) -> &mut Mailbox {
        self.mailboxes.entry(place).or_default()
    }

    fn put(&mut self, publication: &Publication, now: Timestamp) {
        let bytes = encode_work(&publication.work);
        let kind = match publication.route {
            Route::Retry { delay } if !delay.is_zero() => {
                self.parked_ever += 1;
                let parked = Parked { bytes, finds_no_queue: false };
                self.parked.insert((now.plus(delay), self.parked_ever), parked);
                return;
            }
            Route::Retry { delay: _ } => WorkKind::Retry,
            Route::First | Route::Release if bodies_of(&publication.work) > LARGE_BODIES => WorkKind::Large,
            Route::First => WorkKind::First,
            Route::Release => WorkKind::Release,
        };
        if matches!(kind, WorkKind::First | WorkKind::Large) {
            self.published_ever += 1;
        }
        self.mailbox(Place::Work(kind)).put(bytes);
    }

    fn unpark(&mut self, now: Timestamp) {
        while let Some(entry) = self.parked.first_entry()
            && entry.key().0 <= now
        {
            let Parked { bytes, finds_no_queue } = entry.remove();
            let place = Place::Work(WorkKind::Retry);
            if finds_no_queue {
                let (cause, origin) = (StrayCause::Unroutable, place.name().to_owned());
                self.fallen.put(StrayPlace::CatchAll, Fallen { cause, origin, bytes });
            } else {
                self.mailbox(place).put(bytes);
            }
        }
    }

    fn ready(&self, place: Place) -> u64 {
        self.mailboxes.get(&place).map_or(0, Mailbox::ready)
    }
}

fn bodies_of(work: &Work) -> usize {
    match work {
        Work::Deliver(delivery) => delivery.body.len(),
        Work::FanOut(fan_out) => fan_out.bodies.iter().map(Bytes::len).sum(),
    }
}

#[async_trait]
impl WorkQueue for FakeQueue {
    async fn publish(&self, publications: Vec<Publication>) -> Result<(), PublishError> {
        let now = self.clock.now();
        self.write(|state| publications.iter().for_each(|publication| state.put(publication, now)))
    }

    async fn consume(&self, kind: WorkKind, prefetch: u16) -> Result<Box<dyn WorkSource>, QueueError> {
        Ok(Box::new(self.open(Place::Work(kind), prefetch)?))
    }

    async fn depths(&self) -> Result<QueueDepths, QueueError> {
        Ok(self.state.read(|state| QueueDepths {
            first: state.ready(Place::Work(WorkKind::First)),
            retry: state.ready(Place::Work(WorkKind::Retry)),
            release: state.ready(Place::Work(WorkKind::Release)),
            large: state.ready(Place::Work(WorkKind::Large)),
            journal: state.ready(Place::Journal),
            put_off: 0,
            dead: state.fallen.ready(StrayPlace::Dead),
            catch_all: state.fallen.ready(StrayPlace::CatchAll),
            unreadable: state.fallen.kept(),
            missing: Vec::new(),
            published: state.published_ever,
        }))
    }

    fn check_writable(&self) -> Result<(), QueueError> {
        self.state.read(|state| match &state.fault {
            _ if state.is_closed => Err(QueueError::Closed),
            PublishFault::None => Ok(()),
            PublishFault::Refused { reason }
            | PublishFault::LostBefore { reason }
            | PublishFault::LostAfter { reason } => Err(QueueError::Unavailable { reason: reason.clone() }),
        })
    }

    async fn close(&self) {
        self.state.change(|state| {
            state.is_closed = true;
            state.mailboxes.values_mut().for_each(Mailbox::lose_leases);
            state.fallen.lose_leases();
        });
    }
}

#[async_trait]
impl Journal for FakeQueue {
    async fn append(&self, batch: JournalBatch) -> Result<(), PublishError> {
        let bytes = encode_journal_batch(&batch);
        self.write(|state| state.mailbox(Place::Journal).put(bytes))
    }

    async fn read(&self, prefetch: u16) -> Result<Box<dyn JournalSource>, QueueError> {
        Ok(Box::new(self.open(Place::Journal, prefetch)?))
    }

    async fn settled_until(&self, now: Timestamp) -> Result<Timestamp, QueueError> {
        let written_at = |message: &Message| {
            decode_journal_batch(message.bytes.clone()).ok().map(|batch| batch.written_at)
        };
        let oldest = self.state.read(|state| {
            state
                .mailboxes
                .get(&Place::Journal)
                .and_then(|journal| journal.unacknowledged().filter_map(written_at).min())
        });
        Ok(oldest.map_or(now, |oldest| oldest.min(now)))
    }
}

struct Source {
    queue: FakeQueue,
    place: Place,
    prefetch: u16,
    life: u64,
    number: u64,
}

impl Source {
    /// The next message that `decode` can read; the others are set aside.
    async fn take<T>(&self, decode: fn(Bytes) -> Result<T, WireError>) -> Result<Lease<T>, QueueError> {
        let (number, redelivered, message) = self
            .queue
            .state
            .when(|state| {
                if state.is_closed || state.life != self.life {
                    return Some(Err(QueueError::Closed));
                }
                state.unpark(self.queue.clock.now());
                loop {
                    let (number, message) = state.mailbox(self.place).take(self.number, self.prefetch)?;
                    match decode(message.bytes.clone()) {
                        Ok(read) => return Some(Ok((number, message.redelivered, read))),
                        Err(error) => {
                            state.mailbox(self.place).acknowledge(self.number, number);
                            let cause = StrayCause::SetAside { reason: error.to_string() };
                            let origin = self.place.name().to_owned();
                            state
                                .fallen
                                .put(StrayPlace::Dead, Fallen { cause, origin, bytes: message.bytes });
                        }
                    }
                }
            })
            .await?;
        let settlement = FakeSettlement {
            state: Arc::clone(&self.queue.state),
            place: self.place,
            source: self.number,
            number,
        };
        Ok(Lease { message, redelivered, ticket: LeaseTicket::new(Box::new(settlement)) })
    }
}

#[async_trait]
impl WorkSource for Source {
    async fn next(&mut self) -> Result<Lease<Work>, QueueError> {
        self.take(decode_work).await
    }
}

#[async_trait]
impl JournalSource for Source {
    async fn next(&mut self) -> Result<Lease<JournalBatch>, QueueError> {
        self.take(decode_journal_batch).await
    }
}

struct FakeSettlement {
    state: Arc<Watched<State>>,
    place: Place,
    source: u64,
    number: u64,
}

impl Settlement for FakeSettlement {
    fn acknowledge(self: Box<Self>) {
        self.state.change(|state| state.mailbox(self.place).acknowledge(self.source, self.number));
    }

    fn give_back(self: Box<Self>) {
        self.state.change(|state| state.mailbox(self.place).give_back(self.source, self.number));
    }
}
