//! What a route asks of its caller, as extractors: a handler that takes one of these cannot run without it.
//!
//! They come before the body in every handler's arguments, so that whoever may not call learns nothing about it.

use axum::extract::FromRequestParts;
use http::request::Parts;
use postrider_contract::ids::TenantId;
use postrider_contract::key::Scope;
use postrider_service::authentication::Caller;
use postrider_service::problem::Problem;

use crate::state::ManageState;

/// The admin key.
pub(crate) struct Admin;

/// A caller that may read this tenant's things.
pub(crate) struct Reader(pub(crate) TenantId);

/// A caller that may change this tenant's things.
pub(crate) struct Manager(pub(crate) TenantId);

/// A caller that may read what belongs to the whole installation: any tenant's reader, or the admin key without a
/// tenant.
pub(crate) struct AnyReader;

/// A caller that may read a catalogue: its tenant's, or, for the admin key without a tenant, the installation's.
pub(crate) struct CatalogueReader(pub(crate) Option<TenantId>);

/// A caller that may write a catalogue: its tenant's, or, for the admin key without a tenant, the installation's.
pub(crate) struct CatalogueManager(pub(crate) Option<TenantId>);

impl FromRequestParts<ManageState> for Admin {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &ManageState) -> Result<Self, Problem> {
        Caller::from_request_parts(parts, state).await?.require_admin()?;
        Ok(Admin)
    }
}

impl FromRequestParts<ManageState> for Reader {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &ManageState) -> Result<Self, Problem> {
        let caller = Caller::from_request_parts(parts, state).await?;
        caller.tenant_with(Scope::Read, state.directory()).map(Reader)
    }
}

impl FromRequestParts<ManageState> for Manager {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &ManageState) -> Result<Self, Problem> {
        let caller = Caller::from_request_parts(parts, state).await?;
        caller.tenant_with(Scope::Manage, state.directory()).map(Manager)
    }
}

impl FromRequestParts<ManageState> for AnyReader {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &ManageState) -> Result<Self, Problem> {
        tenant_or_installation(parts, state, Scope::Read).await.map(|_| AnyReader)
    }
}

impl FromRequestParts<ManageState> for CatalogueReader {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &ManageState) -> Result<Self, Problem> {
        tenant_or_installation(parts, state, Scope::Read).await.map(CatalogueReader)
    }
}

impl FromRequestParts<ManageState> for CatalogueManager {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &ManageState) -> Result<Self, Problem> {
        tenant_or_installation(parts, state, Scope::Manage).await.map(CatalogueManager)
    }
}

/// `None` stands for the whole installation.
async fn tenant_or_installation(
    parts: &mut Parts,
    state: &ManageState,
    scope: Scope,
) -> Result<Option<TenantId>, Problem> {
    match Caller::from_request_parts(parts, state).await? {
        Caller::Admin { acts_for: None } => Ok(None),
        caller @ (Caller::Admin { acts_for: Some(_) } | Caller::Tenant(_)) => {
            caller.tenant_with(scope, state.directory()).map(Some)
        }
    }
}
