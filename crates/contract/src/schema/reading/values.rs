//! Keywords that hold plain values and no schemas.

use super::{ReadResult, below, refused};
use crate::json::{Decimal, Node};
use crate::schema::canonical::canonical;
use crate::schema::keyword::{Counted, Dependent, Keyword, Side, ValueType};
use crate::schema::text_pattern::TextPattern;

/// More than this in one `enum` is a table, and belongs elsewhere.
const MAX_VALUES: usize = 1_000;
/// Longer lists of allowed values are not shown to whoever broke them.
const MAX_SHOWN: usize = 200;

pub(super) fn types(value: &Node<'_>, place: &str) -> ReadResult<Keyword> {
    let read = |node: &Node<'_>, place: &str| {
        let word = match node {
            Node::String(word) => ValueType::from_word(word),
            Node::Null | Node::Bool(_) | Node::Number(_) | Node::Array(_) | Node::Object(_) => None,
        };
        word.map_or_else(
            || refused(place, "must be null, boolean, object, array, number, integer or string"),
            Ok,
        )
    };
    let Node::Array(nodes) = value else { return Ok(Keyword::Type(vec![read(value, place)?])) };
    if nodes.is_empty() {
        return refused(place, "must be a list of one type or more");
    }
    let one = |(index, node)| read(node, &format!("{place}/{index}"));
    nodes.iter().enumerate().map(one).collect::<ReadResult<Vec<_>>>().map(Keyword::Type)
}

pub(super) fn of_values(name: &str, value: &Node<'_>, place: &str) -> ReadResult<Keyword> {
    let values = match (name, value) {
        ("const", value) => std::slice::from_ref(value),
        (_, Node::Array(values)) if !values.is_empty() => values.as_slice(),
        _ => return refused(place, "must be a list of one value or more"),
    };
    if values.len() > MAX_VALUES {
        return refused(place, format!("must be at most {MAX_VALUES} values"));
    }
    let mut shown: Vec<String> = values.iter().map(show).collect();
    while shown.iter().map(|one| one.len() + 2).sum::<usize>() > MAX_SHOWN {
        shown.pop();
        if shown.len() < 2 {
            break;
        }
    }
    let is_cut = shown.len() < values.len();
    let shown = shown.join(", ") + if is_cut { ", …" } else { "" };
    Ok(Keyword::OneOfValues { canonical: values.iter().map(canonical).collect(), shown })
}

/// For a sentence; what is within a list or an object is left out.
fn show(node: &Node<'_>) -> String {
    match node {
        Node::Null => "null".to_owned(),
        Node::Bool(value) => value.to_string(),
        Node::Number(text) => text.chars().take(MAX_SHOWN).collect(),
        Node::String(bytes) => {
            let text: String = String::from_utf8_lossy(bytes).chars().take(MAX_SHOWN).collect();
            format!("{text:?}")
        }
        Node::Array(_) => "[…]".to_owned(),
        Node::Object(_) => "{…}".to_owned(),
    }
}

fn number<'a>(value: &Node<'a>, place: &str) -> ReadResult<(&'a str, Decimal<'a>)> {
    if let Node::Number(text) = *value
        && let Some(number) = Decimal::parse(text)
        && number.is_exact()
    {
        return Ok((text, number));
    }
    refused(place, "must be a number of a size that can be compared")
}

pub(super) fn limit(name: &str, value: &Node<'_>, place: &str) -> ReadResult<Keyword> {
    let side = match name {
        "minimum" => Side::AtLeast,
        "exclusiveMinimum" => Side::MoreThan,
        "maximum" => Side::AtMost,
        _ => Side::LessThan,
    };
    let (text, _) = number(value, place)?;
    Ok(Keyword::Limit { side, limit: text.to_owned() })
}

pub(super) fn multiple_of(value: &Node<'_>, place: &str) -> ReadResult<Keyword> {
    let (text, number) = number(value, place)?;
    match number.as_divisor() {
        Some(divisor) if number.is_positive() => Ok(Keyword::MultipleOf { divisor, shown: text.to_owned() }),
        Some(_) | None => refused(place, "must be more than 0, with at most 18 digits"),
    }
}

pub(super) fn whole(value: &Node<'_>, place: &str) -> ReadResult<usize> {
    let number = match value {
        Node::Number(text) => text.parse().ok(),
        Node::Null | Node::Bool(_) | Node::String(_) | Node::Array(_) | Node::Object(_) => None,
    };
    number.map_or_else(|| refused(place, "must be a whole number from 0"), Ok)
}

pub(super) fn count(name: &str, value: &Node<'_>, place: &str) -> ReadResult<Keyword> {
    let counted = match name {
        "minLength" | "maxLength" => Counted::Characters,
        "minItems" | "maxItems" => Counted::Items,
        _ => Counted::Members,
    };
    let bound = whole(value, place)?;
    let (least, most) = if name.starts_with("min") { (bound, usize::MAX) } else { (0, bound) };
    Ok(Keyword::Count { counted, least, most })
}

pub(super) fn pattern(value: &Node<'_>, place: &str) -> ReadResult<TextPattern> {
    match value {
        Node::String(written) => text_pattern(written, place),
        Node::Null | Node::Bool(_) | Node::Number(_) | Node::Array(_) | Node::Object(_) => {
            refused(place, "must be a string")
        }
    }
}

pub(super) fn text_pattern(written: &[u8], place: &str) -> ReadResult<TextPattern> {
    let text = std::str::from_utf8(written).or_else(|error| refused(place, error))?;
    TextPattern::parse(text).or_else(|reason| refused(place, reason))
}

fn names(value: &Node<'_>, place: &str) -> ReadResult<Vec<Vec<u8>>> {
    let Node::Array(nodes) = value else { return refused(place, "must be a list of names") };
    let name = |(index, node): (usize, &Node<'_>)| match node {
        Node::String(name) => Ok(name.to_vec()),
        Node::Null | Node::Bool(_) | Node::Number(_) | Node::Array(_) | Node::Object(_) => {
            refused(&format!("{place}/{index}"), "must be a string")
        }
    };
    nodes.iter().enumerate().map(name).collect()
}

pub(super) fn required(value: &Node<'_>, place: &str) -> ReadResult<Keyword> {
    names(value, place).map(Keyword::Required)
}

pub(super) fn list_of_names(value: &Node<'_>, place: &str) -> ReadResult<Vec<Dependent>> {
    let Node::Object(members) = value else { return refused(place, "must be an object of lists of names") };
    let dependent = |(name, node): (&[u8], &Node<'_>)| -> ReadResult<_> {
        Ok((name.to_vec(), names(node, &below(place, name))?))
    };
    members.iter().map(dependent).collect()
}
