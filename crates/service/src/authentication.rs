//! Who calls: from the `Authorization` header to a [`Caller`], and what that caller may do for which tenant.
//!
//! Unknown, expired and revoked keys answer alike. The tenant of a tenant's key comes from the key alone; a request that
//! names another one is refused rather than done for the wrong tenant.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{FromRef, FromRequestParts};
use http::HeaderMap;
use http::header::AUTHORIZATION;
use http::request::Parts;
use postrider_contract::clock::Clock;
use postrider_contract::ids::{KeyId, TenantId};
use postrider_contract::key::{ApiKey, KeyHash, Scope};
use subtle::ConstantTimeEq;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep_until, timeout};

use crate::directory::{Directory, Found};
use crate::key_text::is_tenant_key;
use crate::problem::{Code, Problem};

/// The header by which the admin key says for which tenant it acts. A tenant's key may name its own there.
pub const TENANT_HEADER: &str = "postrider-tenant";
/// A longer header is not a key of ours.
const MAX_KEY: usize = 512;
/// A well-formed key that is not known may be newer than the directory; but not every such guess asks the store.
const ASK_STORE_EVERY: Duration = Duration::from_millis(200);
/// Until when a tenant may be readable: by then it may be another process that is asked.
const ASK_AGAIN: Duration = Duration::from_secs(1);
/// How long such a request waits for a store that does not answer.
const ASK_STORE_AT_MOST: Duration = Duration::from_secs(1);

/// Where the admin key's hash is to be found.
#[derive(Clone, Debug)]
pub enum AdminKeySource {
    /// Given by configuration.
    Configured(KeyHash),
    /// Made at first start and kept in the store.
    Stored,
}

pub struct Authenticator {
    directory: Arc<Directory>,
    clock: Arc<dyn Clock>,
    admin: AdminKeySource,
    asked_store_at: Mutex<Option<Instant>>,
}

/// Who calls.
#[derive(Clone, Debug)]
pub enum Caller {
    Admin {
        /// As named by the `Postrider-Tenant` header; it need not exist.
        acts_for: Option<TenantId>,
    },
    Tenant(Arc<ApiKey>),
}

impl Authenticator {
    #[must_use]
    pub fn new(directory: Arc<Directory>, clock: Arc<dyn Clock>, admin: AdminKeySource) -> Arc<Self> {
        Arc::new(Authenticator { directory, clock, admin, asked_store_at: Mutex::new(None) })
    }

    /// # Errors
    /// 401 for anything but a valid key; 403 for a tenant's key that names another tenant; what [`TENANT_HEADER`]
    /// holds beside that may be refused with 400 and, for the admin key, 404. 503 where this version cannot read the
    /// tenant.
    pub async fn authenticate(&self, headers: &HeaderMap) -> Result<Caller, Problem> {
        let text = bearer(headers).ok_or_else(Problem::unauthorized)?;
        let hash = KeyHash::of(text);
        if self.is_admin(&hash) {
            return Ok(Caller::Admin { acts_for: named_tenant(headers)? });
        }
        if !is_tenant_key(text) {
            return Err(Problem::unauthorized());
        }
        let key = match self.directory.key(&hash) {
            Some(key) => key,
            None => self.newer_key(&hash).await.ok_or_else(Problem::unauthorized)?,
        };
        let is_expired = key.expires_at.is_some_and(|end| end <= self.clock.now());
        if is_expired {
            return Err(Problem::unauthorized());
        }
        find_tenant(&self.directory, &key.tenant, Problem::unauthorized)?;
        let named = headers.get_all(TENANT_HEADER).iter();
        if named.into_iter().any(|named| named.as_bytes() != key.tenant.as_str().as_bytes()) {
            let detail = "this key acts for its own tenant alone; Postrider-Tenant names another";
            return Err(Problem::new(Code::Forbidden, detail));
        }
        Ok(Caller::Tenant(key))
    }

    fn is_admin(&self, hash: &KeyHash) -> bool {
        let expected = match &self.admin {
            AdminKeySource::Configured(hash) => Some(hash.clone()),
            AdminKeySource::Stored => self.directory.admin_key(),
        };
        expected.is_some_and(|expected| expected.as_str().as_bytes().ct_eq(hash.as_str().as_bytes()).into())
    }

