//! A JSON document as a tree that loses nothing: numbers are the text that was written, strings the bytes they stand
//! for, and every member of an object is there, duplicates too.
//!
//! One pass makes it; after that, finding a member takes the logarithm of how many its object has, and every value
//! tells its own text. Memory is at most some forty times the text, for the few calls it lives.

use std::borrow::Cow;
use std::ops::Deref;

use serde_json::value::RawValue;

use super::{InvalidJson, RawObject, check_depth};
use crate::data_path::DataPath;

/// One value of a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Node<'a> {
    Null,
    Bool(bool),
    /// As it is written: `12345678901234567890123`, `1e400`, `-0.10`.
    Number(&'a str),
    /// UTF-8, except that an escaped lone surrogate (`\ud800`) is the three bytes that UTF-8 would make of it. No text
    /// holds these, so it equals no text.
    String(Written<'a, Cow<'a, [u8]>>),
    Array(Written<'a, Vec<Node<'a>>>),
    Object(Members<'a>),
}

/// What was read, with the text that it was read from: another spelling of the same is equal to it.
#[derive(Clone, Debug)]
pub struct Written<'a, T> {
    text: &'a [u8],
    read: T,
}

impl<T> Deref for Written<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.read
    }
}

impl<T: PartialEq> PartialEq for Written<'_, T> {
    fn eq(&self, other: &Self) -> bool {
        self.read == other.read
    }
}

impl<T: Eq> Eq for Written<'_, T> {}

impl<'a> Node<'a> {
    /// # Errors
    /// When the text is not one JSON value, or nests too deep.
    pub fn parse(text: &'a str) -> Result<Self, InvalidJson> {
        check_depth(text.as_bytes())?;
        let value: &RawValue = serde_json::from_str(text).map_err(|error| InvalidJson::from_serde(&error))?;
        Ok(Reader { rest: value.get().as_bytes() }.value().unwrap_or(Node::Null))
    }

    /// The object was read as JSON when it came, so nothing is checked again.
    #[must_use]
    pub fn of(object: &'a RawObject) -> Self {
        Reader { rest: object.as_bytes() }.value().unwrap_or(Node::Null)
    }

    /// A member's name, as a value of its own. Its text is the name without quotes: it was written nowhere.
    #[must_use]
    pub fn of_name(name: &'a [u8]) -> Self {
        Node::String(Written { text: name, read: Cow::Borrowed(name) })
    }

    /// Its JSON, as it was written: the quotes of a string, the spaces of an object.
    #[must_use]
    pub fn text(&self) -> &'a [u8] {
        match self {
            Node::Null => b"null",
            Node::Bool(true) => b"true",
            Node::Bool(false) => b"false",
            Node::Number(text) => text.as_bytes(),
            Node::String(string) => string.text,
            Node::Array(elements) => elements.text,
            Node::Object(members) => members.by_name.text,
        }
    }

    /// What the path leads to: through objects by the names of members, through arrays by position, from 0.
    #[must_use]
    pub fn at(&self, path: &DataPath) -> Option<&Node<'a>> {
        path.steps().try_fold(self, |node, step| match node {
            Node::Object(members) => members.last_named(step.as_bytes()),
            Node::Array(elements) => elements.get(position(step)?),
            Node::Null | Node::Bool(_) | Node::Number(_) | Node::String(_) => None,
        })
    }
}

/// A position in an array has one spelling: `0`, `7`, not `07` or `+7`.
fn position(step: &str) -> Option<usize> {
    let is_plain = step.bytes().all(|byte| byte.is_ascii_digit()) && (step == "0" || !step.starts_with('0'));
    if is_plain { step.parse().ok() } else { None }
}

/// The members of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Members<'a> {
    /// By name; those of one name in the order in which they were written.
    by_name: Written<'a, Vec<(Cow<'a, [u8]>, Node<'a>)>>,
}

impl<'a> Members<'a> {
    fn new(text: &'a [u8], mut members: Vec<(Cow<'a, [u8]>, Node<'a>)>) -> Self {
        members.sort_by(|(one, _), (other, _)| one.cmp(other));
        Members { by_name: Written { text, read: members } }
    }

    /// Of several with one name the last, as most readers of JSON have it.
    #[must_use]
    pub fn last_named(&self, name: &[u8]) -> Option<&Node<'a>> {
        let end = self.by_name.partition_point(|(one, _)| one.as_ref() <= name);
        let (found, node) = self.by_name.get(end.checked_sub(1)?)?;
        (found.as_ref() == name).then_some(node)
    }

    /// By name, duplicates too.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &Node<'a>)> {
        self.by_name.iter().map(|(name, node)| (name.as_ref(), node))
    }

    /// A name that is there twice.
    #[must_use]
    pub fn duplicate(&self) -> Option<&[u8]> {
        let pair = self.by_name.windows(2).find(|pair| pair[0].0 == pair[1].0)?;
        Some(pair[0].0.as_ref())
    }
}

