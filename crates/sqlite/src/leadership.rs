//! Leadership in one process: whoever asks first leads, until it lets go.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use postrider_contract::ports::{Lead, Leadership, StoreError};

use crate::mutex::lock;

#[derive(Default)]
pub(crate) struct SqliteLeadership {
    held: Arc<Mutex<HashSet<&'static str>>>,
}

#[async_trait]
impl Leadership for SqliteLeadership {
    async fn try_lead(&self, duty: &'static str) -> Result<Option<Box<dyn Lead>>, StoreError> {
        let is_free = lock(&self.held).insert(duty);
        let lead = is_free.then(|| HeldLead { duty, held: Arc::clone(&self.held) });
        Ok(lead.map(|lead| Box::new(lead) as Box<dyn Lead>))
    }
}

struct HeldLead {
    duty: &'static str,
    held: Arc<Mutex<HashSet<&'static str>>>,
}

impl Lead for HeldLead {
    fn is_held(&self) -> bool {
        true
    }
}

impl Drop for HeldLead {
    fn drop(&mut self) {
        lock(&self.held).remove(self.duty);
    }
}
