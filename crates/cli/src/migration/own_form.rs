//! What a webhook sends of an event, its profile's envelope or a form of its own: rendered as ingest does it.

use bytes::Bytes;
use postrider_contract::delivery::Query;
use postrider_contract::egress::WebhookUrl;
use postrider_contract::event::Event;
use postrider_contract::profile::CompiledProfile;
use postrider_contract::rendering::{Rendered, render_for};
use postrider_contract::tenant::Tenant;
use postrider_contract::webhook::{Webhook, WebhookKind};

use super::{Difference, Place};

/// Why a form of its own is not compared.
const UNTOLD: &str = "cannot be compared without the event, which a template, a chat message or a postback does not give \
                      back: put it beside the request";

pub(super) struct Rendering {
    /// A postback's, with its macros filled in.
    pub(super) url: Option<WebhookUrl>,
    pub(super) body: Option<Bytes>,
    /// Why one of them is not there that should be.
    pub(super) unsendable: Option<Difference>,
}

impl Rendering {
    fn none(place: Place, detail: String) -> Self {
        let difference = Difference { place, captured: None, ours: None, detail };
        Rendering { url: None, body: None, unsendable: Some(difference) }
    }

    /// Of an event that is not known.
    pub(super) fn unknown(webhook: &Webhook) -> Self {
        let place = match webhook.kind {
            WebhookKind::Webhook => Place::Body,
            WebhookKind::Postback => Place::Url,
        };
        Rendering::none(place, UNTOLD.to_owned())
    }
}

pub(super) fn render(
    webhook: &Webhook,
    profile: &CompiledProfile,
    event: &Event,
    tenant: &Tenant,
) -> Rendering {
    let Rendered { query, body, .. } = match render_for(webhook, profile, event, tenant) {
        Ok(rendered) => rendered,
        Err(error) => {
            return Rendering::none(Place::Body, format!("Postrider would refuse this event: {error}"));
        }
    };
    let filled = match query {
        Query::OfUrl => return Rendering { url: None, body: Some(body), unsendable: None },
        Query::Filled(filled) => filled,
        Query::TooLong(_) => {
            let detail = "with its macros filled in it is too long: Postrider would send nothing";
            return Rendering::none(Place::Url, detail.to_owned());
        }
    };
    match with_query(&webhook.url, &String::from_utf8_lossy(&filled)) {
        Some(url) => Rendering { url: Some(url), body: Some(body), unsendable: None },
        None => Rendering::none(Place::Url, "cannot be written with its macros filled in".to_owned()),
    }
}

/// The URL with another query; with none where it is empty.
fn with_query(url: &WebhookUrl, query: &str) -> Option<WebhookUrl> {
    let before = url.as_str().split('?').next().unwrap_or_default();
    let written = if query.is_empty() { before.to_owned() } else { format!("{before}?{query}") };
    WebhookUrl::from_stored(&written).ok()
}
