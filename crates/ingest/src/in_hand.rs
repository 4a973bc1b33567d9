//! Which keyed events this process is publishing: each by one request at a time.
//!
//! Why: a request is pending from when it asked for its row. After an outage of the store a row may therefore look like
//! that of a dead request while its own request publishes, and every repeat that waited for the store meanwhile comes
//! upon that row at once. If each of them published, receivers got as many copies as the producer had made tries; and the
//! look-up that recognises copies is of no help then, since the log is behind after the same outage.
//!
//! Other processes are not asked: what a row that is pending for long is published by at once is one request of each.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use postrider_contract::event::Event;
use postrider_contract::ids::{EventId, TenantId};

/// Bounded by the requests that are worked on.
#[derive(Debug, Default)]
pub(crate) struct InHand(Mutex<HashSet<(TenantId, EventId)>>);

/// The right to publish an event, until it is dropped.
#[derive(Debug)]
pub(crate) struct Taken<'a> {
    in_hand: &'a InHand,
    name: (TenantId, EventId),
}

impl InHand {
    /// `None` while another request publishes it.
    pub(crate) fn take(&self, event: &Event) -> Option<Taken<'_>> {
        let name = (event.tenant.clone(), event.id.clone());
        let is_free = self.lock().insert(name.clone());
        // Made only then: one that is dropped would give back what another request holds.
        is_free.then(|| Taken { in_hand: self, name })
    }

    fn lock(&self) -> MutexGuard<'_, HashSet<(TenantId, EventId)>> {
        // A set is whole at any time, whoever panicked while it held the lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        self.in_hand.lock().remove(&self.name);
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use postrider_contract::clock::Timestamp;
    use postrider_contract::submission::Submission;
    use postrider_service::system::SystemEntropy;

    use super::*;
    use crate::intake::event_of;

    #[test]
    fn an_event_is_one_requests_until_that_one_lets_go_however_many_ask() {
        let submission = Submission::parse(&Bytes::from_static(br#"{"type":"order.paid","data":{}}"#));
        let event = event_of(&"a".parse().unwrap(), submission.unwrap(), Timestamp::EPOCH, &SystemEntropy);
        let in_hand = InHand::default();
        let first = in_hand.take(&event);
        assert!(first.is_some());
        for _ in 0..3 {
            assert!(in_hand.take(&event).is_none());
        }
        drop(first);
        assert!(in_hand.take(&event).is_some());
    }
}
