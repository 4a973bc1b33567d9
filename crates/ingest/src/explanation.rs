//! An explanation as the API shows it.

use http::HeaderName;
use postrider_contract::clock::Timestamp;
use postrider_contract::event::{EventType, SchemaVersion};
use postrider_contract::filter::FailedTerm;
use postrider_contract::ids::{DeliveryId, EventId, WebhookId};
use postrider_contract::outcome::StatusReason;
use postrider_contract::profile::ProfileName;
use postrider_contract::rendering::RenderError;
use postrider_contract::template::Gap;
use postrider_contract::webhook::{Webhook, WebhookState};
use postrider_service::webhook_requests::TryRequest;
use serde::Serialize;
use sha2::{Digest, Sha256};
use utoipa::ToSchema;

use crate::explaining::{
    Cause, Changed, Explained, ExplainedMatch, ExplainedRequest, Explanation, Signatures, Verdict,
};
use crate::http::Warning;
use crate::matching::Obstacle;

/// Bodies past this are left off: sixteen events of the largest size.
const MAX_BODIES: usize = 16 * 1024 * 1024;

/// What would become of an event.
#[derive(Serialize, ToSchema)]
pub(crate) struct ExplainAnswer {
    event: ExplainedEventView,
    /// How many of the tenant's webhooks it goes to.
    matched: usize,
    /// What of the event is not as the catalogue says, where the tenant has its events looked at (`schema_check`).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    schema_warnings: Vec<Warning>,
    /// The whole event would be refused for them: the tenant's `schema_check` is `enforce`.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    refused_by_schema: bool,
    /// Whether the requests are signed as they would be. If not, the key may not publish: signatures are left out.
    signed: bool,
    /// Those that it goes to first; 200 at most.
    webhooks: Vec<ExplainedWebhookView>,
    /// How many webhooks are not told of.
    left_off: usize,
}

/// The event as it would be accepted.
#[derive(Serialize, ToSchema)]
struct ExplainedEventView {
    #[schema(value_type = String)]
    id: EventId,
    #[schema(value_type = String)]
    r#type: EventType,
    /// Absent where there are several versions.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    schema_version: Option<SchemaVersion>,
    #[schema(value_type = String, format = DateTime)]
    timestamp: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    accepted_at: Timestamp,
    /// When the first try begins.
    #[schema(value_type = String, format = DateTime)]
    tried_at: Timestamp,
}

/// What one webhook has to do with the event.
#[derive(Serialize, ToSchema)]
struct ExplainedWebhookView {
    #[schema(value_type = String)]
    webhook_id: WebhookId,
    name: String,
    /// `webhook` or `postback`
    kind: &'static str,
    /// The profile that its requests follow.
    #[schema(value_type = String)]
    profile: ProfileName,
    matches: bool,
    /// Everything that keeps the event from it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    reasons: Vec<ReasonAnswer>,
    /// Why the whole event would be refused: this profile's envelope does not take its data.
    #[serde(skip_serializing_if = "Option::is_none")]
    refused: Option<RefusedAnswer>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    delivery_id: Option<DeliveryId>,
    /// Of the data that it is sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    schema_version: Option<SchemaVersion>,
    /// Why its delivery waits first: `paused`, `rate_limited`, or `overflow`: others wait before it.
    #[serde(skip_serializing_if = "Option::is_none")]
    held: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request: Option<ExplainedRequestView>,
    /// Why there is no request.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
    /// What of the request is of its moment, and would be different at another.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    of_the_moment: Vec<ChangedAnswer>,
    /// Variables of its template that have no value in this event, or find no room.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    template_gaps: Vec<GapAnswer>,
    /// Macros of a postback that this event has no value for: each is filled with nothing.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    missing_macros: Vec<String>,
    /// When each try is due if every one before it fails at once; chance and the receiver's `Retry-After` left out.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<String>)]
    tries: Vec<Timestamp>,
}

/// Something that keeps the event from a webhook.
#[derive(Serialize, ToSchema)]
struct ReasonAnswer {
    /// `other_type`, `other_major`, `filter`, `paused`, `disabled` or `not_named`
    code: &'static str,
    detail: String,
    /// The terms of its filter that failed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    terms: Vec<TermAnswer>,
}

