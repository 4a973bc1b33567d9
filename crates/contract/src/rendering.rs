//! Rendering: the body of a request, made once from the event of that moment and kept for every try.
//!
//! `data` goes into the envelope byte for byte; nothing is parsed again, except the names of its members where
//! the envelope has members of its own beside them.

mod for_webhook;
mod member_names;

use std::io::Write;

use bytes::Bytes;

use crate::catalogue::SchemaCheck;
use crate::event::Event;
use crate::ids::{WebhookId, duplicate_key};
use crate::json::{RawObject, check_depth, pointer_below, write_string};
use crate::pattern::{Pattern, Piece, Variable};
use crate::profile::{CompiledProfile, EnvelopeRule};
use crate::tenant::Tenant;

pub use for_webhook::{Made, Rendered, Renderer, choose, has_own_form, render_for};

use member_names::find_reserved_member;

/// No body is longer. An envelope may hold the data and its members, of a mebibyte each at the most, and what else is
/// as long as its writer likes, once each; of everything else there is little more than the envelope has bytes. Brokers
/// take messages of up to 16 MiB.
pub const MAX_BODY: usize = 3 * 1024 * 1024;

/// Room for what has a bounded size in a body: ids, type, times, version. Ids have up to 128 bytes.
const BOUNDED_PART: usize = 512;

/// What may stand in an envelope. Each stands for a whole JSON value, except
/// [`EventDataMembers`](EnvelopeVariable::EventDataMembers).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EnvelopeVariable {
    EventId,
    EventType,
    EventTimestamp,
    EventAcceptedAt,
    EventData,
    /// The members of the data without its braces, after a comma; nothing if there are none.
    EventDataMembers,
    /// A string: `"1.0"`.
    EventSchemaVersion,
    /// A string or null.
    EventSummary,
    /// An object or null.
    EventWorkflow,
    TenantId,
    /// The tenant as a URI reference: `"/tenants/acme"`.
    TenantUri,
    TenantName,
    /// A string or null.
    TenantWebsite,
    WebhookId,
    DeliveryDuplicateKey,
}

impl EnvelopeVariable {
    /// Whether it differs between two webhooks that get the same event.
    #[must_use]
    pub fn depends_on_webhook(self) -> bool {
        matches!(self, EnvelopeVariable::WebhookId | EnvelopeVariable::DeliveryDuplicateKey)
    }
}

impl Variable for EnvelopeVariable {
    fn stands_once(&self) -> bool {
        match self {
            EnvelopeVariable::EventData
            | EnvelopeVariable::EventDataMembers
            | EnvelopeVariable::EventSummary
            | EnvelopeVariable::EventWorkflow
            | EnvelopeVariable::TenantName
            | EnvelopeVariable::TenantWebsite => true,
            EnvelopeVariable::EventId
            | EnvelopeVariable::EventType
            | EnvelopeVariable::EventTimestamp
            | EnvelopeVariable::EventAcceptedAt
            | EnvelopeVariable::EventSchemaVersion
            | EnvelopeVariable::TenantId
            | EnvelopeVariable::TenantUri
            | EnvelopeVariable::WebhookId
            | EnvelopeVariable::DeliveryDuplicateKey => false,
        }
    }

    fn all() -> Vec<Self> {
        vec![
            EnvelopeVariable::EventId,
            EnvelopeVariable::EventType,
            EnvelopeVariable::EventTimestamp,
            EnvelopeVariable::EventAcceptedAt,
            EnvelopeVariable::EventData,
            EnvelopeVariable::EventDataMembers,
            EnvelopeVariable::EventSchemaVersion,
            EnvelopeVariable::EventSummary,
            EnvelopeVariable::EventWorkflow,
            EnvelopeVariable::TenantId,
            EnvelopeVariable::TenantUri,
            EnvelopeVariable::TenantName,
            EnvelopeVariable::TenantWebsite,
            EnvelopeVariable::WebhookId,
            EnvelopeVariable::DeliveryDuplicateKey,
        ]
    }

