//! What a check found: how much of everything, and what is wrong, by what kind of wrong it is.

use std::collections::BTreeMap;

use anyhow::{Result, bail, ensure};

/// Problems of one kind that are shown; the rest is counted.
const SHOWN: usize = 5;

/// The ways in which an installation can break its word. Of each there must be none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Wrong {
    /// Accepted, and not delivered.
    Lost,
    /// There, and never accepted.
    Ghost,
    /// Delivered with other bytes, or signed wrongly.
    Corrupt,
    /// The log, the receiver and what the producer was told do not agree.
    Contradiction,
    /// An answer that no fault explains, a delivery without an end, one that was healed although it was promised.
    Unexpected,
}

impl Wrong {
    const ALL: [Wrong; 5] =
        [Wrong::Lost, Wrong::Ghost, Wrong::Corrupt, Wrong::Contradiction, Wrong::Unexpected];

    fn name(self) -> &'static str {
        match self {
            Wrong::Lost => "lost",
            Wrong::Ghost => "ghost",
            Wrong::Corrupt => "corrupt",
            Wrong::Contradiction => "contradiction",
            Wrong::Unexpected => "unexpected",
        }
    }
}

/// What the check found.
#[derive(Debug, Default)]
pub struct Findings {
    pub accepted: usize,
    pub deliveries: usize,
    pub requests: usize,
    /// Requests beyond those that the receiver's failures explain.
    pub duplicates: usize,
    /// Of these, for events whose producer had no certain answer and sent them again.
    pub duplicates_of_doubt: usize,
    /// Requests without a try in the log.
    pub unlogged: usize,
    /// Deliveries of requests that were never answered, published again by status.
    pub healed: usize,
    problems: BTreeMap<(Wrong, &'static str), Vec<String>>,
}

impl Findings {
    /// Of so many accepted events and requests, with nothing wrong yet.
    pub(super) fn of(accepted: usize, requests: usize) -> Self {
        Findings { accepted, requests, ..Findings::default() }
    }

    /// Fails, telling all, unless nothing is wrong and at most so many requests came twice, or have no try in the log.
    pub fn require_clean(self, at_most: usize) -> Result<Self> {
        println!(
            "{} events, {} deliveries, {} requests: {}; {} repeats ({} of events in doubt), {} not in the log, \
             {at_most} may be; {} healed",
            self.accepted,
            self.deliveries,
            self.requests,
            self.counts(),
            self.duplicates,
            self.duplicates_of_doubt,
            self.unlogged,
            self.healed
        );
        if !self.problems.is_empty() {
            let told = self.problems.iter().map(|((wrong, kind), found)| {
                let shown = found.iter().take(SHOWN).cloned().collect::<Vec<_>>().join("\n  ");
                format!("{}: {kind}: {}\n  {shown}", wrong.name(), found.len())
            });
            bail!("{}", told.collect::<Vec<_>>().join("\n"));
        }
        ensure!(self.duplicates <= at_most, "{} repeats, {at_most} may be", self.duplicates);
        ensure!(self.unlogged <= at_most, "{} tries are not in the log, {at_most} may be", self.unlogged);
        Ok(self)
    }

    /// Every kind of wrong with its number, nought too.
    fn counts(&self) -> String {
        let count = |wrong: Wrong| {
            let of_kind = self.problems.iter().filter(|((kind, _), _)| *kind == wrong);
            format!("{} {}", wrong.name(), of_kind.map(|(_, found)| found.len()).sum::<usize>())
        };
        Wrong::ALL.map(count).join(", ")
    }

    pub(super) fn problem(&mut self, wrong: Wrong, kind: &'static str, what: impl FnOnce() -> String) {
        self.problems.entry((wrong, kind)).or_default().push(what());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_thing_wrong_is_told_and_fails_however_many_repeats_may_be() {
        let mut findings = Findings::of(1, 1);
        findings.problem(Wrong::Ghost, "never accepted", || "event 7".to_owned());
        assert_eq!(findings.counts(), "lost 0, ghost 1, corrupt 0, contradiction 0, unexpected 0");
        let told = findings.require_clean(usize::MAX).unwrap_err().to_string();
        assert!(told.contains("ghost: never accepted: 1\n  event 7"), "{told}");
    }

    #[test]
    fn more_repeats_or_unlogged_tries_than_may_be_fail() {
        let with = |duplicates, unlogged| Findings { duplicates, unlogged, ..Findings::default() };
        assert!(with(2, 2).require_clean(2).is_ok());
        assert!(with(3, 0).require_clean(2).is_err());
        assert!(with(0, 3).require_clean(2).is_err());
    }
}