#[derive(Serialize, ToSchema)]
struct TermAnswer {
    /// Its place in the filter, as a JSON pointer.
    pointer: String,
    /// The path in `data` that it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    field: Option<String>,
    detail: String,
}

#[derive(Serialize, ToSchema)]
struct RefusedAnswer {
    pointer: String,
    detail: String,
}

/// The first try's request, as it is written.
#[derive(Serialize, ToSchema)]
struct ExplainedRequestView {
    method: String,
    url: String,
    /// What follows the method in the request line.
    target: String,
    /// In their order and case.
    headers: Vec<ExplainedHeaderView>,
    /// Absent where the bodies before it are 16 MiB together.
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<String>,
    body_sha256: String,
    body_bytes: usize,
}

#[derive(Serialize, ToSchema)]
struct ExplainedHeaderView {
    name: String,
    value: String,
    /// Its value is a credential, and not shown.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    masked: bool,
}

/// What another moment would have changed.
#[derive(Serialize, ToSchema)]
struct ChangedAnswer {
    /// What would be another: `event_id` (none was given), `accepted_at`, `tried_at` or `attempt_number`
    cause: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    headers: Vec<String>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    query: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    body: bool,
}

#[derive(Serialize, ToSchema)]
struct GapAnswer {
    variable: String,
    /// `missing` or `no_room`
    reason: &'static str,
}

impl ExplainAnswer {
    pub(crate) fn new(explanation: Explanation, signatures: Signatures) -> Self {
        let Explanation { event, violations, is_refused, tried_at, matched, webhooks, left_off } =
            explanation;
        let mut room = MAX_BODIES;
        let event_type = event.event_type.clone();
        ExplainAnswer {
            event: ExplainedEventView {
                id: event.id,
                r#type: event.event_type,
                schema_version: Some(event.schema_version)
                    .filter(|version| *version != SchemaVersion::SEVERAL),
                timestamp: event.timestamp,
                accepted_at: event.accepted_at,
                tried_at,
            },
            matched,
            schema_warnings: violations.into_iter().map(Warning::from).collect(),
            refused_by_schema: is_refused,
            signed: signatures == Signatures::Made,
            webhooks: webhooks
                .into_iter()
                .map(|one| ExplainedWebhookView::new(one, &event_type, &mut room))
                .collect(),
            left_off,
        }
    }
}

impl ExplainedWebhookView {
    fn new(explained: Explained, event_type: &EventType, room: &mut usize) -> Self {
        let Explained { entry, verdict } = explained;
        let webhook = &entry.webhook;
        let blank = ExplainedWebhookView {
            webhook_id: webhook.id,
            name: webhook.name.clone(),
            kind: webhook.kind.as_str(),
            profile: entry.profile.profile.name().clone(),
            matches: true,
            reasons: Vec::new(),
            refused: None,
            delivery_id: None,
            schema_version: None,
            held: None,
            request: None,
            problem: None,
            of_the_moment: Vec::new(),
            template_gaps: Vec::new(),
            missing_macros: Vec::new(),
            tries: Vec::new(),
        };
        match verdict {
            Verdict::NoMatch(obstacles, terms) => {
                let reason = |obstacle: &Obstacle| ReasonAnswer::new(*obstacle, webhook, event_type, &terms);
                let reasons = obstacles.iter().map(reason).collect();
                ExplainedWebhookView { matches: false, reasons, ..blank }
            }
            Verdict::Refused(RenderError { pointer, detail }) => {
                ExplainedWebhookView { refused: Some(RefusedAnswer { pointer, detail }), ..blank }
            }
            Verdict::Match(matched) => blank.with_match(*matched, webhook, room),
        }
    }

    fn with_match(self, matched: ExplainedMatch, webhook: &Webhook, room: &mut usize) -> Self {
        let (request, problem, of_the_moment) = match matched.request {
            Ok(ExplainedRequest { request, authentication, of_the_moment }) => {
                let answer = ExplainedRequestView::new(&request, webhook, authentication.as_ref(), room);
                (Some(answer), None, of_the_moment)
            }
            Err(error) => (None, Some(error.to_string()), Vec::new()),
        };
        ExplainedWebhookView {
            delivery_id: Some(matched.delivery.reference.id),
            schema_version: Some(matched.schema_version),
            held: matched.held.map(|why| StatusReason::Held(why).as_str()),
            request,
            problem,
            of_the_moment: of_the_moment.into_iter().map(ChangedAnswer::from).collect(),
            template_gaps: matched.gaps.iter().map(GapAnswer::of).collect(),
            missing_macros: matched.missing_macros,
            tries: matched.tries,
            ..self
        }
    }
}

