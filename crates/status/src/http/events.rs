//! Events: a list, and one with its deliveries.

use axum::Json;
use axum::extract::State;
use postrider_contract::catalogue::SchemaCheck;
use postrider_contract::clock::Timestamp;
use postrider_contract::event::{EventType, SchemaVersion, Versions};
use postrider_contract::ids::EventId;
use postrider_contract::json::RawObject;
use postrider_contract::key::Scope;
use postrider_contract::ports::{DeliveryFilter, EventFilter, EventView, PageOf};
use postrider_contract::schema::Violation;
use postrider_service::authentication::Caller;
use postrider_service::cursor::{ListIdentity, not_of_this_list};
use postrider_service::directory::TenantView;
use postrider_service::in_path::InPath;
use postrider_service::problem::Problem;
use postrider_service::query::ListQuery;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::{IntoParams, ToSchema};

use super::deliveries::DeliverySummary;
use super::{StatusState, checked_window, unavailable};

/// With one event, so many of its deliveries are shown; the rest is a list of its own.
const DELIVERIES_SHOWN: u32 = 200;

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct EventFilters {
    /// An exact event type.
    #[param(value_type = Option<String>)]
    r#type: Option<EventType>,
    /// Accepted at or after this time (RFC 3339).
    #[param(value_type = Option<String>)]
    since: Option<Timestamp>,
    /// Accepted before this time.
    #[param(value_type = Option<String>)]
    until: Option<Timestamp>,
}

/// An accepted event.
#[derive(Serialize, ToSchema)]
pub(super) struct EventAnswer {
    #[schema(value_type = String)]
    id: EventId,
    object: &'static str,
    #[schema(value_type = String)]
    r#type: EventType,
    #[schema(value_type = Option<String>)]
    timestamp: Option<Timestamp>,
    #[schema(value_type = String)]
    accepted_at: Timestamp,
    /// Absent where there are several versions.
    #[schema(value_type = Option<String>)]
    schema_version: Option<SchemaVersion>,
    /// How many webhooks it matched; absent while in doubt.
    matched: Option<u32>,
    /// Its accepted record has not reached the log (yet).
    in_doubt: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    summary: Option<String>,
    /// As the producer wrote it. Only with one event, not in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    data: Option<Box<RawValue>>,
    /// As the producer wrote it. Only with one event, not in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    workflow: Option<Box<RawValue>>,
    /// In the place of `data`, where its producer sent several versions.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    versions: Option<Box<RawValue>>,
    /// What of it is not as the catalogue says at present, where the tenant has its events looked at. Only with one
    /// event.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    schema_warnings: Vec<SchemaWarning>,
    #[serde(skip_serializing_if = "Option::is_none")]
    deliveries: Option<Vec<DeliverySummary>>,
}

/// Something that the catalogue says otherwise: a JSON pointer into the event, and what is wrong there.
#[derive(Serialize, ToSchema)]
pub(super) struct SchemaWarning {
    pointer: String,
    detail: String,
}

#[derive(Serialize, ToSchema)]
pub(super) struct EventList {
    data: Vec<EventAnswer>,
    next_cursor: Option<String>,
}

impl EventAnswer {
    fn without_data(view: EventView) -> Self {
        EventAnswer {
            id: view.id,
            object: "event",
            r#type: view.event_type,
            timestamp: view.timestamp,
            accepted_at: view.accepted_at,
            schema_version: view.schema_version.filter(|version| *version != SchemaVersion::SEVERAL),
            matched: view.matched,
            in_doubt: view.in_doubt,
            summary: view.summary,
            data: None,
            workflow: None,
            versions: None,
            schema_warnings: Vec::new(),
            deliveries: None,
        }
    }

    fn whole(mut view: EventView, tenant: &TenantView, deliveries: Vec<DeliverySummary>) -> Self {
        let schema_warnings = schema_warnings(&view, tenant);
        let (written, workflow) = (view.data.take().and_then(raw), view.workflow.take().and_then(raw));
        let is_several = view.schema_version == Some(SchemaVersion::SEVERAL);
        let (data, versions) = if is_several { (None, written) } else { (written, None) };
        EventAnswer {
            data,
            workflow,
            versions,
            schema_warnings,
            deliveries: Some(deliveries),
            ..Self::without_data(view)
        }
    }
}

