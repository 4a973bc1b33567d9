//! The cases of `vectors/bad-inputs.json`, turned into requests of this API.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::scene::Scene;
use super::wire;

/// The most a body may have, and the most events in a batch: stated by API.md.
pub const MAX_BODY: usize = 1024 * 1024;
pub const MAX_BATCH: usize = 1_000;
/// A thousand zeros.
const ZEROS_IN_GZIP: &str = "H4sIAAAAAAACAzMwGAWjYBQMdwAAg5lfqOgDAAA=";

#[derive(Debug, Deserialize)]
pub struct Vectors {
    pub cases: Vec<Case>,
}

/// One case; fields that are only for the reader are left out.
#[derive(Debug, Deserialize)]
pub struct Case {
    pub id: String,
    pub method: String,
    pub path_kind: String,
    pub auth: String,
    pub expect_status: Value,
    #[serde(default)]
    pub also_ok: Vec<Value>,
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    pub body_json: Option<Value>,
    pub body_text: Option<String>,
    pub body_base64: Option<String>,
    pub body_generate: Option<Value>,
    pub query: Option<String>,
    pub raw_request: Option<String>,
    pub ids: Option<String>,
    pub setup: Option<String>,
    pub abort_after: Option<Value>,
}

pub fn all() -> Result<Vec<Case>> {
    let vectors: Vectors = serde_json::from_str(include_str!("../../vectors/bad-inputs.json"))?;
    Ok(vectors.cases)
}

impl Case {
    /// Whether this is an answer that the case allows.
    pub fn allows(&self, status: u16) -> bool {
        self.expect_status == "any"
            || std::iter::once(&self.expect_status).chain(&self.also_ok).any(|ok| *ok == status)
    }

    /// Where the request goes.
    pub fn target(&self, scene: &Scene) -> Result<String> {
        let is_foreign = self.ids.as_deref() == Some("other_tenant");
        let webhook = if is_foreign { &scene.foreign.webhook } else { &scene.webhook };
        let path = match self.path_kind.as_str() {
            "events" => "/v1/events".to_owned(),
            "events_batch" => "/v1/events/batch".to_owned(),
            "endpoints" => "/v1/webhooks".to_owned(),
            "endpoint" => format!("/v1/webhooks/{webhook}"),
            "endpoint_rotate" => format!("/v1/webhooks/{webhook}/rotate"),
            "endpoint_secret" => format!("/v1/webhooks/{webhook}/secret"),
            "event" => format!("/v1/events/{}", scene.foreign.event),
            "attempts" => "/v1/deliveries".to_owned(),
            "event_retry" => format!("/v1/deliveries/{}/retry", scene.foreign.delivery),
            other => match other.strip_prefix("raw:/") {
                Some(path) => path.replace("endpoints", "webhooks"),
                None => bail!("{}: no path is called {other:?}", self.id),
            },
        };
        Ok(match &self.query {
            Some(query) => format!(
                "{path}?{}",
                expand(&query.replace("{cursor_of_other_tenant}", &scene.foreign.cursor))
            ),
            None => path,
        })
    }

    /// The request, down to the byte.
    pub fn bytes(&self, scene: &Scene) -> Result<Vec<u8>> {
        let target = self.target(scene)?;
        if let Some(raw) = &self.raw_request {
            return Ok(raw.replace("{path}", &target).into_bytes());
        }
        let body = self.body()?;
        let mut headers: Vec<(String, String)> = self.authorization(scene)?;
        if !body.is_empty() && !self.headers.keys().any(|name| name.eq_ignore_ascii_case("content-type")) {
            headers.push(("Content-Type".to_owned(), "application/json".to_owned()));
        }
        if self.ids.as_deref() == Some("unknown") {
            headers.push(("Postrider-Tenant".to_owned(), "tnt_unknown".to_owned()));
        }
        headers.extend(self.headers.iter().map(|(name, value)| (name.clone(), expand(value))));
        Ok(wire::request(&self.method, &target, &headers, &body))
    }

    fn authorization(&self, scene: &Scene) -> Result<Vec<(String, String)>> {
        let keys = &scene.keys;
        let bearer = |key: &str| vec![("Authorization".to_owned(), format!("Bearer {key}"))];
        let mut wrong = keys.all.clone();
        let last = wrong.pop();
        wrong.push(if last == Some('a') { 'b' } else { 'a' });
        Ok(match self.auth.as_str() {
            // Only the admin key can name a tenant that is not there.
            "valid" if self.ids.as_deref() == Some("unknown") => {
                bearer(postrider_tests::harness::postrider::ADMIN_KEY)
            }
            "valid" => bearer(&keys.all),
            "none" => Vec::new(),
            "wrong" => bearer(&wrong),
            "prefix_only" => bearer(&keys.all[..12]),
            "revoked" => bearer(&keys.revoked),
            "expired" => bearer(&keys.expired),
            "read_only" => bearer(&keys.read_only),
            "ingest_only" => bearer(&keys.publish_only),
            "twice" => [bearer(&keys.all), bearer(&keys.all)].concat(),
            other => match other.strip_prefix("raw:") {
                Some(value) => {
                    // An escaped line end stays escaped: a bare one would end the header's line.
                    let value = expand(&value.replace("{key}", &keys.all));
                    vec![("Authorization".to_owned(), value)]
                }
                None => bail!("{}: no authentication is called {other:?}", self.id),
            },
        })
    }

