//! Disabling a webhook on behalf of its profile. Whoever notices hands in an order; only this crate writes.

use std::sync::Arc;

use async_trait::async_trait;
use postrider_contract::clock::Clock;
use postrider_contract::ports::{ConfigStore, ConfigWriteError, DisableOrder, StoreError, WebhookDisabler};
use postrider_contract::webhook::{Webhook, WebhookState};
use postrider_service::config_object::{ConfigObject, read_object, webhook_key};

pub struct Disabler {
    store: Arc<dyn ConfigStore>,
    clock: Arc<dyn Clock>,
}

impl Disabler {
    #[must_use]
    pub fn new(store: Arc<dyn ConfigStore>, clock: Arc<dyn Clock>) -> Self {
        Disabler { store, clock }
    }
}

#[async_trait]
impl WebhookDisabler for Disabler {
    async fn disable(&self, order: &DisableOrder) -> Result<bool, StoreError> {
        let Some(record) = self.store.read(&webhook_key(&order.tenant, order.webhook)).await? else {
            return Ok(false);
        };
        let unreadable = |error: &dyn std::error::Error| StoreError::Corrupt { reason: error.to_string() };
        let Some(webhook) = read_object::<Webhook>(&record).map_err(|error| unreadable(&error))? else {
            return Ok(false);
        };
        if !webhook.state.is_active() || webhook.updated_at > order.tried_at {
            return Ok(false);
        }
        let now = self.clock.now();
        let state = WebhookState::Disabled { since: now, reason: order.reason.clone() };
        let disabled = Webhook { state, updated_at: now, ..webhook };
        match self.store.write(vec![disabled.write_over(&record)]).await {
            Ok(_) => Ok(true),
            // Its owner was quicker, and what they did counts.
            Err(ConfigWriteError::Conflict { .. }) => Ok(false),
            Err(ConfigWriteError::Store(error)) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests;