    /// Asks the store, once for all who came before it was asked, and not again until a while later: who comes
    /// meanwhile waits. A key that was just made is then never refused, whatever else is being guessed.
    async fn newer_key(&self, hash: &KeyHash) -> Option<Arc<ApiKey>> {
        let came_at = Instant::now();
        let mut asked_at = self.asked_store_at.lock().await;
        if asked_at.is_none_or(|at| at <= came_at) {
            if let Some(at) = *asked_at {
                sleep_until(at + ASK_STORE_EVERY).await;
            }
            *asked_at = Some(Instant::now());
            match timeout(ASK_STORE_AT_MOST, self.directory.refresh()).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::debug!(%error, "cannot ask the store for a key that is not known"),
                Err(_) => tracing::debug!("the store did not say in time whether it knows a key"),
            }
        }
        drop(asked_at);
        self.directory.key(hash)
    }

    #[must_use]
    pub fn directory(&self) -> &Arc<Directory> {
        &self.directory
    }
}

impl Caller {
    /// The tenant that this call acts for, if it may do what it asks.
    ///
    /// # Errors
    /// 403 without the scope; 400 where the admin key names no tenant; 404 where it names one that is not there, 503 one
    /// that this version cannot read.
    pub fn tenant_with(&self, scope: Scope, directory: &Directory) -> Result<TenantId, Problem> {
        match self {
            Caller::Tenant(key) if key.scopes.contains(&scope) => Ok(key.tenant.clone()),
            Caller::Tenant(_) => {
                let detail = format!("this key does not have the scope {}", scope_word(scope));
                Err(Problem::new(Code::Forbidden, detail))
            }
            Caller::Admin { acts_for: None } => {
                let detail = "the admin key must name the tenant it acts for in the header Postrider-Tenant";
                Err(Problem::new(Code::BadRequest, detail))
            }
            Caller::Admin { acts_for: Some(tenant) } => {
                find_tenant(directory, tenant, Problem::not_found)?;
                Ok(tenant.clone())
            }
        }
    }

    /// # Errors
    /// 403 for a tenant's key.
    pub fn require_admin(&self) -> Result<(), Problem> {
        match self {
            Caller::Admin { .. } => Ok(()),
            Caller::Tenant(_) => Err(Problem::new(Code::Forbidden, "only the admin key may do this")),
        }
    }

    /// `None` for the admin.
    #[must_use]
    pub fn key_id(&self) -> Option<KeyId> {
        match self {
            Caller::Tenant(key) => Some(key.id),
            Caller::Admin { .. } => None,
        }
    }
}

impl<S> FromRequestParts<S> for Caller
where
    S: Send + Sync,
    Arc<Authenticator>: FromRef<S>,
{
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        <Arc<Authenticator>>::from_ref(state).authenticate(&parts.headers).await
    }
}

/// Whether the tenant is there. To say of one that cannot be read here that it is not there would be for good.
fn find_tenant(directory: &Directory, id: &TenantId, absent: fn() -> Problem) -> Result<(), Problem> {
    match directory.tenant(id) {
        Found::Known(_) => Ok(()),
        Found::Unknown if directory.cannot_read_tenant(id) => {
            let detail = "this version of Postrider cannot read the tenant, which a newer one wrote; ask again, once \
                          every process is of the newer version";
            Err(Problem::new(Code::Unavailable, detail).with_retry_after(ASK_AGAIN))
        }
        Found::Deleted | Found::Unknown => Err(absent()),
    }
}

/// The text of the one `Authorization: Bearer` header; two headers are none.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    let (first, second) = (values.next()?, values.next());
    if second.is_some() {
        return None;
    }
    let (scheme, text) = first.to_str().ok()?.split_once(' ')?;
    let is_plausible =
        !text.is_empty() && text.len() <= MAX_KEY && text.bytes().all(|byte| byte.is_ascii_graphic());
    (scheme.eq_ignore_ascii_case("bearer") && is_plausible).then_some(text)
}

fn named_tenant(headers: &HeaderMap) -> Result<Option<TenantId>, Problem> {
    let mut values = headers.get_all(TENANT_HEADER).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(Problem::new(Code::BadRequest, "Postrider-Tenant was given more than once"));
    }
    // What cannot be an id names a tenant that is not there.
    let parsed = value.to_str().ok().and_then(|text| text.parse().ok());
    parsed.map(Some).ok_or_else(Problem::not_found)
}

fn scope_word(scope: Scope) -> &'static str {
    match scope {
        Scope::Publish => "publish",
        Scope::Read => "read",
        Scope::Manage => "manage",
    }
}

#[cfg(test)]
mod tests;
