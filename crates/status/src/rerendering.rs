//! What a delivery sends again, byte for byte: the event's data from the log; webhook, profile and tenant as they were.

use std::sync::Arc;

use postrider_contract::delivery::RenderedWith;
use postrider_contract::event::Event;
use postrider_contract::ids::WebhookId;
use postrider_contract::ports::{ConfigStore, EventView, StoreError};
use postrider_contract::profile::ProfileName;
use postrider_contract::rendering::{Rendered, render_for};
use postrider_contract::tenant::Tenant;
use postrider_contract::webhook::Webhook;
use postrider_service::config_object::{read_object_at, read_profile_at, tenant_key, webhook_key};

/// What a delivery was rendered for and with.
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
    pub async fn again(
        &self,
        event: &Event,
        rendered: RenderedAs<'_>,
    ) -> Result<Option<Rendered>, StoreError> {
        let RenderedAs { webhook, profile, rendered_with } = rendered;
        let Some(profile) = read_profile_at(&*self.config, profile, rendered_with.profile).await? else {
            return Ok(None);
        };
        let tenant = tenant_key(&event.tenant);
        let Some(tenant) = read_object_at::<Tenant>(&*self.config, &tenant, rendered_with.tenant).await?
        else {
            return Ok(None);
        };
        // What it said of its form is needed: without it, another body might be taken for this one.
        let webhook = webhook_key(&event.tenant, webhook);
        let Some(webhook) = read_object_at::<Webhook>(&*self.config, &webhook, rendered_with.webhook).await?
        else {
            return Ok(None);
        };
        Ok(render_for(&webhook, &profile, event, &tenant).ok())
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
