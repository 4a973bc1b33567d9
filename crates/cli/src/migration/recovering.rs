//! The event behind a captured request, read back out of it by the patterns that it would be made with.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::str::FromStr;

use bytes::Bytes;
use postrider_contract::catalogue::SchemaCheck;
use postrider_contract::clock::Timestamp;
use postrider_contract::delivery::AttemptNumber;
use postrider_contract::event::{Event, SchemaVersion};
use postrider_contract::ids::{DeliveryId, EventId, TenantId, WebhookId};
use postrider_contract::json::RawObject;
use postrider_contract::pattern::Variable;
use postrider_contract::rendering::{EnvelopeVariable, has_own_form};
use postrider_contract::signature::TextVariable;
use postrider_contract::submission::Submission;
use postrider_contract::tenant::Tenant;

use super::skeleton::{Found, beside_body, in_body};
use super::{Difference, Expected, Place, Taken};
use crate::capture::CapturedRequest;

/// Signed times in seconds lie between 2001 and 2286, those in milliseconds too: ten digits, and thirteen.
const SECONDS: std::ops::Range<i64> = 1_000_000_000..10_000_000_000;

/// What a request is made from, as far as a captured one tells.
pub(super) struct Recovered {
    pub(super) event: Event,
    /// Whether the event stands beside the request, or could be read out of it: not out of a form of the webhook's own.
    pub(super) is_event_known: bool,
    pub(super) tenant: Tenant,
    pub(super) moment: Moment,
    /// What is written in a way that Postrider cannot write.
    pub(super) differences: Vec<Difference>,
    pub(super) taken: Vec<Taken>,
    /// Variables of the profile that the request does not tell.
    pub(super) unknown: Vec<String>,
    pub(super) notes: Vec<String>,
}

/// What is different at every try, or of every delivery.
pub(super) struct Moment {
    pub(super) sent_at: Timestamp,
    pub(super) webhook: WebhookId,
    pub(super) delivery: DeliveryId,
    pub(super) attempt: AttemptNumber,
    /// As it was captured, if it has the form of ours.
    pub(super) duplicate_key: Option<String>,
}

struct Reading<'r> {
    found: BTreeMap<String, Found<'r>>,
    differences: Vec<Difference>,
    taken: Vec<Taken>,
    notes: Vec<String>,
}

/// Stands for an event or a tenant that the request does not name.
const NAMELESS: &str = "unknown";

pub(super) fn recover(expected: &Expected, captured: &CapturedRequest) -> Recovered {
    let has_own_form = has_own_form(&expected.registered(captured), &expected.profile);
    let mut found = if has_own_form { BTreeMap::new() } else { in_body(&expected.profile, &captured.body) };
    for (variable, one) in beside_body(expected, captured) {
        found.entry(variable).or_insert(one);
    }
    let mut reading = Reading { found, differences: Vec::new(), taken: Vec::new(), notes: Vec::new() };
    let given = reading.given_event(captured);
    let is_event_known = given.is_some() || !has_own_form;
    let sent_at = reading.sent_at(captured);
    let tenant = reading.tenant(sent_at, expected);
    let event = reading.event(given, &tenant, sent_at);
    let moment = reading.moment(sent_at, &event);
    reading.note_distance(captured, sent_at);
    let all = TextVariable::all().into_iter().map(|variable| variable.name().to_owned());
    let all = all.chain(EnvelopeVariable::all().into_iter().map(|variable| variable.name().to_owned()));
    // Which version of Postrider sends is no business of the captured request.
    let all = all.filter(|name| name != TextVariable::PostriderVersion.name());
    let unknown = all.filter(|name| !reading.found.contains_key(name)).collect();
    let Reading { differences, taken, notes, .. } = reading;
    Recovered { event, is_event_known, tenant, moment, differences, taken, unknown, notes }
}

