//! What a request may say about a webhook, for making one and for changing one alike.

use std::collections::BTreeMap;

use postrider_contract::profile::Span;
use postrider_contract::secret::Secret;
use postrider_service::problem::FieldErrors;
use serde::Deserialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use crate::field_change::FieldChange;
use crate::whole_number::GivenNumber;

/// A webhook's members as a caller writes them. What is absent stays as it is; `null` removes what may be absent.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct WebhookFields {
    /// Up to 200 characters; the URL's host if never given.
    #[schema(value_type = Option<String>)]
    #[serde(default)]
    pub(super) name: FieldChange<String>,
    /// `webhook`, which is what a new one is if nothing is said, or `postback`. It stays what it was made as.
    #[schema(value_type = Option<String>)]
    #[serde(default)]
    pub(super) kind: FieldChange<String>,
    /// Required of a new webhook. `https://`, to a public host, unless the installation allows more. The query of a
    /// postback's may hold macros: `{click_id}`, `{data.order.id}`, `{event.id}`.
    #[schema(value_type = Option<String>)]
    #[serde(default)]
    pub(super) url: FieldChange<String>,
    /// Exact types and prefix wildcards (`conversion.*`, `*`). Required of a new webhook, or `on`.
    #[schema(value_type = Option<Vec<String>>)]
    #[serde(default)]
    pub(super) events: FieldChange<Vec<String>>,
    /// Short for `events` with one element.
    #[schema(value_type = Option<String>)]
    #[serde(default)]
    pub(super) on: FieldChange<String>,
    /// Which events of these types it wants, by what their `data` holds: terms such as
    /// `{"field": "order.total", "at_least": 100}`, joined by `and`, `or` and `not`; or a string that holds one. All of
    /// them if absent.
    #[schema(value_type = Option<serde_json::Value>)]
    #[serde(default)]
    pub(super) filter: FieldChange<Box<RawValue>>,
    /// Of a postback: `GET`, which it is if nothing is said, or `POST`. For other webhooks the profile decides.
    #[schema(value_type = Option<String>)]
    #[serde(default)]
    pub(super) method: FieldChange<String>,
    /// Of a postback with `POST`: a form-encoded body, with macros as in the URL's query. Up to 4 KiB.
    #[schema(value_type = Option<String>)]
    #[serde(default)]
    pub(super) form: FieldChange<String>,
    /// Of a postback: which answers mean that it has arrived; the profile's if absent.
    #[schema(value_type = Option<SuccessFields>)]
    #[serde(default)]
    pub(super) success: FieldChange<SuccessFields>,
    /// The one major of its types that it gets, until it is moved; the highest that an event has if absent.
    #[schema(value_type = Option<u16>, minimum = 1)]
    #[serde(default)]
    pub(super) schema_major: FieldChange<GivenNumber>,
    /// The caller's tenant; anything else is refused.
    #[schema(value_type = Option<String>)]
    #[serde(default)]
    pub(super) tenant_id: FieldChange<String>,
    /// Another name of `tenant_id`.
    #[schema(value_type = Option<String>)]
    #[serde(default)]
    pub(super) brand_id: FieldChange<String>,
    /// The tenant's if absent.
    #[schema(value_type = Option<String>)]
    #[serde(default)]
    pub(super) profile: FieldChange<String>,
    /// `slack`, `discord`, `teams_webhook`, `zapier`, `make` or `webhook`; by the URL if never given, or `null`.
    #[schema(value_type = Option<String>)]
    #[serde(default)]
    pub(super) provider: FieldChange<String>,
    /// Its own body, in place of the profile's envelope: a JSON object or array with `{{variable}}` in its strings,
    /// or a string that holds one. Variables: `brand.id`, `brand.name`, `brand.website`, `event.id`, `event.type`,
    /// `event.data.*`, `summary`, `workflow.name`, `timestamp`.
    #[schema(value_type = Option<serde_json::Value>)]
    #[serde(default)]
    pub(super) template: FieldChange<Box<RawValue>>,
    /// Whether a string of the template that is nothing but one variable becomes the value with its own JSON type;
    /// if not, which is the default, it stays a string.
    #[schema(value_type = Option<bool>)]
    #[serde(default)]
    pub(super) template_typed: FieldChange<bool>,
    /// `active` or `paused`.
    #[schema(value_type = Option<String>)]
    #[serde(default)]
    pub(super) status: FieldChange<WrittenStatus>,
    /// Sent with every request; all of them are replaced together.
    #[schema(value_type = Option<BTreeMap<String, String>>)]
    #[serde(default)]
    pub(super) headers: FieldChange<BTreeMap<String, Secret>>,
    /// `none`, `bearer`, `basic` or `api_key`.
    #[schema(value_type = Option<String>)]
    #[serde(default)]
    pub(super) auth_type: FieldChange<AuthenticationType>,
    /// For `bearer`. Never read back.
    #[schema(value_type = Option<String>, write_only)]
    #[serde(default)]
    pub(super) auth_token: FieldChange<Secret>,
    /// For `basic`.
    #[schema(value_type = Option<String>)]
    #[serde(default)]
    pub(super) auth_username: FieldChange<String>,
    /// For `basic`. Never read back.
    #[schema(value_type = Option<String>, write_only)]
    #[serde(default)]
    pub(super) auth_password: FieldChange<Secret>,
    /// For `api_key`.
    #[schema(value_type = Option<String>)]
    #[serde(default)]
    pub(super) api_key_header: FieldChange<String>,
    /// For `api_key`. Never read back.
    #[schema(value_type = Option<String>, write_only)]
    #[serde(default)]
    pub(super) api_key_value: FieldChange<Secret>,
    /// The signing secret, if the subscriber brings one. Never read back.
    #[schema(value_type = Option<String>, write_only)]
    #[serde(default)]
    pub(super) secret: FieldChange<Secret>,
    /// Another name of `secret`.
    #[schema(value_type = Option<String>, write_only)]
    #[serde(default)]
    pub(super) signing_secret: FieldChange<Secret>,
    /// The name of the signature's header, in profiles that leave it open.
    #[schema(value_type = Option<String>)]
    #[serde(default)]
    pub(super) signature_header: FieldChange<String>,
    /// Deliveries a second; unlimited if absent.
    #[schema(value_type = Option<u32>, minimum = 1)]
    #[serde(default)]
    pub(super) rate_limit_per_second: FieldChange<GivenNumber>,
    /// Requests at a time; the installation's window if absent.
    #[schema(value_type = Option<u16>, minimum = 1)]
    #[serde(default)]
    pub(super) max_in_flight: FieldChange<GivenNumber>,
    /// The total time limit of one try, 100 to 60,000; the profile's if absent.
    #[schema(value_type = Option<u64>, minimum = 100, maximum = 60000)]
    #[serde(default)]
    pub(super) timeout_ms: FieldChange<GivenNumber>,
    /// The profile's if absent.
    #[schema(value_type = Option<RetryFields>)]
    #[serde(default)]
    pub(super) retry: FieldChange<RetryFields>,
    /// Up to 1,000 characters.
    #[schema(value_type = Option<String>)]
    #[serde(default)]
    pub(super) description: FieldChange<String>,
    /// Up to 50 pairs of the owner's own; all of them are replaced together.
    #[schema(value_type = Option<BTreeMap<String, String>>)]
    #[serde(default)]
    pub(super) metadata: FieldChange<BTreeMap<String, String>>,
}

