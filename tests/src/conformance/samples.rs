//! Sample events, deliveries and journal records, all made from a [`Sample`]: one event for one webhook.

use std::time::Duration;

use bytes::Bytes;
use postrider_contract::attempt::{
    Attempt, AttemptResult, BodyExtent, FailureClass, Header, Response, SentRequest, Timings,
};
use postrider_contract::clock::Timestamp;
use postrider_contract::delivery::{
    AttemptNumber, Check, Delivery, DeliveryRef, FanOut, Origin, Position, Query, RenderedWith, Work,
};
use postrider_contract::event::{Event, EventType, SchemaVersion};
use postrider_contract::ids::{AttemptId, DeliveryId, EventId, TenantId, WebhookId};
use postrider_contract::journal::{
    AcceptedRecord, AttemptedRecord, ConcludedRecord, Conclusion, DeferredRecord, ExpectedDelivery,
    HeldRecord, JournalRecord, ReleasedRecord,
};
use postrider_contract::json::RawObject;
use postrider_contract::outcome::{Cause, FailureReason, HoldReason, Outcome};
use postrider_contract::ports::{Publication, Route};
use postrider_contract::profile::ProfileName;
use postrider_contract::revision::Revision;
use postrider_contract::webhook::WebhookKind;

/// One event for one webhook. Its fields may be changed before anything is made of it.
#[derive(Clone, Debug)]
pub struct Sample {
    pub tenant: TenantId,
    pub event: EventId,
    pub event_type: EventType,
    pub webhook: WebhookId,
    pub kind: WebhookKind,
    pub origin: Origin,
    pub accepted_at: Timestamp,
    pub replay: u32,
    pub body: Bytes,
}

impl Sample {
    /// Samples of different numbers differ in their event, webhook and body.
    #[must_use]
    pub fn numbered(number: u32, accepted_at: Timestamp) -> Self {
        Sample {
            tenant: tenant("acme"),
            event: event_id(&format!("evt_{number}")),
            event_type: event_type("conversion.created"),
            webhook: webhook(number),
            kind: WebhookKind::Webhook,
            origin: Origin::Producer,
            accepted_at,
            replay: 0,
            body: Bytes::from(format!("{{\"sample\":{number}}}")),
        }
    }

    #[must_use]
    pub fn id(&self) -> DeliveryId {
        DeliveryId::derive(self.accepted_at, &self.event, self.webhook, self.replay)
    }

    #[must_use]
    pub fn reference(&self) -> DeliveryRef {
        DeliveryRef {
            id: self.id(),
            tenant: self.tenant.clone(),
            event_id: self.event.clone(),
            event_type: self.event_type.clone(),
            webhook: self.webhook,
            kind: self.kind,
            accepted_at: self.accepted_at,
            replay: self.replay,
        }
    }

    #[must_use]
    pub fn delivery(&self) -> Delivery {
        Delivery {
            reference: self.reference(),
            position: Position::START,
            origin: self.origin,
            check: Check::Fresh,
            due_at: self.accepted_at,
            parked_for: Duration::ZERO,
            profile: profile(),
            rendered_with: rendered_with(),
            schema_version: SchemaVersion { major: 2, minor: 3 },
            event_timestamp: self.accepted_at.minus(Duration::from_secs(5)),
            query: Query::OfUrl,
            body: self.body.clone(),
        }
    }

    /// To be published at once, as a first try.
    #[must_use]
    pub fn first(&self) -> Publication {
        self.publication(Route::First)
    }

    #[must_use]
    pub fn publication(&self, route: Route) -> Publication {
        Publication { route, work: Work::Deliver(self.delivery()) }
    }

    #[must_use]
    pub fn event(&self) -> Event {
        Event {
            id: self.event.clone(),
            tenant: self.tenant.clone(),
            event_type: self.event_type.clone(),
            schema_version: SchemaVersion { major: 2, minor: 3 },
            timestamp: self.accepted_at.minus(Duration::from_secs(5)),
            accepted_at: self.accepted_at,
            data: data(),
            summary: Some("a conversion — 12,00 €".to_owned()),
            workflow: Some(RawObject::from_stored(Bytes::from_static(b"{\"name\":\"spring\"}"))),
        }
    }

    #[must_use]
    pub fn expected(&self) -> ExpectedDelivery {
        ExpectedDelivery {
            id: self.id(),
            webhook: self.webhook,
            kind: self.kind,
            profile: profile(),
            rendered_with: rendered_with(),
            held: None,
        }
    }

    /// The event was accepted, with this delivery alone.
    #[must_use]
    pub fn accepted(&self) -> JournalRecord {
        self.accepted_with(vec![self.expected()])
    }

    #[must_use]
    pub fn accepted_with(&self, deliveries: Vec<ExpectedDelivery>) -> JournalRecord {
        JournalRecord::Accepted(AcceptedRecord { event: self.event(), origin: self.origin, deliveries })
    }

    /// A try from `position`, with an answer of this status code. The same position and code make the same
    /// attempt id; another code is another real call.
    #[must_use]
    pub fn attempted(&self, position: Position, code: u16, outcome: Outcome) -> JournalRecord {
        let attempt = answered(self, position.attempt, code);
        JournalRecord::Attempted(AttemptedRecord { delivery: self.reference(), position, attempt, outcome })
    }

    #[must_use]
    pub fn delivered(&self, position: Position) -> JournalRecord {
        self.attempted(position, 200, Outcome::Delivered)
    }

