//! The headers of one try.

use bytes::Bytes;
use bytestring::ByteString;

use super::{SigningKey, TextVariable, ValueVariable, signature_text, write_each};
use crate::attempt::Header;
use crate::clock::Timestamp;
use crate::delivery::{AttemptNumber, Delivery};
use crate::event::{EventType, SchemaVersion};
use crate::ids::{DeliveryId, EventId, TenantId, WebhookId};
use crate::pattern::{Pattern, Piece};
use crate::profile::{CompiledProfile, ProfileOverride, SignatureRule};

/// What the headers of one try are made from.
#[derive(Clone, Copy, Debug)]
pub struct RequestContext<'a> {
    pub event_id: &'a EventId,
    pub event_type: &'a EventType,
    pub event_timestamp: Timestamp,
    pub schema_version: SchemaVersion,
    pub tenant: &'a TenantId,
    pub webhook: WebhookId,
    pub delivery: DeliveryId,
    pub attempt: AttemptNumber,
    /// When this try began: what is signed as its time.
    pub started_at: Timestamp,
}

impl<'a> RequestContext<'a> {
    #[must_use]
    pub fn of(delivery: &'a Delivery, started_at: Timestamp) -> Self {
        RequestContext {
            event_id: &delivery.reference.event_id,
            event_type: &delivery.reference.event_type,
            event_timestamp: delivery.event_timestamp,
            schema_version: delivery.schema_version,
            tenant: &delivery.reference.tenant,
            webhook: delivery.reference.webhook,
            delivery: delivery.reference.id,
            attempt: delivery.position.attempt,
            started_at,
        }
    }
}

/// Every header that the profile makes, in the case and the order it gives them: content type, user agent, its
/// own, and, where there are keys, the signature. `Host`, framing, authentication and the webhook's own headers
/// are the sender's business. `keys` are the active secrets, newest first.
#[must_use]
pub fn request_headers(
    profile: &CompiledProfile,
    overrides: &ProfileOverride,
    context: &RequestContext<'_>,
    body: &[u8],
    keys: &[SigningKey],
) -> Vec<Header> {
    let request = &profile.definition().request;
    let mut headers = Vec::with_capacity(request.headers.len() + 3);
    headers.push(Header {
        name: ByteString::from_static("Content-Type"),
        value: fill(&request.content_type, context),
    });
    headers.push(Header {
        name: ByteString::from_static("User-Agent"),
        value: fill(&request.user_agent, context),
    });
    for header in &request.headers {
        headers.push(Header { name: header.name.shared(), value: fill(&header.value, context) });
    }
    headers.extend(sign(profile, overrides, context, body, keys));
    headers
}

/// The signature's header; `None` where the profile does not sign or there is no key.
#[must_use]
pub fn sign(
    profile: &CompiledProfile,
    overrides: &ProfileOverride,
    context: &RequestContext<'_>,
    body: &[u8],
    keys: &[SigningKey],
) -> Option<Header> {
    let rule = profile.definition().signature.as_ref()?;
    if keys.is_empty() {
        return None;
    }
    let mut value = String::new();
    for piece in rule.value.pieces() {
        match piece {
            Piece::Literal(literal) => value.push_str(literal),
            Piece::Variable(ValueVariable::Text(variable)) => variable.write(context, &mut value),
            Piece::Variable(ValueVariable::Signatures) => {
                write_signatures(rule, context, body, keys, &mut value)
            }
        }
    }
    Some(Header { name: header_name(rule, overrides).into(), value: Bytes::from(value) })
}

/// Where the signature stands for this webhook.
pub(super) fn header_name<'a>(rule: &'a SignatureRule, overrides: &'a ProfileOverride) -> &'a str {
    match &overrides.signature_header {
        Some(chosen) if rule.header_configurable => chosen.as_str(),
        Some(_) | None => rule.header.as_str(),
    }
}

fn write_signatures(
    rule: &SignatureRule,
    context: &RequestContext<'_>,
    body: &[u8],
    keys: &[SigningKey],
    out: &mut String,
) {
    let separator = rule.separator.as_deref();
    // Without a separator receivers read one signature: the newest key's.
    let count = if separator.is_some() { keys.len() } else { 1 };
    for (index, key) in keys.iter().take(count).enumerate() {
        if index > 0 {
            out.push_str(separator.unwrap_or_default());
        }
        let signature = signature_text(rule, key, body, |variable, text| variable.write(context, text));
        write_each(&rule.each, &signature, out);
    }
}

fn fill(pattern: &Pattern<TextVariable>, context: &RequestContext<'_>) -> Bytes {
    if let [Piece::Literal(literal)] = pattern.pieces() {
        return literal.as_bytes().clone();
    }
    let mut value = String::new();
    for piece in pattern.pieces() {
        match piece {
            Piece::Literal(literal) => value.push_str(literal),
            Piece::Variable(variable) => variable.write(context, &mut value),
        }
    }
    Bytes::from(value)
}
