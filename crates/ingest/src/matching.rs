//! Which of a tenant's webhooks an event goes to.

use std::sync::Arc;

use postrider_contract::delivery::Origin;
use postrider_contract::ids::WebhookId;
use postrider_contract::json::Node;
use postrider_contract::outcome::HoldReason;
use postrider_contract::profile::PausedRule;
use postrider_contract::submission::Submission;
use postrider_contract::webhook::WebhookState;
use postrider_service::directory::{TenantView, WebhookEntry};

use crate::room_watch::RoomWatch;

/// So many filters are asked before others have their turn: some milliseconds, for the largest there can be.
const FILTERS_AT_ONCE: usize = 64;

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
pub(crate) async fn match_webhooks(
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
    let mut matches = Vec::new();
    // Read only if a webhook that is left by then has a filter; not kept while others have their turn, since it takes
    // many times the event's own room.
    let (mut data, mut asked) = (None, 0);
    for entry in &view.webhooks {
        let webhook = &entry.webhook;
        if !receives(entry) || !is_named(webhook.id) || !webhook.wants(&submission.event_type) {
            continue;
        }
        if let Some(filter) = webhook.filter.as_ref().filter(|_| origin != Origin::Test) {
            if asked == FILTERS_AT_ONCE {
                (data, asked) = (None, 0);
                tokio::task::yield_now().await;
            }
            asked += 1;
            if !filter.matches(data.get_or_insert_with(|| Node::of(&submission.data))) {
                continue;
            }
        }
        matches.push(Match { entry: Arc::clone(entry), held: hold_reason(entry, room) });
    }
    Ok(matches)
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
