//! A profile's signature, tried out before it is saved: what it signs, a receiver must be able to verify.

use std::slice;

use super::{CompiledProfile, InvalidProfile, ProfileOverride, SecretRule};
use crate::clock::{CountingFrom, Timestamp};
use crate::delivery::AttemptNumber;
use crate::event::{EventType, SchemaVersion};
use crate::ids::{DeliveryId, EventId, TenantId, WebhookId};
use crate::query_string::{encoded_pair, with_pair};
use crate::signature::{Covered, ReceivedRequest, RequestContext, SigningKey, signed_request, verify};

/// 2026-01-01T00:00:00Z, in milliseconds.
const SENT_AT: i64 = 1_767_225_600_000;
const BODY: &[u8] = br#"{"sample":true}"#;

impl CompiledProfile {
    /// Signs a request with one secret, and where several can be active with all kinds of them at once, and reads it as a
    /// receiver would. For profiles that are about to be saved: one that is stored already goes on as it is.
    ///
    /// # Errors
    /// When a receiver could not verify what is signed: its signatures could not be told from what stands around them.
    pub fn check_verifiable(&self) -> Result<(), InvalidProfile> {
        let Some(rule) = &self.definition().secret else { return Ok(()) };
        let keys = keys(rule)?;
        let query: Vec<String> =
            self.signed_parameters().iter().map(|name| encoded_pair(name, "sample")).collect();
        let query = query.join("&");
        let mut rehearsals: Vec<(&[SigningKey], &SigningKey)> =
            keys.iter().map(|key| (slice::from_ref(key), key)).collect();
        if self.signs_with_several() {
            rehearsals.extend(keys.iter().map(|key| (&keys[..], key)));
        }
        rehearsals.into_iter().try_for_each(|(signing, known)| self.rehearse(&query, signing, known))
    }

    /// A request signed by all of `signing`, as the receiver reads it that knows one of them.
    fn rehearse(
        &self,
        query: &str,
        signing: &[SigningKey],
        known: &SigningKey,
    ) -> Result<(), InvalidProfile> {
        let event_id: EventId = "evt_sample".parse().expect("a test checks a profile with these");
        let event_type: EventType = "sample.event".parse().expect("a test checks a profile with these");
        let tenant: TenantId = "sample".parse().expect("a test checks a profile with these");
        let sent_at = Timestamp::from_millis(SENT_AT);
        let webhook = WebhookId::from_u128(1);
        let context = RequestContext {
            event_id: &event_id,
            event_type: &event_type,
            event_timestamp: sent_at,
            schema_version: SchemaVersion::FIRST,
            tenant: &tenant,
            webhook,
            delivery: DeliveryId::derive(sent_at, &event_id, webhook, 0),
            attempt: AttemptNumber::FIRST,
            started_at: sent_at,
        };
        let overrides = ProfileOverride::default();
        let made = signed_request(self, &overrides, &context, Covered { query, body: BODY }, signing);
        let query = made.query_parameter.map_or_else(|| query.to_owned(), |pair| with_pair(query, &pair));
        let request = ReceivedRequest { headers: &made.headers, query: &query, body: BODY };
        verify(self, &overrides, request, &[known.verifying()], sent_at).map_err(|failure| {
            let detail = format!("receivers could not read the signatures out of it: {failure}");
            InvalidProfile::at("signature.value", detail)
        })
    }
}

/// Two that are made as a webhook's are, and a key pair where the profile takes one beside them.
fn keys(rule: &SecretRule) -> Result<Vec<SigningKey>, InvalidProfile> {
    let made = [0, 128].map(|first| rule.generate(&CountingFrom(first)));
    let secrets = made.into_iter().chain(rule.generate_key_pair(&CountingFrom(64)));
    let keys = secrets.map(|secret| {
        SigningKey::parse(secret.reveal(), rule)
            .map_err(|error| InvalidProfile::at("secret", format!("a generated one {error}")))
    });
    keys.collect()
}
