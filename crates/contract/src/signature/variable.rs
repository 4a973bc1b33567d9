//! What may stand in the patterns of headers and signatures.

use std::fmt::Write;

use super::RequestContext;
use crate::ids::duplicate_key;
use crate::pattern::{Family, Variable};
use crate::profile::ParameterName;

/// What a header's value may hold. All of them are printable ASCII without spaces, so none can end a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TextVariable {
    EventId,
    EventType,
    EventTimestamp,
    EventSchemaVersion,
    /// When the try began, in whole seconds since 1970.
    Timestamp,
    /// The same in milliseconds.
    TimestampMillis,
    TenantId,
    /// The tenant as a URI reference: `/tenants/acme`.
    TenantUri,
    WebhookId,
    DeliveryId,
    DeliveryDuplicateKey,
    AttemptNumber,
    /// The version of Postrider.
    PostriderVersion,
}

impl TextVariable {
    /// How many milliseconds one of it is, where it is the time of the try.
    #[must_use]
    pub fn time_unit(self) -> Option<i64> {
        match self {
            TextVariable::Timestamp => Some(1000),
            TextVariable::TimestampMillis => Some(1),
            TextVariable::EventId
            | TextVariable::EventType
            | TextVariable::EventTimestamp
            | TextVariable::EventSchemaVersion
            | TextVariable::TenantId
            | TextVariable::TenantUri
            | TextVariable::WebhookId
            | TextVariable::DeliveryId
            | TextVariable::DeliveryDuplicateKey
            | TextVariable::AttemptNumber
            | TextVariable::PostriderVersion => None,
        }
    }

    /// Appends its value for one try.
    pub(super) fn write(self, context: &RequestContext<'_>, out: &mut String) {
        match self {
            TextVariable::EventId => out.push_str(context.event_id.as_str()),
            TextVariable::EventType => out.push_str(context.event_type.as_str()),
            TextVariable::EventTimestamp => push(out, context.event_timestamp),
            TextVariable::EventSchemaVersion => push(out, context.schema_version),
            TextVariable::Timestamp => push(out, context.started_at.as_seconds()),
            TextVariable::TimestampMillis => push(out, context.started_at.as_millis()),
            TextVariable::TenantId => out.push_str(context.tenant.as_str()),
            TextVariable::TenantUri => push(out, context.tenant.uri_reference()),
            TextVariable::WebhookId => push(out, context.webhook),
            TextVariable::DeliveryId => push(out, context.delivery),
            TextVariable::DeliveryDuplicateKey => {
                out.push_str(&duplicate_key(context.event_id, context.webhook))
            }
            TextVariable::AttemptNumber => push(out, context.attempt.number()),
            TextVariable::PostriderVersion => out.push_str(env!("CARGO_PKG_VERSION")),
        }
    }
}

fn push(out: &mut String, value: impl std::fmt::Display) {
    write!(out, "{value}").expect("memory takes every write");
}

impl Variable for TextVariable {
    fn all() -> Vec<Self> {
        vec![
            TextVariable::EventId,
            TextVariable::EventType,
            TextVariable::EventTimestamp,
            TextVariable::EventSchemaVersion,
            TextVariable::Timestamp,
            TextVariable::TimestampMillis,
            TextVariable::TenantId,
            TextVariable::TenantUri,
            TextVariable::WebhookId,
            TextVariable::DeliveryId,
            TextVariable::DeliveryDuplicateKey,
            TextVariable::AttemptNumber,
            TextVariable::PostriderVersion,
        ]
    }

    fn name(&self) -> &str {
        match self {
            TextVariable::EventId => "event.id",
            TextVariable::EventType => "event.type",
            TextVariable::EventTimestamp => "event.timestamp",
            TextVariable::EventSchemaVersion => "event.schema_version",
            TextVariable::Timestamp => "timestamp",
            TextVariable::TimestampMillis => "timestamp_ms",
            TextVariable::TenantId => "tenant.id",
            TextVariable::TenantUri => "tenant.uri",
            TextVariable::WebhookId => "webhook.id",
            TextVariable::DeliveryId => "delivery.id",
            TextVariable::DeliveryDuplicateKey => "delivery.duplicate_key",
            TextVariable::AttemptNumber => "attempt.number",
            TextVariable::PostriderVersion => "postrider.version",
        }
    }
}

/// What may be signed: the body, the query, any text that a header carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SignedVariable {
    Text(TextVariable),
    /// The exact bytes sent.
    Body,
    /// The whole query as it is sent, without the signature's own parameter.
    Query,
    /// One parameter of the query.
    Parameter(SignedParameter),
    /// The secret itself, for plain hashes.
    Secret,
}

/// A parameter of the query whose decoded value is signed: `query.click_id`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedParameter(Box<str>);

const PARAMETER: Family = Family { name: "query.NAME", expression: "query\\.[A-Za-z0-9_.-]{1,64}" };
const PARAMETER_PREFIX: &str = "query.";

impl SignedParameter {
    /// The parameter's name: `click_id`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0[PARAMETER_PREFIX.len()..]
    }
}

impl SignedVariable {
    #[must_use]
    pub fn text(&self) -> Option<TextVariable> {
        match self {
            SignedVariable::Text(variable) => Some(*variable),
            SignedVariable::Body
            | SignedVariable::Query
            | SignedVariable::Parameter(_)
            | SignedVariable::Secret => None,
        }
    }

    #[must_use]
    pub fn parameter(&self) -> Option<&SignedParameter> {
        match self {
            SignedVariable::Parameter(parameter) => Some(parameter),
            SignedVariable::Text(_)
            | SignedVariable::Body
            | SignedVariable::Query
            | SignedVariable::Secret => None,
        }
    }
}

impl Variable for SignedVariable {
    fn all() -> Vec<Self> {
        let texts = TextVariable::all().into_iter().map(SignedVariable::Text);
        texts.chain([SignedVariable::Body, SignedVariable::Query, SignedVariable::Secret]).collect()
    }

    fn families() -> &'static [Family] {
        &[PARAMETER]
    }

    fn name(&self) -> &str {
        match self {
            SignedVariable::Text(variable) => variable.name(),
            SignedVariable::Body => "body",
            SignedVariable::Query => "query",
            SignedVariable::Parameter(parameter) => &parameter.0,
            SignedVariable::Secret => "secret",
        }
    }

    fn from_name(name: &str) -> Option<Self> {
        if let Some(parameter) = name.strip_prefix(PARAMETER_PREFIX) {
            parameter.parse::<ParameterName>().ok()?;
            return Some(SignedVariable::Parameter(SignedParameter(name.into())));
        }
        Self::all().into_iter().find(|variable| variable.name() == name)
    }
}

/// What one signature is written with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EachVariable {
    Signature,
}

impl Variable for EachVariable {
    fn all() -> Vec<Self> {
        vec![EachVariable::Signature]
    }

    fn name(&self) -> &str {
        match self {
            EachVariable::Signature => "signature",
        }
    }
}

/// What the signature's header or parameter holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValueVariable {
    Text(TextVariable),
    /// Every signature, newest secret first, with the separator between them.
    Signatures,
}

impl Variable for ValueVariable {
    fn all() -> Vec<Self> {
        let texts = TextVariable::all().into_iter().map(ValueVariable::Text);
        texts.chain([ValueVariable::Signatures]).collect()
    }

    fn name(&self) -> &str {
        match self {
            ValueVariable::Text(variable) => variable.name(),
            ValueVariable::Signatures => "signatures",
        }
    }
}
