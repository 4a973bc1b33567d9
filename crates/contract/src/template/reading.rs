//! From a template's text to what it is filled in from; what cannot work is refused with its place.

use std::fmt;

use serde::Deserializer;
use serde::de::{MapAccess, Visitor};
use serde_json::value::RawValue;

use super::variable::{NotAVariable, Source, known};
use super::{MAX_BODY, MAX_TEMPLATE, MAX_TEMPLATE_DEPTH, MAX_VARIABLES, Parsed, Piece, Variable};
use crate::json::{InvalidJson, is_deeper_than, pointer_below, write_escaped, write_string};

/// The most that a variable takes that is left out: `null`.
const LEFT_OUT: usize = 4;

/// Why a text is not a template, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{problem}{}", place(.pointer))]
pub struct InvalidTemplate {
    /// RFC 6901, into the template; empty for all of it.
    pub pointer: String,
    pub problem: TemplateProblem,
}

fn place(pointer: &str) -> String {
    if pointer.is_empty() { String::new() } else { format!(" (at {pointer})") }
}

/// Positions are characters of the string at the pointer, from 1.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateProblem {
    #[error("must be at most {MAX_TEMPLATE} bytes long")]
    TooLong,
    #[error("{0}")]
    Json(InvalidJson),
    #[error("is nested more than {MAX_TEMPLATE_DEPTH} levels deep")]
    TooDeep,
    #[error("must be a JSON object or array")]
    NotAContainer,
    #[error("holds more than {MAX_VARIABLES} variables")]
    TooManyVariables,
    #[error("the {{{{ at character {character} is never closed")]
    Unclosed { character: usize },
    #[error("variable {name:?} at character {character} {reason}")]
    Variable { character: usize, name: String, reason: String },
    #[error("the name of a member may not hold a variable, as {name:?} does at character {character}")]
    InName { character: usize, name: String },
    #[error("is not Unicode text: {reason}")]
    NotText { reason: String },
}

pub(super) fn read(text: &str) -> Result<Parsed, InvalidTemplate> {
    let of_all = |problem| InvalidTemplate { pointer: String::new(), problem };
    if text.len() > MAX_TEMPLATE {
        return Err(of_all(TemplateProblem::TooLong));
    }
    if is_deeper_than(MAX_TEMPLATE_DEPTH, text.as_bytes()) {
        return Err(of_all(TemplateProblem::TooDeep));
    }
    let json: &RawValue = serde_json::from_str(text)
        .map_err(|error| of_all(TemplateProblem::Json(InvalidJson::from_serde(&error))))?;
    if !json.get().starts_with(['{', '[']) {
        return Err(of_all(TemplateProblem::NotAContainer));
    }
    let mut reader = Reader::default();
    reader.value(json.get())?;
    reader.end_literal();
    let literals: usize = reader.pieces.iter().map(Piece::literal_length).sum();
    Ok(Parsed {
        text: json.get().into(),
        // Literals are no longer than the template, and variables are few: there is always room.
        room: MAX_BODY.saturating_sub(literals + LEFT_OUT * reader.variables),
        pieces: reader.pieces,
    })
}

impl Piece {
    fn literal_length(&self) -> usize {
        match self {
            Piece::Literal(literal) => literal.len(),
            Piece::Within(_) | Piece::Alone(_) => 0,
        }
    }
}

/// Goes through the document once. What is around variables is written again without spaces between values.
#[derive(Default)]
struct Reader {
    pieces: Vec<Piece>,
    literal: Vec<u8>,
    pointer: Vec<String>,
    variables: usize,
}

impl Reader {
    /// One value; recursive, to a depth that was checked before.
    fn value(&mut self, text: &str) -> Result<(), InvalidTemplate> {
        match text.as_bytes().first() {
            Some(b'{') => self.object(text),
            Some(b'[') => self.array(text),
            Some(b'"') => self.string(text),
            Some(_) | None => {
                self.literal.extend_from_slice(text.as_bytes());
                Ok(())
            }
        }
    }

