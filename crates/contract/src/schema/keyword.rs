//! What a subschema asks of a value, read and ready to be checked.

use std::collections::BTreeMap;

use super::text_pattern::TextPattern;
use crate::json::{Divisor, Node};

/// All that one subschema asks for; nothing for `true` and `{}`.
pub(super) type Subschema = Vec<Keyword>;

/// A subschema, by its place in the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place(pub(super) usize);

/// The name of a member, and those that must be there where it is.
pub(super) type Dependent = (Vec<u8>, Vec<Vec<u8>>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ValueType {
    Null,
    Boolean,
    Object,
    Array,
    Number,
    Integer,
    String,
}

impl ValueType {
    const ALL: [ValueType; 7] = [
        ValueType::Null,
        ValueType::Boolean,
        ValueType::Object,
        ValueType::Array,
        ValueType::Number,
        ValueType::Integer,
        ValueType::String,
    ];

    pub(super) fn from_word(word: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.as_str().as_bytes() == word)
    }

    pub(super) fn as_str(self) -> &'static str {
        match self {
            ValueType::Null => "null",
            ValueType::Boolean => "boolean",
            ValueType::Object => "object",
            ValueType::Array => "array",
            ValueType::Number => "number",
            ValueType::Integer => "integer",
            ValueType::String => "string",
        }
    }

    /// The narrowest but one: a whole number is told as a number.
    pub(super) fn of(node: &Node<'_>) -> Self {
        match node {
            Node::Null => ValueType::Null,
            Node::Bool(_) => ValueType::Boolean,
            Node::Object(_) => ValueType::Object,
            Node::Array(_) => ValueType::Array,
            Node::Number(_) => ValueType::Number,
            Node::String(_) => ValueType::String,
        }
    }
}

/// Which side of a number's limit is allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    AtLeast,
    MoreThan,
    AtMost,
    LessThan,
}

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Counted {
    Characters,
    Items,
    Members,
}

#[derive(Clone, Debug)]
pub(super) enum Keyword {
    /// The schema `false`.
    Never,
    Reference(Place),
    AllOf(Vec<Place>),
    AnyOf(Vec<Place>),
    OneOf(Vec<Place>),
    Not(Place),
    If {
        condition: Place,
        then: Option<Place>,
        otherwise: Option<Place>,
    },
    Type(Vec<ValueType>),
    /// `enum` and `const`: in canonical form, and as they are shown.
    OneOfValues {
        canonical: Vec<Vec<u8>>,
        shown: String,
    },
    Limit {
        side: Side,
        limit: String,
    },
    MultipleOf {
        divisor: Divisor,
        shown: String,
    },
    Count {
        counted: Counted,
        least: usize,
        most: usize,
    },
    Pattern(TextPattern),
    Items {
        first: Vec<Place>,
        rest: Option<Place>,
    },
    Contains {
        item: Place,
        least: usize,
        most: usize,
    },
    UniqueItems,
    Members {
        named: BTreeMap<Vec<u8>, Place>,
        matching: Vec<(TextPattern, Place)>,
        rest: Option<Place>,
    },
    MemberNames(Place),
    Required(Vec<Vec<u8>>),
    /// Where a member is there, so must be others.
    DependentRequired(Vec<Dependent>),
    DependentSchemas(Vec<(Vec<u8>, Place)>),
}

impl Keyword {
    /// The subschemas that look at the very value that this one looks at.
    pub(super) fn in_place(&self) -> Vec<Place> {
        match self {
            Keyword::Reference(one) | Keyword::Not(one) => vec![*one],
            Keyword::AllOf(all) | Keyword::AnyOf(all) | Keyword::OneOf(all) => all.clone(),
            Keyword::If { condition, then, otherwise } => {
                [Some(*condition), *then, *otherwise].into_iter().flatten().collect()
            }
            Keyword::DependentSchemas(all) => all.iter().map(|(_, place)| *place).collect(),
            Keyword::Never
            | Keyword::Type(_)
            | Keyword::OneOfValues { .. }
            | Keyword::Limit { .. }
            | Keyword::MultipleOf { .. }
            | Keyword::Count { .. }
            | Keyword::Pattern(_)
            | Keyword::Items { .. }
            | Keyword::Contains { .. }
            | Keyword::UniqueItems
            | Keyword::Members { .. }
            | Keyword::MemberNames(_)
            | Keyword::Required(_)
            | Keyword::DependentRequired(_) => Vec::new(),
        }
    }
}
