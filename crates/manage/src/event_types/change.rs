//! `PUT` and `DELETE /v1/event-types/{type}`: a tenant's own catalogue, and the installation's.
//!
//! A `PUT` writes one major of a type: in the place of the one with the same number, or as a further one beside those
//! that are there. What a catalogue below describes stays as it is; the uppermost description of a major counts.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::ETAG;
use postrider_contract::catalogue::{
    CatalogueSource, EventTypeDefinition, KnownType, MAX_MAJORS, MAX_TYPES, Major, WrittenMajor,
};
use postrider_contract::clock::Timestamp;
use postrider_contract::event::{EventType, SchemaVersion};
use postrider_contract::ids::TenantId;
use postrider_service::config_object::event_type_key;
use postrider_service::in_path::InPath;
use postrider_service::json_body::JsonBody;
use postrider_service::problem::{Code, FieldErrors, Problem};
use serde::Deserialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::notice::Concerned;
use super::{EventTypeView, catalogue, found};
use crate::access::CatalogueManager;
use crate::documents::{Stored, unavailable};
use crate::names::check_description;
use crate::precondition::{IfMatch, entity_tag};
use crate::state::ManageState;

/// One major of a type, as its catalogue is to describe it.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct EventTypeForm {
    /// Up to 1,000 characters.
    #[serde(default)]
    description: String,
    /// `major.minor`; `1.0` if absent. The major says which one is written.
    #[schema(value_type = Option<String>)]
    #[serde(default = "first_version")]
    version: SchemaVersion,
    /// JSON Schema, draft 2020-12, of an event's `data`, as docs/event-types.md has it. Absent: any object will do.
    #[schema(value_type = Option<Object>)]
    schema: Option<Box<RawValue>>,
    /// A `data` that satisfies the schema; tests of webhooks are made of it.
    #[schema(value_type = Option<Object>)]
    example: Option<Box<RawValue>>,
    /// When this major ends, to tell those who receive it. It goes on being delivered.
    #[schema(value_type = Option<String>, format = DateTime)]
    sunset_at: Option<Timestamp>,
}

const fn first_version() -> SchemaVersion {
    SchemaVersion::FIRST
}

/// What a `PUT` came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Written {
    Made,
    Changed,
    /// It was so before.
    Nothing,
}

/// Describes one major of a type: for the tenant, or, with the admin key and no tenant, for all.
#[utoipa::path(
    put, path = "/v1/event-types/{type}", tag = "event types", request_body = EventTypeForm,
    params(
        ("type" = String, Path, description = "for instance `order.paid`"),
        ("If-Match" = Option<String>, Header, description = "change it only at this revision"),
    ),
    responses(
        (status = 200, body = EventTypeView, description = "changed, or the same as before"),
        (status = 201, body = EventTypeView, description = "the catalogue had no description of its own"),
        (status = 401, description = "no valid key"),
        (status = 403, description = "the key may not manage"),
        (status = 409, description = "there are too many, or others keep changing it"),
        (status = 412, description = "it is at another revision, or not there"),
        (status = 422, description = "a field is wrong, the schema cannot work, or the example does not satisfy it"),
    )
)]
pub(crate) async fn put_event_type(
    State(state): State<ManageState>,
    CatalogueManager(tenant): CatalogueManager,
    InPath(event_type): InPath<EventType>,
    if_match: IfMatch,
    JsonBody(form): JsonBody<EventTypeForm>,
) -> Result<Response, Problem> {
    let written = checked(&event_type, form)?;
    // What was decided elsewhere until now counts.
    state.directory().refresh().await.map_err(unavailable)?;
    let concerned = Concerned::of(&state, tenant.as_ref(), &event_type, written.version);
    let apply = |before: Option<&Stored<EventTypeDefinition>>| {
        let present = before.filter(|before| !before.object.is_withdrawn());
        if_match.check_present(present.map(|before| before.revision))?;
        let Some(before) = present else {
            check_count(&state, tenant.as_ref())?;
            let new = EventTypeDefinition::new(tenant.clone(), event_type.clone());
            return Ok((Some(new.with(written.clone())), Written::Made));
        };
        let same = before.object.major(written.version.major);
        if same.is_some_and(|same| same.is_same_as(&written)) {
            return Ok((None, Written::Nothing));
        }
        let after = before.object.with(written.clone());
        if after.majors.len() > MAX_MAJORS {
            let detail = format!("{event_type} has {MAX_MAJORS} majors already");
            return Err(Problem::new(Code::Conflict, detail));
        }
        Ok((Some(after), Written::Changed))
    };
    let key = event_type_key(tenant.as_ref(), &event_type);
    let (stored, outcome) = state.documents().put::<EventTypeDefinition, Written>(&key, apply).await?;
    let status = match outcome {
        Written::Made => StatusCode::CREATED,
        Written::Changed | Written::Nothing => StatusCode::OK,
    };
    if outcome != Written::Nothing {
        concerned.tell(&state).await;
    }
    let view: EventTypeView = found(&state, tenant.as_ref(), &event_type)?;
    Ok((status, [(ETAG, entity_tag(stored.revision))], Json(view)).into_response())
}

