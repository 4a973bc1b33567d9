//! Submissions: an event as a producer sends it, read and checked, not yet accepted.

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::clock::Timestamp;
use crate::event::{EventType, SchemaVersion, Versions};
use crate::ids::{EventId, WebhookId};
use crate::json::{InvalidJson, RawObject, check_depth, pointer_of};

/// A producer may name the webhooks an event is for; more than this is a batch of its own.
const MAX_WEBHOOK_IDS: usize = 1_000;
const MAX_SUMMARY: usize = 2_000;
const MAX_WORKFLOW: usize = 8 * 1024;

#[derive(Clone, Debug, PartialEq)]
pub struct Submission {
    pub event_type: EventType,
    /// Byte for byte as it came; all versions of it where there are several.
    pub data: RawObject,
    /// The producer's own id, unique within its tenant.
    pub id: Option<EventId>,
    pub timestamp: Option<Timestamp>,
    pub schema_version: SchemaVersion,
    pub summary: Option<String>,
    pub workflow: Option<RawObject>,
    /// Only these webhooks, if they subscribe to the type.
    pub webhook_ids: Option<Vec<WebhookId>>,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSubmission {
    /// Not JSON at all: 400.
    #[error(transparent)]
    Json(InvalidJson),
    /// A field is missing, unknown or wrong: 422. `pointer` is an RFC 6901 JSON pointer.
    #[error("{pointer}: {detail}")]
    Field { pointer: String, detail: String },
}

impl InvalidSubmission {
    fn field(pointer: &str, detail: impl ToString) -> Self {
        InvalidSubmission::Field { pointer: pointer.to_owned(), detail: detail.to_string() }
    }
}

/// The fields as they come: borrowed, so that `data` is not copied.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Fields<'a> {
    #[serde(rename = "type")]
    event_type: Option<std::borrow::Cow<'a, str>>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
    #[serde(borrow)]
    versions: Option<&'a RawValue>,
    id: Option<String>,
    timestamp: Option<String>,
    schema_version: Option<String>,
    summary: Option<String>,
    #[serde(borrow)]
    workflow: Option<&'a RawValue>,
    webhook_ids: Option<Vec<String>>,
}

impl Submission {
    /// Reads one event. The bytes of `data` are a slice of `body`, not a copy.
    ///
    /// # Errors
    /// Says which field is wrong and how.
    pub fn parse(body: &Bytes) -> Result<Self, InvalidSubmission> {
        check_depth(body).map_err(InvalidSubmission::Json)?;
        if !body.trim_ascii_start().starts_with(b"{") {
            // Let the parser name a syntax error; a well-formed value of another kind is its own message.
            serde_json::from_slice::<&RawValue>(body)
                .map_err(|error| InvalidSubmission::Json(InvalidJson::from_serde(&error)))?;
            return Err(InvalidSubmission::field("", "must be a JSON object"));
        }
        let mut reader = serde_json::Deserializer::from_slice(body);
        let fields: Fields<'_> = serde_path_to_error::deserialize(&mut reader).map_err(shape_error)?;
        reader.end().map_err(|error| InvalidSubmission::Json(InvalidJson::from_serde(&error)))?;
        fields.check(body)
    }
}

/// A syntax error is the sender's JSON; anything else names a field.
fn shape_error(error: serde_path_to_error::Error<serde_json::Error>) -> InvalidSubmission {
    let pointer = pointer_of(error.path());
    let inner = error.into_inner();
    if inner.is_syntax() || inner.is_eof() {
        return InvalidSubmission::Json(InvalidJson::from_serde(&inner));
    }
    let text = inner.to_string();
    let detail = text.split(" at line ").next().unwrap_or_default().to_owned();
    InvalidSubmission::Field { pointer, detail }
}

impl Fields<'_> {
    fn check(self, body: &Bytes) -> Result<Submission, InvalidSubmission> {
        let event_type =
            self.event_type.as_ref().ok_or_else(|| InvalidSubmission::field("/type", "is required"))?;
        let (schema_version, data) = self.checked_data(body)?;
        Ok(Submission {
            event_type: checked("/type", event_type.parse())?,
            data,
            id: self.id.map(|id| checked("/id", id.parse())).transpose()?,
            timestamp: self.timestamp.map(|text| checked("/timestamp", text.parse())).transpose()?,
            schema_version,
            summary: self.summary.map(checked_summary).transpose()?,
            workflow: self.workflow.map(|raw| checked_workflow(body, raw)).transpose()?,
            webhook_ids: self.webhook_ids.map(checked_webhook_ids).transpose()?,
        })
    }

    /// In one version, or in several.
    fn checked_data(&self, body: &Bytes) -> Result<(SchemaVersion, RawObject), InvalidSubmission> {
        match (self.data, self.versions) {
            (Some(data), None) => {
                let version = match &self.schema_version {
                    Some(text) => checked("/schema_version", text.parse())?,
                    None => SchemaVersion::FIRST,
                };
                if version == SchemaVersion::SEVERAL {
                    return Err(InvalidSubmission::field("/schema_version", "must be 0.1 or more"));
                }
                Ok((version, checked("/data", RawObject::part_of(body, data))?))
            }
            (None, Some(versions)) => {
                if self.schema_version.is_some() {
                    let detail = "is not for an event with versions, which name it";
                    return Err(InvalidSubmission::field("/schema_version", detail));
                }
                let written = checked("/versions", RawObject::part_of(body, versions))?;
                Versions::parse(&written).map_err(|error| {
                    InvalidSubmission::field(&format!("/versions{}", error.pointer), error.detail)
                })?;
                Ok((SchemaVersion::SEVERAL, written))
            }
            (Some(_), Some(_)) => {
                Err(InvalidSubmission::field("/versions", "takes the place of data: give one of them"))
            }
            (None, None) => Err(InvalidSubmission::field("/data", "is required")),
        }
    }
}

