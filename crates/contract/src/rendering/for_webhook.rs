//! What one webhook is sent of an event, beside headers: in a form of its own where it has one, else the envelope of
//! its profile.

use std::collections::{HashMap, HashSet};

use bytes::Bytes;

use super::{RenderError, check_data, fill_envelope};
use crate::delivery::Query;
use crate::event::{Event, EventReading};
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
}

impl Rendered {
    fn of_body(body: Bytes, gaps: Vec<Gap>) -> Self {
        Rendered { query: Query::OfUrl, body, gaps, missing_macros: Vec::new() }
    }
}

/// Renders one event for the webhooks of its tenant, one after the other: those with the same rendering share one
/// buffer, and the data is read once for all. All of one moment, so that a profile's name stands for one profile.
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
        let whole = |body| Rendered::of_body(body, Vec::new());
        let message = |provider: Provider, accent| provider.message(event, tenant, accent);
        let envelope = || fill_envelope(profile, event, tenant, webhook.id);
        let rendered = match form {
            Form::Template(template) => {
                let Filled { body, gaps } = template.fill(&self.reading, tenant);
                Rendered::of_body(body, gaps)
            }
            Form::Postback => {
                let FilledPostback { query, body, missing } =
                    fill_postback(webhook, event, self.reading.data());
                Rendered { query, body, gaps: Vec::new(), missing_macros: missing }
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
    let mut renderer = Renderer::new(event);
    renderer.check(webhook, profile)?;
    Ok(renderer.render(webhook, profile, tenant))
}
