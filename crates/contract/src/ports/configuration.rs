//! The configuration store: small documents with revisions, written by manage alone.
//!
//! One counter numbers every change of the installation, in commit order, so "what changed since" misses
//! nothing. Old revisions are kept for as long as deliveries may name them: those they were rendered with.

use async_trait::async_trait;
use bytes::Bytes;

use super::StoreError;
use crate::clock::Day;
use crate::ids::TenantId;
use crate::revision::Revision;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ConfigKind {
    AdminKey,
    Tenant,
    Key,
    Webhook,
    Profile,
    EventType,
}

impl ConfigKind {
    pub const ALL: [ConfigKind; 6] = [
        ConfigKind::AdminKey,
        ConfigKind::Tenant,
        ConfigKind::Key,
        ConfigKind::Webhook,
        ConfigKind::Profile,
        ConfigKind::EventType,
    ];

    /// The stored word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            ConfigKind::AdminKey => "admin_key",
            ConfigKind::Tenant => "tenant",
            ConfigKind::Key => "key",
            ConfigKind::Webhook => "webhook",
            ConfigKind::Profile => "profile",
            ConfigKind::EventType => "event_type",
        }
    }

    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == word)
    }
}

/// What names a document. `tenant` is `None` for what belongs to the whole installation.
/// Tenants themselves are documents of the installation, with their own id.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConfigKey {
    pub kind: ConfigKind,
    pub tenant: Option<TenantId>,
    pub id: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigRecord {
    pub key: ConfigKey,
    pub revision: Revision,
    /// `None` is a tombstone: *unknown* is never *deleted*.
    pub document: Option<Bytes>,
}

/// What the writer believes is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// Nothing, and there never was: an id is not used twice.
    Absent,
    /// Not deleted, and at this revision.
    At(Revision),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigWrite {
    pub key: ConfigKey,
    pub expected: Expected,
    /// `None` deletes.
    pub document: Option<Bytes>,
}

#[derive(Debug, thiserror::Error)]
pub enum ConfigWriteError {
    /// Something else is there than was expected; nothing was written.
    #[error("it was changed meanwhile")]
    Conflict { current: Option<Revision> },
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Newest first: by id, descending.
#[derive(Clone, Debug)]
pub struct ListConfig {
    pub kind: ConfigKind,
    /// `None`: documents of the installation only.
    pub tenant: Option<TenantId>,
    /// Only ids that sort before this one.
    pub before: Option<String>,
    pub limit: u32,
}

#[derive(Clone, Debug, Default)]
pub struct Changes {
    /// In the order of their revisions; of each document the newest state only.
    pub records: Vec<ConfigRecord>,
    /// Everything up to here is in `records` (or was asked for before).
    pub up_to: Revision,
    /// There is more: ask again from `up_to`.
    pub has_more: bool,
}

#[async_trait]
pub trait ConfigStore: Send + Sync {
    /// All of `writes`, or none. Answers the revision of the last (each write takes the next number).
    ///
    /// # Errors
    /// [`ConfigWriteError::Conflict`] if any expectation does not hold.
    async fn write(&self, writes: Vec<ConfigWrite>) -> Result<Revision, ConfigWriteError>;

    /// The newest state of a document, tombstones included.
    ///
    /// # Errors
    /// When the store does not answer.
    async fn read(&self, key: &ConfigKey) -> Result<Option<ConfigRecord>, StoreError>;

    /// A document as it was at a revision: the newest state not after it.
    ///
    /// # Errors
    /// When the store does not answer.
    async fn read_at(&self, key: &ConfigKey, revision: Revision) -> Result<Option<ConfigRecord>, StoreError>;

    /// Documents that are not deleted.
    ///
    /// # Errors
    /// When the store does not answer.
    async fn list(&self, query: ListConfig) -> Result<Vec<ConfigRecord>, StoreError>;

    /// # Errors
    /// When the store does not answer.
    async fn changes_since(&self, revision: Revision, limit: u32) -> Result<Changes, StoreError>;

    /// Drops every state that was superseded before `day` began, as far as earlier calls noted on each day how far the
    /// configuration was; this one notes it for `today`. The newest state of a document stays, and so does what is not
    /// known to be so old. Answers how many were dropped.
    ///
    /// # Errors
    /// When the store does not answer; some may be dropped by then.
    async fn forget_superseded_before(&self, day: Day, today: Day) -> Result<u64, StoreError>;

    /// Resolves when something may have changed since the last call; may resolve without reason, and
    /// resolves within a second at the latest while the store answers. Safe to cancel.
    async fn changed(&self);
}
