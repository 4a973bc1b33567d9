//! Text as somebody might send it: JSON with everything odd that JSON allows, and text that was damaged on its way.

use bytes::Bytes;
use postrider_contract::catalogue::SchemaCheck;
use postrider_contract::clock::Timestamp;
use postrider_contract::event::{Event, SchemaVersion};
use postrider_contract::json::RawObject;
use postrider_contract::profile::builtin_profiles;
use postrider_contract::tenant::Tenant;
use proptest::prelude::*;
use proptest::sample::{Index, select};

/// The content of a JSON string, with what has a meaning somewhere.
pub fn content() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        3 => "[a-zA-Z0-9 ._/:-]{0,12}",
        1 => select(vec![
            "\\\"", "\\\\", "\\/", "\\n", "\\u0000", "\\ud800", "\\udc00\\ud800", "\\ud83d\\ude00", "é", "😀", "\u{2028}",
            "{{", "}}", "{", "}", "${", "${event.data}", "$", "%", "<!--", "\\u007b{", "'",
        ])
        .prop_map(str::to_owned),
    ];
    prop::collection::vec(piece, 0..5).prop_map(|pieces| pieces.concat())
}

fn number() -> impl Strategy<Value = String> {
    "-?(0|[1-9][0-9]{0,30})(\\.[0-9]{1,20})?([eE][+-]?[0-9]{1,6})?"
}

/// Names that members have here and there, so that paths lead somewhere.
pub fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => select(vec!["a", "b", "c", "id", "type", "0", "1", "a.b", "a/b", "a~b", "", "\\u0061", "\\ud800"])
            .prop_map(str::to_owned),
        1 => content(),
    ]
}

/// A JSON value as it may be written.
pub fn json() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        select(vec!["null", "true", "false", "1e400", "-0.0", "12345678901234567890123"])
            .prop_map(str::to_owned),
        number(),
        content().prop_map(|content| format!("\"{content}\"")),
    ];
    leaf.prop_recursive(5, 40, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5)
                .prop_flat_map(|values| (Just(values), blank()))
                .prop_map(|(values, blank)| format!("[{blank}{}{blank}]", values.join(&format!("{blank},")))),
            object_of(inner),
        ]
    })
}

fn object_of(value: impl Strategy<Value = String>) -> impl Strategy<Value = String> {
    (prop::collection::vec((name(), value), 0..5), blank()).prop_map(|(members, blank)| {
        let members: Vec<String> =
            members.iter().map(|(name, value)| format!("\"{name}\"{blank}:{value}")).collect();
        format!("{{{blank}{}{blank}}}", members.join(&format!(",{blank}")))
    })
}

/// What an event's `data` may be.
pub fn object() -> impl Strategy<Value = String> {
    object_of(json())
}

fn blank() -> impl Strategy<Value = &'static str> {
    select(vec!["", " ", "\n\t"])
}

/// The same text, or one that lost, gained or doubled something.
pub fn damaged(text: impl Strategy<Value = String>) -> impl Strategy<Value = String> {
    let damage = (any::<Index>(), any::<Index>(), "[\\x00-\\x7f]{0,3}", 0_u8..4);
    (text, prop::collection::vec(damage, 0..4)).prop_map(|(text, damages)| {
        damages.into_iter().fold(text, |text, (from, to, more, way)| {
            let places: Vec<usize> =
                text.char_indices().map(|(place, _)| place).chain([text.len()]).collect();
            let (one, other) = (*from.get(&places), *to.get(&places));
            let (begin, end) = (one.min(other), one.max(other));
            match way {
                0 => [&text[..begin], &text[end..]].concat(),
                1 => [&text[..end], &text[begin..]].concat(),
                2 => [&text[..begin], more.as_str(), &text[begin..]].concat(),
                _ => text,
            }
        })
    })
}

pub fn event(data: &str) -> Option<Event> {
    Some(Event {
        id: "evt_1".parse().ok()?,
        tenant: "acme".parse().ok()?,
        event_type: "conversion.created".parse().ok()?,
        schema_version: SchemaVersion::FIRST,
        timestamp: Timestamp::from_millis(1_795_253_400_123),
        accepted_at: Timestamp::from_millis(1_795_253_401_000),
        data: RawObject::parse(Bytes::copy_from_slice(data.as_bytes())).ok()?,
        summary: Some("it \"rose\"\n\u{0}".to_owned()),
        workflow: RawObject::parse(Bytes::from_static(br#"{"name":"W\ud800"}"#)).ok(),
    })
}

pub fn tenant() -> Tenant {
    Tenant {
        id: "acme".parse().expect("an id"),
        name: "A \"brand\\\" é\u{0}".to_owned(),
        website: None,
        profile: builtin_profiles()[0].name().clone(),
        schema_check: SchemaCheck::Off,
        created_at: Timestamp::EPOCH,
        updated_at: Timestamp::EPOCH,
    }
}

pub fn is_json(bytes: &[u8]) -> bool {
    serde_json::from_slice::<&serde_json::value::RawValue>(bytes).is_ok()
}
