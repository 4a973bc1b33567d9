//! Notices webhooks that their profile says are to be disabled: by one answer (`410 Gone`), or by nothing but failures
//! for so many days.
//!
//! Looks only at webhooks with a try that has just failed, as far as this process wrote it down.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use postrider_contract::attempt::{AttemptResult, BodyExtent, Response};
use postrider_contract::clock::{Clock, Timestamp};
use postrider_contract::decide::{DeliveryRules, disables};
use postrider_contract::ids::WebhookId;
use postrider_contract::outcome::DeliveryStatus;
use postrider_contract::ports::{
    DeliveryFilter, DisableOrder, LogQueries, PageOf, StoreError, WebhookDisabler,
};
use postrider_service::directory::{Directory, Found, WebhookEntry};
use postrider_service::lifecycle::Stop;

use crate::tries::{Failing, TryBoard};

const LOOK_EVERY: Duration = Duration::from_secs(1);

pub struct Disabling {
    pub board: Arc<TryBoard>,
    pub directory: Arc<Directory>,
    pub queries: Arc<dyn LogQueries>,
    pub disabler: Arc<dyn WebhookDisabler>,
    pub clock: Arc<dyn Clock>,
}

impl Disabling {
    /// Looks every second until told to stop.
    pub async fn run(self, stop: Stop) {
        let mut undone = HashMap::new();
        while !stop.is_draining() {
            undone = self.look(undone).await;
            tokio::select! {
                () = stop.draining() => {}
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
        }
    }

    /// At what was left undone the last time and what was noted since. Answers what has to be looked at again, because
    /// the store did not answer.
    pub(crate) async fn look(&self, undone: HashMap<WebhookId, Failing>) -> HashMap<WebhookId, Failing> {
        let mut failing = self.board.take_failing();
        for (webhook, before) in undone {
            match failing.entry(webhook) {
                Entry::Occupied(mut since) => since.get_mut().merge(before),
                Entry::Vacant(nothing) => drop(nothing.insert(before)),
            }
        }
        let mut undone = HashMap::new();
        for (webhook, failing) in failing {
            if let Err(error) = self.judge(webhook, &failing).await {
                tracing::warn!(webhook.id = %webhook, %error, "cannot see whether a failing webhook is to be disabled");
                undone.insert(webhook, failing);
            }
        }
        undone
    }

    async fn judge(&self, webhook: WebhookId, failing: &Failing) -> Result<(), StoreError> {
        let Found::Known(entry) = self.directory.webhook(webhook) else { return Ok(()) };
        if !entry.webhook.state.is_active() {
            return Ok(());
        }
        let answer = failing.answers.iter().find(|(status, _)| is_disabling(&entry, **status));
        let found = match answer {
            Some((status, at)) => Some((*at, format!("the receiver answered {status}"))),
            None => self.failing_for_too_long(&entry, failing).await?.map(|why| (failing.tried_at, why)),
        };
        let Some((tried_at, reason)) = found else { return Ok(()) };
        let tenant = entry.webhook.tenant.clone();
        let order = DisableOrder { tenant, webhook, tried_at, reason };
        if self.disabler.disable(&order).await? {
            tracing::warn!(webhook.id = %webhook, reason = order.reason, "disabled a webhook, as its profile says");
            self.directory.refresh().await?;
        }
        Ok(())
    }

    /// A delivery that old failed, or still does, and none was delivered since, whenever it was accepted.
    async fn failing_for_too_long(
        &self,
        entry: &WebhookEntry,
        failing: &Failing,
    ) -> Result<Option<String>, StoreError> {
        let rule = entry.profile.profile.definition().webhook.disable_after_failing_for;
        let Some(bound) = rule else { return Ok(None) };
        let since = self.clock.now().minus(bound.duration());
        // Whatever came before its last change is not held against it.
        if entry.webhook.updated_at > since {
            return Ok(None);
        }
        let still_fails = failing.oldest_retried.is_some_and(|at| at <= since);
        // Of the tries of younger deliveries it is asked once, when a delivery ends.
        if !still_fails && !failing.has_ended {
            return Ok(None);
        }
        if !still_fails && !self.has_failed_before(entry, since).await? {
            return Ok(None);
        }
        let is_well = self.queries.has_delivered_since(entry.webhook.id, since).await?;
        Ok((!is_well).then(|| format!("nothing but failures for {bound}")))
    }

    /// Whether a delivery failed that was accepted before then.
    async fn has_failed_before(&self, entry: &WebhookEntry, until: Timestamp) -> Result<bool, StoreError> {
        let failed = DeliveryFilter {
            webhook: Some(entry.webhook.id),
            status: Some(DeliveryStatus::Failed),
            until: Some(until),
            ..DeliveryFilter::default()
        };
        let page = PageOf { before: None, limit: 1 };
        Ok(!self.queries.deliveries(&entry.webhook.tenant, &failed, page).await?.is_empty())
    }
}

fn is_disabling(entry: &WebhookEntry, status: u16) -> bool {
    let answer = Response { status, headers: Vec::new(), body: Bytes::new(), extent: BodyExtent::Whole };
    let rules = DeliveryRules::of(&entry.profile.profile, &entry.webhook);
    disables(&AttemptResult::Response(answer), &rules)
}

#[cfg(test)]
mod tests;