/// Reads text that is known to be JSON; what is not, ends in `None`.
struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// No deeper than [`super::MAX_DEPTH`], which was checked before.
    fn value(&mut self) -> Option<Node<'a>> {
        match self.peek()? {
            b'{' => self.object(),
            b'[' => self.array(),
            b'"' => {
                let start = self.rest;
                let read = self.string()?;
                Some(Node::String(Written { text: self.since(start), read }))
            }
            b't' => self.word("true").map(|()| Node::Bool(true)),
            b'f' => self.word("false").map(|()| Node::Bool(false)),
            b'n' => self.word("null").map(|()| Node::Null),
            _ => self.number(),
        }
    }

    /// The next byte that is not white space; it stays.
    fn peek(&mut self) -> Option<u8> {
        self.rest = self.rest.trim_ascii_start();
        self.rest.first().copied()
    }

    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        Some(taken)
    }

    /// What was read since this was left to read.
    fn since(&self, start: &'a [u8]) -> &'a [u8] {
        start.get(..start.len() - self.rest.len()).unwrap_or_default()
    }

    fn word(&mut self, word: &str) -> Option<()> {
        (self.take(word.len())? == word.as_bytes()).then_some(())
    }

    fn number(&mut self) -> Option<Node<'a>> {
        let is_part = |byte: &u8| byte.is_ascii_digit() || matches!(byte, b'-' | b'+' | b'.' | b'e' | b'E');
        let length = self.rest.iter().position(|byte| !is_part(byte)).unwrap_or(self.rest.len());
        let text = std::str::from_utf8(self.take(length)?).ok()?;
        (!text.is_empty()).then_some(Node::Number(text))
    }

    fn array(&mut self) -> Option<Node<'a>> {
        let start = self.rest;
        self.take(1)?;
        let mut elements = Vec::new();
        while self.peek()? != b']' {
            elements.push(self.value()?);
            if self.peek()? == b',' {
                self.take(1)?;
            }
        }
        self.take(1)?;
        Some(Node::Array(Written { text: self.since(start), read: elements }))
    }

    fn object(&mut self) -> Option<Node<'a>> {
        let start = self.rest;
        self.take(1)?;
        let mut members = Vec::new();
        while self.peek()? != b'}' {
            let name = self.string()?;
            (self.peek()? == b':').then_some(())?;
            self.take(1)?;
            members.push((name, self.value()?));
            if self.peek()? == b',' {
                self.take(1)?;
            }
        }
        self.take(1)?;
        Some(Node::Object(Members::new(self.since(start), members)))
    }

    fn string(&mut self) -> Option<Cow<'a, [u8]>> {
        (self.take(1)? == b"\"").then_some(())?;
        let is_special = |byte: &u8| matches!(byte, b'"' | b'\\');
        let plain = self.take(self.rest.iter().position(is_special)?)?;
        if self.rest.first() == Some(&b'"') {
            self.take(1)?;
            return Some(Cow::Borrowed(plain));
        }
        let mut decoded = plain.to_vec();
        loop {
            match self.take(1)? {
                b"\"" => return Some(Cow::Owned(decoded)),
                b"\\" => self.escape(&mut decoded)?,
                other => decoded.extend_from_slice(other),
            }
            let plain = self.take(self.rest.iter().position(is_special)?)?;
            decoded.extend_from_slice(plain);
        }
    }

    fn escape(&mut self, decoded: &mut Vec<u8>) -> Option<()> {
        let plain = match self.take(1)? {
            b"b" => 0x08,
            b"f" => 0x0c,
            b"n" => b'\n',
            b"r" => b'\r',
            b"t" => b'\t',
            b"u" => return self.code_point(decoded),
            other => *other.first()?,
        };
        decoded.push(plain);
        Some(())
    }

    /// After `\u`. Two surrogates that belong together are one character; one alone is kept as its own three bytes.
    fn code_point(&mut self, decoded: &mut Vec<u8>) -> Option<()> {
        let unit = self.hex()?;
        let is_high = (0xd800..0xdc00).contains(&unit);
        if is_high && self.rest.starts_with(b"\\u") {
            let before = self.rest;
            self.take(2)?;
            let low = self.hex()?;
            if (0xdc00..0xe000).contains(&low) {
                let point = 0x1_0000 + ((unit - 0xd800) << 10) + (low - 0xdc00);
                push_character(decoded, char::from_u32(point)?);
                return Some(());
            }
            self.rest = before;
        }
        match char::from_u32(unit) {
            Some(character) => push_character(decoded, character),
            None => {
                let [_, _, high, low] = unit.to_be_bytes();
                decoded.extend([0xe0 | high >> 4, 0x80 | (high & 0xf) << 2 | low >> 6, 0x80 | low & 0x3f]);
            }
        }
        Some(())
    }

    fn hex(&mut self) -> Option<u32> {
        let digits = std::str::from_utf8(self.take(4)?).ok()?;
        u32::from_str_radix(digits, 16).ok()
    }
}

