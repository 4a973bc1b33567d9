//! A JSON request body as a type: what is wrong with it is told with its place.
//!
//! Text that is not JSON answers 400 with line and column; JSON of the wrong shape, an unknown member included
//! (the type says `deny_unknown_fields`), answers 422 with a JSON pointer.

use axum::extract::{FromRequest, OptionalFromRequest, Request};
use http::header::CONTENT_TYPE;
use http_body::Body;
use postrider_contract::json::pointer_of;
use serde::de::DeserializeOwned;
use serde_json::error::Category;
use serde_json::value::RawValue;

use crate::problem::{Code, Problem};
use crate::raw_body::RawBody;

/// The body, parsed. As `Option<JsonBody<T>>` it may be absent altogether.
#[derive(Clone, Debug)]
pub struct JsonBody<T>(pub T);

impl<T: DeserializeOwned, S: Sync> FromRequest<S> for JsonBody<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let RawBody(bytes) = RawBody::from_request(request, state).await?;
        parse(&bytes).map(JsonBody)
    }
}

impl<T: DeserializeOwned, S: Sync> OptionalFromRequest<S> for JsonBody<T> {
    type Rejection = Problem;

    /// Absent means: no bytes and no media type. `{}` is a body.
    async fn from_request(request: Request, state: &S) -> Result<Option<Self>, Problem> {
        let is_empty = request.body().size_hint().exact() == Some(0);
        if is_empty && !request.headers().contains_key(CONTENT_TYPE) {
            return Ok(None);
        }
        <Self as FromRequest<S>>::from_request(request, state).await.map(Some)
    }
}

/// Parses one JSON document as `T`. The depth is the caller's to check first (`RawBody` has done so).
///
/// # Errors
/// 400 with line and column for what is not JSON, 422 with a pointer for what is not a `T`.
pub fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let pointer = pointer_of(error.path());
        // The library calls a wrong kind of value a syntax error where it expects one of several words.
        // A raw value borrows text, so bytes that are not UTF-8 are not JSON to this probe.
        if error.inner().is_syntax() && serde_json::from_slice::<&RawValue>(bytes).is_ok() {
            return Problem::invalid_field(pointer, "is not of the kind that is expected here");
        }
        refuse(error.inner(), pointer)
    })?;
    deserializer.end().map_err(|error| refuse(&error, String::new()))?;
    Ok(value)
}

fn refuse(error: &serde_json::Error, pointer: String) -> Problem {
    let text = error.to_string();
    let reason = text.split(" at line ").next().unwrap_or_default();
    match error.classify() {
        Category::Data => Problem::invalid_field(pointer, reason),
        Category::Syntax | Category::Eof | Category::Io => {
            let (line, column) = (error.line(), error.column());
            Problem::new(
                Code::MalformedJson,
                format!("not valid JSON at line {line}, column {column}: {reason}"),
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[derive(Debug, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Order {
        #[serde(rename = "type")]
        kind: String,
        #[serde(default)]
        lines: Vec<Line>,
    }

    #[derive(Debug, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Line {
        #[expect(dead_code, reason = "only its shape matters here")]
        count: u32,
    }

    #[test]
    fn what_is_not_json_is_told_with_line_and_column() {
        for text in [
            "",
            "{",
            "{'type':'a.b'}",
            "{/*c*/}",
            "{\"type\":\"\\x41\"}",
            "{\"type\":\"a\"} x",
            "{\"type\":\"a\",}",
        ] {
            let problem = parse::<Order>(text.as_bytes()).expect_err(text);
            assert_eq!(problem.code(), Code::MalformedJson, "{text}");
            assert!(problem.detail().contains("line 1, column"), "{}", problem.detail());
        }
        assert_eq!(
            parse::<Order>(b"{\"type\":\"\xff\"}").expect_err("not UTF-8").code(),
            Code::MalformedJson
        );
    }

    #[test]
    fn a_wrong_shape_is_told_with_a_pointer() {
        for (text, pointer) in [
            (r#"{"type":1}"#, "/type"),
            (r#"{"type":null}"#, "/type"),
            (r#"{"type":"a","lines":[{"count":1},{"count":-1}]}"#, "/lines/1/count"),
            (r#"{"type":"a","__proto__":{"admin":true}}"#, "/__proto__"),
            (r#"{"lines":[]}"#, ""),
            ("null", ""),
        ] {
            let problem = parse::<Order>(text.as_bytes()).expect_err(text);
            assert_eq!(problem.code(), Code::InvalidRequest, "{text}");
            assert_eq!(problem.field_errors()[0].pointer, pointer, "{text}");
            assert!(!problem.field_errors()[0].detail.contains(" at line "), "{text}");
        }
        assert_eq!(parse::<Order>(br#" {"type":"a"} "#).expect("an order").kind, "a");
        assert!(parse::<Order>(br#"{"type":"a"}"#).expect("an order").lines.is_empty());
    }

    #[tokio::test]
    async fn an_absent_body_is_not_an_empty_one() {
        type Optional = Option<JsonBody<Order>>;
        async fn extract(request: Request) -> Result<Optional, Problem> {
            <JsonBody<Order> as OptionalFromRequest<()>>::from_request(request, &()).await
        }
        let absent = Request::new(axum::body::Body::empty());
        assert!(extract(absent).await.expect("absent is fine").is_none());
        let mut empty = Request::new(axum::body::Body::empty());
        empty.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        assert_eq!(extract(empty).await.expect_err("empty is not JSON").code(), Code::MalformedJson);
    }
}
