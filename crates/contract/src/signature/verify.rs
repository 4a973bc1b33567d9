//! Verification: what a receiver of the profile does with a request, step by step.

use std::borrow::Cow;
use std::time::Duration;

use subtle::ConstantTimeEq;

use super::key::Verifying;
use super::key_pair::PublicKey;
use super::request::{Place, place};
use super::{
    Covered, EachVariable, TextVariable, ValueVariable, VerifyingKey, decoded, each_of_pairs, message,
    shared_signature,
};
use crate::attempt::Header;
use crate::clock::Timestamp;
use crate::pattern::Pattern;
use crate::profile::{CompiledProfile, ProfileOverride, SignatureRule};
use crate::query_string::{count_parameters, parameter_value, without_parameter};

/// No sender has more active secrets; a longer list only costs the receiver time.
const MAX_SIGNATURES: usize = 16;

/// Why a request is not taken for genuine.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VerifyFailure {
    #[error("requests of this profile are not signed")]
    Unsigned,
    #[error("the header {name} is missing")]
    MissingHeader { name: String },
    #[error("the header {name} is not of the expected form")]
    MalformedHeader { name: String },
    #[error("the query parameter {name} is missing")]
    MissingParameter { name: String },
    #[error("the query parameter {name} is not of the expected form")]
    MalformedParameter { name: String },
    #[error("the query parameter {name} is there more than once")]
    RepeatedParameter { name: String },
    #[error("the signed time is {} s {}, and only {} s are accepted", difference.as_secs(), if *is_past { "ago" } else { "ahead" }, window.as_secs())]
    OutsideReplayWindow { difference: Duration, is_past: bool, window: Duration },
    #[error("no signature matches: another secret, or the request was changed on its way")]
    NoMatch,
}

/// A request as it came.
#[derive(Clone, Copy, Debug)]
pub struct ReceivedRequest<'a> {
    pub headers: &'a [Header],
    /// What stands behind the `?`; empty if nothing does.
    pub query: &'a str,
    /// Byte for byte.
    pub body: &'a [u8],
}

impl<'a> ReceivedRequest<'a> {
    fn header(&self, name: &str) -> Result<&'a str, VerifyFailure> {
        let header = self.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name));
        let header = header.ok_or_else(|| VerifyFailure::MissingHeader { name: name.to_owned() })?;
        std::str::from_utf8(&header.value)
            .map_err(|_| VerifyFailure::MalformedHeader { name: name.to_owned() })
    }

    /// What stands where the profile puts its signature.
    fn at(&self, place: Place<'_>) -> Result<Cow<'a, str>, VerifyFailure> {
        match place {
            Place::Header(name) => self.header(name.as_str()).map(Cow::Borrowed),
            Place::Parameter(name) => {
                String::from_utf8(self.parameter(name)?).map(Cow::Owned).map_err(|_| malformed(place))
            }
        }
    }

    /// A parameter that must be there once: of two, one could be signed, and the other be what is gone by.
    fn parameter(&self, name: &str) -> Result<Vec<u8>, VerifyFailure> {
        let missing = || VerifyFailure::MissingParameter { name: name.to_owned() };
        let value = parameter_value(self.query, name).ok_or_else(missing)?;
        match count_parameters(self.query, name) {
            1 => Ok(value),
            _ => Err(VerifyFailure::RepeatedParameter { name: name.to_owned() }),
        }
    }

    fn query_without(&self, place: Place<'_>) -> Cow<'a, str> {
        match place {
            Place::Header(_) => Cow::Borrowed(self.query),
            Place::Parameter(name) => Cow::Owned(without_parameter(self.query, name)),
        }
    }
}

fn malformed(place: Place<'_>) -> VerifyFailure {
    match place {
        Place::Header(name) => VerifyFailure::MalformedHeader { name: name.to_string() },
        Place::Parameter(name) => VerifyFailure::MalformedParameter { name: name.to_owned() },
    }
}

/// Checks a request as its receiver would: headers and parameters are there and have their form, the signed time is within the replay
/// window of `now`, and one of the signatures is that of one of `keys` over the bytes that came. Signatures are
/// compared in constant time.
///
/// # Errors
/// The first check that fails.
pub fn verify(
    profile: &CompiledProfile,
    overrides: &ProfileOverride,
    request: ReceivedRequest<'_>,
    keys: &[VerifyingKey],
    now: Timestamp,
) -> Result<(), VerifyFailure> {
    let rule = profile.definition().signature.as_ref().ok_or(VerifyFailure::Unsigned)?;
    let place = place(rule, overrides);
    let value = request.at(place)?;
    let captured = rule.value.capture(&value).ok_or_else(|| malformed(place))?;
    let signatures = captured.iter().find(|(variable, _)| *variable == ValueVariable::Signatures);
    let (_, signatures) = signatures.ok_or_else(|| malformed(place))?;
    let texts = signed_texts(profile, rule, &captured, request)?;
    check_time(rule, &texts, now, place)?;
    for name in profile.signed_parameters() {
        request.parameter(&name)?;
    }
    let query = request.query_without(place);
    let covered = Covered { query: &query, body: request.body };
    let expected: Vec<Expected<'_>> =
        keys.iter().filter_map(|key| Expected::of(rule, key, covered, &texts)).collect();
    if any_matches(rule, signatures, &expected) { Ok(()) } else { Err(VerifyFailure::NoMatch) }
}

/// The text variables under the signature with what the request says they are, in the words of its headers.
fn signed_texts<'a>(
    profile: &CompiledProfile,
    rule: &SignatureRule,
    captured: &[(ValueVariable, &'a str)],
    request: ReceivedRequest<'a>,
) -> Result<Vec<(TextVariable, &'a str)>, VerifyFailure> {
    let mut texts = Vec::new();
    for variable in rule.signs.variables().filter_map(|variable| variable.text()) {
        let in_value = captured.iter().find(|(named, _)| *named == ValueVariable::Text(variable));
        if let Some((_, text)) = in_value {
            texts.push((variable, *text));
            continue;
        }
        let carrier = profile.definition().request.headers.iter().find(|header| header.value.uses(variable));
        // A profile whose headers do not carry what it signs does not compile.
        let carrier = carrier.ok_or(VerifyFailure::Unsigned)?;
        let name = carrier.name.as_str();
        let found = carrier.value.capture(request.header(name)?);
        let found = found.and_then(|found| found.into_iter().find(|(named, _)| *named == variable));
        let (_, text) = found.ok_or_else(|| VerifyFailure::MalformedHeader { name: name.to_owned() })?;
        texts.push((variable, text));
    }
    Ok(texts)
}

fn check_time(
    rule: &SignatureRule,
    texts: &[(TextVariable, &str)],
    now: Timestamp,
    place: Place<'_>,
) -> Result<(), VerifyFailure> {
    let Some(window) = rule.replay_window else { return Ok(()) };
    let signed = texts.iter().find_map(|(variable, text)| variable.time_unit().map(|unit| (unit, *text)));
    let (unit, text) = signed.ok_or_else(|| malformed(place))?;
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(malformed(place));
    }
    let number: i64 = text.parse().map_err(|_| malformed(place))?;
    let signed = Timestamp::from_millis(number.saturating_mul(unit));
    // In whole seconds, as receivers count: a time at the very edge of the window is still inside.
    let now = Timestamp::from_millis(now.as_seconds().saturating_mul(1000));
    let (is_past, difference) =
        if signed <= now { (true, now.since(signed)) } else { (false, signed.since(now)) };
    if difference <= window.duration() {
        return Ok(());
    }
    Err(VerifyFailure::OutsideReplayWindow { difference, is_past, window: window.duration() })
}

/// What a key's signature would have to be.
enum Expected<'a> {
    Text(String),
    By { key: &'a PublicKey, each: &'a Pattern<EachVariable>, message: Vec<u8> },
}

