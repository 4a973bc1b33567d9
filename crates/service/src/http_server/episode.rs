//! Trouble that comes many times a second is one line in the log, not many.

use std::time::Duration;

use tokio::time::Instant;

/// After so long without it, the same trouble is news again.
const QUIET: Duration = Duration::from_secs(10);

/// One kind of trouble, and when it was last met.
#[derive(Debug, Default)]
pub(super) struct Episode {
    last: Option<Instant>,
}

impl Episode {
    /// Notes that it was met; answers whether that begins an episode, and so is worth a line.
    pub(super) fn note(&mut self) -> bool {
        let now = Instant::now();
        let before = self.last.replace(now);
        before.is_none_or(|last| now.duration_since(last) >= QUIET)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_episode_is_told_once_however_long_it_lasts() {
        let mut episode = Episode::default();
        assert!(episode.note());
        for _ in 0..1_000 {
            tokio::time::advance(Duration::from_millis(50)).await;
            assert!(!episode.note());
        }
        tokio::time::advance(QUIET).await;
        assert!(episode.note(), "it was over, and has come again");
    }
}
