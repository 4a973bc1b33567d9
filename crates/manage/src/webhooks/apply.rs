//! What a request says, applied to a webhook: the one place where a webhook's fields are read, for making one and
//! for changing one.

use std::collections::BTreeMap;
use std::num::{NonZeroU16, NonZeroU32};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use postrider_contract::clock::{Entropy, Timestamp};
use postrider_contract::egress::{RefusedUrl, WebhookUrl};
use postrider_contract::ids::{TenantId, WebhookId};
use postrider_contract::profile::{CompiledProfile, HeaderName, ProfileName};
use postrider_contract::secret::{SealedSecret, Secret};
use postrider_contract::subscription::{MAX_PATTERNS, TypePattern};
use postrider_contract::webhook::{Webhook, WebhookKind, WebhookState};
use postrider_service::problem::{FieldErrors, Problem};
use postrider_service::secret_box::SecretBox;
use postrider_service::webhook_secrets::{SecretPlace, WebhookSecrets};

use super::authentication::read_authentication;
use super::fields::{WebhookFields, WrittenStatus};
use super::headers::read_headers;
use super::{filter, fit, postback, secrets, template, text_quota};
use crate::field_change::FieldChange;
use crate::names::{check_description, check_name};
use crate::state::ManageState;
use crate::tenants::known_profile;

/// What every profile allows; each may allow less.
const TIMEOUT_MILLIS: RangeInclusive<u64> = 100..=60_000;
const MAX_METADATA: usize = 50;
const MAX_METADATA_NAME: usize = 64;
const MAX_METADATA_VALUE: usize = 500;

/// Seals the secrets of one webhook.
pub(super) struct Sealing<'a> {
    secrets: WebhookSecrets<'a>,
    entropy: &'a dyn Entropy,
}

impl<'a> Sealing<'a> {
    pub(super) fn new(state: &'a ManageState, tenant: &'a TenantId, webhook: WebhookId) -> Self {
        let parts = state.parts();
        Sealing::of((tenant, webhook), &parts.secret_box, &*parts.entropy)
    }

