//! Deliveries: one event on its way to one webhook, as it travels through the queue.

use std::num::NonZeroU32;
use std::time::Duration;

use bytes::Bytes;

use crate::clock::Timestamp;
use crate::event::{EventType, SchemaVersion};
use crate::ids::{DeliveryId, EventId, TenantId, WebhookId};
use crate::profile::ProfileName;
use crate::revision::Revision;
use crate::webhook::WebhookKind;

/// The number of a try, from 1. The first request is try 1; a schedule with six waits ends with try 7.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AttemptNumber(NonZeroU32);

impl AttemptNumber {
    pub const FIRST: AttemptNumber = AttemptNumber(NonZeroU32::MIN);

    /// `None` for zero.
    #[must_use]
    pub fn from_number(number: u32) -> Option<Self> {
        NonZeroU32::new(number).map(AttemptNumber)
    }

    #[must_use]
    pub fn number(self) -> u32 {
        self.0.get()
    }

    #[must_use]
    pub fn next(self) -> Self {
        AttemptNumber(self.0.saturating_add(1))
    }

    #[must_use]
    pub fn is_first(self) -> bool {
        self.0 == NonZeroU32::MIN
    }
}

/// Who asked for a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Origin {
    Producer,
    /// A `test` of the webhook through the API.
    Test,
    /// An operator event: its failure makes no further operator event.
    Operator,
}

/// What every journal record about a delivery carries, so that its row can be made from whichever record
/// arrives first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeliveryRef {
    pub id: DeliveryId,
    pub tenant: TenantId,
    pub event_id: EventId,
    pub event_type: EventType,
    pub webhook: WebhookId,
    pub kind: WebhookKind,
    /// The accept time of the event (for a replay the replay's own): the delivery's day, and its place in lists.
    pub accepted_at: Timestamp,
    /// 0 for the event's own delivery, then 1, 2, … for manual retries and replays.
    pub replay: u32,
}

/// The revisions a delivery was rendered with, so that the very same bytes can be had again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RenderedWith {
    pub webhook: Revision,
    pub profile: Revision,
    pub tenant: Revision,
}

/// Where a delivery stands in its own history. Grows with every step, so that two records of one delivery can
/// be put in order whichever arrives first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The try that is due next.
    pub attempt: AttemptNumber,
    /// The number of its last stay in the waiting room; 0 if there was none. Stays are numbered upwards, and those of
    /// one try by themselves ([`Delivery::held`]).
    pub holds: u32,
    /// How often this try has been put off without being made.
    pub deferrals: u32,
}

impl Position {
    pub const START: Position = Position { attempt: AttemptNumber::FIRST, holds: 0, deferrals: 0 };

    /// Whether its last stay in the waiting room was not the first of this try.
    #[must_use]
    pub fn was_held_before(self) -> bool {
        self.holds.checked_sub(1).is_some_and(|earlier| earlier % HOLDS_PER_TRY > 0)
    }
}

/// Stays of a later try are numbered from this much higher on: two copies of one delivery may have come to different
/// tries, and their stays must not be taken for one. With as many tries as a schedule may have
/// ([`crate::retry::MAX_WAITS`]) the numbers stay within what a [`Rank`](crate::log::Rank) tells apart.
const HOLDS_PER_TRY: u32 = 16_000;

/// Whether a worker must look up, before it sends, if this try was made already.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Check {
    /// Published once, by whoever had the delivery in hand.
    Fresh,
    /// A release or a re-publish: another copy may exist.
    LookUp,
}

/// The query of a delivery's requests.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Query {
    /// Whatever the webhook's URL holds at the moment of the try.
    #[default]
    OfUrl,
    /// A postback's, filled from its event; in place of the URL's.
    Filled(Bytes),
    /// A postback that became too long when it was filled: it is never sent.
    TooLong(TooLong),
}

impl Query {
    /// In bytes, of what a delivery carries of it.
    #[must_use]
    pub fn length(&self) -> usize {
        match self {
            Query::Filled(filled) => filled.len(),
            Query::OfUrl | Query::TooLong(_) => 0,
        }
    }
}

/// Which part of a postback became longer than is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TooLong {
    /// More than [`MAX_FILLED_QUERY`](crate::postback::MAX_FILLED_QUERY).
    Query,
    /// More than [`MAX_FILLED_FORM`](crate::postback::MAX_FILLED_FORM).
    Form,
}

/// A delivery as it travels: the rendered bytes, and all that names it. Never a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    pub reference: DeliveryRef,
    pub position: Position,
    pub origin: Origin,
    pub check: Check,
    /// When the next try is due; the accept time for a first try.
    pub due_at: Timestamp,
    /// The delay it was parked for, by which a lane that was early can be told; zero if it was not parked.
    pub parked_for: Duration,
    pub profile: ProfileName,
    pub rendered_with: RenderedWith,
    pub schema_version: SchemaVersion,
    /// When the event happened, by its producer.
    pub event_timestamp: Timestamp,
    pub query: Query,
    /// The body of every try, byte for byte.
    pub body: Bytes,
}

impl Delivery {
    /// The next try of the same delivery, parked until `at`.
    #[must_use]
    pub fn retry(self, at: Timestamp, now: Timestamp) -> Self {
        let attempt = self.position.attempt.next();
        let position = Position { attempt, deferrals: 0, ..self.position };
        Delivery { position, due_at: at, parked_for: at.since(now), check: Check::Fresh, ..self }
    }