/// A member that has two names, by the one that was used.
#[derive(Clone, Copy)]
pub(super) struct Named<'a, T> {
    pub(super) pointer: &'static str,
    pub(super) change: &'a FieldChange<T>,
}

impl WebhookFields {
    /// Noted as an error if both names are used.
    pub(super) fn secret(&self, errors: &mut FieldErrors) -> Named<'_, Secret> {
        let names = ("/secret", "/signing_secret");
        one_of(names, &self.secret, &self.signing_secret, errors)
    }

    /// Noted as an error if both names are used.
    pub(super) fn tenant(&self, errors: &mut FieldErrors) -> Named<'_, String> {
        one_of(("/tenant_id", "/brand_id"), &self.tenant_id, &self.brand_id, errors)
    }
}

fn one_of<'a, T>(
    (name, other_name): (&'static str, &'static str),
    change: &'a FieldChange<T>,
    other: &'a FieldChange<T>,
    errors: &mut FieldErrors,
) -> Named<'a, T> {
    if other.is_kept() {
        return Named { pointer: name, change };
    }
    if !change.is_kept() {
        errors.add(
            other_name,
            format!("is another name of {}: give one of them", name.trim_start_matches('/')),
        );
    }
    Named { pointer: other_name, change: other }
}

/// Other waits than the profile's.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RetryFields {
    /// Between the tries, in order, for instance `["5s", "5m", "1h30m"]`; each from 100 ms to 24 h.
    #[schema(value_type = Vec<String>)]
    pub(super) waits: Vec<Span>,
}

/// When a postback has arrived.
#[derive(Clone, Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SuccessFields {
    /// Codes, classes and ranges: `["200", "3xx", "410-419"]`.
    pub(super) statuses: Vec<String>,
    /// A text of up to 200 bytes that the first 16 KiB of the answer's body must hold, letter for letter.
    #[serde(default)]
    pub(super) body_contains: Option<String>,
}

/// What a webhook's owner may set its status to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum WrittenStatus {
    Active,
    Paused,
}

/// How requests say who they are, beside the signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum AuthenticationType {
    None,
    Bearer,
    Basic,
    ApiKey,
}
