//! `POST /v1/webhooks/{id}/test`: an example event, sent by the ordinary path, and what the receiver answered.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::response::IntoResponse;
use bytes::Bytes;
use http::StatusCode;
use postrider_contract::attempt::{AttemptResult, Response};
use postrider_contract::clock::Timestamp;
use postrider_contract::delivery::Origin;
use postrider_contract::event::{EventType, SchemaVersion};
use postrider_contract::ids::{AttemptId, DeliveryId, EventId, WebhookId};
use postrider_contract::json::RawObject;
use postrider_contract::ports::{AttemptView, IntakeError};
use postrider_contract::submission::Submission;
use postrider_contract::subscription::TypePattern;
use postrider_contract::webhook::Webhook;
use postrider_service::config_object::webhook_key;
use postrider_service::in_path::InPath;
use postrider_service::json_body::JsonBody;
use postrider_service::problem::{Code, Problem, RETRY_SOON};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use utoipa::ToSchema;

use crate::access::Manager;
use crate::documents::unavailable;
use crate::state::ManageState;

/// What the API promises; within common clients' time limits.
const WAIT_FOR_ATTEMPT: Duration = Duration::from_secs(15);
/// How often the log is asked: at first as soon as a quick receiver may have answered, then less often.
const FIRST_POLL: Duration = Duration::from_millis(25);
const SLOWEST_POLL: Duration = Duration::from_millis(500);

/// Takes nothing; a body, if there is one, is an empty object.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TestRequest {}

/// What became of a test.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TestAnswer {
    /// The delivery, `dlv_…`.
    #[schema(value_type = String)]
    id: DeliveryId,
    #[schema(value_type = String)]
    webhook_id: WebhookId,
    #[schema(value_type = String)]
    event_id: EventId,
    #[schema(value_type = String)]
    event_type: EventType,
    /// The first try; absent if none was made yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    attempt: Option<TestAttempt>,
}

/// One try, in short and under the names of the delivery log, where the whole of it stands.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TestAttempt {
    #[schema(value_type = String)]
    id: AttemptId,
    number: u32,
    #[schema(value_type = String, format = DateTime)]
    started_at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    response: Option<TestResponse>,
    /// What kept a response from coming.
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<TestError>,
    timings: TestTimings,
    /// What the try came to: `delivered`, `retry` or `failed`. An answer with 2xx may be none of success: a chat can say
    /// no in its text.
    outcome: &'static str,
    /// Why it did not come to `delivered`: `status 500`, `permanent: status 404`, …
    #[serde(skip_serializing_if = "Option::is_none")]
    outcome_reason: Option<String>,
    /// When it is tried again.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    next_attempt_at: Option<Timestamp>,
}

#[derive(Debug, Serialize, ToSchema)]
struct TestResponse {
    status: u16,
    /// Its beginning, as text.
    body: String,
}

#[derive(Debug, Serialize, ToSchema)]
struct TestError {
    /// `dns`, `connect`, `tls`, `timeout_…`, `blocked`, `closed` or `protocol`
    class: &'static str,
    detail: String,
}

#[derive(Debug, Serialize, ToSchema)]
struct TestTimings {
    /// Milliseconds from the start of the try to its end.
    total_ms: f64,
}

impl From<AttemptView> for TestAttempt {
    fn from(AttemptView { attempt, outcome, body: _ }: AttemptView) -> Self {
        let (response, error) = match attempt.result {
            AttemptResult::Response(Response { status, body, .. }) => {
                (Some(TestResponse { status, body: String::from_utf8_lossy(&body).into_owned() }), None)
            }
            AttemptResult::Failure { class, detail } => {
                (None, Some(TestError { class: class.as_str(), detail }))
            }
        };
        TestAttempt {
            id: attempt.id,
            number: attempt.number.number(),
            started_at: attempt.started_at,
            response,
            error,
            timings: TestTimings { total_ms: attempt.timings.total.as_secs_f64() * 1000.0 },
            outcome: outcome.as_str(),
            outcome_reason: outcome.reason(),
            next_attempt_at: outcome.next_attempt_at(),
        }
    }
}

