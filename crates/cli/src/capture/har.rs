//! HAR 1.2, as browsers and proxies write it: of each entry the request alone.

use bytes::Bytes;
use postrider_contract::attempt::Header;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{CapturedRequest, HeaderNames};

#[derive(Deserialize)]
struct File<'a> {
    #[serde(borrow)]
    log: Log<'a>,
}

#[derive(Deserialize)]
struct Log<'a> {
    #[serde(borrow)]
    entries: Vec<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    started_date_time: Option<String>,
    request: Request,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Request {
    method: String,
    url: String,
    #[serde(default)]
    http_version: String,
    headers: Vec<NameValue>,
    #[serde(default)]
    post_data: Option<PostData>,
    /// -1 where it is not known.
    #[serde(default)]
    body_size: i64,
}

#[derive(Deserialize)]
struct NameValue {
    name: String,
    value: String,
}

#[derive(Deserialize)]
struct PostData {
    #[serde(default)]
    text: Option<String>,
    /// Not of the standard, but what several tools write for bodies that are not text.
    #[serde(default)]
    encoding: Option<String>,
}

pub(super) fn entries(document: &RawValue) -> Result<Vec<&RawValue>, serde_json::Error> {
    serde_json::from_str::<File<'_>>(document.get()).map(|file| file.log.entries)
}

/// # Errors
/// What is missing, or wrong.
pub(super) fn read(entry: &RawValue, number: usize) -> Result<CapturedRequest, String> {
    let entry: Entry = serde_json::from_str(entry.get()).map_err(|error| error.to_string())?;
    let Request { method, url, http_version, headers, post_data, body_size } = entry.request;
    let is_http2 = ["2", "3"].iter().any(|major| {
        let version = http_version.trim_start_matches(|c: char| c.is_ascii_alphabetic() || c == '/');
        version.starts_with(major)
    });
    let at = entry.started_date_time.and_then(|text| text.parse().ok());
    Ok(CapturedRequest {
        number,
        at,
        method,
        url,
        // Those that begin with a colon are HTTP/2's way to write the request line.
        headers: headers
            .into_iter()
            .filter(|header| !header.name.starts_with(':'))
            .map(|header| Header { name: header.name.into(), value: Bytes::from(header.value) })
            .collect(),
        names: if is_http2 { HeaderNames::OfHttp2 } else { HeaderNames::AsSent },
        body: body(post_data, body_size)?,
        event: None,
    })
}

fn body(post_data: Option<PostData>, size: i64) -> Result<Bytes, String> {
    let without = || {
        if size > 0 {
            Err(format!("its body of {size} bytes was not captured: let the proxy keep request bodies"))
        } else {
            Ok(Bytes::new())
        }
    };
    let Some(PostData { text, encoding }) = post_data else { return without() };
    let Some(text) = text else { return without() };
    match encoding.as_deref() {
        Some("base64") => super::own_form::decode(&text),
        Some(other) => Err(format!("its body is in an encoding that is not known here, {other:?}")),
        None => Ok(Bytes::from(text)),
    }
}
