//! A template filled in for one event.

use std::sync::LazyLock;

use bytes::Bytes;

use super::data::Wanted;
use super::variable::Source;
use super::{LoneVariables, Piece, Template, Variable};
use crate::event::Event;
use crate::json::{RawObject, write_escaped};
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

/// A variable's value.
#[derive(Clone, Copy)]
enum Value<'v> {
    /// Not there.
    None,
    /// Text that has to be escaped.
    Text(&'v str),
    /// JSON, as it was written.
    Json(&'v str),
}

impl<'v> Value<'v> {
    fn of_text(text: Option<&'v str>) -> Self {
        text.map_or(Value::None, Value::Text)
    }

    /// JSON's `null` is no value either.
    fn of_json(json: Option<&'v str>) -> Self {
        match json {
            None | Some("null") => Value::None,
            Some(json) => Value::Json(json),
        }
    }
}

/// What variables stand for, for one event.
struct Values<'v> {
    event: &'v Event,
    tenant: &'v Tenant,
    timestamp: String,
    data: Vec<Option<&'v str>>,
}

impl<'v> Values<'v> {
    fn of(&'v self, source: Source) -> Value<'v> {
        let (event, tenant) = (self.event, self.tenant);
        match source {
            Source::BrandId => Value::Text(tenant.id.as_str()),
            Source::BrandName => Value::Text(&tenant.name),
            Source::BrandWebsite => Value::of_text(tenant.website.as_deref()),
            Source::EventId => Value::Text(event.id.as_str()),
            Source::EventType => Value::Text(event.event_type.as_str()),
            Source::Summary => Value::of_text(event.summary.as_deref()),
            Source::WorkflowName => Value::of_json(event.workflow.as_ref().and_then(name_of)),
            Source::Timestamp => Value::Text(&self.timestamp),
            Source::EventData(slot) => Value::of_json(self.data.get(slot).copied().flatten()),
        }
    }

    /// Whether the event's data should have held it, and does not.
    fn lacks(&self, source: Source) -> bool {
        match source {
            Source::EventData(slot) => self.data.get(slot).is_none_or(Option::is_none),
            Source::BrandId
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

/// A workflow is an object of the producer's own; its name need not be there.
fn name_of(workflow: &RawObject) -> Option<&str> {
    static NAME: LazyLock<Wanted> = LazyLock::new(|| {
        let mut wanted = Wanted::default();
        wanted.ask(&["name".to_owned()], 0);
        wanted
    });
    let text = std::str::from_utf8(workflow.as_bytes()).ok()?;
    NAME.find(text, 1).into_iter().next().flatten()
}

impl Template {
    /// The body for an event: valid JSON, at most [`MAX_BODY`](super::MAX_BODY) long.
    #[must_use]
    pub fn fill(&self, event: &Event, tenant: &Tenant) -> Filled {
        let template = &*self.parsed;
        let data = std::str::from_utf8(event.data.as_bytes()).unwrap_or("{}");
        let data = template.wanted.find(data, template.slots);
        let values = Values { event, tenant, timestamp: event.timestamp.to_string(), data };
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
    fn put(&mut self, variable: &Variable, values: &Values<'_>, write: fn(Value<'_>, &mut Vec<u8>)) {
        let value = values.of(variable.source);
        if values.lacks(variable.source) {
            self.note(variable, GapReason::Missing);
        }
        let start = self.out.len();
        let is_written = match value {
            // There is always room for it.
            Value::None => return write(value, &mut self.out),
            // But for its quotes no value becomes shorter: what is much too long is not even written.
            Value::Text(text) | Value::Json(text) => text.len() <= self.room,
        };
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
            Some(content) => out.extend_from_slice(content.as_bytes()),
            None => write_escaped(out, json),
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
        Value::Json(json) => out.extend_from_slice(json.as_bytes()),
    }
}

/// What stands between the quotes of a JSON string.
fn content_of(json: &str) -> Option<&str> {
    json.strip_prefix('"')?.strip_suffix('"')
}
