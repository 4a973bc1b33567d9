//! What the API answers when it refuses: `application/problem+json` (RFC 9457) with a stable code.
//!
//! A [`Code`] decides status and title, so the same refusal looks the same everywhere. Nothing in a problem
//! comes from inside: no address, no statement, no cause. Answers to unknown, foreign and deleted ids are
//! byte-identical, since a request id is written into the body of server errors only.

use std::borrow::Cow;
use std::fmt::{self, Display};
use std::time::Duration;

use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};
pub use postrider_contract::json::pointer_step;
use serde::ser::{Serialize, SerializeMap, Serializer};

/// The media type of every refusal.
pub const PROBLEM_JSON: &str = "application/problem+json";

/// For `Retry-After` with a 503: the time a reconnect to the engine takes.
pub const RETRY_SOON: Duration = Duration::from_secs(2);

/// More than this a client will not read, and a hostile body could name any number of fields.
const MAX_FIELD_ERRORS: usize = 32;

/// The stable codes of refusals. Each has a page under `docs/errors/`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Code {
    BadRequest,
    MalformedJson,
    InvalidQuery,
    Unauthorized,
    Forbidden,
    NotFound,
    MethodNotAllowed,
    RequestTimeout,
    Conflict,
    IdempotencyInProgress,
    PreconditionFailed,
    PayloadTooLarge,
    UriTooLong,
    UnsupportedMediaType,
    InvalidRequest,
    IdempotencyKeyReused,
    TooManyRequests,
    HeadTooLarge,
    Internal,
    Unavailable,
    InDoubt,
}

impl Code {
    /// Every code, for the reference pages and their check.
    pub const ALL: [Code; 21] = [
        Code::BadRequest,
        Code::MalformedJson,
        Code::InvalidQuery,
        Code::Unauthorized,
        Code::Forbidden,
        Code::NotFound,
        Code::MethodNotAllowed,
        Code::RequestTimeout,
        Code::Conflict,
        Code::IdempotencyInProgress,
        Code::PreconditionFailed,
        Code::PayloadTooLarge,
        Code::UriTooLong,
        Code::UnsupportedMediaType,
        Code::InvalidRequest,
        Code::IdempotencyKeyReused,
        Code::TooManyRequests,
        Code::HeadTooLarge,
        Code::Internal,
        Code::Unavailable,
        Code::InDoubt,
    ];

    fn facts(self) -> (&'static str, StatusCode, &'static str) {
        match self {
            Code::BadRequest => ("bad_request", StatusCode::BAD_REQUEST, "Bad request"),
            Code::MalformedJson => ("malformed_json", StatusCode::BAD_REQUEST, "Malformed JSON"),
            Code::InvalidQuery => ("invalid_query", StatusCode::BAD_REQUEST, "Invalid query"),
            Code::Unauthorized => ("unauthorized", StatusCode::UNAUTHORIZED, "Unauthorized"),
            Code::Forbidden => ("forbidden", StatusCode::FORBIDDEN, "Forbidden"),
            Code::NotFound => ("not_found", StatusCode::NOT_FOUND, "Not found"),
            Code::MethodNotAllowed => {
                ("method_not_allowed", StatusCode::METHOD_NOT_ALLOWED, "Method not allowed")
            }
            Code::RequestTimeout => ("request_timeout", StatusCode::REQUEST_TIMEOUT, "Request too slow"),
            Code::Conflict => ("conflict", StatusCode::CONFLICT, "Conflict"),
            Code::IdempotencyInProgress => {
                ("idempotency_in_progress", StatusCode::CONFLICT, "First request still in progress")
            }
            Code::PreconditionFailed => {
                ("precondition_failed", StatusCode::PRECONDITION_FAILED, "Changed meanwhile")
            }
            Code::PayloadTooLarge => {
                ("payload_too_large", StatusCode::PAYLOAD_TOO_LARGE, "Payload too large")
            }
            Code::UriTooLong => ("uri_too_long", StatusCode::URI_TOO_LONG, "URI too long"),
            Code::UnsupportedMediaType => {
                ("unsupported_media_type", StatusCode::UNSUPPORTED_MEDIA_TYPE, "Unsupported media type")
            }
            Code::InvalidRequest => ("invalid_request", StatusCode::UNPROCESSABLE_ENTITY, "Invalid request"),
            Code::IdempotencyKeyReused => {
                ("idempotency_key_reused", StatusCode::UNPROCESSABLE_ENTITY, "Idempotency key reused")
            }
            Code::TooManyRequests => {
                ("too_many_requests", StatusCode::TOO_MANY_REQUESTS, "Too many requests")
            }
            Code::HeadTooLarge => {
                ("head_too_large", StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "Request head too large")
            }
            Code::Internal => ("internal", StatusCode::INTERNAL_SERVER_ERROR, "Internal error"),
            Code::Unavailable => ("unavailable", StatusCode::SERVICE_UNAVAILABLE, "Unavailable"),
            Code::InDoubt => ("in_doubt", StatusCode::SERVICE_UNAVAILABLE, "Outcome in doubt"),
        }
    }

