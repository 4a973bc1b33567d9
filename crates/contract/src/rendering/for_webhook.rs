//! The body of one webhook: of its own form where it has one, else the envelope of its profile.

use bytes::Bytes;

use super::{RenderError, render};
use crate::event::{Event, EventReading};
use crate::profile::CompiledProfile;
use crate::template::{Filled, Gap};
use crate::tenant::Tenant;
use crate::webhook::Webhook;

/// A body, and what a template could not put into it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rendered {
    pub body: Bytes,
    pub gaps: Vec<Gap>,
}

/// The body of every try of this event to this webhook: its template filled in, or the message that its provider
/// shows, or the profile's envelope.
///
/// # Errors
/// When the event's data holds a member that the envelope has itself. A template or a provider takes every event.
pub fn render_for(
    webhook: &Webhook,
    profile: &CompiledProfile,
    event: &Event,
    tenant: &Tenant,
) -> Result<Rendered, RenderError> {
    if let Some(template) = &webhook.template {
        let Filled { body, gaps } = template.fill(&EventReading::of(event), tenant);
        return Ok(Rendered { body, gaps });
    }
    let message = webhook.provider().message(event, tenant, profile.definition().accent_colour);
    let body = message.map_or_else(|| render(profile, event, tenant, webhook.id), Ok)?;
    Ok(Rendered { body, gaps: Vec::new() })
}

/// Whether every webhook with this profile, and no form of its own, gets this webhook's bodies.
#[must_use]
pub fn shares_body(webhook: &Webhook, profile: &CompiledProfile) -> bool {
    webhook.template.is_none() && !webhook.provider().has_own_format() && !profile.body_depends_on_webhook()
}