fn push_character(decoded: &mut Vec<u8>, character: char) {
    decoded.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at<'t>(node: &'t Node<'t>, path: &str) -> Option<&'t Node<'t>> {
        node.at(&path.parse().expect("a path"))
    }

    #[test]
    fn numbers_are_the_text_that_was_written() {
        let text = r#"{"a":12345678901234567890123,"b":1e400,"c":-0.10,"d":{"e":[1,{"f":2.50}]}}"#;
        let node = Node::parse(text).expect("JSON");
        for (path, number) in
            [("a", "12345678901234567890123"), ("b", "1e400"), ("c", "-0.10"), ("d.e.1.f", "2.50")]
        {
            assert_eq!(at(&node, path), Some(&Node::Number(number)), "{path}");
        }
        for nowhere in ["z", "a.b", "d.e.2", "d.e.01", "d.e.x", "d.e.-1"] {
            assert_eq!(at(&node, nowhere), None, "{nowhere}");
        }
    }

    #[test]
    fn every_value_tells_its_own_text() {
        let text = r#" {"s": "t\u0065xt" ,"a" : [ 1,{"z": 1.0,"a":[ ]} ],"n":null,"t":true,"f":false} "#;
        let node = Node::parse(text).expect("JSON");
        assert_eq!(node.text(), text.trim().as_bytes());
        for (path, own) in [
            ("s", r#""t\u0065xt""#),
            ("a", r#"[ 1,{"z": 1.0,"a":[ ]} ]"#),
            ("a.1", r#"{"z": 1.0,"a":[ ]}"#),
            ("a.1.z", "1.0"),
            ("a.1.a", "[ ]"),
            ("n", "null"),
            ("t", "true"),
            ("f", "false"),
        ] {
            assert_eq!(at(&node, path).map(Node::text), Some(own.as_bytes()), "{path}");
        }
    }

    #[test]
    fn of_members_with_one_name_the_last_counts() {
        let node = Node::parse(r#"{"b":0,"a":1,"a":2,"\u0061":3,"c":4}"#).expect("JSON");
        assert_eq!(at(&node, "a"), Some(&Node::Number("3")));
        let Node::Object(members) = &node else { panic!("an object") };
        assert_eq!(members.duplicate(), Some(b"a".as_ref()));
    }

    #[test]
    fn a_lone_surrogate_is_kept_and_is_no_text() {
        let node = Node::parse(r#"["\ud83d\ude00","\ud800","\ud800\u0041","\udc00x","\ud800\ud83d\ude00"]"#);
        let Ok(Node::Array(strings)) = node else { panic!("an array") };
        let bytes: Vec<&[u8]> = strings
            .iter()
            .map(|string| if let Node::String(bytes) = string { bytes.as_ref() } else { b"no string" })
            .collect();
        assert_eq!(bytes[0], "😀".as_bytes());
        assert_eq!(bytes[1], b"\xed\xa0\x80");
        assert_eq!(bytes[2], b"\xed\xa0\x80A");
        assert_eq!(bytes[3], b"\xed\xb0\x80x");
        assert_eq!(bytes[4], b"\xed\xa0\x80\xf0\x9f\x98\x80");
    }

    /// A document, and as another reader of JSON has it.
    fn documents() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            Just(serde_json::Value::Null),
            any::<bool>().prop_map(Into::into),
            any::<i64>().prop_map(Into::into),
            any::<String>().prop_map(Into::into),
        ];
        leaf.prop_recursive(5, 60, 6, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..6).prop_map(Into::into),
                proptest::collection::btree_map(any::<String>(), inner, 0..6)
                    .prop_map(|members| serde_json::Value::Object(members.into_iter().collect())),
            ]
        })
    }

    fn is_same(node: &Node<'_>, value: &serde_json::Value) -> bool {
        match (node, value) {
            (Node::Null, serde_json::Value::Null) => true,
            (Node::Bool(one), serde_json::Value::Bool(other)) => one == other,
            (Node::Number(text), serde_json::Value::Number(number)) => *text == number.to_string(),
            (Node::String(bytes), serde_json::Value::String(text)) => bytes.as_ref() == text.as_bytes(),
            (Node::Array(nodes), serde_json::Value::Array(values)) => {
                nodes.len() == values.len()
                    && nodes.iter().zip(values).all(|(one, other)| is_same(one, other))
            }
            (Node::Object(members), serde_json::Value::Object(map)) => {
                members.iter().count() == map.len()
                    && map.iter().all(|(name, value)| {
                        members.last_named(name.as_bytes()).is_some_and(|node| is_same(node, value))
                    })
            }
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn a_document_reads_as_others_read_it(document in documents()) {
            for text in [document.to_string(), serde_json::to_string_pretty(&document).expect("JSON")] {
                prop_assert!(is_same(&Node::parse(&text).expect("JSON"), &document), "{}", text);
            }
        }

        /// What is not JSON cannot come here; if it did, nothing but a wrong value came of it.
        #[test]
        fn whatever_the_bytes_nothing_panics(bytes in proptest::collection::vec(
            prop_oneof![Just(b'"'), Just(b'\\'), Just(b'u'), Just(b'{'), Just(b'}'), Just(b'['), Just(b':'), Just(b','), Just(b'1'), any::<u8>()], 0..40,
        )) {
            let object = RawObject::from_stored(bytes.into());
            drop(Node::of(&object));
        }
    }
}
