//! Any value that can travel.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use postrider_contract::attempt::{
    Attempt, AttemptResult, BodyExtent, FailureClass, Header, Response, SentRequest, Timings,
};
use postrider_contract::clock::Timestamp;
use postrider_contract::delivery::{
    AttemptNumber, Check, Delivery, DeliveryRef, FanOut, Origin, Position, Query, RenderedWith, TooLong, Work,
};
use postrider_contract::event::{Event, SchemaVersion};
use postrider_contract::ids::{AttemptId, DeliveryId, WebhookId};
use postrider_contract::journal::{
    AcceptedRecord, AttemptedRecord, ConcludedRecord, Conclusion, DeferredRecord, ExpectedDelivery,
    HeldRecord, JournalBatch, JournalRecord, ReleasedRecord,
};
use postrider_contract::json::RawObject;
use postrider_contract::outcome::{CancelReason, Cause, FailureReason, HoldReason, Outcome, StatusReason};
use postrider_contract::ports::StoredMatch;
use postrider_contract::revision::Revision;
use postrider_contract::webhook::WebhookKind;
use proptest::option;
use proptest::prelude::*;

fn timestamp() -> impl Strategy<Value = Timestamp> {
    any::<i64>().prop_map(Timestamp::from_millis)
}

/// Whole milliseconds, as the wire keeps them.
fn duration() -> impl Strategy<Value = Duration> {
    any::<u32>().prop_map(|millis| Duration::from_millis(u64::from(millis)))
}

fn bytes() -> impl Strategy<Value = Bytes> {
    prop::collection::vec(any::<u8>(), 0..40).prop_map(Bytes::from)
}

fn object() -> impl Strategy<Value = RawObject> {
    "[ -~]{0,30}".prop_map(|text| RawObject::from_stored(text.into()))
}

fn kind() -> impl Strategy<Value = WebhookKind> {
    prop_oneof![Just(WebhookKind::Webhook), Just(WebhookKind::Postback)]
}

fn origin() -> impl Strategy<Value = Origin> {
    prop_oneof![Just(Origin::Producer), Just(Origin::Test), Just(Origin::Operator)]
}

fn class() -> impl Strategy<Value = FailureClass> {
    prop::sample::select(&FailureClass::ALL[..])
}

fn hold_reason() -> impl Strategy<Value = HoldReason> {
    prop_oneof![Just(HoldReason::Paused), Just(HoldReason::RateLimited), Just(HoldReason::Overflow)]
}

fn failure_reason() -> impl Strategy<Value = FailureReason> {
    prop_oneof![Just(FailureReason::Exhausted), Just(FailureReason::Permanent), Just(FailureReason::Internal)]
}

fn cancel_reason() -> impl Strategy<Value = CancelReason> {
    let all: Vec<CancelReason> = StatusReason::ALL
        .into_iter()
        .filter_map(|reason| if let StatusReason::Canceled(reason) = reason { Some(reason) } else { None })
        .collect();
    prop::sample::select(all)
}

fn attempt_number() -> impl Strategy<Value = AttemptNumber> {
    (1..=u32::MAX).prop_map(|number| AttemptNumber::from_number(number).expect("it is valid"))
}

fn position() -> impl Strategy<Value = Position> {
    (attempt_number(), any::<u32>(), any::<u32>()).prop_map(|(attempt, holds, deferrals)| Position {
        attempt,
        holds,
        deferrals,
    })
}

fn rendered_with() -> impl Strategy<Value = RenderedWith> {
    any::<[u64; 3]>().prop_map(|[webhook, profile, tenant]| RenderedWith {
        webhook: Revision::from_number(webhook),
        profile: Revision::from_number(profile),
        tenant: Revision::from_number(tenant),
    })
}

fn schema_version() -> impl Strategy<Value = SchemaVersion> {
    any::<(u16, u16)>().prop_map(|(major, minor)| SchemaVersion { major, minor })
}

