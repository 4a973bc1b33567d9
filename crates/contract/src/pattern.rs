//! Patterns: text with `${variable}` placeholders, from which a profile's bodies, headers and signatures are
//! made.
//!
//! `${name}` stands for a variable, `$$` for one dollar sign; every other character, braces included, stands for
//! itself, so that a JSON skeleton stays readable. Each context has its closed set of variables: what is unknown
//! there is refused when the pattern is read, with its position. Nothing is parsed when a pattern is filled in.

use std::fmt;
use std::str::FromStr;

use bytestring::ByteString;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A pattern longer than this is a mistake: the longest built-in one has under 400 bytes.
pub const MAX_PATTERN: usize = 16 * 1024;

/// The closed set of names that may stand in a pattern of one context.
pub trait Variable: Clone + PartialEq + fmt::Debug + Send + Sync + 'static {
    /// Every variable of the context that has a name of its own.
    fn all() -> Vec<Self>;

    /// Those of which only the beginning is fixed.
    fn families() -> &'static [Family] {
        &[]
    }

    /// How it is written between `${` and `}`.
    fn name(&self) -> &str;

    /// Whether it may stand in a pattern once alone: what it stands for may be long.
    fn stands_once(&self) -> bool {
        false
    }

    /// The one of this name: of [`all`](Self::all), or of a family.
    fn from_name(name: &str) -> Option<Self> {
        Self::all().into_iter().find(|variable| variable.name() == name)
    }
}

/// Variables that are named by whoever writes the pattern: `${query.click_id}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Family {
    /// How one is written, in words: `query.NAME`.
    pub name: &'static str,
    /// A regular expression that finds every one of them, as JSON Schema writes it.
    pub expression: &'static str,
}

/// One part of a pattern.
#[derive(Clone, Debug, PartialEq)]
pub enum Piece<V> {
    /// Never empty, and never beside another literal.
    Literal(ByteString),
    Variable(V),
}

/// Why a text is not a pattern. Positions are byte offsets from the beginning, from 0.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPattern {
    #[error("longer than {MAX_PATTERN} bytes")]
    TooLong,
    #[error("the ${{ at position {position} is never closed")]
    Unclosed { position: usize },
    #[error("unknown variable {name:?} at position {position}; known here: {known}")]
    UnknownVariable { position: usize, name: String, known: String },
    #[error("${{{name}}} stands before position {position} already, and may stand once")]
    Repeated { position: usize, name: String },
}

/// A text with placeholders, read once.
#[derive(Clone, Debug, PartialEq)]
pub struct Pattern<V> {
    pieces: Vec<Piece<V>>,
}

impl<V: Variable> Pattern<V> {
    /// # Errors
    /// When a placeholder is not closed, names a variable that this context does not have, or repeats one that may
    /// stand once.
    pub fn parse(text: &str) -> Result<Self, InvalidPattern> {
        if text.len() > MAX_PATTERN {
            return Err(InvalidPattern::TooLong);
        }
        let mut pieces = Vec::new();
        let mut literal = String::new();
        let mut position = 0;
        while let Some(found) = text[position..].find('$') {
            let dollar = position + found;
            literal.push_str(&text[position..dollar]);
            let rest = &text[dollar + 1..];
            if let Some(inside) = rest.strip_prefix('{') {
                let (name, _) =
                    inside.split_once('}').ok_or(InvalidPattern::Unclosed { position: dollar })?;
                let variable = V::from_name(name).ok_or_else(|| Self::unknown(dollar, name))?;
                push_literal(&mut pieces, &mut literal);
                if variable.stands_once() && pieces.contains(&Piece::Variable(variable.clone())) {
                    return Err(InvalidPattern::Repeated { position: dollar, name: name.to_owned() });
                }
                pieces.push(Piece::Variable(variable));
                position = dollar + "${}".len() + name.len();
            } else {
                literal.push('$');
                position = dollar + if rest.starts_with('$') { 2 } else { 1 };
            }
        }
        literal.push_str(&text[position..]);
        push_literal(&mut pieces, &mut literal);
        Ok(Pattern { pieces })
    }

    fn unknown(position: usize, name: &str) -> InvalidPattern {
        let all = V::all();
        let families = V::families().iter().map(|family| family.name);
        let known: Vec<&str> = all.iter().map(V::name).chain(families).collect();
        // The name is the writer's own text; a long one would only hide the message.
        let name = name.chars().take(64).collect();
        InvalidPattern::UnknownVariable { position, name, known: known.join(", ") }
    }

    #[must_use]
    pub fn pieces(&self) -> &[Piece<V>] {
        &self.pieces
    }

    pub fn variables(&self) -> impl Iterator<Item = V> + '_ {
        self.pieces.iter().filter_map(|piece| match piece {
            Piece::Literal(_) => None,
            Piece::Variable(variable) => Some(variable.clone()),
        })
    }

    pub fn literals(&self) -> impl Iterator<Item = &str> + '_ {
        self.pieces.iter().filter_map(|piece| match piece {
            Piece::Literal(literal) => Some(&**literal),
            Piece::Variable(_) => None,
        })
    }

    #[must_use]
    pub fn uses(&self, variable: V) -> bool {
        self.variables().any(|used| used == variable)
    }

    /// Reads a filled-in pattern back: what each variable stood for, in order. A variable reaches to the next
    /// literal that follows it, or to the end, and stands for at least one character. `None` if `text` was not
    /// made from this pattern, or two variables touch so that nothing tells them apart.
    #[must_use]
    pub fn capture<'t>(&self, text: &'t str) -> Option<Vec<(V, &'t str)>> {
        let mut captured = Vec::new();
        let mut rest = text;
        let mut pieces = self.pieces.iter().peekable();
        while let Some(piece) = pieces.next() {
            match piece {
                Piece::Literal(literal) => rest = rest.strip_prefix(&**literal)?,
                Piece::Variable(variable) => {
                    let end = match pieces.peek() {
                        None => rest.len(),
                        Some(Piece::Literal(next)) => rest.find(&**next)?,
                        Some(Piece::Variable(_)) => return None,
                    };
                    let (value, after) = rest.split_at(end);
                    if value.is_empty() {
                        return None;
                    }
                    captured.push((variable.clone(), value));
                    rest = after;
                }
            }
        }
        rest.is_empty().then_some(captured)
    }
}

fn push_literal<V>(pieces: &mut Vec<Piece<V>>, literal: &mut String) {
    if !literal.is_empty() {
        pieces.push(Piece::Literal(std::mem::take(literal).into()));
    }
}

impl<V: Variable> FromStr for Pattern<V> {
    type Err = InvalidPattern;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

/// The text it can be read from again.
impl<V: Variable> fmt::Display for Pattern<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for piece in &self.pieces {
            match piece {
                Piece::Literal(literal) => f.write_str(&literal.replace('$', "$$"))?,
                Piece::Variable(variable) => write!(f, "${{{}}}", variable.name())?,
            }
        }
        Ok(())
    }
}

impl<V: Variable> Serialize for Pattern<V> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de, V: Variable> Deserialize<'de> for Pattern<V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests;
