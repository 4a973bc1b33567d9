//! `GET /v1/webhooks` and `GET /v1/webhooks/{id}`.

use axum::Json;
use axum::extract::State;
use axum::response::Response;
use http::StatusCode;
use postrider_contract::ids::WebhookId;
use postrider_contract::ports::ConfigKind;
use postrider_contract::webhook::Webhook;
use postrider_service::config_object::webhook_key;
use postrider_service::cursor::ListIdentity;
use postrider_service::in_path::InPath;
use postrider_service::problem::Problem;
use postrider_service::query::{ListQuery, NoFilters};

use super::view::{self, WebhookView};
use crate::access::Reader;
use crate::documents::Stored;
use crate::listing::{self, ListAnswer};
use crate::state::ManageState;

/// The tenant's webhooks, newest first.
#[utoipa::path(
    get, path = "/v1/webhooks", tag = "webhooks",
    params(
        ("limit" = Option<u16>, Query, description = "1 to 200; 50 if absent"),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before"),
    ),
    responses(
        (status = 200, body = ListAnswer<WebhookView>),
        (status = 400, description = "a parameter is wrong or unknown"),
        (status = 401, description = "no valid key"),
        (status = 403, description = "the key may not read"),
    )
)]
pub(crate) async fn list_webhooks(
    State(state): State<ManageState>,
    Reader(tenant): Reader,
    query: ListQuery<NoFilters>,
) -> Result<Json<ListAnswer<WebhookView>>, Problem> {
    let identity = ListIdentity { kind: "webhooks", tenant: tenant.as_str() };
    let before = identity.begins_after(&query.page)?;
    let limit = query.page.limit() + 1;
    let webhooks =
        state.documents().list::<Webhook>(ConfigKind::Webhook, Some(&tenant), before, limit).await?;
    let waiting = state.waiting().now().await;
    let id_of = |webhook: &Stored<Webhook>| webhook.object.id.to_string();
    let view = |webhook| WebhookView::of(&state, webhook, &waiting);
    Ok(Json(listing::answer(identity, &query.page, webhooks, id_of, view)))
}

/// One webhook.
#[utoipa::path(
    get, path = "/v1/webhooks/{id}", tag = "webhooks",
    params(("id" = String, Path, description = "`wh_…`")),
    responses(
        (status = 200, body = WebhookView),
        (status = 401, description = "no valid key"),
        (status = 403, description = "the key may not read"),
        (status = 404, description = "there is no such webhook"),
    )
)]
pub(crate) async fn get_webhook(
    State(state): State<ManageState>,
    Reader(tenant): Reader,
    InPath(id): InPath<WebhookId>,
) -> Result<Response, Problem> {
    let webhook = state.documents().get::<Webhook>(&webhook_key(&tenant, id)).await?;
    Ok(view::answer(&state, StatusCode::OK, webhook, None).await)
}
