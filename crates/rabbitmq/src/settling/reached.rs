//! How far the queue was handed out, now and a while ago.

use std::collections::VecDeque;
use std::time::Duration;

use postrider_contract::clock::Timestamp;

use super::MARGIN;

/// How finely the past is remembered.
const SPACING: Duration = Duration::from_millis(500);

/// Nothing that was written before this, up to [`MARGIN`], is left in the queue, but what was given back.
#[derive(Default)]
pub(super) struct Reached {
    by_now: Option<Timestamp>,
    /// What was known when; of what is older than the margin, the newest alone.
    past: VecDeque<(Timestamp, Timestamp)>,
}

impl Reached {
    pub(super) fn note(&mut self, time: Timestamp, reached: Timestamp) {
        let reached = self.by_now.map_or(reached, |by_now| by_now.max(reached));
        self.by_now = Some(reached);
        if self.past.back().is_none_or(|(last, _)| last.plus(SPACING) <= time) {
            self.past.push_back((time, reached));
        }
        while self.past.get(1).is_some_and(|(next, _)| next.plus(MARGIN) <= time) {
            self.past.pop_front();
        }
    }

    /// `None` if nothing was ever taken, nor the queue seen empty.
    pub(super) fn by_now(&self) -> Option<Timestamp> {
        self.by_now
    }

    /// What was known then, or not long before.
    pub(super) fn before(&self, time: Timestamp) -> Option<Timestamp> {
        self.past.iter().rev().find(|(known, _)| *known <= time).map(|(_, reached)| *reached)
    }
}
