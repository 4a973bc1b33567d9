//! Our own form of a captured request: one JSON object, read and written.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use postrider_contract::attempt::Header;
use postrider_contract::clock::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{CapturedRequest, HeaderNames};

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Form<'a> {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    at: Option<Timestamp>,
    method: String,
    url: String,
    headers: Vec<(String, String)>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    body: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    body_base64: Option<String>,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    event: Option<&'a RawValue>,
}

/// # Errors
/// What is missing, unknown or wrong.
pub(super) fn read(request: &RawValue, number: usize) -> Result<CapturedRequest, String> {
    let form: Form<'_> = serde_json::from_str(request.get()).map_err(|error| error.to_string())?;
    let body = match (form.body, form.body_base64) {
        (Some(_), Some(_)) => return Err("body and body_base64 are both there".to_owned()),
        (Some(text), None) => Bytes::from(text),
        (None, Some(text)) => decode(&text)?,
        (None, None) => Bytes::new(),
    };
    let header = |(name, value): (String, String)| Header { name: name.into(), value: Bytes::from(value) };
    Ok(CapturedRequest {
        number,
        at: form.at,
        method: form.method,
        url: form.url,
        headers: form.headers.into_iter().map(header).collect(),
        names: HeaderNames::AsSent,
        body,
        event: form.event.map(|event| Bytes::copy_from_slice(event.get().as_bytes())),
    })
}

/// # Errors
/// When it is not base64.
pub(super) fn decode(text: &str) -> Result<Bytes, String> {
    STANDARD.decode(text).map(Bytes::from).map_err(|error| format!("its body is not base64: {error}"))
}

/// A line of a file, line feed and all. A header's value that is not text is written as far as it is.
///
/// # Errors
/// serde's, of which it has none for these values.
pub fn write_line(request: &CapturedRequest) -> Result<String, serde_json::Error> {
    let event = request.event.as_ref().map(|event| serde_json::from_slice::<&RawValue>(event)).transpose()?;
    let text = std::str::from_utf8(&request.body).ok().map(str::to_owned);
    let header =
        |header: &Header| (header.name.to_string(), String::from_utf8_lossy(&header.value).into_owned());
    let form = Form {
        at: request.at,
        method: request.method.clone(),
        url: request.url.clone(),
        headers: request.headers.iter().map(header).collect(),
        body_base64: if text.is_none() { Some(STANDARD.encode(&request.body)) } else { None },
        body: text,
        event,
    };
    Ok(serde_json::to_string(&form)? + "\n")
}
