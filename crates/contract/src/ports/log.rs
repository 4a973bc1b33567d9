//! The delivery log: written by status from the journal, asked by the API and by workers that must check.

use async_trait::async_trait;

use super::StoreError;
use crate::attempt::Attempt;
use crate::clock::{Day, Timestamp};
use crate::delivery::{DeliveryRef, Origin, Position, RenderedWith};
use crate::event::{EventType, SchemaVersion};
use crate::ids::{DeliveryId, EventId, TenantId, WebhookId};
use crate::json::RawObject;
use crate::log::LogWrites;
use crate::outcome::{DeliveryStatus, Outcome, StatusReason};
use crate::profile::ProfileName;
use crate::webhook::WebhookKind;

/// One page of a list, newest first.
#[derive(Clone, Debug)]
pub struct PageOf<K> {
    /// Only rows that sort before this key.
    pub before: Option<K>,
    pub limit: u32,
}

#[derive(Clone, Debug, Default)]
pub struct EventFilter {
    pub event_type: Option<EventType>,
    pub since: Option<Timestamp>,
    pub until: Option<Timestamp>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct EventView {
    pub tenant: TenantId,
    pub id: EventId,
    pub event_type: EventType,
    pub accepted_at: Timestamp,
    /// The accepted record has not come (yet): only what other records tell is known.
    pub in_doubt: bool,
    pub timestamp: Option<Timestamp>,
    pub schema_version: Option<SchemaVersion>,
    pub data: Option<RawObject>,
    pub summary: Option<String>,
    pub workflow: Option<RawObject>,
    /// How many deliveries it was given.
    pub matched: Option<u32>,
}

#[derive(Clone, Debug, Default)]
pub struct DeliveryFilter {
    pub status: Option<DeliveryStatus>,
    pub webhook: Option<WebhookId>,
    pub event: Option<EventId>,
    pub event_type: Option<EventType>,
    pub kind: Option<WebhookKind>,
    /// The status code of the last try's response.
    pub code: Option<u16>,
    pub since: Option<Timestamp>,
    pub until: Option<Timestamp>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct DeliveryView {
    pub reference: DeliveryRef,
    pub origin: Origin,
    pub status: DeliveryStatus,
    pub reason: Option<StatusReason>,
    /// The next try, while pending or retrying.
    pub due_at: Option<Timestamp>,
    /// When it was put into the waiting room, while held.
    pub held_since: Option<Timestamp>,
    pub concluded_at: Option<Timestamp>,
    /// How many tries the log knows.
    pub attempts: u32,
    pub last_code: Option<u16>,
    /// The word of [`crate::attempt::FailureClass`] of the last try, where no response came.
    pub last_error: Option<String>,
    pub profile: Option<ProfileName>,
    pub rendered_with: Option<RenderedWith>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct AttemptView {
    pub attempt: Attempt,
    pub outcome: Outcome,
    pub body: AnswerBody,
}

/// What has become of the body of a try's response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnswerBody {
    /// As much as was kept of it is in the attempt.
    Kept,
    /// There was one, and its time is over: the attempt has none.
    Expired,
}

/// A delivery whose next try is long past.
#[derive(Clone, Debug, PartialEq)]
pub struct OverdueDelivery {
    pub reference: DeliveryRef,
    pub origin: Origin,
    pub position: Position,
    pub due_at: Timestamp,
    /// What it was rendered with; `None` while no record has told of it, and then it cannot be rendered again.
    pub rendered: Option<(ProfileName, RenderedWith)>,
}

#[derive(Clone, Debug, Default)]
pub struct LedgerQuery {
    /// `None`: all tenants.
    pub tenant: Option<TenantId>,
    pub webhook: Option<WebhookId>,
    pub since: Option<Timestamp>,
    pub until: Option<Timestamp>,
}

/// Counts, of what the log holds for a window of accept times.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ledger {
    pub accepted: u64,
    pub matched: u64,
    pub unmatched: u64,
    pub in_doubt: u64,
    /// The match counts of accepted records, replays, and what events in doubt have. For one webhook: its delivery
    /// rows.
    pub expected: u64,
    pub pending: u64,
    pub retrying: u64,
    pub held: u64,
    pub delivered: u64,
    pub failed: u64,
    pub canceled: u64,
    pub expired: u64,
    /// Of pending and retrying: due before the query's `overdue_before`.
    pub overdue: u64,
}

/// The writing side. One implementation call is one transaction per file or database.
#[async_trait]
pub trait DeliveryLog: Send + Sync {
    /// Writes what a batch of journal records folds to: events, deliveries, attempts, and the waiting room.
    /// Idempotent, in any order. One row that cannot be written is reported, not a reason to lose the others.
    ///
    /// # Errors
    /// When the store does not answer: the caller keeps its leases and tries again.
    async fn apply(&self, writes: &LogWrites) -> Result<(), StoreError>;

