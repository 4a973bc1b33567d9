//! Durations as a profile writes them: `250ms`, `5s`, `30m`, `1h30m`, `5d`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// No duration of a profile is meant to be longer than a year.
const MAX_SPAN: Duration = Duration::from_secs(366 * 86_400);

/// Milliseconds per unit, largest first: the order in which a duration is written.
const UNITS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("must be a duration of at most 366 days, for instance 250ms, 5s, 30m, 1h30m or 5d")]
pub struct InvalidSpan;

/// A duration in whole milliseconds that is written for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(Duration);

impl Span {
    /// # Errors
    /// When it is longer than 366 days. What is finer than a millisecond is cut off.
    pub fn new(duration: Duration) -> Result<Self, InvalidSpan> {
        let millis = u64::try_from(duration.as_millis()).map_err(|_| InvalidSpan)?;
        let whole = Duration::from_millis(millis);
        if whole > MAX_SPAN { Err(InvalidSpan) } else { Ok(Span(whole)) }
    }

    #[must_use]
    pub const fn from_seconds(seconds: u32) -> Self {
        Span(Duration::from_secs(seconds as u64))
    }

    #[must_use]
    pub fn duration(self) -> Duration {
        self.0
    }
}

impl FromStr for Span {
    type Err = InvalidSpan;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut rest = text;
        let mut total = Duration::ZERO;
        let mut smallest_so_far = u64::MAX;
        while !rest.is_empty() {
            let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or(InvalidSpan)?;
            let number: u64 = rest[..digits].parse().map_err(|_| InvalidSpan)?;
            rest = &rest[digits..];
            let letters = rest.find(|c: char| !c.is_ascii_lowercase()).unwrap_or(rest.len());
            let (_, millis) =
                UNITS.into_iter().find(|(unit, _)| *unit == &rest[..letters]).ok_or(InvalidSpan)?;
            if millis >= smallest_so_far {
                return Err(InvalidSpan);
            }
            smallest_so_far = millis;
            let part = Duration::from_millis(number.checked_mul(millis).ok_or(InvalidSpan)?);
            total = total.checked_add(part).ok_or(InvalidSpan)?;
            rest = &rest[letters..];
        }
        if text.is_empty() { Err(InvalidSpan) } else { Span::new(total) }
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = u64::try_from(self.0.as_millis()).map_err(|_| fmt::Error)?;
        if rest == 0 {
            return f.write_str("0s");
        }
        for (unit, millis) in UNITS {
            if rest >= millis {
                write!(f, "{}{unit}", rest / millis)?;
                rest %= millis;
            }
        }
        Ok(())
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_duration_is_read_and_written_for_people() {
        for (text, millis) in [
            ("0s", 0),
            ("250ms", 250),
            ("5s", 5_000),
            ("5m", 300_000),
            ("2h", 7_200_000),
            ("1h30m", 5_400_000),
            ("5d", 432_000_000),
        ] {
            let span: Span = text.parse().expect("a duration");
            assert_eq!(span.duration(), Duration::from_millis(millis), "{text}");
            assert_eq!(span.to_string(), text);
        }
    }

    #[test]
    fn what_is_not_a_duration_is_refused() {
        for text in
            ["", "5", "s", "-5s", "5 s", "5S", "1.5s", "5s5s", "5s1m", "367d", "99999999999999999999s", "5é"]
        {
            assert_eq!(text.parse::<Span>(), Err(InvalidSpan), "{text}");
        }
    }

    proptest! {
        #[test]
        fn every_duration_is_read_back_as_it_was_written(millis in 0_u64..31_622_400_000) {
            let span = Span::new(Duration::from_millis(millis)).expect("in bounds");
            prop_assert_eq!(span.to_string().parse(), Ok(span));
        }

        #[test]
        fn no_text_makes_reading_a_duration_panic(text in ".{0,20}") {
            if let Ok(span) = text.parse::<Span>() {
                prop_assert!(span.duration() <= MAX_SPAN);
            }
        }
    }
}