/// Sends an example event of a subscribed type to this webhook alone.
#[utoipa::path(
    post, path = "/v1/webhooks/{id}/test", tag = "webhooks", request_body = Option<TestRequest>,
    params(("id" = String, Path, description = "`wh_…`")),
    responses(
        (status = 200, body = TestAnswer, description = "with the first try"),
        (status = 202, body = TestAnswer, description = "no try was made within 15 s, or the webhook is not active"),
        (status = 401, description = "no valid key"),
        (status = 403, description = "the key may not manage"),
        (status = 404, description = "there is no such webhook"),
        (status = 409, description = "the webhook takes no deliveries as it is"),
        (status = 429, description = "the backlog is too old"),
        (status = 503, description = "the event was not accepted, or is in doubt"),
    )
)]
pub(crate) async fn test_webhook(
    State(state): State<ManageState>,
    Manager(tenant): Manager,
    InPath(id): InPath<WebhookId>,
    _: Option<JsonBody<TestRequest>>,
) -> Result<impl IntoResponse, Problem> {
    let webhook = state.documents().get::<Webhook>(&webhook_key(&tenant, id)).await?.object;
    let submission = example_event(&state, &webhook)?;
    let event_type = submission.event_type.clone();
    let receipt = state.parts().intake.accept(&tenant, submission, Origin::Test).await.map_err(problem_of)?;
    let Some((delivery, _)) = receipt.deliveries.first() else {
        return Err(Problem::new(Code::Conflict, "the webhook takes no deliveries as it is; see its status"));
    };
    // What waits in the waiting room is not tried soon.
    let attempt = if webhook.state.is_active() { first_attempt(&state, *delivery).await? } else { None };
    let status = if attempt.is_some() { StatusCode::OK } else { StatusCode::ACCEPTED };
    let answer = TestAnswer { id: *delivery, webhook_id: id, event_id: receipt.event, event_type, attempt };
    Ok((status, Json(answer)))
}

async fn first_attempt(state: &ManageState, delivery: DeliveryId) -> Result<Option<TestAttempt>, Problem> {
    let deadline = Instant::now() + WAIT_FOR_ATTEMPT;
    let mut wait = FIRST_POLL;
    loop {
        let attempts = state.parts().log.attempts(delivery).await.map_err(unavailable)?;
        if let Some(first) = attempts.into_iter().next() {
            return Ok(Some(first.into()));
        }
        if Instant::now() + wait > deadline {
            return Ok(None);
        }
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(SLOWEST_POLL);
    }
}

/// The catalogue's example of a type that the webhook subscribes to; a small one of our own where there is none.
fn example_event(state: &ManageState, webhook: &Webhook) -> Result<Submission, Problem> {
    let view = state.directory().tenant(&webhook.tenant).known().ok_or_else(Problem::not_found)?;
    let wanted = view.catalogue.types().filter(|(event_type, _)| webhook.wants(event_type));
    let mut examples = wanted.filter_map(|(event_type, known)| {
        let major = match webhook.pinned_major(event_type) {
            Some(pinned) => known.major(pinned.get()),
            None => known.newest(),
        };
        let described = &major?.major;
        Some((event_type.clone(), described.version(), described.example()?.clone()))
    });
    let (event_type, version, data) = match examples.next() {
        Some(example) => example,
        None => {
            let data = RawObject::from_stored(Bytes::from_static(br#"{"test":true}"#));
            let pinned = webhook.schema_major.map(|major| SchemaVersion { major: major.get(), minor: 0 });
            (type_without_example(webhook)?, pinned.unwrap_or(SchemaVersion::FIRST), data)
        }
    };
    Ok(Submission {
        event_type,
        data,
        id: None,
        timestamp: None,
        schema_version: version,
        summary: Some("A test of this webhook".to_owned()),
        workflow: None,
        webhook_ids: Some(vec![webhook.id]),
    })
}

/// A type that the first of the webhook's patterns matches.
fn type_without_example(webhook: &Webhook) -> Result<EventType, Problem> {
    let text = match webhook.events.first() {
        Some(TypePattern::Exact(exact)) => return Ok(exact.clone()),
        Some(TypePattern::Below(prefix)) => format!("{prefix}.test"),
        Some(TypePattern::All) | None => "webhook.test".to_owned(),
    };
    text.parse().map_err(|_| Problem::new(Code::Conflict, "its event types leave no room for an example"))
}

fn problem_of(error: IntakeError) -> Problem {
    match error {
        IntakeError::UnknownTenant | IntakeError::UnknownWebhook(_) => Problem::not_found(),
        IntakeError::Unrenderable { detail, .. } => Problem::new(
            Code::Conflict,
            format!("the example cannot be put into the profile's envelope: {detail}"),
        ),
        IntakeError::SchemaBroken { .. } => {
            Problem::new(Code::Conflict, "the example is not what the catalogue says of its type")
        }
        IntakeError::Overloaded => {
            Problem::new(Code::TooManyRequests, "events that came before this one wait for too long already")
                .with_retry_after(RETRY_SOON)
        }
        IntakeError::InDoubt { reason } => {
            tracing::warn!(reason, "a test event is in doubt");
            Problem::new(Code::InDoubt, "the test may be on its way; see the webhook's deliveries")
        }
        IntakeError::UnreadableTenant
        | IntakeError::UnusableWebhook(_)
        | IntakeError::KeyReused
        | IntakeError::KeyInProgress
        | IntakeError::Unavailable { .. } => {
            tracing::warn!(%error, "a test event was not accepted");
            Problem::new(Code::Unavailable, "the test event was not accepted; try again")
                .with_retry_after(RETRY_SOON)
        }
    }
}
