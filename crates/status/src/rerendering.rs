//! A delivery's body again, byte for byte: the event's data from the log, profile and tenant as they were.

use std::sync::Arc;

use bytes::Bytes;
use postrider_contract::delivery::RenderedWith;
use postrider_contract::event::Event;
use postrider_contract::ids::{TenantId, WebhookId};
use postrider_contract::ports::{ConfigKey, ConfigKind, ConfigStore, EventView, StoreError};
use postrider_contract::profile::{CompiledProfile, Profile, ProfileName, builtin_profile};
use postrider_contract::rendering::render;
use postrider_contract::revision::Revision;
use postrider_contract::tenant::Tenant;
use postrider_service::config_object::{read_object, tenant_key};

/// What a body was rendered for and with.
#[derive(Clone, Copy, Debug)]
pub struct RenderedAs<'a> {
    pub webhook: WebhookId,
    pub profile: &'a ProfileName,
    pub rendered_with: RenderedWith,
}

pub struct Rerendering {
    config: Arc<dyn ConfigStore>,
}

impl Rerendering {
    #[must_use]
    pub fn new(config: Arc<dyn ConfigStore>) -> Arc<Self> {
        Arc::new(Rerendering { config })
    }

    /// `None` where something that is needed is not there any more.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn body(&self, event: &Event, rendered: RenderedAs<'_>) -> Result<Option<Bytes>, StoreError> {
        let Some(profile) = self.profile(rendered.profile, rendered.rendered_with.profile).await? else {
            return Ok(None);
        };
        let Some(tenant) = self.tenant(&event.tenant, rendered.rendered_with.tenant).await? else {
            return Ok(None);
        };
        Ok(render(&profile, event, &tenant, rendered.webhook).ok())
    }

    async fn tenant(&self, id: &TenantId, revision: Revision) -> Result<Option<Tenant>, StoreError> {
        let record = self.config.read_at(&tenant_key(id), revision).await?;
        Ok(record.and_then(|record| read_object::<Tenant>(&record).ok().flatten()))
    }

    async fn profile(
        &self,
        name: &ProfileName,
        revision: Revision,
    ) -> Result<Option<Arc<CompiledProfile>>, StoreError> {
        if let Some(profile) = builtin_profile(name) {
            return Ok(Some(profile));
        }
        let key = ConfigKey { kind: ConfigKind::Profile, tenant: None, id: name.to_string() };
        let document = self.config.read_at(&key, revision).await?.and_then(|record| record.document);
        let compile = |document: Bytes| Profile::from_json(&document).and_then(Profile::compile).ok();
        Ok(document.and_then(compile).map(Arc::new))
    }
}

/// The event that a view tells of; `None` while it is in doubt.
#[must_use]
pub fn event_of(view: EventView) -> Option<Event> {
    Some(Event {
        id: view.id,
        tenant: view.tenant,
        event_type: view.event_type,
        schema_version: view.schema_version?,
        timestamp: view.timestamp?,
        accepted_at: view.accepted_at,
        data: view.data?,
        summary: view.summary,
        workflow: view.workflow,
    })
}
