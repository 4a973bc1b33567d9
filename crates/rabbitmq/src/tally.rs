//! Counts the confirms of one publish call.
//!
//! Promise: the call is `Ok` only if every message was confirmed; *refused* only if certainly none of them
//! arrived; in doubt otherwise. A message whose ticket is dropped without a word counts as in doubt if it may
//! have been written, as refused if not.

use std::sync::{Arc, Mutex, PoisonError};

use postrider_contract::ports::PublishError;
use tokio::sync::Notify;

#[derive(Default)]
struct Counts {
    open: usize,
    confirmed: usize,
    /// The first reason of each kind.
    refusal: Option<String>,
    doubt: Option<String>,
}

#[derive(Default)]
pub(crate) struct Tally {
    counts: Mutex<Counts>,
    settled: Notify,
}

impl Tally {
    /// For one more message of the call. Take all before waiting.
    pub fn ticket(self: &Arc<Self>) -> Ticket {
        self.lock().open += 1;
        Ticket { tally: Some(Arc::clone(self)), is_written: false }
    }

    /// Waits until every ticket is settled.
    pub async fn wait(&self) -> Result<(), PublishError> {
        loop {
            let settled = self.settled.notified();
            if let Some(result) = self.result() {
                return result;
            }
            settled.await;
        }
    }

    fn result(&self) -> Option<Result<(), PublishError>> {
        let counts = self.lock();
        if counts.open > 0 {
            return None;
        }
        if let Some(reason) = &counts.doubt {
            return Some(Err(PublishError::InDoubt { reason: reason.clone() }));
        }
        Some(match &counts.refusal {
            None => Ok(()),
            Some(reason) if counts.confirmed == 0 => Err(PublishError::Refused { reason: reason.clone() }),
            Some(reason) => {
                let reason = format!("some messages of the call were confirmed, others not: {reason}");
                Err(PublishError::InDoubt { reason })
            }
        })
    }

    fn settle(&self, result: Result<(), PublishError>) {
        let mut counts = self.lock();
        counts.open -= 1;
        match result {
            Ok(()) => counts.confirmed += 1,
            Err(PublishError::Refused { reason }) => {
                counts.refusal.get_or_insert(reason);
            }
            Err(PublishError::InDoubt { reason }) => {
                counts.doubt.get_or_insert(reason);
            }
        }
        if counts.open == 0 {
            // One waits at most; a permit is kept if it has not begun to.
            self.settled.notify_one();
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One message's place in its call's tally.
pub(crate) struct Ticket {
    tally: Option<Arc<Tally>>,
    is_written: bool,
}

impl Ticket {
    /// From now on the message may arrive.
    pub fn mark_written(&mut self) {
        self.is_written = true;
    }

    pub fn settle(mut self, result: Result<(), PublishError>) {
        if let Some(tally) = self.tally.take() {
            tally.settle(result);
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if let Some(tally) = self.tally.take() {
            let reason = "the connection to the broker ended".to_owned();
            tally.settle(Err(if self.is_written {
                PublishError::InDoubt { reason }
            } else {
                PublishError::Refused { reason }
            }));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused() -> Result<(), PublishError> {
        Err(PublishError::Refused { reason: "full".to_owned() })
    }

    #[tokio::test]
    async fn a_call_is_confirmed_only_if_every_message_is() {
        let tally = Arc::new(Tally::default());
        let (first, second) = (tally.ticket(), tally.ticket());
        first.settle(Ok(()));
        assert!(tally.result().is_none());
        second.settle(Ok(()));
        assert!(tally.wait().await.is_ok());
    }

    #[tokio::test]
    async fn a_call_is_refused_only_if_nothing_of_it_happened() {
        let tally = Arc::new(Tally::default());
        let (first, second) = (tally.ticket(), tally.ticket());
        first.settle(refused());
        drop(second);
        assert!(matches!(tally.wait().await, Err(PublishError::Refused { .. })));

        let tally = Arc::new(Tally::default());
        let (first, second) = (tally.ticket(), tally.ticket());
        first.settle(refused());
        second.settle(Ok(()));
        assert!(matches!(tally.wait().await, Err(PublishError::InDoubt { .. })));
    }

    #[tokio::test]
    async fn a_message_that_was_written_and_never_answered_is_in_doubt() {
        let tally = Arc::new(Tally::default());
        let mut ticket = tally.ticket();
        ticket.mark_written();
        drop(ticket);
        assert!(matches!(tally.wait().await, Err(PublishError::InDoubt { .. })));
    }
}
