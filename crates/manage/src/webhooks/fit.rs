//! Does a webhook fit a profile? What no single field shows: headers that would meet, a body of its own form under a
//! content type that is none of it, waits and limits out of the profile's bounds, a secret that is not one of the
//! profile's.

use postrider_contract::ids::TenantId;
use postrider_contract::profile::{CompiledProfile, Method, SecretOrigin};
use postrider_contract::query_string::{count_parameters, parameter_names};
use postrider_contract::signature::SigningKey;
use postrider_contract::tenant::Tenant;
use postrider_contract::webhook::{Webhook, WebhookKind};
use postrider_service::problem::{FieldErrors, Problem, pointer_step};
use postrider_service::webhook_secrets::{SecretPlace, WebhookSecrets};

use crate::state::ManageState;

/// Notes whatever does not fit, by its field.
pub(super) fn check(
    webhook: &Webhook,
    profile: &CompiledProfile,
    secrets: &WebhookSecrets<'_>,
    errors: &mut FieldErrors,
) {
    check_request(webhook, profile, errors);
    check_query(webhook, profile, errors);
    check_secret(webhook, profile, secrets, errors);
}

/// The same without its signature: with what it is made, of what, and where it stands.
pub(super) fn check_request(webhook: &Webhook, profile: &CompiledProfile, errors: &mut FieldErrors) {
    check_headers(webhook, profile, errors);
    check_own_form(webhook, profile, errors);
    let overrides = &webhook.overrides;
    if let Err(error) = profile.check_override(overrides) {
        let pointer = match error.path.as_str() {
            "waits" => "/retry/waits",
            "time_limit" => "/timeout_ms",
            "signature_header" => "/signature_header",
            _ => "",
        };
        errors.add(pointer, error.detail);
    }
}

/// What is signed of the query must be there, and where the signature will stand must be free; in a postback, whatever
/// its macros will be.
fn check_query(webhook: &Webhook, profile: &CompiledProfile, errors: &mut FieldErrors) {
    let query = webhook.url.query().unwrap_or_default();
    let signed = profile.signed_parameters();
    for name in &signed {
        if count_parameters(query, name) != 1 {
            let detail =
                format!("must have the query parameter {name} once: the profile {} signs it", profile.name());
            errors.add("/url", detail);
        }
    }
    let own = profile.signature_parameter().filter(|name| count_parameters(query, name.as_str()) > 0);
    if let Some(name) = own {
        let detail = format!("has the query parameter {name}, in which the profile {} signs", profile.name());
        errors.add("/url", detail);
    }
    let counts_on_names = profile.signature_parameter().is_some() || !signed.is_empty();
    let is_macro = |name: &str| webhook.kind == WebhookKind::Postback && name.contains('{');
    if let Some(name) = parameter_names(query).find(|name| counts_on_names && is_macro(name)) {
        let detail = format!(
            "has a macro in a parameter's name, {name}: it could become one that the profile {} signs, or signs in",
            profile.name()
        );
        errors.add("/url", detail);
    }
}

fn check_headers(webhook: &Webhook, profile: &CompiledProfile, errors: &mut FieldErrors) {
    let is_profiles = |name: &str| profile.sets_header(name, &webhook.overrides);
    let of_authentication = webhook.authentication.header();
    for header in &webhook.headers {
        let pointer = format!("/headers/{}", pointer_step(&header.name));
        if is_profiles(&header.name) {
            errors.add(pointer, format!("{} is a header of the profile {}", header.name, profile.name()));
        } else if of_authentication.is_some_and(|name| name.eq_ignore_ascii_case(&header.name)) {
            errors.add(pointer, format!("{} is set by auth_type already", header.name));
        }
    }
    if let Some(name) = of_authentication
        && is_profiles(name)
    {
        errors.add("/api_key_header", format!("{name} is a header of the profile {}", profile.name()));
    }
}

