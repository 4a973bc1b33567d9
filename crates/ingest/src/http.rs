//! `POST /v1/events`, `POST /v1/events/batch` and `POST /v1/events/explain`.

mod explain;

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{FromRef, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use postrider_contract::ids::{DeliveryId, EventId, TenantId, WebhookId};
use postrider_contract::json::InvalidJson;
use postrider_contract::key::Scope;
use postrider_contract::ports::{IntakeError, IntakeReceipt};
use postrider_contract::schema::Violation;
use postrider_contract::submission::{InvalidSubmission, Submission};
use postrider_service::authentication::{Authenticator, Caller};
use postrider_service::metrics::{IngestMetrics, IngestResult, IngestSource};
use postrider_service::problem::{Code, FieldErrors, Problem, RETRY_SOON};
use postrider_service::raw_body::{BodyLimit, RawBatch, RawBody};
use postrider_service::sparing::Sparing;
use serde::Serialize;
use tokio::time::Instant;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::batch;
use crate::explaining::Explainer;
use crate::in_time::{ANSWER_WITHIN, answer_by};
use crate::intake::Intake;
use crate::key::IdempotencyKey;

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const IDEMPOTENCY_REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");
/// After a 429: the time in which a backlog shrinks noticeably.
const RETRY_LATER: Duration = Duration::from_secs(10);
/// Sixteen events of the largest size, or a thousand of 16 KiB.
const BATCH_LIMIT: BodyLimit = BodyLimit::bytes(16 * 1024 * 1024);

/// While the queue is away, every event is one of these.
static NOT_ACCEPTED: Sparing = Sparing::new(1, Duration::from_secs(1));
static IN_DOUBT: Sparing = Sparing::new(1, Duration::from_secs(1));

/// What the publish routes need.
#[derive(Clone, FromRef)]
pub struct IngestState {
    pub intake: Arc<Intake>,
    pub explainer: Arc<Explainer>,
    pub authenticator: Arc<Authenticator>,
    pub metrics: Arc<IngestMetrics>,
}

/// The publish routes.
pub fn routes(state: IngestState) -> OpenApiRouter {
    stateless().with_state(state)
}

/// Their description, for the generated document.
#[must_use]
pub fn description() -> utoipa::openapi::OpenApi {
    stateless().into_openapi()
}

fn stateless() -> OpenApiRouter<IngestState> {
    OpenApiRouter::new()
        .routes(routes!(publish_event))
        .routes(routes!(explain::explain_event))
        .merge(OpenApiRouter::new().routes(routes!(publish_batch)).layer(axum::Extension(BATCH_LIMIT)))
}

/// One delivery that an accepted event was given.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AcceptedDelivery {
    /// `dlv_…`
    #[schema(value_type = String)]
    id: DeliveryId,
    /// `wh_…`
    #[schema(value_type = String)]
    webhook_id: WebhookId,
}

/// An accepted event is durable: it will be delivered, or its end stands in the log.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AcceptedEvent {
    /// The producer's own id, or one we made (`evt_…`).
    #[schema(value_type = String)]
    pub(crate) id: EventId,
    pub(crate) deliveries: Vec<AcceptedDelivery>,
    /// What is not as the catalogue says, where the tenant has chosen to be warned.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) warnings: Vec<Warning>,
}

/// Something that the catalogue says otherwise: a JSON pointer into the event, and what is wrong there.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Warning {
    pointer: String,
    detail: String,
}

impl From<Violation> for Warning {
    fn from(Violation { pointer, detail }: Violation) -> Self {
        Warning { pointer, detail }
    }
}

/// An event that was accepted, and what its producer is to be warned of.
#[derive(Debug)]
pub(crate) struct Accepted {
    pub(crate) receipt: IntakeReceipt,
    pub(crate) warnings: Vec<Warning>,
}

