//! What the directory holds, and how changes go into it. Views are made anew for the tenants that a change
//! touches, so that asking is a look-up and a pointer; they show changes when all of them are in.
//!
//! What cannot be read is not what was known of it before: a webhook that a newer version wrote is unusable here, and
//! whoever matches events is told so. A profile and a tenant are kept as they were last read: what goes by them is as if
//! it had come before the change. A tenant that this version never could read is told from one that is not there.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use postrider_contract::catalogue::Catalogue;
use postrider_contract::event::EventType;
use postrider_contract::ids::{KeyId, TenantId, WebhookId};
use postrider_contract::key::{AdminKey, ApiKey, KeyHash};
use postrider_contract::ports::{Changes, ConfigKind, ConfigRecord};
use postrider_contract::profile::{ProfileName, builtin_profile, builtin_profiles};
use postrider_contract::revision::Revision;
use postrider_contract::tenant::Tenant;
use postrider_contract::webhook::{Webhook, WebhookState};

use super::event_types::EventTypes;
use super::unusable::UnusableWebhook;
use super::{Found, ProfileEntry, ProfileUse, TenantView, WebhookEntry};
use crate::config_object::{ConfigObject, StoredProfile, UnreadableDocument, read_object};

/// `None` is a tombstone.
type Slot<T> = Option<(Arc<T>, Revision)>;

#[derive(Default)]
pub(super) struct Contents {
    /// Views show everything up to here.
    pub(super) revision: Revision,
    /// Read up to here; views show it when there is no more to read.
    pub(super) read_up_to: Revision,
    touched: Touched,
    pub(super) admin_key: Option<KeyHash>,
    tenants: HashMap<TenantId, Slot<Tenant>>,
    /// Those whose newest state this version cannot read.
    unreadable_tenants: HashSet<TenantId>,
    webhooks: HashMap<WebhookId, Slot<Webhook>>,
    /// Those whose newest state this version cannot read.
    unreadable: HashMap<WebhookId, UnusableWebhook>,
    webhooks_of: HashMap<TenantId, BTreeSet<WebhookId>>,
    keys: HashMap<KeyHash, Arc<ApiKey>>,
    key_hashes: HashMap<KeyId, KeyHash>,
    profiles: HashMap<ProfileName, ProfileEntry>,
    /// Those of them that can be chosen no more.
    withdrawn: HashSet<ProfileName>,
    /// States of profiles that are not the newest any more, and were nobody else's to keep yet.
    replaced: Vec<ProfileEntry>,
    event_types: EventTypes,
    views: HashMap<TenantId, Arc<TenantView>>,
    entries: HashMap<WebhookId, Arc<WebhookEntry>>,
}

/// Which views a batch of changes makes stale.
#[derive(Default)]
struct Touched {
    tenants: BTreeSet<TenantId>,
    all: bool,
}

