//! Whole numbers in request bodies: read whatever they are, so that a wrong one is told together with all else that is
//! wrong, and in words that name its bounds.

use std::fmt;
use std::ops::RangeInclusive;

use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// What stands where a number should.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct GivenNumber(Value);

/// Is not a whole number within these bounds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NotInBounds(RangeInclusive<u64>);

impl fmt::Display for NotInBounds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "must be a whole number from {} to {}", self.0.start(), self.0.end())
    }
}

impl GivenNumber {
    /// As a type that holds every number within the bounds.
    ///
    /// # Errors
    /// For anything but a whole number within them.
    pub(crate) fn within<N: TryFrom<u64>>(&self, bounds: RangeInclusive<u64>) -> Result<N, NotInBounds> {
        let number = self.0.as_u64().filter(|number| bounds.contains(number));
        number.and_then(|number| N::try_from(number).ok()).ok_or(NotInBounds(bounds))
    }
}

impl<'de> Deserialize<'de> for GivenNumber {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Value::deserialize(deserializer).map(GivenNumber)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_number_out_of_its_bounds_or_of_another_kind_is_refused_with_the_bounds() {
        let read = |value| GivenNumber(value).within::<u16>(1..=65_535);
        assert_eq!(read(json!(65_535)), Ok(65_535));
        for wrong in [json!(0), json!(65_536), json!(-1), json!(1.5), json!("5"), json!([1]), json!(u64::MAX)]
        {
            let told = read(wrong.clone()).expect_err("out of bounds").to_string();
            assert_eq!(told, "must be a whole number from 1 to 65535", "{wrong}");
        }
    }
}
