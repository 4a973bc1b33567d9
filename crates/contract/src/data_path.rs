//! Where in an event's `data` something stands: names of members, joined by dots.

use std::fmt;
use std::str::FromStr;

/// Longer than any real path; a webhook may hold some hundred of them.
pub const MAX_PATH_BYTES: usize = 256;
/// Real payloads are three or four deep.
pub const MAX_PATH_STEPS: usize = 16;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidDataPath {
    #[error("must be 1 to {MAX_PATH_BYTES} bytes long")]
    Length,
    #[error("must have at most {MAX_PATH_STEPS} steps")]
    Steps,
    #[error("must be names joined by single dots, for instance order.total")]
    Empty,
    #[error("may not hold control characters")]
    Control,
}

/// `status`, `order.total`, `items.0.sku`: a step is the name of a member or, in an array, a position from 0. A member
/// whose own name holds a dot cannot be named.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DataPath(String);

impl DataPath {
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub fn steps(&self) -> impl Iterator<Item = &str> {
        self.0.split('.')
    }
}

impl FromStr for DataPath {
    type Err = InvalidDataPath;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.is_empty() || text.len() > MAX_PATH_BYTES {
            return Err(InvalidDataPath::Length);
        }
        if text.split('.').count() > MAX_PATH_STEPS {
            return Err(InvalidDataPath::Steps);
        }
        if text.split('.').any(str::is_empty) {
            return Err(InvalidDataPath::Empty);
        }
        if text.chars().any(char::is_control) {
            return Err(InvalidDataPath::Control);
        }
        Ok(DataPath(text.to_owned()))
    }
}

impl fmt::Display for DataPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_names_joined_by_dots() {
        for text in ["a", "order.total", "items.0.sku", "größe", "with space", "a-b_c", &"a.".repeat(15)] {
            let path = text.trim_end_matches('.').parse::<DataPath>().expect(text);
            assert_eq!(path.steps().collect::<Vec<_>>().join("."), path.as_str());
        }
        let long = "a".repeat(MAX_PATH_BYTES + 1);
        let deep = "a.".repeat(MAX_PATH_STEPS) + "a";
        for (text, why) in [
            ("", InvalidDataPath::Length),
            (&long, InvalidDataPath::Length),
            (&deep, InvalidDataPath::Steps),
            (".a", InvalidDataPath::Empty),
            ("a..b", InvalidDataPath::Empty),
            ("a.", InvalidDataPath::Empty),
            ("a\nb", InvalidDataPath::Control),
        ] {
            assert_eq!(text.parse::<DataPath>(), Err(why), "{text:?}");
        }
    }
}
