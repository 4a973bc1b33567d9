//! `/v1/event-types`: what a tenant's webhooks can subscribe to, and what its events carry. The built-in catalogue that
//! its profile names, with the installation's and its own on top.

pub(crate) mod change;
mod notice;

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use postrider_contract::catalogue::{Catalogue, KnownMajor, KnownType, WrittenMajor};
use postrider_contract::clock::Timestamp;
use postrider_contract::event::{EventType, SchemaVersion};
use postrider_contract::ids::TenantId;
use postrider_service::cursor::ListIdentity;
use postrider_service::in_path::InPath;
use postrider_service::problem::Problem;
use postrider_service::query::{ListQuery, NoFilters};
use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use crate::access::CatalogueReader;
use crate::listing::{self, ListAnswer};
use crate::state::ManageState;

/// One type of event, told by its newest major.
#[derive(Serialize, ToSchema)]
pub(crate) struct EventTypeView {
    /// Always `event_type`.
    object: &'static str,
    #[schema(value_type = String)]
    r#type: EventType,
    #[serde(flatten)]
    newest: MajorView,
    /// Each major that may be sent, the lowest first; the newest among them.
    majors: Vec<MajorView>,
}

/// One major of a type.
#[derive(Clone, Serialize, ToSchema)]
pub(crate) struct MajorView {
    description: String,
    /// `major.minor` of its schema.
    #[schema(value_type = String)]
    version: SchemaVersion,
    /// JSON Schema, draft 2020-12, of an event's `data`; `null`: any object.
    #[schema(value_type = Option<Object>)]
    schema: Option<Box<RawValue>>,
    /// A `data` that satisfies the schema.
    #[schema(value_type = Option<Object>)]
    example: Option<Box<RawValue>>,
    /// Who described it: `builtin`, `installation` or `tenant`.
    source: &'static str,
    /// When it ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    sunset_at: Option<Timestamp>,
}

impl From<&KnownMajor> for MajorView {
    fn from(known: &KnownMajor) -> Self {
        let WrittenMajor { version, description, schema, example, sunset_at } = known.major.written().clone();
        MajorView { description, version, schema, example, source: known.source.as_str(), sunset_at }
    }
}

impl EventTypeView {
    /// `None` for a type without a major, which is none.
    fn of(event_type: &EventType, known: &KnownType) -> Option<Self> {
        let majors: Vec<MajorView> = known.majors().map(MajorView::from).collect();
        let newest = majors.last()?.clone();
        Some(EventTypeView { object: "event_type", r#type: event_type.clone(), newest, majors })
    }
}

/// The tenant's event types, by name; with the admin key and no tenant, the installation's own.
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
    CatalogueReader(tenant): CatalogueReader,
    query: ListQuery<NoFilters>,
) -> Result<Json<ListAnswer<EventTypeView>>, Problem> {
    let identity = ListIdentity { kind: "event_types", tenant: tenant.as_ref().map_or("", TenantId::as_str) };
    let after = identity.begins_after(&query.page)?;
    let catalogue = catalogue(&state, tenant.as_ref())?;
    let is_on_page =
        |event_type: &EventType| after.as_deref().is_none_or(|after| event_type.as_str() > after);
    let rest: Vec<EventTypeView> = catalogue
        .types()
        .filter(|(event_type, _)| is_on_page(event_type))
        .take(query.page.limit() + 1)
        .filter_map(|(event_type, known)| EventTypeView::of(event_type, known))
        .collect();
    let id_of = |view: &EventTypeView| view.r#type.to_string();
    Ok(Json(listing::answer(identity, &query.page, rest, id_of, |view| view)))
}

/// One of the tenant's event types; with the admin key and no tenant, of the installation's own.
#[utoipa::path(
    get, path = "/v1/event-types/{type}", tag = "event types",
    params(("type" = String, Path, description = "for instance `conversion.created`")),
    responses(
        (status = 200, body = EventTypeView),
        (status = 401, description = "no valid key"),
        (status = 403, description = "the key may not read"),
        (status = 404, description = "the catalogue has no such type"),
    )
)]
pub(crate) async fn get_event_type(
    State(state): State<ManageState>,
    CatalogueReader(tenant): CatalogueReader,
    InPath(event_type): InPath<EventType>,
) -> Result<Json<EventTypeView>, Problem> {
    found(&state, tenant.as_ref(), &event_type).map(Json)
}

fn found(
    state: &ManageState,
    tenant: Option<&TenantId>,
    event_type: &EventType,
) -> Result<EventTypeView, Problem> {
    let catalogue = catalogue(state, tenant)?;
    let known = catalogue.get(event_type);
    known.and_then(|known| EventTypeView::of(event_type, known)).ok_or_else(Problem::not_found)
}

fn catalogue(state: &ManageState, tenant: Option<&TenantId>) -> Result<Arc<Catalogue>, Problem> {
    match tenant {
        Some(tenant) => {
            let view = state.directory().tenant(tenant).known().ok_or_else(Problem::not_found)?;
            Ok(Arc::clone(&view.catalogue))
        }
        None => Ok(Arc::new(state.directory().installation_catalogue())),
    }
}
