//! A webhook as a document describes it, read without an installation: for whoever asks what its requests would look
//! like before it is registered.
//!
//! The document is the one that `POST /v1/webhooks` takes, read by the same code. What only an installation can tell is
//! left to it: whether the URL may be called, whether there is room, which tenant it is.

use postrider_contract::clock::{Entropy, Timestamp};
use postrider_contract::egress::WebhookUrl;
use postrider_contract::ids::{TenantId, WebhookId};
use postrider_contract::json::check_depth;
use postrider_contract::profile::{CompiledProfile, ProfileName};
use postrider_contract::secret::Secret;
use postrider_contract::webhook::Webhook;
use postrider_service::json_body::parse;
use postrider_service::problem::{Code, FieldErrors, Problem};
use postrider_service::secret_box::SecretBox;

use super::apply::{Sealing, apply_members, check_kind};
use super::create::blank;
use super::fields::WebhookFields;
use super::fit;

/// Whose it is, as far as that is said.
const TENANT: &str = "described";

/// What a document says of a webhook.
pub struct DescribedWebhook {
    /// Its headers and credentials are sealed with the box that was given.
    pub webhook: Webhook,
    /// Whether it names its URL; where it does not, the webhook has one that stands for none.
    pub names_url: bool,
    /// The signing secret that it brings along.
    pub secret: Option<Secret>,
}

/// # Errors
/// With every field that is wrong, or that does not fit the profile.
pub fn read_described(
    document: &[u8],
    profile: &CompiledProfile,
    secret_box: &SecretBox,
    entropy: &dyn Entropy,
) -> Result<DescribedWebhook, Problem> {
    check_depth(document).map_err(|error| Problem::new(Code::MalformedJson, error.to_string()))?;
    let fields: WebhookFields = parse(document)?;
    let tenant: TenantId = TENANT.parse().expect("a tenant's id by its text");
    let id = WebhookId::from_u128(1);
    let mut webhook = blank(&fields, tenant.clone(), id, Timestamp::EPOCH);
    let sealing = Sealing::of((&tenant, id), secret_box, entropy);
    let mut errors = FieldErrors::default();
    check_kind(&fields, webhook.kind, &mut errors);
    apply_members(&fields, &mut webhook, &sealing, WebhookUrl::from_stored, &mut errors);
    if let Some(text) = fields.profile.given() {
        webhook.profile = errors.check("/profile", text.parse::<ProfileName>());
    }
    let secret = fields.secret(&mut errors).change.given().cloned();
    errors.into_result()?;
    let mut errors = FieldErrors::default();
    if webhook.profile.as_ref().is_some_and(|name| name != profile.name()) {
        errors.add("/profile", format!("is another one than {}, which it is compared under", profile.name()));
    }
    fit::check_request(&webhook, profile, &mut errors);
    errors.into_result()?;
    Ok(DescribedWebhook { webhook, names_url: fields.url.given().is_some(), secret })
}
