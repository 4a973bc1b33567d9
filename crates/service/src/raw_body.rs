//! The bytes of a request body, read within the limits and of a media type we take.
//!
//! The limit is counted while the body streams in: a body that says it is small, or does not say, is cut all
//! the same. Nothing is parsed here.

use std::error::Error;

use axum::extract::{FromRequest, Request};
use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{Extensions, HeaderMap, HeaderValue};
use http_body_util::BodyExt;
use postrider_contract::json;

use crate::problem::{Code, Problem};
use crate::timed_body::BodyTooSlow;

/// 1 MiB: what `POST /v1/events` promises to take.
pub const DEFAULT_BODY_LIMIT: BodyLimit = BodyLimit(1024 * 1024);

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// The most bytes a body may have. The server sets one for every request; a route that takes more sets its own
/// (`axum::Extension(BodyLimit::bytes(n))` as a layer).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BodyLimit(usize);

impl BodyLimit {
    #[must_use]
    pub const fn bytes(limit: usize) -> Self {
        BodyLimit(limit)
    }

    #[must_use]
    pub const fn as_bytes(self) -> usize {
        self.0
    }

    fn of(extensions: &Extensions) -> Self {
        extensions.get().copied().unwrap_or(DEFAULT_BODY_LIMIT)
    }
}

/// One JSON document, byte for byte as it came: UTF-8 by its media type, no byte order mark, and not nested
/// deeper than [`json::MAX_DEPTH`]. Whether it is valid JSON is for whoever parses it to find out.
#[derive(Clone, Debug)]
pub struct RawBody(pub Bytes);

/// How the items of a batch are laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BatchLayout {
    /// A JSON array.
    Array,
    /// One JSON document to a line.
    Lines,
}

/// A batch, byte for byte as it came. In [`BatchLayout::Lines`] the depth is each line's own and not checked here.
#[derive(Clone, Debug)]
pub struct RawBatch {
    pub layout: BatchLayout,
    pub bytes: Bytes,
}

impl<S: Sync> FromRequest<S> for RawBody {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        match media_type(request.headers()) {
            Some(Media::Json) => {}
            Some(Media::Lines | Media::Toml) | None => {
                return Err(unsupported("application/json in UTF-8"));
            }
        }
        let bytes = read(request).await?;
        check_document(&bytes)?;
        Ok(RawBody(bytes))
    }
}

impl<S: Sync> FromRequest<S> for RawBatch {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        let layout = match media_type(request.headers()) {
            Some(Media::Json) => BatchLayout::Array,
            Some(Media::Lines) => BatchLayout::Lines,
            Some(Media::Toml) | None => {
                return Err(unsupported("application/json or application/x-ndjson in UTF-8"));
            }
        };
        let bytes = read(request).await?;
        match layout {
            BatchLayout::Array => check_document(&bytes)?,
            BatchLayout::Lines => check_mark(&bytes)?,
        }
        Ok(RawBatch { layout, bytes })
    }
}

/// How a document is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DocumentForm {
    Json,
    Toml,
}

/// One document in JSON or TOML, as its media type says: in JSON as [`RawBody`] takes it, in TOML UTF-8 without a byte
/// order mark.
#[derive(Clone, Debug)]
pub struct RawDocument {
    pub form: DocumentForm,
    pub text: String,
}

impl<S: Sync> FromRequest<S> for RawDocument {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        let form = match media_type(request.headers()) {
            Some(Media::Json) => DocumentForm::Json,
            Some(Media::Toml) => DocumentForm::Toml,
            Some(Media::Lines) | None => {
                return Err(unsupported("application/json or application/toml in UTF-8"));
            }
        };
        let bytes = read(request).await?;
        match form {
            DocumentForm::Json => check_document(&bytes)?,
            DocumentForm::Toml => check_mark(&bytes)?,
        }
        let not_text = |_| Problem::new(Code::BadRequest, "the body is not text in UTF-8");
        let text = String::from_utf8(bytes.to_vec()).map_err(not_text)?;
        Ok(RawDocument { form, text })
    }
}

enum Media {
    Json,
    Lines,
    Toml,
}

fn unsupported(expected: &str) -> Problem {
    Problem::new(Code::UnsupportedMediaType, format!("send the body as {expected}"))
}

/// `None` for any type that we do not take, for two types at once, and for any charset but UTF-8.
fn media_type(headers: &HeaderMap) -> Option<Media> {
    let mut values = headers.get_all(CONTENT_TYPE).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return None };
    let mut parts = value.to_str().ok()?.split(';');
    let essence = parts.next()?.trim().to_ascii_lowercase();
    for parameter in parts {
        let Some((name, value)) = parameter.split_once('=') else { continue };
        let charset = value.trim().trim_matches('"');
        if name.trim().eq_ignore_ascii_case("charset") && !is_utf8_name(charset) {
            return None;
        }
    }
    match essence.as_str() {
        "application/x-ndjson" | "application/ndjson" | "application/jsonl" => Some(Media::Lines),
        "application/json" => Some(Media::Json),
        "application/toml" => Some(Media::Toml),
        other if other.starts_with("application/") && other.ends_with("+json") => Some(Media::Json),
        _ => None,
    }
}

fn is_utf8_name(charset: &str) -> bool {
    charset.eq_ignore_ascii_case("utf-8") || charset.eq_ignore_ascii_case("utf8")
}

fn check_mark(bytes: &[u8]) -> Result<(), Problem> {
    if bytes.starts_with(BYTE_ORDER_MARK) {
        return Err(Problem::new(
            Code::MalformedJson,
            "the body begins with a byte order mark; send it without",
        ));
    }
    Ok(())
}

