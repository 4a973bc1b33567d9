//! The delivery log: events, deliveries and attempts in partitions of a day, written in batches.
//!
//! * [`batch`] — one call's rows, in the order everyone writes them; splitting it to find a bad row
//! * [`apply`] — the transaction, and what is done about its failures
//! * [`deliveries_upsert`], [`events_upsert`] — the statements
//! * [`partitions`] — days: made ahead, made when missing, dropped
//! * [`checks`] — what workers and healing ask
//! * [`queries`], [`views`], [`ledger`] — what the API asks

use std::sync::Arc;

use async_trait::async_trait;
use postrider_contract::clock::{Day, Timestamp};
use postrider_contract::delivery::Position;
use postrider_contract::ids::{DeliveryId, EventId, TenantId, WebhookId};
use postrider_contract::log::LogWrites;
use postrider_contract::ports::{
    AttemptView, DeliveryFilter, DeliveryLog, DeliveryView, EventFilter, EventView, Ledger, LedgerQuery,
    LogQueries, OverdueDelivery, PageOf, StoreError,
};

use crate::session::Database;
use partitions::Days;

mod apply;
mod batch;
mod checks;
mod deliveries_upsert;
mod events_upsert;
mod ledger;
mod partitions;
mod queries;
mod views;

pub(crate) struct Log {
    /// For what somebody waits for.
    database: Arc<Database>,
    writing: Arc<Database>,
    days: Days,
}

impl Log {
    pub(crate) fn new(database: Arc<Database>, writing: Arc<Database>) -> Self {
        Log { database, writing, days: Days::default() }
    }
}

#[async_trait]
impl DeliveryLog for Log {
    async fn apply(&self, writes: &LogWrites) -> Result<(), StoreError> {
        apply::apply(&self.writing, &self.days, writes).await
    }

    async fn refused_rows(&self) -> Result<u64, StoreError> {
        apply::refused_rows(&self.writing).await
    }

    async fn is_recorded(&self, tries: &[(DeliveryId, Position)]) -> Result<Vec<bool>, StoreError> {
        checks::is_recorded(&self.database, tries).await
    }

    async fn has_moved_on(&self, id: DeliveryId, from: Position) -> Result<bool, StoreError> {
        checks::has_moved_on(&self.database, id, from).await
    }

    async fn overdue(&self, before: Timestamp, limit: u32) -> Result<Vec<OverdueDelivery>, StoreError> {
        checks::overdue(&self.writing, before, limit).await
    }

    async fn prepare_days(&self, first: Day, last: Day) -> Result<(), StoreError> {
        self.days.prepare(&self.writing, first, last).await
    }

    async fn first_day(&self) -> Result<Option<Day>, StoreError> {
        self.days.first(&self.writing).await
    }

    async fn drop_days_before(&self, day: Day) -> Result<Vec<Day>, StoreError> {
        self.days.drop_before(&self.writing, day).await
    }

    async fn drop_bodies_before(&self, day: Day) -> Result<Vec<Day>, StoreError> {
        self.days.drop_bodies_before(&self.writing, day).await
    }
}

#[async_trait]
impl LogQueries for Log {
    async fn event(&self, tenant: &TenantId, id: &EventId) -> Result<Option<EventView>, StoreError> {
        queries::event(&self.database, tenant, id).await
    }

    async fn events(
        &self,
        tenant: &TenantId,
        filter: &EventFilter,
        page: PageOf<(Timestamp, EventId)>,
    ) -> Result<Vec<EventView>, StoreError> {
        queries::events(&self.database, tenant, filter, page).await
    }

    async fn delivery(&self, tenant: &TenantId, id: DeliveryId) -> Result<Option<DeliveryView>, StoreError> {
        queries::delivery(&self.database, tenant, id).await
    }

    async fn attempts(&self, id: DeliveryId) -> Result<Vec<AttemptView>, StoreError> {
        queries::attempts(&self.database, id).await
    }

    async fn deliveries(
        &self,
        tenant: &TenantId,
        filter: &DeliveryFilter,
        page: PageOf<DeliveryId>,
    ) -> Result<Vec<DeliveryView>, StoreError> {
        queries::deliveries(&self.database, tenant, filter, page).await
    }

    async fn has_delivered_since(&self, webhook: WebhookId, since: Timestamp) -> Result<bool, StoreError> {
        queries::has_delivered_since(&self.database, webhook, since).await
    }

    async fn ledger(&self, query: &LedgerQuery, overdue_before: Timestamp) -> Result<Ledger, StoreError> {
        ledger::ledger(&self.database, query, overdue_before).await
    }
}
