//! How a webhook's requests say who they are: from what a request says to what is stored.

use postrider_contract::own_header::{check_header_name, check_header_value};
use postrider_contract::secret::{SealedSecret, Secret};
use postrider_contract::webhook::Authentication;
use postrider_service::problem::FieldErrors;
use postrider_service::webhook_secrets::SecretPlace;

use super::apply::Sealing;
use super::fields::{AuthenticationType, WebhookFields};
use crate::field_change::FieldChange;

const MAX_USERNAME: usize = 256;
const MAX_PASSWORD: usize = 1024;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
enum InvalidCredential {
    #[error("must be 1 to {max} bytes long")]
    Length { max: usize },
    #[error("may not hold control characters")]
    Control,
    #[error("may not hold a colon, which ends the name in HTTP's basic authentication")]
    Colon,
    #[error("may hold visible ASCII characters only")]
    Token,
}

/// What stands after the change. Credentials that are not given stay, as long as the type does.
pub(super) fn read_authentication(
    fields: &WebhookFields,
    before: Authentication,
    sealing: &Sealing<'_>,
    errors: &mut FieldErrors,
) -> Authentication {
    let wanted = match fields.auth_type {
        FieldChange::Keep => type_of(&before),
        FieldChange::Clear => AuthenticationType::None,
        FieldChange::Set(wanted) => wanted,
    };
    refuse_others(fields, wanted, errors);
    let read = match wanted {
        AuthenticationType::None => Some(Authentication::None),
        AuthenticationType::Bearer => read_bearer(fields, &before, sealing, errors),
        AuthenticationType::Basic => read_basic(fields, &before, sealing, errors),
        AuthenticationType::ApiKey => read_api_key(fields, &before, sealing, errors),
    };
    // With an error noted nothing is stored, so what is answered here does not matter.
    read.unwrap_or(before)
}

fn type_of(authentication: &Authentication) -> AuthenticationType {
    match authentication {
        Authentication::None => AuthenticationType::None,
        Authentication::Bearer { .. } => AuthenticationType::Bearer,
        Authentication::Basic { .. } => AuthenticationType::Basic,
        Authentication::ApiKey { .. } => AuthenticationType::ApiKey,
    }
}

/// A credential of another type is a mistake, not something to drop in silence.
fn refuse_others(fields: &WebhookFields, wanted: AuthenticationType, errors: &mut FieldErrors) {
    let given = [
        ("/auth_token", fields.auth_token.given().is_some(), AuthenticationType::Bearer),
        ("/auth_username", fields.auth_username.given().is_some(), AuthenticationType::Basic),
        ("/auth_password", fields.auth_password.given().is_some(), AuthenticationType::Basic),
        ("/api_key_header", fields.api_key_header.given().is_some(), AuthenticationType::ApiKey),
        ("/api_key_value", fields.api_key_value.given().is_some(), AuthenticationType::ApiKey),
    ];
    for (pointer, is_given, belongs_to) in given {
        if is_given && belongs_to != wanted {
            errors.add(pointer, format!("goes with auth_type {}, not {}", word(belongs_to), word(wanted)));
        }
    }
}

fn word(authentication: AuthenticationType) -> &'static str {
    match authentication {
        AuthenticationType::None => "none",
        AuthenticationType::Bearer => "bearer",
        AuthenticationType::Basic => "basic",
        AuthenticationType::ApiKey => "api_key",
    }
}

fn read_bearer(
    fields: &WebhookFields,
    before: &Authentication,
    sealing: &Sealing<'_>,
    errors: &mut FieldErrors,
) -> Option<Authentication> {
    let present = if let Authentication::Bearer { token } = before { Some(token) } else { None };
    let token = match credential("/auth_token", &fields.auth_token, present, errors)? {
        Credential::Kept(token) => token.clone(),
        Credential::New(token) => {
            errors.check("/auth_token", check_token(token))?;
            sealing.seal(SecretPlace::BearerToken, token)
        }
    };
    Some(Authentication::Bearer { token })
}

fn read_basic(
    fields: &WebhookFields,
    before: &Authentication,
    sealing: &Sealing<'_>,
    errors: &mut FieldErrors,
) -> Option<Authentication> {
    let present = if let Authentication::Basic { username, password } = before {
        Some((username, password))
    } else {
        None
    };
    let username = match &fields.auth_username {
        FieldChange::Keep => present.map(|(username, _)| username.clone()),
        FieldChange::Clear => None,
        FieldChange::Set(text) => Some(errors.check("/auth_username", check_username(text))?),
    };
    if username.is_none() {
        errors.add("/auth_username", "is required");
    }
    let kept = present.map(|(_, password)| password);
    let password = match credential("/auth_password", &fields.auth_password, kept, errors)? {
        Credential::Kept(password) => password.clone(),
        Credential::New(password) => {
            errors.check("/auth_password", check_plain(password.reveal(), MAX_PASSWORD))?;
            sealing.seal(SecretPlace::BasicPassword, password)
        }
    };
    username.map(|username| Authentication::Basic { username, password })
}

fn read_api_key(
    fields: &WebhookFields,
    before: &Authentication,
    sealing: &Sealing<'_>,
    errors: &mut FieldErrors,
) -> Option<Authentication> {
    let present =
        if let Authentication::ApiKey { header, value } = before { Some((header, value)) } else { None };
    let header = match &fields.api_key_header {
        FieldChange::Keep => present.map(|(header, _)| header.clone()),
        FieldChange::Clear => None,
        FieldChange::Set(text) => {
            Some(errors.check("/api_key_header", check_header_name(text))?.as_str().to_owned())
        }
    };
    if header.is_none() {
        errors.add("/api_key_header", "is required");
    }
    let kept = present.map(|(_, value)| value);
    let value = match credential("/api_key_value", &fields.api_key_value, kept, errors)? {
        Credential::Kept(value) => value.clone(),
        Credential::New(value) => {
            errors.check("/api_key_value", check_header_value(value))?;
            sealing.seal(SecretPlace::ApiKeyValue, value)
        }
    };
    header.map(|header| Authentication::ApiKey { header, value })
}

enum Credential<'a> {
    Kept(&'a SealedSecret),
    New(&'a Secret),
}

fn credential<'a>(
    pointer: &str,
    change: &'a FieldChange<Secret>,
    present: Option<&'a SealedSecret>,
    errors: &mut FieldErrors,
) -> Option<Credential<'a>> {
    let credential = match change {
        FieldChange::Keep => present.map(Credential::Kept),
        FieldChange::Clear => None,
        FieldChange::Set(secret) => Some(Credential::New(secret)),
    };
    if credential.is_none() {
        errors.add(pointer, "is required");
    }
    credential
}

fn check_token(token: &Secret) -> Result<(), InvalidCredential> {
    let text = token.reveal();
    check_plain(text, 4 * MAX_PASSWORD)?;
    if text.bytes().all(|byte| byte.is_ascii_graphic()) { Ok(()) } else { Err(InvalidCredential::Token) }
}

fn check_username(text: &str) -> Result<String, InvalidCredential> {
    check_plain(text, MAX_USERNAME)?;
    if text.contains(':') { Err(InvalidCredential::Colon) } else { Ok(text.to_owned()) }
}

fn check_plain(text: &str, max: usize) -> Result<(), InvalidCredential> {
    if text.is_empty() || text.len() > max {
        return Err(InvalidCredential::Length { max });
    }
    if text.chars().any(char::is_control) { Err(InvalidCredential::Control) } else { Ok(()) }
}
