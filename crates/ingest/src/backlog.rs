//! How old the oldest queued first try is, as far as a publisher can know.
//!
//! No queue tells the age of its oldest message, but a publisher knows when it published how much: if `n` messages are
//! queued, the oldest is no younger than the moment since when `n` were published here. Other publishers make this an
//! over-estimate, which errs towards asking producers to slow down.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use postrider_contract::ports::WorkQueue;
use postrider_service::lifecycle::Stop;
use tokio::time::Instant;

const SAMPLE_EVERY: Duration = Duration::from_secs(1);

/// Beyond this age of the oldest queued first try, new events are answered with 429.
#[derive(Clone, Copy, Debug)]
pub struct BacklogBound(pub Duration);

pub struct Backlog {
    bound: BacklogBound,
    age_millis: AtomicU64,
    samples: Mutex<Samples>,
}

struct Samples {
    published: VecDeque<Sample>,
    /// Nothing that is queued is older than the last moment at which nothing was: what bounds the estimate where
    /// others publish far more than this process.
    last_empty: Instant,
}

struct Sample {
    at: Instant,
    published: u64,
}

impl Backlog {
    #[must_use]
    pub fn new(bound: BacklogBound) -> Arc<Self> {
        Arc::new(Backlog {
            bound,
            age_millis: AtomicU64::new(0),
            samples: Mutex::new(Samples { published: VecDeque::new(), last_empty: Instant::now() }),
        })
    }

    #[must_use]
    pub fn is_too_old(&self) -> bool {
        self.age() > self.bound.0
    }

    /// The estimate.
    #[must_use]
    pub fn age(&self) -> Duration {
        Duration::from_millis(self.age_millis.load(Ordering::Relaxed))
    }

    /// Samples the queue until told to stop.
    pub async fn follow(&self, queue: Arc<dyn WorkQueue>, stop: Stop) {
        let mut ticks = tokio::time::interval(SAMPLE_EVERY);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.halted() => return,
                _ = ticks.tick() => {}
            }
            match queue.depths().await {
                Ok(depths) => self.sample(Instant::now(), depths.published, depths.first + depths.large),
                Err(error) => tracing::debug!(%error, "cannot ask how much is queued"),
            }
        }
    }

    fn sample(&self, now: Instant, published: u64, queued: u64) {
        let mut samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        if queued == 0 {
            samples.last_empty = now;
        }
        let since_empty = now - samples.last_empty;
        let samples = &mut samples.published;
        samples.push_back(Sample { at: now, published });
        // Twice the bound is enough to know that it is passed.
        while samples.front().is_some_and(|oldest| now - oldest.at > self.bound.0 * 2) {
            samples.pop_front();
        }
        let age = oldest_age(samples, now, published, queued).min(since_empty);
        self.age_millis.store(u64::try_from(age.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}

/// How long ago fewer than `published - queued` had been published: what is queued came after.
fn oldest_age(samples: &VecDeque<Sample>, now: Instant, published: u64, queued: u64) -> Duration {
    if queued == 0 {
        return Duration::ZERO;
    }
    let taken = published.saturating_sub(queued);
    let since = samples.iter().rev().find(|sample| sample.published <= taken).or(samples.front());
    since.map_or(Duration::ZERO, |sample| now - sample.at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_age_of_a_backlog_is_the_time_in_which_it_was_published() {
        let backlog = Backlog::new(BacklogBound(Duration::from_secs(10)));
        let start = Instant::now();
        backlog.sample(start, 0, 0);
        backlog.sample(start + Duration::from_secs(4), 100, 100);
        assert_eq!(backlog.age(), Duration::from_secs(4));
        backlog.sample(start + Duration::from_secs(8), 150, 50);
        assert_eq!(backlog.age(), Duration::from_secs(4));
        assert!(!backlog.is_too_old());
        backlog.sample(start + Duration::from_secs(16), 150, 50);
        assert!(backlog.is_too_old());
        backlog.sample(start + Duration::from_secs(17), 150, 0);
        assert_eq!(backlog.age(), Duration::ZERO);
    }
}
