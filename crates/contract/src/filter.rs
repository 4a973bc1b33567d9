//! Filters: which events of the types that a webhook subscribes to it wants, by what their `data` holds.
//!
//! A filter is terms about single values, joined by and, or and not. Evaluating it never fails: a value that is not
//! there, or is of another kind than the term asks for, makes the term false. Numbers are compared as decimal numbers
//! of any size, strings by the bytes of their UTF-8; nothing is converted. Of members with one name the last counts.

mod explanation;
mod form;

use std::cmp::Ordering;
use std::fmt;
use std::mem::discriminant;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

use crate::data_path::DataPath;
use crate::json::{Decimal, Node};

pub use explanation::{FailedTerm, Mismatch};
pub use form::InvalidFilter;

/// The text of a filter: room for [`MAX_TERMS`] ordinary terms.
pub const MAX_FILTER_BYTES: usize = 8 * 1024;
/// `and`, `or` and `not` within each other. Any rule can be written three deep.
pub const MAX_FILTER_DEPTH: usize = 8;
/// With thousands of webhooks, every event is asked this many questions by each of them.
pub const MAX_TERMS: usize = 64;
/// The values of one `in`.
pub const MAX_VALUES: usize = 100;
const _: () = assert!(MAX_VALUES < 256, "places are counted in one byte");

/// A filter that was checked. Equal filters have the same form, numbers to the letter. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter(Arc<Expression>);

/// At most [`MAX_FILTER_DEPTH`] deep, with at most [`MAX_TERMS`] terms in all.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Expression {
    /// Of one or more.
    And(Vec<Expression>),
    /// Of one or more.
    Or(Vec<Expression>),
    Not(Box<Expression>),
    Term(Term),
}

/// One question about one value.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Term {
    field: DataPath,
    test: Test,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Test {
    Equals(Scalar),
    In(Values),
    Exists,
    Absent,
    Order(Bound, Scalar),
}

/// Which side of a value, and whether the value itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bound {
    GreaterThan,
    AtLeast,
    LessThan,
    AtMost,
}

/// What a value is compared with.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Scalar {
    Null,
    Bool(bool),
    /// As it was written; one that [`Decimal`] compares exactly.
    Number(Box<str>),
    Text(Box<str>),
}

/// The values of one `in`, at most [`MAX_VALUES`].
#[derive(Clone, Debug, PartialEq, Eq)]
struct Values {
    /// As they were written.
    written: Vec<Scalar>,
    /// Their places, the least value first: one is found without asking each, however many there are.
    in_order: Vec<u8>,
}

