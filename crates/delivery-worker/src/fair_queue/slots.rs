//! The slots of one share of the work, and whose turn it is there.
//!
//! Slow webhooks hold at most half of them. What a webhook held before it was found to be slow may be more than that:
//! the excess does not count against the well ones, who can always use half of the slots.

use std::collections::VecDeque;

use postrider_contract::ids::WebhookId;

/// How a webhook's tries count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    Well,
    Slow,
}

#[derive(Debug)]
pub(super) struct Slots {
    all: usize,
    slow_at_most: usize,
    well: usize,
    slow: usize,
    well_ring: VecDeque<WebhookId>,
    slow_ring: VecDeque<WebhookId>,
    /// Well and slow ones take turns; a slow one that finds its half used up loses nothing but time.
    last: Standing,
}

impl Slots {
    pub(super) fn new(all: usize) -> Self {
        Slots {
            all,
            slow_at_most: (all / 2).max(1),
            well: 0,
            slow: 0,
            well_ring: VecDeque::new(),
            slow_ring: VecDeque::new(),
            last: Standing::Slow,
        }
    }

    pub(super) fn used(&self) -> usize {
        self.well + self.slow
    }

    pub(super) fn get_in_line(&mut self, webhook: WebhookId, standing: Standing) {
        match standing {
            Standing::Well => self.well_ring.push_back(webhook),
            Standing::Slow => self.slow_ring.push_back(webhook),
        }
    }

    /// Takes a webhook out of the line of this standing: a turn there would no longer be its own. The line is as long as
    /// there are webhooks that wait for a slot, and standings change seldom.
    pub(super) fn leave_line(&mut self, webhook: WebhookId, standing: Standing) {
        let ring = match standing {
            Standing::Well => &mut self.well_ring,
            Standing::Slow => &mut self.slow_ring,
        };
        if let Some(place) = ring.iter().position(|other| *other == webhook) {
            ring.remove(place);
        }
    }

    /// Whose turn it is, and from which ring: it leaves the ring, and takes no slot yet.
    pub(super) fn next(&mut self) -> Option<(WebhookId, Standing)> {
        let well = !self.well_ring.is_empty() && self.has_room(Standing::Well);
        let slow = !self.slow_ring.is_empty() && self.has_room(Standing::Slow);
        let standing = match (well, slow, self.last) {
            (false, false, _) => return None,
            (true, false, _) | (true, true, Standing::Slow) => Standing::Well,
            (false, true, _) | (true, true, Standing::Well) => Standing::Slow,
        };
        self.last = standing;
        let ring = match standing {
            Standing::Well => &mut self.well_ring,
            Standing::Slow => &mut self.slow_ring,
        };
        Some((ring.pop_front()?, standing))
    }

    pub(super) fn take(&mut self, standing: Standing) {
        *self.count(standing) += 1;
    }

    pub(super) fn free(&mut self, standing: Standing) {
        *self.count(standing) -= 1;
    }

    /// So many tries that run count otherwise from now on.
    pub(super) fn recount(&mut self, tries: usize, from: Standing, to: Standing) {
        *self.count(from) -= tries;
        *self.count(to) += tries;
    }

    pub(super) fn forget_lines(&mut self) {
        self.well_ring.clear();
        self.slow_ring.clear();
    }

    fn has_room(&self, standing: Standing) -> bool {
        match standing {
            Standing::Well => self.well + self.slow.min(self.slow_at_most) < self.all,
            Standing::Slow => self.slow < self.slow_at_most && self.used() < self.all,
        }
    }

    fn count(&mut self, standing: Standing) -> &mut usize {
        match standing {
            Standing::Well => &mut self.well,
            Standing::Slow => &mut self.slow,
        }
    }
}