impl Contents {
    /// Takes in one page of changes; with the last one, views show them all. What belongs together (a webhook and the
    /// profile that it names) may stand on two pages. Answers the states of profiles that were replaced.
    pub(super) fn apply(&mut self, changes: Changes) -> Vec<ProfileEntry> {
        for record in &changes.records {
            if let Err(error) = self.apply_one(record) {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "a configuration document is not readable by this version and is left out"
                );
            }
        }
        self.read_up_to = self.read_up_to.max(changes.up_to);
        if !changes.has_more {
            let mut touched = std::mem::take(&mut self.touched);
            if touched.all {
                touched.tenants.extend(self.tenants.keys().cloned());
            }
            for tenant in touched.tenants {
                self.make_view(&tenant);
            }
            self.revision = self.read_up_to;
        }
        std::mem::take(&mut self.replaced)
    }

    fn apply_one(&mut self, record: &ConfigRecord) -> Result<(), UnreadableDocument> {
        match record.key.kind {
            ConfigKind::AdminKey => {
                self.admin_key = read_object::<AdminKey>(record)?.map(|key| key.hash);
            }
            ConfigKind::Tenant => self.apply_tenant(record)?,
            ConfigKind::Webhook => self.apply_webhook(record)?,
            ConfigKind::Key => self.apply_key(record)?,
            ConfigKind::Profile => {
                self.touched.all = true;
                self.apply_profile(record)?;
            }
            ConfigKind::EventType => {
                self.event_types.apply(record)?;
                match &record.key.tenant {
                    Some(tenant) => drop(self.touched.tenants.insert(tenant.clone())),
                    None => self.touched.all = true,
                }
            }
        }
        Ok(())
    }

    fn apply_tenant(&mut self, record: &ConfigRecord) -> Result<(), UnreadableDocument> {
        let Ok(id) = record.key.id.parse::<TenantId>() else { return Ok(()) };
        match slot::<Tenant>(record) {
            Ok(slot) => {
                self.unreadable_tenants.remove(&id);
                self.tenants.insert(id.clone(), slot);
                self.touched.tenants.insert(id);
                Ok(())
            }
            Err(error) => {
                self.unreadable_tenants.insert(id);
                Err(error)
            }
        }
    }

    fn apply_webhook(&mut self, record: &ConfigRecord) -> Result<(), UnreadableDocument> {
        let (Ok(id), Some(tenant)) = (record.key.id.parse::<WebhookId>(), record.key.tenant.clone()) else {
            return Ok(());
        };
        self.unreadable.remove(&id);
        let slot = slot::<Webhook>(record);
        let ids = self.webhooks_of.entry(tenant.clone()).or_default();
        match &slot {
            Ok(Some(_)) => {
                ids.insert(id);
            }
            Ok(None) => {
                ids.remove(&id);
                self.entries.remove(&id);
            }
            Err(_) => {
                ids.insert(id);
                self.entries.remove(&id);
                self.webhooks.remove(&id);
                self.unreadable.extend(UnusableWebhook::of_unreadable(id, record).map(|found| (id, found)));
            }
        }
        self.touched.tenants.insert(tenant);
        self.webhooks.insert(id, slot?);
        Ok(())
    }

    fn apply_key(&mut self, record: &ConfigRecord) -> Result<(), UnreadableDocument> {
        let Ok(id) = record.key.id.parse::<KeyId>() else { return Ok(()) };
        if let Some(hash) = self.key_hashes.remove(&id) {
            self.keys.remove(&hash);
        }
        if let Some(key) = read_object::<ApiKey>(record)? {
            self.key_hashes.insert(id, key.hash.clone());
            self.keys.insert(key.hash.clone(), Arc::new(key));
        }
        Ok(())
    }

    fn apply_profile(&mut self, record: &ConfigRecord) -> Result<(), UnreadableDocument> {
        let Ok(name) = record.key.id.parse::<ProfileName>() else { return Ok(()) };
        let Some(stored) = read_object::<StoredProfile>(record)? else {
            self.replaced.extend(self.profiles.remove(&name));
            self.withdrawn.remove(&name);
            return Ok(());
        };
        match stored.definition().clone().compile() {
            Ok(profile) => {
                let entry = ProfileEntry { profile: Arc::new(profile), revision: record.revision };
                if stored.is_withdrawn() {
                    self.withdrawn.insert(name.clone());
                } else {
                    self.withdrawn.remove(&name);
                }
                self.replaced.extend(self.profiles.insert(name, entry));
            }
            Err(error) => tracing::error!(%error, profile = %name, "a stored profile is not usable"),
        }
        Ok(())
    }

    fn make_view(&mut self, id: &TenantId) {
        let Some(Some((tenant, revision))) = self.tenants.get(id).cloned() else {
            self.views.remove(id);
            for webhook in self.webhooks_of.get(id).into_iter().flatten() {
                self.entries.remove(webhook);
            }
            return;
        };
        let ids: Vec<WebhookId> = self.webhooks_of.get(id).into_iter().flatten().copied().collect();
        let mut webhooks = Vec::with_capacity(ids.len());
        let mut unusable = Vec::new();
        for webhook_id in ids {
            let Some(Some((webhook, webhook_revision))) = self.webhooks.get(&webhook_id).cloned() else {
                unusable.extend(self.unreadable.get(&webhook_id).cloned());
                continue;
            };
            let name = webhook.profile.as_ref().unwrap_or(&tenant.profile);
            let Some(profile) = self.profile(name) else {
                tracing::error!(webhook.id = %webhook_id, profile = %name, "the profile of a webhook is not there");
                // What is known must not depend on what was known before.
                self.entries.remove(&webhook_id);
                unusable.extend(UnusableWebhook::without_profile(&webhook));
                continue;
            };
            // A tenant may have thousands: what has not changed is not made again.
            let kept = self.entries.get(&webhook_id).filter(|entry| {
                entry.revision == webhook_revision
                    && entry.tenant_revision == revision
                    && Arc::ptr_eq(&entry.profile.profile, &profile.profile)
            });
            if let Some(entry) = kept {
                webhooks.push(Arc::clone(entry));
                continue;
            }
            let entry = Arc::new(WebhookEntry {
                webhook: Webhook::clone(&webhook),
                revision: webhook_revision,
                tenant: Arc::clone(&tenant),
                tenant_revision: revision,
                profile,
            });
            self.entries.insert(webhook_id, Arc::clone(&entry));
            webhooks.push(entry);
        }
        let builtin = self.profile(&tenant.profile);
        let builtin = builtin.as_ref().and_then(|entry| entry.profile.definition().catalogue.as_deref());
        let catalogue = self.event_types.catalogue_of(id, builtin);
        let view = TenantView { tenant, revision, webhooks, unusable, catalogue };
        self.views.insert(id.clone(), Arc::new(view));
    }

    pub(super) fn tenant(&self, id: &TenantId) -> Found<Arc<TenantView>> {
        match (self.views.get(id), self.tenants.get(id)) {
            (Some(view), _) => Found::Known(Arc::clone(view)),
            (None, Some(None)) => Found::Deleted,
            (None, _) => Found::Unknown,
        }
    }

    pub(super) fn cannot_read_tenant(&self, id: &TenantId) -> bool {
        self.unreadable_tenants.contains(id) && !self.views.contains_key(id)
    }

    /// The webhooks of a deleted tenant are deleted with it.
    pub(super) fn webhook(&self, id: WebhookId) -> Found<Arc<WebhookEntry>> {
        if let Some(entry) = self.entries.get(&id) {
            return Found::Known(Arc::clone(entry));
        }
        match self.webhooks.get(&id) {
            Some(None) => Found::Deleted,
            Some(Some((webhook, _))) if matches!(self.tenants.get(&webhook.tenant), Some(None)) => {
                Found::Deleted
            }
            Some(Some(_)) | None => Found::Unknown,
        }
    }

    /// A name that an operator's profile had before a version came with a built-in one of that name stays the
    /// operator's, until that profile is withdrawn.
    pub(super) fn profile(&self, name: &ProfileName) -> Option<ProfileEntry> {
        self.offered_profile(name).or_else(|| self.profiles.get(name).cloned())
    }

    pub(super) fn offered_profile(&self, name: &ProfileName) -> Option<ProfileEntry> {
        let stored = self.profiles.get(name).filter(|_| !self.withdrawn.contains(name));
        stored.cloned().or_else(|| builtin(name))
    }

    /// The profile in the state of that revision, if that is the newest, or built in.
    pub(super) fn profile_at(&self, name: &ProfileName, revision: Revision) -> Option<ProfileEntry> {
        if revision == Revision::ZERO {
            return builtin(name);
        }
        self.profiles.get(name).filter(|entry| entry.revision == revision).cloned()
    }

    pub(super) fn offered_profiles(&self) -> BTreeMap<ProfileName, ProfileEntry> {
        let builtin = builtin_profiles().iter().map(|profile| profile.name());
        let names = self.profiles.keys().chain(builtin);
        names.filter_map(|name| Some((name.clone(), self.offered_profile(name)?))).collect()
    }

    pub(super) fn own_profile_count(&self) -> usize {
        self.profiles.len()
    }

    /// Its tenants by their ids, then the webhooks that name it themselves.
    pub(super) fn profile_uses(&self, name: &ProfileName) -> Vec<ProfileUse> {
        let tenants = self.tenants.values().flatten().filter(|(tenant, _)| tenant.profile == *name);
        let mut tenants: Vec<TenantId> = tenants.map(|(tenant, _)| tenant.id.clone()).collect();
        tenants.sort();
        let mut webhooks: Vec<_> =
            self.entries.values().filter(|entry| entry.webhook.profile.as_ref() == Some(name)).collect();
        webhooks.sort_by_key(|entry| entry.webhook.id);
        let webhooks = webhooks.into_iter().map(|entry| ProfileUse::Webhook(Arc::clone(entry)));
        tenants.into_iter().map(ProfileUse::Tenant).chain(webhooks).collect()
    }

    pub(super) fn webhooks_with_profile(&self, name: &ProfileName) -> Vec<Arc<WebhookEntry>> {
        let mut found: Vec<_> =
            self.entries.values().filter(|entry| entry.profile.profile.name() == name).cloned().collect();
        found.sort_by_key(|entry| entry.webhook.id);
        found
    }

    pub(super) fn pinned_below(&self, event_type: &EventType, major: u16) -> Vec<Arc<WebhookEntry>> {
        let is_concerned = |entry: &&Arc<WebhookEntry>| {
            let webhook = &entry.webhook;
            let is_disabled = matches!(webhook.state, WebhookState::Disabled { .. });
            let pinned = webhook.pinned_major(event_type);
            !is_disabled && pinned.is_some_and(|pinned| pinned.get() < major) && webhook.wants(event_type)
        };
        let mut found: Vec<_> = self.entries.values().filter(is_concerned).cloned().collect();
        found.sort_by_key(|entry| entry.webhook.id);
        found
    }

    pub(super) fn installation_catalogue(&self) -> Catalogue {
        self.event_types.installation()
    }

    pub(super) fn key(&self, hash: &KeyHash) -> Option<Arc<ApiKey>> {
        self.keys.get(hash).cloned()
    }

    /// Active, paused, disabled, and those that are there but cannot be used here.
    pub(super) fn webhook_counts(&self) -> [(&'static str, usize); 4] {
        let (mut active, mut paused, mut disabled) = (0, 0, 0);
        for entry in self.entries.values() {
            match entry.webhook.state {
                WebhookState::Active => active += 1,
                WebhookState::Paused { .. } => paused += 1,
                WebhookState::Disabled { .. } => disabled += 1,
            }
        }
        let unusable = self.views.values().map(|view| view.unusable.len()).sum();
        [("active", active), ("paused", paused), ("disabled", disabled), ("unusable", unusable)]
    }
}

fn builtin(name: &ProfileName) -> Option<ProfileEntry> {
    builtin_profile(name).map(|profile| ProfileEntry { profile, revision: Revision::ZERO })
}

fn slot<T: ConfigObject>(record: &ConfigRecord) -> Result<Slot<T>, UnreadableDocument> {
    Ok(read_object::<T>(record)?.map(|object| (Arc::new(object), record.revision)))
}
