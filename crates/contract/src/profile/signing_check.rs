//! Does a profile's signing hold together? What no single value shows: that receivers can verify what is signed, and
//! that the secrets are such as the algorithm takes.

use super::compiled::{MAX_HEADER_BYTES, check_header_text};
use super::secret_rule::MAX_SECRET_BYTES;
use super::{Algorithm, InvalidProfile, Profile, RequestRule, SecretForm, SecretRule, SignatureRule};
use crate::pattern::{Pattern, Variable};
use crate::signature::{EachVariable, SignedVariable, ValueVariable};

/// Keys shorter than 16 bytes can be guessed; longer than 64 they are hashed down by HMAC-SHA-256.
const GENERATED_BYTES: std::ops::RangeInclusive<usize> = 16..=64;
/// Separators in use have one or two bytes.
pub(super) const MAX_SEPARATOR: usize = 16;
/// Of a secret; those in use have five or six.
const MAX_PREFIX: usize = 32;

pub(super) fn check_signing(profile: &Profile) -> Result<(), InvalidProfile> {
    match (&profile.signature, &profile.secret) {
        (Some(signature), Some(secret)) => {
            check_place(signature, &profile.request)?;
            check_value(signature)?;
            check_signed(signature, &profile.request)?;
            check_key_pairs(signature, secret)?;
            check_secret(secret)
        }
        (Some(_), None) => Err(InvalidProfile::at("secret", "is needed to sign")),
        (None, Some(_)) => Err(InvalidProfile::at("secret", "is of no use without a signature")),
        (None, None) => Ok(()),
    }
}

fn check_place(rule: &SignatureRule, request: &RequestRule) -> Result<(), InvalidProfile> {
    match (&rule.header, &rule.query_parameter) {
        (Some(name), None) if request.headers.iter().any(|header| header.name == *name) => {
            Err(InvalidProfile::at("signature.header", format!("{name} is among request.headers")))
        }
        (Some(_), None) => Ok(()),
        (None, Some(_)) if rule.header_configurable => {
            let detail = "is of no use where the signature stands in the query";
            Err(InvalidProfile::at("signature.header_configurable", detail))
        }
        (None, Some(_)) => Ok(()),
        (Some(_), Some(_)) => {
            let detail = "cannot be given beside header: the signature stands in one place";
            Err(InvalidProfile::at("signature.query_parameter", detail))
        }
        (None, None) => Err(InvalidProfile::at("signature.header", "is missing, or query_parameter is")),
    }
}

/// What the header or the parameter holds.
fn check_value(rule: &SignatureRule) -> Result<(), InvalidProfile> {
    once("signature.each", &rule.each, EachVariable::Signature)?;
    once("signature.value", &rule.value, ValueVariable::Signatures)?;
    check_header_text("signature.each", rule.each.literals())?;
    if let Some(each) = &rule.each_ed25519 {
        once("signature.each_ed25519", each, EachVariable::Signature)?;
        check_header_text("signature.each_ed25519", each.literals())?;
        if *each == rule.each {
            let detail = "must differ from each: receivers tell the two kinds of signature apart by it";
            return Err(InvalidProfile::at("signature.each_ed25519", detail));
        }
    }
    let eaches = [Some(&rule.each), rule.each_ed25519.as_ref()].into_iter().flatten();
    let around = eaches.flat_map(Pattern::literals).chain(rule.value.literals()).map(str::len).sum::<usize>();
    if around > MAX_HEADER_BYTES {
        let detail = format!("must have at most {MAX_HEADER_BYTES} bytes around the signatures");
        return Err(InvalidProfile::at("signature.value", detail));
    }
    check_header_text("signature.value", rule.value.literals())?;
    check_header_text("signature.separator", rule.separator.as_deref().into_iter())?;
    if rule.separator.as_ref().is_some_and(|text| text.is_empty() || text.len() > MAX_SEPARATOR) {
        let detail = format!("must have 1 to {MAX_SEPARATOR} bytes");
        return Err(InvalidProfile::at("signature.separator", detail));
    }
    Ok(())
}

/// The signed bytes: of the request, and all of it such as receivers can put together again.
fn check_signed(rule: &SignatureRule, request: &RequestRule) -> Result<(), InvalidProfile> {
    let refused = |detail: String| Err(InvalidProfile::at("signature.signs", detail));
    let count = |wanted: &SignedVariable| rule.signs.variables().filter(|used| used == wanted).count();
    let (body, query) = (count(&SignedVariable::Body), count(&SignedVariable::Query));
    if body > 1 || query > 1 {
        return refused("may hold ${body} and ${query} once each".to_owned());
    }
    let has_parameter = rule.signs.variables().any(|variable| variable.parameter().is_some());
    if body == 0 && query == 0 && !has_parameter {
        return refused("must hold ${body}, ${query} or a parameter: ${query.NAME}".to_owned());
    }
    match (rule.algorithm.is_plain_hash(), count(&SignedVariable::Secret)) {
        (true, 1) | (false, 0) => {}
        (true, _) => {
            return refused("must hold ${secret} exactly once: a plain hash has no other key".to_owned());
        }
        (false, _) => return refused("may hold ${secret} with a plain hash alone".to_owned()),
    }
    for variable in rule.signs.variables() {
        let own = rule.query_parameter.as_ref().map(|name| name.as_str());
        if variable.parameter().is_some_and(|signed| Some(signed.name()) == own) {
            return refused(format!("cannot hold {}: the signature itself stands there", variable.name()));
        }
        let Some(text) = variable.text() else { continue };
        let in_value = rule.value.uses(ValueVariable::Text(text));
        if !in_value && !request.headers.iter().any(|header| header.value.uses(text)) {
            return refused(format!("no header carries {}: receivers could not verify it", text.name()));
        }
    }
    let mut signed_texts = rule.signs.variables().filter_map(|variable| variable.text());
    if rule.replay_window.is_some() && !signed_texts.any(|variable| variable.time_unit().is_some()) {
        return Err(InvalidProfile::at("signature.replay_window", "needs a signed timestamp"));
    }
    Ok(())
}