impl<'r> Reading<'r> {
    fn text(&self, variable: &str) -> Option<&Found<'r>> {
        self.found.get(variable).filter(|found| !found.is_null())
    }

    /// A variable's value, where there is one that Postrider can write.
    fn value<T: FromStr>(&mut self, variable: &str, what: &str) -> Option<T>
    where
        T::Err: Display,
    {
        let found = self.text(variable)?;
        match found.text.parse() {
            Ok(value) => Some(value),
            Err(error) => {
                let detail = format!("cannot be {what} here: {error}");
                self.refuse(variable, detail);
                None
            }
        }
    }

    fn refuse(&mut self, variable: &str, detail: String) {
        let Some(found) = self.found.get(variable) else { return };
        let (place, captured) = (found.place.clone(), Some(found.text.clone().into_owned()));
        self.differences.push(Difference { place, captured, ours: None, detail });
    }

    fn take(&mut self, variable: &'static str) {
        if let Some(Found { place, text, .. }) = self.found.get(variable) {
            let (text, place) = (text.clone().into_owned(), place.clone());
            self.taken.push(Taken { variable, text, place });
        }
    }

    /// The event that stands beside the request.
    fn given_event(&mut self, captured: &CapturedRequest) -> Option<Submission> {
        match Submission::parse(captured.event.as_ref()?) {
            Ok(submission) => Some(submission),
            Err(error) => {
                let detail = format!("the event beside the request would be refused: {error}");
                let place = Place::Body;
                self.differences.push(Difference { place, captured: None, ours: None, detail });
                None
            }
        }
    }

    /// The signed time; without one, when the request was captured.
    fn sent_at(&mut self, captured: &CapturedRequest) -> Timestamp {
        let in_millis = (TextVariable::TimestampMillis.name(), 1, "milliseconds");
        let in_seconds = (TextVariable::Timestamp.name(), 1_000, "seconds");
        for (variable, millis, unit) in [in_millis, in_seconds] {
            let Some(number) = self.value::<i64>(variable, "a signed time") else { continue };
            if SECONDS.contains(&(number / (1_000 / millis))) {
                self.take(variable);
                return Timestamp::from_millis(number.saturating_mul(millis));
            }
            self.refuse(variable, format!("is not a time in {unit} since 1970"));
        }
        captured.at.unwrap_or(Timestamp::EPOCH)
    }

    fn tenant(&mut self, at: Timestamp, expected: &Expected) -> Tenant {
        let by_uri = self.text("tenant.uri").and_then(|found| {
            let id = found.text.strip_prefix("/tenants/")?;
            id.parse().ok()
        });
        let id: Option<TenantId> = self.value("tenant.id", "a tenant's id").or(by_uri);
        let told = |variable: &str| self.text(variable).map(|found| found.text.clone().into_owned());
        let brand = expected.brand.clone();
        Tenant {
            id: id.or(brand.id).unwrap_or_else(|| NAMELESS.parse().expect("a test makes this tenant")),
            name: told("tenant.name").or(brand.name).unwrap_or_default(),
            website: told("tenant.website").or(brand.website),
            profile: expected.profile.name().clone(),
            schema_check: SchemaCheck::Off,
            created_at: at,
            updated_at: at,
        }
    }

    fn event(&mut self, given: Option<Submission>, tenant: &Tenant, sent_at: Timestamp) -> Event {
        let id = self.value("event.id", "an event's id");
        let timestamp = self.value("event.timestamp", "an event's time");
        let accepted_at = self.value("event.accepted_at", "an event's time");
        if let Some(given) = given {
            return Event {
                id: given.id.or(id).unwrap_or_else(nameless_event),
                tenant: tenant.id.clone(),
                event_type: given.event_type,
                schema_version: given.schema_version,
                timestamp: given.timestamp.or(timestamp).unwrap_or(sent_at),
                accepted_at: accepted_at.unwrap_or(sent_at),
                data: given.data,
                summary: given.summary,
                workflow: given.workflow,
            };
        }
        let event_type = self.value("event.type", "an event's type");
        Event {
            id: id.unwrap_or_else(nameless_event),
            tenant: tenant.id.clone(),
            event_type: event_type.unwrap_or_else(|| NAMELESS.parse().expect("a test makes this event")),
            schema_version: self
                .value("event.schema_version", "a schema's version")
                .unwrap_or(SchemaVersion::FIRST),
            timestamp: timestamp.unwrap_or(sent_at),
            accepted_at: accepted_at.unwrap_or(sent_at),
            data: self.data(),
            summary: self.text("event.summary").map(|found| found.text.clone().into_owned()),
            workflow: self.object("event.workflow"),
        }
    }

    fn data(&mut self) -> RawObject {
        let data = self.object("event.data").or_else(|| self.object("event.data.members"));
        data.unwrap_or_else(|| RawObject::from_stored(Bytes::from_static(b"{}")))
    }

    fn object(&mut self, variable: &str) -> Option<RawObject> {
        let raw = Bytes::from(self.text(variable)?.raw.clone().into_owned());
        match RawObject::parse(raw) {
            Ok(object) => Some(object),
            Err(error) => {
                self.refuse(variable, error.to_string());
                None
            }
        }
    }

    fn moment(&mut self, sent_at: Timestamp, event: &Event) -> Moment {
        let webhook = self.id_of_the_moment("webhook.id").unwrap_or(WebhookId::from_u128(1));
        let delivery = self.id_of_the_moment("delivery.id");
        let attempt = self.value::<u32>("attempt.number", "the number of a try");
        if attempt.is_some() {
            self.take("attempt.number");
        }
        // Written like a webhook's id, though it is another for every event.
        let key = self.id_of_the_moment::<WebhookId>("delivery.duplicate_key");
        Moment {
            sent_at,
            webhook,
            delivery: delivery.unwrap_or_else(|| DeliveryId::derive(sent_at, &event.id, webhook, 0)),
            attempt: attempt.and_then(AttemptNumber::from_number).unwrap_or(AttemptNumber::FIRST),
            duplicate_key: key.map(|key| key.to_string()),
        }
    }

    fn id_of_the_moment<T: FromStr>(&mut self, variable: &'static str) -> Option<T>
    where
        T::Err: Display,
    {
        let id = self.value(variable, "such an id")?;
        self.take(variable);
        Some(id)
    }

    /// A signed time that is far from when the request was captured would be refused by receivers.
    fn note_distance(&mut self, captured: &CapturedRequest, sent_at: Timestamp) {
        let is_signed = self.taken.iter().any(|taken| taken.variable.starts_with("timestamp"));
        let Some(at) = captured.at.filter(|_| is_signed) else { return };
        let distance = at.since(sent_at).max(sent_at.since(at)).as_secs();
        if distance > 60 {
            self.notes
                .push(format!("the signed time is {distance} s away from when the request was captured"));
        }
    }
}

fn nameless_event() -> EventId {
    NAMELESS.parse().expect("a test makes this event")
}
