//! The webhook whose requests are compared: by the document that would register it, or by a few options.

use std::sync::Arc;

use bytes::Bytes;
use postrider_contract::attempt::Header;
use postrider_contract::clock::Timestamp;
use postrider_contract::egress::WebhookUrl;
use postrider_contract::profile::{CompiledProfile, HeaderName, ProfileOverride};
use postrider_contract::revision::Revision;
use postrider_contract::tenant::Tenant;
use postrider_contract::webhook::{Webhook, WebhookKind};
use postrider_manage::{DescribedWebhook, read_described};
use postrider_service::directory::{ProfileEntry, WebhookEntry};
use postrider_service::master_key::MasterKey;
use postrider_service::problem::{FieldError, Problem};
use postrider_service::secret_box::SecretBox;
use postrider_service::system::SystemEntropy;
use postrider_service::webhook_requests::WebhookRequests;

use crate::client::error::ClientError;
use crate::client::input::{HeaderArgument, Source, read_text};

pub(super) struct Described {
    pub(super) webhook: Webhook,
    /// Where it names one.
    pub(super) url: Option<WebhookUrl>,
    /// Its credential among them, as they are sent.
    pub(super) own_headers: Vec<Header>,
    /// To sign with.
    pub(super) secret: Option<String>,
}

impl Described {
    /// A document as `POST /v1/webhooks` takes it.
    ///
    /// # Errors
    /// With every member that would be refused there for what it is.
    pub(super) fn read(path: &str, profile: &Arc<CompiledProfile>) -> Result<Self, ClientError> {
        let document = read_text(&Source::of_path(path))?;
        let secret_box = SecretBox::new(&MasterKey::generate(&SystemEntropy));
        let read = read_described(document.as_bytes(), profile, &secret_box, &SystemEntropy);
        let DescribedWebhook { webhook, names_url, secret } = read.map_err(|problem| refused(&problem))?;
        if webhook.kind == WebhookKind::Postback && !names_url {
            let detail = "--webhook: /url: is required: the macros of a postback stand in it";
            return Err(ClientError::Usage(detail.to_owned()));
        }
        let url = names_url.then(|| webhook.url.clone());
        let requests = WebhookRequests::open(entry(webhook.clone(), profile), &secret_box);
        let requests = requests.map_err(|error| ClientError::Usage(format!("--webhook: {error}")))?;
        let own_headers = requests.own_headers().collect();
        let secret = secret.map(|secret| secret.reveal().to_owned());
        Ok(Described { webhook, url, own_headers, secret })
    }

    /// # Errors
    /// When the URL is none, or the profile leaves the name of its signature's header to nobody.
    pub(super) fn by_options(
        url: Option<String>,
        headers: Vec<HeaderArgument>,
        signature_header: Option<HeaderName>,
        profile: &CompiledProfile,
    ) -> Result<Self, ClientError> {
        let overrides = ProfileOverride { signature_header, ..ProfileOverride::default() };
        profile
            .check_override(&overrides)
            .map_err(|error| ClientError::Usage(format!("--signature-header: {error}")))?;
        let url = url.as_deref().map(WebhookUrl::from_stored).transpose();
        let url = url.map_err(|error| ClientError::Usage(format!("--url: {error}")))?;
        let own_headers = headers
            .into_iter()
            .map(|header| Header { name: header.name.into(), value: Bytes::from(header.value) })
            .collect();
        let secret_box = SecretBox::new(&MasterKey::generate(&SystemEntropy));
        let nothing_own = read_described(b"{}", profile, &secret_box, &SystemEntropy);
        let DescribedWebhook { webhook, .. } = nothing_own.map_err(|problem| refused(&problem))?;
        Ok(Described { webhook: Webhook { overrides, ..webhook }, url, own_headers, secret: None })
    }
}

fn entry(webhook: Webhook, profile: &Arc<CompiledProfile>) -> Arc<WebhookEntry> {
    let tenant = Tenant {
        id: webhook.tenant.clone(),
        name: String::new(),
        website: None,
        profile: profile.name().clone(),
        schema_check: Default::default(),
        created_at: Timestamp::EPOCH,
        updated_at: Timestamp::EPOCH,
    };
    Arc::new(WebhookEntry {
        webhook,
        revision: Revision::ZERO,
        tenant: Arc::new(tenant),
        tenant_revision: Revision::ZERO,
        profile: ProfileEntry { profile: Arc::clone(profile), revision: Revision::ZERO },
    })
}

/// Each member with its place in the document.
fn refused(problem: &Problem) -> ClientError {
    let each =
        problem.field_errors().iter().map(|FieldError { pointer, detail }| format!("{pointer}: {detail}"));
    let each: Vec<String> = each.collect();
    let told = if each.is_empty() { problem.detail().to_owned() } else { each.join("; ") };
    ClientError::Usage(format!("--webhook: {told}"))
}
