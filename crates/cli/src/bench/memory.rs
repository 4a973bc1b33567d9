//! The memory that processes, with their children, hold at their fullest.
//!
//! Counted in proportional shares (PSS), as far as the kernel tells: a page that ten processes of the database share
//! is counted once, not ten times. It is sampled, so a peak shorter than the pause between two looks may be missed.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio_util::task::AbortOnDropHandle;

use super::cpu::Watched;

/// One look costs some milliseconds for each GB that is held.
const PAUSE: Duration = Duration::from_millis(500);

/// Looks until it is dropped.
pub struct MemoryWatch {
    watched: Vec<Watched>,
    peaks: Arc<Mutex<Vec<(String, u64)>>>,
    _looking: AbortOnDropHandle<()>,
}

impl MemoryWatch {
    pub fn start(watched: Vec<Watched>) -> Self {
        let peaks = Arc::new(Mutex::new(Vec::new()));
        let (into, whom) = (Arc::clone(&peaks), watched.clone());
        let looking = tokio::spawn(async move {
            let mut looks = tokio::time::interval(PAUSE);
            loop {
                looks.tick().await;
                look(&whom, &into);
            }
        });
        MemoryWatch { watched, peaks, _looking: AbortOnDropHandle::new(looking) }
    }

    /// The largest sum so far of each name, in bytes.
    pub fn peaks(&self) -> Vec<(String, u64)> {
        look(&self.watched, &self.peaks);
        self.peaks.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// What is held at this moment, by name, in bytes.
pub fn held(watched: &[Watched]) -> Vec<(String, u64)> {
    let mut sums: Vec<(String, u64)> = Vec::new();
    let families = Watched::families(watched);
    for (one, family) in watched.iter().zip(families) {
        let bytes: u64 = family.into_iter().map(held_by).sum();
        match sums.iter_mut().find(|(name, _)| *name == one.name) {
            Some((_, sum)) => *sum += bytes,
            None => sums.push((one.name.clone(), bytes)),
        }
    }
    sums
}

fn look(watched: &[Watched], peaks: &Mutex<Vec<(String, u64)>>) {
    let now = held(watched);
    let mut peaks = peaks.lock().unwrap_or_else(PoisonError::into_inner);
    for (name, bytes) in now {
        match peaks.iter_mut().find(|(other, _)| *other == name) {
            Some((_, peak)) => *peak = (*peak).max(bytes),
            None => peaks.push((name, bytes)),
        }
    }
}

/// Its share of what is in memory; all of it where the kernel does not tell shares, as of another user's process.
fn held_by(pid: u32) -> u64 {
    let shares = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    let kib = field(&shares, "Pss:").or_else(|| {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        field(&status, "VmRSS:")
    });
    kib.unwrap_or(0) * 1024
}

fn field(text: &str, name: &str) -> Option<u64> {
    let value = text.lines().find_map(|line| line.strip_prefix(name))?;
    value.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_process_holds_is_found_under_its_name() {
        let me = std::process::id();
        let all = held(&[Watched::new("me", me), Watched::new("me", me), Watched::new("nobody", u32::MAX)]);
        let once = held(&[Watched::new("me", me)]);
        assert_eq!(all.len(), 2, "one sum to a name");
        assert!(once[0].1 > 1024 * 1024, "a process holds more than a MiB: {once:?}");
        assert!(all[0].1 > once[0].1, "those of one name are added up");
        assert_eq!(all[1], ("nobody".to_owned(), 0));
    }
}
