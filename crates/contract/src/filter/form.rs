//! The JSON form of a filter, read with the place of whatever is wrong, and written.
//!
//! ```json
//! {"and": [{"field": "status", "equals": "approved"}, {"not": {"field": "payoutCents", "less_than": 100}}]}
//! ```

use super::{
    Bound, Expression, MAX_FILTER_BYTES, MAX_FILTER_DEPTH, MAX_TERMS, MAX_VALUES, Scalar, Term, Test, Values,
};
use crate::json::{Decimal, Members, Node, pointer_below, write_string};

const FORM: &str = "must be one of and, or, not, or a field with equals, in, exists, greater_than, at_least, less_than or at_most";

/// Why a filter was refused. `pointer` (RFC 6901) is into the filter.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{pointer}: {detail}")]
pub struct InvalidFilter {
    pub pointer: String,
    pub detail: String,
}

fn refused<T>(pointer: &str, detail: impl ToString) -> Result<T, InvalidFilter> {
    Err(InvalidFilter { pointer: pointer.to_owned(), detail: detail.to_string() })
}

pub(super) fn read(text: &str) -> Result<Expression, InvalidFilter> {
    let is_too_long = |text: &str| text.len() > MAX_FILTER_BYTES;
    let too_long = || refused("", format!("must be at most {MAX_FILTER_BYTES} bytes long"));
    if is_too_long(text) {
        return too_long();
    }
    let expression = match Node::parse(text) {
        Ok(node) => Reading { terms: 0 }.expression(&node, "", 1)?,
        Err(error) => return refused("", error),
    };
    // Stored as it is written here, where some characters take more room; it is to be readable again.
    if is_too_long(&write(&expression)) { too_long() } else { Ok(expression) }
}

struct Reading {
    /// So far.
    terms: usize,
}

impl Reading {
    fn expression(
        &mut self,
        node: &Node<'_>,
        pointer: &str,
        depth: usize,
    ) -> Result<Expression, InvalidFilter> {
        if depth > MAX_FILTER_DEPTH {
            return refused(pointer, format!("may be at most {MAX_FILTER_DEPTH} levels deep"));
        }
        let Node::Object(members) = node else { return refused(pointer, "must be an object") };
        if let Some(name) = members.duplicate() {
            return refused(&below(pointer, name), "is there twice");
        }
        if members.last_named(b"field").is_some() {
            return self.term(members, pointer).map(Expression::Term);
        }
        let mut all = members.iter();
        let (Some((name, value)), None) = (all.next(), all.next()) else { return refused(pointer, FORM) };
        let place = below(pointer, name);
        match name {
            b"and" => self.parts(value, &place, depth).map(Expression::And),
            b"or" => self.parts(value, &place, depth).map(Expression::Or),
            b"not" => {
                let part = self.expression(value, &place, depth + 1)?;
                Ok(Expression::Not(Box::new(part)))
            }
            _ => refused(&place, FORM),
        }
    }

    fn parts(
        &mut self,
        node: &Node<'_>,
        pointer: &str,
        depth: usize,
    ) -> Result<Vec<Expression>, InvalidFilter> {
        let Some(nodes) = elements(node).filter(|nodes| !nodes.is_empty()) else {
            return refused(pointer, "must be a list of one or more");
        };
        let part = |(index, node)| self.expression(node, &format!("{pointer}/{index}"), depth + 1);
        nodes.iter().enumerate().map(part).collect()
    }

    fn term(&mut self, members: &Members<'_>, pointer: &str) -> Result<Term, InvalidFilter> {
        self.terms += 1;
        if self.terms > MAX_TERMS {
            return refused(
                pointer,
                format!("is one more than the {MAX_TERMS} terms that a filter may have"),
            );
        }
        let (mut field, mut test) = (None, None);
        for (name, value) in members.iter() {
            let place = below(pointer, name);
            if name == b"field" {
                let Some(text) = as_text(value) else { return refused(&place, "must be a string") };
                match text.parse() {
                    Ok(path) => field = Some(path),
                    Err(error) => return refused(&place, error),
                }
            } else if test.is_some() {
                return refused(&place, "a term has one test; join two by and");
            } else {
                test = Some(read_test(name, value, &place)?);
            }
        }
        match (field, test) {
            (Some(field), Some(test)) => Ok(Term { field, test }),
            (None, _) | (_, None) => refused(pointer, FORM),
        }
    }
}

