//! Verification: what a receiver of the profile does with a request, step by step.

use std::time::Duration;

use subtle::ConstantTimeEq;

use super::request::header_name;
use super::{EachVariable, SignedVariable, SigningKey, TextVariable, ValueVariable, signature_text};
use crate::attempt::Header;
use crate::clock::Timestamp;
use crate::profile::{CompiledProfile, ProfileOverride, SignatureRule};

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
    #[error("the signed time is {} s {}, and only {} s are accepted", difference.as_secs(), if *is_past { "ago" } else { "ahead" }, window.as_secs())]
    OutsideReplayWindow { difference: Duration, is_past: bool, window: Duration },
    #[error("no signature matches: another secret, or the body was changed on its way")]
    NoMatch,
}

/// A request as it came.
#[derive(Clone, Copy, Debug)]
pub struct ReceivedRequest<'a> {
    pub headers: &'a [Header],
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
}

/// Checks a request as its receiver would: the headers have their form, the signed time is within the replay
/// window of `now`, and one of the signatures is that of one of `keys` over the bytes that came. Signatures are
/// compared in constant time.
///
/// # Errors
/// The first check that fails.
pub fn verify(
    profile: &CompiledProfile,
    overrides: &ProfileOverride,
    request: ReceivedRequest<'_>,
    keys: &[SigningKey],
    now: Timestamp,
) -> Result<(), VerifyFailure> {
    let rule = profile.definition().signature.as_ref().ok_or(VerifyFailure::Unsigned)?;
    let name = header_name(rule, overrides);
    let value = request.header(name)?;
    let malformed = || VerifyFailure::MalformedHeader { name: name.to_owned() };
    let captured = rule.value.capture(value).ok_or_else(malformed)?;
    let signatures = captured.iter().find(|(variable, _)| *variable == ValueVariable::Signatures);
    let (_, signatures) = signatures.ok_or_else(malformed)?;
    let texts = signed_texts(profile, rule, &captured, request)?;
    check_time(rule, &texts, now)?;
    let expected: Vec<String> =
        keys.iter().map(|key| expected_signature(rule, key, request.body, &texts)).collect();
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
    for variable in rule.signs.variables().filter_map(SignedVariable::text) {
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
) -> Result<(), VerifyFailure> {
    let Some(window) = rule.replay_window else { return Ok(()) };
    let malformed = || VerifyFailure::MalformedHeader { name: rule.header.as_str().to_owned() };
    let signed = texts.iter().find_map(|(variable, text)| variable.time_unit().map(|unit| (unit, *text)));
    let (unit, text) = signed.ok_or_else(malformed)?;
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(malformed());
    }
    let number: i64 = text.parse().map_err(|_| malformed())?;
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

fn expected_signature(
    rule: &SignatureRule,
    key: &SigningKey,
    body: &[u8],
    texts: &[(TextVariable, &str)],
) -> String {
    signature_text(rule, key, body, |variable, out| {
        out.extend(texts.iter().find(|(named, _)| *named == variable).map(|(_, text)| *text));
    })
}

/// Every candidate is compared with every expected signature, so that time tells nothing about which came close.
fn any_matches(rule: &SignatureRule, signatures: &str, expected: &[String]) -> bool {
    let candidates: Vec<&str> = match rule.separator.as_deref() {
        Some(separator) => signatures.split(separator).take(MAX_SIGNATURES).collect(),
        None => vec![signatures],
    };
    let mut is_match = subtle::Choice::from(0);
    for candidate in candidates.into_iter().filter_map(|candidate| rule.each.capture(candidate)) {
        for (EachVariable::Signature, text) in candidate {
            for expected in expected {
                is_match |= text.as_bytes().ct_eq(expected.as_bytes());
            }
        }
    }
    is_match.into()
}
