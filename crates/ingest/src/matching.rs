//! Which of a tenant's webhooks an event goes to, and why not to the others.

use std::cell::{Cell, OnceCell};
use std::sync::Arc;

use postrider_contract::delivery::Origin;
use postrider_contract::event::Versions;
use postrider_contract::filter::FailedTerm;
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

/// What keeps an event from a webhook.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Obstacle {
    /// The submission names its webhooks, and this one is not among them.
    NotNamed,
    /// It subscribes to other types.
    OtherType,
    /// It is pinned to a major that the event does not have.
    OtherMajor,
    /// By us.
    Disabled,
    /// By its owner, and its profile skips what comes meanwhile.
    Paused,
    /// The data fails its filter.
    Filter,
}

/// One event, asked about webhook by webhook.
pub(crate) struct Matching<'a> {
    submission: &'a Submission,
    /// As [`Versions::of`] takes the submission apart.
    versions: &'a Versions,
    origin: Origin,
    /// Version by version. Read only if a webhook that is left by then has a filter; not kept while others have their
    /// turn, since it takes many times the event's own room.
    data: Vec<OnceCell<Node<'a>>>,
    /// Filters, since the data was read.
    asked: Cell<usize>,
}

impl<'a> Matching<'a> {
    /// # Errors
    /// When the submission names a webhook that is not there.
    pub(crate) fn new(
        view: &TenantView,
        submission: &'a Submission,
        versions: &'a Versions,
        origin: Origin,
    ) -> Result<Self, UnknownWebhook> {
        if let Some(ids) = &submission.webhook_ids {
            let is_there =
                |id: &&WebhookId| view.webhooks.binary_search_by_key(*id, |entry| entry.webhook.id).is_ok();
            if let Some(missing) = ids.iter().find(|id| !is_there(id)) {
                return Err(UnknownWebhook(*missing));
            }
        }
        Ok(Matching { submission, versions, origin, data: unread(versions), asked: Cell::new(0) })
    }

    /// Webhooks that subscribe to the type and receive: not disabled, not paused where the profile skips, pinned to no
    /// major that is not there, and with no filter that the data fails. A test of a webhook is sent whatever its filter
    /// says.
    pub(crate) fn matches(&self, entry: &WebhookEntry) -> bool {
        self.obstacles(entry).next().is_none()
    }

    /// Whatever keeps the event from this webhook; one after the other, what costs most last.
    pub(crate) fn obstacles(&self, entry: &WebhookEntry) -> impl Iterator<Item = Obstacle> {
        let checks: [fn(&Self, &WebhookEntry) -> Option<Obstacle>; 5] =
            [Self::by_state, Self::by_name, Self::by_type, Self::by_major, Self::by_filter];
        checks.into_iter().filter_map(move |check| check(self, entry))
    }

    fn by_state(&self, entry: &WebhookEntry) -> Option<Obstacle> {
        let paused_rule = entry.profile.profile.definition().webhook.paused;
        match (&entry.webhook.state, paused_rule) {
            (WebhookState::Active, _) | (WebhookState::Paused { .. }, PausedRule::Hold) => None,
            (WebhookState::Paused { .. }, PausedRule::Skip) => Some(Obstacle::Paused),
            (WebhookState::Disabled { .. }, _) => Some(Obstacle::Disabled),
        }
    }

    fn by_name(&self, entry: &WebhookEntry) -> Option<Obstacle> {
        let named = self.submission.webhook_ids.as_ref()?;
        (!named.contains(&entry.webhook.id)).then_some(Obstacle::NotNamed)
    }

    fn by_type(&self, entry: &WebhookEntry) -> Option<Obstacle> {
        (!entry.webhook.wants(&self.submission.event_type)).then_some(Obstacle::OtherType)
    }

    fn by_major(&self, entry: &WebhookEntry) -> Option<Obstacle> {
        self.version_for(entry).is_none().then_some(Obstacle::OtherMajor)
    }

    /// Of a version that is not there, a filter says nothing.
    fn by_filter(&self, entry: &WebhookEntry) -> Option<Obstacle> {
        let filter = entry.webhook.filter.as_ref().filter(|_| self.origin != Origin::Test)?;
        let data = self.data_for(entry)?;
        self.asked.set(self.asked.get() + 1);
        (!filter.matches(data)).then_some(Obstacle::Filter)
    }

    /// The terms for which the data fails the webhook's filter.
    pub(crate) fn failed_terms(&self, entry: &WebhookEntry) -> Vec<FailedTerm> {
        let (filter, data) = (entry.webhook.filter.as_ref(), self.data_for(entry));
        filter.zip(data).map(|(filter, data)| filter.explain(data)).unwrap_or_default()
    }

    fn forget_data(&mut self) {
        self.data = unread(self.versions);
        self.asked.set(0);
    }

    /// `None` if it is pinned to a major that is not there.
    fn version_for(&self, entry: &WebhookEntry) -> Option<usize> {
        self.versions.index_for(entry.webhook.pinned_major(&self.submission.event_type))
    }

    /// Of the version that the webhook gets.
    fn data_for(&self, entry: &WebhookEntry) -> Option<&Node<'a>> {
        let index = self.version_for(entry)?;
        let version = self.versions.iter().nth(index)?;
        Some(self.data.get(index)?.get_or_init(|| Node::of(&version.data)))
    }
}

fn unread<'a>(versions: &Versions) -> Vec<OnceCell<Node<'a>>> {
    versions.iter().map(|_| OnceCell::new()).collect()
}

/// Every webhook that an event goes to.
pub(crate) async fn match_webhooks(
    view: &TenantView,
    submission: &Submission,
    origin: Origin,
    room: &RoomWatch,
) -> Result<Vec<Match>, UnknownWebhook> {
    let versions = Versions::of(submission.schema_version, &submission.data);
    let mut matching = Matching::new(view, submission, &versions, origin)?;
    let mut matches = Vec::new();
    for entry in &view.webhooks {
        if matching.asked.get() == FILTERS_AT_ONCE {
            matching.forget_data();
            tokio::task::yield_now().await;
        }
        if matching.matches(entry) {
            matches.push(Match { entry: Arc::clone(entry), held: hold_reason(entry, room) });
        }
    }
    Ok(matches)
}

/// While others wait, a new one waits behind them: order is kept and the queue stays clean.
pub(crate) fn hold_reason(entry: &WebhookEntry, room: &RoomWatch) -> Option<HoldReason> {
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
