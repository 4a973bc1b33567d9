//! Sets of HTTP status codes as a profile writes them: `"2xx"`, `"404"`, `"500-599"`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// What a status line can carry: three digits, the first not zero.
const LOWEST: u16 = 100;
const HIGHEST: u16 = 999;
/// Enough to name every code that means something one by one.
const MAX_RANGES: usize = 64;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidStatusSet {
    #[error("{text:?} is not a status: expected for instance 404, 2xx or 500-599")]
    Form { text: String },
    #[error("names more than {MAX_RANGES} statuses or ranges")]
    TooMany,
}

/// Both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct StatusRange {
    low: u16,
    high: u16,
}

/// Which status codes a rule is about. May be empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StatusSet(Vec<StatusRange>);

impl StatusSet {
    /// # Errors
    /// When a text is not a code, a class or a range.
    pub fn parse<'a>(texts: impl IntoIterator<Item = &'a str>) -> Result<Self, InvalidStatusSet> {
        let ranges = texts.into_iter().map(str::parse).collect::<Result<Vec<_>, _>>()?;
        if ranges.len() > MAX_RANGES { Err(InvalidStatusSet::TooMany) } else { Ok(StatusSet(ranges)) }
    }

    #[must_use]
    pub fn contains(&self, status: u16) -> bool {
        self.0.iter().any(|range| range.low <= status && status <= range.high)
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// A code that is in both.
    #[must_use]
    pub fn overlap(&self, other: &StatusSet) -> Option<u16> {
        (LOWEST..=HIGHEST).find(|status| self.contains(*status) && other.contains(*status))
    }
}

impl FromStr for StatusRange {
    type Err = InvalidStatusSet;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refused = || InvalidStatusSet::Form { text: text.chars().take(32).collect() };
        let code = |digits: &str| {
            let is_code = digits.len() == 3 && digits.bytes().all(|byte| byte.is_ascii_digit());
            let code = is_code.then(|| digits.parse::<u16>().ok()).flatten();
            code.filter(|code| (LOWEST..=HIGHEST).contains(code)).ok_or_else(refused)
        };
        if let Some(class) = text.strip_suffix("xx") {
            let low = code(&format!("{class}00"))?;
            return Ok(StatusRange { low, high: low + 99 });
        }
        let (low, high) = match text.split_once('-') {
            Some((low, high)) => (code(low)?, code(high)?),
            None => (code(text)?, code(text)?),
        };
        if low > high { Err(refused()) } else { Ok(StatusRange { low, high }) }
    }
}

impl fmt::Display for StatusRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.low, self.high) {
            (low, high) if low == high => write!(f, "{low}"),
            (low, high) if low % 100 == 0 && high == low + 99 => write!(f, "{}xx", low / 100),
            (low, high) => write!(f, "{low}-{high}"),
        }
    }
}

impl Serialize for StatusSet {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(ToString::to_string))
    }
}

impl<'de> Deserialize<'de> for StatusSet {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let texts = Vec::<String>::deserialize(deserializer)?;
        StatusSet::parse(texts.iter().map(String::as_str)).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_set_holds_what_it_names() {
        let set = StatusSet::parse(["2xx", "404", "500-503"]).expect("a set");
        for status in [200, 204, 299, 404, 500, 503] {
            assert!(set.contains(status), "{status}");
        }
        for status in [0, 100, 199, 300, 403, 405, 504, 999] {
            assert!(!set.contains(status), "{status}");
        }
        assert!(!StatusSet::default().contains(200));
        assert_eq!(set.overlap(&StatusSet::parse(["5xx"]).expect("a set")), Some(500));
        assert_eq!(set.overlap(&StatusSet::parse(["3xx"]).expect("a set")), None);
    }

    #[test]
    fn what_is_not_a_status_is_refused() {
        for text in
            ["", "2", "2x", "xx", "0xx", "099", "1000", "2XX", "500-", "-500", "503-500", "+20", "é00", "éxx"]
        {
            let refused = StatusSet::parse([text]);
            assert!(matches!(refused, Err(InvalidStatusSet::Form { .. })), "{text}");
        }
        assert_eq!(StatusSet::parse(vec!["200"; 65]), Err(InvalidStatusSet::TooMany));
    }

    proptest! {
        #[test]
        fn a_set_is_read_back_as_it_was_written(ranges in prop::collection::vec((100_u16..1000, 0_u16..900), 0..8)) {
            let texts: Vec<String> =
                ranges.iter().map(|(low, more)| format!("{low}-{}", (low + more).min(HIGHEST))).collect();
            let set = StatusSet::parse(texts.iter().map(String::as_str)).expect("a set");
            let written = serde_json::to_string(&set).expect("serialises");
            prop_assert_eq!(serde_json::from_str::<StatusSet>(&written).expect("reads back"), set);
        }

        #[test]
        fn no_text_makes_reading_a_set_panic(text in ".{0,12}") {
            if let Ok(set) = StatusSet::parse([text.as_str()]) {
                prop_assert!(!set.contains(LOWEST - 1) && !set.contains(HIGHEST + 1));
            }
        }
    }
}
