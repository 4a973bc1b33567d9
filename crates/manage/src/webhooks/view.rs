//! A webhook as the API shows it: made from what is stored, without anything that is only written.

use std::collections::BTreeMap;

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::{CACHE_CONTROL, ETAG};
use postrider_contract::clock::Timestamp;
use postrider_contract::filter::Filter;
use postrider_contract::ids::{TenantId, WebhookId};
use postrider_contract::postback::SuccessRule;
use postrider_contract::profile::{ProfileName, Span, StatusSet};
use postrider_contract::secret::Secret;
use postrider_contract::subscription::TypePattern;
use postrider_contract::webhook::{Authentication, CustomHeader, Webhook, WebhookKind, WebhookState};
use postrider_service::webhook_secrets::{SecretPlace, WebhookSecrets};
use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use super::apply::profile_of;
use super::template;
use crate::documents::Stored;
use crate::keys::NO_STORE;
use crate::precondition::entity_tag;
use crate::state::ManageState;
use crate::waiting::{Waiting, WaitingNow};

/// A webhook.
#[derive(Serialize, ToSchema)]
pub(crate) struct WebhookView {
    /// `wh_…`
    #[schema(value_type = String)]
    id: WebhookId,
    /// Always `webhook`.
    object: &'static str,
    #[schema(value_type = String)]
    tenant_id: TenantId,
    /// The tenant again: each is one brand.
    #[schema(value_type = String)]
    brand_id: TenantId,
    name: String,
    /// `webhook` or `postback`
    kind: &'static str,
    url: String,
    /// The HTTP method of its requests: its own for a postback, else as its profile says.
    #[serde(skip_serializing_if = "Option::is_none")]
    method: Option<&'static str>,
    /// A postback's form, with its macros.
    #[serde(skip_serializing_if = "Option::is_none")]
    form: Option<String>,
    /// Which answers mean that a postback has arrived; absent if the profile says.
    #[serde(skip_serializing_if = "Option::is_none")]
    success: Option<SuccessView>,
    #[schema(value_type = Vec<String>)]
    events: Vec<TypePattern>,
    /// Which events of these types it wants; `null` means all.
    #[schema(value_type = Option<Object>)]
    filter: Option<Filter>,
    /// The one major of its types that it gets; `null` means the highest that an event has.
    schema_major: Option<u16>,
    /// Its own; `null` means the tenant's.
    #[schema(value_type = Option<String>)]
    profile: Option<ProfileName>,
    /// What kind of service receives: `slack`, `discord`, `teams_webhook`, `zapier`, `make` or `webhook`.
    provider: &'static str,
    /// Whether `provider` was given by hand; if not, it follows the URL.
    provider_given: bool,
    /// Its own body, as it was written; `null` means the profile's envelope.
    #[schema(value_type = Option<serde_json::Value>)]
    template: Option<Box<RawValue>>,
    /// Whether a string of the template that is nothing but one variable becomes the value with its own JSON type.
    template_typed: bool,
    /// `active`, `paused` or `disabled`
    status: &'static str,
    active: bool,
    /// Why it is disabled.
    #[serde(skip_serializing_if = "Option::is_none")]
    status_reason: Option<String>,
    /// Since when it is paused or disabled.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    status_since: Option<Timestamp>,
    /// The deliveries that wait for it, counted within a second; `null` while they cannot be counted.
    waiting: Option<Waiting>,
    revision: u64,
    /// `null` stands for a value that cannot be opened under the present master key.
    headers: BTreeMap<String, Option<String>>,
    /// `none`, `bearer`, `basic` or `api_key`
    auth_type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    auth_username: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    api_key_header: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    signature_header: Option<String>,
    rate_limit_per_second: Option<u32>,
    max_in_flight: Option<u16>,
    timeout_ms: Option<u64>,
    retry: Option<RetryView>,
    /// After a resume at a rate, until nothing waits any more.
    #[serde(skip_serializing_if = "Option::is_none")]
    resume_rate_per_second: Option<u32>,
    description: String,
    metadata: BTreeMap<String, String>,
    /// The last characters of the signing secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    secret_hint: Option<String>,
    /// Where Ed25519 keys sign: their public halves (`whpk_…`), with which receivers check, newest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    public_keys: Vec<String>,
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    #[schema(value_type = String, format = DateTime)]
    updated_at: Timestamp,
}

/// Other waits than the profile's.
#[derive(Serialize, ToSchema)]
pub(crate) struct RetryView {
    #[schema(value_type = Vec<String>)]
    waits: Vec<Span>,
}

/// When a postback has arrived.
#[derive(Serialize, ToSchema)]
pub(crate) struct SuccessView {
    #[schema(value_type = Vec<String>)]
    statuses: StatusSet,
    #[serde(skip_serializing_if = "Option::is_none")]
    body_contains: Option<String>,
}

impl From<SuccessRule> for SuccessView {
    fn from(SuccessRule { statuses, body_contains }: SuccessRule) -> Self {
        SuccessView { statuses, body_contains }
    }
}

