//! `POST /v1/webhooks/{id}/pause` and `…/resume`. Doing either again changes nothing.

use std::num::NonZeroU32;

use axum::extract::State;
use axum::response::Response;
use http::StatusCode;
use postrider_contract::ids::{TenantId, WebhookId};
use postrider_contract::webhook::Webhook;
use postrider_service::config_object::webhook_key;
use postrider_service::in_path::InPath;
use postrider_service::json_body::JsonBody;
use postrider_service::problem::Problem;
use serde::Deserialize;
use utoipa::ToSchema;

use super::apply;
use super::change::changed;
use super::view::{self, WebhookView};
use crate::access::Manager;
use crate::documents::Stored;
use crate::state::ManageState;
use crate::whole_number::GivenNumber;

/// Takes nothing; a body, if there is one, is an empty object.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PauseRequest {}

/// How fast what waits is to be sent.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ResumeRequest {
    /// Deliveries a second until nothing waits any more; as fast as the webhook takes them if absent.
    #[schema(value_type = Option<u32>, minimum = 1)]
    #[serde(default)]
    rate_per_second: Option<GivenNumber>,
}

/// Pauses a webhook: its deliveries wait, unless its profile says that they are skipped.
#[utoipa::path(
    post, path = "/v1/webhooks/{id}/pause", tag = "webhooks", request_body = Option<PauseRequest>,
    params(("id" = String, Path, description = "`wh_…`")),
    responses(
        (status = 200, body = WebhookView),
        (status = 401, description = "no valid key"),
        (status = 403, description = "the key may not manage"),
        (status = 404, description = "there is no such webhook"),
    )
)]
pub(crate) async fn pause_webhook(
    State(state): State<ManageState>,
    Manager(tenant): Manager,
    InPath(id): InPath<WebhookId>,
    _: Option<JsonBody<PauseRequest>>,
) -> Result<Response, Problem> {
    let now = state.parts().clock.now();
    turn(&state, &tenant, id, |webhook| apply::pause(webhook, now)).await
}

/// Lets a paused or disabled webhook receive again, what waits first.
#[utoipa::path(
    post, path = "/v1/webhooks/{id}/resume", tag = "webhooks", request_body = Option<ResumeRequest>,
    params(("id" = String, Path, description = "`wh_…`")),
    responses(
        (status = 200, body = WebhookView),
        (status = 401, description = "no valid key"),
        (status = 403, description = "the key may not manage"),
        (status = 404, description = "there is no such webhook"),
        (status = 422, description = "the rate is wrong"),
    )
)]
pub(crate) async fn resume_webhook(
    State(state): State<ManageState>,
    Manager(tenant): Manager,
    InPath(id): InPath<WebhookId>,
    body: Option<JsonBody<ResumeRequest>>,
) -> Result<Response, Problem> {
    let request = body.map(|JsonBody(request)| request).unwrap_or_default();
    let rate = request.rate_per_second.map(|rate| rate.within::<u32>(1..=u32::MAX.into())).transpose();
    let rate = rate.map_err(|error| Problem::invalid_field("/rate_per_second", error.to_string()))?;
    let resume = |webhook: &mut Webhook| {
        apply::resume(webhook);
        webhook.resume_rate_per_second = rate.and_then(NonZeroU32::new);
    };
    turn(&state, &tenant, id, resume).await
}

async fn turn(
    state: &ManageState,
    tenant: &TenantId,
    id: WebhookId,
    turn: impl Fn(&mut Webhook),
) -> Result<Response, Problem> {
    let change = |before: &Stored<Webhook>| {
        let mut after = before.object.clone();
        turn(&mut after);
        Ok((changed(state, &before.object, after), ()))
    };
    let (stored, ()) = state.documents().change::<Webhook, ()>(&webhook_key(tenant, id), change).await?;
    Ok(view::answer(state, StatusCode::OK, stored, None).await)
}