/// What can be compared, one kind after the other. Of the data, it is read once for each term.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Value<'v> {
    Null,
    Bool(bool),
    Number(Decimal<'v>),
    Text(&'v [u8]),
}

impl Filter {
    /// Reads the JSON form.
    ///
    /// # Errors
    /// The first thing that is wrong, with its place.
    pub fn parse(text: &str) -> Result<Self, InvalidFilter> {
        form::read(text).map(|expression| Filter(Arc::new(expression)))
    }

    /// Whether an event with this `data` is wanted.
    #[must_use]
    pub fn matches(&self, data: &Node<'_>) -> bool {
        self.0.matches(data)
    }

    /// The terms for which an event with this `data` is not wanted; none if it is.
    #[must_use]
    pub fn explain(&self, data: &Node<'_>) -> Vec<FailedTerm> {
        explanation::explain(&self.0, data)
    }
}

impl Expression {
    fn matches(&self, data: &Node<'_>) -> bool {
        match self {
            Expression::And(parts) => parts.iter().all(|part| part.matches(data)),
            Expression::Or(parts) => parts.iter().any(|part| part.matches(data)),
            Expression::Not(part) => !part.matches(data),
            Expression::Term(term) => term.check(data).is_none(),
        }
    }
}

impl Term {
    /// Why it does not hold; `None` if it does.
    fn check(&self, data: &Node<'_>) -> Option<Mismatch> {
        let found = data.at(&self.field);
        match (&self.test, found) {
            (Test::Absent, None) | (Test::Exists, Some(_)) => None,
            (Test::Absent, Some(_)) => Some(Mismatch::Present),
            (Test::Exists | Test::Equals(_) | Test::In(_) | Test::Order(..), None) => Some(Mismatch::Missing),
            (Test::Equals(wanted), Some(found)) => {
                let is_equal = Value::of(found).is_some_and(|value| Some(value) == wanted.value());
                if is_equal { None } else { Some(Mismatch::of_kinds(std::slice::from_ref(wanted), found)) }
            }
            (Test::In(wanted), Some(found)) => {
                let is_there = Value::of(found).is_some_and(|value| wanted.holds(value));
                if is_there { None } else { Some(Mismatch::of_kinds(&wanted.written, found)) }
            }
            (Test::Order(bound, wanted), Some(found)) => match wanted.order_of(found) {
                Some(order) if bound.allows(order) => None,
                Some(_) => Some(Mismatch::Differs),
                None => Some(Mismatch::of_kinds(std::slice::from_ref(wanted), found)),
            },
        }
    }
}

impl<'v> Value<'v> {
    /// `None` for objects and arrays, and for a number that is too long to be compared.
    fn of(node: &'v Node<'_>) -> Option<Self> {
        match node {
            Node::Null => Some(Value::Null),
            Node::Bool(value) => Some(Value::Bool(*value)),
            Node::Number(text) => Decimal::parse(text).map(Value::Number),
            Node::String(text) => Some(Value::Text(text)),
            Node::Array(_) | Node::Object(_) => None,
        }
    }
}

impl Scalar {
    /// A number was found to be one when the filter was read.
    fn value(&self) -> Option<Value<'_>> {
        match self {
            Scalar::Null => Some(Value::Null),
            Scalar::Bool(value) => Some(Value::Bool(*value)),
            Scalar::Number(text) => Decimal::parse(text).map(Value::Number),
            Scalar::Text(text) => Some(Value::Text(text.as_bytes())),
        }
    }

    /// How what was found stands to this; `None` if the two are of different kinds, or cannot be compared.
    fn order_of(&self, found: &Node<'_>) -> Option<Ordering> {
        let (found, wanted) = (Value::of(found)?, self.value()?);
        (discriminant(&found) == discriminant(&wanted)).then(|| found.cmp(&wanted))
    }

    fn is_kind_of(&self, found: &Node<'_>) -> bool {
        match self {
            Scalar::Null => matches!(found, Node::Null),
            Scalar::Bool(_) => matches!(found, Node::Bool(_)),
            Scalar::Number(_) => matches!(found, Node::Number(_)),
            Scalar::Text(_) => matches!(found, Node::String(_)),
        }
    }
}

impl Values {
    /// Of at most [`MAX_VALUES`].
    fn new(written: Vec<Scalar>) -> Self {
        let values: Vec<Option<Value<'_>>> = written.iter().map(Scalar::value).collect();
        let mut in_order: Vec<u8> = (0..=u8::MAX).take(written.len()).collect();
        in_order.sort_by(|one, other| values[usize::from(*one)].cmp(&values[usize::from(*other)]));
        Values { written, in_order }
    }

    fn holds(&self, found: Value<'_>) -> bool {
        let order = |place: &u8| self.written[usize::from(*place)].value().cmp(&Some(found));
        self.in_order.binary_search_by(order).is_ok()
    }
}

impl Bound {
    const ALL: [Bound; 4] = [Bound::GreaterThan, Bound::AtLeast, Bound::LessThan, Bound::AtMost];

    fn name(self) -> &'static str {
        match self {
            Bound::GreaterThan => "greater_than",
            Bound::AtLeast => "at_least",
            Bound::LessThan => "less_than",
            Bound::AtMost => "at_most",
        }
    }

    fn allows(self, order: Ordering) -> bool {
        match self {
            Bound::GreaterThan => order == Ordering::Greater,
            Bound::AtLeast => order != Ordering::Less,
            Bound::LessThan => order == Ordering::Less,
            Bound::AtMost => order != Ordering::Greater,
        }
    }
}

/// The JSON form, without white space.
impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&form::write(&self.0))
    }
}

impl Serialize for Filter {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        RawValue::from_string(self.to_string()).map_err(serde::ser::Error::custom)?.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Filter {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        Filter::parse(raw.get()).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests;
