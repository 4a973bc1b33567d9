//! Webhooks ready to be called: their requests and where these go, worked out once for each of their revisions.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use postrider_contract::ids::WebhookId;
use postrider_contract::profile::ProfileName;
use postrider_contract::revision::Revision;
use postrider_service::directory::WebhookEntry;
use postrider_service::secret_box::SecretBox;
use postrider_service::webhook_requests::{PrepareError, TryRequest, WebhookRequests};

use crate::client::{Endpoint, HeaderCase};

/// More webhooks than this are not kept ready; each is some kilobytes.
const MAX_KEPT: usize = 16_384;
/// Requests of one webhook may differ in these alone: a postback has content or none.
const CONTENT_HEADERS: [&str; 2] = ["Content-Type", "Content-Length"];

/// A webhook, ready to be called.
#[derive(Debug)]
pub struct Prepared {
    pub requests: WebhookRequests,
    pub endpoint: Arc<Endpoint>,
    case: OnceLock<HeaderCase>,
}

impl Prepared {
    /// # Errors
    /// When a secret does not open, or what is stored cannot be written in a request.
    pub fn new(entry: Arc<WebhookEntry>, secrets: &SecretBox) -> Result<Self, PrepareError> {
        let endpoint = Arc::new(Endpoint::of(
            &entry.webhook.url,
            entry.profile.profile.definition().request.minimum_tls,
        ));
        Ok(Prepared { requests: WebhookRequests::open(entry, secrets)?, endpoint, case: OnceLock::new() })
    }

    #[must_use]
    pub fn entry(&self) -> &Arc<WebhookEntry> {
        &self.requests.entry
    }

    /// How the header names are written: learnt from the first request, since all have the same.
    pub fn header_case(&self, request: &TryRequest) -> HeaderCase {
        let names = || request.written().map(|(name, _)| name).chain(CONTENT_HEADERS);
        self.case.get_or_init(|| HeaderCase::of(names())).clone()
    }

    fn is_of(&self, entry: &WebhookEntry) -> bool {
        let revisions = |entry: &WebhookEntry| (entry.revision, entry.tenant_revision);
        revisions(self.entry()) == revisions(entry)
    }
}

/// A webhook under one profile: its own, or an earlier one that deliveries under way were rendered with.
type ReadyKey = (WebhookId, ProfileName, Revision);

/// The webhooks that are ready; each of the newest revision that was asked for.
pub struct Preparations {
    secrets: SecretBox,
    ready: Mutex<HashMap<ReadyKey, Arc<Prepared>>>,
}

impl Preparations {
    #[must_use]
    pub fn new(secrets: SecretBox) -> Self {
        Preparations { secrets, ready: Mutex::default() }
    }

    /// # Errors
    /// As [`Prepared::new`].
    pub fn of(&self, entry: &Arc<WebhookEntry>) -> Result<Arc<Prepared>, PrepareError> {
        let profile = &entry.profile;
        let key = (entry.webhook.id, profile.profile.name().clone(), profile.revision);
        if let Some(ready) = self.ready().get(&key).filter(|ready| ready.is_of(entry)) {
            return Ok(Arc::clone(ready));
        }
        let prepared = Arc::new(Prepared::new(Arc::clone(entry), &self.secrets)?);
        let mut ready = self.ready();
        if ready.len() >= MAX_KEPT {
            // Whoever is still called comes back by itself.
            ready.clear();
        }
        ready.insert(key, Arc::clone(&prepared));
        Ok(prepared)
    }

    fn ready(&self) -> MutexGuard<'_, HashMap<ReadyKey, Arc<Prepared>>> {
        self.ready.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