fn once<V: Variable>(path: &str, pattern: &Pattern<V>, variable: V) -> Result<(), InvalidProfile> {
    match pattern.variables().filter(|used| *used == variable).count() {
        1 => Ok(()),
        _ => Err(InvalidProfile::at(path, format!("must hold {} exactly once", variable.name()))),
    }
}

/// Where Ed25519 keys sign, and by what such a secret is told from a shared one.
fn check_key_pairs(signature: &SignatureRule, secret: &SecretRule) -> Result<(), InvalidProfile> {
    let signs_with_pairs_alone = signature.algorithm == Algorithm::Ed25519;
    if signs_with_pairs_alone != (secret.form == SecretForm::Ed25519) {
        return Err(InvalidProfile::at(
            "secret.form",
            "must be ed25519 with the algorithm ed25519, and only then",
        ));
    }
    if signs_with_pairs_alone && signature.each_ed25519.is_some() {
        let detail = "is of use only beside an algorithm of shared secrets";
        return Err(InvalidProfile::at("signature.each_ed25519", detail));
    }
    let takes_pairs = signs_with_pairs_alone || signature.each_ed25519.is_some();
    match (&signature.each_ed25519, &secret.key_pair_prefix) {
        (None, None) => {}
        (Some(_), Some(prefix)) => {
            let meets = |other: &str| prefix.starts_with(other) || other.starts_with(prefix.as_str());
            if prefix.is_empty() || (!secret.prefix.is_empty() && meets(&secret.prefix)) {
                let detail = "must tell such a secret from one that begins with secret.prefix";
                return Err(InvalidProfile::at("secret.key_pair_prefix", detail));
            }
        }
        (Some(_), None) => {
            let detail = "is needed with signature.each_ed25519";
            return Err(InvalidProfile::at("secret.key_pair_prefix", detail));
        }
        (None, Some(_)) => {
            let detail = "is of no use without signature.each_ed25519";
            return Err(InvalidProfile::at("secret.key_pair_prefix", detail));
        }
    }
    if takes_pairs == secret.public_key_prefix.is_empty() {
        let detail = "is needed where Ed25519 keys sign, and only there";
        return Err(InvalidProfile::at("secret.public_key_prefix", detail));
    }
    let private = secret.key_pair_prefix.as_ref().unwrap_or(&secret.prefix);
    if takes_pairs && (private == &secret.public_key_prefix || secret.prefix == secret.public_key_prefix) {
        let detail = "must differ from the prefixes of secrets, which nobody else may know";
        return Err(InvalidProfile::at("secret.public_key_prefix", detail));
    }
    Ok(())
}

fn check_secret(rule: &SecretRule) -> Result<(), InvalidProfile> {
    if rule.minimum_bytes == 0
        || rule.maximum_bytes > MAX_SECRET_BYTES
        || rule.minimum_bytes > rule.maximum_bytes
    {
        let detail = format!("minimum and maximum must be between 1 and {MAX_SECRET_BYTES}, in that order");
        return Err(InvalidProfile::at("secret.minimum_bytes", detail));
    }
    if !GENERATED_BYTES.contains(&rule.generated_bytes) {
        let detail = format!("must be between {} and {}", GENERATED_BYTES.start(), GENERATED_BYTES.end());
        return Err(InvalidProfile::at("secret.generated_bytes", detail));
    }
    // A text's key is its prefix and two hexadecimal digits a byte. An Ed25519 key's length is not for choosing.
    let key_length = match rule.form {
        SecretForm::Text => Some(rule.prefix.len() + 2 * rule.generated_bytes),
        SecretForm::Base64 | SecretForm::Hex => Some(rule.generated_bytes),
        SecretForm::Ed25519 => None,
    };
    if key_length.is_some_and(|length| !(rule.minimum_bytes..=rule.maximum_bytes).contains(&length)) {
        let detail = "a generated secret would be refused by the minimum or the maximum";
        return Err(InvalidProfile::at("secret.generated_bytes", detail));
    }
    let prefixes = [
        ("secret.prefix", rule.prefix.as_str()),
        ("secret.key_pair_prefix", rule.key_pair_prefix.as_deref().unwrap_or_default()),
        ("secret.public_key_prefix", rule.public_key_prefix.as_str()),
    ];
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    for (path, prefix) in prefixes {
        if prefix.len() > MAX_PREFIX || !prefix.bytes().all(is_plain) {
            let detail = format!("must be at most {MAX_PREFIX} letters, digits, - and _");
            return Err(InvalidProfile::at(path, detail));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
