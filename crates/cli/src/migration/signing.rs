//! The captured signature: proved with the secret where it was given, else compared by its form.

use std::borrow::Cow;

use postrider_contract::attempt::Header;
use postrider_contract::pattern::Pattern;
use postrider_contract::profile::{SecretOrigin, SecretRule, SignatureRule};
use postrider_contract::query_string::{parameter_value, without_parameter};
use postrider_contract::signature::{
    self, Covered, EachVariable, ReceivedRequest, RequestContext, SignedRequest, SigningKey, ValueVariable,
    VerifyingKey, signed_request, verify,
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

/// Where the signature stands for this webhook.
#[derive(Clone, Copy, Debug)]
pub(super) enum SignaturePlace<'e> {
    Header(&'e str),
    /// Of the query, behind everything else there.
    Parameter(&'e str),
}

impl<'e> SignaturePlace<'e> {
    /// `None` where the profile does not sign.
    pub(super) fn of(expected: &'e Expected) -> Option<Self> {
        let rule = expected.profile.definition().signature.as_ref()?;
        Some(match signature::place(rule, &expected.overrides) {
            signature::Place::Header(name) => SignaturePlace::Header(name.as_str()),
            signature::Place::Parameter(name) => SignaturePlace::Parameter(name),
        })
    }

    pub(super) fn is_known_as(self) -> Place {
        match self {
            SignaturePlace::Header(name) => Place::Header(name.to_owned()),
            SignaturePlace::Parameter(name) => Place::Parameter(name.to_owned()),
        }
    }

    /// What a captured request has there.
    pub(super) fn captured_text(self, captured: &CapturedRequest) -> Option<String> {
        let value = match self {
            SignaturePlace::Header(name) => captured.header(name)?.value.to_vec(),
            SignaturePlace::Parameter(name) => parameter_value(query_of(&captured.url), name)?,
        };
        Some(String::from_utf8_lossy(&value).into_owned())
    }

    /// What is made here for it, if it was signed.
    fn text_of(self, made: &SignedRequest) -> Option<String> {
        let value = match self {
            SignaturePlace::Header(name) => {
                made.headers.iter().find(|header| header.name == name)?.value.to_vec()
            }
            SignaturePlace::Parameter(name) => parameter_value(made.query_parameter.as_deref()?, name)?,
        };
        Some(String::from_utf8_lossy(&value).into_owned())
    }

    /// The captured query as it is signed: without the signature.
    pub(super) fn signed_query<'r>(self, captured: &'r CapturedRequest) -> Cow<'r, str> {
        let query = query_of(&captured.url);
        match self {
            SignaturePlace::Header(_) => Cow::Borrowed(query),
            SignaturePlace::Parameter(name) => Cow::Owned(without_parameter(query, name)),
        }
    }
}

/// What stands between a URL's `?` and its fragment.
pub(super) fn query_of(url: &str) -> &str {
    let url = url.split('#').next().unwrap_or_default();
    url.split_once('?').map_or("", |(_, query)| query)
}

/// Where no secret was given, `made` gets the captured signature, so that the rest of the request is compared.
pub(super) fn examine(
    expected: &Expected,
    captured: &CapturedRequest,
    context: &RequestContext<'_>,
    made: &mut SignedRequest,
) -> SignatureFound {
    let definition = expected.profile.definition();
    let (Some(rule), Some(secret), Some(place)) =
        (&definition.signature, &definition.secret, SignaturePlace::of(expected))
    else {
        return SignatureFound::NotOfTheProfile;
    };
    let wrong = |theirs: Option<String>, ours: Option<String>, detail: String| {
        SignatureFound::Wrong(Difference { place: place.is_known_as(), captured: theirs, ours, detail })
    };
    let Some(text) = place.captured_text(captured) else {
        if expected.keys.is_empty() && secret.origin == SecretOrigin::Optional {
            return SignatureFound::Absent;
        }
        return wrong(None, Some(rule.value.to_string()), "is not signed, as Postrider's are".to_owned());
    };
    let Some(ours) = place.text_of(made) else {
        if let SignaturePlace::Header(name) = place
            && let Some(theirs) = captured.header(name)
        {
            made.headers.push(Header { name: name.into(), value: theirs.value.clone() });
        }
        let covered = Covered { query: &place.signed_query(captured), body: &captured.body };
        return match has_our_form(expected, rule, secret, (context, covered, place), &text) {
            Ok(()) => SignatureFound::FormAlone,
            Err(detail) => wrong(Some(text), Some(rule.value.to_string()), detail),
        };
    };
    let query = query_of(&captured.url);
    let request = ReceivedRequest { headers: &captured.headers, query, body: &captured.body };
    let keys: Vec<VerifyingKey> = expected.keys.iter().map(SigningKey::verifying).collect();
    match verify(&expected.profile, &expected.overrides, request, &keys, context.started_at) {
        Ok(()) => SignatureFound::Verified,
        Err(failure) => {
            wrong(Some(text), Some(ours), format!("does not verify with the given secret: {failure}"))
        }
    }
}

/// Compares with what keys that nobody uses, one of each kind that the profile takes, make of the same request.
fn has_our_form(
    expected: &Expected,
    rule: &SignatureRule,
    secret: &SecretRule,
    (context, covered, place): (&RequestContext<'_>, Covered<'_>, SignaturePlace<'_>),
    theirs: &str,
) -> Result<(), String> {
    let mut models: Vec<(&Pattern<EachVariable>, String)> = Vec::new();
    let stand_ins = [
        Some((&rule.each, secret.generate(&SystemEntropy))),
        rule.each_ed25519.as_ref().zip(secret.generate_key_pair(&SystemEntropy)),
    ];
    for (each, stand_in) in stand_ins.into_iter().flatten() {
        let stand_in = SigningKey::parse(stand_in.reveal(), secret);
        let stand_in = stand_in.map_err(|error| format!("cannot be compared: a generated secret {error}"))?;
        let made = signed_request(&expected.profile, &expected.overrides, context, covered, &[stand_in]);
        let ours = place.text_of(&made).unwrap_or_default();
        let model = signatures(&rule.value, &ours).and_then(|one| signature(each, one)).unwrap_or_default();
        models.push((each, model.to_owned()));
    }
    let Some(theirs) = signatures(&rule.value, theirs) else {
        return Err(format!("is not of the form {}", rule.value));
    };
    let each = match rule.separator.as_deref() {
        Some(separator) => theirs.split(separator).collect(),
        None => vec![theirs],
    };
    for one in each {
        let read = models.iter().find_map(|(each, model)| Some((signature(each, one)?, model)));
        let Some((text, model)) = read else {
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
