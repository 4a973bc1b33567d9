//! Which of a tenant's webhooks an event goes to.

use std::cell::OnceCell;
use std::sync::Arc;

use postrider_contract::delivery::Origin;
use postrider_contract::ids::WebhookId;
use postrider_contract::json::Node;
use postrider_contract::outcome::HoldReason;
use postrider_contract::profile::PausedRule;
use postrider_contract::submission::Submission;
use postrider_contract::webhook::{Webhook, WebhookState};
use postrider_service::directory::{TenantView, WebhookEntry};

use crate::room_watch::RoomWatch;

/// One webhook that an event goes to, and whether its delivery goes straight to the waiting room.
#[derive(Clone, Debug)]
pub(crate) struct Match {
    pub(crate) entry: Arc<WebhookEntry>,
    pub(crate) held: Option<HoldReason>,
}

/// The submission names a webhook that its tenant does not have.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct UnknownWebhook(pub(crate) WebhookId);

/// Webhooks that subscribe to the type and receive: not disabled, not paused where the profile skips, and with no
/// filter that the data fails. A test of a webhook is sent whatever its filter says.
pub(crate) fn match_webhooks(
    view: &TenantView,
    submission: &Submission,
    origin: Origin,
    room: &RoomWatch,
) -> Result<Vec<Match>, UnknownWebhook> {
    if let Some(ids) = &submission.webhook_ids {
        let is_there =
            |id: &&WebhookId| view.webhooks.binary_search_by_key(*id, |entry| entry.webhook.id).is_ok();
        if let Some(missing) = ids.iter().find(|id| !is_there(id)) {
            return Err(UnknownWebhook(*missing));
        }
    }
    let is_named = |id: WebhookId| submission.webhook_ids.as_ref().is_none_or(|ids| ids.contains(&id));
    // Read once, and only if a webhook that is left by then has a filter.
    let data = OnceCell::new();
    let passes = |webhook: &Webhook| match &webhook.filter {
        Some(filter) if origin != Origin::Test => {
            filter.matches(data.get_or_init(|| Node::of(&submission.data)))
        }
        Some(_) | None => true,
    };
    let matches = view.webhooks.iter().filter(|entry| {
        let webhook = &entry.webhook;
        receives(entry) && is_named(webhook.id) && webhook.wants(&submission.event_type) && passes(webhook)
    });
    Ok(matches.map(|entry| Match { entry: Arc::clone(entry), held: hold_reason(entry, room) }).collect())
}

fn receives(entry: &WebhookEntry) -> bool {
    match entry.webhook.state {
        WebhookState::Active => true,
        WebhookState::Paused { .. } => entry.profile.profile.definition().webhook.paused == PausedRule::Hold,
        WebhookState::Disabled { .. } => false,
    }
}

/// While others wait, a new one waits behind them: order is kept and the queue stays clean.
fn hold_reason(entry: &WebhookEntry, room: &RoomWatch) -> Option<HoldReason> {
    if matches!(entry.webhook.state, WebhookState::Paused { .. }) {
        Some(HoldReason::Paused)
    } else if entry.webhook.rate_limit_per_second.is_some() {
        Some(HoldReason::RateLimited)
    } else if room.has_waiting(entry.webhook.id) {
        Some(HoldReason::Overflow)
    } else {
        None
    }
}
