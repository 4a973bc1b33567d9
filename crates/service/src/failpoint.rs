//! Named places where a fault test may make the process die, fail or stand still.
//!
//! Without the cargo feature `failpoints` a [`hit`] is nothing at all. With it, what happens where is handed in once
//! at start, for instance `settle.after_successor=abort@7;ingest.before_publish=error@3`: at the seventh hit of the
//! first place the process aborts, as a `kill -9` would end it.

/// What a failpoint told its caller to fail with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("failpoint {0} was set to fail here")]
pub struct InjectedFailure(pub &'static str);

/// Marks a place. Does nothing unless this build has failpoints and a test has set this one.
///
/// # Errors
/// At the hit that was set to fail.
#[cfg(not(feature = "failpoints"))]
#[inline(always)]
pub fn hit(_: &'static str) -> Result<(), InjectedFailure> {
    Ok(())
}

#[cfg(feature = "failpoints")]
pub use armed::{Failpoints, InvalidFailpoints, arm, hit};

#[cfg(feature = "failpoints")]
mod armed {
    use std::collections::HashMap;
    use std::num::NonZeroU64;
    use std::str::FromStr;
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::InjectedFailure;

    static ARMED: OnceLock<Failpoints> = OnceLock::new();

    /// The faults of one run, by place.
    #[derive(Debug, Default)]
    pub struct Failpoints(HashMap<String, Failpoint>);

    #[derive(Debug)]
    struct Failpoint {
        fault: Fault,
        at_hit: NonZeroU64,
        hits: AtomicU64,
    }

    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    enum Fault {
        Abort,
        Error,
        /// The thread stands still for good: for a test that ends the process from outside at a known step.
        Pause,
    }

    #[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
    #[error("not a failpoint: {0:?} (expected place=abort@n, place=error@n or place=pause)")]
    pub struct InvalidFailpoints(String);

    impl FromStr for Failpoints {
        type Err = InvalidFailpoints;

        fn from_str(text: &str) -> Result<Self, InvalidFailpoints> {
            let entries = text.split(';').map(str::trim).filter(|entry| !entry.is_empty());
            entries
                .map(|entry| parse_entry(entry).ok_or_else(|| InvalidFailpoints(entry.to_owned())))
                .collect()
        }
    }

    impl FromIterator<(String, Failpoint)> for Failpoints {
        fn from_iter<I: IntoIterator<Item = (String, Failpoint)>>(entries: I) -> Self {
            Failpoints(entries.into_iter().collect())
        }
    }

    fn parse_entry(entry: &str) -> Option<(String, Failpoint)> {
        let (place, action) = entry.split_once('=')?;
        let (fault, count) = action.split_once('@').unwrap_or((action, "1"));
        let fault = match fault {
            "abort" => Fault::Abort,
            "error" => Fault::Error,
            "pause" => Fault::Pause,
            _ => return None,
        };
        let failpoint = Failpoint { fault, at_hit: count.parse().ok()?, hits: AtomicU64::new(0) };
        Some((place.to_owned(), failpoint))
    }

    impl Failpoints {
        fn due(&self, place: &str) -> Option<Fault> {
            let failpoint = self.0.get(place)?;
            let hits = failpoint.hits.fetch_add(1, Ordering::SeqCst) + 1;
            (hits == failpoint.at_hit.get()).then_some(failpoint.fault)
        }
    }

    /// Hands in the faults of this run, before any role starts.
    ///
    /// # Errors
    /// Gives them back if some were handed in before.
    pub fn arm(failpoints: Failpoints) -> Result<(), Failpoints> {
        ARMED.set(failpoints)
    }

    /// See [`super`].
    ///
    /// # Errors
    /// At the hit that was set to fail.
    pub fn hit(place: &'static str) -> Result<(), InjectedFailure> {
        match ARMED.get().and_then(|failpoints| failpoints.due(place)) {
            None => Ok(()),
            Some(Fault::Error) => Err(InjectedFailure(place)),
            Some(Fault::Abort) => {
                tracing::warn!(place, "failpoint: aborting");
                std::process::abort()
            }
            Some(Fault::Pause) => {
                tracing::warn!(place, "failpoint: standing still");
                loop {
                    std::thread::park();
                }
            }
        }
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn a_fault_comes_at_its_hit_and_only_there() {
            let failpoints: Failpoints = "a.b=error@2; c=abort@3;d=pause;".parse().expect("failpoints");
            let dues: Vec<_> = (0..3).map(|_| failpoints.due("a.b")).collect();
            assert_eq!(dues, [None, Some(Fault::Error), None]);
            assert_eq!(failpoints.due("d"), Some(Fault::Pause));
            assert_eq!(failpoints.due("unknown"), None);
        }

        #[test]
        fn what_is_not_a_failpoint_is_told_back() {
            for text in ["a", "a=explode@1", "a=abort@0", "a=abort@x"] {
                assert_eq!(text.parse::<Failpoints>().expect_err(text), InvalidFailpoints(text.to_owned()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_place_that_nobody_set_does_nothing() {
        assert_eq!(super::hit("nobody.set_this"), Ok(()));
    }
}
