//! JSON kept as the bytes it came in: large integers, key order, spaces and duplicate keys survive.

mod node;
mod number;
mod pointer;

use std::fmt;

use bytes::Bytes;

pub use node::{Members, Node, Written};
#[cfg(test)]
pub(crate) use number::READINGS;
pub use number::{Decimal, Divisor, MAX_COMPARED_TEXT};
pub use pointer::{pointer_below, pointer_of, pointer_step};

/// How deep arrays and objects may be nested: far above any real payload, far below any parser's stack.
pub const MAX_DEPTH: usize = 64;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidJson {
    #[error("not valid JSON at line {line}, column {column}: {reason}")]
    Syntax { line: usize, column: usize, reason: String },
    #[error("nested more than {MAX_DEPTH} levels deep")]
    TooDeep,
    #[error("must be a JSON object")]
    NotAnObject,
}

impl InvalidJson {
    #[must_use]
    pub fn from_serde(error: &serde_json::Error) -> Self {
        let text = error.to_string();
        let reason = text.split(" at line ").next().unwrap_or_default().to_owned();
        InvalidJson::Syntax { line: error.line(), column: error.column(), reason }
    }
}

/// One JSON object, valid, UTF-8, at most [`MAX_DEPTH`] deep, without surrounding white space.
#[derive(Clone, PartialEq, Eq)]
pub struct RawObject(Bytes);

impl RawObject {
    /// # Errors
    /// When the bytes are not one JSON object, or nest too deep.
    pub fn parse(bytes: Bytes) -> Result<Self, InvalidJson> {
        check_depth(&bytes)?;
        let value: &serde_json::value::RawValue =
            serde_json::from_slice(&bytes).map_err(|error| InvalidJson::from_serde(&error))?;
        let text = value.get();
        if !text.starts_with('{') {
            return Err(InvalidJson::NotAnObject);
        }
        let kept = bytes.slice_ref(text.as_bytes());
        Ok(RawObject(kept))
    }

    /// A member of a document that was parsed and whose depth was checked as a whole: neither is done again.
    ///
    /// # Errors
    /// When it is another kind of value.
    pub fn part_of(document: &Bytes, value: &serde_json::value::RawValue) -> Result<Self, InvalidJson> {
        if !value.get().starts_with('{') {
            return Err(InvalidJson::NotAnObject);
        }
        Ok(RawObject(document.slice_ref(value.get().as_bytes())))
    }

    /// For bytes that this type wrote to a store or a queue itself.
    #[must_use]
    pub fn from_stored(bytes: Bytes) -> Self {
        RawObject(bytes)
    }

    #[must_use]
    pub fn as_bytes(&self) -> &Bytes {
        &self.0
    }

    /// What stands between the braces, spaces and all; empty for `{}`.
    #[must_use]
    pub fn members(&self) -> &[u8] {
        let inner = self.0.len().checked_sub(1).and_then(|end| self.0.get(1..end));
        inner.unwrap_or_default().trim_ascii()
    }
}

impl fmt::Debug for RawObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RawObject({} bytes)", self.0.len())
    }
}

/// Counts nesting without recursion, before any parser sees the text. Brackets inside strings do not count.
///
/// # Errors
/// [`InvalidJson::TooDeep`] past [`MAX_DEPTH`]. Anything else that is wrong is left to the parser.
pub fn check_depth(text: &[u8]) -> Result<(), InvalidJson> {
    if is_deeper_than(MAX_DEPTH, text) { Err(InvalidJson::TooDeep) } else { Ok(()) }
}

