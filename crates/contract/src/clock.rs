//! Points in time, and the two things a pure core must be handed: a clock and a source of chance.
//!
//! A [`Timestamp`] is UTC with millisecond precision, which is what the API shows and what the wire carries.

use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

const MILLIS_PER_DAY: i64 = 86_400_000;
/// 0000-01-01, and the last day that is year 9999 at every offset: what RFC 3339 can write.
const EARLIEST: i64 = -62_167_219_200_000;
const LATEST: i64 = 253_402_207_200_999;

/// Milliseconds since 1970-01-01T00:00:00Z; always within the years RFC 3339 can write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    pub const EPOCH: Timestamp = Timestamp(0);
    /// The last instant that can be written: stands for "never" where an order is needed.
    pub const LATEST: Timestamp = Timestamp(LATEST);

    /// Clamped to the years 0000–9999.
    #[must_use]
    pub fn from_millis(millis: i64) -> Self {
        Timestamp(millis.clamp(EARLIEST, LATEST))
    }

    #[must_use]
    pub fn as_millis(self) -> i64 {
        self.0
    }

    /// Whole seconds since the epoch, rounded down: what signatures carry.
    #[must_use]
    pub fn as_seconds(self) -> i64 {
        self.0.div_euclid(1000)
    }

    #[must_use]
    pub fn day(self) -> Day {
        Day(i32::try_from(self.0.div_euclid(MILLIS_PER_DAY)).unwrap_or(i32::MAX))
    }

    /// Saturates at the last instant that can be written.
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        let millis = i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        Self::from_millis(self.0.saturating_add(millis))
    }

    #[must_use]
    pub fn minus(self, duration: Duration) -> Self {
        let millis = i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        Self::from_millis(self.0.saturating_sub(millis))
    }

    /// How long after `earlier` this is; zero if it is not after it.
    #[must_use]
    pub fn since(self, earlier: Timestamp) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

/// `2026-11-21T09:30:00.000Z`.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = self.day().civil();
        let in_day = self.0.rem_euclid(MILLIS_PER_DAY);
        let (hour, minute) = (in_day / 3_600_000, in_day / 60_000 % 60);
        let (second, milli) = (in_day / 1000 % 60, in_day % 1000);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{milli:03}Z")
    }
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a time: expected RFC 3339 with an offset, for instance 2026-11-21T09:30:00.000Z")]
pub struct InvalidTimestamp;

impl FromStr for Timestamp {
    type Err = InvalidTimestamp;

    /// Any RFC 3339 time with an offset; finer precision than a millisecond is cut off.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parsed: jiff::Timestamp = text.parse().map_err(|_| InvalidTimestamp)?;
        let millis = parsed.as_millisecond();
        if (EARLIEST..=LATEST).contains(&millis) { Ok(Timestamp(millis)) } else { Err(InvalidTimestamp) }
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// A UTC day, counted from 1970-01-01: the unit in which the log is kept and dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Day(i32);

impl Day {
    #[must_use]
    pub fn from_number(days_since_epoch: i32) -> Self {
        Day(days_since_epoch)
    }

    #[must_use]
    pub fn number(self) -> i32 {
        self.0
    }

    #[must_use]
    pub fn start(self) -> Timestamp {
        Timestamp::from_millis(i64::from(self.0) * MILLIS_PER_DAY)
    }

    #[must_use]
    pub fn plus(self, days: i32) -> Self {
        Day(self.0.saturating_add(days))
    }

    /// Year, month and day of the proleptic Gregorian calendar, by the usual era arithmetic
    /// (an era is 400 years of 146,097 days, counted from 0000-03-01).
    #[must_use]
    pub fn civil(self) -> (i32, u32, u32) {
        let shifted = self.0 + 719_468;
        let era = shifted.div_euclid(146_097);
        let day_of_era = shifted.rem_euclid(146_097);
        let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted_month = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
        let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
        let year = year_of_era + era * 400 + i32::from(month <= 2);
        (year, month.unsigned_abs(), day.unsigned_abs())
    }
}

/// `20261121`, for the names of partitions and files.
impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = self.civil();
        write!(f, "{year:04}{month:02}{day:02}")
    }
}

/// Where "now" comes from.
pub trait Clock: Send + Sync + fmt::Debug {
    fn now(&self) -> Timestamp;
}

/// A clock that stands still until it is moved: for tests and for explaining a delivery at a given time.
#[derive(Debug)]
pub struct ManualClock(AtomicI64);

impl ManualClock {
    #[must_use]
    pub fn at(now: Timestamp) -> Self {
        ManualClock(AtomicI64::new(now.as_millis()))
    }

    pub fn advance(&self, by: Duration) {
        let moved = self.now().plus(by);
        self.0.store(moved.as_millis(), Ordering::SeqCst);
    }

    pub fn set(&self, now: Timestamp) {
        self.0.store(now.as_millis(), Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.0.load(Ordering::SeqCst))
    }
}

/// Where chance comes from: ids, secrets and jitter.
pub trait Entropy: Send + Sync + fmt::Debug {
    fn fill(&self, bytes: &mut [u8]);

    fn draw_jitter(&self) -> Jitter {
        let mut bytes = [0_u8; 4];
        self.fill(&mut bytes);
        Jitter(f64::from(u32::from_be_bytes(bytes)) / (f64::from(u32::MAX) + 1.0))
    }
}

/// Counts up from a byte: for keys of examples and rehearsals, which nobody may use.
#[derive(Clone, Copy, Debug)]
pub struct CountingFrom(pub u8);

impl Entropy for CountingFrom {
    fn fill(&self, bytes: &mut [u8]) {
        let mut next = self.0;
        for byte in bytes {
            *byte = next;
            next = next.wrapping_add(1);
        }
    }
}

/// A draw from [0, 1), made by the caller so that the decision that uses it stays pure.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct Jitter(f64);

impl Jitter {
    /// The middle of the range: no change to a symmetric jitter.
    pub const NONE: Jitter = Jitter(0.5);

    /// Clamped to [0, 1).
    #[must_use]
    pub fn new(draw: f64) -> Self {
        if draw.is_nan() { Self::NONE } else { Jitter(draw.clamp(0.0, 1.0 - f64::EPSILON)) }
    }

    #[must_use]
    pub fn draw(self) -> f64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_written_in_utc_with_milliseconds_and_read_back() {
        for (millis, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_795_253_400_123, "2026-11-21T09:30:00.123Z"),
            (-1, "1969-12-31T23:59:59.999Z"),
            (LATEST, "9999-12-30T22:00:00.999Z"),
        ] {
            let time = Timestamp::from_millis(millis);
            assert_eq!(time.to_string(), text);
            assert_eq!(text.parse(), Ok(time));
        }
        assert_eq!("2026-11-21T10:30:00.123456+01:00".parse(), Ok(Timestamp::from_millis(1_795_253_400_123)));
    }

    #[test]
    fn what_is_not_a_time_is_refused() {
        for text in ["", "yesterday", "2026-11-21", "2026-11-21T09:30:00", "99999-01-01T00:00:00Z"] {
            assert_eq!(text.parse::<Timestamp>(), Err(InvalidTimestamp), "{text}");
        }
    }

    #[test]
    fn a_day_finds_its_start_and_its_name() {
        let time: Timestamp = "2026-11-21T23:59:59.999Z".parse().expect("a time");
        assert_eq!(time.day().to_string(), "20261121");
        assert_eq!(time.day().start().to_string(), "2026-11-21T00:00:00.000Z");
        assert_eq!(time.day().plus(1).start().to_string(), "2026-11-22T00:00:00.000Z");
    }
}
