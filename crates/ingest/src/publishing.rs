//! From an event and its matches to what is published: deliveries, holds, the accepted record.
//!
//! Bodies are rendered page by page, and no more of them than a page holds are in memory: what one event takes does not
//! grow with the number of its webhooks.

use std::sync::Arc;

use bytes::Bytes;
use postrider_contract::delivery::{
    Check, Delivery, DeliveryRef, FanOut, Origin, Position, RenderedWith, Work,
};
use postrider_contract::event::{Event, Versions};
use postrider_contract::ids::DeliveryId;
use postrider_contract::journal::{AcceptedRecord, ExpectedDelivery, HeldRecord, JournalRecord};
use postrider_contract::outcome::HoldReason;
use postrider_contract::ports::{IntakeReceipt, Publication, Route, StoredMatch};
use postrider_contract::rendering::{RenderError, Rendered, Renderer, choose};
use postrider_contract::webhook::Webhook;
use postrider_service::directory::WebhookEntry;

use crate::matching::Match;

/// Above this many matches, or bytes, a worker makes the deliveries from one message.
const FAN_OUT_MATCHES: usize = 64;
const FAN_OUT_BYTES: usize = 4 * 1024 * 1024;
/// The most deliveries of one message: some 200 KiB beside their bodies, far below a broker's 16 MiB.
const FAN_OUT_MAX: usize = 1_000;

/// Bodies of so many bytes make a page: as many as one message of a fan-out holds.
const PAGE_BYTES: usize = FAN_OUT_BYTES;
/// So many bodies are made before others have their turn: some milliseconds, for the largest templates.
const BODIES_AT_ONCE: usize = 64;

/// Well below what an engine takes for large, and with a queue of its own.
const SMALL_BODY: usize = 32 * 1024;

/// Some of an event's deliveries, rendered.
#[derive(Debug)]
pub(crate) struct Page {
    pub(crate) publications: Vec<Publication>,
    /// Deliveries that go straight to the waiting room.
    pub(crate) holds: Vec<JournalRecord>,
}

impl Page {
    /// All that is published of it goes to the queue of first tries, as nearly everything does.
    pub(crate) fn is_ordinary(&self) -> bool {
        let is_small = |one: &Publication| match &one.work {
            Work::Deliver(delivery) => delivery.body.len() <= SMALL_BODY,
            Work::FanOut(_) => false,
        };
        !self.publications.is_empty() && self.publications.iter().all(is_small)
    }
}

/// The deliveries of an event that [`check_all`] has found to be possible, page by page.
pub(crate) struct Pages<'m> {
    event: &'m Event,
    /// As [`Event::by_version`] takes it apart: once, however many pages there are.
    versions: Vec<Event>,
    rest: &'m [Planned],
    origin: Origin,
    check: Check,
}

/// A match, settled: which delivery it makes, rendered with what.
pub(crate) struct Planned {
    /// With the profile and tenant that its body is rendered with.
    pub(crate) entry: Arc<WebhookEntry>,
    pub(crate) held: Option<HoldReason>,
    pub(crate) stored: StoredMatch,
}

impl Planned {
    pub(crate) fn new(matched: Match, event: &Event) -> Self {
        let entry = matched.entry;
        let profile = &entry.profile;
        let stored = StoredMatch {
            delivery: DeliveryId::derive(event.accepted_at, &event.id, entry.webhook.id, 0),
            webhook: entry.webhook.id,
            profile: profile.profile.name().clone(),
            rendered_with: RenderedWith {
                webhook: entry.revision,
                profile: profile.revision,
                tenant: entry.tenant_revision,
            },
        };
        Planned { entry, held: matched.held, stored }
    }
}

