//! Keyed requests in memory.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;

use super::Outage;
use super::watched::Watched;
use crate::clock::Timestamp;
use crate::ids::TenantId;
use crate::ports::{
    BegunRequest, KeyName, KeyedOutcome, KeyedRequest, KeyedRequests, KeyedState, StoreError,
};

#[derive(Debug)]
pub struct FakeKeyedRequests {
    stored: Watched<HashMap<(TenantId, KeyName), (KeyedRequest, KeyedState)>>,
    outage: Arc<Outage>,
}

impl FakeKeyedRequests {
    #[must_use]
    pub fn new(outage: Arc<Outage>) -> Self {
        FakeKeyedRequests { stored: Watched::new(HashMap::new()), outage }
    }

    /// The request that a name stands for.
    #[must_use]
    pub fn known(&self, tenant: &TenantId, name: &KeyName) -> Option<KeyedRequest> {
        let name = (tenant.clone(), name.clone());
        self.stored.read(|stored| stored.get(&name).map(|(request, _)| request.clone()))
    }
}

#[async_trait]
impl KeyedRequests for FakeKeyedRequests {
    async fn begin(&self, requests: Vec<KeyedRequest>) -> Result<Vec<KeyedOutcome>, StoreError> {
        self.outage.check()?;
        Ok(self.stored.change(|stored| {
            let mut begin = |request: KeyedRequest| {
                let key = (request.tenant.clone(), request.name.clone());
                if let Some((request, state)) = stored.get(&key) {
                    return KeyedOutcome::Exists { request: request.clone(), state: *state };
                }
                stored.insert(key, (request, KeyedState::Pending));
                KeyedOutcome::Inserted
            };
            requests.into_iter().map(&mut begin).collect()
        }))
    }

    async fn confirm(&self, begun: Vec<BegunRequest>) -> Result<(), StoreError> {
        self.outage.check()?;
        self.stored.change(|stored| {
            for one in begun {
                if let Some((request, state)) = stored.get_mut(&(one.tenant.clone(), one.name.clone()))
                    && request.begun() == one
                {
                    *state = KeyedState::Confirmed;
                }
            }
        });
        Ok(())
    }

    async fn find(
        &self,
        names: Vec<(TenantId, KeyName)>,
    ) -> Result<Vec<Option<(KeyedRequest, KeyedState)>>, StoreError> {
        self.outage.check()?;
        Ok(self.stored.read(|stored| names.iter().map(|name| stored.get(name).cloned()).collect()))
    }

    async fn withdraw(&self, begun: Vec<BegunRequest>) -> Result<(), StoreError> {
        self.outage.check()?;
        self.stored.change(|stored| {
            for one in begun {
                let key = (one.tenant.clone(), one.name.clone());
                let is_ours = |(request, state): &(KeyedRequest, KeyedState)| {
                    *state == KeyedState::Pending && request.begun() == one
                };
                if stored.get(&key).is_some_and(is_ours) {
                    stored.remove(&key);
                }
            }
        });
        Ok(())
    }

    async fn forget_before(&self, time: Timestamp) -> Result<(), StoreError> {
        self.outage.check()?;
        self.stored.change(|stored| stored.retain(|_, (request, _)| request.accepted_at >= time));
        Ok(())
    }
}
