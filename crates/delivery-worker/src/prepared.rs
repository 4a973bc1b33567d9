//! What every try of a webhook has in common, worked out once for each of its revisions: where it goes, the keys
//! it signs with, its own headers with their secrets opened.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Uri};
use postrider_contract::attempt::Header;
use postrider_contract::clock::Timestamp;
use postrider_contract::delivery::Query;
use postrider_contract::ids::WebhookId;
use postrider_contract::postback::PostbackMethod;
use postrider_contract::profile::{ProfileName, SecretRule};
use postrider_contract::revision::Revision;
use postrider_contract::secret::{SealedSecret, Secret};
use postrider_contract::signature::{InvalidSecret, SigningKey};
use postrider_contract::webhook::{Authentication, PreviousSecret, WebhookKind};
use postrider_service::directory::WebhookEntry;
use postrider_service::secret_box::{OpenError, SecretBox};
use postrider_service::webhook_secrets::{SecretPlace, WebhookSecrets};

use crate::client::{Endpoint, HeaderCase};

/// More webhooks than this are not kept ready; each is some kilobytes.
const MAX_KEPT: usize = 16_384;
/// What the log shows in place of a secret.
const MASKED: &str = "***";

/// Why a webhook's requests cannot be made. None of it is the receiver's doing, so no try is counted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PrepareError {
    #[error("a secret of the webhook does not open")]
    Sealed(#[from] OpenError),
    #[error("a secret of the webhook is not one of its profile: it {0}")]
    Secret(#[from] InvalidSecret),
    #[error("header {name} of the webhook cannot be written")]
    Header { name: String },
    /// The profile's would be sent in place of the credential.
    #[error("the webhook's credential stands in {name}, a header of its profile")]
    Credential { name: String },
    #[error("the path of the webhook's url cannot be written in a request")]
    Target,
}

/// A header of the webhook's own.
#[derive(Clone, Debug)]
pub struct OwnHeader {
    pub name: HeaderName,
    pub value: HeaderValue,
    /// As the log shows it.
    pub shown: Header,
}

#[derive(Debug)]
struct Key {
    key: SigningKey,
    until: Option<Timestamp>,
}

/// A webhook, ready to be called.
#[derive(Debug)]
pub struct Prepared {
    pub entry: Arc<WebhookEntry>,
    pub endpoint: Arc<Endpoint>,
    pub target: Uri,
    pub method: Method,
    pub host: HeaderValue,
    pub time_limit: Duration,
    pub own_headers: Vec<OwnHeader>,
    keys: Vec<Key>,
    case: OnceLock<HeaderCase>,
}

impl Prepared {
    /// # Errors
    /// When a secret does not open, or what is stored cannot be written in a request.
    pub fn new(entry: Arc<WebhookEntry>, secrets: &SecretBox) -> Result<Self, PrepareError> {
        let webhook = &entry.webhook;
        let profile = &entry.profile.profile;
        let secrets = WebhookSecrets::new(secrets, &webhook.tenant, webhook.id);
        let credential = webhook.authentication.header();
        if let Some(name) = credential.filter(|name| profile.sets_header(name, &webhook.overrides)) {
            return Err(PrepareError::Credential { name: name.to_owned() });
        }
        let keys = match (&profile.definition().signature, &profile.definition().secret) {
            (Some(_), Some(rule)) => signing_keys(&entry, &secrets, rule)?,
            (Some(_) | None, _) => Vec::new(),
        };
        let method = profile.definition().request.method.as_str();
        let method = Method::from_bytes(method.as_bytes()).map_err(|_| PrepareError::Target)?;
        let host = HeaderValue::from_str(webhook.url.authority());
        Ok(Prepared {
            endpoint: Arc::new(Endpoint::of(&webhook.url, profile.definition().request.minimum_tls)),
            target: webhook.url.path_and_query().parse().map_err(|_| PrepareError::Target)?,
            method: match webhook.kind {
                WebhookKind::Webhook => method,
                WebhookKind::Postback => match webhook.postback.method {
                    PostbackMethod::Get => Method::GET,
                    PostbackMethod::Post => Method::POST,
                },
            },
            host: host.map_err(|_| PrepareError::Header { name: "Host".to_owned() })?,
            time_limit: profile.time_limit(&webhook.overrides),
            own_headers: own_headers(&entry, &secrets)?,
            keys,
            case: OnceLock::new(),
            entry,
        })
    }

    /// Path and query of a delivery's requests: the path is the URL's of now, a filled query the delivery's own. `None` if
    /// they cannot be written.
    #[must_use]
    pub fn target_with(&self, query: &Query) -> Option<Uri> {
        let filled = match query {
            Query::OfUrl => return Some(self.target.clone()),
            Query::Filled(filled) => std::str::from_utf8(filled).ok()?,
            Query::TooLong(_) => return None,
        };
        let path = self.entry.webhook.url.path();
        if filled.is_empty() { path.parse().ok() } else { format!("{path}?{filled}").parse().ok() }
    }

    /// The keys that sign at `now`, newest first.
    #[must_use]
    pub fn signing_keys(&self, now: Timestamp) -> Vec<SigningKey> {
        let is_active = |key: &&Key| key.until.is_none_or(|until| now < until);
        self.keys.iter().filter(is_active).map(|key| key.key.clone()).collect()
    }

    /// How the header names are written: learnt from the first request, since all have the same.
    pub fn header_case<'a>(&self, names: impl FnOnce() -> Vec<&'a str>) -> HeaderCase {
        self.case.get_or_init(|| HeaderCase::of(names())).clone()
    }

    fn is_of(&self, entry: &WebhookEntry) -> bool {
        let revisions = |entry: &WebhookEntry| (entry.revision, entry.tenant_revision);
        revisions(&self.entry) == revisions(entry)
    }
}

