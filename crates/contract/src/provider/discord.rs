//! Discord: one embed.

use serde_json::{Map, Value, json};

use super::cutting::{cut, is_blank, shown, units};
use super::message::Message;

/// Discord's limits on an embed, in characters, from its documentation of webhooks.
pub(super) const TITLE: usize = 256;
pub(super) const DESCRIPTION: usize = 4_096;
pub(super) const FIELDS: usize = 25;
pub(super) const FIELD_NAME: usize = 256;
pub(super) const FIELD_VALUE: usize = 1_024;
pub(super) const FOOTER: usize = 2_048;
/// Over title, description, fields and footer together.
pub(super) const ALL_TEXTS: usize = 6_000;
/// Our own limits, so that there is room for each part.
const OWN_DESCRIPTION: usize = 2_000;
const OWN_FOOTER: usize = 500;

const _: () = assert!(OWN_DESCRIPTION <= DESCRIPTION && OWN_FOOTER <= FOOTER);
const _: () = assert!(TITLE + OWN_DESCRIPTION + OWN_FOOTER < ALL_TEXTS);

pub(super) fn lay_out(message: &Message) -> Value {
    let title = cut(&message.title, TITLE, units);
    let description = cut(&message.summary, OWN_DESCRIPTION, units);
    let footer_room = OWN_FOOTER;
    let mut room = ALL_TEXTS - footer_room - length(&title) - length(&description);
    let count = message.fields.len().min(FIELDS);
    let mut fields = Vec::with_capacity(count);
    for (index, field) in message.fields[..count].iter().enumerate() {
        // Each field has an equal share of what those before it left.
        let share = room / (count - index);
        let name = shown(cut(&field.name, FIELD_NAME.min(share / 2), units)).into_owned();
        let value = shown(cut(&field.value, FIELD_VALUE.min(share.saturating_sub(length(&name))), units))
            .into_owned();
        room = room.saturating_sub(length(&name) + length(&value));
        let is_short = length(&value) <= 40;
        fields.push(json!({"name": name, "value": value, "inline": is_short}));
    }
    let mut embed = Map::new();
    embed.insert("title".to_owned(), json!(title));
    if !is_blank(&description) {
        embed.insert("description".to_owned(), json!(description));
    }
    if let Some(colour) = message.accent {
        embed.insert("color".to_owned(), json!(colour.rgb()));
    }
    embed.insert("footer".to_owned(), json!({"text": cut(&message.origin(count), footer_room, units)}));
    embed.insert("timestamp".to_owned(), json!(message.timestamp));
    embed.insert("fields".to_owned(), Value::Array(fields));
    // Nobody is called by what stands in an event.
    json!({"embeds": [embed], "allowed_mentions": {"parse": []}})
}

fn length(text: &str) -> usize {
    text.encode_utf16().count()
}
