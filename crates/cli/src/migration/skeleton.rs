//! Where a profile's body and headers hold what, and what a captured request has there.

use std::borrow::Cow;
use std::collections::BTreeMap;

use postrider_contract::json::pointer_below;
use postrider_contract::pattern::{Piece, Variable};
use postrider_contract::profile::CompiledProfile;
use postrider_contract::rendering::EnvelopeVariable;
use postrider_contract::signature::ValueVariable;
use serde_json::Value;

use super::json_spans::{Member, Shape, Span};
use super::signing::SignaturePlace;
use super::{Expected, Place};
use crate::capture::CapturedRequest;

/// What stands where a variable of the profile would.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Found<'r> {
    pub(super) place: Place,
    /// What it says: a JSON string's content, anything else as it is written.
    pub(super) text: Cow<'r, str>,
    /// As it is written.
    pub(super) raw: Cow<'r, str>,
}

impl Found<'_> {
    /// JSON's `null`, which stands for no value.
    pub(super) fn is_null(&self) -> bool {
        match self.place {
            Place::Body | Place::BodyAt(_) => self.raw == "null",
            Place::Method | Place::Url | Place::Parameter(_) | Place::HeaderOrder | Place::Header(_) => false,
        }
    }
}

/// By the variables' names, which are the same in bodies and headers.
pub(super) fn in_body<'r>(profile: &CompiledProfile, body: &'r [u8]) -> BTreeMap<String, Found<'r>> {
    let mut found = BTreeMap::new();
    let captured = std::str::from_utf8(body).ok().and_then(Span::parse);
    if let (Some(skeleton), Some(captured)) = (skeleton(profile), captured) {
        find(&skeleton, &captured, "", &mut found);
    }
    found
}

/// What stands in the headers, and beside the signatures wherever these stand.
pub(super) fn beside_body<'r>(
    expected: &Expected,
    captured: &'r CapturedRequest,
) -> Vec<(String, Found<'r>)> {
    let mut all = Vec::new();
    let value_of = |name: &str| std::str::from_utf8(&captured.header(name)?.value).ok();
    let found = |name: &str, text: &'r str| {
        let place = Place::Header(name.to_owned());
        Found { place, text: Cow::Borrowed(text), raw: Cow::Borrowed(text) }
    };
    let definition = expected.profile.definition();
    for header in &definition.request.headers {
        let name = header.name.as_str();
        let values = value_of(name).and_then(|value| header.value.capture(value));
        all.extend(
            values
                .into_iter()
                .flatten()
                .map(|(variable, text)| (variable.name().to_owned(), found(name, text))),
        );
    }
    let signature = definition.signature.as_ref().zip(SignaturePlace::of(expected));
    if let Some((rule, stands)) = signature
        && let Some(value) = stands.captured_text(captured)
    {
        for (variable, text) in rule.value.capture(&value).unwrap_or_default() {
            let text = Cow::<str>::Owned(text.to_owned());
            match variable {
                ValueVariable::Text(variable) => {
                    let found = Found { place: stands.is_known_as(), text: text.clone(), raw: text };
                    all.push((variable.name().to_owned(), found));
                }
                ValueVariable::Signatures => {}
            }
        }
    }
    all
}

/// Stands for the members that the event's own are among.
const MEMBERS: &str = "${event.data.members}";

/// The envelope as JSON, each variable as a string that says which it is.
fn skeleton(profile: &CompiledProfile) -> Option<Value> {
    let mut text = String::new();
    for piece in profile.definition().envelope.body.pieces() {
        match piece {
            Piece::Literal(literal) => text.push_str(literal),
            // Is written with the comma before it.
            Piece::Variable(EnvelopeVariable::EventDataMembers) => {
                text.push_str(&format!(",\"{MEMBERS}\":null"));
            }
            Piece::Variable(variable) => text.push_str(&format!("\"${{{}}}\"", variable.name())),
        }
    }
    serde_json::from_str(&text).ok()
}

fn named(text: &str) -> Option<EnvelopeVariable> {
    EnvelopeVariable::from_name(text.strip_prefix("${")?.strip_suffix('}')?)
}

fn find<'r>(skeleton: &Value, captured: &Span<'r>, pointer: &str, found: &mut BTreeMap<String, Found<'r>>) {
    let place = || if pointer.is_empty() { Place::Body } else { Place::BodyAt(pointer.to_owned()) };
    match skeleton {
        Value::String(text) => {
            if let Some(variable) = named(text) {
                let (place, raw) = (place(), Cow::Borrowed(captured.raw));
                found.insert(variable.name().to_owned(), Found { place, text: text_of(captured.raw), raw });
            }
        }
        Value::Object(members) => {
            for (name, below) in members {
                if name == MEMBERS {
                    let raw = Cow::<str>::Owned(other_members(captured, members));
                    let variable = EnvelopeVariable::EventDataMembers.name().to_owned();
                    found.insert(variable, Found { place: place(), text: raw.clone(), raw });
                } else if let Some(value) = captured.member(name) {
                    find(below, value, &pointer_below(pointer, name), found);
                }
            }
        }
        Value::Array(elements) => {
            if let Shape::Array(captured) = &captured.shape {
                for (index, (element, captured)) in elements.iter().zip(captured).enumerate() {
                    find(element, captured, &format!("{pointer}/{index}"), found);
                }
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn text_of(raw: &str) -> Cow<'_, str> {
    match serde_json::from_str::<String>(raw) {
        Ok(text) => Cow::Owned(text),
        Err(_) => Cow::Borrowed(raw),
    }
}

/// The members that are not the envelope's own, as an object: as they are written, if they stand together.
fn other_members(captured: &Span<'_>, own: &serde_json::Map<String, Value>) -> String {
    let Shape::Object(members) = &captured.shape else { return captured.raw.to_owned() };
    let others = members.iter().enumerate().filter(|(_, member)| !own.contains_key(&member.name));
    let others: Vec<(usize, &Member<'_>)> = others.collect();
    let (Some((first, begin)), Some((last, end))) = (others.first(), others.last()) else {
        return "{}".to_owned();
    };
    let text =
        |from: usize, to: usize| captured.raw.get(from - captured.at..to - captured.at).unwrap_or_default();
    let end_of = |member: &Member<'_>| member.value.at + member.value.raw.len();
    if last - first + 1 == others.len() {
        return format!("{{{}}}", text(begin.at, end_of(end)));
    }
    let each: Vec<&str> = others.iter().map(|(_, member)| text(member.at, end_of(member))).collect();
    format!("{{{}}}", each.join(","))
}