fn read_test(name: &[u8], value: &Node<'_>, place: &str) -> Result<Test, InvalidFilter> {
    match name {
        b"equals" => read_scalar(value, place).map(Test::Equals),
        b"in" => {
            let Some(values) = elements(value).filter(|values| (1..=MAX_VALUES).contains(&values.len()))
            else {
                return refused(place, format!("must be a list of 1 to {MAX_VALUES} values"));
            };
            let scalar = |(index, value)| read_scalar(value, &format!("{place}/{index}"));
            let values = values.iter().enumerate().map(scalar).collect::<Result<_, _>>()?;
            Ok(Test::In(Values::new(values)))
        }
        b"exists" => {
            let Node::Bool(is_wanted) = value else { return refused(place, "must be true or false") };
            Ok(if *is_wanted { Test::Exists } else { Test::Absent })
        }
        _ => {
            let Some(bound) = Bound::ALL.into_iter().find(|bound| bound.name().as_bytes() == name) else {
                return refused(place, FORM);
            };
            match read_scalar(value, place)? {
                scalar @ (Scalar::Number(_) | Scalar::Text(_)) => Ok(Test::Order(bound, scalar)),
                Scalar::Null | Scalar::Bool(_) => refused(place, "must be a number or a string"),
            }
        }
    }
}

fn read_scalar(value: &Node<'_>, place: &str) -> Result<Scalar, InvalidFilter> {
    match value {
        Node::Null => Ok(Scalar::Null),
        Node::Bool(value) => Ok(Scalar::Bool(*value)),
        Node::Number(text) if Decimal::parse(text).is_some_and(|number| number.is_exact()) => {
            Ok(Scalar::Number((*text).into()))
        }
        Node::Number(_) => refused(place, "is too long a number, or has too large an exponent"),
        Node::String(_) => match as_text(value) {
            Some(text) => Ok(Scalar::Text(text.into())),
            None => refused(place, "holds a surrogate without its other half"),
        },
        Node::Array(_) | Node::Object(_) => refused(place, "must be a string, a number, true, false or null"),
    }
}

fn as_text<'n>(node: &'n Node<'_>) -> Option<&'n str> {
    match node {
        Node::String(bytes) => std::str::from_utf8(bytes).ok(),
        Node::Null | Node::Bool(_) | Node::Number(_) | Node::Array(_) | Node::Object(_) => None,
    }
}

fn elements<'n, 'a>(node: &'n Node<'a>) -> Option<&'n [Node<'a>]> {
    if let Node::Array(elements) = node { Some(elements) } else { None }
}

fn below(pointer: &str, name: &[u8]) -> String {
    pointer_below(pointer, &String::from_utf8_lossy(name))
}

pub(super) fn write(expression: &Expression) -> String {
    let mut out = Vec::new();
    write_expression(expression, &mut out);
    String::from_utf8(out).expect("every part is text")
}

fn write_expression(expression: &Expression, out: &mut Vec<u8>) {
    match expression {
        Expression::And(parts) => write_parts("and", parts, out),
        Expression::Or(parts) => write_parts("or", parts, out),
        Expression::Not(part) => {
            out.extend_from_slice(b"{\"not\":");
            write_expression(part, out);
        }
        Expression::Term(Term { field, test }) => {
            out.extend_from_slice(b"{\"field\":");
            write_string(out, field.as_str());
            match test {
                Test::Equals(scalar) => write_test("equals", scalar, out),
                Test::Order(bound, scalar) => write_test(bound.name(), scalar, out),
                Test::Exists => out.extend_from_slice(b",\"exists\":true"),
                Test::Absent => out.extend_from_slice(b",\"exists\":false"),
                Test::In(values) => {
                    out.extend_from_slice(b",\"in\":[");
                    write_joined(&values.written, out, write_scalar);
                    out.push(b']');
                }
            }
        }
    }
    out.push(b'}');
}

fn write_parts(word: &str, parts: &[Expression], out: &mut Vec<u8>) {
    out.extend_from_slice(format!("{{\"{word}\":[").as_bytes());
    write_joined(parts, out, write_expression);
    out.push(b']');
}

fn write_test(word: &str, scalar: &Scalar, out: &mut Vec<u8>) {
    out.extend_from_slice(format!(",\"{word}\":").as_bytes());
    write_scalar(scalar, out);
}

fn write_joined<T>(values: &[T], out: &mut Vec<u8>, write: impl Fn(&T, &mut Vec<u8>)) {
    for (index, value) in values.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        write(value, out);
    }
}

fn write_scalar(scalar: &Scalar, out: &mut Vec<u8>) {
    match scalar {
        Scalar::Null => out.extend_from_slice(b"null"),
        Scalar::Bool(value) => out.extend_from_slice(value.to_string().as_bytes()),
        Scalar::Number(text) => out.extend_from_slice(text.as_bytes()),
        Scalar::Text(text) => write_string(out, text),
    }
}