fn checked<T, E: ToString>(pointer: &str, result: Result<T, E>) -> Result<T, InvalidSubmission> {
    result.map_err(|error| InvalidSubmission::field(pointer, error.to_string()))
}

fn checked_summary(text: String) -> Result<String, InvalidSubmission> {
    if text.len() > MAX_SUMMARY {
        return Err(InvalidSubmission::field(
            "/summary",
            format!("must be at most {MAX_SUMMARY} bytes long"),
        ));
    }
    Ok(text)
}

fn checked_workflow(body: &Bytes, raw: &RawValue) -> Result<RawObject, InvalidSubmission> {
    if raw.get().len() > MAX_WORKFLOW {
        return Err(InvalidSubmission::field(
            "/workflow",
            format!("must be at most {MAX_WORKFLOW} bytes long"),
        ));
    }
    checked("/workflow", RawObject::part_of(body, raw))
}

fn checked_webhook_ids(ids: Vec<String>) -> Result<Vec<WebhookId>, InvalidSubmission> {
    if ids.len() > MAX_WEBHOOK_IDS {
        let detail = format!("must name at most {MAX_WEBHOOK_IDS} webhooks");
        return Err(InvalidSubmission::field("/webhook_ids", detail));
    }
    ids.iter().enumerate().map(|(index, id)| checked(&format!("/webhook_ids/{index}"), id.parse())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Submission, InvalidSubmission> {
        Submission::parse(&Bytes::copy_from_slice(text.as_bytes()))
    }

    #[test]
    fn data_is_kept_byte_for_byte() {
        let data = r#"{ "n": 12345678901234567890123, "a":1, "a": 2, "s":"\ud800" }"#;
        let submission = parse(&format!(r#"{{"type":"a.b","data":{data}}}"#)).expect("valid");
        assert_eq!(submission.data.as_bytes(), data.as_bytes());
    }

    #[test]
    fn what_is_wrong_is_named_by_its_pointer() {
        for (text, pointer) in [
            (r#"{"data":{}}"#, "/type"),
            (r#"{"type":"a.b"}"#, "/data"),
            (r#"{"type":null,"data":{}}"#, "/type"),
            (r#"{"type":"a..b","data":{}}"#, "/type"),
            (r#"{"type":7,"data":{}}"#, "/type"),
            (r#"{"type":"a.b","data":"x"}"#, "/data"),
            (r#"{"type":"a.b","data":{},"id":""}"#, "/id"),
            (r#"{"type":"a.b","data":{},"id":"a.b"}"#, "/id"),
            (r#"{"type":"a.b","data":{},"timestamp":"99999-01-01T00:00:00Z"}"#, "/timestamp"),
            (r#"{"type":"a.b","data":{},"webhook_ids":["wh_1"]}"#, "/webhook_ids/0"),
            (r#"{"type":"a.b","data":{},"schema_version":"0.0"}"#, "/schema_version"),
            (r#"{"type":"a.b","data":{},"versions":{"1":{}}}"#, "/versions"),
            (r#"{"type":"a.b","versions":{"1":{}},"schema_version":"1.0"}"#, "/schema_version"),
            (r#"{"type":"a.b","versions":{"one":{}}}"#, "/versions/one"),
            (r#"{"type":"a.b","versions":{"1":7}}"#, "/versions/1"),
            (r#"{"type":"a.b","versions":[]}"#, "/versions"),
            (r#"{"type":"a.b","versions":{}}"#, "/versions"),
            (r#"{"type":"a.b","data":{},"a.b/c":1}"#, "/a.b~1c"),
            ("[]", ""),
        ] {
            match parse(text) {
                Err(InvalidSubmission::Field { pointer: named, .. }) => assert_eq!(named, pointer, "{text}"),
                other => panic!("{text}: {other:?}"),
            }
        }
        assert!(matches!(
            parse(r#"{"type":"a.b","data":{},"tpye":1}"#),
            Err(InvalidSubmission::Field { .. })
        ));
    }

    #[test]
    fn what_is_not_json_is_told_apart_from_what_has_the_wrong_shape() {
        for text in ["", "{", "{'type':'a.b'}", r#"{"type":"a.b","data":{}} x"#, "\u{feff}{}"] {
            assert!(matches!(parse(text), Err(InvalidSubmission::Json(_))), "{text}");
        }
    }
}
