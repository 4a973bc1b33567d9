//! What the directory holds, and how changes go into it. Views are made anew for the tenants that a change
//! touches, so that asking is a look-up and a pointer.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use postrider_contract::ids::{KeyId, TenantId, WebhookId};
use postrider_contract::key::{AdminKey, ApiKey, KeyHash};
use postrider_contract::ports::{Changes, ConfigKind, ConfigRecord};
use postrider_contract::profile::{ProfileName, builtin_profile, builtin_profiles};
use postrider_contract::revision::Revision;
use postrider_contract::tenant::Tenant;
use postrider_contract::webhook::{Webhook, WebhookState};

use super::{Found, ProfileEntry, ProfileUse, TenantView, WebhookEntry};
use crate::config_object::{ConfigObject, StoredProfile, UnreadableDocument, read_object};

/// `None` is a tombstone.
type Slot<T> = Option<(Arc<T>, Revision)>;

#[derive(Default)]
pub(super) struct Contents {
    pub(super) revision: Revision,
    pub(super) admin_key: Option<KeyHash>,
    tenants: HashMap<TenantId, Slot<Tenant>>,
    webhooks: HashMap<WebhookId, Slot<Webhook>>,
    webhooks_of: HashMap<TenantId, BTreeSet<WebhookId>>,
    keys: HashMap<KeyHash, Arc<ApiKey>>,
    key_hashes: HashMap<KeyId, KeyHash>,
    profiles: HashMap<ProfileName, ProfileEntry>,
    /// Those of them that can be chosen no more.
    withdrawn: HashSet<ProfileName>,
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
    pub(super) fn apply(&mut self, changes: Changes) {
        let mut touched = Touched::default();
        for record in &changes.records {
            if let Err(error) = self.apply_one(record, &mut touched) {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "a configuration document is not readable by this version and is left out"
                );
            }
        }
        self.revision = self.revision.max(changes.up_to);
        if touched.all {
            touched.tenants.extend(self.tenants.keys().cloned());
        }
        for tenant in touched.tenants {
            self.make_view(&tenant);
        }
    }

    fn apply_one(&mut self, record: &ConfigRecord, touched: &mut Touched) -> Result<(), UnreadableDocument> {
        match record.key.kind {
            ConfigKind::AdminKey => {
                self.admin_key = read_object::<AdminKey>(record)?.map(|key| key.hash);
            }
            ConfigKind::Tenant => {
                let slot = slot::<Tenant>(record)?;
                if let Ok(id) = record.key.id.parse::<TenantId>() {
                    self.tenants.insert(id.clone(), slot);
                    touched.tenants.insert(id);
                }
            }
            ConfigKind::Webhook => self.apply_webhook(record, touched)?,
            ConfigKind::Key => self.apply_key(record)?,
            ConfigKind::Profile => {
                touched.all = true;
                self.apply_profile(record)?;
            }
            // Event types are looked up in the store by those who list or check them.
            ConfigKind::EventType => {}
        }
        Ok(())
    }

    fn apply_webhook(
        &mut self,
        record: &ConfigRecord,
        touched: &mut Touched,
    ) -> Result<(), UnreadableDocument> {
        let (Ok(id), Some(tenant)) = (record.key.id.parse::<WebhookId>(), record.key.tenant.clone()) else {
            return Ok(());
        };
        let slot = slot::<Webhook>(record)?;
        let ids = self.webhooks_of.entry(tenant.clone()).or_default();
        if slot.is_some() {
            ids.insert(id);
        } else {
            ids.remove(&id);
            self.entries.remove(&id);
        }
        self.webhooks.insert(id, slot);
        touched.tenants.insert(tenant);
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
            self.profiles.remove(&name);
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
                self.profiles.insert(name, entry);
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
        for webhook_id in ids {
            let Some(Some((webhook, webhook_revision))) = self.webhooks.get(&webhook_id).cloned() else {
                continue;
            };
            let name = webhook.profile.as_ref().unwrap_or(&tenant.profile);
            let Some(profile) = self.profile(name) else {
                tracing::error!(webhook.id = %webhook_id, profile = %name, "the profile of a webhook is not there");
                // What is known must not depend on what was known before.
                self.entries.remove(&webhook_id);
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
        self.views.insert(id.clone(), Arc::new(TenantView { tenant, revision, webhooks }));
    }

    pub(super) fn tenant(&self, id: &TenantId) -> Found<Arc<TenantView>> {
        match (self.views.get(id), self.tenants.get(id)) {
            (Some(view), _) => Found::Known(Arc::clone(view)),
            (None, Some(None)) => Found::Deleted,
            (None, _) => Found::Unknown,
        }
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

    pub(super) fn profile(&self, name: &ProfileName) -> Option<ProfileEntry> {
        let builtin = builtin_profile(name).map(|profile| ProfileEntry { profile, revision: Revision::ZERO });
        builtin.or_else(|| self.profiles.get(name).cloned())
    }

    pub(super) fn offered_profile(&self, name: &ProfileName) -> Option<ProfileEntry> {
        self.profile(name).filter(|_| !self.withdrawn.contains(name))
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

    pub(super) fn key(&self, hash: &KeyHash) -> Option<Arc<ApiKey>> {
        self.keys.get(hash).cloned()
    }

    pub(super) fn webhook_counts(&self) -> [(&'static str, usize); 3] {
        let (mut active, mut paused, mut disabled) = (0, 0, 0);
        for entry in self.entries.values() {
            match entry.webhook.state {
                WebhookState::Active => active += 1,
                WebhookState::Paused { .. } => paused += 1,
                WebhookState::Disabled { .. } => disabled += 1,
            }
        }
        [("active", active), ("paused", paused), ("disabled", disabled)]
    }
}

fn slot<T: ConfigObject>(record: &ConfigRecord) -> Result<Slot<T>, UnreadableDocument> {
    Ok(read_object::<T>(record)?.map(|object| (Arc::new(object), record.revision)))
}
