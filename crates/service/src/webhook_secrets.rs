//! The secrets of one webhook: where each stands, and what it is sealed for.
//!
//! Manage seals and workers open. Both name a secret's place here, so that the associated data is the same on
//! both sides, and a sealed value that was moved to another webhook, or another place of it, does not open.

use postrider_contract::clock::Entropy;
use postrider_contract::ids::{TenantId, WebhookId};
use postrider_contract::secret::{SealedSecret, Secret};

use crate::secret_box::{OpenError, SecretBox};

/// Which secret of a webhook.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecretPlace<'a> {
    /// Current and overlapping ones alike: a rotation moves the one to the place of the other.
    Signing,
    BearerToken,
    BasicPassword,
    ApiKeyValue,
    /// The value of the custom header of this name; case does not matter.
    Header(&'a str),
}

/// Seals and opens for one webhook.
#[derive(Debug)]
pub struct WebhookSecrets<'a> {
    secret_box: &'a SecretBox,
    tenant: &'a TenantId,
    webhook: String,
}

impl<'a> WebhookSecrets<'a> {
    #[must_use]
    pub fn new(secret_box: &'a SecretBox, tenant: &'a TenantId, webhook: WebhookId) -> Self {
        WebhookSecrets { secret_box, tenant, webhook: webhook.to_string() }
    }

    #[must_use]
    pub fn seal(&self, place: SecretPlace<'_>, secret: &Secret, entropy: &dyn Entropy) -> SealedSecret {
        let place = word(place);
        self.secret_box.seal(secret, &[self.tenant.as_str(), &self.webhook, &place], entropy)
    }

    /// # Errors
    /// When it was sealed for another webhook or place, under another key, or was changed.
    pub fn open(&self, place: SecretPlace<'_>, sealed: &SealedSecret) -> Result<Secret, OpenError> {
        let place = word(place);
        self.secret_box.open(sealed, &[self.tenant.as_str(), &self.webhook, &place])
    }
}

/// Part of what is stored: never changed.
fn word(place: SecretPlace<'_>) -> String {
    match place {
        SecretPlace::Signing => "signing".to_owned(),
        SecretPlace::BearerToken => "bearer_token".to_owned(),
        SecretPlace::BasicPassword => "basic_password".to_owned(),
        SecretPlace::ApiKeyValue => "api_key_value".to_owned(),
        SecretPlace::Header(name) => format!("header:{}", name.to_ascii_lowercase()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::SystemEntropy;

    #[test]
    fn a_secret_opens_only_in_its_own_place_of_its_own_webhook() {
        let secret_box = SecretBox::new(&"ab".repeat(32).parse().expect("a key"));
        let tenant: TenantId = "acme".parse().expect("an id");
        let ours = WebhookSecrets::new(&secret_box, &tenant, WebhookId::from_u128(1));
        let theirs = WebhookSecrets::new(&secret_box, &tenant, WebhookId::from_u128(2));
        let sealed =
            ours.seal(SecretPlace::Header("X-Api"), &Secret::new("s3cret".to_owned()), &SystemEntropy);
        assert_eq!(ours.open(SecretPlace::Header("x-api"), &sealed).expect("its place").reveal(), "s3cret");
        for place in [SecretPlace::Header("X-Other"), SecretPlace::Signing, SecretPlace::BearerToken] {
            assert_eq!(ours.open(place, &sealed), Err(OpenError::NotAuthentic));
        }
        assert_eq!(theirs.open(SecretPlace::Header("X-Api"), &sealed), Err(OpenError::NotAuthentic));
    }
}
