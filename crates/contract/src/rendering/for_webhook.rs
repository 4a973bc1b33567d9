//! What one webhook is sent of an event, beside headers: in a form of its own where it has one, else the envelope of
//! its profile.

use std::collections::{HashMap, HashSet};
use std::num::NonZeroU16;

use bytes::Bytes;

use super::{RenderError, check_data, fill_envelope};
use crate::delivery::Query;
use crate::event::{Event, EventReading, SchemaVersion};
use crate::postback::{FilledPostback, fill_postback};
use crate::profile::{Colour, CompiledProfile, ProfileName};
use crate::provider::Provider;
use crate::template::{Filled, Gap, Template};
use crate::tenant::Tenant;
use crate::webhook::{Webhook, WebhookKind};

/// Query and body of every try, and what could not be put into them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rendered {
    pub query: Query,
    pub body: Bytes,
    /// The variables of a template that found no value, or no room.
    pub gaps: Vec<Gap>,
    /// The macros of a postback that the event has no value for: each is filled with nothing.
    pub missing_macros: Vec<String>,
    /// Of the data that is in it.
    pub schema_version: SchemaVersion,
}

impl Rendered {
    fn of_body(event: &Event, body: Bytes, gaps: Vec<Gap>) -> Self {
        let schema_version = event.schema_version;
        Rendered { query: Query::OfUrl, body, gaps, missing_macros: Vec::new(), schema_version }
    }
}

/// Renders one event, of one version, for the webhooks of its tenant, one after the other: those with the same rendering
/// share one buffer, and the data is read once for all. All of one moment, so that a profile's name stands for one
/// profile.
#[derive(Debug)]
pub struct Renderer<'e, 'w> {
    reading: EventReading<'e>,
    shared: HashMap<Form<'w>, Rendered>,
    /// Profiles whose envelope takes the event.
    fitting: HashSet<&'w ProfileName>,
    made: Made,
}

/// How many bodies were made, and of how many bytes; shared ones once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Made {
    pub bodies: usize,
    pub bytes: usize,
}

/// What a body is made by. Those of one form are the same, except for what is one webhook's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Form<'w> {
    Template(&'w Template),
    Message(Provider, Option<Colour>),
    Envelope(&'w ProfileName),
    /// It names its webhook.
    EnvelopeOfOne,
    Postback,
}

impl<'w> Form<'w> {
    fn of(webhook: &'w Webhook, profile: &'w CompiledProfile) -> Self {
        if webhook.kind == WebhookKind::Postback {
            return Form::Postback;
        }
        if let Some(template) = &webhook.template {
            return Form::Template(template);
        }
        let provider = webhook.provider();
        if provider.has_own_format() {
            Form::Message(provider, profile.definition().accent_colour)
        } else if profile.body_depends_on_webhook() {
            Form::EnvelopeOfOne
        } else {
            Form::Envelope(profile.name())
        }
    }

    fn is_envelope(self) -> bool {
        match self {
            Form::Envelope(_) | Form::EnvelopeOfOne => true,
            Form::Template(_) | Form::Message(..) | Form::Postback => false,
        }
    }

    fn is_shared(self) -> bool {
        match self {
            Form::Template(_) | Form::Message(..) | Form::Envelope(_) => true,
            Form::EnvelopeOfOne | Form::Postback => false,
        }
    }
}

impl<'e, 'w> Renderer<'e, 'w> {
    #[must_use]
    pub fn new(event: &'e Event) -> Self {
        Renderer {
            reading: EventReading::of(event),
            shared: HashMap::new(),
            fitting: HashSet::new(),
            made: Made::default(),
        }
    }

    /// The event that is rendered.
    #[must_use]
    pub fn event(&self) -> &'e Event {
        self.reading.event()
    }

    /// Whether this webhook can be sent this event.
    ///
    /// # Errors
    /// When the event's data holds a member that the envelope has itself. All the others take every event.
    pub fn check(&mut self, webhook: &'w Webhook, profile: &'w CompiledProfile) -> Result<(), RenderError> {
        if Form::of(webhook, profile).is_envelope() && !self.fitting.contains(profile.name()) {
            check_data(profile, self.reading.event())?;
            self.fitting.insert(profile.name());
        }
        Ok(())
    }

    /// What every try sends to this webhook: a postback's macros filled in, its template, the message that its provider
    /// shows, or the profile's envelope, into which the event must go ([`Renderer::check`]).
    pub fn render(
        &mut self,
        webhook: &'w Webhook,
        profile: &'w CompiledProfile,
        tenant: &Tenant,
    ) -> Rendered {
        let form = Form::of(webhook, profile);
        if let Some(rendered) = self.shared.get(&form) {
            return rendered.clone();
        }
        let event = self.reading.event();
        let whole = |body| Rendered::of_body(event, body, Vec::new());
        let message = |provider: Provider, accent| provider.message(event, tenant, accent);
        let envelope = || fill_envelope(profile, event, tenant, webhook.id);
        let rendered = match form {
            Form::Template(template) => {
                let Filled { body, gaps } = template.fill(&self.reading, tenant);
                Rendered::of_body(event, body, gaps)
            }
            Form::Postback => {
                let FilledPostback { query, body, missing: missing_macros } =
                    fill_postback(webhook, event, self.reading.data());
                let schema_version = event.schema_version;
                Rendered { query, body, gaps: Vec::new(), missing_macros, schema_version }
            }
            Form::Message(provider, accent) => whole(message(provider, accent).unwrap_or_else(envelope)),
            Form::Envelope(_) | Form::EnvelopeOfOne => whole(envelope()),
        };
        self.made.bodies += 1;
        self.made.bytes += rendered.body.len() + rendered.query.length();
        if form.is_shared() {
            self.shared.insert(form, rendered.clone());
        }
        rendered
    }

    #[must_use]
    pub fn made(&self) -> Made {
        self.made
    }

    /// Lets go of what was read of the data; it is read again when it is needed. Before a wait, so that events that wait
    /// do not take many times their own room.
    pub fn forget_data(&mut self) {
        self.reading = EventReading::of(self.reading.event());
    }
}

