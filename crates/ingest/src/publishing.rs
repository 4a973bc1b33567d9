//! From an event and its matches to what is published: deliveries, holds, the accepted record.

use std::sync::Arc;

use bytes::Bytes;
use postrider_contract::delivery::{
    Check, Delivery, DeliveryRef, FanOut, Origin, Position, RenderedWith, Work,
};
use postrider_contract::event::Event;
use postrider_contract::ids::DeliveryId;
use postrider_contract::journal::{AcceptedRecord, ExpectedDelivery, HeldRecord, JournalRecord};
use postrider_contract::outcome::HoldReason;
use postrider_contract::ports::{IntakeReceipt, Publication, Route, StoredMatch};
use postrider_contract::profile::ProfileName;
use postrider_contract::rendering::{RenderError, render_for, shares_body};
use postrider_service::directory::WebhookEntry;

use crate::matching::Match;

/// Above this many matches, or bytes, a worker makes the deliveries from one message.
const FAN_OUT_MATCHES: usize = 64;
const FAN_OUT_BYTES: usize = 4 * 1024 * 1024;
/// The most deliveries of one message: some 200 KiB beside their bodies, far below a broker's 16 MiB.
const FAN_OUT_MAX: usize = 1_000;

/// What one event makes ingest publish, and the answer once all of it is durable.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) receipt: IntakeReceipt,
    pub(crate) publications: Vec<Publication>,
    /// Deliveries that go straight to the waiting room.
    pub(crate) holds: Vec<JournalRecord>,
    pub(crate) accepted: JournalRecord,
    pub(crate) first_tries: usize,
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

/// Bodies already rendered for this event, by what they were rendered with: webhooks with the same rendering share
/// one buffer.
#[derive(Default)]
struct Bodies(Vec<(ProfileName, Bytes)>);

impl Bodies {
    fn of(&mut self, planned: &Planned, event: &Event) -> Result<Bytes, RenderError> {
        let profile = &planned.entry.profile.profile;
        let webhook = &planned.entry.webhook;
        let is_shared = shares_body(webhook, profile);
        if is_shared && let Some((_, body)) = self.0.iter().find(|(name, _)| name == profile.name()) {
            return Ok(body.clone());
        }
        let body = render_for(webhook, profile, event, &planned.entry.tenant)?.body;
        if is_shared {
            self.0.push((profile.name().clone(), body.clone()));
        }
        Ok(body)
    }
}

/// Renders and lays out everything. `check` says whether another copy may exist already.
pub(crate) fn plan(
    event: &Event,
    matches: &[Planned],
    origin: Origin,
    check: Check,
) -> Result<Plan, RenderError> {
    let mut bodies = Bodies::default();
    let mut expected = Vec::with_capacity(matches.len());
    let mut queued = Vec::with_capacity(matches.len());
    let mut holds = Vec::new();
    for planned in matches {
        let body = bodies.of(planned, event).map_err(|error| for_webhook(error, planned))?;
        let delivery = delivery(event, planned, body, origin, check);
        expected.push(ExpectedDelivery {
            id: delivery.reference.id,
            webhook: delivery.reference.webhook,
            kind: delivery.reference.kind,
            profile: delivery.profile.clone(),
            rendered_with: delivery.rendered_with,
            held: planned.held,
        });
        match planned.held {
            Some(why) => {
                let since = event.accepted_at;
                holds.push(JournalRecord::Held(HeldRecord { delivery: delivery.held(), why, since }));
            }
            None => queued.push(delivery),
        }
    }
    let receipt = IntakeReceipt {
        event: event.id.clone(),
        deliveries: expected.iter().map(|one| (one.id, one.webhook)).collect(),
        replayed: false,
    };
    let accepted =
        JournalRecord::Accepted(AcceptedRecord { event: event.clone(), origin, deliveries: expected });
    Ok(Plan { receipt, first_tries: queued.len(), publications: publications(queued), holds, accepted })
}

/// The producer sees its event alone: it must hear whose envelope the event does not go into.
fn for_webhook(error: RenderError, planned: &Planned) -> RenderError {
    let webhook = &planned.entry.webhook.id;
    let profile = planned.entry.profile.profile.name();
    let detail = format!("{} (for webhook {webhook}, in the profile {profile})", error.detail);
    RenderError { detail, ..error }
}

fn delivery(event: &Event, planned: &Planned, body: Bytes, origin: Origin, check: Check) -> Delivery {
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
        body,
    }
}

fn publications(mut deliveries: Vec<Delivery>) -> Vec<Publication> {
    let bytes: usize = deliveries.iter().map(|delivery| delivery.body.len()).sum();
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