    pub(super) fn of(
        (tenant, webhook): (&'a TenantId, WebhookId),
        secret_box: &'a SecretBox,
        entropy: &'a dyn Entropy,
    ) -> Self {
        Sealing { secrets: WebhookSecrets::new(secret_box, tenant, webhook), entropy }
    }

    pub(super) fn seal(&self, place: SecretPlace<'_>, secret: &Secret) -> SealedSecret {
        self.secrets.seal(place, secret, self.entropy)
    }

    pub(super) fn entropy(&self) -> &dyn Entropy {
        self.entropy
    }
}

/// A webhook after a change, and the secret that was made on the way, to be shown once.
pub(super) struct Applied {
    pub(super) webhook: Webhook,
    pub(super) made_secret: Option<Secret>,
}

/// Applies what a request says. `updated_at` is left alone. `errors` holds what was found wrong before.
///
/// # Errors
/// 422 with every field that is wrong, or that does not fit the webhook's profile.
pub(super) fn apply(
    state: &ManageState,
    fields: &WebhookFields,
    before: &Webhook,
    mut errors: FieldErrors,
) -> Result<Applied, Problem> {
    let mut after = before.clone();
    let sealing = Sealing::new(state, &before.tenant, before.id);
    check_tenant(fields, before, &mut errors);
    check_kind(fields, before.kind, &mut errors);
    apply_members(fields, &mut after, &sealing, |text| state.parts().url_rule.check(text), &mut errors);
    apply_status(fields, &mut after, state.parts().clock.now(), &mut errors);
    match &fields.profile {
        FieldChange::Keep => {}
        FieldChange::Clear => after.profile = None,
        FieldChange::Set(text) => after.profile = known_profile(text, state.directory(), &mut errors),
    }
    let secret = fields.secret(&mut errors);
    // Below, things are judged together: only what is right by itself.
    errors.into_result()?;
    let mut errors = FieldErrors::default();
    let profile = profile_of(state, &after.tenant, after.profile.as_ref())?;
    let settled = secrets::settle(secret, after.secrets, &profile, &sealing, &mut errors);
    after.secrets = settled.secrets;
    if errors.is_empty() {
        fit::check(&after, &profile, &sealing.secrets, &mut errors);
        text_quota::check(state, fields, before, &after, &mut errors);
    }
    errors.into_result()?;
    Ok(Applied { webhook: after, made_secret: settled.made })
}

/// What a request says of a webhook by itself, whatever the installation: all but its profile, secret and status.
pub(super) fn apply_members(
    fields: &WebhookFields,
    after: &mut Webhook,
    sealing: &Sealing<'_>,
    read_url: impl FnOnce(&str) -> Result<WebhookUrl, RefusedUrl>,
    errors: &mut FieldErrors,
) {
    postback::apply(fields, after, errors);
    apply_url(fields, after, read_url, errors);
    apply_subscription(fields, after, errors);
    filter::apply(fields, after, errors);
    apply_texts(fields, after, errors);
    apply_overrides(fields, after, errors);
    template::apply(fields, after, errors);
    apply_limits(fields, after, errors);
    if !fields.headers.is_kept() {
        let none = BTreeMap::new();
        after.headers = read_headers(fields.headers.given().unwrap_or(&none), sealing, errors);
    }
    after.authentication = read_authentication(fields, after.authentication.clone(), sealing, errors);
}

/// The profile that counts for a webhook of this tenant.
///
/// # Errors
/// 404 if the tenant is gone; 500 if a profile that is in use is not there.
pub(super) fn profile_of(
    state: &ManageState,
    tenant: &TenantId,
    own: Option<&ProfileName>,
) -> Result<Arc<CompiledProfile>, Problem> {
    let view = state.directory().tenant(tenant).known().ok_or_else(Problem::not_found)?;
    let name = own.unwrap_or(&view.tenant.profile);
    let entry = state.directory().profile(name).ok_or_else(|| {
        tracing::error!(profile = %name, tenant.id = %tenant, "a profile that is in use is not there");
        Problem::internal()
    })?;
    Ok(entry.profile)
}

/// It cannot be chosen, but may be said.
fn check_tenant(fields: &WebhookFields, before: &Webhook, errors: &mut FieldErrors) {
    let named = fields.tenant(errors);
    if named.change.given().is_some_and(|named| named != before.tenant.as_str()) {
        errors.add(named.pointer, "must be the tenant that this call acts for");
    }
}

/// It cannot be changed, but may be said.
pub(super) fn check_kind(fields: &WebhookFields, is: WebhookKind, errors: &mut FieldErrors) {
    match fields.kind.given().map(|text| WebhookKind::from_word(text)) {
        Some(None) => errors.add("/kind", "must be webhook or postback"),
        Some(Some(kind)) if kind != is => {
            errors.add("/kind", format!("is {} and stays so; make another webhook", is.as_str()));
        }
        Some(Some(_)) | None => {}
    }
}

fn apply_url(
    fields: &WebhookFields,
    after: &mut Webhook,
    read_url: impl FnOnce(&str) -> Result<WebhookUrl, RefusedUrl>,
    errors: &mut FieldErrors,
) {
    match &fields.url {
        FieldChange::Keep => {}
        FieldChange::Clear => errors.add("/url", "is required"),
        FieldChange::Set(text) => {
            if let Some(url) = errors.check("/url", read_url(text)) {
                after.url = url;
            }
        }
    }
}

fn apply_subscription(fields: &WebhookFields, after: &mut Webhook, errors: &mut FieldErrors) {
    if let Some(events) = read_events(fields, errors) {
        after.events = events;
    }
    match &fields.provider {
        FieldChange::Keep => {}
        FieldChange::Clear => after.named_provider = None,
        FieldChange::Set(text) => after.named_provider = errors.check("/provider", text.parse()),
    }
    match &fields.schema_major {
        FieldChange::Keep => {}
        FieldChange::Clear => after.schema_major = None,
        FieldChange::Set(major) => {
            let major = errors.check("/schema_major", major.within::<u16>(1..=u16::MAX.into()));
            after.schema_major = major.and_then(NonZeroU16::new);
        }
    }
}

/// `None` if nothing was said, or what was said is wrong and noted.
fn read_events(fields: &WebhookFields, errors: &mut FieldErrors) -> Option<Vec<TypePattern>> {
    match (&fields.events, &fields.on) {
        (FieldChange::Keep, FieldChange::Keep) => None,
        (FieldChange::Set(_) | FieldChange::Clear, FieldChange::Set(_) | FieldChange::Clear) => {
            errors.add("/on", "give either events or on");
            None
        }
        (FieldChange::Clear, FieldChange::Keep) => {
            errors.add("/events", "is required");
            None
        }
        (FieldChange::Keep, FieldChange::Clear) => {
            errors.add("/on", "is required");
            None
        }
        (FieldChange::Keep, FieldChange::Set(text)) => {
            errors.check("/on", text.parse()).map(|pattern| vec![pattern])
        }
        (FieldChange::Set(texts), FieldChange::Keep) => read_patterns(texts, errors),
    }
}

fn read_patterns(texts: &[String], errors: &mut FieldErrors) -> Option<Vec<TypePattern>> {
    if texts.is_empty() || texts.len() > MAX_PATTERNS {
        errors.add("/events", format!("must hold 1 to {MAX_PATTERNS} event types"));
        return None;
    }
    let mut patterns: Vec<TypePattern> = Vec::with_capacity(texts.len());
    let mut are_right = true;
    for (index, text) in texts.iter().enumerate() {
        match errors.check(&format!("/events/{index}"), text.parse()) {
            Some(pattern) if patterns.contains(&pattern) => {}
            Some(pattern) => patterns.push(pattern),
            None => are_right = false,
        }
    }
    are_right.then_some(patterns)
}

fn apply_texts(fields: &WebhookFields, after: &mut Webhook, errors: &mut FieldErrors) {
    match &fields.name {
        FieldChange::Keep if !after.name.is_empty() => {}
        FieldChange::Keep | FieldChange::Clear => after.name = default_name(after),
        FieldChange::Set(text) => {
            if let Some(name) = errors.check("/name", check_name(text)) {
                after.name = name;
            }
        }
    }
    match &fields.description {
        FieldChange::Keep => {}
        FieldChange::Clear => after.description.clear(),
        FieldChange::Set(text) => {
            if let Some(description) = errors.check("/description", check_description(text)) {
                after.description = description;
            }
        }
    }
    match &fields.metadata {
        FieldChange::Keep => {}
        FieldChange::Clear => after.metadata.clear(),
        FieldChange::Set(metadata) => {
            check_metadata(metadata, errors);
            after.metadata.clone_from(metadata);
        }
    }
}

/// The URL's host: what its owner will recognise.
fn default_name(webhook: &Webhook) -> String {
    webhook.url.authority().chars().take(200).collect()
}

fn check_metadata(metadata: &BTreeMap<String, String>, errors: &mut FieldErrors) {
    if metadata.len() > MAX_METADATA {
        errors.add("/metadata", format!("must be at most {MAX_METADATA} pairs"));
        return;
    }
    for (name, value) in metadata {
        let is_in_bounds = (1..=MAX_METADATA_NAME).contains(&name.chars().count())
            && value.chars().count() <= MAX_METADATA_VALUE
            && !name.chars().any(char::is_control);
        if !is_in_bounds {
            let detail = format!(
                "names must be 1 to {MAX_METADATA_NAME} characters, values at most {MAX_METADATA_VALUE}"
            );
            errors.add("/metadata", detail);
            return;
        }
    }
}

fn apply_limits(fields: &WebhookFields, after: &mut Webhook, errors: &mut FieldErrors) {
    match &fields.rate_limit_per_second {
        FieldChange::Keep => {}
        FieldChange::Clear => after.rate_limit_per_second = None,
        FieldChange::Set(rate) => {
            let rate = errors.check("/rate_limit_per_second", rate.within::<u32>(1..=u32::MAX.into()));
            after.rate_limit_per_second = rate.and_then(NonZeroU32::new);
        }
    }
    match &fields.max_in_flight {
        FieldChange::Keep => {}
        FieldChange::Clear => after.max_in_flight = None,
        FieldChange::Set(cap) => {
            let cap = errors.check("/max_in_flight", cap.within::<u16>(1..=u16::MAX.into()));
            after.max_in_flight = cap.and_then(NonZeroU16::new);
        }
    }
}

fn apply_overrides(fields: &WebhookFields, after: &mut Webhook, errors: &mut FieldErrors) {
    match &fields.retry {
        FieldChange::Keep => {}
        FieldChange::Clear => after.overrides.waits = None,
        FieldChange::Set(retry) => {
            after.overrides.waits = Some(retry.waits.iter().map(|wait| wait.duration()).collect());
        }
    }
    match &fields.timeout_ms {
        FieldChange::Keep => {}
        FieldChange::Clear => after.overrides.time_limit = None,
        FieldChange::Set(millis) => {
            let millis = errors.check("/timeout_ms", millis.within::<u64>(TIMEOUT_MILLIS));
            after.overrides.time_limit = millis.map(Duration::from_millis);
        }
    }
    match &fields.signature_header {
        FieldChange::Keep => {}
        FieldChange::Clear => after.overrides.signature_header = None,
        FieldChange::Set(text) => {
            after.overrides.signature_header = errors.check("/signature_header", text.parse::<HeaderName>());
        }
    }
}

fn apply_status(fields: &WebhookFields, after: &mut Webhook, now: Timestamp, errors: &mut FieldErrors) {
    match fields.status {
        FieldChange::Keep => {}
        FieldChange::Clear => errors.add("/status", "must be active or paused"),
        FieldChange::Set(WrittenStatus::Active) => resume(after),
        FieldChange::Set(WrittenStatus::Paused) => pause(after, now),
    }
}

/// Paused by its owner; for how long already stays known.
pub(super) fn pause(webhook: &mut Webhook, now: Timestamp) {
    match webhook.state {
        WebhookState::Paused { .. } => {}
        WebhookState::Active | WebhookState::Disabled { .. } => {
            webhook.state = WebhookState::Paused { since: now }
        }
    }
}

/// Receives again, as fast as it can take what waits.
pub(super) fn resume(webhook: &mut Webhook) {
    webhook.state = WebhookState::Active;
    webhook.resume_rate_per_second = None;
}
