//! The form of profiles as JSON Schema (draft 2020-12), for editors and for checks outside this program.
//!
//! Written beside the types, with the variables and bounds taken from the code that enforces them; a test takes every
//! member of the types out of a whole profile and compares what the reader then says with what stands here. What only
//! the whole shows (an envelope that gives no JSON, a signed text that no header carries) no schema can say:
//! [`Profile::compile`](super::Profile::compile) does.

use serde_json::{Map, Value, json};

use super::compiled::{MAX_DESCRIPTION, MAX_HEADERS, MAX_RESERVED, MAX_RESERVED_NAME};
use super::secret_rule::MAX_SECRET_BYTES;
use super::signing_check::MAX_SEPARATOR;
use crate::pattern::{MAX_PATTERN, Variable};
use crate::rendering::EnvelopeVariable;
use crate::retry::MAX_WAITS;
use crate::signature::{EachVariable, SignedVariable, TextVariable, ValueVariable};

const STATUS: &str = "^([1-9]xx|[1-9][0-9]{2}(-[1-9][0-9]{2})?)$";
const SPAN: &str = "^(?=.)([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?([0-9]+ms)?$";
const HEADER_NAME: &str = "^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,128}$";

/// One member of an object.
struct Member {
    name: &'static str,
    schema: Value,
    is_required: bool,
}

fn required(name: &'static str, description: &str, schema: Value) -> Member {
    Member { name, schema: with("description", description.into(), schema), is_required: true }
}

fn optional(name: &'static str, description: &str, schema: Value) -> Member {
    Member { is_required: false, ..required(name, description, schema) }
}

fn defaulted(name: &'static str, default: Value, description: &str, schema: Value) -> Member {
    optional(name, description, with("default", default, schema))
}

fn with(name: &str, value: Value, mut schema: Value) -> Value {
    schema[name] = value;
    schema
}

fn object(members: Vec<Member>) -> Value {
    let required: Vec<&str> =
        members.iter().filter(|member| member.is_required).map(|member| member.name).collect();
    let mut schema = json!({"type": "object", "additionalProperties": false});
    if !required.is_empty() {
        schema["required"] = json!(required);
    }
    let properties: Map<String, Value> =
        members.into_iter().map(|member| (member.name.to_owned(), member.schema)).collect();
    with("properties", Value::Object(properties), schema)
}

fn text(most: usize) -> Value {
    json!({"type": "string", "maxLength": most})
}

fn one_of(words: &[&str]) -> Value {
    json!({"enum": words})
}

fn number(least: usize, most: usize) -> Value {
    json!({"type": "integer", "minimum": least, "maximum": most})
}

fn span() -> Value {
    json!({"type": "string", "pattern": SPAN, "examples": ["250ms", "5s", "1h30m"]})
}

fn statuses() -> Value {
    let status = json!({"type": "string", "pattern": STATUS});
    json!({"type": "array", "maxItems": 64, "items": status, "examples": [["2xx", "404", "500-599"]]})
}

fn header_name() -> Value {
    json!({"type": "string", "pattern": HEADER_NAME})
}

/// Text in which `${name}` is one of the variables, and `$$` a dollar sign.
fn pattern<V: Variable>() -> Value {
    let named = V::all().into_iter().map(|variable| variable.name().replace('.', "\\."));
    let families = V::families().iter().map(|family| family.expression.to_owned());
    let names: Vec<String> = named.chain(families).collect();
    let expression = format!("^([^$]|\\$\\$|\\$(?![{{$])|\\$\\{{({})\\}})*$", names.join("|"));
    json!({"type": "string", "maxLength": MAX_PATTERN, "pattern": expression})
}

/// The schema. Its members and their bounds are those of `docs/profiles.md`.
#[must_use]
pub fn profile_schema() -> Value {
    let form = object(vec![
        defaulted(
            "name",
            json!(""),
            "Lower-case letters, digits and -, beginning with a letter. May be left out where a request names it.",
            json!({"type": "string", "pattern": "^([a-z][a-z0-9-]{0,63})?$"}),
        ),
        defaulted(
            "version",
            json!(1),
            "Grows with each change of what receivers see.",
            number(0, u32::MAX as usize),
        ),
        defaulted("description", json!(""), "For people.", text(MAX_DESCRIPTION)),
        optional(
            "catalogue",
            "The built-in event catalogue that tenants begin with.",
            json!({"type": "string"}),
        ),
        optional(
            "accent_colour",
            "For cards and embeds.",
            json!({"type": "string", "pattern": "^#[0-9A-Fa-f]{6}$"}),
        ),
        optional("request", "How the request is made.", request()),
        required("envelope", "The body.", envelope()),
        optional("signature", "Absent: requests are never signed.", signature()),
        optional("secret", "How a webhook comes by its secret. Needed with signature.", secret()),
        optional("answers", "What the receiver's answers mean.", answers()),
        required("retry", "When it is tried again.", retry()),
        optional("webhook", "What becomes of a webhook.", webhook()),
    ]);
    let head = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A delivery contract of Postrider",
    });
    merged(head, form)
}

fn merged(mut into: Value, from: Value) -> Value {
    if let (Value::Object(into), Value::Object(from)) = (&mut into, from) {
        into.extend(from);
    }
    into
}

