//! Webhooks: a tenant's subscription of one receiver to some of its events.
//!
//! [`Webhook`] is the stored form; secrets in it are sealed. What the API shows is made from it elsewhere.

use std::collections::BTreeMap;
use std::num::{NonZeroU16, NonZeroU32};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::egress::WebhookUrl;
use crate::event::EventType;
use crate::filter::Filter;
use crate::ids::{TenantId, WebhookId};
use crate::postback::PostbackRule;
use crate::profile::{ProfileName, ProfileOverride};
use crate::provider::Provider;
use crate::secret::SealedSecret;
use crate::subscription::TypePattern;
use crate::template::Template;

/// What is sent: an event in its envelope, or a URL whose macros are filled from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum WebhookKind {
    Webhook,
    Postback,
}

impl WebhookKind {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            WebhookKind::Webhook => "webhook",
            WebhookKind::Postback => "postback",
        }
    }

    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        [WebhookKind::Webhook, WebhookKind::Postback].into_iter().find(|kind| kind.as_str() == word)
    }
}

/// Whether a webhook receives.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "status", rename_all = "lowercase")]
pub enum WebhookState {
    Active,
    /// By its owner. What becomes of its deliveries meanwhile is its profile's rule.
    Paused {
        since: Timestamp,
    },
    /// By us, as its profile says.
    Disabled {
        since: Timestamp,
        reason: String,
    },
}

impl WebhookState {
    #[must_use]
    pub fn is_active(&self) -> bool {
        match self {
            WebhookState::Active => true,
            WebhookState::Paused { .. } | WebhookState::Disabled { .. } => false,
        }
    }
}

/// How a webhook's requests say who they are, beside the profile's signature.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Authentication {
    #[default]
    None,
    Bearer {
        token: SealedSecret,
    },
    Basic {
        username: String,
        password: SealedSecret,
    },
    ApiKey {
        header: String,
        value: SealedSecret,
    },
}

impl Authentication {
    /// The header that it stands in.
    #[must_use]
    pub fn header(&self) -> Option<&str> {
        match self {
            Authentication::None => None,
            Authentication::Bearer { .. } | Authentication::Basic { .. } => Some("Authorization"),
            Authentication::ApiKey { header, .. } => Some(header),
        }
    }
}

/// A header of the webhook's own; its value may hold a credential, so it is sealed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CustomHeader {
    pub name: String,
    pub value: SealedSecret,
}

/// The secrets a webhook signs with: the current one first, then those that still overlap.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct SigningSecrets {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current: Option<SealedSecret>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub previous: Vec<PreviousSecret>,
    /// The last characters of the current secret, by which its owner can tell it from others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// The public half of the current secret where it is an Ed25519 key, as receivers are told it. Its presence tells which
    /// kind the secret is: its text may be of one kind in one profile and of the other in another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub public_key: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PreviousSecret {
    pub secret: SealedSecret,
    pub until: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub public_key: Option<String>,
}

impl SigningSecrets {
    /// What signs at `now`, newest first.
    pub fn active(&self, now: Timestamp) -> impl Iterator<Item = &SealedSecret> {
        let previous = self.previous.iter().filter(move |previous| now < previous.until);
        self.current.iter().chain(previous.map(|previous| &previous.secret))
    }

    /// The public keys with which receivers check what is signed at `now`, newest first.
    pub fn public_keys(&self, now: Timestamp) -> impl Iterator<Item = &str> {
        let previous = self.previous.iter().filter(move |previous| now < previous.until);
        let keys = self.public_key.iter().chain(previous.filter_map(|previous| previous.public_key.as_ref()));
        keys.map(String::as_str)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Webhook {
    pub id: WebhookId,
    pub tenant: TenantId,
    pub name: String,
    pub kind: WebhookKind,
    pub url: WebhookUrl,
    pub events: Vec<TypePattern>,
    /// Which events of these types, by their data; absent: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filter: Option<Filter>,
    /// Absent: the tenant's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<ProfileName>,
    /// What this webhook asks for differently than its profile: waits, time limit.
    #[serde(default)]
    pub overrides: ProfileOverride,
    /// The provider, where its owner has named one. Absent: the one that its URL tells of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub named_provider: Option<Provider>,
    /// The one major of its types that it gets, until it is moved. Absent: the highest that an event has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema_major: Option<NonZeroU16>,
    /// Its own body, in place of the profile's envelope.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<Template>,
    /// For the kind `postback` alone.
    #[serde(default, skip_serializing_if = "PostbackRule::is_default")]
    pub postback: PostbackRule,
    pub state: WebhookState,
    #[serde(default)]
    pub headers: Vec<CustomHeader>,
    #[serde(default)]
    pub authentication: Authentication,
    #[serde(default)]
    pub secrets: SigningSecrets,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate_limit_per_second: Option<NonZeroU32>,
    /// Absent: the installation's window.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_in_flight: Option<NonZeroU16>,
    /// After a resume at a rate: so many a second until nothing waits any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resume_rate_per_second: Option<NonZeroU32>,
    #[serde(default)]
    pub description: String,
    #[serde(default)]
    pub metadata: BTreeMap<String, String>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

impl Webhook {
    /// An active one that takes no events yet, and has nothing of its own beyond what it must have.
    #[must_use]
    pub fn new(tenant: TenantId, id: WebhookId, url: WebhookUrl, created_at: Timestamp) -> Self {
        Webhook {
            id,
            tenant,
            name: String::new(),
            kind: WebhookKind::Webhook,
            url,
            events: Vec::new(),
            filter: None,
            profile: None,
            overrides: ProfileOverride::default(),
            named_provider: None,
            schema_major: None,
            template: None,
            postback: PostbackRule::default(),
            state: WebhookState::Active,
            headers: Vec::new(),
            authentication: Authentication::None,
            secrets: SigningSecrets::default(),
            rate_limit_per_second: None,
            max_in_flight: None,
            resume_rate_per_second: None,
            description: String::new(),
            metadata: BTreeMap::new(),
            created_at,
            updated_at: created_at,
        }
    }

    /// What kind of service receives.
    #[must_use]
    pub fn provider(&self) -> Provider {
        self.named_provider.unwrap_or_else(|| Provider::detect(&self.url))
    }

    /// Which major of this type it is pinned to, if any; our own types have one alone.
    #[must_use]
    pub fn pinned_major(&self, event_type: &EventType) -> Option<NonZeroU16> {
        self.schema_major.filter(|_| !event_type.is_reserved())
    }

    #[must_use]
    pub fn wants(&self, event_type: &EventType) -> bool {
        self.events.iter().any(|pattern| pattern.matches(event_type))
    }
}

/// The longest total time limit of one try: above it a slot is held for too long for too little.
pub const MAX_TIME_LIMIT: Duration = Duration::from_secs(60);
