//! A message whose records are written in parts, by several writers at once.

use std::sync::{Arc, Mutex, PoisonError};

use postrider_contract::ports::LeaseTicket;

/// One part's share of a message's ticket. The message is acknowledged once every share said that its records are
/// written; it is given back as soon as one goes without having said so.
pub(crate) struct TicketShare(Option<Arc<Mutex<Option<LeaseTicket>>>>);

impl TicketShare {
    pub(super) fn whole(ticket: LeaseTicket) -> Self {
        TicketShare(Some(Arc::new(Mutex::new(Some(ticket)))))
    }

    /// Another one, for records that are taken out of the message.
    pub(super) fn split(&self) -> Self {
        TicketShare(self.0.clone())
    }

    /// Of the last share the message's acknowledgement.
    pub(crate) fn written(mut self) {
        let last = self.0.take().and_then(Arc::into_inner);
        let ticket = last.and_then(|ticket| ticket.into_inner().unwrap_or_else(PoisonError::into_inner));
        if let Some(ticket) = ticket {
            ticket.acknowledge();
        }
    }
}

impl Drop for TicketShare {
    fn drop(&mut self) {
        if let Some(ticket) = self.0.take() {
            drop(ticket.lock().unwrap_or_else(PoisonError::into_inner).take());
        }
    }
}
