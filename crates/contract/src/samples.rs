//! One event and its tenant, for the tests of all that is made of them.

use bytes::Bytes;

use crate::clock::Timestamp;
use crate::event::{Event, SchemaVersion};
use crate::json::RawObject;
use crate::profile::ProfileName;
use crate::tenant::Tenant;

pub(crate) fn object(text: &str) -> RawObject {
    RawObject::parse(Bytes::copy_from_slice(text.as_bytes())).expect("an object")
}

/// With this data, and without what need not be there.
pub(crate) fn event(data: &str) -> Event {
    Event {
        id: "evt_1".parse().expect("an id"),
        tenant: "tnt_1".parse().expect("an id"),
        event_type: "conversion.created".parse().expect("a type"),
        schema_version: SchemaVersion { major: 2, minor: 1 },
        timestamp: Timestamp::from_millis(1_795_253_400_123),
        accepted_at: Timestamp::from_millis(1_795_253_401_000),
        data: object(data),
        summary: None,
        workflow: None,
    }
}

/// Of this name, without a website.
pub(crate) fn tenant(name: &str) -> Tenant {
    Tenant {
        id: "tnt_1".parse().expect("an id"),
        name: name.to_owned(),
        website: None,
        profile: ProfileName::standard(),
        schema_check: Default::default(),
        created_at: Timestamp::EPOCH,
        updated_at: Timestamp::EPOCH,
    }
}