/// A webhook under one profile: its own, or an earlier one that deliveries under way were rendered with.
type ReadyKey = (WebhookId, ProfileName, Revision);

/// The webhooks that are ready; each of the newest revision that was asked for.
pub struct Preparations {
    secrets: SecretBox,
    ready: Mutex<HashMap<ReadyKey, Arc<Prepared>>>,
}

impl Preparations {
    #[must_use]
    pub fn new(secrets: SecretBox) -> Self {
        Preparations { secrets, ready: Mutex::default() }
    }

    /// # Errors
    /// As [`Prepared::new`].
    pub fn of(&self, entry: &Arc<WebhookEntry>) -> Result<Arc<Prepared>, PrepareError> {
        let profile = &entry.profile;
        let key = (entry.webhook.id, profile.profile.name().clone(), profile.revision);
        if let Some(ready) = self.ready().get(&key).filter(|ready| ready.is_of(entry)) {
            return Ok(Arc::clone(ready));
        }
        let prepared = Arc::new(Prepared::new(Arc::clone(entry), &self.secrets)?);
        let mut ready = self.ready();
        if ready.len() >= MAX_KEPT {
            // Whoever is still called comes back by itself.
            ready.clear();
        }
        ready.insert(key, Arc::clone(&prepared));
        Ok(prepared)
    }

    fn ready(&self) -> MutexGuard<'_, HashMap<ReadyKey, Arc<Prepared>>> {
        self.ready.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The present secret must be one of the profile. One that goes on beside it may be of the profile before: nobody who
/// reads signatures of this profile has it, so it signs nothing, and holds nothing up.
fn signing_keys(
    entry: &WebhookEntry,
    secrets: &WebhookSecrets<'_>,
    rule: &SecretRule,
) -> Result<Vec<Key>, PrepareError> {
    let stored = &entry.webhook.secrets;
    let key_of = |sealed: &SealedSecret| -> Result<SigningKey, PrepareError> {
        let secret = secrets.open(SecretPlace::Signing, sealed)?;
        Ok(SigningKey::parse(secret.reveal(), rule)?)
    };
    let mut keys = Vec::with_capacity(1 + stored.previous.len());
    if let Some(current) = &stored.current {
        keys.push(Key { key: key_of(current)?, until: None });
    }
    for PreviousSecret { secret, until } in &stored.previous {
        match key_of(secret) {
            Ok(key) => keys.push(Key { key, until: Some(*until) }),
            Err(error) => {
                tracing::info!(webhook.id = %entry.webhook.id, %error, "an earlier secret signs nothing");
            }
        }
    }
    Ok(keys)
}

fn own_headers(entry: &WebhookEntry, secrets: &WebhookSecrets<'_>) -> Result<Vec<OwnHeader>, PrepareError> {
    let mut headers = Vec::new();
    match &entry.webhook.authentication {
        Authentication::None => {}
        Authentication::Bearer { token } => {
            let token = secrets.open(SecretPlace::BearerToken, token)?;
            let value = Secret::new(format!("Bearer {}", token.reveal()));
            headers.push(own_header("Authorization", &value, &format!("Bearer {MASKED}"))?);
        }
        Authentication::Basic { username, password } => {
            let password = secrets.open(SecretPlace::BasicPassword, password)?;
            let pair = Secret::new(format!("{username}:{}", password.reveal()));
            let value = Secret::new(format!("Basic {}", STANDARD.encode(pair.reveal())));
            headers.push(own_header("Authorization", &value, &format!("Basic {MASKED}"))?);
        }
        Authentication::ApiKey { header, value } => {
            headers.push(own_header(header, &secrets.open(SecretPlace::ApiKeyValue, value)?, MASKED)?);
        }
    }
    for custom in &entry.webhook.headers {
        let value = secrets.open(SecretPlace::Header(&custom.name), &custom.value)?;
        headers.push(own_header(&custom.name, &value, MASKED)?);
    }
    Ok(headers)
}

fn own_header(name: &str, value: &Secret, shown: &str) -> Result<OwnHeader, PrepareError> {
    let refused = || PrepareError::Header { name: name.to_owned() };
    let mut written = HeaderValue::from_str(value.reveal()).map_err(|_| refused())?;
    written.set_sensitive(true);
    Ok(OwnHeader {
        name: HeaderName::from_bytes(name.as_bytes()).map_err(|_| refused())?,
        value: written,
        shown: Header { name: name.into(), value: Bytes::copy_from_slice(shown.as_bytes()) },
    })
}