impl<'a> Expected<'a> {
    /// `None` where the profile has no signatures of such a key.
    fn of(
        rule: &'a SignatureRule,
        key: &'a VerifyingKey,
        covered: Covered<'_>,
        texts: &[(TextVariable, &str)],
    ) -> Option<Self> {
        let write_text = |variable: TextVariable, out: &mut String| {
            out.extend(texts.iter().find(|(named, _)| *named == variable).map(|(_, text)| *text));
        };
        match key.verifying() {
            Verifying::Shared(secret) => {
                shared_signature(rule, secret, covered, write_text).map(Expected::Text)
            }
            Verifying::Public(key) => {
                let message = message(rule, covered, write_text);
                Some(Expected::By { key, each: each_of_pairs(rule)?, message })
            }
        }
    }

    fn is_met_by(&self, rule: &SignatureRule, candidate: &str) -> subtle::Choice {
        match self {
            Expected::Text(expected) => match one(&rule.each, candidate) {
                Some(signature) => signature.as_bytes().ct_eq(expected.as_bytes()),
                None => subtle::Choice::from(0),
            },
            Expected::By { key, each, message } => {
                let signature = one(each, candidate).and_then(|text| decoded(rule.encoding, text));
                let is_met = signature.is_some_and(|signature| key.has_signed(message, &signature));
                subtle::Choice::from(u8::from(is_met))
            }
        }
    }
}

/// The signature within what is put around each.
fn one<'t>(each: &Pattern<EachVariable>, candidate: &'t str) -> Option<&'t str> {
    let captured = each.capture(candidate)?;
    captured.into_iter().map(|(EachVariable::Signature, text)| text).next()
}

/// Every candidate is compared with every expected signature, so that time tells nothing about which came close.
fn any_matches(rule: &SignatureRule, signatures: &str, expected: &[Expected<'_>]) -> bool {
    let candidates: Vec<&str> = match rule.separator.as_deref() {
        Some(separator) => signatures.split(separator).take(MAX_SIGNATURES).collect(),
        None => vec![signatures],
    };
    let mut is_match = subtle::Choice::from(0);
    for candidate in candidates {
        for expected in expected {
            is_match |= expected.is_met_by(rule, candidate);
        }
    }
    is_match.into()
}