fn request() -> Value {
    let header = object(vec![
        required("name", "In the case in which it is sent.", header_name()),
        required("value", "A text pattern.", pattern::<TextVariable>()),
    ]);
    object(vec![
        defaulted("method", json!("POST"), "", one_of(&["POST", "PUT", "PATCH"])),
        defaulted("content_type", json!("application/json"), "A text pattern.", pattern::<TextVariable>()),
        defaulted(
            "user_agent",
            json!("Postrider/${postrider.version}"),
            "A text pattern.",
            pattern::<TextVariable>(),
        ),
        defaulted("time_limit", json!("10s"), "For the whole try: 100ms to 60s.", span()),
        defaulted("minimum_tls", json!("1.2"), "", one_of(&["1.2", "1.3"])),
        defaulted(
            "headers",
            json!([]),
            "Beside content type, user agent and signature, in this order.",
            json!({"type": "array", "maxItems": MAX_HEADERS, "items": header}),
        ),
    ])
}

fn envelope() -> Value {
    let name = text(MAX_RESERVED_NAME);
    object(vec![
        required(
            "body",
            "JSON in which each variable stands for a whole JSON value.",
            pattern::<EnvelopeVariable>(),
        ),
        optional(
            "reserved_data_members",
            "An event whose data has one of these is refused.",
            json!({"type": "array", "maxItems": MAX_RESERVED, "items": name}),
        ),
    ])
}

fn signature() -> Value {
    let algorithms =
        ["hmac-sha256", "hmac-sha512", "hmac-sha1", "ed25519", "sha256", "sha512", "sha1", "md5"];
    object(vec![
        optional("header", "Where the signatures stand, unless in the query.", header_name()),
        defaulted(
            "header_configurable",
            json!(false),
            "A webhook may choose another name for it.",
            json!({"type": "boolean"}),
        ),
        optional(
            "query_parameter",
            "The parameter in which the signatures stand, unless in a header.",
            json!({"type": "string", "pattern": "^[A-Za-z0-9_.-]{1,64}$"}),
        ),
        defaulted("algorithm", json!("hmac-sha256"), "", one_of(&algorithms)),
        required("signs", "The signed bytes.", pattern::<SignedVariable>()),
        required("encoding", "", one_of(&["hex", "base64"])),
        defaulted("each", json!("${signature}"), "One signature.", pattern::<EachVariable>()),
        optional("each_ed25519", "One signature by an Ed25519 key.", pattern::<EachVariable>()),
        optional(
            "separator",
            "Between several signatures. Absent: receivers read one.",
            merged(json!({"minLength": 1}), text(MAX_SEPARATOR)),
        ),
        defaulted(
            "value",
            json!("${signatures}"),
            "What the header or the parameter holds.",
            pattern::<ValueVariable>(),
        ),
        optional("replay_window", "How far the signed time may differ. Needs a signed time.", span()),
    ])
}

fn secret() -> Value {
    let forms = ["text", "base64", "hex", "ed25519"];
    object(vec![
        required("origin", "What an absent secret means.", one_of(&["generated", "optional", "required"])),
        defaulted("form", json!("text"), "How its text becomes the key.", one_of(&forms)),
        optional("prefix", "Of a generated one.", prefix()),
        optional("key_pair_prefix", "Of one that is an Ed25519 key in place of a shared one.", prefix()),
        optional("public_key_prefix", "Of the public half of an Ed25519 key.", prefix()),
        defaulted("generated_bytes", json!(32), "Random bytes of a generated one.", number(16, 64)),
        defaulted("minimum_bytes", json!(1), "Of the key.", number(1, MAX_SECRET_BYTES)),
        defaulted("maximum_bytes", json!(MAX_SECRET_BYTES), "Of the key.", number(1, MAX_SECRET_BYTES)),
    ])
}

fn prefix() -> Value {
    json!({"type": "string", "pattern": "^[A-Za-z0-9_-]{0,32}$"})
}

fn answers() -> Value {
    object(vec![
        defaulted("success", json!(["2xx"]), "Ends the delivery as delivered.", statuses()),
        defaulted("permanent", json!([]), "Ends the delivery as failed.", statuses()),
        defaulted("disabling", json!([]), "Disables the webhook.", statuses()),
    ])
}

fn retry() -> Value {
    let retry_after = object(vec![
        required("statuses", "The answers with which it counts.", statuses()),
        defaulted("minimum", json!("1s"), "No wait is shorter.", span()),
        defaulted("maximum", json!("1d"), "No wait is longer; up to 24h.", span()),
    ]);
    object(vec![
        required(
            "waits",
            "Between the tries: 100ms to 24h each.",
            json!({"type": "array", "maxItems": MAX_WAITS, "items": span()}),
        ),
        defaulted(
            "jitter",
            json!(0.0),
            "The fraction of a wait by which chance moves it.",
            json!({"type": "number", "minimum": 0, "maximum": 0.5}),
        ),
        optional("retry_after", "Absent: Retry-After is not looked at.", retry_after),
    ])
}

fn webhook() -> Value {
    object(vec![
        defaulted("paused", json!("hold"), "What becomes of deliveries.", one_of(&["hold", "skip"])),
        optional("disable_after_failing_for", "Nothing but failures for so long disables it.", span()),
    ])
}

#[cfg(test)]
mod tests;
