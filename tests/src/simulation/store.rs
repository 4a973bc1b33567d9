//! The stores, as one life of a process sees them: the log with its waiting room, keyed requests, leadership.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use postrider_contract::clock::{Day, Timestamp};
use postrider_contract::delivery::Position;
use postrider_contract::fakes::FakeLog;
use postrider_contract::ids::{DeliveryId, TenantId, WebhookId};
use postrider_contract::log::LogWrites;
use postrider_contract::ports::{
    BegunRequest, DeliveryLog, HeldDelivery, KeyName, KeyedOutcome, KeyedRequest, KeyedRequests, KeyedState,
    Lead, Leadership, LogQueries, OverdueDelivery, RoomSummary, StoreError, WaitingRoom,
};

use super::effect::{Effect, Mutation};
use super::life::Life;
use super::roles::tenant_id;

/// How far behind its promise a mutated commit is.
const TOO_LATE: Duration = Duration::from_millis(40);

#[derive(Clone)]
pub(super) struct SimulatedStore {
    pub(super) life: Arc<Life>,
}

impl SimulatedStore {
    fn log(&self) -> &FakeLog {
        &self.life.world.log
    }

    async fn commit(&self, writes: &LogWrites) -> Result<(), StoreError> {
        let what = || {
            let rows = writes.deliveries.iter().map(|row| format!("{} {:?}", row.reference.id, row.status));
            let rows: Vec<_> = rows.collect();
            format!("writes {} events, [{}]", writes.events.len(), rows.join(", "))
        };
        self.life.perform(Effect::Apply, what, self.log().apply(writes)).await?
    }

    /// The check as it would be if a deferral's record counted as one of the try.
    async fn is_deferral_recorded(&self, id: DeliveryId, position: Position) -> bool {
        let view = self.log().delivery(&tenant_id(), id).await.ok().flatten();
        let is_known = view.is_some_and(|view| view.attempts + 1 >= position.attempt.number());
        position.deferrals > 0 && is_known
    }
}

#[async_trait]
impl DeliveryLog for SimulatedStore {
    async fn apply(&self, writes: &LogWrites) -> Result<(), StoreError> {
        if self.life.world.is_mutated(Mutation::AcknowledgeBeforeCommit) {
            let (store, writes) = (self.clone(), writes.clone());
            tokio::spawn(async move {
                tokio::time::sleep(TOO_LATE).await;
                drop(store.commit(&writes).await);
            });
            return Ok(());
        }
        self.commit(writes).await
    }

    async fn is_recorded(&self, tries: &[(DeliveryId, Position)]) -> Result<Vec<bool>, StoreError> {
        let what = || format!("looks up {} tries", tries.len());
        let mut recorded = self.life.perform(Effect::LookUp, what, self.log().is_recorded(tries)).await??;
        if self.life.world.is_mutated(Mutation::SuppressOwnDeferral) {
            for (recorded, (id, position)) in recorded.iter_mut().zip(tries) {
                *recorded |= self.is_deferral_recorded(*id, *position).await;
            }
        }
        Ok(recorded)
    }

    async fn has_moved_on(&self, id: DeliveryId, from: Position) -> Result<bool, StoreError> {
        let what = || "asks whether a delivery has moved on".to_owned();
        self.life.perform(Effect::LookUp, what, self.log().has_moved_on(id, from)).await?
    }

    async fn overdue(&self, before: Timestamp, limit: u32) -> Result<Vec<OverdueDelivery>, StoreError> {
        let what = || "asks what is overdue".to_owned();
        self.life.perform(Effect::Read, what, self.log().overdue(before, limit)).await?
    }

    async fn prepare_days(&self, first: Day, last: Day) -> Result<(), StoreError> {
        let what = || "makes days ready".to_owned();
        self.life.perform(Effect::Read, what, self.log().prepare_days(first, last)).await?
    }

    async fn first_day(&self) -> Result<Option<Day>, StoreError> {
        let what = || "asks for the oldest day".to_owned();
        self.life.perform(Effect::Read, what, self.log().first_day()).await?
    }

    async fn drop_days_before(&self, day: Day) -> Result<Vec<Day>, StoreError> {
        let what = || "drops old days".to_owned();
        self.life.perform(Effect::Read, what, self.log().drop_days_before(day)).await?
    }

