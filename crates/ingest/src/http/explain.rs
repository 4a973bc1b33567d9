//! `POST /v1/events/explain`.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use postrider_contract::clock::Timestamp;
use postrider_contract::key::Scope;
use postrider_contract::ports::IntakeError;
use postrider_service::authentication::Caller;
use postrider_service::directory::Found;
use postrider_service::problem::Problem;
use postrider_service::query::Query;
use postrider_service::raw_body::RawBody;
use serde::Deserialize;

use super::{EventRequest, IngestState, Start, problem_of, read_submission};
use crate::explaining::{Moments, Signatures};
use crate::explanation::ExplainAnswer;
use crate::matching::UnknownWebhook;

/// The parameters: of which moment the requests are.
#[derive(Deserialize)]
pub(super) struct ExplainQuery {
    /// When the first try begins.
    at: Option<Timestamp>,
    /// When the event is accepted.
    accepted_at: Option<Timestamp>,
}

/// Shows what would become of an event, and sends nothing: which webhooks it goes to, why not to the others, and the
/// request of each as it would be written.
#[utoipa::path(
    post, path = "/v1/events/explain", tag = "events", request_body = EventRequest,
    params(
        ("at" = Option<String>, Query, description = "when the first try begins, RFC 3339: signatures and times are of \
            this moment; now if absent"),
        ("accepted_at" = Option<String>, Query, description = "when the event is accepted; `at` if absent"),
    ),
    responses(
        (status = 200, body = ExplainAnswer),
        (status = 400, description = "malformed JSON, or no such parameter"),
        (status = 401, description = "no valid key"),
        (status = 403, description = "the key may not read"),
        (status = 413, description = "over 1 MiB"),
        (status = 415, description = "not JSON"),
        (status = 422, description = "a field is wrong"),
        (status = 503, description = "a webhook that it may go to was written by a newer version, and cannot be used here"),
    )
)]
pub(super) async fn explain_event(
    State(state): State<IngestState>,
    caller: Caller,
    Query(query): Query<ExplainQuery>,
    RawBody(body): RawBody,
) -> Result<Json<ExplainAnswer>, Problem> {
    let directory = state.authenticator.directory();
    let tenant = caller.tenant_with(Scope::Read, directory)?;
    let signatures = match caller.tenant_with(Scope::Publish, directory) {
        Ok(_) => Signatures::Made,
        Err(_) => Signatures::Withheld,
    };
    let submission = read_submission(&body, Start::default())?;
    let view = match directory.tenant(&tenant) {
        Found::Known(view) => view,
        Found::Deleted | Found::Unknown => return Err(Problem::not_found()),
    };
    let moments = Moments { accepted_at: query.accepted_at, tried_at: query.at };
    let named = submission.webhook_ids.clone();
    // As when it is published: of that webhook nothing can be said here.
    if let Some(webhook) = view.unusable_for(&submission.event_type, named.as_deref()) {
        return Err(problem_of(IntakeError::UnusableWebhook(webhook), None));
    }
    let explaining = Arc::clone(&state.explainer).explain_apart(move |explainer| {
        let explained = explainer.explain(&view, &submission, moments, signatures);
        explained.map(|explanation| ExplainAnswer::new(explanation, signatures))
    });
    let Some(answer) = explaining.await else { return Err(Problem::internal()) };
    let refused = |UnknownWebhook(id)| problem_of(IntakeError::UnknownWebhook(id), named.as_deref());
    answer.map(Json).map_err(refused)
}
