//! Regular expressions in schemas: those that can be matched in time proportional to the text.

use std::fmt;

use regex::bytes::{Regex, RegexBuilder};

const MAX_PATTERN_BYTES: usize = 512;
/// Of the compiled pattern: some two thousand states, each of which may cost a few nanoseconds for each byte of text.
const MAX_COMPILED_BYTES: usize = 64 * 1024;

/// A pattern of `pattern` or `patternProperties`; it may match anywhere in a text.
#[derive(Clone)]
pub(super) struct TextPattern {
    written: String,
    compiled: Regex,
}

impl TextPattern {
    /// # Errors
    /// Why it cannot be matched: its form, its size, or that it looks around or back.
    pub(super) fn parse(written: &str) -> Result<Self, String> {
        if written.len() > MAX_PATTERN_BYTES {
            return Err(format!("must be at most {MAX_PATTERN_BYTES} bytes long"));
        }
        let built = RegexBuilder::new(&as_understood(written)).size_limit(MAX_COMPILED_BYTES).build();
        match built {
            Ok(compiled) => Ok(TextPattern { written: written.to_owned(), compiled }),
            Err(regex::Error::CompiledTooBig(_)) => {
                Err("is too large: let it repeat less, or name fewer characters".to_owned())
            }
            Err(error) => Err(format!("is not a pattern that can be matched: {}", last_line(&error))),
        }
    }

    pub(super) fn as_str(&self) -> &str {
        &self.written
    }

    pub(super) fn is_match(&self, text: &[u8]) -> bool {
        self.compiled.is_match(text)
    }
}

impl fmt::Debug for TextPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.written)
    }
}

/// In ECMA-262, which schemas write, `\d` and `\w` name ASCII characters alone.
fn as_understood(written: &str) -> String {
    let mut understood = String::with_capacity(written.len());
    let mut characters = written.chars();
    while let Some(character) = characters.next() {
        if character != '\\' {
            understood.push(character);
            continue;
        }
        match characters.next() {
            Some('d') => understood.push_str("[0-9]"),
            Some('D') => understood.push_str("[^0-9]"),
            Some('w') => understood.push_str("[0-9A-Za-z_]"),
            Some('W') => understood.push_str("[^0-9A-Za-z_]"),
            Some(other) => understood.extend(['\\', other]),
            None => understood.push('\\'),
        }
    }
    understood
}

/// The reason stands on the last line, below a drawing of the place.
fn last_line(error: &regex::Error) -> String {
    let text = error.to_string();
    let line = text.lines().last().unwrap_or_default().trim();
    line.strip_prefix("error: ").unwrap_or(line).to_owned()
}