    async fn drop_bodies_before(&self, day: Day) -> Result<Vec<Day>, StoreError> {
        let what = || "drops old bodies".to_owned();
        self.life.perform(Effect::Read, what, self.log().drop_bodies_before(day)).await?
    }
}

#[async_trait]
impl WaitingRoom for SimulatedStore {
    async fn summaries(&self) -> Result<Vec<RoomSummary>, StoreError> {
        let what = || "asks who waits".to_owned();
        self.life.perform(Effect::Read, what, self.log().summaries()).await?
    }

    async fn oldest(&self, webhook: WebhookId, limit: u32) -> Result<Vec<HeldDelivery>, StoreError> {
        let what = || "asks what waits longest".to_owned();
        self.life.perform(Effect::Read, what, self.log().oldest(webhook, limit)).await?
    }

    async fn mark_released(&self, released: Vec<(DeliveryId, u32)>, at: Timestamp) -> Result<(), StoreError> {
        let what = format!("marks {} as released", released.len());
        self.life.perform(Effect::Mark, || what, self.log().mark_released(released, at)).await?
    }

    async fn reopen_released_before(&self, time: Timestamp) -> Result<u64, StoreError> {
        let what = || "lets wait again what was lost sight of".to_owned();
        self.life.perform(Effect::Mark, what, self.log().reopen_released_before(time)).await?
    }
}

#[async_trait]
impl KeyedRequests for SimulatedStore {
    async fn begin(&self, requests: Vec<KeyedRequest>) -> Result<Vec<KeyedOutcome>, StoreError> {
        let what = format!("begins {} keyed requests", requests.len());
        self.life.perform(Effect::Keyed, || what, self.life.world.keyed.begin(requests)).await?
    }

    async fn confirm(&self, begun: Vec<BegunRequest>) -> Result<(), StoreError> {
        let what = format!("confirms {} keyed requests", begun.len());
        self.life.perform(Effect::Keyed, || what, self.life.world.keyed.confirm(begun)).await?
    }

    async fn find(
        &self,
        names: Vec<(TenantId, KeyName)>,
    ) -> Result<Vec<Option<(KeyedRequest, KeyedState)>>, StoreError> {
        let what = format!("looks for {} keyed requests", names.len());
        self.life.perform(Effect::Read, || what, self.life.world.keyed.find(names)).await?
    }

    async fn withdraw(&self, begun: Vec<BegunRequest>) -> Result<(), StoreError> {
        let what = format!("withdraws {} keyed requests", begun.len());
        self.life.perform(Effect::Keyed, || what, self.life.world.keyed.withdraw(begun)).await?
    }

    async fn forget_before(&self, time: Timestamp) -> Result<(), StoreError> {
        let what = || "forgets old keys".to_owned();
        self.life.perform(Effect::Keyed, what, self.life.world.keyed.forget_before(time)).await?
    }
}

#[async_trait]
impl Leadership for SimulatedStore {
    async fn try_lead(&self, duty: &'static str) -> Result<Option<Box<dyn Lead>>, StoreError> {
        let what = || "asks to lead".to_owned();
        let led = self.life.perform(Effect::Read, what, self.life.world.leadership.try_lead(duty)).await??;
        let Some(lead) = led else { return Ok(None) };
        let lead = Arc::new(Mutex::new(Some(lead)));
        let (held, dead) = (Arc::clone(&lead), self.life.dead.clone());
        // The store notices that its leader is gone.
        tokio::spawn(async move {
            dead.cancelled().await;
            held.lock().unwrap_or_else(PoisonError::into_inner).take();
        });
        Ok(Some(Box::new(HeldLead { lead })))
    }
}

struct HeldLead {
    lead: Arc<Mutex<Option<Box<dyn Lead>>>>,
}

impl Lead for HeldLead {
    fn is_held(&self) -> bool {
        let lead = self.lead.lock().unwrap_or_else(PoisonError::into_inner);
        lead.as_ref().is_some_and(|lead| lead.is_held())
    }
}

impl Drop for HeldLead {
    fn drop(&mut self) {
        self.lead.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}