fn reference() -> impl Strategy<Value = DeliveryRef> {
    let names = ("[A-Za-z0-9_-]{1,64}", "[A-Za-z0-9:_-]{1,128}", "[a-z]{1,9}([.][a-z_]{1,9}){0,3}");
    let ids = any::<(u128, u128)>();
    (names, ids, kind(), timestamp(), any::<u32>()).prop_map(|(names, ids, kind, accepted_at, replay)| {
        DeliveryRef {
            id: DeliveryId::from_u128(ids.0),
            tenant: names.0.parse().expect("it is valid"),
            event_id: names.1.parse().expect("it is valid"),
            event_type: names.2.parse().expect("it is valid"),
            webhook: WebhookId::from_u128(ids.1),
            kind,
            accepted_at,
            replay,
        }
    })
}

fn query() -> impl Strategy<Value = Query> {
    let too_long = prop_oneof![Just(TooLong::Query), Just(TooLong::Form)];
    prop_oneof![Just(Query::OfUrl), bytes().prop_map(Query::Filled), too_long.prop_map(Query::TooLong)]
}

fn delivery() -> impl Strategy<Value = Delivery> {
    let standing = (position(), origin(), prop_oneof![Just(Check::Fresh), Just(Check::LookUp)]);
    let times = (timestamp(), timestamp(), duration());
    let rendering = ("[a-z][a-z0-9-]{0,20}", rendered_with(), schema_version());
    (reference(), standing, times, rendering, (query(), bytes())).prop_map(
        |(
            reference,
            (position, origin, check),
            times,
            (profile, rendered_with, schema_version),
            (query, body),
        )| {
            Delivery {
                reference,
                position,
                origin,
                check,
                due_at: times.0,
                parked_for: times.2,
                profile: profile.parse().expect("it is valid"),
                rendered_with,
                schema_version,
                event_timestamp: times.1,
                query,
                body,
            }
        },
    )
}

fn fan_out() -> impl Strategy<Value = FanOut> {
    let parts = (prop::collection::vec(delivery(), 0..5), prop::collection::vec(bytes(), 1..4), any::<u32>());
    parts.prop_map(|(mut deliveries, bodies, seed)| {
        deliveries.iter_mut().for_each(|delivery| delivery.body = Bytes::new());
        let bodies_count = u32::try_from(bodies.len()).expect("it is valid");
        let body_of =
            (0..).zip(&deliveries).map(|(index, _)| seed.wrapping_add(index) % bodies_count).collect();
        FanOut { deliveries, bodies, body_of }
    })
}

pub fn work() -> impl Strategy<Value = Work> {
    prop_oneof![3 => delivery().prop_map(Work::Deliver), 1 => fan_out().prop_map(Work::FanOut)]
}

fn cause() -> impl Strategy<Value = Cause> {
    prop_oneof![any::<u16>().prop_map(Cause::Status), class().prop_map(Cause::Failure)]
}

pub fn outcome() -> impl Strategy<Value = Outcome> {
    prop_oneof![
        Just(Outcome::Delivered),
        (timestamp(), cause()).prop_map(|(at, cause)| Outcome::Retry { at, cause }),
        (failure_reason(), option::of(cause())).prop_map(|(reason, cause)| Outcome::Failed { reason, cause }),
        hold_reason().prop_map(|why| Outcome::Held { why }),
        cancel_reason().prop_map(|reason| Outcome::Canceled { reason }),
        Just(Outcome::Expired),
    ]
}

fn headers() -> impl Strategy<Value = Vec<Header>> {
    prop::collection::vec(
        ("\\PC{0,12}", bytes()).prop_map(|(name, value)| Header { name: name.into(), value }),
        0..4,
    )
}

fn timings() -> impl Strategy<Value = Timings> {
    let part = || option::of(duration());
    (part(), part(), part(), part(), duration()).prop_map(|(dns, connect, tls, first_byte, total)| Timings {
        dns,
        connect,
        tls,
        first_byte,
        total,
    })
}

fn request() -> impl Strategy<Value = SentRequest> {
    (("[A-Z]{0,7}", "\\PC{0,40}"), headers(), any::<[u8; 32]>(), any::<u64>()).prop_map(
        |((method, url), headers, body_sha256, body_length)| SentRequest {
            method,
            url,
            headers,
            body_sha256,
            body_length,
        },
    )
}

