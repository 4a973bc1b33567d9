//! The journal: what happened, from those who did it to status, which alone writes the log.
//!
//! A record implies that its follow-up exists: an attempt is journaled only after its successor is confirmed.
//! Records may arrive twice and in any order.

use std::sync::Arc;

use crate::attempt::Attempt;
use crate::clock::Timestamp;
use crate::delivery::{Delivery, DeliveryRef, Origin, Position, RenderedWith};
use crate::event::Event;
use crate::ids::{DeliveryId, WebhookId};
use crate::outcome::{CancelReason, FailureReason, HoldReason, Outcome};
use crate::profile::ProfileName;

/// One delivery that an accepted event was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExpectedDelivery {
    pub id: DeliveryId,
    pub webhook: WebhookId,
    pub kind: crate::webhook::WebhookKind,
    pub profile: ProfileName,
    pub rendered_with: RenderedWith,
    /// `Some` where it went straight to the waiting room (a [`JournalRecord::Held`] goes with it).
    pub held: Option<HoldReason>,
}

/// An event was accepted, with these deliveries. Their number is what the ledger expects.
#[derive(Clone, Debug, PartialEq)]
pub struct AcceptedRecord {
    pub event: Event,
    pub origin: Origin,
    pub deliveries: Vec<ExpectedDelivery>,
}

/// A try was made. For `Outcome::Retry` the next try is already in its lane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttemptedRecord {
    pub delivery: DeliveryRef,
    /// Where the delivery stood when the try was made; `position.attempt == attempt.number`.
    pub position: Position,
    pub attempt: Attempt,
    pub outcome: Outcome,
}

/// A delivery goes to the waiting room. The record is its only copy: it carries the delivery whole.
/// `delivery.position.holds` is already counted up for this hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldRecord {
    pub delivery: Delivery,
    pub why: HoldReason,
    pub since: Timestamp,
}

/// A try was put off without being made; it is in a lane until `due_at`. `position` is the one after.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeferredRecord {
    pub delivery: DeliveryRef,
    pub position: Position,
    pub due_at: Timestamp,
}

/// A held delivery was published again from the waiting room, or an overdue one by healing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReleasedRecord {
    pub delivery: DeliveryRef,
    pub position: Position,
    pub released_at: Timestamp,
}

/// How a delivery ended without a try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Conclusion {
    Failed(FailureReason),
    Canceled(CancelReason),
    Expired,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConcludedRecord {
    pub delivery: DeliveryRef,
    pub conclusion: Conclusion,
    pub at: Timestamp,
}

#[derive(Clone, Debug, PartialEq)]
pub enum JournalRecord {
    Accepted(AcceptedRecord),
    Attempted(AttemptedRecord),
    Held(HeldRecord),
    Deferred(DeferredRecord),
    Released(ReleasedRecord),
    Concluded(ConcludedRecord),
}

/// What one journal message carries. `written_at` is when it was put together, for the lag.
///
/// The records are shared: whoever wrote one keeps it until it is confirmed, to write it again if it is not.
#[derive(Clone, Debug, PartialEq)]
pub struct JournalBatch {
    pub written_at: Timestamp,
    pub records: Vec<Arc<JournalRecord>>,
}