impl From<Accepted> for AcceptedEvent {
    fn from(Accepted { receipt, warnings }: Accepted) -> Self {
        let delivery = |(id, webhook_id)| AcceptedDelivery { id, webhook_id };
        AcceptedEvent {
            id: receipt.event,
            deliveries: receipt.deliveries.into_iter().map(delivery).collect(),
            warnings,
        }
    }
}

/// An event as a producer sends it. `data` is kept byte for byte.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes the request; the bytes themselves are read by `Submission::parse`")]
pub(crate) struct EventRequest {
    /// Dotted words, for instance `conversion.created`.
    r#type: String,
    /// Any JSON object; required, or `versions`.
    #[schema(value_type = Option<Object>)]
    data: Option<serde_json::Value>,
    /// In the place of `data`: an object for each major, named `"1"`, `"2"` or `"2.1"`. Each webhook gets one: of the
    /// major it is pinned to, else of the highest.
    #[schema(value_type = Option<Object>)]
    versions: Option<serde_json::Value>,
    /// The producer's own id: 1 to 128 letters, digits, `-`, `_` and `:`. Unique within the tenant.
    id: Option<String>,
    /// RFC 3339; when it happened. The accept time if absent.
    timestamp: Option<String>,
    /// `major.minor`; `1.0` if absent.
    schema_version: Option<String>,
    summary: Option<String>,
    #[schema(value_type = Option<Object>)]
    workflow: Option<serde_json::Value>,
    /// Only these webhooks, as far as they subscribe to the type.
    webhook_ids: Option<Vec<String>>,
}

/// Publishes one event.
#[utoipa::path(
    post, path = "/v1/events", tag = "events", request_body = EventRequest,
    params(("Idempotency-Key" = Option<String>, Header, description = "repeats under the same key count once")),
    responses(
        (status = 202, body = AcceptedEvent),
        (status = 400, description = "malformed JSON"),
        (status = 401, description = "no valid key"),
        (status = 409, description = "the first request with this key is still running"),
        (status = 413, description = "over 1 MiB"),
        (status = 415, description = "not JSON"),
        (status = 422, description = "a field is wrong, or the key was used with another body"),
        (status = 429, description = "the backlog is too old; `Retry-After` says when to come back"),
        (status = 503, description = "not accepted, or in doubt; send it again under the same key"),
    )
)]
async fn publish_event(
    State(state): State<IngestState>,
    caller: Caller,
    headers: HeaderMap,
    body: RawBody,
) -> Response {
    let started = Instant::now();
    let result = publish_one(&state, &caller, &headers, body, started + ANSWER_WITHIN).await;
    state.metrics.durations.at(IngestSource::Http).observe(started.elapsed().as_secs_f64());
    match result {
        Ok(event) => {
            let is_repeat = event.receipt.replayed;
            let outcome = if is_repeat { IngestResult::Duplicate } else { IngestResult::Accepted };
            state.metrics.events.at(IngestSource::Http, outcome).inc();
            accepted(event)
        }
        Err(problem) => {
            state.metrics.events.at(IngestSource::Http, result_of(problem.code())).inc();
            problem.into_response()
        }
    }
}

/// Publishes up to 1,000 events; each stands for itself.
#[utoipa::path(
    post, path = "/v1/events/batch", tag = "events", request_body = Vec<EventRequest>,
    responses(
        (status = 202, body = batch::BatchAnswer, description = "in the order of the request"),
        (status = 400, description = "malformed JSON"),
        (status = 401, description = "no valid key"),
        (status = 413, description = "over 1,000 events, or over 16 MiB"),
        (status = 429, description = "the backlog is too old; nothing was accepted"),
        (status = 503, description = "nothing was accepted"),
    )
)]
async fn publish_batch(
    State(state): State<IngestState>,
    caller: Caller,
    headers: HeaderMap,
    batch: RawBatch,
) -> Result<Response, Problem> {
    let started = Instant::now();
    if headers.contains_key(IDEMPOTENCY_KEY) {
        let detail = "a batch takes no Idempotency-Key: give each event an id of its own instead";
        return Err(Problem::new(Code::BadRequest, detail));
    }
    let tenant = caller.tenant_with(Scope::Publish, state.authenticator.directory())?;
    state.intake.check_open(&tenant).map_err(|error| problem_of(error, None))?;
    let answer = batch::publish(&state, &tenant, batch, started + ANSWER_WITHIN).await?;
    Ok((StatusCode::ACCEPTED, Json(answer)).into_response())
}

