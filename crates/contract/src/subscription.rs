//! Which event types a webhook wants: exact types and prefix wildcards.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::event::{EventType, InvalidEventType};

/// More patterns than this in one webhook is a mistake: the largest built-in catalogue has 17 types.
pub const MAX_PATTERNS: usize = 100;

/// `conversion.created`, `conversion.*` (anything below `conversion.`), or `*` (everything but our own
/// `postrider.` events, which must be asked for by their prefix).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TypePattern {
    Exact(EventType),
    /// Holds the prefix without its `.*`.
    Below(EventType),
    All,
}

impl TypePattern {
    #[must_use]
    pub fn matches(&self, event_type: &EventType) -> bool {
        match self {
            TypePattern::Exact(exact) => exact == event_type,
            TypePattern::Below(prefix) => {
                event_type.as_str().strip_prefix(prefix.as_str()).is_some_and(|rest| rest.starts_with('.'))
            }
            TypePattern::All => !event_type.is_reserved(),
        }
    }
}

impl FromStr for TypePattern {
    type Err = InvalidEventType;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.strip_suffix(".*") {
            _ if text == "*" => Ok(TypePattern::All),
            Some(prefix) => prefix.parse().map(TypePattern::Below),
            None => text.parse().map(TypePattern::Exact),
        }
    }
}

impl fmt::Display for TypePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            TypePattern::Exact(exact) => write!(f, "{exact}"),
            TypePattern::Below(prefix) => write!(f, "{prefix}.*"),
            TypePattern::All => f.write_str("*"),
        }
    }
}

impl Serialize for TypePattern {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for TypePattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_matches_its_type_and_what_is_below_its_prefix() {
        for (pattern, event_type, expected) in [
            ("conversion.created", "conversion.created", true),
            ("conversion.created", "conversion.created.twice", false),
            ("conversion.*", "conversion.created", true),
            ("conversion.*", "conversion.created.twice", true),
            ("conversion.*", "conversion", false),
            ("conversion.*", "conversions.created", false),
            ("*", "cap.reached", true),
            ("*", "postrider.webhook.disabled", false),
            ("postrider.*", "postrider.webhook.disabled", true),
        ] {
            let parsed: TypePattern = pattern.parse().expect("a pattern");
            assert_eq!(parsed.to_string(), pattern);
            assert_eq!(
                parsed.matches(&event_type.parse().expect("a type")),
                expected,
                "{pattern} {event_type}"
            );
        }
    }

    #[test]
    fn what_is_not_a_pattern_is_refused() {
        for text in ["", ".*", "**", "a.*.b", "a*", "(a+)+$", "a..b", "*.a"] {
            assert!(text.parse::<TypePattern>().is_err(), "{text}");
        }
    }
}
