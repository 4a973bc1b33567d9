//! Lines of the log that stand for many: what happens to every request while something is away would otherwise write
//! thousands of them a second, on top of what is the matter.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

const EVERY: Duration = Duration::from_secs(1);

/// One kind of line, told once a second at most.
#[derive(Debug)]
pub struct Sparing(Mutex<Told>);

#[derive(Debug)]
struct Told {
    last: Option<Instant>,
    untold: u64,
}

impl Sparing {
    #[must_use]
    pub const fn new() -> Self {
        Sparing(Mutex::new(Told { last: None, untold: 0 }))
    }

    /// How many were not told since the last one that was, for the line to say; `None` if this one is not told either.
    #[must_use]
    pub fn tell(&self) -> Option<u64> {
        let now = Instant::now();
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if told.last.is_some_and(|last| now - last < EVERY) {
            told.untold += 1;
            return None;
        }
        told.last = Some(now);
        Some(std::mem::take(&mut told.untold))
    }
}

impl Default for Sparing {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_first_of_each_second_is_told_with_how_many_were_not() {
        let sparing = Sparing::new();
        assert_eq!(sparing.tell(), Some(0));
        assert_eq!((sparing.tell(), sparing.tell()), (None, None));
        tokio::time::advance(EVERY).await;
        assert_eq!(sparing.tell(), Some(2));
        assert_eq!(sparing.tell(), None);
        tokio::time::advance(EVERY * 2).await;
        assert_eq!(sparing.tell(), Some(1));
    }
}