async fn publish_one(
    state: &IngestState,
    caller: &Caller,
    headers: &HeaderMap,
    RawBody(body): RawBody,
    answer_by: Instant,
) -> Result<Accepted, Problem> {
    let tenant = caller.tenant_with(Scope::Publish, state.authenticator.directory())?;
    let key = idempotency_key(headers)?;
    accept(state, &tenant, &body, key, Text { start: Start::default(), answer_by }).await
}

/// How an event stands in its request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Text {
    pub(crate) start: Start,
    /// When the request is to be answered.
    pub(crate) answer_by: Instant,
}

/// Where an event's text begins in the request: lines and columns before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Start {
    pub(crate) lines: usize,
    pub(crate) columns: usize,
}

impl Start {
    /// An error's place as the request counts it.
    fn of_request(self, error: InvalidJson) -> InvalidJson {
        match error {
            InvalidJson::Syntax { line, column, reason } => {
                let columns = if line == 1 { self.columns } else { 0 };
                InvalidJson::Syntax { line: line + self.lines, column: column + columns, reason }
            }
            InvalidJson::TooDeep => InvalidJson::TooDeep,
            InvalidJson::NotAnObject => InvalidJson::NotAnObject,
        }
    }
}

/// Reads and accepts one event.
pub(crate) async fn accept(
    state: &IngestState,
    tenant: &TenantId,
    body: &Bytes,
    key: Option<IdempotencyKey>,
    text: Text,
) -> Result<Accepted, Problem> {
    let submission = read_submission(body, text.start)?;
    let named = submission.webhook_ids.clone();
    let warnings = state.intake.warnings_of(tenant, &submission);
    let (intake, tenant, body) = (Arc::clone(&state.intake), tenant.clone(), body.clone());
    let work = async move { intake.accept_request(&tenant, submission, key, &body).await };
    let receipt =
        answer_by(text.answer_by, work).await.map_err(|error| problem_of(error, named.as_deref()))?;
    Ok(Accepted { receipt, warnings: warnings.into_iter().map(Warning::from).collect() })
}

fn read_submission(body: &Bytes, start: Start) -> Result<Submission, Problem> {
    let submission = Submission::parse(body).map_err(|error| match error {
        InvalidSubmission::Json(error) => {
            Problem::new(Code::MalformedJson, start.of_request(error).to_string())
        }
        InvalidSubmission::Field { pointer, detail } => Problem::invalid_field(pointer, detail),
    })?;
    if submission.event_type.is_reserved() {
        return Err(Problem::invalid_field("/type", "types that begin with postrider. are reserved"));
    }
    Ok(submission)
}

fn idempotency_key(headers: &HeaderMap) -> Result<Option<IdempotencyKey>, Problem> {
    let mut values = headers.get_all(IDEMPOTENCY_KEY).iter();
    let Some(first) = values.next() else { return Ok(None) };
    // Named like a member, so that every 422 says in the same place what was wrong.
    let refused = |detail: String| Problem::invalid_field("/Idempotency-Key", detail);
    if values.next().is_some() {
        return Err(refused("Idempotency-Key was given more than once".to_owned()));
    }
    let text = first.to_str().unwrap_or_default();
    IdempotencyKey::parse(text).map(Some).map_err(|error| refused(format!("Idempotency-Key {error}")))
}

