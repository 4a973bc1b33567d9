//! The ports: what an engine must be able to do. Shaped by RabbitMQ's truths (lease, confirm, redelivery,
//! delay by lane); each engine passes the same conformance suite.

mod configuration;
mod disabling;
mod intake;
mod keyed;
mod leadership;
mod lease;
mod log;
mod queue;
mod strays;
mod waiting_room;

pub use configuration::{
    Changes, ConfigKey, ConfigKind, ConfigRecord, ConfigStore, ConfigWrite, ConfigWriteError, Expected,
    ListConfig,
};
pub use disabling::{DisableOrder, WebhookDisabler};
pub use intake::{
    EventIntake, IntakeError, IntakeReceipt, IntakeSource, ProducerMessage, PutOffQueue, Refusal,
    RefusedQueue,
};
pub use keyed::{BegunRequest, KeyName, KeyedOutcome, KeyedRequest, KeyedRequests, KeyedState, StoredMatch};
pub use leadership::{Lead, Leadership};
pub use lease::{Lease, LeaseTicket, Settlement};
pub use log::{
    AnswerBody, AttemptView, DeliveryFilter, DeliveryLog, DeliveryView, EventFilter, EventView, Ledger,
    LedgerQuery, LogQueries, OverdueDelivery, PageOf,
};
pub use queue::{
    Journal, JournalSource, Publication, PublishError, QueueDepths, QueueError, Route, WorkKind, WorkQueue,
    WorkSource,
};
pub use strays::{Stray, StrayCause, StrayContents, StrayPlace, StraySource, Strays};
pub use waiting_room::{HeldDelivery, RoomSummary, WaitingRoom};

/// Why a store did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Not reachable, shutting down, out of time or out of space: may work later, nothing was decided.
    #[error("the store is not available: {reason}")]
    Unavailable { reason: String },
    /// The store answered with what should not be possible: a damaged file, a foreign schema, a bug.
    #[error("the store is not as expected: {reason}")]
    Corrupt { reason: String },
}
