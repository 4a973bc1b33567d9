//! What the management routes work with.

use std::sync::Arc;

use axum::extract::FromRef;
use postrider_contract::clock::{Clock, Entropy};
use postrider_contract::egress::UrlRule;
use postrider_contract::ports::{ConfigStore, EventIntake, LogQueries, WaitingRoom};
use postrider_service::authentication::Authenticator;
use postrider_service::directory::Directory;
use postrider_service::secret_box::SecretBox;

use crate::documents::Documents;
use crate::waiting::WaitingCounts;

/// How much one tenant may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ManageLimits {
    /// Every event is matched against all of its tenant's webhooks. One event may match 5,000 of them; twice as many
    /// leaves room for those it does not match, and matching is still a walk over memory.
    pub webhooks_per_tenant: usize,
    /// Enough for a key per service and its rotation.
    pub keys_per_tenant: usize,
    /// Of templates and filters together; 1.6 KiB for each of so many webhooks. Read, a template takes some three times
    /// its bytes, a filter of short values up to thirty times.
    pub template_bytes_per_tenant: usize,
}

impl Default for ManageLimits {
    fn default() -> Self {
        ManageLimits {
            webhooks_per_tenant: 10_000,
            keys_per_tenant: 100,
            template_bytes_per_tenant: 16 * 1024 * 1024,
        }
    }
}

/// What whoever assembles the process hands over.
pub struct ManageParts {
    pub store: Arc<dyn ConfigStore>,
    pub authenticator: Arc<Authenticator>,
    pub clock: Arc<dyn Clock>,
    pub entropy: Arc<dyn Entropy>,
    /// Seals what webhooks keep secret.
    pub secret_box: SecretBox,
    /// Which URLs may be registered.
    pub url_rule: UrlRule,
    pub waiting_room: Arc<dyn WaitingRoom>,
    pub log: Arc<dyn LogQueries>,
    /// The ordinary path of events, for test deliveries.
    pub intake: Arc<dyn EventIntake>,
    /// The addresses that deliveries come from, as the operator states them.
    pub egress_addresses: Vec<String>,
    pub limits: ManageLimits,
}

/// The state of the routes; cheap to clone.
#[derive(Clone)]
pub struct ManageState(Arc<Inner>);

struct Inner {
    parts: ManageParts,
    documents: Documents,
    waiting: WaitingCounts,
}

impl ManageState {
    #[must_use]
    pub fn new(parts: ManageParts) -> Self {
        let directory = Arc::clone(parts.authenticator.directory());
        let documents = Documents::new(Arc::clone(&parts.store), directory);
        let waiting = WaitingCounts::new(Arc::clone(&parts.waiting_room));
        ManageState(Arc::new(Inner { parts, documents, waiting }))
    }

    pub(crate) fn parts(&self) -> &ManageParts {
        &self.0.parts
    }

    pub(crate) fn documents(&self) -> &Documents {
        &self.0.documents
    }

    pub(crate) fn waiting(&self) -> &WaitingCounts {
        &self.0.waiting
    }

    pub(crate) fn directory(&self) -> &Directory {
        self.0.parts.authenticator.directory()
    }
}

impl FromRef<ManageState> for Arc<Authenticator> {
    fn from_ref(state: &ManageState) -> Self {
        Arc::clone(&state.0.parts.authenticator)
    }
}