    fn body(&self) -> Result<Vec<u8>> {
        if let Some(json) = &self.body_json {
            return Ok(in_our_names(json, &self.path_kind).to_string().into_bytes());
        }
        if let Some(text) = &self.body_text {
            return Ok(expand(text).into_bytes());
        }
        if let Some(text) = &self.body_base64 {
            return STANDARD.decode(text).context("not base64");
        }
        match &self.body_generate {
            Some(how) => generate(how).with_context(|| format!("{}: no way to make {how}", self.id)),
            None => Ok(Vec::new()),
        }
    }
}

/// The names that the vectors use for a webhook's members, as ours.
fn in_our_names(body: &Value, path_kind: &str) -> Value {
    let Value::Object(members) = body else { return expand_value(body) };
    if !path_kind.starts_with("endpoint") {
        return expand_value(body);
    }
    let mut ours = Map::new();
    for (name, value) in members {
        let value = expand_value(value);
        match name.as_str() {
            "event_types" => ours.insert("events".to_owned(), value),
            "rate_limit" => ours.insert("rate_limit_per_second".to_owned(), value),
            // Ours are spans of time: a number of seconds becomes one.
            "retry_schedule" => {
                let span = |wait: &Value| {
                    wait.as_i64().map_or_else(|| wait.clone(), |seconds| json!(format!("{seconds}s")))
                };
                let waits = value.as_array().map(|waits| waits.iter().map(span).collect::<Vec<_>>());
                ours.insert("retry".to_owned(), waits.map_or(value, |waits| json!({"waits": waits})))
            }
            other => ours.insert(other.to_owned(), value),
        };
    }
    Value::Object(ours)
}

fn expand_value(value: &Value) -> Value {
    match value {
        Value::String(text) => match described(text) {
            Some(made) => made,
            None => Value::String(expand(text)),
        },
        Value::Array(items) => Value::Array(items.iter().map(expand_value).collect()),
        Value::Object(members) => {
            Value::Object(members.iter().map(|(name, value)| (expand(name), expand_value(value))).collect())
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
    }
}

/// `{1000 distinct keys}` and `{list of 10001 distinct types}`.
fn described(text: &str) -> Option<Value> {
    let inner = text.strip_prefix('{')?.strip_suffix('}')?;
    let count: usize = inner.split(' ').find_map(|word| word.parse().ok())?;
    if inner.ends_with("distinct keys") {
        let members = (0..count).map(|number| (format!("k{number}"), json!("v")));
        return Some(Value::Object(members.collect()));
    }
    let types = inner.ends_with("distinct types");
    types.then(|| (0..count).map(|number| json!(format!("t{number}.x"))).collect())
}

/// Writes out every `{"x" * n}`.
pub fn expand(text: &str) -> String {
    let mut made = String::new();
    let mut rest = text;
    while let Some((before, piece, count, after)) = next_repeat(rest) {
        made.push_str(before);
        made.push_str(&piece.repeat(count));
        rest = after;
    }
    made + rest
}

fn next_repeat(text: &str) -> Option<(&str, &str, usize, &str)> {
    let (before, after) = text.split_once("{\"")?;
    let (piece, after) = after.split_once("\" * ")?;
    let (count, after) = after.split_once('}')?;
    Some((before, piece, count.trim().parse().ok()?, after))
}

fn generate(how: &Value) -> Option<Vec<u8>> {
    if how.get("gzip_of").is_some() {
        return STANDARD.decode(ZEROS_IN_GZIP).ok();
    }
    if let Some(items) = how["batch_items"].as_str() {
        let count = if items == "MAX_BATCH+1" { MAX_BATCH + 1 } else { items.parse().ok()? };
        let event = r#"{"type":"a.b","data":{}}"#;
        return Some(format!("[{}]", vec![event; count].join(",")).into_bytes());
    }
    if how["batch_mixed"] == true {
        return Some(
            br#"[{"type":"a.b","data":{"n":1}},{"type":"","data":{}},{"type":"a.b","data":{"n":2}}]"#
                .to_vec(),
        );
    }
    let count = match how["count"].as_str() {
        Some("MAX_BODY") => MAX_BODY,
        Some("MAX_BODY+1") => MAX_BODY + 1,
        Some(_) => return None,
        None => usize::try_from(how["count"].as_u64()?).ok()?,
    };
    let inner = match (how["nest"].as_str(), how["repeat"].as_str()) {
        (Some(open), _) => {
            let close = if open.contains('{') { "}" } else { "]" };
            open.repeat(count) + &close.repeat(count)
        }
        (None, Some(piece)) => piece.repeat(count),
        (None, None) => return None,
    };
    let made =
        how["template"].as_str().map_or_else(|| inner.clone(), |template| template.replacen("%s", &inner, 1));
    Some(made.into_bytes())
}
