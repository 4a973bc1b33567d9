//! The directory: every tenant, key, webhook, profile and type of event, in memory, kept up to date from the store.
//!
//! Told of changes at once (the store's own signal, at most a second), and in any case asked anew every minute.
//! While the store is away it goes on with what it has; [`Directory::age`] says since when it could not be
//! sure, and how old is too old is for whoever asks to decide.
//!
//! *Unknown* is never *deleted*: a tombstone is remembered, and what is merely not here answers [`Found::Unknown`].

mod contents;
mod event_types;
mod unusable;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use postrider_contract::catalogue::Catalogue;
use postrider_contract::delivery::RenderedWith;
use postrider_contract::event::EventType;
use postrider_contract::ids::{TenantId, WebhookId};
use postrider_contract::key::{ApiKey, KeyHash};
use postrider_contract::ports::{ConfigStore, StoreError};
use postrider_contract::profile::{CompiledProfile, ProfileName};
use postrider_contract::revision::Revision;
use postrider_contract::tenant::Tenant;
use postrider_contract::webhook::Webhook;
use tokio::time::Instant;

use crate::config_object::{read_object_at, read_profile_at, tenant_key, webhook_key};
use crate::lifecycle::Stop;
use contents::Contents;
pub use unusable::UnusableWebhook;

/// Documents a refresh asks for at once.
const PAGE: u32 = 1_000;
/// Even if no change was announced: an announcement can be lost.
const REFRESH_EVERY: Duration = Duration::from_secs(60);
/// More former states of profiles than this are not kept: deliveries live for days, and contracts seldom change.
const MAX_FORMER: usize = 256;
const RETRY_AFTER_FAILURE: Duration = Duration::from_millis(500);

/// A profile, with the revision it was read at; zero for a built-in one.
#[derive(Clone, Debug)]
pub struct ProfileEntry {
    pub profile: Arc<CompiledProfile>,
    pub revision: Revision,
}

impl ProfileEntry {
    /// A profile of the program, not one that is stored.
    #[must_use]
    pub fn is_builtin(&self) -> bool {
        self.revision == Revision::ZERO
    }
}

/// A webhook with all that a try of it needs, of one moment.
#[derive(Clone, Debug)]
pub struct WebhookEntry {
    pub webhook: Webhook,
    pub revision: Revision,
    pub tenant: Arc<Tenant>,
    pub tenant_revision: Revision,
    pub profile: ProfileEntry,
}

/// A tenant with its webhooks, of one moment.
#[derive(Clone, Debug)]
pub struct TenantView {
    pub tenant: Arc<Tenant>,
    pub revision: Revision,
    /// By id, oldest first; disabled and paused ones included.
    pub webhooks: Vec<Arc<WebhookEntry>>,
    /// Those that are there beside them and cannot be used by this version: not among `webhooks`.
    pub unusable: Vec<UnusableWebhook>,
    /// The types of event that are described to it.
    pub catalogue: Arc<Catalogue>,
}

impl TenantView {
    /// A webhook that an event of this type, sent to these webhooks or to all, may be for, and that cannot be used here.
    #[must_use]
    pub fn unusable_for(&self, event_type: &EventType, named: Option<&[WebhookId]>) -> Option<WebhookId> {
        let is_meant = |webhook: &&UnusableWebhook| match named {
            Some(named) => named.contains(&webhook.id),
            None => webhook.may_want(event_type),
        };
        self.unusable.iter().find(is_meant).map(|webhook| webhook.id)
    }
}

/// Who chose a profile by its name.
#[derive(Clone, Debug)]
pub enum ProfileUse {
    Tenant(TenantId),
    Webhook(Arc<WebhookEntry>),
}

/// What the directory knows of an id.
#[derive(Clone, Debug)]
pub enum Found<T> {
    Known(T),
    /// It was there once.
    Deleted,
    /// Never seen: perhaps newer than the directory.
    Unknown,
}

impl<T> Found<T> {
    pub fn known(self) -> Option<T> {
        match self {
            Found::Known(value) => Some(value),
            Found::Deleted | Found::Unknown => None,
        }
    }
}

pub struct Directory {
    store: Arc<dyn ConfigStore>,
    contents: RwLock<Contents>,
    /// One refresh at a time.
    refreshed: tokio::sync::Mutex<()>,
    refreshed_at: RwLock<Option<Instant>>,
    /// Profiles as they were, which deliveries under way still go by; `None` where that cannot be read.
    former: Mutex<Former>,
    /// One question about what was at a time; the others find its answer.
    asked: tokio::sync::Mutex<()>,
}

type Former = HashMap<(ProfileName, Revision), Option<Arc<CompiledProfile>>>;

