//! The asking side of the log in memory.

use std::collections::HashSet;

use async_trait::async_trait;

use super::log::{FakeLog, StoredDelivery};
use crate::clock::Timestamp;
use crate::ids::{DeliveryId, EventId, TenantId, WebhookId};
use crate::outcome::DeliveryStatus;
use crate::ports::{
    AttemptView, DeliveryFilter, DeliveryView, EventFilter, EventView, Ledger, LedgerQuery, LogQueries,
    PageOf, StoreError,
};

/// From `since` on, and before `until`.
fn is_within(time: Timestamp, since: Option<Timestamp>, until: Option<Timestamp>) -> bool {
    since.is_none_or(|since| time >= since) && until.is_none_or(|until| time < until)
}

/// True where nothing is asked for, or just this.
fn is_asked<T: PartialEq>(asked: Option<&T>, value: &T) -> bool {
    asked.is_none_or(|asked| asked == value)
}

fn page<T>(newest_first: impl Iterator<Item = T>, limit: u32) -> Vec<T> {
    newest_first.take(usize::try_from(limit).unwrap_or(usize::MAX)).collect()
}

fn is_listed(view: &DeliveryView, filter: &DeliveryFilter) -> bool {
    let reference = &view.reference;
    is_asked(filter.status.as_ref(), &view.status)
        && is_asked(filter.webhook.as_ref(), &reference.webhook)
        && is_asked(filter.event.as_ref(), &reference.event_id)
        && is_asked(filter.event_type.as_ref(), &reference.event_type)
        && is_asked(filter.kind.as_ref(), &reference.kind)
        && filter.code.is_none_or(|code| view.last_code == Some(code))
        && is_within(reference.accepted_at, filter.since, filter.until)
}

#[async_trait]
impl LogQueries for FakeLog {
    async fn event(&self, tenant: &TenantId, id: &EventId) -> Result<Option<EventView>, StoreError> {
        self.outage.check()?;
        Ok(self.rows.read(|rows| rows.events.get(&(tenant.clone(), id.clone())).cloned()))
    }

    async fn events(
        &self,
        tenant: &TenantId,
        filter: &EventFilter,
        asked: PageOf<(Timestamp, EventId)>,
    ) -> Result<Vec<EventView>, StoreError> {
        self.outage.check()?;
        let is_listed = |event: &&EventView| {
            event.tenant == *tenant
                && is_asked(filter.event_type.as_ref(), &event.event_type)
                && is_within(event.accepted_at, filter.since, filter.until)
                && asked.before.as_ref().is_none_or(|(at, id)| (event.accepted_at, &event.id) < (*at, id))
        };
        let mut found: Vec<EventView> =
            self.rows.read(|rows| rows.events.values().filter(is_listed).cloned().collect());
        found.sort_by(|left, right| (right.accepted_at, &right.id).cmp(&(left.accepted_at, &left.id)));
        Ok(page(found.into_iter(), asked.limit))
    }

    async fn delivery(&self, tenant: &TenantId, id: DeliveryId) -> Result<Option<DeliveryView>, StoreError> {
        self.outage.check()?;
        Ok(self.rows.read(|rows| {
            let row = rows.deliveries.get(&id).filter(|row| row.view.reference.tenant == *tenant);
            row.map(|row| row.view.clone())
        }))
    }

    async fn attempts(&self, id: DeliveryId) -> Result<Vec<AttemptView>, StoreError> {
        self.outage.check()?;
        let mut found: Vec<AttemptView> = self.rows.read(|rows| {
            let of_this = rows.attempts.values().filter(|(delivery, _)| *delivery == id);
            of_this.map(|(_, view)| view.clone()).collect()
        });
        found.sort_by_key(|view| (view.attempt.number, view.attempt.id));
        Ok(found)
    }

