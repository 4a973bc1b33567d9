//! Webhooks ready to be called: their requests and where these go, worked out once for each of their revisions.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use postrider_contract::ids::WebhookId;
use postrider_contract::profile::ProfileName;
use postrider_contract::revision::Revision;
use postrider_service::directory::WebhookEntry;
use postrider_service::secret_box::SecretBox;
use postrider_service::webhook_requests::{PrepareError, TryRequest, WebhookRequests};

use crate::client::{Endpoint, HeaderCase};

/// More webhooks than this are not kept ready; each is some kilobytes.
const MAX_KEPT: usize = 16_384;
/// Requests of one webhook may differ in these alone: a postback has content or none.
const CONTENT_HEADERS: [&str; 2] = ["Content-Type", "Content-Length"];

/// A webhook, ready to be called.
#[derive(Debug)]
pub struct Prepared {
    pub requests: WebhookRequests,
    pub endpoint: Arc<Endpoint>,
    case: OnceLock<HeaderCase>,
}

impl Prepared {
    /// # Errors
    /// When a secret does not open, or what is stored cannot be written in a request.
    pub fn new(entry: Arc<WebhookEntry>, secrets: &SecretBox) -> Result<Self, PrepareError> {
        let endpoint = Arc::new(Endpoint::of(
            &entry.webhook.url,
            entry.profile.profile.definition().request.minimum_tls,
        ));
        Ok(Prepared { requests: WebhookRequests::open(entry, secrets)?, endpoint, case: OnceLock::new() })
    }

    #[must_use]
    pub fn entry(&self) -> &Arc<WebhookEntry> {
        &self.requests.entry
    }

    /// How the header names are written: learnt from the first request, since all have the same.
    pub fn header_case(&self, request: &TryRequest) -> HeaderCase {
        let names = || request.written().map(|(name, _)| name).chain(CONTENT_HEADERS);
        self.case.get_or_init(|| HeaderCase::of(names())).clone()
    }

    fn is_of(&self, entry: &WebhookEntry) -> bool {
        let revisions = |entry: &WebhookEntry| (entry.revision, entry.tenant_revision);
        revisions(self.entry()) == revisions(entry)
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

#[cfg(test)]
mod tests {
    use postrider_contract::secret::{SealedSecret, Secret};
    use postrider_contract::webhook::{Authentication, CustomHeader, Webhook};
    use postrider_service::webhook_secrets::{SecretPlace, WebhookSecrets};

    use super::*;
    use crate::stage::{Counting, entry, secret_box, webhook};

    fn sealed(place: SecretPlace<'_>, value: &str) -> SealedSecret {
        let (secrets, webhook) = (secret_box(), webhook("https://receiver.example/hook"));
        let secrets = WebhookSecrets::new(&secrets, &webhook.tenant, webhook.id);
        secrets.seal(place, &Secret::new(value.to_owned()), &Counting::default())
    }

    fn prepared(change: impl FnOnce(&mut Webhook)) -> Result<Prepared, PrepareError> {
        let mut webhook = webhook("https://receiver.example/hook");
        change(&mut webhook);
        Prepared::new(entry(webhook, "trcker", 1), &secret_box())
    }

    /// Whatever is stored: by an older version, or by hand.
    fn with_header(name: &str, value: &str) -> Result<Prepared, PrepareError> {
        let value = sealed(SecretPlace::Header(name), value);
        prepared(|webhook| webhook.headers = vec![CustomHeader { name: name.to_owned(), value }])
    }

    fn with_api_key(header: &str, value: &str) -> Result<Prepared, PrepareError> {
        let (header, value) = (header.to_owned(), sealed(SecretPlace::ApiKeyValue, value));
        prepared(|webhook| webhook.authentication = Authentication::ApiKey { header, value })
    }

    #[test]
    fn a_stored_header_that_is_not_a_webhooks_to_set_is_not_sent() {
        for name in [
            "Host",
            "connection",
            "Keep-Alive",
            "Content-Length",
            "Content-Type",
            "Content-Encoding",
            "Transfer-Encoding",
            "TE",
            "Trailer",
            "Upgrade",
            "Expect",
            "Proxy-Authorization",
            "Metadata",
            "METADATA-FLAVOR",
            "X-aws-ec2-metadata-token",
            "X-Google-Metadata-Request",
            "webhook-signature",
            "X-Forwarded-For",
            "X A",
            "X\r\nHost",
            "",
        ] {
            let refused = PrepareError::Header { name: name.to_owned() };
            assert_eq!(with_header(name, "x").err(), Some(refused.clone()), "{name:?}");
            let refused = match name {
                "Content-Type" => PrepareError::Credential { name: name.to_owned() },
                _ => refused,
            };
            assert_eq!(with_api_key(name, "x").err(), Some(refused), "{name:?}");
        }
        for name in ["Authorization", "X-Api-Key", "Accept"] {
            assert!(with_header(name, "x").is_ok() && with_api_key(name, "x").is_ok(), "{name}");
        }
    }

    #[test]
    fn a_stored_value_that_could_end_its_header_is_not_sent() {
        for value in ["a\r\nHost: b", "a\nb", "a\0b", "a\tb", "a\u{7f}", "\u{e9}", " a", "a "] {
            let named = |name: &str| Some(PrepareError::Header { name: name.to_owned() });
            assert_eq!(with_header("X-Own", value).err(), named("X-Own"), "{value:?}");
            assert_eq!(with_api_key("X-Key", value).err(), named("X-Key"), "{value:?}");
            let token = sealed(SecretPlace::BearerToken, value);
            let bearer = prepared(|webhook| webhook.authentication = Authentication::Bearer { token });
            // A blank before a token is between it and its scheme, which servers read over.
            assert_eq!(bearer.err(), named("Authorization").filter(|_| value != " a"), "{value:?}");
        }
    }
}