impl Directory {
    /// Reads everything once.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn load(store: Arc<dyn ConfigStore>) -> Result<Arc<Self>, StoreError> {
        let directory = Arc::new(Directory {
            store,
            contents: RwLock::new(Contents::default()),
            refreshed: tokio::sync::Mutex::new(()),
            refreshed_at: RwLock::new(None),
            former: Mutex::default(),
            asked: tokio::sync::Mutex::new(()),
        });
        directory.refresh().await?;
        Ok(directory)
    }

    /// Follows the store until told to stop.
    pub async fn follow(&self, stop: &Stop) {
        loop {
            let wait = match self.refresh().await {
                Ok(()) => REFRESH_EVERY,
                Err(error) => {
                    tracing::warn!(%error, "cannot refresh the directory of webhooks; going on with what is known");
                    tokio::select! {
                        () = stop.halted() => return,
                        () = tokio::time::sleep(RETRY_AFTER_FAILURE) => continue,
                    }
                }
            };
            tokio::select! {
                () = stop.halted() => return,
                () = self.store.changed() => {}
                () = tokio::time::sleep(wait) => {}
            }
        }
    }

    /// Brings in every change up to now.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn refresh(&self) -> Result<(), StoreError> {
        let _one_at_a_time = self.refreshed.lock().await;
        self.bring_in().await
    }

    /// Makes sure that a change is in, which whoever asks has seen elsewhere.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn refresh_to(&self, revision: Revision) -> Result<(), StoreError> {
        if self.revision() >= revision {
            return Ok(());
        }
        let _one_at_a_time = self.refreshed.lock().await;
        // Of many that wait for the same change, the first brings it in for all.
        if self.revision() >= revision { Ok(()) } else { self.bring_in().await }
    }

    /// One at a time.
    async fn bring_in(&self) -> Result<(), StoreError> {
        loop {
            let asked_at = Instant::now();
            let read_up_to = self.read(|contents| contents.read_up_to);
            let changes = self.store.changes_since(read_up_to, PAGE).await?;
            let has_more = changes.has_more;
            let replaced = self.contents.write().unwrap_or_else(PoisonError::into_inner).apply(changes);
            for ProfileEntry { profile, revision } in replaced {
                self.remember(profile.name().clone(), revision, Some(profile));
            }
            if !has_more {
                *self.refreshed_at.write().unwrap_or_else(PoisonError::into_inner) = Some(asked_at);
                return Ok(());
            }
        }
    }

    /// A webhook with its tenant and profile as they were when a delivery of it was rendered, deleted or not since.
    /// `None` where one of them cannot be read any more.
    ///
    /// # Errors
    /// When something has changed since and the store, which keeps what was, does not answer.
    pub async fn webhook_as_rendered(
        &self,
        tenant: &TenantId,
        id: WebhookId,
        profile: &ProfileName,
        rendered_with: RenderedWith,
    ) -> Result<Option<Arc<WebhookEntry>>, StoreError> {
        let is_that = |entry: &Arc<WebhookEntry>| {
            entry.revision == rendered_with.webhook
                && entry.tenant_revision == rendered_with.tenant
                && entry.profile.revision == rendered_with.profile
                && entry.profile.profile.name() == profile
        };
        if let Some(entry) = self.webhook(id).known().filter(is_that) {
            return Ok(Some(entry));
        }
        let store = &*self.store;
        let webhook = read_object_at(store, &webhook_key(tenant, id), rendered_with.webhook).await?;
        let tenant = read_object_at(store, &tenant_key(tenant), rendered_with.tenant).await?;
        let profile = read_profile_at(store, profile, rendered_with.profile).await?;
        let (Some(webhook), Some(tenant), Some(profile)) = (webhook, tenant, profile) else {
            return Ok(None);
        };
        Ok(Some(Arc::new(WebhookEntry {
            webhook,
            revision: rendered_with.webhook,
            tenant: Arc::new(tenant),
            tenant_revision: rendered_with.tenant,
            profile: ProfileEntry { profile, revision: rendered_with.profile },
        })))
    }

    /// A profile as it was when a delivery was rendered with it. `None` where that cannot be read any more.
    ///
    /// # Errors
    /// When it has changed since and the store, which keeps what was, does not answer.
    pub async fn profile_at(
        &self,
        name: &ProfileName,
        revision: Revision,
    ) -> Result<Option<ProfileEntry>, StoreError> {
        match self.known_profile_at(name, revision) {
            Found::Known(entry) => return Ok(Some(entry)),
            Found::Deleted => return Ok(None),
            Found::Unknown => {}
        }
        let _one_at_a_time = self.asked.lock().await;
        // Of many that ask for the same, the first has the answer for all.
        match self.known_profile_at(name, revision) {
            Found::Known(entry) => return Ok(Some(entry)),
            Found::Deleted => return Ok(None),
            Found::Unknown => {}
        }
        let profile = read_profile_at(&*self.store, name, revision).await?;
        self.remember(name.clone(), revision, profile.clone());
        Ok(profile.map(|profile| ProfileEntry { profile, revision }))
    }

    /// The same without asking the store: `None` where only that could tell, or has told that it cannot be read.
    #[must_use]
    pub fn profile_at_hand(&self, name: &ProfileName, revision: Revision) -> Option<ProfileEntry> {
        self.known_profile_at(name, revision).known()
    }

    /// `Deleted` stands for a state that cannot be read any more; that does not change.
    fn known_profile_at(&self, name: &ProfileName, revision: Revision) -> Found<ProfileEntry> {
        if let Some(present) = self.read(|contents| contents.profile_at(name, revision)) {
            return Found::Known(present);
        }
        match self.former().get(&(name.clone(), revision)) {
            Some(Some(profile)) => Found::Known(ProfileEntry { profile: Arc::clone(profile), revision }),
            Some(None) => Found::Deleted,
            None => Found::Unknown,
        }
    }

    fn remember(&self, name: ProfileName, revision: Revision, profile: Option<Arc<CompiledProfile>>) {
        let mut former = self.former();
        if former.len() >= MAX_FORMER {
            // What is still needed comes back by itself.
            former.clear();
        }
        former.insert((name, revision), profile);
    }

    fn former(&self) -> MutexGuard<'_, Former> {
        self.former.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Everything up to here is in.
    #[must_use]
    pub fn revision(&self) -> Revision {
        self.read(|contents| contents.revision)
    }

    /// For how long the store has not confirmed that the directory is up to date.
    #[must_use]
    pub fn age(&self) -> Duration {
        let at = *self.refreshed_at.read().unwrap_or_else(PoisonError::into_inner);
        at.map_or(Duration::MAX, |at| at.elapsed())
    }

    #[must_use]
    pub fn tenant(&self, id: &TenantId) -> Found<Arc<TenantView>> {
        self.read(|contents| contents.tenant(id))
    }

    /// Whether a tenant that is [`Found::Unknown`] is there all the same: a newer version wrote it, and this one never could
    /// read it.
    #[must_use]
    pub fn cannot_read_tenant(&self, id: &TenantId) -> bool {
        self.read(|contents| contents.cannot_read_tenant(id))
    }

    #[must_use]
    pub fn webhook(&self, id: WebhookId) -> Found<Arc<WebhookEntry>> {
        self.read(|contents| contents.webhook(id))
    }

    /// A profile by name: the installation's own, a built-in one, or one that is withdrawn: for those who have it.
    #[must_use]
    pub fn profile(&self, name: &ProfileName) -> Option<ProfileEntry> {
        self.read(|contents| contents.profile(name))
    }

    /// A profile that can be chosen: one that is not withdrawn.
    #[must_use]
    pub fn offered_profile(&self, name: &ProfileName) -> Option<ProfileEntry> {
        self.read(|contents| contents.offered_profile(name))
    }

    /// All that can be chosen.
    #[must_use]
    pub fn offered_profiles(&self) -> BTreeMap<ProfileName, ProfileEntry> {
        self.read(Contents::offered_profiles)
    }

    /// How many profiles there are beside the built-in ones, withdrawn ones included.
    #[must_use]
    pub fn own_profile_count(&self) -> usize {
        self.read(Contents::own_profile_count)
    }

    /// Who names this profile: tenants first, each kind in the order of their ids.
    #[must_use]
    pub fn profile_uses(&self, name: &ProfileName) -> Vec<ProfileUse> {
        self.read(|contents| contents.profile_uses(name))
    }

    /// The webhooks whose deliveries it rules, by their own choice or their tenant's, in the order of their ids.
    #[must_use]
    pub fn webhooks_with_profile(&self, name: &ProfileName) -> Vec<Arc<WebhookEntry>> {
        self.read(|contents| contents.webhooks_with_profile(name))
    }

    /// The types of event that the installation describes for all of its tenants.
    #[must_use]
    pub fn installation_catalogue(&self) -> Catalogue {
        self.read(Contents::installation_catalogue)
    }

    /// The webhooks, of every tenant, that want a type and are pinned to a major of it below this one; disabled ones
    /// left out. In the order of their ids.
    #[must_use]
    pub fn pinned_below(&self, event_type: &EventType, major: u16) -> Vec<Arc<WebhookEntry>> {
        self.read(|contents| contents.pinned_below(event_type, major))
    }

    #[must_use]
    pub fn key(&self, hash: &KeyHash) -> Option<Arc<ApiKey>> {
        self.read(|contents| contents.key(hash))
    }

    #[must_use]
    pub fn admin_key(&self) -> Option<KeyHash> {
        self.read(|contents| contents.admin_key.clone())
    }

    /// How many webhooks are in each state: active, paused, disabled; and how many cannot be used by this version.
    #[must_use]
    pub fn webhook_counts(&self) -> [(&'static str, usize); 4] {
        self.read(Contents::webhook_counts)
    }

    fn read<T>(&self, ask: impl FnOnce(&Contents) -> T) -> T {
        ask(&self.contents.read().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
pub(crate) mod tests;
