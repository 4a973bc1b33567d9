//! Where two requests differ, in words that a command line takes too.

use std::fmt;
use std::str::FromStr;

/// A part of a request.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    Method,
    Url,
    /// `query:sig`: the parameter in which the signature stands.
    Parameter(String),
    /// `header-order`.
    HeaderOrder,
    /// `header:X-Signature`.
    Header(String),
    /// The body as a whole.
    Body,
    /// `body:/data/amount`: a value of the body, by its pointer (RFC 6901), and what is in it.
    BodyAt(String),
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("must be method, url, query:NAME, header-order, header:NAME, body, or body:/POINTER")]
pub struct InvalidPlace;

impl Place {
    /// Whether a difference there is one that this place, given by the operator, stands for.
    #[must_use]
    pub fn covers(&self, other: &Place) -> bool {
        match (self, other) {
            (Place::Header(one), Place::Header(other)) => one.eq_ignore_ascii_case(other),
            (Place::BodyAt(one), Place::BodyAt(other)) => {
                other.strip_prefix(one.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            }
            (
                Place::Method
                | Place::Url
                | Place::Parameter(_)
                | Place::HeaderOrder
                | Place::Header(_)
                | Place::Body
                | Place::BodyAt(_),
                _,
            ) => self == other,
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Method => f.write_str("method"),
            Place::Url => f.write_str("url"),
            Place::Parameter(name) => write!(f, "query:{name}"),
            Place::HeaderOrder => f.write_str("header-order"),
            Place::Header(name) => write!(f, "header:{name}"),
            Place::Body => f.write_str("body"),
            Place::BodyAt(pointer) => write!(f, "body:{pointer}"),
        }
    }
}

impl FromStr for Place {
    type Err = InvalidPlace;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once(':') {
            None if text == "method" => Ok(Place::Method),
            None if text == "url" => Ok(Place::Url),
            None if text == "header-order" => Ok(Place::HeaderOrder),
            None if text == "body" => Ok(Place::Body),
            Some(("query", name)) if !name.is_empty() => Ok(Place::Parameter(name.to_owned())),
            Some(("header", name)) if !name.is_empty() => Ok(Place::Header(name.to_owned())),
            Some(("body", pointer)) if pointer.starts_with('/') => Ok(Place::BodyAt(pointer.to_owned())),
            None | Some(_) => Err(InvalidPlace),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(text: &str) -> Place {
        text.parse().expect(text)
    }

    #[test]
    fn a_place_is_read_as_it_is_written() {
        for text in ["method", "url", "query:sig", "header-order", "header:X-A", "body", "body:/data/a~1b"] {
            assert_eq!(place(text).to_string(), text);
        }
        for text in ["", "header", "header:", "query", "query:", "body:", "body:data", "status"] {
            assert_eq!(text.parse::<Place>(), Err(InvalidPlace), "{text}");
        }
    }

    #[test]
    fn a_place_covers_itself_and_what_is_in_it() {
        for (one, other) in
            [("header:x-a", "header:X-A"), ("body:/a", "body:/a"), ("body:/a", "body:/a/0"), ("url", "url")]
        {
            assert!(place(one).covers(&place(other)), "{one} {other}");
        }
        for (one, other) in [
            ("header:x", "header:X-A"),
            ("body:/a", "body:/ab"),
            ("body:/a/0", "body:/a"),
            ("body", "body:/a"),
            ("url", "query:sig"),
        ] {
            assert!(!place(one).covers(&place(other)), "{one} {other}");
        }
    }
}
