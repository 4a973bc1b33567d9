//! The profile's part of one try: headers, and a parameter of the query if the signature stands there.

use bytes::Bytes;
use bytestring::ByteString;

use super::key::Signing;
use super::{
    Covered, SigningKey, TextVariable, ValueVariable, each_of_pairs, encoded, message, shared_signature,
    write_each,
};
use crate::attempt::Header;
use crate::clock::Timestamp;
use crate::delivery::{AttemptNumber, Delivery};
use crate::event::{Event, EventType, SchemaVersion};
use crate::ids::{DeliveryId, EventId, TenantId, WebhookId};
use crate::pattern::{Pattern, Piece};
use crate::profile::{CompiledProfile, HeaderName, ParameterName, ProfileOverride, SignatureRule};
use crate::query_string::encoded_pair;

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
    /// The first try of an event's first delivery to a webhook, for requests that no queue has seen: examples and
    /// comparisons.
    #[must_use]
    pub fn of_event(
        event: &'a Event,
        tenant: &'a TenantId,
        webhook: WebhookId,
        started_at: Timestamp,
    ) -> Self {
        RequestContext {
            event_id: &event.id,
            event_type: &event.event_type,
            event_timestamp: event.timestamp,
            schema_version: event.schema_version,
            tenant,
            webhook,
            delivery: DeliveryId::derive(started_at, &event.id, webhook, 0),
            attempt: AttemptNumber::FIRST,
            started_at,
        }
    }

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

/// What a profile makes of a request beside its method and its body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedRequest {
    /// In the case and the order the profile gives them: content type, user agent, its own, and the signature if it
    /// stands in one. `Host`, framing, authentication and the webhook's own headers are the sender's business.
    pub headers: Vec<Header>,
    /// The signature, if it stands in the query: `name=value`, percent-encoded, to be put behind what is there.
    pub query_parameter: Option<String>,
}

/// Makes the profile's part of one try, signed where there are keys. `keys` are the active secrets, newest first.
#[must_use]
pub fn signed_request(
    profile: &CompiledProfile,
    overrides: &ProfileOverride,
    context: &RequestContext<'_>,
    covered: Covered<'_>,
    keys: &[SigningKey],
) -> SignedRequest {
    let definition = profile.definition();
    let request = &definition.request;
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
    let rule = definition.signature.as_ref();
    let signed = rule.and_then(|rule| Some((rule, signature(rule, context, covered, keys)?)));
    let mut query_parameter = None;
    if let Some((rule, value)) = signed {
        match place(rule, overrides) {
            Place::Header(name) => {
                headers.push(Header { name: name.shared(), value: Bytes::from(value) });
            }
            Place::Parameter(name) => query_parameter = Some(encoded_pair(name, &value)),
        }
    }
    SignedRequest { headers, query_parameter }
}

/// Where the signature stands for a webhook.
#[derive(Clone, Copy, Debug)]
pub enum Place<'a> {
    Header(&'a HeaderName),
    /// Of the query.
    Parameter(&'a str),
}

/// In the profile's parameter or header, or in the header that the webhook has chosen, where the profile lets it choose.
#[must_use]
pub fn place<'a>(rule: &'a SignatureRule, overrides: &'a ProfileOverride) -> Place<'a> {
    let header = match &overrides.signature_header {
        Some(chosen) if rule.header_configurable => Some(chosen),
        Some(_) | None => rule.header.as_ref(),
    };
    let parameter = || rule.query_parameter.as_ref().map(ParameterName::as_str).unwrap_or_default();
    header.map_or_else(|| Place::Parameter(parameter()), Place::Header)
}

/// What the header or the parameter holds; `None` where no key signs.
fn signature(
    rule: &SignatureRule,
    context: &RequestContext<'_>,
    covered: Covered<'_>,
    keys: &[SigningKey],
) -> Option<String> {
    let signatures = signatures(rule, context, covered, keys)?;
    let mut value = String::new();
    for piece in rule.value.pieces() {
        match piece {
            Piece::Literal(literal) => value.push_str(literal),
            Piece::Variable(ValueVariable::Text(variable)) => variable.write(context, &mut value),
            Piece::Variable(ValueVariable::Signatures) => value.push_str(&signatures),
        }
    }
    Some(value)
}

fn signatures(
    rule: &SignatureRule,
    context: &RequestContext<'_>,
    covered: Covered<'_>,
    keys: &[SigningKey],
) -> Option<String> {
    let write_text = |variable: TextVariable, text: &mut String| variable.write(context, text);
    let signed = keys.iter().filter_map(|key| match key.signing() {
        Signing::Shared(secret) => Some((&rule.each, shared_signature(rule, secret, covered, write_text)?)),
        Signing::Pair(pair) => {
            let signature = pair.sign(&message(rule, covered, write_text));
            Some((each_of_pairs(rule)?, encoded(rule.encoding, &signature)))
        }
    });
    let separator = rule.separator.as_deref();
    // Without a separator receivers read one signature: the newest key's.
    let count = if separator.is_some() { keys.len() } else { 1 };
    let mut out = String::new();
    for (each, signature) in signed.take(count) {
        if !out.is_empty() {
            out.push_str(separator.unwrap_or_default());
        }
        write_each(each, &signature, &mut out);
    }
    (!out.is_empty()).then_some(out)
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
