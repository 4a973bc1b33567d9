//! The requests of one webhook: what all of them have in common, worked out once, and from it the request of each try.
//!
//! Workers send what is made here and `explain` shows it: there is no other place where a request is put together.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{CONTENT_LENGTH, Entry, HOST};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use postrider_contract::attempt::Header;
use postrider_contract::clock::Timestamp;
use postrider_contract::delivery::{Delivery, Query};
use postrider_contract::own_header::{check_header_name, check_header_text};
use postrider_contract::profile::{CompiledProfile, ParameterName, SecretRule};
use postrider_contract::query_string::{count_parameters, with_pair};
use postrider_contract::secret::{SealedSecret, Secret};
use postrider_contract::signature::{Covered, InvalidSecret, RequestContext, SigningKey, signed_request};
use postrider_contract::webhook::{Authentication, PreviousSecret, Webhook, WebhookKind};

use crate::directory::WebhookEntry;
use crate::secret_box::{OpenError, SecretBox};
use crate::webhook_secrets::{SecretPlace, WebhookSecrets};

/// What is shown in place of a secret.
const MASKED: &str = "***";
/// The content of a postback, if it has any.
const FORM: &str = "application/x-www-form-urlencoded";

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
    /// What is signed of the query is not there once, or what is signed into it is there already.
    #[error("the query of the webhook's url is not one that its profile can sign: it is about {parameter}")]
    Query { parameter: String },
}

/// Why the request of one try cannot be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnwritableRequest {
    #[error("header {name} cannot be written")]
    Header { name: String },
    #[error("the path and query cannot be written in a request")]
    Target,
}

/// A header of the webhook's own.
#[derive(Clone, Debug)]
struct OwnHeader {
    name: HeaderName,
    value: HeaderValue,
    /// As the log shows it.
    shown: Header,
}

#[derive(Debug)]
struct Key {
    key: SigningKey,
    until: Option<Timestamp>,
}

/// A webhook whose requests can be made: its secrets are open.
#[derive(Debug)]
pub struct WebhookRequests {
    pub entry: Arc<WebhookEntry>,
    /// Of one try.
    pub time_limit: Duration,
    target: Uri,
    method: Method,
    host: HeaderValue,
    authentication: Option<OwnHeader>,
    custom: Vec<OwnHeader>,
    keys: Vec<Key>,
    has_secret_of_other_kind: bool,
}

/// The request of one try.
#[derive(Clone, Debug)]
pub struct TryRequest {
    pub method: Method,
    /// Path and query.
    pub target: Uri,
    /// All of them, in the order they are written.
    pub headers: HeaderMap,
    pub body: Bytes,
    /// As the log shows them, in their written case: without `Host` and framing, what is the webhook's own masked.
    pub shown: Vec<Header>,
}

impl TryRequest {
    /// Every header, by its name in the case in which it is written.
    pub fn written(&self) -> impl Iterator<Item = (&str, &HeaderValue)> {
        self.headers.iter().map(|(name, value)| (self.written_name(name), value))
    }

    fn written_name<'a>(&'a self, name: &'a HeaderName) -> &'a str {
        if name == HOST {
            return "Host";
        }
        if name == CONTENT_LENGTH {
            return "Content-Length";
        }
        let shown = self.shown.iter().find(|shown| shown.name.eq_ignore_ascii_case(name.as_str()));
        shown.map_or(name.as_str(), |shown| &*shown.name)
    }
}

