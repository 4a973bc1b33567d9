//! `/v1/tenants`: the brands of an installation. For the admin key alone.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::ETAG;
use postrider_contract::catalogue::SchemaCheck;
use postrider_contract::clock::Timestamp;
use postrider_contract::ids::TenantId;
use postrider_contract::ports::ConfigKind;
use postrider_contract::profile::ProfileName;
use postrider_contract::tenant::Tenant;
use postrider_service::config_object::tenant_key;
use postrider_service::cursor::ListIdentity;
use postrider_service::directory::Directory;
use postrider_service::in_path::InPath;
use postrider_service::json_body::JsonBody;
use postrider_service::problem::{FieldErrors, Problem};
use postrider_service::query::{ListQuery, NoFilters};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::access::Admin;
use crate::documents::Stored;
use crate::field_change::FieldChange;
use crate::listing::{self, ListAnswer};
use crate::names::{check_name, check_website};
use crate::precondition::{IfMatch, entity_tag};
use crate::state::ManageState;
use crate::webhooks::fit;

const LIST: ListIdentity<'_> = ListIdentity { kind: "tenants", tenant: "" };

/// A tenant is one brand, with its own webhooks, keys and events.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TenantView {
    #[schema(value_type = String)]
    id: TenantId,
    /// Always `tenant`.
    object: &'static str,
    name: String,
    website: Option<String>,
    /// The delivery contract of its webhooks, unless a webhook names its own.
    #[schema(value_type = String)]
    profile: ProfileName,
    /// What becomes of events whose data is not what the catalogue says: `off`, `warn` or `enforce`.
    #[schema(value_type = String)]
    schema_check: SchemaCheck,
    revision: u64,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    updated_at: Timestamp,
}

impl From<Stored<Tenant>> for TenantView {
    fn from(Stored { object: tenant, revision }: Stored<Tenant>) -> Self {
        TenantView {
            id: tenant.id,
            object: "tenant",
            name: tenant.name,
            website: tenant.website,
            profile: tenant.profile,
            schema_check: tenant.schema_check,
            revision: revision.number(),
            created_at: tenant.created_at,
            updated_at: tenant.updated_at,
        }
    }
}

/// A new tenant.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewTenant {
    /// Its own chosen id: 1 to 64 letters, digits, `-` and `_`. Made by us (`tnt_…`) if absent.
    id: Option<String>,
    /// Up to 200 characters.
    name: String,
    website: Option<String>,
    /// `standard` if absent.
    profile: Option<String>,
    /// `off` if absent: an event's data is not looked at. `warn`: its producer is told what is not as the catalogue
    /// says. `enforce`: it is refused.
    #[schema(value_type = Option<String>)]
    #[serde(default)]
    schema_check: SchemaCheck,
}

/// What is to be changed; what is absent stays.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TenantChange {
    #[schema(value_type = Option<String>)]
    #[serde(default)]
    name: FieldChange<String>,
    /// `null` removes it.
    #[schema(value_type = Option<String>)]
    #[serde(default)]
    website: FieldChange<String>,
    /// The tenant's webhooks must fit the new profile, save those that name their own.
    #[schema(value_type = Option<String>)]
    #[serde(default)]
    profile: FieldChange<String>,
    /// `off`, `warn` or `enforce`; `null` is `off`.
    #[schema(value_type = Option<String>)]
    #[serde(default)]
    schema_check: FieldChange<SchemaCheck>,
}

/// Makes a tenant.
#[utoipa::path(
    post, path = "/v1/tenants", tag = "tenants", request_body = NewTenant,
    responses(
        (status = 201, body = TenantView),
        (status = 401, description = "no valid key"),
        (status = 403, description = "not the admin key"),
        (status = 409, description = "the id is, or was, in use"),
        (status = 422, description = "a field is wrong"),
    )
)]
pub(crate) async fn create_tenant(
    State(state): State<ManageState>,
    _: Admin,
    JsonBody(new): JsonBody<NewTenant>,
) -> Result<Response, Problem> {
    let now = state.parts().clock.now();
    let mut errors = FieldErrors::default();
    let id = match new.id {
        Some(text) => errors.check("/id", text.parse::<TenantId>()),
        None => Some(TenantId::draw(now, &*state.parts().entropy)),
    };
    if id == Some(TenantId::operator()) {
        errors.add("/id", "operator is reserved");
    }
    let name = errors.check("/name", check_name(&new.name));
    let website = new.website.map(|text| errors.check("/website", check_website(&text)));
    let profile = match new.profile {
        Some(text) => known_profile(&text, state.directory(), &mut errors),
        None => Some(ProfileName::standard()),
    };
    let (Some(id), Some(name), Some(profile), true) = (id, name, profile, errors.is_empty()) else {
        return Err(errors.into_problem());
    };
    let tenant = Tenant {
        id,
        name,
        website: website.flatten(),
        profile,
        schema_check: new.schema_check,
        created_at: now,
        updated_at: now,
    };
    let taken = "a tenant with this id exists, or existed: choose another id";
    let revision = state.documents().create(&tenant, taken).await?;
    let headers = [(ETAG, entity_tag(revision))];
    Ok((StatusCode::CREATED, headers, Json(TenantView::from(Stored { object: tenant, revision })))
        .into_response())
}