/// Whether this webhook is sent something of its own form (template, chat message, postback) in place of the profile's
/// envelope.
#[must_use]
pub fn has_own_form(webhook: &Webhook, profile: &CompiledProfile) -> bool {
    !Form::of(webhook, profile).is_envelope()
}

/// What every try of this event sends to this one webhook: as [`Renderer::render`].
///
/// # Errors
/// As [`Renderer::check`].
pub fn render_for(
    webhook: &Webhook,
    profile: &CompiledProfile,
    event: &Event,
    tenant: &Tenant,
) -> Result<Rendered, RenderError> {
    let versions = event.by_version();
    let mut renderer = Renderer::new(versions.get(choose(&versions, webhook)).unwrap_or(event));
    renderer.check(webhook, profile)?;
    Ok(renderer.render(webhook, profile, tenant))
}

/// Of an event by its versions ([`Event::by_version`]), the one that a webhook gets: of the major it is pinned to, else
/// the highest. 0 where there are none: it is the event itself.
#[must_use]
pub fn choose(versions: &[Event], webhook: &Webhook) -> usize {
    let Some(highest) = versions.last() else { return 0 };
    let pinned = webhook.pinned_major(&highest.event_type);
    let of_major =
        |major: NonZeroU16| versions.iter().position(|one| one.schema_version.major == major.get());
    pinned.and_then(of_major).unwrap_or(versions.len() - 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;
    use crate::egress::WebhookUrl;
    use crate::ids::WebhookId;
    use crate::json::RawObject;
    use crate::profile::builtin_profile;

    #[test]
    fn of_several_versions_a_webhook_is_rendered_its_own() {
        let tenant = Tenant {
            id: "acme".parse().expect("an id"),
            name: "Acme".to_owned(),
            website: None,
            profile: ProfileName::standard(),
            schema_check: crate::catalogue::SchemaCheck::Off,
            created_at: Timestamp::EPOCH,
            updated_at: Timestamp::EPOCH,
        };
        let event = Event {
            id: "evt_1".parse().expect("an id"),
            tenant: tenant.id.clone(),
            event_type: "order.paid".parse().expect("a type"),
            schema_version: SchemaVersion::SEVERAL,
            timestamp: Timestamp::EPOCH,
            accepted_at: Timestamp::EPOCH,
            data: RawObject::parse(Bytes::from_static(br#"{"1":{"old": 1},"2.1":{"new": 2}}"#))
                .expect("JSON"),
            summary: None,
            workflow: None,
        };
        let profile = builtin_profile(&"trackdesk".parse().expect("a name")).expect("built in");
        let url = WebhookUrl::from_stored("https://receiver.example/hook").expect("a URL");
        let webhook = Webhook::new(tenant.id.clone(), WebhookId::from_u128(1), url, Timestamp::EPOCH);
        for (pinned, version, body) in [
            (None, "2.1", r#"{"new": 2}"#),
            (NonZeroU16::new(1), "1.0", r#"{"old": 1}"#),
            (NonZeroU16::new(2), "2.1", r#"{"new": 2}"#),
        ] {
            let webhook = Webhook { schema_major: pinned, ..webhook.clone() };
            let rendered = render_for(&webhook, &profile, &event, &tenant).expect("it fits");
            assert_eq!(
                (rendered.body.as_ref(), rendered.schema_version.to_string().as_str()),
                (body.as_bytes(), version)
            );
        }
    }
}
