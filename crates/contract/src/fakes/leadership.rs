//! Leadership in memory.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;

use super::Outage;
use crate::ports::{Lead, Leadership, StoreError};

#[derive(Debug, Default)]
struct Leads {
    next: u64,
    held: HashMap<&'static str, u64>,
}

/// Clones stand for other processes on the same store.
#[derive(Clone, Debug, Default)]
pub struct FakeLeadership {
    leads: Arc<Mutex<Leads>>,
    outage: Arc<Outage>,
}

impl FakeLeadership {
    #[must_use]
    pub fn new(outage: Arc<Outage>) -> Self {
        FakeLeadership { leads: Arc::default(), outage }
    }

    /// Whoever leads loses it without being asked, as with a broken connection.
    pub fn depose(&self, duty: &'static str) {
        lock(&self.leads).held.remove(duty);
    }
}

fn lock(leads: &Mutex<Leads>) -> MutexGuard<'_, Leads> {
    leads.lock().unwrap_or_else(PoisonError::into_inner)
}

struct FakeLead {
    leads: Arc<Mutex<Leads>>,
    duty: &'static str,
    number: u64,
}

impl Lead for FakeLead {
    fn is_held(&self) -> bool {
        lock(&self.leads).held.get(self.duty) == Some(&self.number)
    }
}

impl Drop for FakeLead {
    fn drop(&mut self) {
        if self.is_held() {
            lock(&self.leads).held.remove(self.duty);
        }
    }
}

#[async_trait]
impl Leadership for FakeLeadership {
    async fn try_lead(&self, duty: &'static str) -> Result<Option<Box<dyn Lead>>, StoreError> {
        self.outage.check()?;
        let mut leads = lock(&self.leads);
        if leads.held.contains_key(duty) {
            return Ok(None);
        }
        leads.next += 1;
        let number = leads.next;
        leads.held.insert(duty, number);
        Ok(Some(Box::new(FakeLead { leads: Arc::clone(&self.leads), duty, number })))
    }
}
