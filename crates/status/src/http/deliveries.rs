//! Deliveries: lists, and one with every try.

use axum::Json;
use axum::extract::State;
use postrider_contract::clock::Timestamp;
use postrider_contract::event::EventType;
use postrider_contract::ids::{DeliveryId, EventId, TenantId, WebhookId};
use postrider_contract::key::Scope;
use postrider_contract::outcome::DeliveryStatus;
use postrider_contract::ports::{DeliveryFilter, DeliveryView, PageOf};
use postrider_contract::webhook::WebhookKind;
use postrider_service::authentication::Caller;
use postrider_service::cursor::{ListIdentity, not_of_this_list};
use postrider_service::in_path::InPath;
use postrider_service::problem::Problem;
use postrider_service::query::{ListQuery, Page};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::delivery_page::DeliveryAnswer;
use super::response_code::ResponseCode;
use super::{StatusState, checked_window, unavailable};
use crate::rerendering::{RenderedAs, event_of};

#[derive(Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct DeliveryFilters {
    #[param(value_type = Option<String>)]
    status: Option<DeliveryStatus>,
    #[param(value_type = Option<String>)]
    webhook_id: Option<WebhookId>,
    #[param(value_type = Option<String>)]
    event_id: Option<EventId>,
    #[param(value_type = Option<String>)]
    event_type: Option<EventType>,
    #[param(value_type = Option<String>)]
    kind: Option<WebhookKind>,
    /// The status code of the last try's response, 100 to 599.
    #[param(value_type = Option<u16>, minimum = 100, maximum = 599)]
    code: Option<ResponseCode>,
    /// Accepted at or after this time (RFC 3339).
    #[param(value_type = Option<String>)]
    since: Option<Timestamp>,
    /// Accepted before this time.
    #[param(value_type = Option<String>)]
    until: Option<Timestamp>,
}

/// The same, where the path names the webhook.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct WebhookDeliveryFilters {
    #[param(value_type = Option<String>)]
    status: Option<DeliveryStatus>,
    #[param(value_type = Option<String>)]
    event_type: Option<EventType>,
    /// The status code of the last try's response, 100 to 599.
    #[param(value_type = Option<u16>, minimum = 100, maximum = 599)]
    code: Option<ResponseCode>,
    /// Accepted at or after this time (RFC 3339).
    #[param(value_type = Option<String>)]
    since: Option<Timestamp>,
    /// Accepted before this time.
    #[param(value_type = Option<String>)]
    until: Option<Timestamp>,
}

/// A delivery, as lists show it.
#[derive(Serialize, ToSchema)]
pub(super) struct DeliverySummary {
    #[schema(value_type = String)]
    id: DeliveryId,
    object: &'static str,
    #[schema(value_type = String)]
    event_id: EventId,
    #[schema(value_type = String)]
    event_type: EventType,
    #[schema(value_type = String)]
    webhook_id: WebhookId,
    #[schema(value_type = String)]
    kind: WebhookKind,
    /// `pending`, `retrying`, `held`, `delivered`, `failed`, `canceled`, `expired`
    #[schema(value_type = String)]
    status: DeliveryStatus,
    /// Why, for held, failed and canceled ones.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
    #[schema(value_type = String)]
    accepted_at: Timestamp,
    /// The next try, while pending or retrying.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    next_attempt_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    held_since: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    concluded_at: Option<Timestamp>,
    /// How many tries were made.
    attempts: u32,
    /// The status code of the last try's response.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_code: Option<u16>,
    /// What kept the last try from a response: `dns`, `connect`, `tls`, `timeout_…`, `blocked`, `closed`, `protocol`.
    #[serde(skip_serializing_if = "Option::is_none")]
    last_error: Option<String>,
    /// Counts manual retries and replays of the same event to the same webhook.
    replay: u32,
}

impl From<DeliveryView> for DeliverySummary {
    fn from(view: DeliveryView) -> Self {
        DeliverySummary {
            id: view.reference.id,
            object: "delivery",
            event_id: view.reference.event_id,
            event_type: view.reference.event_type,
            webhook_id: view.reference.webhook,
            kind: view.reference.kind,
            status: view.status,
            reason: view.reason.map(postrider_contract::outcome::StatusReason::as_str),
            accepted_at: view.reference.accepted_at,
            next_attempt_at: view.due_at,
            held_since: view.held_since,
            concluded_at: view.concluded_at,
            attempts: view.attempts,
            last_code: view.last_code,
            last_error: view.last_error,
            replay: view.reference.replay,
        }
    }
}

#[derive(Serialize, ToSchema)]
pub(super) struct DeliveryList {
    data: Vec<DeliverySummary>,
    next_cursor: Option<String>,
}