fn result() -> impl Strategy<Value = AttemptResult> {
    let extent = prop_oneof![Just(BodyExtent::Whole), Just(BodyExtent::Truncated), Just(BodyExtent::CutOff)];
    let response = (any::<u16>(), headers(), bytes(), extent)
        .prop_map(|(status, headers, body, extent)| Response { status, headers, body, extent });
    prop_oneof![
        response.prop_map(AttemptResult::Response),
        (class(), "\\PC{0,20}").prop_map(|(class, detail)| AttemptResult::Failure { class, detail }),
    ]
}

fn address() -> impl Strategy<Value = SocketAddr> {
    prop_oneof![
        any::<([u8; 4], u16)>().prop_map(SocketAddr::from),
        any::<([u8; 16], u16)>().prop_map(SocketAddr::from),
    ]
}

pub fn attempt() -> impl Strategy<Value = Attempt> {
    let start = (any::<u128>().prop_map(AttemptId::from_u128), attempt_number(), timestamp());
    (start, request(), option::of(address()), timings(), result()).prop_map(
        |((id, number, started_at), request, address, timings, result)| Attempt {
            id,
            number,
            started_at,
            request,
            address,
            timings,
            result,
        },
    )
}

fn event() -> impl Strategy<Value = Event> {
    let texts = (object(), option::of("\\PC{0,20}"), option::of(object()));
    (reference(), schema_version(), timestamp(), texts).prop_map(
        |(reference, schema_version, timestamp, (data, summary, workflow))| Event {
            id: reference.event_id,
            tenant: reference.tenant,
            event_type: reference.event_type,
            schema_version,
            timestamp,
            accepted_at: reference.accepted_at,
            data,
            summary,
            workflow,
        },
    )
}

pub fn stored_match() -> impl Strategy<Value = StoredMatch> {
    (any::<(u128, u128)>(), "[a-z][a-z0-9-]{0,20}", rendered_with()).prop_map(
        |(ids, profile, rendered_with)| StoredMatch {
            delivery: DeliveryId::from_u128(ids.0),
            webhook: WebhookId::from_u128(ids.1),
            profile: profile.parse().expect("it is valid"),
            rendered_with,
        },
    )
}

fn expected() -> impl Strategy<Value = ExpectedDelivery> {
    (stored_match(), kind(), option::of(hold_reason())).prop_map(|(stored, kind, held)| ExpectedDelivery {
        id: stored.delivery,
        webhook: stored.webhook,
        kind,
        profile: stored.profile,
        rendered_with: stored.rendered_with,
        held,
    })
}

fn conclusion() -> impl Strategy<Value = Conclusion> {
    prop_oneof![
        failure_reason().prop_map(Conclusion::Failed),
        cancel_reason().prop_map(Conclusion::Canceled),
        Just(Conclusion::Expired),
    ]
}

fn record() -> impl Strategy<Value = JournalRecord> {
    prop_oneof![
        (event(), origin(), prop::collection::vec(expected(), 0..3)).prop_map(
            |(event, origin, deliveries)| {
                JournalRecord::Accepted(AcceptedRecord { event, origin, deliveries })
            }
        ),
        (reference(), position(), attempt(), outcome()).prop_map(|(delivery, position, attempt, outcome)| {
            JournalRecord::Attempted(AttemptedRecord { delivery, position, attempt, outcome })
        }),
        (delivery(), hold_reason(), timestamp())
            .prop_map(|(delivery, why, since)| JournalRecord::Held(HeldRecord { delivery, why, since })),
        (reference(), position(), timestamp()).prop_map(|(delivery, position, due_at)| {
            JournalRecord::Deferred(DeferredRecord { delivery, position, due_at })
        }),
        (reference(), position(), timestamp()).prop_map(|(delivery, position, released_at)| {
            JournalRecord::Released(ReleasedRecord { delivery, position, released_at })
        }),
        (reference(), conclusion(), timestamp()).prop_map(|(delivery, conclusion, at)| {
            JournalRecord::Concluded(ConcludedRecord { delivery, conclusion, at })
        }),
    ]
}

pub fn batch() -> impl Strategy<Value = JournalBatch> {
    (timestamp(), prop::collection::vec(record(), 0..4)).prop_map(|(written_at, records)| JournalBatch {
        written_at,
        records: records.into_iter().map(Arc::new).collect(),
    })
}
