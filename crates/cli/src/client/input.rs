//! What is typed after a command, made into what it means: files, headers, times.

use std::str::FromStr;

use bytes::Bytes;
use http::{HeaderName, HeaderValue};
use postrider_contract::clock::Timestamp;
use postrider_contract::json::RawObject;
use postrider_contract::profile::Span;
use serde_json::{Map, Value};

use super::error::ClientError;
use crate::input_file::{InputFileError, place_of, read_input};

/// The most that `POST /v1/events` takes, and room to say so: larger files are not even read.
const MAX_DATA: u64 = 2 * 1024 * 1024;
/// A thousand events to a request, and a good many requests.
const MAX_BATCH: u64 = 1024 * 1024 * 1024;

/// `name: value`, as it is written in a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderArgument {
    pub(super) name: String,
    pub(super) value: String,
}

impl FromStr for HeaderArgument {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, value) = text.split_once(':').ok_or("must be 'Name: value'")?;
        let (name, value) = (name.trim(), value.trim());
        HeaderName::from_str(name).map_err(|_| format!("{name:?} is not the name of a header"))?;
        HeaderValue::from_str(value).map_err(|_| "the value may not hold control characters".to_owned())?;
        Ok(HeaderArgument { name: name.to_owned(), value: value.to_owned() })
    }
}

/// Headers as the API takes them: an object of names and values.
pub(super) fn header_object(headers: Vec<HeaderArgument>) -> Option<Value> {
    if headers.is_empty() {
        return None;
    }
    let members = headers.into_iter().map(|header| (header.name, Value::String(header.value)));
    Some(Value::Object(members.collect::<Map<_, _>>()))
}

/// `name=value`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetadataArgument {
    pub(super) name: String,
    pub(super) value: String,
}

impl FromStr for MetadataArgument {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (name, value) = text.split_once('=').ok_or("must be name=value")?;
        Ok(MetadataArgument { name: name.to_owned(), value: value.to_owned() })
    }
}

/// A moment: RFC 3339, or how long ago.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeArgument {
    At(Timestamp),
    Ago(Span),
}

impl TimeArgument {
    pub(super) fn resolve(self, now: Timestamp) -> Timestamp {
        match self {
            TimeArgument::At(time) => time,
            TimeArgument::Ago(span) => now.minus(span.duration()),
        }
    }
}

impl FromStr for TimeArgument {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let ago = || text.parse().map(TimeArgument::Ago);
        let at = text.parse().map(TimeArgument::At);
        at.or_else(|_| ago())
            .map_err(|_| "must be a time (2026-11-21T09:30:00Z) or how long ago (15m, 24h, 7d)")
    }
}

/// Where bytes come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Source<'a> {
    Text(&'a str),
    File(&'a str),
    StandardInput,
}

impl<'a> Source<'a> {
    /// `@file`, `@-` for standard input, else the text itself.
    pub(super) fn of_data(text: &'a str) -> Self {
        match text.strip_prefix('@') {
            Some("-") => Source::StandardInput,
            Some(path) => Source::File(path),
            None => Source::Text(text),
        }
    }

    /// A path; `-` and `@-` for standard input. A leading `@` is taken as in `--data`.
    pub(super) fn of_path(text: &'a str) -> Self {
        match text.strip_prefix('@').unwrap_or(text) {
            "-" => Source::StandardInput,
            path => Source::File(path),
        }
    }

    /// More than `limit` bytes are refused, and not read.
    fn read(&self, limit: u64) -> Result<Vec<u8>, ClientError> {
        let path = match self {
            Source::Text(text) => return Ok(text.as_bytes().to_vec()),
            Source::File(path) => path,
            Source::StandardInput => "-",
        };
        read_input(path, limit).map_err(|error| match error {
            InputFileError::Unreadable(source) => {
                ClientError::File { what: "cannot read", path: self.name().to_owned(), source }
            }
            InputFileError::TooLong => {
                ClientError::Usage(format!("{} is larger than {} MiB", self.name(), limit / 1024 / 1024))
            }
        })
    }

    fn name(&self) -> &'a str {
        match self {
            Source::Text(_) => "--data",
            Source::File(path) => path,
            Source::StandardInput => place_of("-"),
        }
    }
}

/// The data of one event, byte for byte.
///
/// # Errors
/// When it cannot be read or is not one JSON object; says where.
pub(super) fn read_data(source: &Source<'_>) -> Result<RawObject, ClientError> {
    let bytes = Bytes::from(source.read(MAX_DATA)?);
    let hint = match source {
        Source::Text(text) if std::path::Path::new(text).exists() => {
            format!("; for the file write --data @{text}")
        }
        Source::Text(_) | Source::File(_) | Source::StandardInput => String::new(),
    };
    RawObject::parse(bytes).map_err(|error| ClientError::Usage(format!("{}: {error}{hint}", source.name())))
}

/// A text, byte for byte.
///
/// # Errors
/// When it cannot be read, or is not UTF-8.
pub(super) fn read_text(source: &Source<'_>) -> Result<String, ClientError> {
    let not_text = |_| ClientError::Usage(format!("{} is not text in UTF-8", source.name()));
    String::from_utf8(source.read(MAX_DATA)?).map_err(not_text)
}

/// # Errors
/// When it cannot be read.
pub(super) fn read_batch(source: &Source<'_>) -> Result<Bytes, ClientError> {
    source.read(MAX_BATCH).map(Bytes::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_comes_from_a_file_from_standard_input_or_as_it_is() {
        assert_eq!(Source::of_data("@a.json"), Source::File("a.json"));
        assert_eq!(Source::of_data("@-"), Source::StandardInput);
        assert_eq!(Source::of_data("{}"), Source::Text("{}"));
        assert_eq!(Source::of_path("-"), Source::StandardInput);
        assert_eq!(Source::of_path("a.ndjson"), Source::File("a.ndjson"));
    }

    #[test]
    fn data_is_kept_byte_for_byte_and_must_be_one_object() {
        let text = r#"{ "n": 12345678901234567890123, "a":1,"a":2 }"#;
        let object = read_data(&Source::Text(text)).expect("an object");
        assert_eq!(object.as_bytes().as_ref(), text.as_bytes());
        for text in ["", "[]", "{", "{} {}", "{a:1}"] {
            assert!(matches!(read_data(&Source::Text(text)), Err(ClientError::Usage(_))), "{text}");
        }
    }

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let error = read_data(&Source::File("no/such/file.json")).err().map(|error| error.to_string());
        assert!(error.is_some_and(|text| text.contains("no/such/file.json")));
    }

    #[test]
    fn a_header_is_a_name_and_a_value() {
        let header: HeaderArgument = "X-Api-Key:  a:b ".parse().expect("a header");
        assert_eq!((header.name.as_str(), header.value.as_str()), ("X-Api-Key", "a:b"));
        for text in ["X-Api-Key", "a b: c", ": c", "A: b\nC: d"] {
            assert!(text.parse::<HeaderArgument>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_moment_is_a_time_or_how_long_ago() {
        let now: Timestamp = "2026-11-21T09:30:00Z".parse().expect("a time");
        let resolve = |text: &str| text.parse::<TimeArgument>().map(|time| time.resolve(now).to_string());
        assert_eq!(resolve("1h30m"), Ok("2026-11-21T08:00:00.000Z".to_owned()));
        assert_eq!(resolve("2026-11-21T08:00:00+01:00"), Ok("2026-11-21T07:00:00.000Z".to_owned()));
        assert!(resolve("yesterday").is_err());
    }
}
