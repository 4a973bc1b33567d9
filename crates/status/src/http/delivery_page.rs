//! One delivery with its tries, as the API shows it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use postrider_contract::attempt::{AttemptResult, BodyExtent, Header, Response, Timings};
use postrider_contract::clock::Timestamp;
use postrider_contract::delivery::Query;
use postrider_contract::ids::AttemptId;
use postrider_contract::ports::{AnswerBody, AttemptView, DeliveryView};
use postrider_contract::profile::ProfileName;
use postrider_contract::rendering::Rendered;
use postrider_contract::template::Gap;
use serde::Serialize;
use sha2::{Digest, Sha256};
use utoipa::ToSchema;

use super::deliveries::DeliverySummary;

/// A delivery with every try.
#[derive(Serialize, ToSchema)]
pub(super) struct DeliveryAnswer {
    #[serde(flatten)]
    summary: DeliverySummary,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    profile: Option<ProfileName>,
    /// Of a postback, while it can be rendered again.
    #[serde(skip_serializing_if = "Option::is_none")]
    postback: Option<PostbackAnswer>,
    tries: Vec<TryAnswer>,
}

/// A postback as it was filled from its event.
#[derive(Serialize, ToSchema)]
struct PostbackAnswer {
    /// What stands after the `?`; absent if it was too long to be sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    query: Option<String>,
    /// The macros that the event has no value for: each was filled with nothing.
    missing_macros: Vec<String>,
}

impl PostbackAnswer {
    fn of(again: &Rendered) -> Option<Self> {
        let missing_macros = again.missing_macros.clone();
        match &again.query {
            Query::OfUrl => None,
            Query::Filled(filled) => {
                let query = Some(String::from_utf8_lossy(filled).into_owned());
                Some(PostbackAnswer { query, missing_macros })
            }
            Query::TooLong(_) => Some(PostbackAnswer { query: None, missing_macros }),
        }
    }
}

/// One real HTTP call.
#[derive(Serialize, ToSchema)]
struct TryAnswer {
    #[schema(value_type = String)]
    id: AttemptId,
    number: u32,
    #[schema(value_type = String)]
    started_at: Timestamp,
    request: RequestAnswer,
    /// The address connected to.
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<String>,
    timings: TimingsAnswer,
    #[serde(skip_serializing_if = "Option::is_none")]
    response: Option<ResponseAnswer>,
    /// What kept a response from coming.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<ErrorAnswer>,
    /// `delivered`, `retry`, `failed`, `held`, `canceled`, `expired`
    outcome: &'static str,
    /// Why: `exhausted`, `permanent`, `status 500`, …
    #[serde(skip_serializing_if = "Option::is_none")]
    outcome_reason: Option<String>,
    /// After this try: when the next one was planned for.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    next_attempt_at: Option<Timestamp>,
}

/// The request as sent; secrets are masked.
#[derive(Serialize, ToSchema)]
struct RequestAnswer {
    method: String,
    url: String,
    headers: Vec<HeaderAnswer>,
    body_sha256: String,
    body_bytes: u64,
    /// The body, rendered again for display. Absent where that is not possible any more.
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<String>,
    /// Whether the body shown is, byte for byte, the one that was sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    body_matches: Option<bool>,
    /// Variables of the webhook's template that had no value in this event, or found no room.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    template_gaps: Vec<TemplateGap>,
}

#[derive(Serialize, ToSchema)]
struct TemplateGap {
    /// As the template names it: `event.data.score`
    variable: String,
    /// `missing`: the event's data has no such field; `no_room`: the body would have become too long
    reason: &'static str,
}

#[derive(Serialize, ToSchema)]
struct HeaderAnswer {
    name: String,
    value: String,
}

#[derive(Serialize, ToSchema)]
struct ResponseAnswer {
    status: u16,
    headers: Vec<HeaderAnswer>,
    /// Text, or base64 where it is not UTF-8 (`body_encoding`). Absent where it is not kept any more.
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<String>,
    /// `utf-8` or `base64`
    #[serde(skip_serializing_if = "Option::is_none")]
    body_encoding: Option<&'static str>,
    /// `whole`, `truncated` (over 16 KiB), `cut_off` (still coming when the time limit ran out), or `expired`: there
    /// was a body, and the time for which bodies are kept is over
    body_extent: &'static str,
}

#[derive(Serialize, ToSchema)]
struct ErrorAnswer {
    class: &'static str,
    detail: String,
}