/// A webhook, and the secret that this very request made.
#[derive(Serialize, ToSchema)]
pub(crate) struct WebhookAnswer {
    #[serde(flatten)]
    view: WebhookView,
    /// Shown now and never again.
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<String>,
}

impl WebhookView {
    pub(super) fn of(state: &ManageState, stored: Stored<Webhook>, waiting: &WaitingNow) -> Self {
        let Stored { object: webhook, revision } = stored;
        let secrets = WebhookSecrets::new(&state.parts().secret_box, &webhook.tenant, webhook.id);
        let headers = webhook.headers.iter().map(|header| shown_header(header, &secrets)).collect();
        let method = match webhook.kind {
            WebhookKind::Webhook => profile_of(state, &webhook.tenant, webhook.profile.as_ref())
                .ok()
                .map(|profile| profile.definition().request.method.as_str()),
            WebhookKind::Postback => Some(webhook.postback.method.as_str()),
        };
        let (status, status_since, status_reason) = match &webhook.state {
            WebhookState::Active => ("active", None, None),
            WebhookState::Paused { since } => ("paused", Some(*since), None),
            WebhookState::Disabled { since, reason } => ("disabled", Some(*since), Some(reason.clone())),
        };
        let (auth_type, auth_username, api_key_header) = match &webhook.authentication {
            Authentication::None => ("none", None, None),
            Authentication::Bearer { .. } => ("bearer", None, None),
            Authentication::Basic { username, .. } => ("basic", Some(username.clone()), None),
            Authentication::ApiKey { header, .. } => ("api_key", None, Some(header.clone())),
        };
        let (provider, provider_given) = (webhook.provider().as_str(), webhook.named_provider.is_some());
        let now = state.parts().clock.now();
        let public_keys = webhook.secrets.public_keys(now).map(str::to_owned).collect();
        let (template, template_typed) = webhook.template.as_ref().map(template::shown).unwrap_or_default();
        WebhookView {
            id: webhook.id,
            object: "webhook",
            brand_id: webhook.tenant.clone(),
            name: webhook.name,
            kind: webhook.kind.as_str(),
            url: webhook.url.as_str().to_owned(),
            method,
            form: webhook.postback.form,
            success: webhook.postback.success.map(SuccessView::from),
            events: webhook.events,
            filter: webhook.filter,
            schema_major: webhook.schema_major.map(Into::into),
            profile: webhook.profile,
            provider,
            provider_given,
            template,
            template_typed,
            status,
            active: webhook.state.is_active(),
            status_reason,
            status_since,
            waiting: waiting.of(webhook.id),
            revision: revision.number(),
            headers,
            auth_type,
            auth_username,
            api_key_header,
            signature_header: webhook.overrides.signature_header.map(|header| header.as_str().to_owned()),
            rate_limit_per_second: webhook.rate_limit_per_second.map(Into::into),
            max_in_flight: webhook.max_in_flight.map(Into::into),
            timeout_ms: webhook.overrides.time_limit.and_then(|limit| u64::try_from(limit.as_millis()).ok()),
            retry: webhook.overrides.waits.map(shown_waits),
            resume_rate_per_second: webhook.resume_rate_per_second.map(Into::into),
            description: webhook.description,
            metadata: webhook.metadata,
            public_keys,
            secret_hint: webhook.secrets.hint,
            tenant_id: webhook.tenant,
            created_at: webhook.created_at,
            updated_at: webhook.updated_at,
        }
    }
}

fn shown_header(header: &CustomHeader, secrets: &WebhookSecrets<'_>) -> (String, Option<String>) {
    let value = match secrets.open(SecretPlace::Header(&header.name), &header.value) {
        Ok(value) => Some(value.reveal().to_owned()),
        Err(error) => {
            tracing::error!(%error, header = header.name, "a stored header does not open");
            None
        }
    };
    (header.name.clone(), value)
}

fn shown_waits(waits: Vec<std::time::Duration>) -> RetryView {
    // They were read as spans, so each is one; what is not would be a year long, and is left out.
    RetryView { waits: waits.into_iter().filter_map(|wait| Span::new(wait).ok()).collect() }
}

/// The answer that shows one webhook, and the secret that was made for it, if one was.
pub(super) async fn answer(
    state: &ManageState,
    status: StatusCode,
    stored: Stored<Webhook>,
    made_secret: Option<Secret>,
) -> Response {
    let waiting = state.waiting().now().await;
    let tag = entity_tag(stored.revision);
    let view = WebhookView::of(state, stored, &waiting);
    match made_secret {
        None => (status, [(ETAG, tag)], Json(view)).into_response(),
        Some(secret) => {
            let headers = [(ETAG, tag), (CACHE_CONTROL, NO_STORE)];
            let answer = WebhookAnswer { view, secret: Some(secret.reveal().to_owned()) };
            (status, headers, Json(answer)).into_response()
        }
    }
}
