//! Deliveries, for the tests of how they are published and taken.

use std::time::Duration;

use bytes::Bytes;
use postrider_contract::clock::Timestamp;
use postrider_contract::delivery::{
    Check, Delivery, DeliveryRef, Origin, Position, Query, RenderedWith, Work,
};
use postrider_contract::event::SchemaVersion;
use postrider_contract::ids::{DeliveryId, EventId, WebhookId};
use postrider_contract::profile::ProfileName;
use postrider_contract::revision::Revision;
use postrider_contract::webhook::WebhookKind;
use postrider_contract::wire;

use crate::publisher::Message;

/// With a body of so many bytes.
pub(crate) fn delivery(number: usize, body: usize) -> Delivery {
    let event_id: EventId = format!("evt_{number}").parse().expect("an id");
    let webhook = WebhookId::from_u128(1);
    let revision = Revision::ZERO;
    Delivery {
        reference: DeliveryRef {
            id: DeliveryId::derive(Timestamp::EPOCH, &event_id, webhook, 0),
            tenant: "acme".parse().expect("an id"),
            event_id,
            event_type: "order.paid".parse().expect("a type"),
            webhook,
            kind: WebhookKind::Webhook,
            accepted_at: Timestamp::EPOCH,
            replay: 0,
        },
        position: Position::START,
        origin: Origin::Producer,
        check: Check::Fresh,
        due_at: Timestamp::EPOCH,
        parked_for: Duration::from_secs(5),
        profile: ProfileName::standard(),
        rendered_with: RenderedWith { webhook: revision, profile: revision, tenant: revision },
        schema_version: SchemaVersion::FIRST,
        event_timestamp: Timestamp::EPOCH,
        query: Query::OfUrl,
        body: Bytes::from(vec![u8::try_from(number % 250).expect("small"); body]),
    }
}

/// Each with its body.
pub(crate) fn deliveries_in(message: &Message) -> Vec<Delivery> {
    match wire::decode_work(message.body.clone()).expect("it is work") {
        Work::Deliver(delivery) => vec![delivery],
        Work::FanOut(bundle) => bundle.into_whole().collect(),
    }
}