/// The tenant's deliveries, newest first.
#[utoipa::path(
    get, path = "/v1/deliveries", tag = "deliveries",
    params(DeliveryFilters, ("limit" = Option<u16>, Query), ("cursor" = Option<String>, Query)),
    responses((status = 200, body = DeliveryList), (status = 400, description = "a parameter is wrong"))
)]
pub(super) async fn list_deliveries(
    State(state): State<StatusState>,
    caller: Caller,
    ListQuery { page, filters }: ListQuery<DeliveryFilters>,
) -> Result<Json<DeliveryList>, Problem> {
    let tenant = caller.tenant_with(Scope::Read, state.authenticator.directory())?;
    let filter = DeliveryFilter {
        status: filters.status,
        webhook: filters.webhook_id,
        event: filters.event_id,
        event_type: filters.event_type,
        kind: filters.kind,
        code: filters.code.map(ResponseCode::number),
        since: filters.since,
        until: filters.until,
    };
    answer_list(&state, &tenant, &filter, &page).await
}

/// A webhook's deliveries, newest first.
#[utoipa::path(
    get, path = "/v1/webhooks/{id}/deliveries", tag = "deliveries",
    params(("id" = String, Path), WebhookDeliveryFilters, ("limit" = Option<u16>, Query), ("cursor" = Option<String>, Query)),
    responses((status = 200, body = DeliveryList), (status = 404, description = "no such webhook"))
)]
pub(super) async fn list_webhook_deliveries(
    state: State<StatusState>,
    caller: Caller,
    id: InPath<WebhookId>,
    query: ListQuery<WebhookDeliveryFilters>,
) -> Result<Json<DeliveryList>, Problem> {
    of_webhook(state, caller, id, query).await
}

/// Another name of the same list.
#[utoipa::path(
    get, path = "/v1/webhooks/{id}/executions", tag = "deliveries",
    params(("id" = String, Path), WebhookDeliveryFilters, ("limit" = Option<u16>, Query), ("cursor" = Option<String>, Query)),
    responses((status = 200, body = DeliveryList), (status = 404, description = "no such webhook"))
)]
pub(super) async fn list_webhook_executions(
    state: State<StatusState>,
    caller: Caller,
    id: InPath<WebhookId>,
    query: ListQuery<WebhookDeliveryFilters>,
) -> Result<Json<DeliveryList>, Problem> {
    of_webhook(state, caller, id, query).await
}

async fn of_webhook(
    State(state): State<StatusState>,
    caller: Caller,
    InPath(webhook): InPath<WebhookId>,
    ListQuery { page, filters }: ListQuery<WebhookDeliveryFilters>,
) -> Result<Json<DeliveryList>, Problem> {
    let directory = state.authenticator.directory();
    let tenant = caller.tenant_with(Scope::Read, directory)?;
    let entry = directory.webhook(webhook).known().filter(|entry| entry.webhook.tenant == tenant);
    entry.ok_or_else(Problem::not_found)?;
    let filter = DeliveryFilter {
        status: filters.status,
        webhook: Some(webhook),
        event_type: filters.event_type,
        code: filters.code.map(ResponseCode::number),
        since: filters.since,
        until: filters.until,
        ..DeliveryFilter::default()
    };
    answer_list(&state, &tenant, &filter, &page).await
}

async fn answer_list(
    state: &StatusState,
    tenant: &TenantId,
    filter: &DeliveryFilter,
    page: &Page,
) -> Result<Json<DeliveryList>, Problem> {
    checked_window(filter.since, filter.until)?;
    let identity = ListIdentity { kind: "deliveries", tenant: tenant.as_str() };
    let before = identity.begins_after(page)?;
    let before = before.map(|text| text.parse::<DeliveryId>().map_err(|_| not_of_this_list())).transpose()?;
    let asked = PageOf { before, limit: u32::try_from(page.limit() + 1).unwrap_or(u32::MAX) };
    let views = state.queries.deliveries(tenant, filter, asked).await.map_err(|error| unavailable(&error))?;
    let (views, next_cursor) = identity.cut(page, views, |view| view.reference.id.to_string());
    Ok(Json(DeliveryList { data: views.into_iter().map(DeliverySummary::from).collect(), next_cursor }))
}

/// One delivery with every try.
#[utoipa::path(
    get, path = "/v1/deliveries/{id}", tag = "deliveries", params(("id" = String, Path)),
    responses((status = 200, body = DeliveryAnswer), (status = 404, description = "no such delivery"))
)]
pub(super) async fn get_delivery(
    State(state): State<StatusState>,
    caller: Caller,
    InPath(id): InPath<DeliveryId>,
) -> Result<Json<DeliveryAnswer>, Problem> {
    let tenant = caller.tenant_with(Scope::Read, state.authenticator.directory())?;
    let away = |error| unavailable(&error);
    let view = state.queries.delivery(&tenant, id).await.map_err(away)?.ok_or_else(Problem::not_found)?;
    let attempts = state.queries.attempts(id).await.map_err(away)?;
    let event =
        state.queries.event(&tenant, &view.reference.event_id).await.map_err(away)?.and_then(event_of);
    let again = match (&event, &view.profile, view.rendered_with) {
        (Some(event), Some(profile), Some(rendered_with)) => {
            let rendered = RenderedAs { webhook: view.reference.webhook, profile, rendered_with };
            state.rerendering.again(event, rendered).await.map_err(away)?
        }
        _ => None,
    };
    Ok(Json(DeliveryAnswer::new(view, attempts, again)))
}
