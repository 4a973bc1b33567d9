//! A delivery in hand.

use postrider_contract::delivery::{AttemptNumber, Check, Delivery};
use postrider_contract::ports::{LeaseTicket, WorkKind};

use crate::fair_queue::Share;

/// A delivery and the lease it came with. Dropped, it goes back to the queue.
#[derive(Debug)]
pub struct Taken {
    pub delivery: Delivery,
    pub kind: WorkKind,
    pub redelivered: bool,
    pub ticket: LeaseTicket,
}

impl Taken {
    /// Whose slots its try uses.
    #[must_use]
    pub fn share(&self) -> Share {
        match self.kind {
            WorkKind::First | WorkKind::Large => Share::First,
            WorkKind::Retry => Share::Retry,
            WorkKind::Release => Share::Release,
        }
    }

    /// Whether another copy of it may have been tried already.
    #[must_use]
    pub fn must_be_checked(&self) -> bool {
        let is_marked = match self.delivery.check {
            Check::Fresh => false,
            Check::LookUp => true,
        };
        is_marked || self.redelivered || self.delivery.position.attempt > AttemptNumber::FIRST
    }

    /// Which way it came. Large ones have a queue for first tries and releases together; of these only a release
    /// is marked and has been held.
    #[must_use]
    pub fn passage(&self) -> Passage {
        let is_held_copy = self.delivery.position.holds > 0 && self.delivery.check == Check::LookUp;
        match self.kind {
            WorkKind::Release => Passage::Released,
            WorkKind::Large if is_held_copy => Passage::Released,
            WorkKind::Large | WorkKind::First | WorkKind::Retry => Passage::Direct,
        }
    }
}

/// Whether a delivery comes from the waiting room, which keeps to its webhook's rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passage {
    Direct,
    Released,
}
