//! Microsoft Teams: an Adaptive Card in a message with attachments, for workflows.

use serde_json::{Value, json};

use super::cutting::{cut, is_blank, json_bytes, shown};
use super::message::{Field, Message};
use crate::profile::Colour;

/// The whole request, in bytes. Teams refuses messages over 28 KiB, but counts them as they are after its own
/// expansion: one of 24,453 bytes was too long.
pub(super) const REQUEST: usize = 20_000;
/// Of which this much is for what stands around the facts; the longest that the limits below allow is less.
const FRAME: usize = 10_000;
/// The newest form that every client of Teams shows.
const CARD_VERSION: &str = "1.4";
/// Our own limits, in bytes of JSON.
const TITLE: usize = 256;
const SUMMARY: usize = 6_000;
const ORIGIN: usize = 1_000;
const FACT_TITLE: usize = 256;
const FACT_VALUE: usize = 2_000;
/// What JSON puts around a fact.
const AROUND_FACT: usize = r#"{"title":"","value":""},"#.len();

const _: () = assert!(TITLE + SUMMARY + ORIGIN + 1_000 < FRAME && FRAME < REQUEST);

pub(super) fn lay_out(message: &Message) -> Value {
    let facts = facts_within(&message.fields, REQUEST - FRAME);
    let title = cut(&message.title, TITLE, json_bytes);
    let mut body = vec![json!({
        "type": "TextBlock", "text": title, "size": "Medium", "weight": "Bolder", "wrap": true,
        "color": message.accent.map_or("Default", nearest_colour),
    })];
    if !is_blank(&message.summary) {
        let summary = cut(&message.summary, SUMMARY, json_bytes);
        body.push(json!({"type": "TextBlock", "text": summary, "wrap": true}));
    }
    let shown = facts.len();
    if shown > 0 {
        body.push(json!({"type": "FactSet", "facts": facts}));
    }
    let origin = format!("{} · {}", message.origin(shown), message.timestamp);
    let origin = cut(&origin, ORIGIN, json_bytes);
    body.push(json!({"type": "TextBlock", "text": origin, "size": "Small", "isSubtle": true, "wrap": true}));
    json!({
        "type": "message",
        "attachments": [{
            "contentType": "application/vnd.microsoft.card.adaptive",
            "contentUrl": null,
            "content": {
                "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
                "type": "AdaptiveCard",
                "version": CARD_VERSION,
                "body": body,
                "msteams": {"width": "full"},
            },
        }],
    })
}

/// Each fact has an equal share of what those before it left.
fn facts_within(fields: &[Field], mut room: usize) -> Vec<Value> {
    let mut facts = Vec::with_capacity(fields.len());
    for (index, field) in fields.iter().enumerate() {
        let share = (room / (fields.len() - index)).saturating_sub(AROUND_FACT);
        let title = shown(cut(&field.name, FACT_TITLE.min(share / 2), json_bytes)).into_owned();
        let left = share.saturating_sub(length(&title));
        let value = shown(cut(&field.value, FACT_VALUE.min(left), json_bytes)).into_owned();
        room = room.saturating_sub(AROUND_FACT + length(&title) + length(&value));
        facts.push(json!({"title": title, "value": value}));
    }
    facts
}

fn length(text: &str) -> usize {
    text.chars().map(json_bytes).sum()
}

/// Cards know colours by what they mean: the one that looks most like the profile's.
fn nearest_colour(colour: Colour) -> &'static str {
    let [_, red, green, blue] = colour.rgb().to_be_bytes().map(i32::from);
    let (most, least) = (red.max(green).max(blue), red.min(green).min(blue));
    if most - least < 40 {
        "Default"
    } else if green == most {
        "Good"
    } else if blue == most {
        "Accent"
    } else if green - blue > (most - least) / 3 {
        "Warning"
    } else {
        "Attention"
    }
}
