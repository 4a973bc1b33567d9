//! Notices webhooks that their profile says are to be disabled: by one answer (`410 Gone`), or by nothing but failures
//! for so many days.
//!
//! Looks only at webhooks with a delivery that has just failed for good, as far as this process wrote it down.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use postrider_contract::attempt::{AttemptResult, BodyExtent, Response};
use postrider_contract::clock::Clock;
use postrider_contract::decide::{DeliveryRules, disables};
use postrider_contract::ids::WebhookId;
use postrider_contract::outcome::DeliveryStatus;
use postrider_contract::ports::{
    DeliveryFilter, DisableOrder, LogQueries, PageOf, StoreError, WebhookDisabler,
};
use postrider_service::directory::{Directory, Found, WebhookEntry};
use postrider_service::lifecycle::Stop;

use crate::tries::{Ending, TryBoard};

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
            undone.extend(self.board.take_endings());
            undone = self.look(undone).await;
            tokio::select! {
                () = stop.draining() => {}
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
        }
    }

    /// Answers those that have to be looked at again, because the store did not answer.
    pub(crate) async fn look(&self, endings: HashMap<WebhookId, Ending>) -> HashMap<WebhookId, Ending> {
        let mut undone = HashMap::new();
        for (webhook, ending) in endings {
            if let Err(error) = self.judge(webhook, &ending).await {
                tracing::warn!(webhook.id = %webhook, %error, "cannot see whether a failing webhook is to be disabled");
                undone.insert(webhook, ending);
            }
        }
        undone
    }

    async fn judge(&self, webhook: WebhookId, ending: &Ending) -> Result<(), StoreError> {
        let Found::Known(entry) = self.directory.webhook(webhook) else { return Ok(()) };
        let reason = match ending.status.filter(|status| is_disabling(&entry, *status)) {
            Some(status) => Some(format!("the receiver answered {status}")),
            None => self.failing_for_too_long(&entry).await?,
        };
        let Some(reason) = reason.filter(|_| entry.webhook.state.is_active()) else { return Ok(()) };
        let tenant = entry.webhook.tenant.clone();
        let order = DisableOrder { tenant, webhook, tried_at: ending.tried_at, reason };
        if self.disabler.disable(&order).await? {
            tracing::warn!(webhook.id = %webhook, reason = order.reason, "disabled a webhook, as its profile says");
            self.directory.refresh().await?;
        }
        Ok(())
    }

    /// A delivery that old failed, and none was delivered since.
    async fn failing_for_too_long(&self, entry: &WebhookEntry) -> Result<Option<String>, StoreError> {
        let rule = entry.profile.profile.definition().webhook.disable_after_failing_for;
        let Some(bound) = rule else { return Ok(None) };
        let since = self.clock.now().minus(bound.duration());
        // Whatever came before its last change is not held against it.
        if entry.webhook.updated_at > since {
            return Ok(None);
        }
        let of = |status| DeliveryFilter {
            webhook: Some(entry.webhook.id),
            status: Some(status),
            ..DeliveryFilter::default()
        };
        let delivered = DeliveryFilter { since: Some(since), ..of(DeliveryStatus::Delivered) };
        let failed = DeliveryFilter { until: Some(since), ..of(DeliveryStatus::Failed) };
        let is_any = async |filter: DeliveryFilter| {
            let page = PageOf { before: None, limit: 1 };
            Ok::<_, StoreError>(
                !self.queries.deliveries(&entry.webhook.tenant, &filter, page).await?.is_empty(),
            )
        };
        let is_failing = !is_any(delivered).await? && is_any(failed).await?;
        Ok(is_failing.then(|| format!("nothing but failures for {bound}")))
    }
}

fn is_disabling(entry: &WebhookEntry, status: u16) -> bool {
    let answer = Response { status, headers: Vec::new(), body: Bytes::new(), extent: BodyExtent::Whole };
    let rules = DeliveryRules::new(&entry.profile.profile, &entry.webhook.overrides);
    disables(&AttemptResult::Response(answer), &rules)
}

#[cfg(test)]
mod tests;