    /// The name clients may rely on, `snake_case`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.facts().0
    }

    #[must_use]
    pub fn status(self) -> StatusCode {
        self.facts().1
    }

    #[must_use]
    pub fn title(self) -> &'static str {
        self.facts().2
    }

    /// The code that stands for a bare status, for answers made by a library.
    #[must_use]
    pub fn for_status(status: StatusCode) -> Self {
        let specific = Code::ALL.into_iter().find(|code| code.status() == status);
        let general = if status.is_server_error() { Code::Internal } else { Code::BadRequest };
        specific.unwrap_or(general)
    }
}

impl Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One field that was refused: a JSON pointer (RFC 6901) into the request body, and why.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct FieldError {
    pub pointer: String,
    pub detail: String,
}

/// A refusal, ready to be answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    code: Code,
    detail: Cow<'static, str>,
    errors: Vec<FieldError>,
    retry_after: Option<Duration>,
}

impl Problem {
    /// `detail` is read by the client: what to do about it, nothing from inside.
    #[must_use]
    pub fn new(code: Code, detail: impl Into<Cow<'static, str>>) -> Self {
        Problem { code, detail: detail.into(), errors: Vec::new(), retry_after: None }
    }

    /// The one answer to unknown, foreign and deleted ids.
    #[must_use]
    pub fn not_found() -> Self {
        Problem::new(Code::NotFound, "there is nothing here that this key can see")
    }

    /// The one answer to missing, wrong, expired and revoked keys.
    #[must_use]
    pub fn unauthorized() -> Self {
        Problem::new(Code::Unauthorized, "a valid key is needed: Authorization: Bearer <key>")
    }

    /// A failure of ours; its cause belongs in the log.
    #[must_use]
    pub fn internal() -> Self {
        Problem::new(
            Code::Internal,
            "something failed on our side; the log has the cause under this request id",
        )
    }

    /// 422 for one field.
    #[must_use]
    pub fn invalid_field(pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        let mut errors = FieldErrors::default();
        errors.add(pointer, detail);
        errors.into_problem()
    }

    /// When to come back; rounded up to whole seconds, at least one.
    #[must_use]
    pub fn with_retry_after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }

    #[must_use]
    pub fn code(&self) -> Code {
        self.code
    }

    #[must_use]
    pub fn detail(&self) -> &str {
        &self.detail
    }

    #[must_use]
    pub fn field_errors(&self) -> &[FieldError] {
        &self.errors
    }

    /// The body, with the id under which the log knows the request where there is one to tell.
    pub(crate) fn to_json(&self, request_id: Option<&str>) -> Vec<u8> {
        let body = Body { problem: self, request_id };
        serde_json::to_vec(&body).expect("a problem holds strings and numbers only, which always serialise")
    }

    pub(crate) fn into_response_for(self, request_id: Option<&str>) -> Response {
        let mut response = Response::new(axum::body::Body::from(self.to_json(request_id)));
        *response.status_mut() = self.code.status();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
        if self.code == Code::Unauthorized {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(wait) = self.retry_after {
            let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds.max(1)));
        }
        if self.code.status().is_server_error() {
            response.extensions_mut().insert(self);
        }
        response
    }
}

impl Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.detail)
    }
}

impl std::error::Error for Problem {}

impl Serialize for Problem {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Body { problem: self, request_id: None }.serialize(serializer)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        self.into_response_for(None)
    }
}

/// Goes with a refusal that the log does not tell of: of a probe, which comes every few seconds and hears what the log told
/// as it changed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NotLogged;

struct Body<'a> {
    problem: &'a Problem,
    request_id: Option<&'a str>,
}