/// The same with another limit.
pub(crate) fn is_deeper_than(limit: usize, text: &[u8]) -> bool {
    let mut depth = 0_usize;
    let mut rest = text;
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        match byte {
            b'"' => rest = after_string(after),
            b'{' | b'[' => {
                depth += 1;
                if depth > limit {
                    return true;
                }
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    false
}

/// What comes after the string whose first quote was just read; nothing, if it does not end. Most bytes of an event
/// are inside strings, so eight are looked at together.
fn after_string(mut text: &[u8]) -> &[u8] {
    loop {
        while let Some((eight, after)) = text.split_first_chunk::<8>() {
            if has_byte(*eight, b'"') || has_byte(*eight, b'\\') {
                break;
            }
            text = after;
        }
        match text.iter().position(|byte| matches!(byte, b'"' | b'\\')) {
            None => return &[],
            Some(end) if text[end] == b'"' => return &text[end + 1..],
            // The byte after a backslash is part of the string, whatever it is.
            Some(escape) => text = text.get(escape + 2..).unwrap_or_default(),
        }
    }
}

/// Whether one of eight bytes is the wanted one: a byte that is zero borrows from its highest bit.
fn has_byte(eight: [u8; 8], wanted: u8) -> bool {
    const LOW: u64 = u64::from_ne_bytes([0x01; 8]);
    const HIGH: u64 = u64::from_ne_bytes([0x80; 8]);
    let zero_where_equal = u64::from_ne_bytes(eight) ^ u64::from_ne_bytes([wanted; 8]);
    zero_where_equal.wrapping_sub(LOW) & !zero_where_equal & HIGH != 0
}

/// Appends `text` as a JSON string, quotes and all.
pub fn write_string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    write_escaped(out, text);
    out.push(b'"');
}

/// Appends `text` as it stands inside a JSON string.
pub fn write_escaped(out: &mut Vec<u8>, text: &str) {
    write_escaped_bytes(out, text.as_bytes());
}

/// The same with the bytes of a text.
pub(crate) fn write_escaped_bytes(out: &mut Vec<u8>, text: &[u8]) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    for byte in text {
        match *byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            control @ 0..0x20 => {
                out.extend_from_slice(b"\\u00");
                out.push(HEX[usize::from(control >> 4)]);
                out.push(HEX[usize::from(control & 15)]);
            }
            other => out.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_object_keeps_its_bytes() {
        for text in [
            r#"{"n":12345678901234567890123}"#,
            r#"{ "b" : 1,  "a":2 }"#,
            r#"{"a":1,"a":2}"#,
            r#"{"n":1e400,"s":"\ud800\u0000"}"#,
            "{}",
        ] {
            let object = RawObject::parse(Bytes::from_static(text.as_bytes())).expect("an object");
            assert_eq!(object.as_bytes(), text.as_bytes());
        }
        let padded = RawObject::parse(Bytes::from_static(b" \n{\"a\": [1] } ")).expect("an object");
        assert_eq!(padded.as_bytes().as_ref(), b"{\"a\": [1] }");
        assert_eq!(padded.members(), b"\"a\": [1]");
    }

    #[test]
    fn what_is_not_an_object_is_refused_with_its_place() {
        for text in ["null", "[]", "\"{}\"", "1"] {
            assert_eq!(RawObject::parse(Bytes::from_static(text.as_bytes())), Err(InvalidJson::NotAnObject));
        }
        for text in ["", "{", "{'a':1}", "{\"a\":1}}", "{\"s\":\"\\x41\"}", "{\"a\":1,}"] {
            let refused = RawObject::parse(Bytes::from_static(text.as_bytes()));
            assert!(matches!(refused, Err(InvalidJson::Syntax { .. })), "{text}: {refused:?}");
        }
    }

    #[test]
    fn nesting_is_bounded_before_anything_is_parsed() {
        let deep = "[".repeat(100_000);
        assert_eq!(check_depth(deep.as_bytes()), Err(InvalidJson::TooDeep));
        let in_string = format!("{{\"a\":\"{}\\\"{}\"}}", "[".repeat(100), "{".repeat(100));
        assert_eq!(check_depth(in_string.as_bytes()), Ok(()));
    }

    proptest! {
        /// Against the plainest reader there is: one byte after the other.
        #[test]
        fn brackets_count_outside_strings_alone(
            pieces in proptest::collection::vec(prop_oneof![
                Just("[[[[[[[[["), Just("]]]]]"), Just("\""), Just("\\\\"), Just("\\\""), Just("\\"), Just("abcdefghijk"), Just("x"),
            ], 0..60),
        ) {
            let text = pieces.concat();
            let (mut depth, mut deepest, mut in_string, mut escaped) = (0_usize, 0, false, false);
            for byte in text.bytes() {
                match (in_string, byte) {
                    (true, _) if escaped => escaped = false,
                    (true, b'\\') => escaped = true,
                    (_, b'"') => in_string = !in_string,
                    (false, b'[') => depth += 1,
                    (false, b']') => depth = depth.saturating_sub(1),
                    (_, _) => {}
                }
                deepest = deepest.max(depth);
            }
            prop_assert_eq!(check_depth(text.as_bytes()).is_err(), deepest > MAX_DEPTH);
        }
    }

    #[test]
    fn any_text_is_written_as_a_json_string() {
        for text in ["", "plain", "quo\"te\\", "line\nfeed\u{1}\u{7f}é😀\u{2028}"] {
            let mut out = Vec::new();
            write_string(&mut out, text);
            assert_eq!(serde_json::from_slice::<String>(&out).expect("a JSON string"), text);
        }
    }
}