/// Milliseconds from the start of the try to the end of each part.
#[derive(Serialize, ToSchema)]
struct TimingsAnswer {
    #[serde(skip_serializing_if = "Option::is_none")]
    dns_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    connect_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tls_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    first_byte_ms: Option<f64>,
    total_ms: f64,
}

impl DeliveryAnswer {
    /// `again` is what the delivery sends, rendered again.
    pub(super) fn new(view: DeliveryView, attempts: Vec<AttemptView>, again: Option<Rendered>) -> Self {
        let profile = view.profile.clone();
        let postback = again.as_ref().and_then(PostbackAnswer::of);
        let rendered = again.map(|again| (<[u8; 32]>::from(Sha256::digest(&again.body)), again));
        let tries = attempts.into_iter().map(|attempt| TryAnswer::new(attempt, rendered.as_ref())).collect();
        DeliveryAnswer { summary: view.into(), profile, postback, tries }
    }
}

impl TryAnswer {
    fn new(view: AttemptView, rendered: Option<&([u8; 32], Rendered)>) -> Self {
        let AttemptView { attempt, outcome, body } = view;
        let (response, error) = match attempt.result {
            AttemptResult::Response(response) => (Some(ResponseAnswer::new(response, body)), None),
            AttemptResult::Failure { class, detail } => {
                (None, Some(ErrorAnswer { class: class.as_str(), detail }))
            }
        };
        let sent = attempt.request;
        let body_matches = rendered.map(|(hash, _)| *hash == sent.body_sha256);
        // Only of the body that was sent can anything be said.
        let shown = rendered.map(|(_, again)| again);
        let gaps = shown.filter(|_| body_matches == Some(true)).map_or(&[][..], |again| &again.gaps);
        TryAnswer {
            id: attempt.id,
            number: attempt.number.number(),
            started_at: attempt.started_at,
            request: RequestAnswer {
                method: sent.method,
                url: sent.url,
                headers: headers(sent.headers),
                body_sha256: hex::encode(sent.body_sha256),
                body_bytes: sent.body_length,
                body: shown.map(|again| String::from_utf8_lossy(&again.body).into_owned()),
                body_matches,
                template_gaps: gaps.iter().map(TemplateGap::of).collect(),
            },
            address: attempt.address.map(|address| address.to_string()),
            timings: TimingsAnswer::new(attempt.timings),
            response,
            error,
            outcome: outcome.as_str(),
            outcome_reason: outcome.reason(),
            next_attempt_at: outcome.next_attempt_at(),
        }
    }
}

impl TemplateGap {
    fn of(gap: &Gap) -> Self {
        TemplateGap { variable: gap.variable.clone(), reason: gap.reason.as_str() }
    }
}

impl ResponseAnswer {
    fn new(response: Response, kept: AnswerBody) -> Self {
        let (status, headers) = (response.status, headers(response.headers));
        match kept {
            AnswerBody::Kept => {}
            AnswerBody::Expired => {
                return ResponseAnswer {
                    status,
                    headers,
                    body: None,
                    body_encoding: None,
                    body_extent: "expired",
                };
            }
        }
        let (body, body_encoding) = match String::from_utf8(response.body.to_vec()) {
            Ok(text) => (text, "utf-8"),
            Err(error) => (STANDARD.encode(error.as_bytes()), "base64"),
        };
        let body_extent = match response.extent {
            BodyExtent::Whole => "whole",
            BodyExtent::Truncated => "truncated",
            BodyExtent::CutOff => "cut_off",
        };
        ResponseAnswer { status, headers, body: Some(body), body_encoding: Some(body_encoding), body_extent }
    }
}

impl TimingsAnswer {
    fn new(timings: Timings) -> Self {
        let millis = |duration: std::time::Duration| (duration.as_secs_f64() * 1e6).round() / 1e3;
        TimingsAnswer {
            dns_ms: timings.dns.map(millis),
            connect_ms: timings.connect.map(millis),
            tls_ms: timings.tls.map(millis),
            first_byte_ms: timings.first_byte.map(millis),
            total_ms: millis(timings.total),
        }
    }
}

fn headers(headers: Vec<Header>) -> Vec<HeaderAnswer> {
    let answer = |header: Header| HeaderAnswer {
        name: header.name.into(),
        value: String::from_utf8_lossy(&header.value).into_owned(),
    };
    headers.into_iter().map(answer).collect()
}