impl WebhookRequests {
    /// # Errors
    /// When a secret does not open, or what is stored cannot be written in a request.
    pub fn open(entry: Arc<WebhookEntry>, secret_box: &SecretBox) -> Result<Self, PrepareError> {
        let webhook = &entry.webhook;
        let profile = &entry.profile.profile;
        let secrets = WebhookSecrets::new(secret_box, &webhook.tenant, webhook.id);
        let credential = webhook.authentication.header();
        if let Some(name) = credential.filter(|name| profile.sets_header(name, &webhook.overrides)) {
            return Err(PrepareError::Credential { name: name.to_owned() });
        }
        match webhook.kind {
            WebhookKind::Webhook => check_query(webhook.url.query().unwrap_or_default(), profile)?,
            // Its deliveries have queries of their own, filled for the profile that they keep.
            WebhookKind::Postback => {}
        }
        let (keys, has_secret_of_other_kind) =
            match (&profile.definition().signature, &profile.definition().secret) {
                (Some(_), Some(rule)) => {
                    let keys = signing_keys(webhook, &secrets, rule)?;
                    let present = keys.iter().find(|key| key.until.is_none());
                    let known = webhook.secrets.public_key.as_deref();
                    let is_other = present.is_some_and(|present| !is_of_kind(&present.key, rule, known));
                    (keys, is_other)
                }
                (Some(_) | None, _) => (Vec::new(), false),
            };
        let method = match webhook.kind {
            WebhookKind::Webhook => profile.definition().request.method.as_str(),
            WebhookKind::Postback => webhook.postback.method.as_str(),
        };
        let host = HeaderValue::from_str(webhook.url.authority());
        Ok(WebhookRequests {
            time_limit: profile.time_limit(&webhook.overrides),
            target: webhook.url.path_and_query().parse().map_err(|_| PrepareError::Target)?,
            method: Method::from_bytes(method.as_bytes()).map_err(|_| PrepareError::Target)?,
            host: host.map_err(|_| PrepareError::Header { name: "Host".to_owned() })?,
            authentication: authentication(&webhook.authentication, &secrets)?,
            custom: custom_headers(webhook, &secrets)?,
            keys,
            has_secret_of_other_kind,
            entry,
        })
    }

    /// Whether the secret was given for another profile: it is a key pair, and a shared secret under this profile, or the
    /// other way round. What it signs here no receiver can check.
    #[must_use]
    pub fn has_secret_of_other_kind(&self) -> bool {
        self.has_secret_of_other_kind
    }

    /// The keys that sign at `now`, newest first.
    #[must_use]
    pub fn signing_keys(&self, now: Timestamp) -> Vec<SigningKey> {
        let is_active = |key: &&Key| key.until.is_none_or(|until| now < until);
        self.keys.iter().filter(is_active).map(|key| key.key.clone()).collect()
    }

    /// The request of a delivery's next try, begun at `started_at` and signed with `keys`: `Host`, what the profile makes,
    /// then the webhook's own; where two are of one name, the profile's.
    ///
    /// # Errors
    /// When what was filled in cannot be written in a request.
    pub fn of_try(
        &self,
        delivery: &Delivery,
        started_at: Timestamp,
        keys: &[SigningKey],
    ) -> Result<TryRequest, UnwritableRequest> {
        let context = RequestContext::of(delivery, started_at);
        let (profile, overrides) = (&self.entry.profile.profile, &self.entry.webhook.overrides);
        let query = self.query_of(&delivery.query)?;
        let signed =
            signed_request(profile, overrides, &context, Covered { query, body: &delivery.body }, keys);
        let mut shown = signed.headers;
        if delivery.reference.kind == WebhookKind::Postback {
            shown = with_form(shown, &delivery.body);
        }
        let method = self.method_of(delivery);
        let headers = self.headers(&mut shown, &method, &delivery.body)?;
        let target = self.target(&delivery.query, query, signed.query_parameter.as_deref())?;
        Ok(TryRequest { method, target, headers, body: delivery.body.clone(), shown })
    }

    /// A postback that was rendered with a form is a POST, also if its webhook was changed to GET meanwhile.
    #[must_use]
    pub fn method_of(&self, delivery: &Delivery) -> Method {
        let has_form = delivery.reference.kind == WebhookKind::Postback && !delivery.body.is_empty();
        if has_form { Method::POST } else { self.method.clone() }
    }

    /// The name of the header that says who calls; its value is a credential.
    #[must_use]
    pub fn authentication_header(&self) -> Option<&HeaderName> {
        self.authentication.as_ref().map(|own| &own.name)
    }

