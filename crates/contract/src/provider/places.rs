//! Where providers take webhooks: hosts compared whole, never in part, and the beginning of the path.
//!
//! From each provider's documentation. What is not listed here on a provider's host is another of its services, with
//! another form: Slack's workflows take flat JSON, Discord's `/slack` and `/github` the forms of those.

use super::Provider;
use crate::egress::{Host, WebhookUrl};

struct Place {
    provider: Provider,
    host: HostRule,
    /// The path begins so.
    path: &'static str,
}

enum HostRule {
    /// This very name.
    Is(&'static str),
    /// One or more labels before this.
    Below(&'static str),
    /// One label between the two.
    Between(&'static str, &'static str),
}

use HostRule::{Below, Between, Is};
use Provider::{Discord, Make, Slack, TeamsWebhook, Zapier};

const PLACES: [Place; 18] = [
    Place { provider: Slack, host: Is("hooks.slack.com"), path: "/services/" },
    Place { provider: Slack, host: Is("hooks.slack-gov.com"), path: "/services/" },
    Place { provider: Discord, host: Is("discord.com"), path: "/api/" },
    Place { provider: Discord, host: Is("canary.discord.com"), path: "/api/" },
    Place { provider: Discord, host: Is("ptb.discord.com"), path: "/api/" },
    Place { provider: Discord, host: Is("discordapp.com"), path: "/api/" },
    Place { provider: Discord, host: Is("canary.discordapp.com"), path: "/api/" },
    Place { provider: Discord, host: Is("ptb.discordapp.com"), path: "/api/" },
    Place { provider: TeamsWebhook, host: Below("logic.azure.com"), path: "/workflows/" },
    Place {
        provider: TeamsWebhook,
        host: Below("environment.api.powerplatform.com"),
        path: "/powerautomate/",
    },
    Place { provider: TeamsWebhook, host: Below("webhook.office.com"), path: "/webhookb2/" },
    Place { provider: TeamsWebhook, host: Is("outlook.office.com"), path: "/webhook/" },
    Place { provider: TeamsWebhook, host: Is("outlook.office365.com"), path: "/webhook/" },
    Place { provider: Zapier, host: Is("hooks.zapier.com"), path: "/hooks/" },
    Place { provider: Make, host: Between("hook", "make.com"), path: "/" },
    Place { provider: Make, host: Between("hook", "make.celonis.com"), path: "/" },
    Place { provider: Make, host: Is("hook.integromat.com"), path: "/" },
    Place { provider: Make, host: Is("hook.make.com"), path: "/" },
];

pub(super) fn provider_at(url: &WebhookUrl) -> Provider {
    let Host::Name(host) = url.host() else { return Provider::Webhook };
    let path = url.path_and_query().split('?').next().unwrap_or_default();
    let is_here = |place: &&Place| place.host.matches(host) && path.starts_with(place.path);
    match PLACES.iter().find(is_here).map(|place| place.provider) {
        Some(Provider::Discord) if !is_discord_webhook(path) => Provider::Webhook,
        found => found.unwrap_or(Provider::Webhook),
    }
}

impl HostRule {
    fn matches(&self, host: &str) -> bool {
        match self {
            HostRule::Is(name) => host == *name,
            HostRule::Below(name) => below(host, name).is_some(),
            HostRule::Between(first, rest) => below(host, rest)
                .and_then(|labels| labels.strip_prefix(first)?.strip_prefix('.'))
                .is_some_and(|label| !label.is_empty() && !label.contains('.')),
        }
    }
}

/// The labels before a name.
fn below<'h>(host: &'h str, name: &str) -> Option<&'h str> {
    host.strip_suffix(name)?.strip_suffix('.').filter(|labels| !labels.is_empty())
}

/// `/api/webhooks/{id}/{token}` or `/api/v10/webhooks/{id}/{token}`, and nothing after it.
fn is_discord_webhook(path: &str) -> bool {
    let mut parts = path.trim_start_matches("/api/").trim_end_matches('/').split('/');
    let mut first = parts.next();
    if first.is_some_and(|part| part.strip_prefix('v').is_some_and(|version| version.parse::<u8>().is_ok())) {
        first = parts.next();
    }
    first == Some("webhooks") && parts.filter(|part| !part.is_empty()).count() == 2
}