/// The tenants, newest first.
#[utoipa::path(
    get, path = "/v1/tenants", tag = "tenants",
    params(
        ("limit" = Option<u16>, Query, description = "1 to 200; 50 if absent"),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before"),
    ),
    responses(
        (status = 200, body = ListAnswer<TenantView>),
        (status = 401, description = "no valid key"),
        (status = 403, description = "not the admin key"),
    )
)]
pub(crate) async fn list_tenants(
    State(state): State<ManageState>,
    _: Admin,
    query: ListQuery<NoFilters>,
) -> Result<Json<ListAnswer<TenantView>>, Problem> {
    let before = LIST.begins_after(&query.page)?;
    let tenants =
        state.documents().list::<Tenant>(ConfigKind::Tenant, None, before, query.page.limit() + 1).await?;
    let id_of = |tenant: &Stored<Tenant>| tenant.object.id.to_string();
    Ok(Json(listing::answer(LIST, &query.page, tenants, id_of, TenantView::from)))
}

/// One tenant.
#[utoipa::path(
    get, path = "/v1/tenants/{id}", tag = "tenants",
    params(("id" = String, Path, description = "`tnt_…`, or its own chosen id")),
    responses(
        (status = 200, body = TenantView),
        (status = 401, description = "no valid key"),
        (status = 403, description = "not the admin key"),
        (status = 404, description = "there is no such tenant"),
    )
)]
pub(crate) async fn get_tenant(
    State(state): State<ManageState>,
    _: Admin,
    InPath(id): InPath<TenantId>,
) -> Result<Response, Problem> {
    let tenant = state.documents().get::<Tenant>(&tenant_key(&id)).await?;
    Ok(tagged(tenant))
}

/// Changes a tenant.
#[utoipa::path(
    patch, path = "/v1/tenants/{id}", tag = "tenants", request_body = TenantChange,
    params(
        ("id" = String, Path, description = "`tnt_…`, or its own chosen id"),
        ("If-Match" = Option<String>, Header, description = "change it only at this revision"),
    ),
    responses(
        (status = 200, body = TenantView),
        (status = 401, description = "no valid key"),
        (status = 403, description = "not the admin key"),
        (status = 404, description = "there is no such tenant"),
        (status = 412, description = "it is at another revision"),
        (status = 422, description = "a field is wrong, or a webhook does not fit the new profile"),
    )
)]
pub(crate) async fn patch_tenant(
    State(state): State<ManageState>,
    _: Admin,
    InPath(id): InPath<TenantId>,
    if_match: IfMatch,
    JsonBody(change): JsonBody<TenantChange>,
) -> Result<Response, Problem> {
    let now = state.parts().clock.now();
    let apply = |before: &Stored<Tenant>| {
        if_match.check(before.revision)?;
        let mut after = changed(&before.object, &change, state.directory())?;
        if after.profile != before.object.profile {
            fit::check_tenant(&state, &after)?;
        }
        if after == before.object {
            return Ok((None, ()));
        }
        after.updated_at = now;
        Ok((Some(after), ()))
    };
    let (tenant, ()) = state.documents().change::<Tenant, ()>(&tenant_key(&id), apply).await?;
    Ok(tagged(tenant))
}

/// Deletes a tenant with all that it has. Its keys stop at once; its deliveries end as canceled; its id is not
/// given again.
#[utoipa::path(
    delete, path = "/v1/tenants/{id}", tag = "tenants",
    params(
        ("id" = String, Path, description = "`tnt_…`, or its own chosen id"),
        ("If-Match" = Option<String>, Header, description = "delete it only at this revision"),
    ),
    responses(
        (status = 204, description = "deleted"),
        (status = 401, description = "no valid key"),
        (status = 403, description = "not the admin key"),
        (status = 404, description = "there is no such tenant"),
        (status = 412, description = "it is at another revision"),
    )
)]
pub(crate) async fn delete_tenant(
    State(state): State<ManageState>,
    _: Admin,
    InPath(id): InPath<TenantId>,
    if_match: IfMatch,
) -> Result<StatusCode, Problem> {
    state.documents().delete(&tenant_key(&id), |revision| if_match.check(revision)).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn changed(before: &Tenant, change: &TenantChange, directory: &Directory) -> Result<Tenant, Problem> {
    let mut errors = FieldErrors::default();
    let mut after = before.clone();
    match &change.name {
        FieldChange::Keep => {}
        FieldChange::Clear => errors.add("/name", "is required"),
        FieldChange::Set(text) => {
            if let Some(name) = errors.check("/name", check_name(text)) {
                after.name = name;
            }
        }
    }
    match &change.website {
        FieldChange::Keep => {}
        FieldChange::Clear => after.website = None,
        FieldChange::Set(text) => after.website = errors.check("/website", check_website(text)),
    }
    match &change.profile {
        FieldChange::Keep => {}
        FieldChange::Clear => after.profile = ProfileName::standard(),
        FieldChange::Set(text) => {
            if let Some(profile) = known_profile(text, directory, &mut errors) {
                after.profile = profile;
            }
        }
    }
    match change.schema_check {
        FieldChange::Keep => {}
        FieldChange::Clear => after.schema_check = SchemaCheck::Off,
        FieldChange::Set(check) => after.schema_check = check,
    }
    errors.into_result()?;
    Ok(after)
}

/// The profile of that name, if there is one; else noted under `/profile`.
pub(crate) fn known_profile(
    text: &str,
    directory: &Directory,
    errors: &mut FieldErrors,
) -> Option<ProfileName> {
    let name = errors.check("/profile", text.parse::<ProfileName>())?;
    if directory.offered_profile(&name).is_none() {
        errors.add("/profile", format!("there is no profile {name}; GET /v1/profiles lists those there are"));
        return None;
    }
    Some(name)
}

fn tagged(tenant: Stored<Tenant>) -> Response {
    ([(ETAG, entity_tag(tenant.revision))], Json(TenantView::from(tenant))).into_response()
}
