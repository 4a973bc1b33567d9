//! `GET /v1/event-types`: what a tenant's webhooks can subscribe to, by the catalogue of its profile.

use axum::Json;
use axum::extract::State;
use postrider_contract::event::{EventType, SchemaVersion};
use postrider_contract::ids::TenantId;
use postrider_service::cursor::ListIdentity;
use postrider_service::in_path::InPath;
use postrider_service::problem::Problem;
use postrider_service::query::{ListQuery, NoFilters};
use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use crate::access::Reader;
use crate::catalogue::{CatalogueEntry, catalogue_of};
use crate::listing::{self, ListAnswer};
use crate::state::ManageState;

/// One type of event.
#[derive(Serialize, ToSchema)]
pub(crate) struct EventTypeView {
    /// Always `event_type`.
    object: &'static str,
    #[schema(value_type = String)]
    r#type: &'static EventType,
    description: &'static str,
    /// `major.minor` of its schema.
    #[schema(value_type = String)]
    version: SchemaVersion,
    /// JSON Schema, draft 2020-12, of an event's `data`.
    #[schema(value_type = Object)]
    schema: &'static RawValue,
    /// A `data` that satisfies the schema.
    #[schema(value_type = Object)]
    example: &'static RawValue,
    /// Where it comes from: `builtin`.
    source: &'static str,
}

impl From<&'static CatalogueEntry> for EventTypeView {
    fn from(entry: &'static CatalogueEntry) -> Self {
        EventTypeView {
            object: "event_type",
            r#type: &entry.event_type,
            description: &entry.description,
            version: entry.version,
            schema: &entry.schema,
            example: &entry.example,
            source: "builtin",
        }
    }
}

/// The tenant's event types, by name.
#[utoipa::path(
    get, path = "/v1/event-types", tag = "event types",
    params(
        ("limit" = Option<u16>, Query, description = "1 to 200; 50 if absent"),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before"),
    ),
    responses(
        (status = 200, body = ListAnswer<EventTypeView>),
        (status = 401, description = "no valid key"),
        (status = 403, description = "the key may not read"),
    )
)]
pub(crate) async fn list_event_types(
    State(state): State<ManageState>,
    Reader(tenant): Reader,
    query: ListQuery<NoFilters>,
) -> Result<Json<ListAnswer<EventTypeView>>, Problem> {
    let identity = ListIdentity { kind: "event_types", tenant: tenant.as_str() };
    let after = identity.begins_after(&query.page)?;
    let is_on_page =
        |entry: &&CatalogueEntry| after.as_deref().is_none_or(|after| entry.event_type.as_str() > after);
    let rest: Vec<&'static CatalogueEntry> = catalogue(&state, &tenant)?.iter().filter(is_on_page).collect();
    let id_of = |entry: &&CatalogueEntry| entry.event_type.to_string();
    Ok(Json(listing::answer(identity, &query.page, rest, id_of, EventTypeView::from)))
}

/// One of the tenant's event types.
#[utoipa::path(
    get, path = "/v1/event-types/{type}", tag = "event types",
    params(("type" = String, Path, description = "for instance `conversion.created`")),
    responses(
        (status = 200, body = EventTypeView),
        (status = 401, description = "no valid key"),
        (status = 403, description = "the key may not read"),
        (status = 404, description = "the tenant's catalogue has no such type"),
    )
)]
pub(crate) async fn get_event_type(
    State(state): State<ManageState>,
    Reader(tenant): Reader,
    InPath(event_type): InPath<EventType>,
) -> Result<Json<EventTypeView>, Problem> {
    let found = catalogue(&state, &tenant)?.iter().find(|entry| entry.event_type == event_type);
    found.map(|entry| Json(entry.into())).ok_or_else(Problem::not_found)
}

fn catalogue(state: &ManageState, tenant: &TenantId) -> Result<&'static [CatalogueEntry], Problem> {
    let view = state.directory().tenant(tenant).known().ok_or_else(Problem::not_found)?;
    let profile = state.directory().profile(&view.tenant.profile);
    Ok(profile.map(|entry| catalogue_of(&entry.profile)).unwrap_or_default())
}