impl Serialize for Body<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Problem { code, detail, errors, retry_after: _ } = self.problem;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("type", &format_args!("/docs/errors/{code}"))?;
        map.serialize_entry("title", code.title())?;
        map.serialize_entry("status", &code.status().as_u16())?;
        map.serialize_entry("detail", detail)?;
        map.serialize_entry("code", code.as_str())?;
        if !errors.is_empty() {
            map.serialize_entry("errors", errors)?;
        }
        if let Some(request_id) = self.request_id {
            map.serialize_entry("request_id", request_id)?;
        }
        map.end()
    }
}

/// Collects what is wrong with a body, so that a client hears of all of it at once.
#[derive(Debug, Default)]
pub struct FieldErrors(Vec<FieldError>);

impl FieldErrors {
    /// Kept up to a bound of 32; what is past it changes nothing about the refusal.
    pub fn add(&mut self, pointer: impl Into<String>, detail: impl Into<String>) {
        if self.0.len() < MAX_FIELD_ERRORS {
            self.0.push(FieldError { pointer: pointer.into(), detail: detail.into() });
        }
    }

    /// The value of a check, or `None` after noting its error under `pointer`.
    pub fn check<T, E: Display>(&mut self, pointer: &str, checked: Result<T, E>) -> Option<T> {
        checked.map_err(|error| self.add(pointer, error.to_string())).ok()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// # Errors
    /// 422 with every field noted, if any was.
    pub fn into_result(self) -> Result<(), Problem> {
        if self.is_empty() { Ok(()) } else { Err(self.into_problem()) }
    }

    /// 422 with what was noted; its detail is that of the first field.
    #[must_use]
    pub fn into_problem(self) -> Problem {
        self.into_problem_of(Code::InvalidRequest)
    }

    pub(crate) fn into_problem_of(self, code: Code) -> Problem {
        let detail = match self.0.first() {
            Some(first) if first.pointer.is_empty() => first.detail.clone(),
            Some(first) => format!("{}: {}", first.pointer, first.detail),
            None => "the request was understood but cannot be accepted".to_owned(),
        };
        Problem { errors: self.0, ..Problem::new(code, detail) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_distinct_and_decide_the_status() {
        let names: std::collections::HashSet<_> = Code::ALL.iter().map(|code| code.as_str()).collect();
        assert_eq!(names.len(), Code::ALL.len());
        for (code, status) in [
            (Code::IdempotencyKeyReused, 422),
            (Code::IdempotencyInProgress, 409),
            (Code::InDoubt, 503),
            (Code::MalformedJson, 400),
        ] {
            assert_eq!(code.status().as_u16(), status, "{code}");
        }
        assert_eq!(Code::for_status(StatusCode::NOT_FOUND), Code::NotFound);
        assert_eq!(Code::for_status(StatusCode::IM_A_TEAPOT), Code::BadRequest);
        assert_eq!(Code::for_status(StatusCode::BAD_GATEWAY), Code::Internal);
    }

    #[test]
    fn a_problem_is_written_as_rfc_9457_says() {
        let problem = Problem::invalid_field("/events/0", "no such type");
        let body: serde_json::Value = serde_json::from_slice(&problem.to_json(None)).expect("JSON");
        assert_eq!(
            body,
            serde_json::json!({
                "type": "/docs/errors/invalid_request",
                "title": "Invalid request",
                "status": 422,
                "detail": "/events/0: no such type",
                "code": "invalid_request",
                "errors": [{"pointer": "/events/0", "detail": "no such type"}],
            })
        );
    }

    #[test]
    fn a_wait_is_told_in_whole_seconds_and_never_as_zero() {
        for (wait, told) in [(Duration::ZERO, "1"), (Duration::from_millis(1500), "2")] {
            let response = Problem::new(Code::Unavailable, "later").with_retry_after(wait).into_response();
            assert_eq!(response.headers()[RETRY_AFTER], told);
            assert_eq!(response.headers()[CONTENT_TYPE], PROBLEM_JSON);
        }
    }

    #[test]
    fn all_fields_are_told_at_once_and_their_number_is_bounded() {
        let mut errors = FieldErrors::default();
        assert_eq!(errors.check("/a", "1".parse::<u8>()), Some(1));
        assert_eq!(errors.check("/b", "x".parse::<u8>()), None);
        for _ in 0..100 {
            errors.add("/c", "too many");
        }
        let problem = errors.into_result().expect_err("fields were noted");
        assert_eq!(problem.field_errors().len(), MAX_FIELD_ERRORS);
        assert_eq!(problem.field_errors()[0].pointer, "/b");
        assert_eq!(pointer_step("a/b~c"), "a~1b~0c");
    }
}
