//! The delivery log: one file a UTC day, so that retention unlinks files and no index grows for ever.
//!
//! A delivery is in the file of the day in its id, an event in that of its accept time; for an event's own
//! deliveries that is one and the same. A batch is one transaction a file, then, if it holds or ends holds, one in
//! `queue.db`. Applied twice it changes nothing, so a crash in between is mended by the batch's next reading.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use postrider_contract::clock::{Day, Timestamp};
use postrider_contract::delivery::Position;
use postrider_contract::ids::{DeliveryId, EventId, TenantId, WebhookId};
use postrider_contract::log::LogWrites;
use postrider_contract::ports::{
    AttemptView, DeliveryFilter, DeliveryLog, DeliveryView, EventFilter, EventView, Ledger, LedgerQuery,
    LogQueries, OverdueDelivery, PageOf, StoreError,
};
use tokio::sync::{Mutex, Semaphore};

use crate::engine::Running;
use crate::error::OpenError;
use crate::waiting_room::{RoomRow, move_in_and_out};

mod apply;
mod batch;
mod day_files;
mod ledger;
mod queries;
mod reading;
mod upkeep;

use batch::Batch;
use day_files::DayFiles;
pub(crate) use day_files::is_day;
use reading::Reading;

/// Readings at once: lists and ledgers may take long, and each takes a thread.
const READINGS: usize = 4;

pub(crate) struct SqliteLog {
    days: Arc<DayFiles>,
    running: Arc<Running>,
    /// Batches are applied one after the other: between a batch's day and its holds nothing may come.
    applying: Mutex<()>,
    slots: Arc<Semaphore>,
    /// How long one question of the API may take.
    query_time: Duration,
}

impl SqliteLog {
    pub(crate) fn open(
        folder: &Path,
        running: &Arc<Running>,
        query_time: Duration,
    ) -> Result<Self, OpenError> {
        Ok(SqliteLog {
            days: Arc::new(DayFiles::open(folder)?),
            running: Arc::clone(running),
            applying: Mutex::new(()),
            slots: Arc::new(Semaphore::new(READINGS)),
            query_time,
        })
    }

    /// On the blocking pool.
    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&DayFiles) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let days = Arc::clone(&self.days);
        let task = tokio::task::spawn_blocking(move || work(&days));
        task.await.unwrap_or_else(|error| Err(StoreError::Unavailable { reason: error.to_string() }))
    }

    /// The same for what the API asks, which ends in time: it may be a list of what hardly ever is, and others wait for
    /// the thread.
    pub(crate) async fn ask<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Reading<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let slot = Arc::clone(&self.slots).acquire_owned().await;
        let slot = slot.map_err(|error| StoreError::Unavailable { reason: error.to_string() })?;
        let limit = self.query_time;
        self.run(move |days| {
            let _slot = slot;
            work(&Reading::begin(days, limit))
        })
        .await
    }
}

#[async_trait]
impl DeliveryLog for SqliteLog {
    async fn apply(&self, writes: &LogWrites) -> Result<(), StoreError> {
        let batch = Batch::new(writes);
        let _turn = self.applying.lock().await;
        let (rows, exits) = self.run(move |days| apply::apply(days, batch)).await?;
        if rows.is_empty() && exits.is_empty() {
            return Ok(());
        }
        let size = rows.iter().map(RoomRow::size).sum();
        let work = move |connection: &rusqlite::Connection| move_in_and_out(connection, &rows, &exits);
        Ok(self.running.writer.write(size, work, |()| ()).await?)
    }

    async fn is_recorded(&self, tries: &[(DeliveryId, Position)]) -> Result<Vec<bool>, StoreError> {
        let tries = tries.to_vec();
        self.run(move |days| upkeep::is_recorded(days, &tries)).await
    }

    async fn has_moved_on(&self, id: DeliveryId, from: Position) -> Result<bool, StoreError> {
        self.run(move |days| upkeep::has_moved_on(days, id, from)).await
    }

    async fn overdue(&self, before: Timestamp, limit: u32) -> Result<Vec<OverdueDelivery>, StoreError> {
        self.run(move |days| upkeep::overdue(days, before, limit)).await
    }

    async fn prepare_days(&self, first: Day, last: Day) -> Result<(), StoreError> {
        self.run(move |days| upkeep::prepare_days(days, first, last)).await
    }

    async fn first_day(&self) -> Result<Option<Day>, StoreError> {
        self.run(|days| Ok(days.newest_first(None, None).last().copied())).await
    }

    async fn drop_days_before(&self, day: Day) -> Result<Vec<Day>, StoreError> {
        let _turn = self.applying.lock().await;
        self.run(move |days| upkeep::drop_days_before(days, day)).await
    }

    /// None: bodies are in their tries' records, and go with the file of their day.
    async fn drop_bodies_before(&self, _: Day) -> Result<Vec<Day>, StoreError> {
        Ok(Vec::new())
    }
}

#[async_trait]
impl LogQueries for SqliteLog {
    async fn event(&self, tenant: &TenantId, id: &EventId) -> Result<Option<EventView>, StoreError> {
        let (tenant, id) = (tenant.clone(), id.clone());
        self.ask(move |reading| queries::event(reading, &tenant, &id)).await
    }

    async fn events(
        &self,
        tenant: &TenantId,
        filter: &EventFilter,
        page: PageOf<(Timestamp, EventId)>,
    ) -> Result<Vec<EventView>, StoreError> {
        let (tenant, filter) = (tenant.clone(), filter.clone());
        self.ask(move |reading| queries::events(reading, &tenant, &filter, &page)).await
    }

    async fn delivery(&self, tenant: &TenantId, id: DeliveryId) -> Result<Option<DeliveryView>, StoreError> {
        let tenant = tenant.clone();
        self.ask(move |reading| queries::delivery(reading, &tenant, id)).await
    }

    async fn attempts(&self, id: DeliveryId) -> Result<Vec<AttemptView>, StoreError> {
        self.ask(move |reading| queries::attempts(reading, id)).await
    }

    async fn deliveries(
        &self,
        tenant: &TenantId,
        filter: &DeliveryFilter,
        page: PageOf<DeliveryId>,
    ) -> Result<Vec<DeliveryView>, StoreError> {
        let (tenant, filter) = (tenant.clone(), filter.clone());
        self.ask(move |reading| queries::deliveries(reading, &tenant, &filter, &page)).await
    }

    async fn has_delivered_since(&self, webhook: WebhookId, since: Timestamp) -> Result<bool, StoreError> {
        self.run(move |days| upkeep::has_delivered_since(days, webhook, since)).await
    }

    async fn ledger(&self, query: &LedgerQuery, overdue_before: Timestamp) -> Result<Ledger, StoreError> {
        let query = query.clone();
        self.ask(move |reading| ledger::ledger(reading, &query, overdue_before)).await
    }
}
