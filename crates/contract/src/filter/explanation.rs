//! Why an event is not wanted: the terms that failed, each with its place in the filter.

use std::fmt;

use super::{Expression, Scalar};
use crate::json::{MAX_COMPARED_TEXT, Node};

/// A term that keeps an event from its webhook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailedTerm {
    /// Of the term in the filter, RFC 6901; of the `not`, where what must not hold does.
    pub pointer: String,
    /// The path in `data` that the term is about; absent for a `not`.
    pub field: Option<String>,
    pub mismatch: Mismatch,
}

impl fmt::Display for FailedTerm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.field {
            Some(field) => write!(f, "{}: {field} {}", self.pointer, self.mismatch),
            None => write!(f, "{}: {}", self.pointer, self.mismatch),
        }
    }
}

/// Why a term does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mismatch {
    /// There is no such member.
    Missing,
    /// It is there, and must not be.
    Present,
    /// It is of another kind than what it is compared with, or too long a number.
    OtherKind { found: &'static str },
    /// It has another value.
    Differs,
    /// What a `not` holds is true.
    Holds,
}

impl Mismatch {
    pub(super) fn of_kinds(wanted: &[Scalar], found: &Node<'_>) -> Self {
        if matches!(found, Node::Number(text) if text.len() > MAX_COMPARED_TEXT) {
            return Mismatch::OtherKind { found: "too long a number" };
        }
        if wanted.iter().any(|scalar| scalar.is_kind_of(found)) {
            return Mismatch::Differs;
        }
        let found = match found {
            Node::Null => "null",
            Node::Bool(_) => "a boolean",
            Node::Number(_) => "a number",
            Node::String(_) => "a string",
            Node::Array(_) => "an array",
            Node::Object(_) => "an object",
        };
        Mismatch::OtherKind { found }
    }
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Mismatch::Missing => f.write_str("is not there"),
            Mismatch::Present => f.write_str("is there"),
            Mismatch::OtherKind { found } => write!(f, "is {found}"),
            Mismatch::Differs => f.write_str("has another value"),
            Mismatch::Holds => f.write_str("what may not hold does"),
        }
    }
}

pub(super) fn explain(expression: &Expression, data: &Node<'_>) -> Vec<FailedTerm> {
    let mut failed = Vec::new();
    collect(expression, data, &mut String::new(), &mut failed);
    failed
}

/// Of an `and` every part that failed, of an `or` all parts if all did.
fn collect(expression: &Expression, data: &Node<'_>, pointer: &mut String, failed: &mut Vec<FailedTerm>) {
    match expression {
        Expression::And(parts) => collect_parts("and", parts, data, pointer, failed),
        Expression::Or(_) if expression.matches(data) => {}
        Expression::Or(parts) => collect_parts("or", parts, data, pointer, failed),
        Expression::Not(part) => {
            if part.matches(data) {
                let pointer = format!("{pointer}/not");
                failed.push(FailedTerm { pointer, field: None, mismatch: Mismatch::Holds });
            }
        }
        Expression::Term(term) => {
            if let Some(mismatch) = term.check(data) {
                let field = Some(term.field.to_string());
                failed.push(FailedTerm { pointer: pointer.clone(), field, mismatch });
            }
        }
    }
}

fn collect_parts(
    word: &str,
    parts: &[Expression],
    data: &Node<'_>,
    pointer: &mut String,
    failed: &mut Vec<FailedTerm>,
) {
    let length = pointer.len();
    for (index, part) in parts.iter().enumerate() {
        pointer.push_str(&format!("/{word}/{index}"));
        collect(part, data, pointer, failed);
        pointer.truncate(length);
    }
}
