//! The signature's check and a request's identity, both from the profile's data.

use std::sync::Arc;

use anyhow::{Context, bail};
use postrider_contract::attempt::Header;
use postrider_contract::clock::Timestamp;
use postrider_contract::pattern::{Piece, Variable};
use postrider_contract::profile::{CompiledProfile, ProfileOverride, builtin_profiles};
use postrider_contract::rendering::EnvelopeVariable;
use postrider_contract::signature::{ReceivedRequest, SigningKey, TextVariable, VerifyFailure, verify};
use serde_json::Value;

use crate::profile_argument::load;

/// What a request is checked against.
pub(super) struct Checking {
    /// `None`: each request's own, by its signature's header.
    profile: Option<Arc<CompiledProfile>>,
    secrets: Vec<String>,
}

/// What the check of a request came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Genuine,
    /// There is no secret to check with, or the profile does not sign.
    NotChecked(&'static str),
    Refused(String),
}

impl Checking {
    /// # Errors
    /// When there is no such profile, or a secret is not one of the profile's.
    pub(super) fn new(profile: Option<&str>, secrets: Vec<String>) -> anyhow::Result<Self> {
        let profile = profile.map(load).transpose()?;
        if let Some(profile) = &profile {
            for secret in &secrets {
                key(profile, secret)
                    .with_context(|| format!("--secret is not one of the profile {}", profile.name()))?;
            }
        }
        if secrets.iter().any(String::is_empty) {
            bail!("--secret is empty");
        }
        Ok(Checking { profile, secrets })
    }

    /// The profile that a request is taken to be of.
    pub(super) fn profile_of(&self, headers: &[Header]) -> Arc<CompiledProfile> {
        if let Some(profile) = &self.profile {
            return Arc::clone(profile);
        }
        let is_signed_so = |profile: &&Arc<CompiledProfile>| {
            let rule = profile.definition().signature.as_ref();
            rule.is_some_and(|rule| headers.iter().any(|header| rule.header.is(&header.name)))
        };
        let all = builtin_profiles();
        let found = all.iter().find(is_signed_so).or(all.first());
        Arc::clone(found.expect("there are built-in profiles, the default first"))
    }

    pub(super) fn check(
        &self,
        profile: &CompiledProfile,
        request: ReceivedRequest<'_>,
        now: Timestamp,
    ) -> Verdict {
        if profile.definition().signature.is_none() {
            return Verdict::NotChecked("this profile does not sign");
        }
        if self.secrets.is_empty() {
            return Verdict::NotChecked("no --secret given");
        }
        let keys: Result<Vec<SigningKey>, _> =
            self.secrets.iter().map(|secret| key(profile, secret)).collect();
        let keys = match keys {
            Ok(keys) => keys,
            Err(error) => {
                return Verdict::Refused(format!(
                    "--secret is not one of the profile {}: {error:#}",
                    profile.name()
                ));
            }
        };
        match verify(profile, &ProfileOverride::default(), request, &keys, now) {
            Ok(()) => Verdict::Genuine,
            Err(VerifyFailure::Unsigned) => Verdict::NotChecked("this profile does not sign"),
            Err(
                failure @ (VerifyFailure::MissingHeader { .. }
                | VerifyFailure::MalformedHeader { .. }
                | VerifyFailure::OutsideReplayWindow { .. }
                | VerifyFailure::NoMatch),
            ) => Verdict::Refused(failure.to_string()),
        }
    }
}

/// By what a receiver of the profile would drop repeats: the header that carries the duplicate key or the event's
/// id, else the envelope's member that does. `None` where the profile tells neither.
pub(super) fn identity(profile: &CompiledProfile, request: ReceivedRequest<'_>) -> Option<String> {
    let headers = &profile.definition().request.headers;
    for wanted in [TextVariable::DeliveryDuplicateKey, TextVariable::EventId] {
        let carrier = headers.iter().find(|header| header.value.uses(wanted));
        let value = carrier.and_then(|carrier| {
            let received = request.headers.iter().find(|received| carrier.name.is(&received.name))?;
            std::str::from_utf8(&received.value).ok()
        });
        if let Some(value) = value {
            return Some(value.to_owned());
        }
    }
    let pointer = identity_pointer(profile)?;
    let body: Value = serde_json::from_slice(request.body).ok()?;
    body.pointer(&pointer)?.as_str().map(str::to_owned)
}

/// Where the envelope holds the event's id, found by filling every variable in with its own name.
fn identity_pointer(profile: &CompiledProfile) -> Option<String> {
    let mut skeleton = String::new();
    for piece in profile.definition().envelope.body.pieces() {
        match piece {
            Piece::Literal(literal) => skeleton.push_str(literal),
            // Stands for members with their comma, not for a value.
            Piece::Variable(EnvelopeVariable::EventDataMembers) => {}
            Piece::Variable(variable) => skeleton.push_str(&format!("\"{}\"", variable.name())),
        }
    }
    let skeleton: Value = serde_json::from_str(&skeleton).ok()?;
    let wanted = [EnvelopeVariable::DeliveryDuplicateKey, EnvelopeVariable::EventId];
    wanted.into_iter().find_map(|variable| pointer_to(&skeleton, variable.name(), String::new()))
}

fn pointer_to(value: &Value, wanted: &str, at: String) -> Option<String> {
    match value {
        Value::String(text) => (text == wanted).then_some(at),
        Value::Object(members) => members.iter().find_map(|(name, value)| {
            let step = name.replace('~', "~0").replace('/', "~1");
            pointer_to(value, wanted, format!("{at}/{step}"))
        }),
        Value::Array(values) => values
            .iter()
            .enumerate()
            .find_map(|(index, value)| pointer_to(value, wanted, format!("{at}/{index}"))),
        Value::Null | Value::Bool(_) | Value::Number(_) => None,
    }
}

fn key(profile: &CompiledProfile, secret: &str) -> anyhow::Result<SigningKey> {
    let rule = profile.definition().secret.as_ref().context("this profile does not sign")?;
    SigningKey::parse(secret, rule).map_err(anyhow::Error::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_built_in_profile_tells_repeats_apart_as_far_as_its_data_does() {
        for (name, pointer) in [
            ("trcker", Some("/id")),
            ("trakkr", Some("/meta/event_id")),
            ("track360", Some("/event_id")),
            ("tracktile", Some("/id")),
        ] {
            let profile = load(name).expect("a built-in profile");
            assert_eq!(identity_pointer(&profile).as_deref(), pointer, "{name}");
        }
    }

    #[test]
    fn what_is_not_a_profile_or_its_secret_is_said_at_once() {
        let error = |profile: &str, secret: &str| {
            Checking::new(Some(profile), vec![secret.to_owned()]).err().map(|error| format!("{error:#}"))
        };
        assert!(error("nobody", "x").is_some_and(|text| text.contains("standard, trcker")));
        assert!(error("standard", "whsec_%%%").is_some_and(|text| text.contains("base64")));
        assert!(error("no/such/file.toml", "x").is_some_and(|text| text.contains("no/such/file.toml")));
        assert_eq!(error("trcker", "any text"), None);
    }
}
