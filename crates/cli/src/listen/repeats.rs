//! Which requests came before: counted by their identity, within a bound.

use std::collections::{HashMap, VecDeque};

/// Enough for hours at a person's pace; the oldest are forgotten first.
const REMEMBERED: usize = 100_000;

#[derive(Default)]
pub(super) struct Repeats {
    counts: HashMap<String, u64>,
    order: VecDeque<String>,
    distinct: u64,
}

impl Repeats {
    /// How often this one has come, this time included.
    pub(super) fn note(&mut self, identity: &str) -> u64 {
        if let Some(count) = self.counts.get_mut(identity) {
            *count += 1;
            return *count;
        }
        self.distinct += 1;
        self.counts.insert(identity.to_owned(), 1);
        self.order.push_back(identity.to_owned());
        if self.order.len() > REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.counts.remove(&oldest);
        }
        1
    }

    /// How many different ones came.
    pub(super) fn distinct(&self) -> u64 {
        self.distinct
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeats_are_counted_and_memory_is_bounded() {
        let mut repeats = Repeats::default();
        assert_eq!([repeats.note("a"), repeats.note("b"), repeats.note("a")], [1, 1, 2]);
        for number in 0..REMEMBERED {
            repeats.note(&number.to_string());
        }
        assert_eq!(repeats.counts.len(), REMEMBERED);
        assert_eq!(repeats.note("a"), 1);
    }
}