pub(crate) fn check_document(bytes: &[u8]) -> Result<(), Problem> {
    check_mark(bytes)?;
    json::check_depth(bytes)
        .map_err(|error| Problem::new(Code::MalformedJson, format!("the body is {error}")))
}

/// The whole body, cut at the limit.
pub(crate) async fn read(request: Request) -> Result<Bytes, Problem> {
    let limit = BodyLimit::of(request.extensions()).as_bytes();
    let too_large = || {
        let detail = format!("the body may have {limit} bytes at most");
        Problem::new(Code::PayloadTooLarge, detail)
    };
    if declared_length(request.headers()).is_some_and(|length| length > limit as u64) {
        return Err(too_large());
    }
    let mut body = request.into_body();
    // Most bodies come in one piece, which is then handed on without being copied.
    let mut first = Bytes::new();
    let mut rest = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(piece) = frame.map_err(|error| cut_short(&error))?.into_data() else { continue };
        if first.len() + rest.len() + piece.len() > limit {
            return Err(too_large());
        }
        if first.is_empty() {
            first = piece;
        } else {
            rest.extend_from_slice(&piece);
        }
    }
    if rest.is_empty() {
        return Ok(first);
    }
    let mut whole = BytesMut::with_capacity(first.len() + rest.len());
    whole.extend_from_slice(&first);
    whole.extend_from_slice(&rest);
    Ok(whole.freeze())
}

fn declared_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH).map(HeaderValue::to_str)?.ok()?.parse().ok()
}

fn cut_short(error: &axum::Error) -> Problem {
    let mut cause: Option<&(dyn Error + 'static)> = Some(error);
    while let Some(here) = cause {
        if here.is::<BodyTooSlow>() {
            return Problem::new(Code::RequestTimeout, "the body came too slowly");
        }
        cause = here.source();
    }
    Problem::new(Code::BadRequest, "the body ended before it was whole")
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use http::header::HeaderName;

    use super::*;

    fn request(content_type: &'static str, body: impl Into<Body>) -> Request {
        let mut request = Request::new(body.into());
        request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        request
    }

    #[tokio::test]
    async fn only_json_in_utf8_is_taken() {
        for taken in [
            "application/json",
            "APPLICATION/JSON",
            "application/json; charset=utf-8",
            "application/json;charset=\"UTF-8\"; x=y",
            "application/merge-patch+json",
        ] {
            RawBody::from_request(request(taken, "{}"), &()).await.expect(taken);
        }
        for refused in [
            "text/plain",
            "application/json; charset=utf-16",
            "application/json; charset=iso-8859-1",
            "application/jsonx",
            "text/x+json",
            "application/x-ndjson",
            "application/toml",
            "",
        ] {
            let problem = RawBody::from_request(request(refused, "{}"), &()).await.expect_err(refused);
            assert_eq!(problem.code(), Code::UnsupportedMediaType, "{refused}");
        }
        let bare = Request::new(Body::from("{}"));
        assert!(RawBody::from_request(bare, &()).await.is_err());
        let mut twice = request("application/json", "{}");
        twice.headers_mut().append(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
        assert!(RawBody::from_request(twice, &()).await.is_err());
    }

    #[tokio::test]
    async fn a_document_is_of_the_form_that_its_media_type_says() {
        for (taken, form) in [
            ("application/toml; charset=utf-8", DocumentForm::Toml),
            ("application/vnd.x+json", DocumentForm::Json),
        ] {
            let document = RawDocument::from_request(request(taken, "a = 'é'"), &()).await.expect(taken);
            assert_eq!((document.form, document.text.as_str()), (form, "a = 'é'"));
        }
        for (refused, body, code) in [
            ("text/toml", b"a = 1".as_slice(), Code::UnsupportedMediaType),
            ("application/x-ndjson", b"{}", Code::UnsupportedMediaType),
            ("application/toml; charset=latin1", b"a = 1", Code::UnsupportedMediaType),
            ("application/toml", b"\xef\xbb\xbfa = 1", Code::MalformedJson),
            ("application/toml", b"a = '\xff'", Code::BadRequest),
            ("application/json", b"{\"a\":\"\xff\"}", Code::BadRequest),
        ] {
            let problem = RawDocument::from_request(request(refused, body), &()).await.expect_err(refused);
            assert_eq!(problem.code(), code, "{refused}");
        }
    }

    #[tokio::test]
    async fn the_limit_holds_for_a_body_that_does_not_say_its_length() {
        let pieces = |count: usize| {
            let stream = futures_util::stream::iter(
                std::iter::repeat_n("12345678", count).map(Ok::<_, std::convert::Infallible>),
            );
            let mut request = request("application/json", Body::from_stream(stream));
            request.extensions_mut().insert(BodyLimit::bytes(32));
            request
        };
        let kept = read(pieces(4)).await.expect("32 bytes fit");
        assert_eq!(kept, "12345678".repeat(4));
        assert_eq!(read(pieces(5)).await.expect_err("40 bytes do not").code(), Code::PayloadTooLarge);
        let mut declared = request("application/json", "{}");
        declared
            .headers_mut()
            .insert(HeaderName::from_static("content-length"), HeaderValue::from(1_048_577));
        assert_eq!(read(declared).await.expect_err("said to be large").code(), Code::PayloadTooLarge);
    }

    #[tokio::test]
    async fn a_mark_or_deep_nesting_is_refused_before_parsing() {
        for body in ["\u{feff}{}".to_owned(), "[".repeat(100_000)] {
            let refused = RawBody::from_request(request("application/json", body), &()).await;
            assert_eq!(refused.expect_err("refused").code(), Code::MalformedJson);
        }
        let batch =
            RawBatch::from_request(request("application/x-ndjson", "{}\n{}"), &()).await.expect("lines");
        assert_eq!(batch.layout, BatchLayout::Lines);
    }
}
