//! Webhooks that are there and cannot be used here: what can be said of them all the same.
//!
//! While versions are replaced one process at a time, a newer one may store what an older one cannot read. An event that
//! may be for such a webhook must not be accepted as if the webhook were not there.

use postrider_contract::event::EventType;
use postrider_contract::ids::WebhookId;
use postrider_contract::ports::ConfigRecord;
use postrider_contract::subscription::TypePattern;
use postrider_contract::webhook::{Webhook, WebhookState};
use serde::Deserialize;

/// A webhook of which this version cannot read the document, or has not the profile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnusableWebhook {
    pub id: WebhookId,
    /// `None` where that cannot be read either.
    events: Option<Vec<TypePattern>>,
}

/// What most documents of newer forms still say in the old words.
#[derive(Deserialize)]
struct Glimpse {
    #[serde(default)]
    events: Option<serde_json::Value>,
    #[serde(default)]
    state: Option<serde_json::Value>,
}

impl UnusableWebhook {
    /// `None` if it is disabled, so that nothing is for it.
    pub(super) fn of_unreadable(id: WebhookId, record: &ConfigRecord) -> Option<Self> {
        let glimpse: Option<Glimpse> =
            record.document.as_ref().and_then(|document| serde_json::from_slice(document).ok());
        let Some(Glimpse { events, state }) = glimpse else {
            return Some(UnusableWebhook { id, events: None });
        };
        let state: Option<WebhookState> = state.and_then(|state| serde_json::from_value(state).ok());
        if state.is_some_and(|state| is_disabled(&state)) {
            return None;
        }
        Some(UnusableWebhook { id, events: events.and_then(|events| serde_json::from_value(events).ok()) })
    }

    /// `None` if it is disabled, so that nothing is for it.
    pub(super) fn without_profile(webhook: &Webhook) -> Option<Self> {
        let found = UnusableWebhook { id: webhook.id, events: Some(webhook.events.clone()) };
        (!is_disabled(&webhook.state)).then_some(found)
    }

    /// Whether an event of this type may be for it, as far as can be told.
    #[must_use]
    pub fn may_want(&self, event_type: &EventType) -> bool {
        let wants = |patterns: &Vec<TypePattern>| patterns.iter().any(|pattern| pattern.matches(event_type));
        self.events.as_ref().is_none_or(wants)
    }
}

fn is_disabled(state: &WebhookState) -> bool {
    match state {
        WebhookState::Active | WebhookState::Paused { .. } => false,
        WebhookState::Disabled { .. } => true,
    }
}