    /// The webhook's own headers as they are sent, its credential first: not for logs.
    pub fn own_headers(&self) -> impl Iterator<Item = Header> {
        self.own().map(|own| Header {
            name: own.shown.name.clone(),
            value: Bytes::copy_from_slice(own.value.as_bytes()),
        })
    }

    fn own(&self) -> impl Iterator<Item = &OwnHeader> {
        self.authentication.iter().chain(&self.custom)
    }

    /// Framed here, so that a POST without content says so, as servers may ask. What is sent of the webhook's own is shown
    /// beside what the profile makes.
    fn headers(
        &self,
        made: &mut Vec<Header>,
        method: &Method,
        body: &[u8],
    ) -> Result<HeaderMap, UnwritableRequest> {
        let mut headers = HeaderMap::with_capacity(made.len() + self.custom.len() + 3);
        headers.insert(HOST, self.host.clone());
        for header in &*made {
            let refused = || UnwritableRequest::Header { name: header.name.to_string() };
            let name = HeaderName::from_bytes(header.name.as_bytes()).map_err(|_| refused())?;
            let value = HeaderValue::from_maybe_shared(header.value.clone()).map_err(|_| refused())?;
            headers.insert(name, value);
        }
        for own in self.own() {
            if let Entry::Vacant(place) = headers.entry(own.name.clone()) {
                place.insert(own.value.clone());
                made.push(own.shown.clone());
            }
        }
        if is_framed(method.as_str(), body) {
            headers.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
        }
        Ok(headers)
    }

    /// What stands behind the `?` before a signature does: the URL's of now, or the delivery's own if it was filled.
    fn query_of<'a>(&'a self, query: &'a Query) -> Result<&'a str, UnwritableRequest> {
        match query {
            Query::OfUrl => Ok(self.entry.webhook.url.query().unwrap_or_default()),
            Query::Filled(filled) => std::str::from_utf8(filled).map_err(|_| UnwritableRequest::Target),
            Query::TooLong(_) => Err(UnwritableRequest::Target),
        }
    }

    /// Path and query: the path is the URL's of now, and a signature that stands in the query is put behind it.
    fn target(&self, kind: &Query, query: &str, signature: Option<&str>) -> Result<Uri, UnwritableRequest> {
        let path = self.entry.webhook.url.path();
        let written = match (signature, kind) {
            (Some(signature), _) => format!("{path}?{}", with_pair(query, signature)).parse(),
            (None, Query::OfUrl) => return Ok(self.target.clone()),
            (None, Query::Filled(_) | Query::TooLong(_)) if query.is_empty() => path.parse(),
            (None, Query::Filled(_) | Query::TooLong(_)) => format!("{path}?{query}").parse(),
        };
        written.map_err(|_| UnwritableRequest::Target)
    }
}

/// The headers that a profile makes, for a postback: its content is its form, or nothing.
#[must_use]
pub fn with_form(mut headers: Vec<Header>, form: &[u8]) -> Vec<Header> {
    headers.retain(|header| !header.name.eq_ignore_ascii_case("content-type"));
    if !form.is_empty() {
        let value = Bytes::from_static(FORM.as_bytes());
        headers.insert(0, Header { name: "Content-Type".into(), value });
    }
    headers
}

/// Whether a request says how long its content is. A GET without any does not.
#[must_use]
pub fn is_framed(method: &str, body: &[u8]) -> bool {
    !body.is_empty() || method != Method::GET.as_str()
}

/// Seen to when a webhook is saved, for its profile of then: a delivery may keep an earlier one, and the URL is that of now.
fn check_query(query: &str, profile: &CompiledProfile) -> Result<(), PrepareError> {
    let unfit = profile.signed_parameters().into_iter().find(|name| count_parameters(query, name) != 1);
    let own = || profile.signature_parameter().map(ParameterName::as_str);
    let taken = || own().filter(|name| count_parameters(query, name) > 0).map(str::to_owned);
    match unfit.or_else(taken) {
        Some(parameter) => Err(PrepareError::Query { parameter }),
        None => Ok(()),
    }
}