    fn name(&self) -> &str {
        match self {
            EnvelopeVariable::EventId => "event.id",
            EnvelopeVariable::EventType => "event.type",
            EnvelopeVariable::EventTimestamp => "event.timestamp",
            EnvelopeVariable::EventAcceptedAt => "event.accepted_at",
            EnvelopeVariable::EventData => "event.data",
            EnvelopeVariable::EventDataMembers => "event.data.members",
            EnvelopeVariable::EventSchemaVersion => "event.schema_version",
            EnvelopeVariable::EventSummary => "event.summary",
            EnvelopeVariable::EventWorkflow => "event.workflow",
            EnvelopeVariable::TenantId => "tenant.id",
            EnvelopeVariable::TenantUri => "tenant.uri",
            EnvelopeVariable::TenantName => "tenant.name",
            EnvelopeVariable::TenantWebsite => "tenant.website",
            EnvelopeVariable::WebhookId => "webhook.id",
            EnvelopeVariable::DeliveryDuplicateKey => "delivery.duplicate_key",
        }
    }
}

/// Why an event cannot be put into an envelope. The pointer (RFC 6901) is into the event as it was submitted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{pointer}: {detail}")]
pub struct RenderError {
    pub pointer: String,
    pub detail: String,
}

/// The profile's envelope with this event in it. If the profile's
/// [body does not depend on the webhook](CompiledProfile::body_depends_on_webhook), one serves all of them.
///
/// # Errors
/// When the event's data holds a member that the envelope has itself.
pub fn render(
    profile: &CompiledProfile,
    event: &Event,
    tenant: &Tenant,
    webhook: WebhookId,
) -> Result<Bytes, RenderError> {
    check_data(profile, event)?;
    Ok(fill_envelope(profile, event, tenant, webhook))
}

/// Whether the data goes into the profile's envelope.
fn check_data(profile: &CompiledProfile, event: &Event) -> Result<(), RenderError> {
    let envelope = &profile.definition().envelope;
    let Some(member) = find_reserved_member(&event.data, &envelope.reserved_data_members) else {
        return Ok(());
    };
    let pointer = pointer_below("/data", member);
    let detail = "is a member of the envelope in this webhook's profile".to_owned();
    Err(RenderError { pointer, detail })
}

fn fill_envelope(profile: &CompiledProfile, event: &Event, tenant: &Tenant, webhook: WebhookId) -> Bytes {
    let mut body = Vec::with_capacity(profile.literal_length() + variable_length(event, tenant));
    fill(&profile.definition().envelope.body, &Subject { event, tenant, webhook }, &mut body);
    Bytes::from(body)
}

/// What an envelope is filled from.
struct Subject<'a> {
    event: &'a Event,
    tenant: &'a Tenant,
    webhook: WebhookId,
}

/// About how many bytes the variables take, so that one allocation is enough.
fn variable_length(event: &Event, tenant: &Tenant) -> usize {
    let texts = [event.summary.as_deref(), tenant.website.as_deref(), Some(tenant.name.as_str())];
    let texts: usize = texts.into_iter().flatten().map(str::len).sum();
    let workflow = event.workflow.as_ref().map_or(0, |workflow| workflow.as_bytes().len());
    event.data.as_bytes().len() + workflow + texts + BOUNDED_PART
}

fn fill(pattern: &Pattern<EnvelopeVariable>, subject: &Subject<'_>, out: &mut Vec<u8>) {
    for piece in pattern.pieces() {
        match piece {
            Piece::Literal(literal) => out.extend_from_slice(literal.as_bytes()),
            Piece::Variable(variable) => subject.write(*variable, out),
        }
    }
}