    /// Answered with 500; the next try is due at `at`.
    #[must_use]
    pub fn retried(&self, position: Position, at: Timestamp) -> JournalRecord {
        self.attempted(position, 500, Outcome::Retry { at, cause: Cause::Status(500) })
    }

    /// No connection; the next try is due at `at`.
    #[must_use]
    pub fn unreached(&self, position: Position, at: Timestamp) -> JournalRecord {
        let class = FailureClass::Connect;
        let result = AttemptResult::Failure { class, detail: "connection refused".to_owned() };
        let attempt = Attempt { address: None, result, ..answered(self, position.attempt, 0) };
        let outcome = Outcome::Retry { at, cause: Cause::Failure(class) };
        JournalRecord::Attempted(AttemptedRecord { delivery: self.reference(), position, attempt, outcome })
    }

    /// Answered with 500, and that was the last try.
    #[must_use]
    pub fn exhausted(&self, position: Position) -> JournalRecord {
        let outcome = Outcome::Failed { reason: FailureReason::Exhausted, cause: Some(Cause::Status(500)) };
        self.attempted(position, 500, outcome)
    }

    /// `position` is the one after the hold: its `holds` is counted up already.
    #[must_use]
    pub fn held(&self, position: Position, why: HoldReason, since: Timestamp) -> JournalRecord {
        let delivery = Delivery { position, check: Check::LookUp, ..self.delivery() };
        JournalRecord::Held(HeldRecord { delivery, why, since })
    }

    #[must_use]
    pub fn released(&self, position: Position, released_at: Timestamp) -> JournalRecord {
        JournalRecord::Released(ReleasedRecord { delivery: self.reference(), position, released_at })
    }

    #[must_use]
    pub fn deferred(&self, position: Position, due_at: Timestamp) -> JournalRecord {
        JournalRecord::Deferred(DeferredRecord { delivery: self.reference(), position, due_at })
    }

    #[must_use]
    pub fn concluded(&self, conclusion: Conclusion, at: Timestamp) -> JournalRecord {
        JournalRecord::Concluded(ConcludedRecord { delivery: self.reference(), conclusion, at })
    }
}

/// A fan-out of one event to `webhooks` webhooks with two bodies, which they share in turn.
#[must_use]
pub fn fan_out(webhooks: u32, bodies: [Bytes; 2], accepted_at: Timestamp) -> Work {
    let one = |number: u32| {
        let sample = Sample { webhook: webhook(number), ..Sample::numbered(0, accepted_at) };
        Delivery { body: Bytes::new(), ..sample.delivery() }
    };
    let deliveries = (0..webhooks).map(one).collect();
    let body_of = (0..webhooks).map(|number| number % 2).collect();
    Work::FanOut(FanOut { deliveries, bodies: bodies.into(), body_of })
}

/// The try `number` of a delivery, with `holds` holds behind it.
#[must_use]
pub fn position(number: u32, holds: u32) -> Position {
    Position { attempt: attempt_number(number), holds, deferrals: 0 }
}

#[must_use]
pub fn attempt_number(number: u32) -> AttemptNumber {
    AttemptNumber::from_number(number).expect("from 1")
}

#[must_use]
pub fn tenant(text: &str) -> TenantId {
    text.parse().expect("a tenant id")
}

#[must_use]
pub fn event_id(text: &str) -> EventId {
    text.parse().expect("an event id")
}

#[must_use]
pub fn event_type(text: &str) -> EventType {
    text.parse().expect("an event type")
}

#[must_use]
pub fn webhook(number: u32) -> WebhookId {
    WebhookId::from_u128(0x0198_0000_0000_0000_0000_0000_0000_0000 + u128::from(number))
}

#[must_use]
pub fn profile() -> ProfileName {
    ProfileName::standard()
}

#[must_use]
pub fn rendered_with() -> RenderedWith {
    RenderedWith {
        webhook: Revision::from_number(12),
        profile: Revision::from_number(3),
        tenant: Revision::from_number(7),
    }
}

/// What a store that reads JSON would change: a large integer, spaces, a repeated key, escapes.
#[must_use]
pub fn data() -> RawObject {
    let text = br#"{ "n":12345678901234567890123, "b":1,"a":1.0, "b": 2, "s":"\ud800\u0000\/" }"#;
    RawObject::from_stored(Bytes::from_static(text))
}

fn answered(sample: &Sample, number: AttemptNumber, code: u16) -> Attempt {
    let started_at = sample.accepted_at.plus(Duration::from_secs(u64::from(number.number())));
    let unique = sample.id().as_u128() ^ (u128::from(number.number()) << 32) ^ u128::from(code);
    let header =
        |name: &str, value: &'static [u8]| Header { name: name.into(), value: Bytes::from_static(value) };
    Attempt {
        id: AttemptId::from_u128(unique),
        number,
        started_at,
        request: SentRequest {
            method: "POST".to_owned(),
            url: "https://hooks.example.com/in?a=b".to_owned(),
            headers: vec![header("Content-Type", b"application/json")],
            body_sha256: [7; 32],
            body_length: sample.body.len() as u64,
        },
        address: Some(([203, 0, 113, 9], 443).into()),
        timings: Timings {
            dns: Some(Duration::from_millis(2)),
            connect: Some(Duration::from_millis(14)),
            tls: None,
            first_byte: Some(Duration::from_millis(40)),
            total: Duration::from_millis(42),
        },
        result: AttemptResult::Response(Response {
            status: code,
            headers: vec![header("Server", b"caf\xe9\x00")],
            body: Bytes::from_static(b"\x00\xff not text"),
            extent: BodyExtent::Whole,
        }),
    }
}