/// A body of the webhook's own form goes out under the profile's method and content type, which must not belie it.
fn check_own_form(webhook: &Webhook, profile: &CompiledProfile, errors: &mut FieldErrors) {
    match webhook.kind {
        WebhookKind::Webhook => {}
        // What it sends is no event in an envelope.
        WebhookKind::Postback => return,
    }
    let (name, method) = (profile.name(), profile.definition().request.method);
    let is_plain_json = profile.sends_plain_json();
    if webhook.template.is_some() && !is_plain_json {
        let detail = format!("makes application/json, and the profile {name} sends another content type");
        errors.add("/template", detail);
    }
    let provider = webhook.provider();
    if provider.has_own_format() && !(is_plain_json && method == Method::Post) {
        let detail = format!(
            "{provider} takes application/json by POST, and the profile {name} sends otherwise: choose another \
             profile, or the provider webhook"
        );
        errors.add("/provider", detail);
    }
}

fn check_secret(
    webhook: &Webhook,
    profile: &CompiledProfile,
    secrets: &WebhookSecrets<'_>,
    errors: &mut FieldErrors,
) {
    let Some(rule) = &profile.definition().secret else { return };
    let Some(sealed) = &webhook.secrets.current else {
        match rule.origin {
            SecretOrigin::Optional => {}
            SecretOrigin::Generated | SecretOrigin::Required => {
                errors
                    .add("/secret", format!("the profile {} signs, and there is no secret", profile.name()));
            }
        }
        return;
    };
    match secrets.open(SecretPlace::Signing, sealed) {
        // Where any text is a secret, the private half of a pair would be one too: one that no receiver has.
        Ok(secret) => match SigningKey::parse(secret.reveal(), rule) {
            Ok(key) if key.public_text(rule) == webhook.secrets.public_key => {}
            Ok(_) => errors.add(
                "/secret",
                "is of another kind than receivers of this profile know; give a new one along",
            ),
            Err(error) => errors.add("/secret", error.to_string()),
        },
        Err(error) => {
            tracing::error!(%error, webhook.id = %webhook.id, "a stored signing secret does not open");
            errors.add("/secret", "the stored one cannot be read any more; give a new one along");
        }
    }
}

/// Whether the tenant's webhooks that name no profile of their own fit the tenant's.
///
/// # Errors
/// 422 that names the first webhook that does not.
pub(crate) fn check_tenant(state: &ManageState, tenant: &Tenant) -> Result<(), Problem> {
    let Some(profile) = state.directory().offered_profile(&tenant.profile) else {
        return Err(Problem::invalid_field("/profile", "is not there any more"));
    };
    let Some(view) = state.directory().tenant(&tenant.id).known() else { return Ok(()) };
    for entry in view.webhooks.iter().filter(|entry| entry.webhook.profile.is_none()) {
        if let Err(problem) = judge(state, &tenant.id, &entry.webhook, &profile.profile) {
            let detail = format!("webhook {} does not fit it: {}", entry.webhook.id, problem.detail());
            return Err(Problem::invalid_field("/profile", detail));
        }
    }
    Ok(())
}

/// Whether the webhooks whose deliveries a profile rules still fit it when it is written so.
///
/// # Errors
/// 422 that names the first webhook that would not.
pub(crate) fn check_profile(state: &ManageState, profile: &CompiledProfile) -> Result<(), Problem> {
    for entry in state.directory().webhooks_with_profile(profile.name()) {
        let Webhook { id, tenant, .. } = &entry.webhook;
        if let Err(problem) = judge(state, tenant, &entry.webhook, profile) {
            let detail = format!("webhook {id} of tenant {tenant} would not fit it: {}", problem.detail());
            return Err(Problem::invalid_field("", detail));
        }
    }
    Ok(())
}

fn judge(
    state: &ManageState,
    tenant: &TenantId,
    webhook: &Webhook,
    profile: &CompiledProfile,
) -> Result<(), Problem> {
    let mut errors = FieldErrors::default();
    let secrets = WebhookSecrets::new(&state.parts().secret_box, tenant, webhook.id);
    check(webhook, profile, &secrets, &mut errors);
    errors.into_result()
}