impl Subject<'_> {
    fn write(&self, variable: EnvelopeVariable, out: &mut Vec<u8>) {
        let event = self.event;
        match variable {
            EnvelopeVariable::EventId => write_string(out, event.id.as_str()),
            EnvelopeVariable::EventType => write_string(out, event.event_type.as_str()),
            EnvelopeVariable::EventTimestamp => write_quoted(out, event.timestamp),
            EnvelopeVariable::EventAcceptedAt => write_quoted(out, event.accepted_at),
            EnvelopeVariable::EventData => out.extend_from_slice(event.data.as_bytes()),
            EnvelopeVariable::EventDataMembers => {
                let members = event.data.members();
                if !members.is_empty() {
                    out.push(b',');
                    out.extend_from_slice(members);
                }
            }
            EnvelopeVariable::EventSchemaVersion => write_quoted(out, event.schema_version),
            EnvelopeVariable::EventSummary => write_string_or_null(out, event.summary.as_deref()),
            EnvelopeVariable::EventWorkflow => {
                let workflow = event.workflow.as_ref().map(|workflow| workflow.as_bytes().as_ref());
                out.extend_from_slice(workflow.unwrap_or(b"null"));
            }
            EnvelopeVariable::TenantId => write_string(out, self.tenant.id.as_str()),
            EnvelopeVariable::TenantUri => write_quoted(out, self.tenant.id.uri_reference()),
            EnvelopeVariable::TenantName => write_string(out, &self.tenant.name),
            EnvelopeVariable::TenantWebsite => write_string_or_null(out, self.tenant.website.as_deref()),
            EnvelopeVariable::WebhookId => write_quoted(out, self.webhook),
            EnvelopeVariable::DeliveryDuplicateKey => {
                write_string(out, &duplicate_key(&event.id, self.webhook))
            }
        }
    }
}

/// For values whose text needs no escaping in JSON: times, versions, ids.
fn write_quoted(out: &mut Vec<u8>, value: impl std::fmt::Display) {
    write!(out, "\"{value}\"").expect("memory takes every write");
}

fn write_string_or_null(out: &mut Vec<u8>, text: Option<&str>) {
    match text {
        Some(text) => write_string(out, text),
        None => out.extend_from_slice(b"null"),
    }
}

/// Checks that an envelope gives JSON whatever the event: filled with everything, and with as little as there
/// can be. What stands inside a JSON string fails one of the two, since every value brings its own quotes.
pub(crate) fn check_envelope(envelope: &EnvelopeRule) -> Result<(), String> {
    let object =
        |text: &'static str| RawObject::parse(Bytes::from_static(text.as_bytes())).map_err(|e| e.to_string());
    let full = (object(r#"{"\"":[{}],"b":null}"#)?, Some("\"".to_owned()), Some(object(r#"{"name":"\""}"#)?));
    let empty = (object("{}")?, None, None);
    for (data, text, workflow) in [full, empty] {
        let (event, tenant) = sample(data, text, workflow)?;
        let mut body = Vec::new();
        fill(
            &envelope.body,
            &Subject { event: &event, tenant: &tenant, webhook: WebhookId::from_u128(1) },
            &mut body,
        );
        check_depth(&body).map_err(|error| error.to_string())?;
        serde_json::from_slice::<&serde_json::value::RawValue>(&body).map_err(|error| {
            format!("does not give JSON, for instance: {}: {error}", String::from_utf8_lossy(&body))
        })?;
    }
    Ok(())
}

fn sample(
    data: RawObject,
    text: Option<String>,
    workflow: Option<RawObject>,
) -> Result<(Event, Tenant), String> {
    use crate::clock::Timestamp;
    use crate::event::SchemaVersion;
    use crate::profile::ProfileName;
    let id = "sample".parse().map_err(|_| "no sample")?;
    let tenant = Tenant {
        id,
        name: text.clone().unwrap_or_default(),
        website: text.clone(),
        profile: ProfileName::standard(),
        schema_check: SchemaCheck::Off,
        created_at: Timestamp::EPOCH,
        updated_at: Timestamp::EPOCH,
    };
    let event = Event {
        id: "sample".parse().map_err(|_| "no sample")?,
        tenant: tenant.id.clone(),
        event_type: "sample.event".parse().map_err(|_| "no sample")?,
        schema_version: SchemaVersion::FIRST,
        timestamp: Timestamp::EPOCH,
        accepted_at: Timestamp::EPOCH,
        data,
        summary: text,
        workflow,
    };
    Ok((event, tenant))
}

#[cfg(test)]
mod tests;