fn schema_warnings(event: &EventView, tenant: &TenantView) -> Vec<SchemaWarning> {
    let (Some(data), Some(version)) = (&event.data, event.schema_version) else { return Vec::new() };
    match tenant.tenant.schema_check {
        SchemaCheck::Off => Vec::new(),
        SchemaCheck::Warn | SchemaCheck::Enforce => {
            let broken = tenant.catalogue.judge(&event.event_type, &Versions::of(version, data));
            broken
                .into_iter()
                .map(|Violation { pointer, detail }| SchemaWarning { pointer, detail })
                .collect()
        }
    }
}

fn raw(object: RawObject) -> Option<Box<RawValue>> {
    let text = String::from_utf8(object.as_bytes().to_vec()).ok()?;
    RawValue::from_string(text).ok()
}

/// The tenant's events, newest first.
#[utoipa::path(
    get, path = "/v1/events", tag = "events",
    params(EventFilters, ("limit" = Option<u16>, Query), ("cursor" = Option<String>, Query)),
    responses((status = 200, body = EventList), (status = 400, description = "a parameter is wrong"))
)]
pub(super) async fn list_events(
    State(state): State<StatusState>,
    caller: Caller,
    ListQuery { page, filters }: ListQuery<EventFilters>,
) -> Result<Json<EventList>, Problem> {
    let tenant = caller.tenant_with(Scope::Read, state.authenticator.directory())?;
    checked_window(filters.since, filters.until)?;
    let identity = ListIdentity { kind: "events", tenant: tenant.as_str() };
    let before = identity.begins_after(&page)?.map(|text| parse_position(&text)).transpose()?;
    let filter = EventFilter { event_type: filters.r#type, since: filters.since, until: filters.until };
    let asked = PageOf { before, limit: u32::try_from(page.limit() + 1).unwrap_or(u32::MAX) };
    let views = state.queries.events(&tenant, &filter, asked).await.map_err(|error| unavailable(&error))?;
    let position_of = |view: &EventView| format!("{} {}", view.accepted_at.as_millis(), view.id);
    let (views, next_cursor) = identity.cut(&page, views, position_of);
    Ok(Json(EventList { data: views.into_iter().map(EventAnswer::without_data).collect(), next_cursor }))
}

fn parse_position(text: &str) -> Result<(Timestamp, EventId), Problem> {
    let parsed = text
        .split_once(' ')
        .and_then(|(millis, id)| Some((Timestamp::from_millis(millis.parse().ok()?), id.parse().ok()?)));
    parsed.ok_or_else(not_of_this_list)
}

/// One event with its deliveries.
#[utoipa::path(
    get, path = "/v1/events/{id}", tag = "events", params(("id" = String, Path)),
    responses((status = 200, body = EventAnswer), (status = 404, description = "no such event"))
)]
pub(super) async fn get_event(
    State(state): State<StatusState>,
    caller: Caller,
    InPath(id): InPath<EventId>,
) -> Result<Json<EventAnswer>, Problem> {
    let tenant = caller.tenant_with(Scope::Read, state.authenticator.directory())?;
    let view = state.queries.event(&tenant, &id).await.map_err(|error| unavailable(&error))?;
    let view = view.ok_or_else(Problem::not_found)?;
    let filter = DeliveryFilter { event: Some(id), ..DeliveryFilter::default() };
    let page = PageOf { before: None, limit: DELIVERIES_SHOWN };
    let deliveries =
        state.queries.deliveries(&tenant, &filter, page).await.map_err(|error| unavailable(&error))?;
    let deliveries = deliveries.into_iter().map(DeliverySummary::from).collect();
    let tenant = state.authenticator.directory().tenant(&tenant).known().ok_or_else(Problem::not_found)?;
    Ok(Json(EventAnswer::whole(view, &tenant, deliveries)))
}
