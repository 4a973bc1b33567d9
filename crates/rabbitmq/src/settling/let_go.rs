//! Batches that this process appended or gave back, and has not seen since.
//!
//! What was appended can be on its way to its reader for [`MARGIN`] after the broker's answer. Later it is in
//! somebody's hands, or ready, and then the queue's order says how old it is at least.
//!
//! What was given back has lost its place in that order: the queue hands it out before anything else, but that can take
//! as long as nobody takes anything. So it counts until it comes again; or until it must be in the hands of another, and
//! [`MARGIN`] longer: when the queue was seen empty, or something was taken that was written after it was given back.

use std::collections::BTreeMap;

use postrider_contract::clock::Timestamp;

use super::MARGIN;

/// By when they were written. Bounded by what is appended within the margin, and by what is in hand.
#[derive(Default)]
pub(super) struct LetGo(BTreeMap<Timestamp, Waiting>);

struct Waiting {
    count: u32,
    /// When the last of them was let go of.
    since: Timestamp,
    /// From when on they do not count.
    until: Option<Timestamp>,
}

impl LetGo {
    pub(super) fn appended(&mut self, written_at: Timestamp, time: Timestamp) {
        self.add(written_at, time, Some(time.plus(MARGIN)));
        // A process may append for ever and never ask.
        while let Some(oldest) = self.0.first_entry()
            && oldest.get().has_passed(time)
        {
            oldest.remove();
        }
    }

    pub(super) fn given_back(&mut self, written_at: Timestamp, time: Timestamp) {
        self.add(written_at, time, None);
    }

    fn add(&mut self, written_at: Timestamp, since: Timestamp, until: Option<Timestamp>) {
        let waiting = self.0.entry(written_at).or_insert(Waiting { count: 0, since, until });
        waiting.count += 1;
        waiting.since = waiting.since.max(since);
        // Whichever lasts longer.
        waiting.until = waiting.until.zip(until).map(|(one, other)| one.max(other));
    }

    /// A batch of that moment was taken: perhaps one of these.
    pub(super) fn seen(&mut self, written_at: Timestamp, time: Timestamp) {
        if let Some(waiting) = self.0.get_mut(&written_at) {
            waiting.count -= 1;
            if waiting.count == 0 {
                self.0.remove(&written_at);
            }
        }
        for (_, waiting) in self.0.range_mut(..=written_at.minus(MARGIN)) {
            if waiting.since.plus(MARGIN) <= written_at {
                waiting.hand_out(time);
            }
        }
    }

    /// Nothing is ready.
    pub(super) fn all_handed_out(&mut self, time: Timestamp) {
        self.0.values_mut().for_each(|waiting| waiting.hand_out(time));
    }

    pub(super) fn forget_passed(&mut self, time: Timestamp) {
        self.0.retain(|_, waiting| !waiting.has_passed(time));
    }

    pub(super) fn oldest(&self) -> Option<Timestamp> {
        self.0.keys().next().copied()
    }
}

impl Waiting {
    fn hand_out(&mut self, time: Timestamp) {
        self.until.get_or_insert(time.plus(MARGIN));
    }

    fn has_passed(&self, time: Timestamp) -> bool {
        self.until.is_some_and(|until| until <= time)
    }
}