/// Whether every webhook that the event goes to can be sent it. Nothing has happened yet: an error is the producer's.
pub(crate) fn check_all(event: &Event, matches: &[Planned]) -> Result<(), RenderError> {
    let versions = event.by_version();
    let mut renderers = renderers(event, &versions);
    for planned in matches {
        let WebhookEntry { webhook, profile, .. } = &*planned.entry;
        let renderer = &mut renderers[choose(&versions, webhook)];
        renderer.check(webhook, &profile.profile).map_err(|error| for_webhook(error, planned, event))?;
    }
    Ok(())
}

/// One for each of its versions, in their order; one where there is no more than the event itself.
pub(crate) fn renderers<'e, 'w>(event: &'e Event, versions: &'e [Event]) -> Vec<Renderer<'e, 'w>> {
    let seen = if versions.is_empty() { std::slice::from_ref(event) } else { versions };
    seen.iter().map(Renderer::new).collect()
}

/// How many bodies they made together, and of how many bytes.
fn made(renderers: &[Renderer<'_, '_>]) -> (usize, usize) {
    let made = || renderers.iter().map(Renderer::made);
    (made().map(|one| one.bodies).sum(), made().map(|one| one.bytes).sum())
}

/// What the log expects of an accepted event, and what its producer is told.
pub(crate) fn accepted_record(
    event: &Event,
    matches: &[Planned],
    origin: Origin,
) -> (JournalRecord, IntakeReceipt) {
    let expected = |planned: &Planned| ExpectedDelivery {
        id: planned.stored.delivery,
        webhook: planned.stored.webhook,
        kind: planned.entry.webhook.kind,
        profile: planned.stored.profile.clone(),
        rendered_with: planned.stored.rendered_with,
        held: planned.held,
    };
    let deliveries = matches.iter().map(expected).collect();
    let record = AcceptedRecord { event: event.clone(), origin, deliveries };
    let receipt = IntakeReceipt {
        event: event.id.clone(),
        deliveries: matches.iter().map(|one| (one.stored.delivery, one.stored.webhook)).collect(),
        replayed: false,
    };
    (JournalRecord::Accepted(record), receipt)
}

impl<'m> Pages<'m> {
    /// `check` says whether another copy may exist already.
    pub(crate) fn new(event: &'m Event, matches: &'m [Planned], origin: Origin, check: Check) -> Self {
        Pages { event, versions: event.by_version(), rest: matches, origin, check }
    }

    pub(crate) fn is_last(&self) -> bool {
        self.rest.is_empty()
    }

    /// Renders as many of the deliveries that are left as make a page; an empty one if none is left.
    pub(crate) async fn render_next(&mut self) -> Page {
        let mut renderers = renderers(self.event, &self.versions);
        let (mut queued, mut holds) = (Vec::new(), Vec::new());
        let mut pause_at = BODIES_AT_ONCE;
        while let Some((planned, rest)) = self.rest.split_first() {
            let (bodies, bytes) = made(&renderers);
            if bytes >= PAGE_BYTES {
                break;
            }
            if bodies >= pause_at {
                pause_at += BODIES_AT_ONCE;
                renderers.iter_mut().for_each(Renderer::forget_data);
                tokio::task::yield_now().await;
            }
            self.rest = rest;
            let WebhookEntry { webhook, profile, tenant, .. } = &*planned.entry;
            let renderer = &mut renderers[choose(&self.versions, webhook)];
            let rendered = renderer.render(webhook, &profile.profile, tenant);
            let delivery = delivery(renderer.event(), planned, rendered, self.origin, self.check);
            match planned.held {
                Some(why) => {
                    let since = self.event.accepted_at;
                    holds.push(JournalRecord::Held(HeldRecord { delivery: delivery.held(), why, since }));
                }
                None => queued.push(delivery),
            }
        }
        Page { publications: publications(queued), holds }
    }
}

/// The producer sees its event alone: it must hear whose envelope the event does not go into.
fn for_webhook(error: RenderError, planned: &Planned, event: &Event) -> RenderError {
    let webhook = &planned.entry.webhook;
    let RenderError { pointer, detail } = as_it_was_sent(error, webhook, event);
    let profile = planned.entry.profile.profile.name();
    let detail = format!("{detail} (for webhook {}, in the profile {profile})", webhook.id);
    RenderError { pointer, detail }
}