fn accepted(event: Accepted) -> Response {
    let replayed = event.receipt.replayed;
    let mut response = (StatusCode::ACCEPTED, Json(AcceptedEvent::from(event))).into_response();
    if replayed {
        response.headers_mut().insert(IDEMPOTENCY_REPLAYED, HeaderValue::from_static("true"));
    }
    response
}

/// `named`: the webhooks that the event was meant for, as its producer listed them.
fn problem_of(error: IntakeError, named: Option<&[WebhookId]>) -> Problem {
    match error {
        IntakeError::UnknownTenant => Problem::not_found(),
        IntakeError::UnreadableTenant => {
            let detail = "the event was not accepted: this version of Postrider cannot read the tenant, which a newer \
                          one wrote; send it again, once every process is of the newer version";
            Problem::new(Code::Unavailable, detail).with_retry_after(RETRY_SOON)
        }
        IntakeError::UnknownWebhook(id) => {
            let index = named.and_then(|ids| ids.iter().position(|named| *named == id));
            let pointer =
                index.map_or_else(|| "/webhook_ids".to_owned(), |index| format!("/webhook_ids/{index}"));
            Problem::invalid_field(pointer, format!("webhook {id} does not exist"))
        }
        IntakeError::UnusableWebhook(id) => {
            tracing::warn!(webhook.id = %id, "an event was not accepted, since this version cannot read a webhook");
            let detail = format!(
                "the event was not accepted: it may be for webhook {id}, which this version of Postrider cannot read; \
                 send it again, once every process is of the newer version"
            );
            Problem::new(Code::Unavailable, detail).with_retry_after(RETRY_SOON)
        }
        IntakeError::KeyReused => Problem::new(Code::IdempotencyKeyReused, error.to_string()),
        IntakeError::KeyInProgress => {
            Problem::new(Code::IdempotencyInProgress, error.to_string()).with_retry_after(RETRY_SOON)
        }
        IntakeError::Unrenderable { pointer, detail } => Problem::invalid_field(pointer, detail),
        IntakeError::SchemaBroken { violations } => {
            let mut errors = FieldErrors::default();
            violations.into_iter().for_each(|one| errors.add(one.pointer, one.detail));
            errors.into_problem()
        }
        IntakeError::Unavailable { reason } => {
            if let Some(untold) = NOT_ACCEPTED.tell() {
                tracing::warn!(reason, untold, "an event was not accepted");
            }
            Problem::new(Code::Unavailable, "the event was not accepted; send it again")
                .with_retry_after(RETRY_SOON)
        }
        IntakeError::InDoubt { reason } => {
            if let Some(untold) = IN_DOUBT.tell() {
                tracing::warn!(reason, untold, "an event is in doubt");
            }
            let detail =
                "the event may have been accepted; send it again, with the same key or id if it has one";
            Problem::new(Code::InDoubt, detail).with_retry_after(RETRY_SOON)
        }
        IntakeError::Overloaded => {
            let detail = "events that came before this one wait for too long already";
            Problem::new(Code::TooManyRequests, detail).with_retry_after(RETRY_LATER)
        }
    }
}

/// For the metric: which of our results a refusal was.
pub(crate) fn result_of(code: Code) -> IngestResult {
    match code {
        Code::Unauthorized | Code::Forbidden | Code::NotFound => IngestResult::Unauthorized,
        Code::TooManyRequests => IngestResult::Limited,
        Code::Unavailable | Code::InDoubt | Code::Internal => IngestResult::Unavailable,
        Code::BadRequest
        | Code::MalformedJson
        | Code::InvalidQuery
        | Code::MethodNotAllowed
        | Code::RequestTimeout
        | Code::Conflict
        | Code::IdempotencyInProgress
        | Code::PreconditionFailed
        | Code::PayloadTooLarge
        | Code::UriTooLong
        | Code::UnsupportedMediaType
        | Code::InvalidRequest
        | Code::IdempotencyKeyReused
        | Code::HeadTooLarge => IngestResult::Invalid,
    }
}

#[cfg(test)]
mod tests;
