//! `Retry-After`: what a receiver asks for, and how far it is followed.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::profile::{Span, StatusSet};
use crate::retry::MAX_WAIT;

/// A wish beyond this is the same as this one: nothing is scheduled further ahead.
const FURTHEST: Duration = Duration::from_secs(366 * 86_400);

/// How long a receiver wants to be left alone, from now; zero where it names a time that has passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RetryAfter(Duration);

impl RetryAfter {
    /// Reads a header's value: whole seconds, or an HTTP date in any of its three forms. `None` for anything
    /// else (a sign, a fraction, an impossible date): then there is no wish.
    #[must_use]
    pub fn parse(value: &str, now: Timestamp) -> Option<Self> {
        let value = value.trim_matches([' ', '\t']);
        if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
            // More digits than a number holds still mean "very long".
            let seconds = value.parse::<u64>().unwrap_or(u64::MAX);
            return Some(RetryAfter(Duration::from_secs(seconds).min(FURTHEST)));
        }
        let wait = parse_http_date(value)?.since(now);
        Some(RetryAfter(wait.min(FURTHEST)))
    }

    /// Seconds with a fraction, as JSON has them; upwards to a whole millisecond. `None` for what is less than
    /// nothing, or not a number.
    #[must_use]
    pub fn from_seconds(seconds: f64) -> Option<Self> {
        if seconds.is_nan() || seconds < 0.0 {
            return None;
        }
        let seconds = seconds.min(FURTHEST.as_secs_f64());
        let wait = Duration::try_from_secs_f64((seconds * 1_000.0).ceil() / 1_000.0).ok()?;
        Some(RetryAfter(wait.min(FURTHEST)))
    }

    #[must_use]
    pub fn duration(self) -> Duration {
        self.0
    }
}

/// RFC 9110 §5.6.7: the preferred form, the obsolete one with a dash, and that of C's `asctime`.
fn parse_http_date(text: &str) -> Option<Timestamp> {
    const FORMS: [&str; 3] =
        ["%a, %d %b %Y %H:%M:%S GMT", "%A, %d-%b-%y %H:%M:%S GMT", "%a %b %e %H:%M:%S %Y"];
    // The longest form, "Wednesday, 06-Nov-94 08:49:37 GMT", has 33 characters.
    if text.len() > 40 || !text.is_ascii() {
        return None;
    }
    let date = FORMS.iter().find_map(|form| jiff::civil::DateTime::strptime(form, text).ok())?;
    let since_epoch = date.duration_since(jiff::civil::date(1970, 1, 1).at(0, 0, 0, 0));
    i64::try_from(since_epoch.as_millis()).ok().map(Timestamp::from_millis)
}

/// Where a receiver's wish counts, and how far.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RetryAfterRule {
    /// The statuses with which it counts.
    pub statuses: StatusSet,
    /// No wait is shorter: a receiver that asks for nothing must not make a hot loop.
    #[serde(default = "shortest")]
    pub minimum: Span,
    /// No wait is longer; 24 h at most.
    #[serde(default = "longest")]
    pub maximum: Span,
}

const fn shortest() -> Span {
    Span::from_seconds(1)
}

const fn longest() -> Span {
    Span::from_seconds(86_400)
}

impl RetryAfterRule {
    /// For a receiver whose wishes count whatever the profile says: a provider that limits its rate.
    pub(crate) fn bounds_alone() -> Self {
        RetryAfterRule { statuses: StatusSet::default(), minimum: shortest(), maximum: longest() }
    }

    #[must_use]
    pub fn clamp(&self, wish: RetryAfter) -> Duration {
        wish.duration().max(self.minimum.duration()).min(self.maximum.duration()).min(MAX_WAIT)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn now() -> Timestamp {
        "1994-11-06T08:49:00Z".parse().expect("a time")
    }

    #[test]
    fn a_wish_is_read_in_seconds_and_in_every_form_of_date() {
        for (value, seconds) in [
            ("0", 0),
            ("120", 120),
            (" 120\t", 120),
            ("0120", 120),
            ("1000000000000", FURTHEST.as_secs()),
            ("99999999999999999999999999", FURTHEST.as_secs()),
            ("Sun, 06 Nov 1994 08:49:37 GMT", 37),
            ("Sunday, 06-Nov-94 08:49:37 GMT", 37),
            ("Sun Nov  6 08:49:37 1994", 37),
            ("Sun, 06 Nov 1994 08:48:00 GMT", 0),
            ("Fri, 31 Dec 9999 23:59:59 GMT", FURTHEST.as_secs()),
        ] {
            let wish = RetryAfter::parse(value, now()).unwrap_or_else(|| panic!("{value}"));
            assert_eq!(wish.duration(), Duration::from_secs(seconds), "{value}");
        }
    }

    #[test]
    fn what_is_no_wish_is_none() {
        for value in [
            "",
            " ",
            "-1",
            "+5",
            "1.5",
            "1e12",
            "soon",
            "NaN",
            "5s",
            "6 Nov 1994",
            "Sun, 31 Feb 1994 08:49:37 GMT",
            "５",
        ] {
            assert_eq!(RetryAfter::parse(value, now()), None, "{value}");
        }
    }

    #[test]
    fn a_wish_in_json_is_read_upwards_to_a_millisecond() {
        for (seconds, millis) in [(0.0, 0), (64.57, 64_570), (0.000_1, 1), (1.0, 1_000)] {
            let wish = RetryAfter::from_seconds(seconds).expect("a wish");
            assert_eq!(wish.duration(), Duration::from_millis(millis), "{seconds}");
        }
        for seconds in [1e12, f64::INFINITY, f64::MAX] {
            assert_eq!(RetryAfter::from_seconds(seconds), Some(RetryAfter(FURTHEST)), "{seconds}");
        }
        for seconds in [-0.1, f64::NEG_INFINITY, f64::NAN] {
            assert_eq!(RetryAfter::from_seconds(seconds), None, "{seconds}");
        }
    }

    #[test]
    fn a_wish_is_followed_within_bounds() {
        let rule = RetryAfterRule {
            statuses: StatusSet::parse(["429"]).expect("a set"),
            minimum: Span::from_seconds(2),
            maximum: Span::from_seconds(3600),
        };
        for (wish, wait) in [(0, 2), (2, 2), (60, 60), (3600, 3600), (1_000_000_000_000, 3600)] {
            assert_eq!(rule.clamp(RetryAfter(Duration::from_secs(wish))), Duration::from_secs(wait));
        }
    }

    proptest! {
        #[test]
        fn no_value_makes_reading_a_wish_panic(value in ".{0,60}", millis in any::<i64>()) {
            if let Some(wish) = RetryAfter::parse(&value, Timestamp::from_millis(millis)) {
                prop_assert!(wish.duration() <= FURTHEST);
            }
        }

        #[test]
        fn any_number_of_seconds_is_bounded(seconds in "[0-9]{1,40}") {
            let wish = RetryAfter::parse(&seconds, now()).expect("digits");
            prop_assert!(wish.duration() <= FURTHEST);
        }
    }
}
