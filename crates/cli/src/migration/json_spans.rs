//! JSON as it is written: a tree whose every value is the piece of text that it was read from.

use postrider_contract::json::check_depth;
use serde::de::IgnoredAny;

/// One value, and where it begins.
#[derive(Debug, PartialEq)]
pub(super) struct Span<'t> {
    pub(super) raw: &'t str,
    /// In bytes, from the beginning of the document.
    pub(super) at: usize,
    pub(super) shape: Shape<'t>,
}

#[derive(Debug, PartialEq)]
pub(super) enum Shape<'t> {
    Object(Vec<Member<'t>>),
    Array(Vec<Span<'t>>),
    Scalar,
}

#[derive(Debug, PartialEq)]
pub(super) struct Member<'t> {
    /// As it reads; as it is written where that is no Unicode text.
    pub(super) name: String,
    /// As it is written, quotes included.
    pub(super) raw_name: &'t str,
    /// In bytes, from the beginning of the document.
    pub(super) at: usize,
    pub(super) value: Span<'t>,
}

impl<'t> Span<'t> {
    /// `None` for what is not one JSON value, or too deep to be an event.
    pub(super) fn parse(text: &'t str) -> Option<Self> {
        check_depth(text.as_bytes()).ok()?;
        serde_json::from_str::<IgnoredAny>(text).ok()?;
        Scanner { text, at: 0 }.value()
    }

    /// Of several members with one name the last, as most readers have it.
    pub(super) fn member(&self, name: &str) -> Option<&Span<'t>> {
        let Shape::Object(members) = &self.shape else { return None };
        members.iter().rev().find(|member| member.name == name).map(|member| &member.value)
    }
}

/// Goes over text that is known to be JSON.
struct Scanner<'t> {
    text: &'t str,
    at: usize,
}

impl<'t> Scanner<'t> {
    fn value(&mut self) -> Option<Span<'t>> {
        let begin = self.skip_blanks()?;
        let shape = match self.peek()? {
            b'{' => Shape::Object(self.members()?),
            b'[' => Shape::Array(self.elements()?),
            b'"' => {
                self.string()?;
                Shape::Scalar
            }
            _ => {
                let rest = &self.text[begin..];
                let is_end = |c: char| matches!(c, ',' | ']' | '}') || c.is_ascii_whitespace();
                self.at = begin + rest.find(is_end).unwrap_or(rest.len());
                Shape::Scalar
            }
        };
        Some(Span { raw: self.text.get(begin..self.at)?, at: begin, shape })
    }

    fn members(&mut self) -> Option<Vec<Member<'t>>> {
        let mut members = Vec::new();
        self.at += 1;
        loop {
            let at = self.skip_blanks()?;
            match self.peek()? {
                b'}' => break,
                b',' => self.at += 1,
                _ => {
                    let raw_name = self.string()?;
                    let name = serde_json::from_str(raw_name).unwrap_or_else(|_| raw_name.to_owned());
                    self.skip_blanks()?;
                    // The colon.
                    self.at += 1;
                    members.push(Member { name, raw_name, at, value: self.value()? });
                }
            }
        }
        self.at += 1;
        Some(members)
    }

    fn elements(&mut self) -> Option<Vec<Span<'t>>> {
        let mut elements = Vec::new();
        self.at += 1;
        loop {
            self.skip_blanks()?;
            match self.peek()? {
                b']' => break,
                b',' => self.at += 1,
                _ => elements.push(self.value()?),
            }
        }
        self.at += 1;
        Some(elements)
    }

    fn string(&mut self) -> Option<&'t str> {
        let begin = self.at;
        self.at += 1;
        loop {
            match self.peek()? {
                b'"' => break,
                b'\\' => self.at += 2,
                _ => self.at += 1,
            }
        }
        self.at += 1;
        self.text.get(begin..self.at)
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    /// Answers where what follows them begins.
    fn skip_blanks(&mut self) -> Option<usize> {
        while self.peek()?.is_ascii_whitespace() {
            self.at += 1;
        }
        Some(self.at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_is_the_text_it_was_read_from() {
        let text = r#" { "a" : [1e400 , {"b":"x\"]}"}, [ ]],"a":-0.10, "\ud800":null } "#;
        let root = Span::parse(text).expect("JSON");
        assert_eq!(root.raw, text.trim());
        assert_eq!(root.member("a").map(|value| (value.raw, value.at)), Some(("-0.10", 42)));
        let Shape::Object(members) = &root.shape else { panic!("not an object") };
        assert_eq!(members[0].value.raw, r#"[1e400 , {"b":"x\"]}"}, [ ]]"#);
        let Shape::Array(elements) = &members[0].value.shape else { panic!("not an array") };
        let raw: Vec<&str> = elements.iter().map(|element| element.raw).collect();
        assert_eq!(raw, ["1e400", r#"{"b":"x\"]}"}"#, "[ ]"]);
        assert_eq!((members[2].name.as_str(), members[2].value.raw), (r#""\ud800""#, "null"));
        for member in members {
            assert!(text[member.at..].starts_with(member.raw_name));
        }
    }

    #[test]
    fn what_is_not_json_has_no_tree() {
        for text in ["", "{", "a=b", "{}{}", "[1,]"] {
            assert_eq!(Span::parse(text), None, "{text}");
        }
        assert_eq!(Span::parse(&"[".repeat(200)), None);
    }
}
