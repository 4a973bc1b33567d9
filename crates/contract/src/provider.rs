//! Providers: receivers that are a service everybody uses, with a format and answers of its own.
//!
//! A webhook's provider is recognised by its URL, unless its owner names one. What is particular to a provider stands
//! in one module of its own: the limits of its format, and how a message is laid out. Where it is found and what its
//! answers mean are tables. A message is cut to fit, at a character, and never refused for being long.

mod answers;
mod cutting;
mod discord;
mod message;
mod places;
mod slack;
mod teams;

use std::fmt;
use std::str::FromStr;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

pub(crate) use answers::AnswerHabits;

use crate::egress::WebhookUrl;
use crate::event::Event;
use crate::profile::Colour;
use crate::tenant::Tenant;
use message::Message;

/// What kind of service receives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Provider {
    /// Anything else: the profile says what is sent, and what answers mean.
    Webhook,
    Slack,
    Discord,
    TeamsWebhook,
    Zapier,
    Make,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("must be webhook, slack, discord, teams_webhook, zapier or make")]
pub struct UnknownProvider;

impl Provider {
    pub const ALL: [Provider; 6] = [
        Provider::Webhook,
        Provider::Slack,
        Provider::Discord,
        Provider::TeamsWebhook,
        Provider::Zapier,
        Provider::Make,
    ];

    /// By the URL's host, compared whole, and its path.
    #[must_use]
    pub fn detect(url: &WebhookUrl) -> Self {
        places::provider_at(url)
    }

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Provider::Webhook => "webhook",
            Provider::Slack => "slack",
            Provider::Discord => "discord",
            Provider::TeamsWebhook => "teams_webhook",
            Provider::Zapier => "zapier",
            Provider::Make => "make",
        }
    }

    /// Whether it takes messages of its own form. The others take the profile's envelope as it is.
    #[must_use]
    pub fn has_own_format(self) -> bool {
        match self {
            Provider::Slack | Provider::Discord | Provider::TeamsWebhook => true,
            Provider::Webhook | Provider::Zapier | Provider::Make => false,
        }
    }

    /// The message that shows an event in the provider's own form, within its limits; `None` where it has none.
    #[must_use]
    pub fn message(self, event: &Event, tenant: &Tenant, accent: Option<Colour>) -> Option<Bytes> {
        let lay_out: fn(&Message) -> serde_json::Value = match self {
            Provider::Slack => slack::lay_out,
            Provider::Discord => discord::lay_out,
            Provider::TeamsWebhook => teams::lay_out,
            Provider::Webhook | Provider::Zapier | Provider::Make => return None,
        };
        let laid_out = lay_out(&Message::of(event, tenant, accent));
        Some(Bytes::from(laid_out.to_string()))
    }
}

impl fmt::Display for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Provider {
    type Err = UnknownProvider;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Provider::ALL.into_iter().find(|provider| provider.as_str() == text).ok_or(UnknownProvider)
    }
}

#[cfg(test)]
mod tests;