/// Takes a type out of the catalogue that describes it: the tenant's own, or, with the admin key and no tenant, the
/// installation's. What a catalogue below says of it counts again.
#[utoipa::path(
    delete, path = "/v1/event-types/{type}", tag = "event types",
    params(
        ("type" = String, Path, description = "for instance `order.paid`"),
        ("If-Match" = Option<String>, Header, description = "delete it only at this revision"),
    ),
    responses(
        (status = 204, description = "deleted"),
        (status = 401, description = "no valid key"),
        (status = 403, description = "the key may not manage"),
        (status = 404, description = "this catalogue has no description of its own"),
        (status = 412, description = "it is at another revision"),
    )
)]
pub(crate) async fn delete_event_type(
    State(state): State<ManageState>,
    CatalogueManager(tenant): CatalogueManager,
    InPath(event_type): InPath<EventType>,
    if_match: IfMatch,
) -> Result<StatusCode, Problem> {
    let apply = |before: &Stored<EventTypeDefinition>| {
        if before.object.is_withdrawn() {
            return Err(Problem::not_found());
        }
        if_match.check(before.revision)?;
        Ok((Some(EventTypeDefinition::new(tenant.clone(), event_type.clone())), ()))
    };
    let key = event_type_key(tenant.as_ref(), &event_type);
    state.documents().change::<EventTypeDefinition, ()>(&key, apply).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn checked(event_type: &EventType, form: EventTypeForm) -> Result<WrittenMajor, Problem> {
    let EventTypeForm { description, version, schema, example, sunset_at } = form;
    let mut errors = FieldErrors::default();
    if event_type.is_reserved() {
        errors.add("/type", "types that begin with postrider. are reserved");
    }
    errors.check("/description", check_description(&description));
    let written = WrittenMajor { version, description, schema, example, sunset_at };
    if let Err(wrong) = Major::new(written.clone()) {
        wrong.into_iter().for_each(|one| errors.add(one.pointer, one.detail));
    }
    errors.into_result()?;
    Ok(written)
}

fn check_count(state: &ManageState, tenant: Option<&TenantId>) -> Result<(), Problem> {
    let of_this = if tenant.is_some() { CatalogueSource::Tenant } else { CatalogueSource::Installation };
    let catalogue = catalogue(state, tenant)?;
    let is_own = |known: &KnownType| known.majors().any(|major| major.source == of_this);
    if catalogue.types().filter(|(_, known)| is_own(known)).count() < MAX_TYPES {
        return Ok(());
    }
    Err(Problem::new(Code::Conflict, format!("the catalogue has {MAX_TYPES} types of its own already")))
}
