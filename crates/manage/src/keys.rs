//! `/v1/tenants/{id}/keys`: a tenant's API keys. For the admin key alone; a key's text is shown once.

use std::collections::BTreeSet;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header::CACHE_CONTROL;
use http::{HeaderValue, StatusCode};
use postrider_contract::clock::Timestamp;
use postrider_contract::ids::{KeyId, TenantId};
use postrider_contract::key::{ApiKey, KeyHash, Scope};
use postrider_contract::ports::{ConfigKey, ConfigKind};
use postrider_contract::tenant::Tenant;
use postrider_service::config_object::tenant_key;
use postrider_service::cursor::ListIdentity;
use postrider_service::in_path::InPath;
use postrider_service::json_body::JsonBody;
use postrider_service::key_text::{KeyHolder, draw_key, key_hint};
use postrider_service::problem::{Code, FieldErrors, Problem};
use postrider_service::query::{ListQuery, NoFilters};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::access::Admin;
use crate::documents::Stored;
use crate::listing::{self, ListAnswer};
use crate::names::check_name;
use crate::state::ManageState;

/// An answer that holds a secret is nobody's to keep.
pub(crate) const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");

/// An API key, without its text.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct KeyView {
    #[schema(value_type = String)]
    id: KeyId,
    /// Always `key`.
    object: &'static str,
    #[schema(value_type = String)]
    tenant_id: TenantId,
    name: String,
    /// Of `publish`, `read`, `manage`.
    #[schema(value_type = Vec<String>)]
    scopes: BTreeSet<Scope>,
    #[schema(value_type = Option<String>, format = DateTime)]
    expires_at: Option<Timestamp>,
    /// The beginning of its text, to tell it from others.
    hint: String,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
}

/// A key that was just made.
#[derive(Serialize, ToSchema)]
pub(crate) struct NewKeyAnswer {
    #[serde(flatten)]
    view: KeyView,
    /// The key's text: shown now and never again.
    key: String,
}

impl From<ApiKey> for KeyView {
    fn from(key: ApiKey) -> Self {
        KeyView {
            id: key.id,
            object: "key",
            tenant_id: key.tenant,
            name: key.name,
            scopes: key.scopes,
            expires_at: key.expires_at,
            hint: key.hint,
            created_at: key.created_at,
        }
    }
}

/// A new key.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewKey {
    /// Up to 200 characters.
    name: String,
    /// At least one of `publish`, `read`, `manage`.
    #[schema(value_type = Vec<String>)]
    scopes: BTreeSet<Scope>,
    /// RFC 3339; never if absent.
    #[schema(value_type = Option<String>, format = DateTime)]
    expires_at: Option<String>,
}

/// Makes a key for a tenant. Its text is in this answer alone.
#[utoipa::path(
    post, path = "/v1/tenants/{id}/keys", tag = "tenants", request_body = NewKey,
    params(("id" = String, Path, description = "the tenant")),
    responses(
        (status = 201, body = NewKeyAnswer),
        (status = 401, description = "no valid key"),
        (status = 403, description = "not the admin key"),
        (status = 404, description = "there is no such tenant"),
        (status = 409, description = "the tenant has as many keys as it may have"),
        (status = 422, description = "a field is wrong"),
    )
)]
pub(crate) async fn create_key(
    State(state): State<ManageState>,
    _: Admin,
    InPath(tenant): InPath<TenantId>,
    JsonBody(new): JsonBody<NewKey>,
) -> Result<Response, Problem> {
    state.documents().get::<Tenant>(&tenant_key(&tenant)).await?;
    let (parts, now) = (state.parts(), state.parts().clock.now());
    let mut errors = FieldErrors::default();
    let name = errors.check("/name", check_name(&new.name));
    if new.scopes.is_empty() {
        errors.add("/scopes", "must hold at least one of publish, read, manage");
    }
    let expires_at = new.expires_at.and_then(|text| errors.check("/expires_at", text.parse::<Timestamp>()));
    if expires_at.is_some_and(|end| end <= now) {
        errors.add("/expires_at", "must be in the future");
    }
    let (Some(name), true) = (name, errors.is_empty()) else { return Err(errors.into_problem()) };
    let limit = parts.limits.keys_per_tenant;
    if state.documents().records(ConfigKind::Key, Some(&tenant), None, limit).await?.len() >= limit {
        return Err(Problem::new(
            Code::Conflict,
            format!("a tenant has at most {limit} keys; delete one first"),
        ));
    }
    let text = draw_key(KeyHolder::Tenant, &*parts.entropy);
    let key = ApiKey {
        id: KeyId::draw(now, &*parts.entropy),
        tenant,
        name,
        scopes: new.scopes,
        expires_at,
        hash: KeyHash::of(text.reveal()),
        hint: key_hint(&text),
        created_at: now,
    };
    state.documents().create(&key, "a key with this id exists; repeat the request").await?;
    let answer = NewKeyAnswer { view: KeyView::from(key), key: text.reveal().to_owned() };
    Ok((StatusCode::CREATED, [(CACHE_CONTROL, NO_STORE)], Json(answer)).into_response())
}

/// A tenant's keys, newest first, expired ones included.
#[utoipa::path(
    get, path = "/v1/tenants/{id}/keys", tag = "tenants",
    params(
        ("id" = String, Path, description = "the tenant"),
        ("limit" = Option<u16>, Query, description = "1 to 200; 50 if absent"),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before"),
    ),
    responses(
        (status = 200, body = ListAnswer<KeyView>),
        (status = 401, description = "no valid key"),
        (status = 403, description = "not the admin key"),
        (status = 404, description = "there is no such tenant"),
    )
)]
pub(crate) async fn list_keys(
    State(state): State<ManageState>,
    _: Admin,
    InPath(tenant): InPath<TenantId>,
    query: ListQuery<NoFilters>,
) -> Result<Json<ListAnswer<KeyView>>, Problem> {
    state.documents().get::<Tenant>(&tenant_key(&tenant)).await?;
    let identity = ListIdentity { kind: "keys", tenant: tenant.as_str() };
    let before = identity.begins_after(&query.page)?;
    let limit = query.page.limit() + 1;
    let keys = state.documents().list::<ApiKey>(ConfigKind::Key, Some(&tenant), before, limit).await?;
    let id_of = |key: &Stored<ApiKey>| key.object.id.to_string();
    Ok(Json(listing::answer(identity, &query.page, keys, id_of, |key| KeyView::from(key.object))))
}

/// Revokes a key: every process refuses it within a second.
#[utoipa::path(
    delete, path = "/v1/tenants/{id}/keys/{key}", tag = "tenants",
    params(
        ("id" = String, Path, description = "the tenant"),
        ("key" = String, Path, description = "the key's id, `key_…`"),
    ),
    responses(
        (status = 204, description = "revoked"),
        (status = 401, description = "no valid key"),
        (status = 403, description = "not the admin key"),
        (status = 404, description = "there is no such key"),
    )
)]
pub(crate) async fn delete_key(
    State(state): State<ManageState>,
    _: Admin,
    InPath((tenant, key)): InPath<(TenantId, KeyId)>,
) -> Result<StatusCode, Problem> {
    state.documents().get::<Tenant>(&tenant_key(&tenant)).await?;
    let key = ConfigKey { kind: ConfigKind::Key, tenant: Some(tenant), id: key.to_string() };
    state.documents().delete(&key, |_| Ok(())).await?;
    Ok(StatusCode::NO_CONTENT)
}
