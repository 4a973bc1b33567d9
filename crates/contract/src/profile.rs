//! Profiles: the delivery contract as data.
//!
//! All that a receiver can observe stands in a [`Profile`]: the envelope, the headers, the signature, what counts
//! as success, what is retried and when. The built-in ones are files of the very form an operator writes, read by
//! the same code; nothing asks for a profile's name.

mod builtin;
mod compiled;
mod header_name;
mod name;
mod parameter_name;
mod reading;
mod rehearsal;
mod schema;
mod secret_rule;
mod signature_rule;
mod signing_check;
mod span;
mod status_set;

use std::fmt;

use serde::{Deserialize, Serialize};

pub use builtin::{builtin_profile, builtin_profiles};
pub use compiled::CompiledProfile;
pub use header_name::{HeaderName, InvalidHeaderName, is_framing_header};
pub use name::{InvalidProfileName, ProfileName, ProfileOverride};
pub use parameter_name::{InvalidParameterName, ParameterName};
pub use reading::InvalidProfile;
pub use schema::profile_schema;
pub use secret_rule::{SecretForm, SecretOrigin, SecretRule};
pub use signature_rule::{Algorithm, SignatureEncoding, SignatureRule, Weakness};
pub use span::{InvalidSpan, Span};
pub use status_set::{InvalidStatusSet, StatusSet};

use crate::pattern::Pattern;
use crate::rendering::EnvelopeVariable;
use crate::retry::RetryRule;
use crate::signature::TextVariable;

/// One delivery contract, as it is written. [`Profile::compile`] makes what deliveries are made with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// May be left out where the profile is named by whoever reads it: by the path of a request.
    #[serde(default = "ProfileName::none")]
    pub name: ProfileName,
    /// For people: grows with each change of what receivers see.
    #[serde(default = "first_version")]
    pub version: u32,
    #[serde(default)]
    pub description: String,
    /// The built-in event catalogue that tenants with this profile begin with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub catalogue: Option<String>,
    #[serde(default)]
    pub request: RequestRule,
    pub envelope: EnvelopeRule,
    /// Absent: requests are never signed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<SignatureRule>,
    /// How a webhook comes by its secret. Needed with `signature`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<SecretRule>,
    #[serde(default)]
    pub answers: AnswerRule,
    pub retry: RetryRule,
    #[serde(default)]
    pub webhook: WebhookRule,
    /// For providers' cards and embeds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accent_colour: Option<Colour>,
}

const fn first_version() -> u32 {
    1
}

/// How the request is made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RequestRule {
    pub method: Method,
    pub content_type: Pattern<TextVariable>,
    pub user_agent: Pattern<TextVariable>,
    /// For connecting, sending and receiving together; at most 60 s.
    pub time_limit: Span,
    pub minimum_tls: TlsVersion,
    /// Beside content type, user agent and signature; sent in this order.
    pub headers: Vec<ProfileHeader>,
}

impl Default for RequestRule {
    fn default() -> Self {
        let built_in = |text: &str| Pattern::parse(text).expect("a test sends a request with each of these");
        RequestRule {
            method: Method::Post,
            content_type: built_in("application/json"),
            user_agent: built_in("Postrider/${postrider.version}"),
            time_limit: Span::from_seconds(10),
            minimum_tls: TlsVersion::Tls12,
            headers: Vec::new(),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Method {
    Post,
    Put,
    Patch,
}

impl Method {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Method::Post => "POST",
            Method::Put => "PUT",
            Method::Patch => "PATCH",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum TlsVersion {
    #[serde(rename = "1.2")]
    Tls12,
    #[serde(rename = "1.3")]
    Tls13,
}

/// A header that every request of the profile carries.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProfileHeader {
    pub name: HeaderName,
    pub value: Pattern<TextVariable>,
}

/// The body.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EnvelopeRule {
    /// JSON in which each variable stands for a whole JSON value.
    pub body: Pattern<EnvelopeVariable>,
    /// Members that the envelope has itself, where the event's own members stand beside them: an event whose
    /// data holds one of these is refused.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reserved_data_members: Vec<String>,
}

/// What the receiver's answers mean. A status that is in none of these sets is tried again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AnswerRule {
    pub success: StatusSet,
    /// Ends the delivery at once.
    pub permanent: StatusSet,
    /// Disables the webhook at once.
    pub disabling: StatusSet,
}

impl Default for AnswerRule {
    fn default() -> Self {
        AnswerRule {
            success: StatusSet::parse(["2xx"]).expect("a class is a status set"),
            permanent: StatusSet::default(),
            disabling: StatusSet::default(),
        }
    }
}

/// What becomes of a webhook.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WebhookRule {
    pub paused: PausedRule,
    /// Nothing but failures for so long disables it. Absent: never.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub disable_after_failing_for: Option<Span>,
}

/// What becomes of a paused webhook's deliveries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PausedRule {
    /// They wait in the waiting room.
    #[default]
    Hold,
    /// They are canceled: a paused webhook does not receive.
    Skip,
}

/// `#16a34a`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Colour(u32);

impl Colour {
    /// 0xRRGGBB.
    #[must_use]
    pub fn rgb(self) -> u32 {
        self.0
    }
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("must be a colour, for instance #16a34a")]
pub struct InvalidColour;

impl TryFrom<String> for Colour {
    type Error = InvalidColour;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let digits = text.strip_prefix('#').filter(|digits| digits.len() == 6);
        let digits = digits
            .filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()))
            .ok_or(InvalidColour)?;
        u32::from_str_radix(digits, 16).map(Colour).map_err(|_| InvalidColour)
    }
}

impl From<Colour> for String {
    fn from(colour: Colour) -> String {
        colour.to_string()
    }
}

impl fmt::Display for Colour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{:06x}", self.0)
    }
}

#[cfg(test)]
mod tests;
