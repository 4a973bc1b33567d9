//! The macros of a postback: `{name}` in the text of a query or a form, read with the place of whatever is wrong.

use crate::data_path::DataPath;

/// What a macro stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Macro {
    EventId,
    EventType,
    /// RFC 3339, as in envelopes.
    EventTimestamp,
    /// Whole seconds since 1970.
    EventUnixTimestamp,
    Data(DataPath),
}

impl Macro {
    /// By what stands between the braces. `{data.…}` always leads into the data, also to what other names hide.
    fn from_name(name: &str) -> Result<Self, String> {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
        if let Some(other) = name.chars().find(|character| !u8::try_from(*character).is_ok_and(is_plain)) {
            return Err(format!(
                "a macro is letters, digits, - and _, joined by dots; it may not hold {other:?}"
            ));
        }
        match name {
            "event.id" => return Ok(Macro::EventId),
            "event.type" => return Ok(Macro::EventType),
            "event.timestamp" | "timestamp" => return Ok(Macro::EventTimestamp),
            "event.unix_timestamp" => return Ok(Macro::EventUnixTimestamp),
            _ => {}
        }
        if name == "event" || name.starts_with("event.") {
            let detail = "is not known; of the event there are {event.id}, {event.type}, {event.timestamp} and \
                          {event.unix_timestamp}, of its data {data.event…}";
            return Err(format!("{{{name}}} {detail}"));
        }
        let path = match name.strip_prefix("data.") {
            Some(path) => path,
            None if name == "data" => {
                return Err("{data} is not one value; name a field: {data.status}".to_owned());
            }
            None => name,
        };
        path.parse().map(Macro::Data).map_err(|error| format!("{{{name}}} {error}"))
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    Literal(String),
    /// With its name, for notes.
    Macro(String, Macro),
}

/// Why a text with macros was refused. `position` counts bytes from the beginning of what was given, from 0.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("at byte {position}: {reason}")]
pub struct InvalidMacro {
    pub position: usize,
    pub reason: String,
}

fn refused<T>(position: usize, reason: impl Into<String>) -> Result<T, InvalidMacro> {
    Err(InvalidMacro { position, reason: reason.into() })
}

/// A text with macros, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MacroText {
    pub(super) pieces: Vec<Piece>,
}

impl MacroText {
    /// # Errors
    /// With the position of the first brace that opens or closes nothing, or of the first macro that cannot be.
    pub fn parse(text: &str) -> Result<Self, InvalidMacro> {
        let mut pieces = Vec::new();
        let mut position = 0;
        while let Some(rest) = text.get(position..).filter(|rest| !rest.is_empty()) {
            let literal = rest.find(['{', '}']).unwrap_or(rest.len());
            if literal > 0 {
                pieces.push(Piece::Literal(rest[..literal].to_owned()));
                position += literal;
                continue;
            }
            let Some(inside) = rest.strip_prefix('{') else {
                return refused(position, "this } closes nothing; write %7D for the character itself");
            };
            let Some((name, rest)) = inside.find(['{', '}']).map(|end| inside.split_at(end)) else {
                return refused(position, "this { is never closed; write %7B for the character itself");
            };
            if !rest.starts_with('}') {
                return refused(position + 1 + name.len(), "a macro may not hold another {");
            }
            match Macro::from_name(name) {
                Ok(found) => pieces.push(Piece::Macro(name.to_owned(), found)),
                Err(reason) => return refused(position, reason),
            }
            position += name.len() + 2;
        }
        Ok(MacroText { pieces })
    }

    /// What was stored may be of another version; it is sent as it is rather than not at all.
    pub(super) fn of_stored(text: &str) -> Self {
        Self::parse(text).unwrap_or_else(|_| MacroText { pieces: vec![Piece::Literal(text.to_owned())] })
    }
}

/// Checks a postback's URL as it was typed, before anything reads it as a URL: macros may stand in its query alone.
///
/// # Errors
/// With the position of the first thing that is wrong.
pub fn check_url(text: &str) -> Result<(), InvalidMacro> {
    let before_fragment = text.split('#').next().unwrap_or(text);
    let query = before_fragment.find('?').map_or(before_fragment.len(), |mark| mark + 1);
    let is_elsewhere = |position: &usize| *position < query || *position >= before_fragment.len();
    if let Some(position) = text.match_indices(['{', '}']).map(|(position, _)| position).find(is_elsewhere) {
        return refused(position, "a macro may stand in the query alone, after the ?");
    }
    let shifted = |error: InvalidMacro| InvalidMacro { position: error.position + query, ..error };
    MacroText::parse(&before_fragment[query..]).map(drop).map_err(shifted)
}

/// Checks the form of a postback: macros, and between them what a form may hold as it is sent.
///
/// # Errors
/// With the position of the first thing that is wrong.
pub fn check_form(text: &str) -> Result<(), InvalidMacro> {
    if text.len() > super::MAX_FORM {
        return refused(super::MAX_FORM, format!("must be at most {} bytes long", super::MAX_FORM));
    }
    let is_refused = |character: char| !character.is_ascii_graphic();
    if let Some((position, character)) = text.char_indices().find(|(_, character)| is_refused(*character)) {
        return refused(position, format!("{character:?} must be percent-encoded"));
    }
    MacroText::parse(text).map(drop)
}