    /// The same try, put off until `at` at no cost of a try.
    #[must_use]
    pub fn deferred(self, at: Timestamp, now: Timestamp) -> Self {
        let position = Position { deferrals: self.position.deferrals.saturating_add(1), ..self.position };
        Delivery { position, due_at: at, parked_for: at.since(now), check: Check::LookUp, ..self }
    }

    /// The same try, put into the waiting room. The number of the stay is above those of all earlier tries, whichever
    /// copy of the delivery made them.
    #[must_use]
    pub fn held(self) -> Self {
        let of_earlier_tries = (self.position.attempt.number() - 1).saturating_mul(HOLDS_PER_TRY);
        let holds = self.position.holds.max(of_earlier_tries).saturating_add(1);
        let position = Position { holds, ..self.position };
        Delivery { position, check: Check::LookUp, parked_for: Duration::ZERO, ..self }
    }

    /// The same try, published again from the waiting room or by healing.
    #[must_use]
    pub fn published_again(self, now: Timestamp) -> Self {
        Delivery { check: Check::LookUp, parked_for: Duration::ZERO, due_at: now, ..self }
    }
}

/// Deliveries that travel in one message: those of an event with so many matches that a worker, not ingest, makes them, in
/// pages; or retries that an engine parks together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FanOut {
    /// Without their bodies.
    pub deliveries: Vec<Delivery>,
    /// The distinct bodies; `body_of[i]` is the index of the body of `deliveries[i]`.
    pub bodies: Vec<Bytes>,
    pub body_of: Vec<u32>,
}

impl FanOut {
    /// Of deliveries that each have a body of their own.
    #[must_use]
    pub fn of_whole(mut deliveries: Vec<Delivery>) -> Self {
        let bodies = deliveries.iter_mut().map(|delivery| std::mem::take(&mut delivery.body)).collect();
        let body_of = (0..).take(deliveries.len()).collect();
        FanOut { deliveries, bodies, body_of }
    }

    /// The body of one delivery; `None` if there is none for it, which decoding never lets through.
    #[must_use]
    pub fn body(&self, index: usize) -> Option<&Bytes> {
        self.bodies.get(usize::try_from(*self.body_of.get(index)?).ok()?)
    }

    /// One delivery with its body, if it has one.
    #[must_use]
    pub fn whole(&self, index: usize) -> Option<Delivery> {
        Some(Delivery { body: self.body(index)?.clone(), ..self.deliveries.get(index)?.clone() })
    }

    /// Every delivery that has a body, with it.
    pub fn into_whole(self) -> impl Iterator<Item = Delivery> {
        let FanOut { deliveries, bodies, body_of } = self;
        deliveries.into_iter().zip(body_of).filter_map(move |(delivery, index)| {
            let body = bodies.get(usize::try_from(index).ok()?)?.clone();
            Some(Delivery { body, ..delivery })
        })
    }
}

/// What the deliveries queue carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Work {
    Deliver(Delivery),
    FanOut(FanOut),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::Rank;
    use crate::retry::MAX_WAITS;

    fn at_try(number: u32, holds: u32) -> Delivery {
        let event_id: EventId = "evt_1".parse().expect("an id");
        let webhook = WebhookId::from_u128(1);
        let revision = Revision::ZERO;
        Delivery {
            reference: DeliveryRef {
                id: DeliveryId::derive(Timestamp::EPOCH, &event_id, webhook, 0),
                tenant: "acme".parse().expect("an id"),
                event_id,
                event_type: "order.paid".parse().expect("a type"),
                webhook,
                kind: WebhookKind::Webhook,
                accepted_at: Timestamp::EPOCH,
                replay: 0,
            },
            position: Position {
                attempt: AttemptNumber::from_number(number).expect("from 1"),
                holds,
                deferrals: 0,
            },
            origin: Origin::Producer,
            check: Check::Fresh,
            due_at: Timestamp::EPOCH,
            parked_for: Duration::ZERO,
            profile: ProfileName::standard(),
            rendered_with: RenderedWith { webhook: revision, profile: revision, tenant: revision },
            schema_version: SchemaVersion::FIRST,
            event_timestamp: Timestamp::EPOCH,
            query: Query::OfUrl,
            body: Bytes::from_static(b"{}"),
        }
    }

    /// One copy is held before its first try; another makes that try, and is held before the second.
    #[test]
    fn stays_of_two_copies_at_different_tries_have_different_numbers() {
        let first = at_try(1, 0).held().position;
        let second = at_try(2, 0).held().position;
        assert_eq!(first.holds, 1, "as it always was");
        assert!(second.holds > at_try(1, first.holds).held().position.holds);
        assert_eq!(at_try(2, second.holds).held().position.holds, second.holds + 1);
        assert_eq!(
            at_try(2, second.holds)
                .retry(Timestamp::EPOCH, Timestamp::EPOCH)
                .held()
                .position
                .attempt
                .number(),
            3
        );
    }

    #[test]
    fn a_rank_tells_the_stays_of_the_last_try_apart() {
        let last = u32::try_from(MAX_WAITS).expect("few") + 1;
        let stay = at_try(last, 0).held();
        let next = stay.clone().held();
        assert_eq!(Rank::held(stay.position).position(), Some(stay.position));
        assert!(Rank::held(next.position) > Rank::held(stay.position));
    }
}