/// The present secret must be one of the profile. One that goes on beside it may be of the profile before: nobody who
/// reads signatures of this profile has it, so it signs nothing, and holds nothing up.
fn signing_keys(
    webhook: &Webhook,
    secrets: &WebhookSecrets<'_>,
    rule: &SecretRule,
) -> Result<Vec<Key>, PrepareError> {
    let stored = &webhook.secrets;
    let key_of = |sealed: &SealedSecret| -> Result<SigningKey, PrepareError> {
        let secret = secrets.open(SecretPlace::Signing, sealed)?;
        Ok(SigningKey::parse(secret.reveal(), rule)?)
    };
    let mut keys = Vec::with_capacity(1 + stored.previous.len());
    if let Some(current) = &stored.current {
        keys.push(Key { key: key_of(current)?, until: None });
    }
    for PreviousSecret { secret, until, public_key } in &stored.previous {
        match key_of(secret) {
            Ok(key) if is_of_kind(&key, rule, public_key.as_deref()) => {
                keys.push(Key { key, until: Some(*until) });
            }
            Ok(_) => {
                tracing::info!(webhook.id = %webhook.id, "an earlier secret of another kind signs nothing");
            }
            Err(error) => {
                tracing::info!(webhook.id = %webhook.id, %error, "an earlier secret signs nothing");
            }
        }
    }
    Ok(keys)
}

/// Whether a key is a pair where a public key is stored beside it, and only there.
fn is_of_kind(key: &SigningKey, rule: &SecretRule, public_key: Option<&str>) -> bool {
    key.public_text(rule).is_some() == public_key.is_some()
}

fn authentication(
    asked: &Authentication,
    secrets: &WebhookSecrets<'_>,
) -> Result<Option<OwnHeader>, PrepareError> {
    let header = match asked {
        Authentication::None => return Ok(None),
        Authentication::Bearer { token } => {
            let token = secrets.open(SecretPlace::BearerToken, token)?;
            let value = Secret::new(format!("Bearer {}", token.reveal()));
            own_header("Authorization", &value, &format!("Bearer {MASKED}"))?
        }
        Authentication::Basic { username, password } => {
            let password = secrets.open(SecretPlace::BasicPassword, password)?;
            let pair = Secret::new(format!("{username}:{}", password.reveal()));
            let value = Secret::new(format!("Basic {}", STANDARD.encode(pair.reveal())));
            own_header("Authorization", &value, &format!("Basic {MASKED}"))?
        }
        Authentication::ApiKey { header, value } => {
            chosen_header(header, &secrets.open(SecretPlace::ApiKeyValue, value)?)?
        }
    };
    Ok(Some(header))
}

fn custom_headers(webhook: &Webhook, secrets: &WebhookSecrets<'_>) -> Result<Vec<OwnHeader>, PrepareError> {
    let opened = webhook.headers.iter().map(|custom| {
        let value = secrets.open(SecretPlace::Header(&custom.name), &custom.value)?;
        chosen_header(&custom.name, &value)
    });
    opened.collect()
}

/// A header whose name the webhook's owner chose: judged again, whoever wrote it where it is stored.
fn chosen_header(name: &str, value: &Secret) -> Result<OwnHeader, PrepareError> {
    check_header_name(name).map_err(|_| PrepareError::Header { name: name.to_owned() })?;
    own_header(name, value, MASKED)
}

fn own_header(name: &str, value: &Secret, shown: &str) -> Result<OwnHeader, PrepareError> {
    let refused = || PrepareError::Header { name: name.to_owned() };
    check_header_text(value).map_err(|_| refused())?;
    let mut written = HeaderValue::from_str(value.reveal()).map_err(|_| refused())?;
    written.set_sensitive(true);
    Ok(OwnHeader {
        name: HeaderName::from_bytes(name.as_bytes()).map_err(|_| refused())?,
        value: written,
        shown: Header { name: name.into(), value: Bytes::copy_from_slice(shown.as_bytes()) },
    })
}