    fn object(&mut self, text: &str) -> Result<(), InvalidTemplate> {
        let mut read = serde_json::Deserializer::from_str(text);
        let members = read.deserialize_map(Members).map_err(|error| self.not_text(&error))?;
        self.literal.push(b'{');
        for (index, (name, value)) in members.into_iter().enumerate() {
            if index > 0 {
                self.literal.push(b',');
            }
            if let Some(found) = name.find("{{") {
                let character = name[..found].chars().count() + 1;
                return Err(self.refused(TemplateProblem::InName { character, name: shown(&name) }));
            }
            write_string(&mut self.literal, &name);
            self.literal.push(b':');
            self.pointer.push(name);
            self.value(value.get())?;
            self.pointer.pop();
        }
        self.literal.push(b'}');
        Ok(())
    }

    fn array(&mut self, text: &str) -> Result<(), InvalidTemplate> {
        let elements: Vec<&RawValue> = serde_json::from_str(text).map_err(|error| self.not_text(&error))?;
        self.literal.push(b'[');
        for (index, value) in elements.into_iter().enumerate() {
            if index > 0 {
                self.literal.push(b',');
            }
            self.pointer.push(index.to_string());
            self.value(value.get())?;
            self.pointer.pop();
        }
        self.literal.push(b']');
        Ok(())
    }

    fn string(&mut self, text: &str) -> Result<(), InvalidTemplate> {
        let content: String = serde_json::from_str(text).map_err(|error| self.not_text(&error))?;
        if let Some(name) = only_variable(&content) {
            let variable = self.variable(name, 1)?;
            self.end_literal();
            self.pieces.push(Piece::Alone(variable));
            return Ok(());
        }
        self.literal.push(b'"');
        let mut position = 0;
        while let Some(found) = content[position..].find("{{") {
            let opening = position + found;
            self.text(&content[position..opening]);
            let character = content[..opening].chars().count() + 1;
            let inside = &content[opening + 2..];
            let Some(length) = inside.find("}}") else {
                return Err(self.refused(TemplateProblem::Unclosed { character }));
            };
            let variable = self.variable(&inside[..length], character)?;
            self.end_literal();
            self.pieces.push(Piece::Within(variable));
            position = opening + length + "{{}}".len();
        }
        self.text(&content[position..]);
        self.literal.push(b'"');
        Ok(())
    }

    /// The inside of a string.
    fn text(&mut self, text: &str) {
        write_escaped(&mut self.literal, text);
    }

    fn variable(&mut self, written: &str, character: usize) -> Result<Variable, InvalidTemplate> {
        self.variables += 1;
        if self.variables > MAX_VARIABLES {
            return Err(self.refused(TemplateProblem::TooManyVariables));
        }
        let name = written.trim();
        let source = Source::named(name).map_err(|error| {
            let reason = match error {
                NotAVariable::Unknown => format!("{error}; known here: {}", known()),
                NotAVariable::TooLong | NotAVariable::Path(_) => error.to_string(),
            };
            self.refused(TemplateProblem::Variable { character, name: shown(name), reason })
        })?;
        Ok(Variable { source, name: name.into() })
    }

    fn end_literal(&mut self) {
        if !self.literal.is_empty() {
            let literal = String::from_utf8(std::mem::take(&mut self.literal)).expect("made of text alone");
            self.pieces.push(Piece::Literal(literal.into_boxed_str()));
        }
    }

    fn refused(&self, problem: TemplateProblem) -> InvalidTemplate {
        let step = |step: &String| pointer_below("", step);
        InvalidTemplate { pointer: self.pointer.iter().map(step).collect(), problem }
    }

    /// The text is JSON: only an escape that is half a character is left to go wrong.
    fn not_text(&self, error: &serde_json::Error) -> InvalidTemplate {
        let reason = error.to_string();
        let reason = reason.split(" at line ").next().unwrap_or_default().to_owned();
        self.refused(TemplateProblem::NotText { reason })
    }
}

/// The name inside `{{…}}`, if there is nothing else in the string.
fn only_variable(content: &str) -> Option<&str> {
    let inside = content.strip_prefix("{{")?.strip_suffix("}}")?;
    (!inside.contains("{{") && !inside.contains("}}")).then_some(inside)
}

/// The writer's own text; a long one would only hide the message.
fn shown(text: &str) -> String {
    text.chars().take(64).collect()
}

/// All members, in order, those of the same name too.
struct Members;

impl<'de> Visitor<'de> for Members {
    type Value = Vec<(String, &'de RawValue)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = map.next_entry::<String, &RawValue>()? {
            members.push(member);
        }
        Ok(members)
    }
}
