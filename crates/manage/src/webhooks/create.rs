//! `POST /v1/webhooks`.

use axum::extract::State;
use axum::response::Response;
use http::StatusCode;
use postrider_contract::clock::Timestamp;
use postrider_contract::egress::WebhookUrl;
use postrider_contract::ids::{TenantId, WebhookId};
use postrider_contract::webhook::{Webhook, WebhookKind};
use postrider_service::json_body::JsonBody;
use postrider_service::problem::{Code, FieldErrors, Problem};

use super::apply::apply;
use super::fields::WebhookFields;
use super::view::{self, WebhookAnswer};
use crate::access::Manager;
use crate::documents::Stored;
use crate::state::ManageState;

/// Subscribes a receiver to some of the tenant's events.
#[utoipa::path(
    post, path = "/v1/webhooks", tag = "webhooks", request_body = WebhookFields,
    responses(
        (status = 201, body = WebhookAnswer, description = "with `secret` if one was made: shown now and never again"),
        (status = 401, description = "no valid key"),
        (status = 403, description = "the key may not manage"),
        (status = 409, description = "the tenant has as many webhooks as it may have"),
        (status = 422, description = "a field is wrong"),
    )
)]
pub(crate) async fn create_webhook(
    State(state): State<ManageState>,
    Manager(tenant): Manager,
    JsonBody(fields): JsonBody<WebhookFields>,
) -> Result<Response, Problem> {
    let id = WebhookId::draw(state.parts().clock.now(), &*state.parts().entropy);
    let blank = blank(&fields, tenant.clone(), id, state.parts().clock.now());
    let applied = apply(&state, &fields, &blank, missing(&fields))?;
    refuse_too_many(&state, &tenant)?;
    let taken = "a webhook with this id exists; repeat the request";
    let revision = state.documents().create(&applied.webhook, taken).await?;
    let stored = Stored { object: applied.webhook, revision };
    Ok(view::answer(&state, StatusCode::CREATED, stored, applied.made_secret).await)
}

/// What a new webhook must have and the request does not say.
fn missing(fields: &WebhookFields) -> FieldErrors {
    let mut errors = FieldErrors::default();
    if fields.url.is_kept() {
        errors.add("/url", "is required");
    }
    if fields.events.is_kept() && fields.on.is_kept() {
        errors.add("/events", "is required: the event types it subscribes to");
    }
    errors
}

/// What a request is applied to: never stored itself, since its URL and events must be said.
pub(super) fn blank(fields: &WebhookFields, tenant: TenantId, id: WebhookId, now: Timestamp) -> Webhook {
    let kind =
        fields.kind.given().and_then(|text| WebhookKind::from_word(text)).unwrap_or(WebhookKind::Webhook);
    let unsaid = WebhookUrl::from_stored("https://unsaid.invalid/").expect("a URL by its text");
    Webhook { kind, ..Webhook::new(tenant, id, unsaid, now) }
}

fn refuse_too_many(state: &ManageState, tenant: &TenantId) -> Result<(), Problem> {
    let limit = state.parts().limits.webhooks_per_tenant;
    let view = state.directory().tenant(tenant).known().ok_or_else(Problem::not_found)?;
    if view.webhooks.len() >= limit {
        let detail = format!("a tenant has at most {limit} webhooks; delete one first");
        return Err(Problem::new(Code::Conflict, detail));
    }
    Ok(())
}
