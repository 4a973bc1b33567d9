//! The captured signature: proved with the secret where it was given, else compared by its form.

use postrider_contract::attempt::Header;
use postrider_contract::pattern::Pattern;
use postrider_contract::profile::{SecretOrigin, SecretRule, SignatureRule};
use postrider_contract::signature::{
    EachVariable, ReceivedRequest, RequestContext, SigningKey, ValueVariable, sign, verify,
};
use postrider_service::system::SystemEntropy;

use super::{Difference, Expected, Place};
use crate::capture::CapturedRequest;

/// What is to be said of a request's signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SignatureFound {
    /// The profile does not sign.
    NotOfTheProfile,
    /// There is none, and without a secret Postrider makes none either.
    Absent,
    /// One of the given secrets made it, over this very body.
    Verified,
    /// No secret was given: it has the form of ours, and more cannot be said.
    FormAlone,
    Wrong(Difference),
}

/// The name that the signature's header has for this webhook.
pub(super) fn signature_header<'e>(expected: &'e Expected, rule: &'e SignatureRule) -> &'e str {
    expected.overrides.signature_header.as_ref().unwrap_or(&rule.header).as_str()
}

/// Where no secret was given, `made` gets the captured signature, so that the rest of the header is compared.
pub(super) fn examine(
    expected: &Expected,
    captured: &CapturedRequest,
    context: &RequestContext<'_>,
    made: &mut Vec<Header>,
) -> SignatureFound {
    let definition = expected.profile.definition();
    let (Some(rule), Some(secret)) = (&definition.signature, &definition.secret) else {
        return SignatureFound::NotOfTheProfile;
    };
    let name = signature_header(expected, rule);
    let wrong = |theirs: Option<String>, ours: Option<String>, detail: String| {
        let place = Place::Header(name.to_owned());
        SignatureFound::Wrong(Difference { place, captured: theirs, ours, detail })
    };
    let Some(theirs) = captured.header(name) else {
        if expected.keys.is_empty() && secret.origin == SecretOrigin::Optional {
            return SignatureFound::Absent;
        }
        return wrong(None, Some(rule.value.to_string()), "is not signed, as Postrider's are".to_owned());
    };
    let text = String::from_utf8_lossy(&theirs.value).into_owned();
    let ours = made.iter().find(|header| header.name == name).map(|header| header.value.clone());
    let Some(ours) = ours else {
        made.push(Header { name: name.into(), value: theirs.value.clone() });
        return match has_our_form(expected, rule, secret, (context, &captured.body[..]), &text) {
            Ok(()) => SignatureFound::FormAlone,
            Err(detail) => wrong(Some(text), Some(rule.value.to_string()), detail),
        };
    };
    let request = ReceivedRequest { headers: &captured.headers, body: &captured.body };
    match verify(&expected.profile, &expected.overrides, request, &expected.keys, context.started_at) {
        Ok(()) => SignatureFound::Verified,
        Err(failure) => {
            let ours = String::from_utf8_lossy(&ours).into_owned();
            wrong(Some(text), Some(ours), format!("does not verify with the given secret: {failure}"))
        }
    }
}

/// Compares with what a key that nobody uses makes of the same request.
fn has_our_form(
    expected: &Expected,
    rule: &SignatureRule,
    secret: &SecretRule,
    (context, body): (&RequestContext<'_>, &[u8]),
    theirs: &str,
) -> Result<(), String> {
    let stand_in = SigningKey::parse(secret.generate(&SystemEntropy).reveal(), secret);
    let stand_in = stand_in.map_err(|error| format!("cannot be compared: a generated secret {error}"))?;
    let ours = sign(&expected.profile, &expected.overrides, context, body, &[stand_in]);
    let ours = ours.and_then(|header| String::from_utf8(header.value.to_vec()).ok()).unwrap_or_default();
    let model = signatures(&rule.value, &ours).and_then(|one| signature(&rule.each, one)).unwrap_or_default();
    let Some(theirs) = signatures(&rule.value, theirs) else {
        return Err(format!("is not of the form {}", rule.value));
    };
    let each = match rule.separator.as_deref() {
        Some(separator) => theirs.split(separator).collect(),
        None => vec![theirs],
    };
    for one in each {
        let Some(text) = signature(&rule.each, one) else {
            return Err(format!("holds {one}, which is not of the form {}", rule.each));
        };
        let is_hex = |text: &str| text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if text.len() != model.len() || is_hex(text) != is_hex(model) {
            let (length, our_length) = (text.len(), model.len());
            return Err(format!(
                "a signature of {length} characters where Postrider's have {our_length}: {text}"
            ));
        }
    }
    Ok(())
}

fn signatures<'t>(pattern: &Pattern<ValueVariable>, value: &'t str) -> Option<&'t str> {
    let captured = pattern.capture(value)?;
    let (_, text) = captured.into_iter().find(|(variable, _)| *variable == ValueVariable::Signatures)?;
    Some(text)
}

fn signature<'t>(pattern: &Pattern<EachVariable>, one: &'t str) -> Option<&'t str> {
    let (EachVariable::Signature, text) = pattern.capture(one)?.into_iter().next()?;
    Some(text)
}
