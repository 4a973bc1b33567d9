//! Slack: Block Kit, for incoming webhooks.

use serde_json::{Value, json};

use super::cutting::{cut, is_blank, shown, units};
use super::message::{Field, Message};

/// Slack's limits on a message, in characters, from its reference of Block Kit; blocks and elements are fewer than
/// it allows by their making.
pub(super) const HEADER_TEXT: usize = 150;
pub(super) const SECTION_TEXT: usize = 3_000;
pub(super) const FIELDS: usize = 10;
pub(super) const FIELD_TEXT: usize = 2_000;
/// Over all blocks. Slack documents none, and refuses messages of about 13,200.
pub(super) const ALL_TEXTS: usize = 12_000;
/// Our own: the line below the fields, what stands for the message in notifications, and a field's name.
pub(super) const CONTEXT_TEXT: usize = 600;
const FALLBACK_TEXT: usize = 600;
const FIELD_NAME: usize = 200;

pub(super) fn lay_out(message: &Message) -> Value {
    let mut blocks = Vec::new();
    let title = cut(&message.title, HEADER_TEXT, units);
    blocks.push(json!({"type": "header", "text": {"type": "plain_text", "text": title, "emoji": false}}));
    let summary = marked(&message.summary, SECTION_TEXT);
    if !is_blank(&message.summary) {
        blocks.push(json!({"type": "section", "text": text(&summary)}));
    }
    let fields = &message.fields[..message.fields.len().min(FIELDS)];
    let spent = HEADER_TEXT + summary.encode_utf16().count() + CONTEXT_TEXT;
    let fields_text = fields_within(fields, ALL_TEXTS.saturating_sub(spent));
    if !fields_text.is_empty() {
        let fields: Vec<Value> = fields_text.iter().map(|field| text(field)).collect();
        blocks.push(json!({"type": "section", "fields": fields}));
    }
    let origin =
        marked(&format!("{} · {}", message.origin(fields_text.len()), message.timestamp), CONTEXT_TEXT);
    blocks.push(json!({"type": "context", "elements": [text(&origin)]}));
    json!({"text": marked(&message.in_short(), FALLBACK_TEXT), "blocks": blocks})
}

fn text(marked: &str) -> Value {
    json!({"type": "mrkdwn", "text": marked})
}

/// Each field has an equal share of what those before it left.
fn fields_within(fields: &[Field], mut room: usize) -> Vec<String> {
    let mut texts = Vec::with_capacity(fields.len());
    for (index, field) in fields.iter().enumerate() {
        let share = (room / (fields.len() - index)).min(FIELD_TEXT);
        // A name that holds the mark of bold letters ends them early: it is shown without it.
        let name = marked(&shown(field.name.replace('*', "∗").into()), FIELD_NAME);
        let head = format!("*{name}*\n");
        let taken = head.encode_utf16().count();
        let value = marked(&shown((&*field.value).into()), share.saturating_sub(taken));
        let field = head + &value;
        room = room.saturating_sub(field.encode_utf16().count());
        texts.push(field);
    }
    texts
}

/// Text with the three characters escaped that mean something to Slack, so that nothing in it becomes a link, a
/// mention or an alarm for a channel. The limit counts them as they are written.
fn marked(text: &str, limit: usize) -> String {
    let kept = cut(text, limit, |character| match character {
        '&' => "&amp;".len(),
        '<' | '>' => "&lt;".len(),
        other => units(other),
    });
    let mut out = String::with_capacity(kept.len());
    for character in kept.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            other => out.push(other),
        }
    }
    out
}
