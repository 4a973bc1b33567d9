//! `PATCH`, `PUT` and `DELETE /v1/webhooks/{id}`. PUT merges as PATCH does.

use axum::extract::State;
use axum::response::Response;
use http::StatusCode;
use postrider_contract::ids::{TenantId, WebhookId};
use postrider_contract::secret::Secret;
use postrider_contract::webhook::Webhook;
use postrider_service::config_object::webhook_key;
use postrider_service::in_path::InPath;
use postrider_service::json_body::JsonBody;
use postrider_service::problem::{FieldErrors, Problem};

use super::apply::apply;
use super::fields::WebhookFields;
use super::view::{self, WebhookAnswer};
use crate::access::Manager;
use crate::documents::Stored;
use crate::precondition::IfMatch;
use crate::state::ManageState;

/// Changes a webhook: what is absent stays, `null` removes what may be absent.
#[utoipa::path(
    patch, path = "/v1/webhooks/{id}", tag = "webhooks", request_body = WebhookFields,
    params(
        ("id" = String, Path, description = "`wh_…`"),
        ("If-Match" = Option<String>, Header, description = "change it only at this revision"),
    ),
    responses(
        (status = 200, body = WebhookAnswer),
        (status = 401, description = "no valid key"),
        (status = 403, description = "the key may not manage"),
        (status = 404, description = "there is no such webhook"),
        (status = 409, description = "others keep changing it at the same time"),
        (status = 412, description = "it is at another revision"),
        (status = 422, description = "a field is wrong"),
    )
)]
pub(crate) async fn patch_webhook(
    State(state): State<ManageState>,
    Manager(tenant): Manager,
    InPath(id): InPath<WebhookId>,
    if_match: IfMatch,
    JsonBody(fields): JsonBody<WebhookFields>,
) -> Result<Response, Problem> {
    merge(&state, &tenant, id, &if_match, &fields).await
}

/// Changes a webhook as PATCH does; `status` may be set to `active` or `paused`.
#[utoipa::path(
    put, path = "/v1/webhooks/{id}", tag = "webhooks", request_body = WebhookFields,
    params(
        ("id" = String, Path, description = "`wh_…`"),
        ("If-Match" = Option<String>, Header, description = "change it only at this revision"),
    ),
    responses(
        (status = 200, body = WebhookAnswer),
        (status = 401, description = "no valid key"),
        (status = 403, description = "the key may not manage"),
        (status = 404, description = "there is no such webhook"),
        (status = 409, description = "others keep changing it at the same time"),
        (status = 412, description = "it is at another revision"),
        (status = 422, description = "a field is wrong"),
    )
)]
pub(crate) async fn put_webhook(
    State(state): State<ManageState>,
    Manager(tenant): Manager,
    InPath(id): InPath<WebhookId>,
    if_match: IfMatch,
    JsonBody(fields): JsonBody<WebhookFields>,
) -> Result<Response, Problem> {
    merge(&state, &tenant, id, &if_match, &fields).await
}

/// Deletes a webhook; what is still on its way to it is canceled.
#[utoipa::path(
    delete, path = "/v1/webhooks/{id}", tag = "webhooks",
    params(
        ("id" = String, Path, description = "`wh_…`"),
        ("If-Match" = Option<String>, Header, description = "delete it only at this revision"),
    ),
    responses(
        (status = 204, description = "deleted"),
        (status = 401, description = "no valid key"),
        (status = 403, description = "the key may not manage"),
        (status = 404, description = "there is no such webhook"),
        (status = 412, description = "it is at another revision"),
    )
)]
pub(crate) async fn delete_webhook(
    State(state): State<ManageState>,
    Manager(tenant): Manager,
    InPath(id): InPath<WebhookId>,
    if_match: IfMatch,
) -> Result<StatusCode, Problem> {
    state.documents().delete(&webhook_key(&tenant, id), |revision| if_match.check(revision)).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn merge(
    state: &ManageState,
    tenant: &TenantId,
    id: WebhookId,
    if_match: &IfMatch,
    fields: &WebhookFields,
) -> Result<Response, Problem> {
    let change = |before: &Stored<Webhook>| {
        if_match.check(before.revision)?;
        let applied = apply(state, fields, &before.object, FieldErrors::default())?;
        Ok((changed(state, &before.object, applied.webhook), applied.made_secret))
    };
    let (stored, made) =
        state.documents().change::<Webhook, Option<Secret>>(&webhook_key(tenant, id), change).await?;
    Ok(view::answer(state, StatusCode::OK, stored, made).await)
}

/// The new state, stamped; `None` where nothing is different, so that it costs no revision.
pub(super) fn changed(state: &ManageState, before: &Webhook, mut after: Webhook) -> Option<Webhook> {
    if after == *before {
        return None;
    }
    after.updated_at = state.parts().clock.now();
    Some(after)
}
