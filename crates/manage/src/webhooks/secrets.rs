//! A webhook's signing secrets, by its profile's rule: brought along or made here, shown at most once.

use std::time::Duration;

use postrider_contract::clock::Timestamp;
use postrider_contract::profile::{CompiledProfile, SecretForm, SecretOrigin, SecretRule};
use postrider_contract::secret::Secret;
use postrider_contract::signature::{InvalidSecret, SigningKey};
use postrider_contract::webhook::{PreviousSecret, SigningSecrets};
use postrider_service::problem::{Code, FieldErrors, Problem};
use postrider_service::webhook_secrets::SecretPlace;
use serde::Deserialize;

use super::apply::Sealing;
use super::fields::Named;
use crate::field_change::FieldChange;

/// As many signatures as common receivers are ready to read.
pub(super) const MAX_ACTIVE: usize = 3;
/// How much of a secret may be shown, and how long one must be for that to tell nothing.
const HINT: usize = 4;
const LENGTH_FOR_HINT: usize = 16;

/// The secrets after a change, and the one that was made here, if one was.
pub(super) struct Settled {
    pub(super) secrets: SigningSecrets,
    pub(super) made: Option<Secret>,
}

impl Settled {
    /// With a secret that was made here. The private half of a key pair is for nobody else: its public half is shown.
    fn made(secret: Secret, rule: &SecretRule, sealing: &Sealing<'_>) -> Self {
        let secrets = only(&secret, rule, sealing);
        let made = secrets.public_key.is_none().then_some(secret);
        Settled { secrets, made }
    }
}

/// What a caller's `secret` means under a profile.
pub(super) fn settle(
    Named { pointer, change }: Named<'_, Secret>,
    before: SigningSecrets,
    profile: &CompiledProfile,
    sealing: &Sealing<'_>,
    errors: &mut FieldErrors,
) -> Settled {
    let Some(rule) = &profile.definition().secret else {
        if change.given().is_some() {
            errors.add(pointer, format!("the profile {} does not sign", profile.name()));
        }
        return Settled { secrets: before, made: None };
    };
    let has_one = before.current.is_some();
    match change {
        FieldChange::Set(secret) => {
            errors.check(pointer, SigningKey::parse(secret.reveal(), rule));
            Settled { secrets: only(secret, rule, sealing), made: None }
        }
        FieldChange::Keep if has_one => Settled { secrets: before, made: None },
        FieldChange::Clear if has_one && rule.origin != SecretOrigin::Optional => {
            errors.add(pointer, "cannot be removed in this profile; rotate makes a new one");
            Settled { secrets: before, made: None }
        }
        FieldChange::Keep | FieldChange::Clear => match rule.origin {
            SecretOrigin::Generated => {
                let secret = rule.generate(sealing.entropy());
                Settled::made(secret, rule, sealing)
            }
            SecretOrigin::Optional => Settled { secrets: SigningSecrets::default(), made: None },
            SecretOrigin::Required => {
                errors.add(pointer, "is required by this profile");
                Settled { secrets: before, made: None }
            }
        },
    }
}

fn only(secret: &Secret, rule: &SecretRule, sealing: &Sealing<'_>) -> SigningSecrets {
    let current = Some(sealing.seal(SecretPlace::Signing, secret));
    // One that is not the profile's is refused by whoever asked for it, and not stored.
    let public_key = SigningKey::parse(secret.reveal(), rule).ok().and_then(|key| key.public_text(rule));
    SigningSecrets { current, previous: Vec::new(), hint: hint(secret), public_key }
}

/// The last characters, where what is left hidden is still long enough.
fn hint(secret: &Secret) -> Option<String> {
    let text = secret.reveal();
    let last: Vec<char> = text.chars().rev().take(HINT).collect();
    (text.len() >= LENGTH_FOR_HINT).then(|| last.into_iter().rev().collect())
}

/// What kind of secret is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum SecretKind {
    /// Known to the receiver too.
    Shared,
    /// An Ed25519 key, of which the receiver knows the public half.
    Ed25519,
}

/// A rotation: a new secret, and for how long the old ones go on beside it.
pub(super) struct Rotation<'a> {
    pub(super) given: Option<&'a Secret>,
    /// Of one that is made here; absent: as the profile says.
    pub(super) kind: Option<SecretKind>,
    pub(super) overlap: Duration,
    pub(super) now: Timestamp,
}

/// The secrets after a rotation: the new one first. Without overlap every older one ends at once.
///
/// # Errors
/// 422 for a secret that is not one of the profile, an overlap where receivers read one signature only, or in a
/// profile that does not sign; 409 if too many would sign at once.
pub(super) fn rotate(
    before: &SigningSecrets,
    rotation: &Rotation<'_>,
    profile: &CompiledProfile,
    sealing: &Sealing<'_>,
) -> Result<Settled, Problem> {
    let Some(rule) = &profile.definition().secret else {
        let detail = format!("the profile {} does not sign: there is no secret to rotate", profile.name());
        return Err(Problem::new(Code::InvalidRequest, detail));
    };
    let Settled { secrets: mut after, made } = new_secret(rotation, rule, profile, sealing)?;
    if !rotation.overlap.is_zero() {
        if !profile.signs_with_several() {
            let detail = "receivers of this profile read one signature: the old secret ends at once";
            return Err(Problem::invalid_field("/overlap_seconds", detail));
        }
        let until = rotation.now.plus(rotation.overlap);
        after.previous.extend(before.current.clone().map(|secret| PreviousSecret {
            secret,
            until,
            public_key: before.public_key.clone(),
        }));
        let still_signing = before.previous.iter().filter(|previous| rotation.now < previous.until);
        after.previous.extend(still_signing.cloned());
        if 1 + after.previous.len() > MAX_ACTIVE {
            let detail =
                format!("{MAX_ACTIVE} secrets sign already; rotate without overlap, or wait until one ends");
            return Err(Problem::new(Code::Conflict, detail));
        }
    }
    Ok(Settled { secrets: after, made })
}

fn new_secret(
    rotation: &Rotation<'_>,
    rule: &SecretRule,
    profile: &CompiledProfile,
    sealing: &Sealing<'_>,
) -> Result<Settled, Problem> {
    if let Some(secret) = rotation.given {
        if rotation.kind.is_some() {
            return Err(Problem::invalid_field("/secret_type", "is for a secret that is made here"));
        }
        let refused = |error: InvalidSecret| Problem::invalid_field("/secret", error.to_string());
        SigningKey::parse(secret.reveal(), rule).map_err(refused)?;
        return Ok(Settled { secrets: only(secret, rule, sealing), made: None });
    }
    let secret = match rotation.kind {
        None => Some(rule.generate(sealing.entropy())),
        Some(SecretKind::Shared) => {
            (rule.form != SecretForm::Ed25519).then(|| rule.generate(sealing.entropy()))
        }
        Some(SecretKind::Ed25519) => rule.generate_key_pair(sealing.entropy()),
    };
    let refused = || {
        let detail = format!("receivers of the profile {} know no such secret", profile.name());
        Problem::invalid_field("/secret_type", detail)
    };
    Ok(Settled::made(secret.ok_or_else(refused)?, rule, sealing))
}
