//! How many files this process may have open: every socket is one.
//!
//! Shells and init systems commonly start a process with a soft limit of 1,024, for the sake of programs that
//! still use `select`; a server is expected to raise its own to the hard limit.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// The limits on open files, as they are now. `u64::MAX` where there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileLimit {
    /// What holds.
    pub soft: u64,
    /// What it could be raised to, by its owner.
    pub hard: u64,
}

impl FileLimit {
    /// Whether so many files can be open at once.
    #[must_use]
    pub fn is_enough_for(self, files: u64) -> bool {
        files <= self.soft
    }
}

/// Raises the soft limit to the hard one, as far as the system lets it, and answers what holds then. Called once at
/// start, before anything is opened; processes started from this one inherit it.
#[must_use]
pub fn raise_file_limit() -> FileLimit {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        // Some systems have a lower bound of their own beside the hard limit; what holds is what counts.
        tracing::debug!(%error, "cannot raise the limit on open files");
    }
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    FileLimit { soft: current.unwrap_or(u64::MAX), hard: maximum.unwrap_or(u64::MAX) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_soft_limit_is_raised_to_the_hard_one() {
        let before = getrlimit(Resource::Nofile);
        let low = Rlimit { current: before.maximum.map(|most| most.min(512)), ..before };
        setrlimit(Resource::Nofile, low).expect("lowering is always allowed");
        let limit = raise_file_limit();
        assert_eq!((limit.soft, limit.hard), (limit.hard, before.maximum.unwrap_or(u64::MAX)));
        assert!(limit.is_enough_for(limit.soft) && !FileLimit { soft: 512, ..limit }.is_enough_for(513));
    }
}
