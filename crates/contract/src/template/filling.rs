//! A template filled in for one event.

use bytes::Bytes;

use super::variable::Source;
use super::{LoneVariables, Piece, Template, Variable};
use crate::event::EventReading;
use crate::json::{Node, write_escaped, write_escaped_bytes};
use crate::tenant::Tenant;

/// A body, and what is not in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filled {
    pub body: Bytes,
    /// Each variable once.
    pub gaps: Vec<Gap>,
}

/// A variable that is not in the body as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gap {
    /// As the template names it.
    pub variable: String,
    pub reason: GapReason,
}

/// Why a variable was left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GapReason {
    /// The event's data has no such field.
    Missing,
    /// The body would have become longer than [`MAX_BODY`](super::MAX_BODY).
    NoRoom,
}

impl GapReason {
    /// As the API writes it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            GapReason::Missing => "missing",
            GapReason::NoRoom => "no_room",
        }
    }
}

/// A variable's value.
#[derive(Clone, Copy)]
enum Value<'v> {
    /// Not there.
    None,
    /// Text that has to be escaped.
    Text(&'v str),
    /// JSON, as it was written.
    Json(&'v [u8]),
}

impl<'v> Value<'v> {
    fn of_text(text: Option<&'v str>) -> Self {
        text.map_or(Value::None, Value::Text)
    }

    /// JSON's `null` is no value either.
    fn of_node(node: Option<&Node<'v>>) -> Self {
        match node {
            None | Some(Node::Null) => Value::None,
            Some(node) => Value::Json(node.text()),
        }
    }

    fn length(self) -> usize {
        match self {
            Value::None => 0,
            Value::Text(text) => text.len(),
            Value::Json(json) => json.len(),
        }
    }
}

/// What variables stand for, for one event.
struct Values<'v, 'e> {
    reading: &'v EventReading<'e>,
    tenant: &'v Tenant,
    timestamp: String,
}

impl<'e> Values<'_, 'e> {
    fn of(&self, source: &Source) -> Value<'_> {
        let (event, tenant) = (self.reading.event(), self.tenant);
        match source {
            Source::BrandId => Value::Text(tenant.id.as_str()),
            Source::BrandName => Value::Text(&tenant.name),
            Source::BrandWebsite => Value::of_text(tenant.website.as_deref()),
            Source::EventId => Value::Text(event.id.as_str()),
            Source::EventType => Value::Text(event.event_type.as_str()),
            Source::Summary => Value::of_text(event.summary.as_deref()),
            Source::WorkflowName => Value::of_node(self.workflow_name()),
            Source::Timestamp => Value::Text(&self.timestamp),
            Source::EventData => Value::Json(event.data.as_bytes()),
            Source::InEventData(path) => Value::of_node(self.reading.data().at(path)),
        }
    }

    /// A workflow is an object of the producer's own; its name need not be there.
    fn workflow_name(&self) -> Option<&Node<'e>> {
        match self.reading.workflow()? {
            Node::Object(members) => members.last_named(b"name"),
            Node::Null | Node::Bool(_) | Node::Number(_) | Node::String(_) | Node::Array(_) => None,
        }
    }

    /// Whether the event's data should have held it, and does not.
    fn lacks(&self, source: &Source) -> bool {
        match source {
            Source::InEventData(path) => self.reading.data().at(path).is_none(),
            Source::EventData
            | Source::BrandId
            | Source::BrandName
            | Source::BrandWebsite
            | Source::EventId
            | Source::EventType
            | Source::Summary
            | Source::WorkflowName
            | Source::Timestamp => false,
        }
    }
}

impl Template {
    /// The body for an event: valid JSON, at most [`MAX_BODY`](super::MAX_BODY) long.
    #[must_use]
    pub fn fill(&self, reading: &EventReading<'_>, tenant: &Tenant) -> Filled {
        let template = &*self.parsed;
        let values = Values { reading, tenant, timestamp: reading.event().timestamp.to_string() };
        let mut body = Body { out: Vec::new(), room: template.room, gaps: Vec::new() };
        for piece in &template.pieces {
            match piece {
                Piece::Literal(literal) => body.out.extend_from_slice(literal.as_bytes()),
                Piece::Within(variable) => body.put(variable, &values, within),
                Piece::Alone(variable) => match self.lone_variables {
                    LoneVariables::Text => body.put(variable, &values, alone_as_text),
                    LoneVariables::Typed => body.put(variable, &values, alone_as_itself),
                },
            }
        }
        Filled { body: Bytes::from(body.out), gaps: body.gaps }
    }
}

/// A body in the making.
struct Body {
    out: Vec<u8>,
    /// Bytes that variables may still take.
    room: usize,
    gaps: Vec<Gap>,
}

impl Body {
    fn put(&mut self, variable: &Variable, values: &Values<'_, '_>, write: fn(Value<'_>, &mut Vec<u8>)) {
        let value = values.of(&variable.source);
        if matches!(value, Value::None) {
            if values.lacks(&variable.source) {
                self.note(variable, GapReason::Missing);
            }
            // There is always room for it.
            return write(value, &mut self.out);
        }
        let start = self.out.len();
        // But for its quotes no value becomes shorter: what is much too long is not even written.
        let is_written = value.length() <= self.room;
        if is_written {
            write(value, &mut self.out);
        }
        let taken = self.out.len() - start;
        if is_written && taken <= self.room {
            self.room -= taken;
            return;
        }
        self.out.truncate(start);
        self.note(variable, GapReason::NoRoom);
        write(Value::None, &mut self.out);
    }

    fn note(&mut self, variable: &Variable, reason: GapReason) {
        if !self.gaps.iter().any(|gap| *gap.variable == *variable.name) {
            self.gaps.push(Gap { variable: variable.name.to_string(), reason });
        }
    }
}

/// Inside a string: a string's content, anything else as its JSON text, nothing where there is no value.
fn within(value: Value<'_>, out: &mut Vec<u8>) {
    match value {
        Value::None => {}
        Value::Text(text) => write_escaped(out, text),
        Value::Json(json) => match content_of(json) {
            // It was valid between its quotes, so it is between these.
            Some(content) => out.extend_from_slice(content),
            None => write_escaped_bytes(out, json),
        },
    }
}

fn alone_as_text(value: Value<'_>, out: &mut Vec<u8>) {
    match value {
        Value::None => out.extend_from_slice(b"null"),
        Value::Text(_) | Value::Json(_) => {
            out.push(b'"');
            within(value, out);
            out.push(b'"');
        }
    }
}

fn alone_as_itself(value: Value<'_>, out: &mut Vec<u8>) {
    match value {
        Value::None | Value::Text(_) => alone_as_text(value, out),
        Value::Json(json) => out.extend_from_slice(json),
    }
}

/// What stands between the quotes of a JSON string.
fn content_of(json: &[u8]) -> Option<&[u8]> {
    json.strip_prefix(b"\"")?.strip_suffix(b"\"")
}