    /// How many rows were set aside because they could not be written, of those still remembered. An engine that
    /// has no such rows has none.
    ///
    /// # Errors
    /// When the store does not answer.
    async fn refused_rows(&self) -> Result<u64, StoreError> {
        Ok(0)
    }

    /// "Concluded, or a try with at least this number recorded?", in order. One statement.
    ///
    /// # Errors
    /// When the store does not answer: the caller then sends.
    async fn is_recorded(&self, tries: &[(DeliveryId, Position)]) -> Result<Vec<bool>, StoreError>;

    /// "Concluded, or known at a later position than this: a later try, a stay in the waiting room, a deferral?"
    /// Then another copy lives, or none is wanted.
    ///
    /// # Errors
    /// When the store does not answer.
    async fn has_moved_on(&self, id: DeliveryId, from: Position) -> Result<bool, StoreError>;

    /// Pending or retrying, due before `before`, oldest first: every one that the ledger counts as overdue.
    ///
    /// # Errors
    /// When the store does not answer.
    async fn overdue(&self, before: Timestamp, limit: u32) -> Result<Vec<OverdueDelivery>, StoreError>;

    /// Makes the days from `first` to `last` ready to be written.
    ///
    /// # Errors
    /// When the store does not answer.
    async fn prepare_days(&self, first: Day, last: Day) -> Result<(), StoreError>;

    /// The oldest day of which something is kept; days that were made ready and stayed empty may count.
    ///
    /// # Errors
    /// When the store does not answer.
    async fn first_day(&self) -> Result<Option<Day>, StoreError>;

    /// Drops whole days before `day`, but never one that still has deliveries that are not concluded.
    /// Answers those dropped.
    ///
    /// # Errors
    /// When the store does not answer.
    async fn drop_days_before(&self, day: Day) -> Result<Vec<Day>, StoreError>;

    /// Drops the bodies of responses of the deliveries of whole days before `day`, concluded or not; what else is
    /// known of their tries stays. Answers the days that lost theirs; an engine that keeps bodies with their
    /// tries has none.
    ///
    /// # Errors
    /// When the store does not answer.
    async fn drop_bodies_before(&self, day: Day) -> Result<Vec<Day>, StoreError>;
}

/// The asking side. Every list is answered by an index.
#[async_trait]
pub trait LogQueries: Send + Sync {
    /// # Errors
    /// When the store does not answer.
    async fn event(&self, tenant: &TenantId, id: &EventId) -> Result<Option<EventView>, StoreError>;

    /// Newest first by (accept time, id).
    ///
    /// # Errors
    /// When the store does not answer.
    async fn events(
        &self,
        tenant: &TenantId,
        filter: &EventFilter,
        page: PageOf<(Timestamp, EventId)>,
    ) -> Result<Vec<EventView>, StoreError>;

    /// # Errors
    /// When the store does not answer.
    async fn delivery(&self, tenant: &TenantId, id: DeliveryId) -> Result<Option<DeliveryView>, StoreError>;

    /// By number.
    ///
    /// # Errors
    /// When the store does not answer.
    async fn attempts(&self, id: DeliveryId) -> Result<Vec<AttemptView>, StoreError>;

    /// Newest first by id.
    ///
    /// # Errors
    /// When the store does not answer.
    async fn deliveries(
        &self,
        tenant: &TenantId,
        filter: &DeliveryFilter,
        page: PageOf<DeliveryId>,
    ) -> Result<Vec<DeliveryView>, StoreError>;

    /// Whether any delivery of the webhook was delivered then or later, whenever it was accepted. Costs a look into an
    /// index of each day, however many deliveries the webhook has: it is asked of webhooks that fail all the time.
    ///
    /// # Errors
    /// When the store does not answer.
    async fn has_delivered_since(&self, webhook: WebhookId, since: Timestamp) -> Result<bool, StoreError>;

    /// # Errors
    /// When the store does not answer.
    async fn ledger(&self, query: &LedgerQuery, overdue_before: Timestamp) -> Result<Ledger, StoreError>;
}
