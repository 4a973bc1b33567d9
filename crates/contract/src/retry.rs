//! Retries: how long to wait before the next try, by the profile's schedule or by the receiver's wish.

mod retry_after;

use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

pub use retry_after::{RetryAfter, RetryAfterRule};

use crate::clock::Jitter;
use crate::delivery::AttemptNumber;
use crate::profile::{InvalidSpan, Span};

/// The longest built-in schedule has nine waits; a schedule of daily tries for two months still fits.
pub const MAX_WAITS: usize = 64;
/// Below this a retry is a hot loop.
pub const MIN_WAIT: Duration = Duration::from_millis(100);
/// The longest delay that a lane stands for.
pub const MAX_WAIT: Duration = Duration::from_secs(86_400);
/// With more, a wait could come close to nothing.
const MAX_JITTER: f64 = 0.5;

#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum InvalidRetry {
    #[error("must be at most {MAX_WAITS} waits")]
    TooMany,
    #[error("wait {number} must be between 100ms and 24h")]
    OutOfBounds { number: usize },
    #[error(transparent)]
    Span(#[from] InvalidSpan),
    #[error("must be a fraction between 0 and {MAX_JITTER}")]
    Jitter,
}

/// The waits between the tries of a delivery, in order. With none there is one request and no retry; with six
/// there are seven requests. Each is between [`MIN_WAIT`] and [`MAX_WAIT`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetrySchedule(Vec<Duration>);

impl RetrySchedule {
    /// # Errors
    /// When there are more than [`MAX_WAITS`], or one is out of bounds.
    pub fn new(waits: Vec<Duration>) -> Result<Self, InvalidRetry> {
        if waits.len() > MAX_WAITS {
            return Err(InvalidRetry::TooMany);
        }
        for (index, wait) in waits.iter().enumerate() {
            if !(MIN_WAIT..=MAX_WAIT).contains(wait) {
                return Err(InvalidRetry::OutOfBounds { number: index + 1 });
            }
            Span::new(*wait)?;
        }
        Ok(RetrySchedule(waits))
    }

    #[must_use]
    pub fn waits(&self) -> &[Duration] {
        &self.0
    }
}

impl Serialize for RetrySchedule {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let spans: Vec<Span> = self
            .0
            .iter()
            .map(|wait| Span::new(*wait))
            .collect::<Result<_, _>>()
            .map_err(serde::ser::Error::custom)?;
        serializer.collect_seq(spans)
    }
}

impl<'de> Deserialize<'de> for RetrySchedule {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spans = Vec::<Span>::deserialize(deserializer)?;
        RetrySchedule::new(spans.into_iter().map(Span::duration).collect()).map_err(serde::de::Error::custom)
    }
}

/// How far chance may move a wait: by up to this fraction of it, either way. Keeps the deliveries that failed
/// together from coming back together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
#[serde(transparent)]
pub struct JitterFraction(f64);

impl JitterFraction {
    /// Waits are kept to the letter.
    pub const NONE: JitterFraction = JitterFraction(0.0);

    /// # Errors
    /// When it is not between 0 and one half.
    pub fn new(fraction: f64) -> Result<Self, InvalidRetry> {
        if (0.0..=MAX_JITTER).contains(&fraction) {
            Ok(JitterFraction(fraction))
        } else {
            Err(InvalidRetry::Jitter)
        }
    }

    #[must_use]
    pub fn fraction(self) -> f64 {
        self.0
    }

    /// `wait × (1 ± fraction)` in whole milliseconds, no longer than [`MAX_WAIT`]. Unchanged without jitter.
    #[must_use]
    pub fn spread(self, wait: Duration, jitter: Jitter) -> Duration {
        let factor = 1.0 + self.0 * (2.0 * jitter.draw() - 1.0);
        // Both factors are finite and not negative, and a wait has a stated limit: this cannot overflow.
        let spread = wait.min(MAX_WAIT).mul_f64(factor);
        let millis = u64::try_from(spread.as_micros().saturating_add(500) / 1000).unwrap_or(u64::MAX);
        Duration::from_millis(millis).min(MAX_WAIT)
    }
}

impl<'de> Deserialize<'de> for JitterFraction {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        JitterFraction::new(f64::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

/// A profile's retries.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RetryRule {
    /// Between the tries, in order: `["5s", "5m", "30m"]`. When they are used up, the delivery has failed.
    pub waits: RetrySchedule,
    /// The fraction of a wait by which chance may lengthen or shorten it, 0 to 0.5.
    #[serde(default)]
    pub jitter: JitterFraction,
    /// Absent: `Retry-After` is not looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<RetryAfterRule>,
}

impl RetryRule {
    /// The wait after try `number` failed; `None` when the schedule is used up. A receiver's wish takes the
    /// place of the scheduled wait within the rule's bounds, but never adds a try.
    #[must_use]
    pub fn next_wait(
        &self,
        number: AttemptNumber,
        wish: Option<RetryAfter>,
        jitter: Jitter,
    ) -> Option<Duration> {
        self.next_wait_in(self.waits.waits(), number, wish, jitter)
    }

    /// The same with other waits than the profile's: a webhook's own. They too are kept within the bounds.
    #[must_use]
    pub fn next_wait_in(
        &self,
        waits: &[Duration],
        number: AttemptNumber,
        wish: Option<RetryAfter>,
        jitter: Jitter,
    ) -> Option<Duration> {
        let index = usize::try_from(number.number()).ok()?.checked_sub(1)?;
        let scheduled = waits.get(index)?;
        let wait = match (wish, &self.retry_after) {
            (Some(wish), Some(rule)) => rule.clamp(wish),
            (Some(_) | None, _) => self.jitter.spread(*scheduled, jitter),
        };
        Some(wait.clamp(MIN_WAIT, MAX_WAIT))
    }
}

#[cfg(test)]
mod tests;