impl ReasonAnswer {
    fn new(obstacle: Obstacle, webhook: &Webhook, event_type: &EventType, terms: &[FailedTerm]) -> Self {
        let (code, detail) = match obstacle {
            Obstacle::NotNamed => {
                ("not_named", "the event names its webhooks, and this one is not among them".to_owned())
            }
            Obstacle::OtherType => {
                let types: Vec<String> = webhook.events.iter().map(ToString::to_string).collect();
                ("other_type", format!("it subscribes to {}, not to {event_type}", types.join(", ")))
            }
            Obstacle::OtherMajor => ("other_major", other_major_detail(webhook)),
            Obstacle::Paused => {
                ("paused", "it is paused, and its profile skips what comes meanwhile".to_owned())
            }
            Obstacle::Disabled => ("disabled", disabled_detail(&webhook.state)),
            Obstacle::Filter => {
                let terms: Vec<TermAnswer> = terms.iter().map(TermAnswer::of).collect();
                let detail = "its filter does not take this data".to_owned();
                return ReasonAnswer { code: "filter", detail, terms };
            }
        };
        ReasonAnswer { code, detail, terms: Vec::new() }
    }
}

fn other_major_detail(webhook: &Webhook) -> String {
    match webhook.schema_major {
        Some(major) => format!("it is pinned to a major that is not there: {major}"),
        None => "it is pinned to a major that is not there".to_owned(),
    }
}

fn disabled_detail(state: &WebhookState) -> String {
    match state {
        WebhookState::Disabled { reason, since } => format!("it is disabled since {since}: {reason}"),
        WebhookState::Active | WebhookState::Paused { .. } => "it is disabled".to_owned(),
    }
}

impl TermAnswer {
    fn of(term: &FailedTerm) -> Self {
        let FailedTerm { pointer, field, mismatch } = term;
        TermAnswer { pointer: pointer.clone(), field: field.clone(), detail: mismatch.to_string() }
    }
}

impl ExplainedRequestView {
    /// `room` is what is left for bodies.
    fn new(
        request: &TryRequest,
        webhook: &Webhook,
        authentication: Option<&HeaderName>,
        room: &mut usize,
    ) -> Self {
        let scheme = if webhook.url.is_tls() { "https" } else { "http" };
        let is_shown = request.body.len() <= *room;
        if is_shown {
            *room -= request.body.len();
        }
        ExplainedRequestView {
            method: request.method.as_str().to_owned(),
            url: format!("{scheme}://{}{}", webhook.url.authority(), request.target),
            target: request.target.to_string(),
            headers: headers(request, authentication),
            body: is_shown.then(|| String::from_utf8_lossy(&request.body).into_owned()),
            body_sha256: hex::encode(Sha256::digest(&request.body)),
            body_bytes: request.body.len(),
        }
    }
}

fn headers(request: &TryRequest, authentication: Option<&HeaderName>) -> Vec<ExplainedHeaderView> {
    let answer = |(name, value): (&str, &http::HeaderValue)| {
        let is_masked = authentication.is_some_and(|header| header.as_str().eq_ignore_ascii_case(name));
        let shown = request.shown.iter().find(|shown| is_masked && &*shown.name == name);
        let value = shown.map_or(value.as_bytes(), |shown| &shown.value);
        ExplainedHeaderView {
            name: name.to_owned(),
            value: String::from_utf8_lossy(value).into_owned(),
            masked: is_masked,
        }
    };
    request.written().map(answer).collect()
}

impl From<Changed> for ChangedAnswer {
    fn from(Changed { cause, headers, query, body }: Changed) -> Self {
        let cause = match cause {
            Cause::EventId => "event_id",
            Cause::AcceptedAt => "accepted_at",
            Cause::TriedAt => "tried_at",
            Cause::AttemptNumber => "attempt_number",
        };
        ChangedAnswer { cause, headers, query, body }
    }
}

impl GapAnswer {
    fn of(gap: &Gap) -> Self {
        GapAnswer { variable: gap.variable.clone(), reason: gap.reason.as_str() }
    }
}
