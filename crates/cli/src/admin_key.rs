//! The admin key: given by configuration, or made at the first start of an installation and shown once.

use std::sync::Arc;

use anyhow::Context;
use postrider_contract::clock::{Clock, Entropy};
use postrider_contract::key::{AdminKey, KeyHash};
use postrider_contract::ports::{ConfigStore, ConfigWriteError, Expected};
use postrider_contract::secret::Secret;
use postrider_service::authentication::AdminKeySource;
use postrider_service::config_object::{ConfigObject, admin_key};
use postrider_service::key_text::{KeyHolder, draw_key};

/// Where the admin key's hash is, and the key itself if it was made just now.
pub struct AdminAccess {
    pub source: AdminKeySource,
    pub made: Option<Secret>,
}

/// # Errors
/// When the store does not answer.
pub async fn find_or_make(
    configured: Option<&Secret>,
    store: &Arc<dyn ConfigStore>,
    clock: &dyn Clock,
    entropy: &dyn Entropy,
) -> anyhow::Result<AdminAccess> {
    if let Some(key) = configured {
        let source = AdminKeySource::Configured(KeyHash::of(key.reveal()));
        return Ok(AdminAccess { source, made: None });
    }
    let source = AdminKeySource::Stored;
    if store.read(&admin_key()).await.context("cannot look for the admin key")?.is_some() {
        return Ok(AdminAccess { source, made: None });
    }
    let key = draw_key(KeyHolder::Admin, entropy);
    let stored = AdminKey { hash: KeyHash::of(key.reveal()), created_at: clock.now() };
    match store.write(vec![stored.write(Expected::Absent)]).await {
        Ok(_) => Ok(AdminAccess { source, made: Some(key) }),
        // Another process of the installation was first, and has shown its key.
        Err(ConfigWriteError::Conflict { .. }) => Ok(AdminAccess { source, made: None }),
        Err(ConfigWriteError::Store(error)) => Err(error).context("cannot store the admin key"),
    }
}
