//! The signature's check and a request's identity, both from the profile's data.

use std::sync::Arc;

use anyhow::{Context, bail};
use postrider_contract::attempt::Header;
use postrider_contract::clock::Timestamp;
use postrider_contract::json::pointer_below;
use postrider_contract::pattern::{Piece, Variable};
use postrider_contract::profile::{
    CompiledProfile, HeaderName, ProfileOverride, SecretForm, SecretRule, builtin_profiles,
};
use postrider_contract::rendering::EnvelopeVariable;
use postrider_contract::signature::{ReceivedRequest, TextVariable, VerifyFailure, VerifyingKey, verify};
use serde_json::Value;

use crate::profile_argument::load;

/// What a request is checked against.
pub(super) struct Checking {
    /// `None`: each request's own, by its signature's header.
    profile: Option<Arc<CompiledProfile>>,
    secrets: Vec<String>,
    overrides: ProfileOverride,
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
    /// `signature_header` is the name that the webhook chose for it, if it chose one.
    ///
    /// # Errors
    /// When there is no such profile, a secret is not one of the profile's, or the header cannot be chosen there.
    pub(super) fn new(
        profile: Option<&str>,
        secrets: Vec<String>,
        signature_header: Option<HeaderName>,
    ) -> anyhow::Result<Self> {
        let profile = profile.map(load).transpose()?;
        let overrides = ProfileOverride { signature_header, ..ProfileOverride::default() };
        match &profile {
            Some(profile) => {
                profile.check_override(&overrides).context("--signature-header")?;
                for secret in &secrets {
                    key(profile, secret)
                        .with_context(|| format!("--secret is not one of the profile {}", profile.name()))?;
                }
            }
            None if overrides.signature_header.is_some() => bail!("--signature-header needs --profile"),
            None => {}
        }
        if secrets.iter().any(String::is_empty) {
            bail!("--secret is empty");
        }
        Ok(Checking { profile, secrets, overrides })
    }

    /// The profile that a request is taken to be of: the one that was named, else that of the built-in ones of which
    /// the most can be seen in its headers.
    pub(super) fn profile_of(&self, headers: &[Header]) -> Arc<CompiledProfile> {
        if let Some(profile) = &self.profile {
            return Arc::clone(profile);
        }
        let all = builtin_profiles();
        let likeness = all.iter().filter_map(|profile| Some((likeness(profile, headers)?, profile)));
        let best = likeness.reduce(|best, other| if other.0 > best.0 { other } else { best });
        let found = best.map(|(_, profile)| profile).or(all.first());
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
        let keys: Result<Vec<VerifyingKey>, _> =
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
        match verify(profile, &self.overrides, request, &keys, now) {
            Ok(()) => Verdict::Genuine,
            Err(VerifyFailure::Unsigned) => Verdict::NotChecked("this profile does not sign"),
            Err(failure @ VerifyFailure::NoMatch) => {
                let hint = self.hint(profile, request, &keys, now);
                Verdict::Refused(
                    hint.map_or_else(|| failure.to_string(), |hint| format!("{failure}; {hint}")),
                )
            }
            Err(
                failure @ (VerifyFailure::MissingHeader { .. }
                | VerifyFailure::MalformedHeader { .. }
                | VerifyFailure::MissingParameter { .. }
                | VerifyFailure::MalformedParameter { .. }
                | VerifyFailure::RepeatedParameter { .. }
                | VerifyFailure::OutsideReplayWindow { .. }),
            ) => Verdict::Refused(failure.to_string()),
        }
    }