    async fn deliveries(
        &self,
        tenant: &TenantId,
        filter: &DeliveryFilter,
        asked: PageOf<DeliveryId>,
    ) -> Result<Vec<DeliveryView>, StoreError> {
        self.outage.check()?;
        let is_in_page = |view: &&DeliveryView| {
            view.reference.tenant == *tenant
                && is_listed(view, filter)
                && asked.before.is_none_or(|before| view.reference.id < before)
        };
        Ok(self.rows.read(|rows| {
            let newest_first = rows.deliveries.values().rev().map(|row| &row.view);
            page(newest_first.filter(is_in_page).cloned(), asked.limit)
        }))
    }

    async fn has_delivered_since(&self, webhook: WebhookId, since: Timestamp) -> Result<bool, StoreError> {
        self.outage.check()?;
        let is_such = |view: &DeliveryView| {
            view.reference.webhook == webhook
                && view.status == DeliveryStatus::Delivered
                && view.concluded_at.is_some_and(|at| at >= since)
        };
        Ok(self.rows.read(|rows| rows.deliveries.values().any(|row| is_such(&row.view))))
    }

    async fn ledger(&self, query: &LedgerQuery, overdue_before: Timestamp) -> Result<Ledger, StoreError> {
        self.outage.check()?;
        let is_counted = |tenant: &TenantId, at: Timestamp| {
            is_asked(query.tenant.as_ref(), tenant) && is_within(at, query.since, query.until)
        };
        Ok(self.rows.read(|rows| {
            let deliveries: Vec<&StoredDelivery> = rows
                .deliveries
                .values()
                .filter(|row| is_counted(&row.view.reference.tenant, row.view.reference.accepted_at))
                .filter(|row| is_asked(query.webhook.as_ref(), &row.view.reference.webhook))
                .collect();
            let key = |row: &StoredDelivery| {
                (row.view.reference.tenant.clone(), row.view.reference.event_id.clone())
            };
            let given: HashSet<_> = deliveries.iter().map(|row| key(row)).collect();
            let mut ledger = Ledger::default();
            for (key, event) in &rows.events {
                let is_asked = query.webhook.is_none() || given.contains(key);
                if is_asked && is_counted(&event.tenant, event.accepted_at) {
                    count_event(&mut ledger, event);
                }
            }
            // Of an event in doubt nobody has told how many deliveries it should have: it is expected to have
            // those it has.
            let is_in_doubt = |row: &StoredDelivery| {
                rows.events.get(&key(row)).is_some_and(|event| event.matched.is_none())
            };
            let is_extra = |row: &StoredDelivery| row.view.reference.replay > 0 || is_in_doubt(row);
            if query.webhook.is_some() {
                ledger.expected = deliveries.len() as u64;
            } else {
                ledger.expected += deliveries.iter().filter(|row| is_extra(row)).count() as u64;
            }
            deliveries.iter().for_each(|row| count_delivery(&mut ledger, &row.view, overdue_before));
            ledger
        }))
    }
}

fn count_event(ledger: &mut Ledger, event: &EventView) {
    match event.matched {
        None => ledger.in_doubt += 1,
        Some(matched) => {
            ledger.accepted += 1;
            ledger.expected += u64::from(matched);
            ledger.matched += u64::from(matched > 0);
            ledger.unmatched += u64::from(matched == 0);
        }
    }
}

fn count_delivery(ledger: &mut Ledger, view: &DeliveryView, overdue_before: Timestamp) {
    let is_overdue = view.due_at.is_some_and(|due_at| due_at < overdue_before);
    match view.status {
        DeliveryStatus::Pending => {
            ledger.pending += 1;
            ledger.overdue += u64::from(is_overdue);
        }
        DeliveryStatus::Retrying => {
            ledger.retrying += 1;
            ledger.overdue += u64::from(is_overdue);
        }
        DeliveryStatus::Held => ledger.held += 1,
        DeliveryStatus::Delivered => ledger.delivered += 1,
        DeliveryStatus::Failed => ledger.failed += 1,
        DeliveryStatus::Canceled => ledger.canceled += 1,
        DeliveryStatus::Expired => ledger.expired += 1,
    }
}
