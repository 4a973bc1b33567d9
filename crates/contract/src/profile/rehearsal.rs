//! A profile's signature, tried out before it is saved: what it signs, a receiver must be able to verify.

use super::{CompiledProfile, InvalidProfile, ProfileOverride};
use crate::clock::{Entropy, Timestamp};
use crate::delivery::AttemptNumber;
use crate::event::{EventType, SchemaVersion};
use crate::ids::{DeliveryId, EventId, TenantId, WebhookId};
use crate::signature::{ReceivedRequest, RequestContext, SigningKey, request_headers, verify};

/// 2026-01-01T00:00:00Z, in milliseconds.
const SENT_AT: i64 = 1_767_225_600_000;
const BODY: &[u8] = br#"{"sample":true}"#;

/// Counts up: two keys of a rehearsal differ, and nobody uses either.
#[derive(Debug)]
struct CountingFrom(u8);

impl Entropy for CountingFrom {
    fn fill(&self, bytes: &mut [u8]) {
        let mut next = self.0;
        for byte in bytes {
            *byte = next;
            next = next.wrapping_add(1);
        }
    }
}

impl CompiledProfile {
    /// Signs a request with one secret, and where several can be active with two, and reads it as a receiver would.
    /// For profiles that are about to be saved: one that is stored already goes on as it is.
    ///
    /// # Errors
    /// When a receiver could not verify what is signed: its signatures could not be told from what stands around them.
    pub fn check_verifiable(&self) -> Result<(), InvalidProfile> {
        let Some(rule) = &self.definition().secret else { return Ok(()) };
        let key = |first: u8| {
            let secret = rule.generate(&CountingFrom(first));
            SigningKey::parse(secret.reveal(), rule)
                .map_err(|error| InvalidProfile::at("secret", format!("a generated one {error}")))
        };
        let both = [key(0)?, key(128)?];
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
        let active = if self.signs_with_several() { both.len() } else { 1 };
        for (keys, known) in [(&both[..1], &both[..1]), (&both[..active], &both[active - 1..active])] {
            let overrides = ProfileOverride::default();
            let headers = request_headers(self, &overrides, &context, BODY, keys);
            let request = ReceivedRequest { headers: &headers, body: BODY };
            verify(self, &overrides, request, known, sent_at).map_err(|failure| {
                let detail = format!("receivers could not read the signatures out of it: {failure}");
                InvalidProfile::at("signature.value", detail)
            })?;
        }
        Ok(())
    }
}
