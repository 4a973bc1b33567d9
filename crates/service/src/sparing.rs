//! Lines of the log that stand for many: what happens to every request while something is away would otherwise write
//! thousands of them a second, on top of what is the matter.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// One kind of line, told only so often.
#[derive(Debug)]
pub struct Sparing {
    lines: u32,
    within: Duration,
    told: Mutex<Told>,
}

#[derive(Debug)]
struct Told {
    began: Option<Instant>,
    lines: u32,
    untold: u64,
}

impl Sparing {
    /// For at most so many lines in each such time, the first of which begins it.
    #[must_use]
    pub const fn new(lines: u32, within: Duration) -> Self {
        Sparing { lines, within, told: Mutex::new(Told { began: None, lines: 0, untold: 0 }) }
    }

    /// How many were not told since the last one that was, for the line to say; `None` if this one is not told either.
    #[must_use]
    pub fn tell(&self) -> Option<u64> {
        let now = Instant::now();
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.began.is_none_or(|began| now - began >= self.within) {
            told.began = Some(now);
            told.lines = 0;
        }
        if told.lines >= self.lines {
            told.untold += 1;
            return None;
        }
        told.lines += 1;
        Some(std::mem::take(&mut told.untold))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn the_first_of_each_second_are_told_with_how_many_were_not() {
        let sparing = Sparing::new(2, SECOND);
        assert_eq!((sparing.tell(), sparing.tell()), (Some(0), Some(0)));
        assert_eq!((sparing.tell(), sparing.tell()), (None, None));
        tokio::time::advance(SECOND).await;
        assert_eq!((sparing.tell(), sparing.tell(), sparing.tell()), (Some(2), Some(0), None));
        tokio::time::advance(SECOND * 2).await;
        assert_eq!(sparing.tell(), Some(1));
    }

    #[tokio::test(start_paused = true)]
    async fn trouble_that_lasts_is_told_of_again_and_again() {
        let sparing = Sparing::new(1, SECOND);
        let mut told = Vec::new();
        for _ in 0..40 {
            told.extend(sparing.tell());
            tokio::time::advance(SECOND / 20).await;
        }
        assert_eq!(told, [0, 19]);
    }
}
