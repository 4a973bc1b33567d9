//! Configuration documents as types: how each is named in the store, and its JSON form.

use std::sync::Arc;

use bytes::Bytes;
use postrider_contract::catalogue::EventTypeDefinition;
use postrider_contract::event::EventType;
use postrider_contract::ids::{TenantId, WebhookId};
use postrider_contract::key::{AdminKey, ApiKey};
use postrider_contract::ports::{
    ConfigKey, ConfigKind, ConfigRecord, ConfigStore, ConfigWrite, Expected, StoreError,
};
use postrider_contract::profile::{CompiledProfile, Profile, ProfileName, builtin_profile};
use postrider_contract::revision::Revision;
use postrider_contract::tenant::Tenant;
use postrider_contract::webhook::Webhook;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::unknown_members::with_unknown_members;

/// A type that is kept as one configuration document.
pub trait ConfigObject: Serialize + DeserializeOwned {
    fn key(&self) -> ConfigKey;

    /// The write that stores this state.
    fn write(&self, expected: Expected) -> ConfigWrite {
        let json = serde_json::to_vec(self).expect("configuration types hold only what JSON can write");
        ConfigWrite { key: self.key(), expected, document: Some(Bytes::from(json)) }
    }

    /// The write that stores this state in place of `before`, which it was changed from. Members of that document which
    /// this version does not know are kept: a newer one wrote them.
    fn write_over(&self, before: &ConfigRecord) -> ConfigWrite {
        let write = self.write(Expected::At(before.revision));
        let merged = before.document.as_ref().zip(write.document.as_ref()).and_then(|(found, written)| {
            let known = serde_json::to_string(&read_object::<Self>(before).ok()??).ok()?;
            let (found, written) = (std::str::from_utf8(found).ok()?, std::str::from_utf8(written).ok()?);
            with_unknown_members(found, &known, written)
        });
        match merged {
            Some(merged) => ConfigWrite { document: Some(Bytes::from(merged)), ..write },
            None => write,
        }
    }
}

/// A document of the store cannot be read by this version.
#[derive(Debug, thiserror::Error)]
#[error("cannot read {kind} {id} at revision {revision}")]
pub struct UnreadableDocument {
    pub kind: &'static str,
    pub id: String,
    pub revision: u64,
    #[source]
    pub source: serde_json::Error,
}

/// `None` for a tombstone.
///
/// # Errors
/// When the document is not of this type, or of a newer form.
pub fn read_object<T: ConfigObject>(record: &ConfigRecord) -> Result<Option<T>, UnreadableDocument> {
    let parse = |document: &Bytes| {
        serde_json::from_slice(document).map_err(|source| UnreadableDocument {
            kind: record.key.kind.as_str(),
            id: record.key.id.clone(),
            revision: record.revision.number(),
            source,
        })
    };
    record.document.as_ref().map(parse).transpose()
}

#[must_use]
pub fn tenant_key(id: &TenantId) -> ConfigKey {
    ConfigKey { kind: ConfigKind::Tenant, tenant: None, id: id.to_string() }
}

#[must_use]
pub fn webhook_key(tenant: &TenantId, id: WebhookId) -> ConfigKey {
    ConfigKey { kind: ConfigKind::Webhook, tenant: Some(tenant.clone()), id: id.to_string() }
}

/// There is one admin key.
#[must_use]
pub fn admin_key() -> ConfigKey {
    ConfigKey { kind: ConfigKind::AdminKey, tenant: None, id: "admin".to_owned() }
}

#[must_use]
pub fn profile_key(name: &ProfileName) -> ConfigKey {
    ConfigKey { kind: ConfigKind::Profile, tenant: None, id: name.to_string() }
}

/// In a tenant's catalogue, or in the installation's.
#[must_use]
pub fn event_type_key(tenant: Option<&TenantId>, event_type: &EventType) -> ConfigKey {
    ConfigKey { kind: ConfigKind::EventType, tenant: tenant.cloned(), id: event_type.to_string() }
}

/// A profile as it is kept: the form itself, as an operator writes it.
///
/// A deleted one is withdrawn, not gone: it can be chosen no more, but whoever chose it in the very moment of its
/// deletion goes on with it, and its name may be used again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum StoredProfile {
    Withdrawn { withdrawn: Profile },
    Offered(Profile),
}

impl StoredProfile {
    #[must_use]
    pub fn definition(&self) -> &Profile {
        match self {
            StoredProfile::Withdrawn { withdrawn } => withdrawn,
            StoredProfile::Offered(profile) => profile,
        }
    }

    #[must_use]
    pub fn is_withdrawn(&self) -> bool {
        match self {
            StoredProfile::Withdrawn { .. } => true,
            StoredProfile::Offered(_) => false,
        }
    }
}

/// An object as it was at a revision. `None` where it was not there, was deleted, or cannot be read.
///
/// # Errors
/// When the store does not answer.
pub async fn read_object_at<T: ConfigObject>(
    store: &dyn ConfigStore,
    key: &ConfigKey,
    revision: Revision,
) -> Result<Option<T>, StoreError> {
    let record = store.read_at(key, revision).await?;
    Ok(record.and_then(|record| read_object(&record).ok().flatten()))
}

/// A profile as it was at a revision; a built-in one is at revision zero, whatever is stored under its name.
///
/// # Errors
/// When the store does not answer.
pub async fn read_profile_at(
    store: &dyn ConfigStore,
    name: &ProfileName,
    revision: Revision,
) -> Result<Option<Arc<CompiledProfile>>, StoreError> {
    if revision == Revision::ZERO {
        return Ok(builtin_profile(name));
    }
    let stored = read_object_at::<StoredProfile>(store, &profile_key(name), revision).await?;
    Ok(stored.and_then(|stored| stored.definition().clone().compile().ok()).map(Arc::new))
}

impl ConfigObject for Tenant {
    fn key(&self) -> ConfigKey {
        tenant_key(&self.id)
    }
}

impl ConfigObject for Webhook {
    fn key(&self) -> ConfigKey {
        webhook_key(&self.tenant, self.id)
    }
}

impl ConfigObject for StoredProfile {
    fn key(&self) -> ConfigKey {
        profile_key(&self.definition().name)
    }
}

impl ConfigObject for EventTypeDefinition {
    fn key(&self) -> ConfigKey {
        event_type_key(self.tenant.as_ref(), &self.event_type)
    }
}

impl ConfigObject for ApiKey {
    fn key(&self) -> ConfigKey {
        ConfigKey { kind: ConfigKind::Key, tenant: Some(self.tenant.clone()), id: self.id.to_string() }
    }
}

impl ConfigObject for AdminKey {
    fn key(&self) -> ConfigKey {
        admin_key()
    }
}
