//! The waiting room in memory: part of the log, as with every engine.

use std::collections::BTreeMap;

use async_trait::async_trait;

use super::log::FakeLog;
use crate::clock::Timestamp;
use crate::ids::{DeliveryId, WebhookId};
use crate::ports::{HeldDelivery, RoomSummary, StoreError, WaitingRoom};

#[async_trait]
impl WaitingRoom for FakeLog {
    async fn summaries(&self) -> Result<Vec<RoomSummary>, StoreError> {
        self.outage.check()?;
        Ok(self.rows.read(|rows| {
            let mut by_webhook: BTreeMap<WebhookId, RoomSummary> = BTreeMap::new();
            for row in rows.room.values() {
                let reference = &row.held.delivery.reference;
                let summary = by_webhook.entry(reference.webhook).or_insert_with(|| RoomSummary {
                    tenant: reference.tenant.clone(),
                    webhook: reference.webhook,
                    waiting: 0,
                    oldest: None,
                    released: 0,
                });
                if row.released_at.is_some() {
                    summary.released += 1;
                } else {
                    summary.waiting += 1;
                    let since = row.held.since;
                    summary.oldest = Some(summary.oldest.map_or(since, |oldest| oldest.min(since)));
                }
            }
            by_webhook.into_values().collect()
        }))
    }

    async fn oldest(&self, webhook: WebhookId, limit: u32) -> Result<Vec<HeldDelivery>, StoreError> {
        self.outage.check()?;
        let mut found: Vec<HeldDelivery> = self.rows.read(|rows| {
            let waiting = rows.room.values().filter(|row| row.released_at.is_none()).map(|row| &row.held);
            waiting
                .filter(|held| held.delivery.reference.webhook == webhook)
                .map(|held| HeldDelivery {
                    delivery: held.delivery.clone(),
                    why: held.why,
                    since: held.since,
                })
                .collect()
        });
        found.sort_by_key(|held| (held.since, held.delivery.reference.id));
        found.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
        Ok(found)
    }

    async fn mark_released(&self, released: Vec<(DeliveryId, u32)>, at: Timestamp) -> Result<(), StoreError> {
        self.outage.check()?;
        self.rows.change(|rows| {
            for key in &released {
                if let Some(row) = rows.room.get_mut(key) {
                    row.released_at = Some(at);
                }
            }
        });
        Ok(())
    }

    async fn reopen_released_before(&self, time: Timestamp) -> Result<u64, StoreError> {
        self.outage.check()?;
        Ok(self.rows.change(|rows| {
            let mut reopened = 0;
            for row in rows.room.values_mut() {
                if row.released_at.is_some_and(|at| at < time) {
                    row.released_at = None;
                    reopened += 1;
                }
            }
            reopened
        }))
    }
}