    /// What would have matched: the mistakes that are made most often.
    fn hint(
        &self,
        profile: &CompiledProfile,
        request: ReceivedRequest<'_>,
        keys: &[VerifyingKey],
        now: Timestamp,
    ) -> Option<String> {
        let matches = |profile: &CompiledProfile, request, keys: &[VerifyingKey]| {
            verify(profile, &self.overrides, request, keys, now).is_ok()
        };
        let rule = profile.definition().secret.as_ref()?;
        let (form, how) = match rule.form {
            SecretForm::Text => (SecretForm::Base64, "the sender takes the secret for base64"),
            SecretForm::Base64 | SecretForm::Hex | SecretForm::Ed25519 => {
                (SecretForm::Text, "the sender takes the secret for text, prefix and all")
            }
        };
        // Whatever its length: it is only to be recognised.
        let other_rule = SecretRule { form, minimum_bytes: 1, maximum_bytes: usize::MAX, ..rule.clone() };
        let other_keys =
            self.secrets.iter().filter_map(|secret| VerifyingKey::parse(secret, &other_rule).ok());
        if matches(profile, request, &other_keys.collect::<Vec<_>>()) {
            return Some(how.to_owned());
        }
        let trimmed = ReceivedRequest { body: request.body.trim_ascii(), ..request };
        let with_feed = [request.body, b"\n"].concat();
        let with_feed = ReceivedRequest { body: &with_feed, ..request };
        if matches(profile, trimmed, keys) || matches(profile, with_feed, keys) {
            return Some("what was signed has other white space around it than the body".to_owned());
        }
        let mut others = builtin_profiles().iter().filter(|other| other.name() != profile.name());
        let other = others.find(|other| {
            let keys = self.secrets.iter().filter_map(|secret| key(other, secret).ok());
            matches(other, request, &keys.collect::<Vec<_>>())
        });
        other.map(|other| format!("it is right for the profile {}", other.name()))
    }
}

/// How much of a profile can be seen: its signature, how many of its headers, its content type. `None` where a header
/// of its own is not there, or nothing but the content type is.
fn likeness(profile: &CompiledProfile, headers: &[Header]) -> Option<(bool, usize, bool)> {
    let definition = profile.definition();
    let find = |name: &HeaderName| headers.iter().find(|header| name.is(&header.name));
    let own = &definition.request.headers;
    if !own.iter().all(|header| find(&header.name).is_some()) {
        return None;
    }
    let is_signed = definition
        .signature
        .as_ref()
        .and_then(|rule| rule.header.as_ref())
        .is_some_and(|name| find(name).is_some());
    let content_type = headers.iter().find(|header| header.name.eq_ignore_ascii_case("content-type"));
    let content_type = content_type.and_then(|header| std::str::from_utf8(&header.value).ok());
    let has_its_type =
        content_type.is_some_and(|text| definition.request.content_type.capture(text).is_some());
    (is_signed || !own.is_empty()).then_some((is_signed, own.len(), has_its_type))
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
        Value::Object(members) => {
            members.iter().find_map(|(name, value)| pointer_to(value, wanted, pointer_below(&at, name)))
        }
        Value::Array(values) => values
            .iter()
            .enumerate()
            .find_map(|(index, value)| pointer_to(value, wanted, format!("{at}/{index}"))),
        Value::Null | Value::Bool(_) | Value::Number(_) => None,
    }
}

fn key(profile: &CompiledProfile, secret: &str) -> anyhow::Result<VerifyingKey> {
    let rule = profile.definition().secret.as_ref().context("this profile does not sign")?;
    VerifyingKey::parse(secret, rule).map_err(anyhow::Error::from)
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
            Checking::new(Some(profile), vec![secret.to_owned()], None)
                .err()
                .map(|error| format!("{error:#}"))
        };
        assert!(error("nobody", "x").is_some_and(|text| text.contains("standard, trcker")));
        assert!(error("standard", "whsec_%%%").is_some_and(|text| text.contains("base64")));
        assert!(error("no/such/file.toml", "x").is_some_and(|text| text.contains("no/such/file.toml")));
        assert_eq!(error("trcker", "any text"), None);
        let chosen = |profile: Option<&str>| {
            let header = "X-Mine".parse().expect("a name");
            Checking::new(profile, Vec::new(), Some(header)).err().map(|error| format!("{error:#}"))
        };
        assert!(chosen(Some("trcker")).is_some_and(|text| text.contains("cannot be chosen")));
        assert!(chosen(None).is_some_and(|text| text.contains("needs --profile")));
        assert_eq!(chosen(Some("tracktile")), None);
    }
}