/// With the place in what the producer wrote, where it wrote several versions.
pub(crate) fn as_it_was_sent(error: RenderError, webhook: &Webhook, event: &Event) -> RenderError {
    let versions = Versions::of(event.schema_version, &event.data);
    let seen = versions.index_for(webhook.pinned_major(&event.event_type));
    let place = seen.and_then(|index| versions.iter().nth(index)).map(|one| &*one.pointer);
    let pointer = match (error.pointer.strip_prefix("/data"), place) {
        (Some(within), Some(place)) => format!("{place}{within}"),
        (_, _) => error.pointer,
    };
    RenderError { pointer, detail: error.detail }
}

pub(crate) fn delivery(
    event: &Event,
    planned: &Planned,
    rendered: Rendered,
    origin: Origin,
    check: Check,
) -> Delivery {
    let webhook = &planned.entry.webhook;
    Delivery {
        reference: DeliveryRef {
            id: planned.stored.delivery,
            tenant: event.tenant.clone(),
            event_id: event.id.clone(),
            event_type: event.event_type.clone(),
            webhook: webhook.id,
            kind: webhook.kind,
            accepted_at: event.accepted_at,
            replay: 0,
        },
        position: Position::START,
        origin,
        check,
        due_at: event.accepted_at,
        parked_for: std::time::Duration::ZERO,
        profile: planned.stored.profile.clone(),
        rendered_with: planned.stored.rendered_with,
        schema_version: event.schema_version,
        event_timestamp: event.timestamp,
        query: rendered.query,
        body: rendered.body,
    }
}

fn publications(mut deliveries: Vec<Delivery>) -> Vec<Publication> {
    let bytes: usize = deliveries.iter().map(|delivery| delivery.body.len() + delivery.query.length()).sum();
    let is_fan_out = deliveries.len() > FAN_OUT_MATCHES || bytes > FAN_OUT_BYTES && deliveries.len() > 1;
    let first = |work| Publication { route: Route::First, work };
    if !is_fan_out {
        return deliveries.into_iter().map(Work::Deliver).map(first).collect();
    }
    let mut publications = Vec::new();
    while !deliveries.is_empty() {
        let rest = deliveries.split_off(fan_out_length(&deliveries));
        publications.push(first(Work::FanOut(fan_out(deliveries))));
        deliveries = rest;
    }
    publications
}

/// How many of the first deliveries fit into one message, by number and by the bytes of their distinct bodies; at
/// least one.
fn fan_out_length(deliveries: &[Delivery]) -> usize {
    let mut seen: Vec<*const u8> = Vec::new();
    let mut bytes = 0;
    for (index, delivery) in deliveries.iter().enumerate() {
        if !seen.contains(&delivery.body.as_ptr()) {
            seen.push(delivery.body.as_ptr());
            bytes += delivery.body.len();
        }
        bytes += delivery.query.length();
        if index > 0 && (index >= FAN_OUT_MAX || bytes > FAN_OUT_BYTES) {
            return index;
        }
    }
    deliveries.len()
}

/// Takes the bodies out of the deliveries; a shared buffer is kept once.
fn fan_out(mut deliveries: Vec<Delivery>) -> FanOut {
    let mut bodies: Vec<Bytes> = Vec::new();
    let mut body_of = Vec::with_capacity(deliveries.len());
    for delivery in &mut deliveries {
        let body = std::mem::take(&mut delivery.body);
        let is_same = |kept: &Bytes| kept.as_ptr() == body.as_ptr() && kept.len() == body.len();
        let index = bodies.iter().position(is_same).unwrap_or_else(|| {
            bodies.push(body);
            bodies.len() - 1
        });
        body_of.push(u32::try_from(index).unwrap_or(u32::MAX));
    }
    FanOut { deliveries, bodies, body_of }
}
