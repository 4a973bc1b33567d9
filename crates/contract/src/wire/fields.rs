//! Single fields, from their wire form to ours and back.

use std::fmt::Display;
use std::str::FromStr;
use std::time::Duration;

use bytes::Bytes;

use super::{WireError, generated};
use crate::clock::Timestamp;
use crate::delivery::{AttemptNumber, Check, Origin, Position, Query, RenderedWith, TooLong};
use crate::event::SchemaVersion;
use crate::revision::Revision;
use crate::webhook::WebhookKind;

pub(super) fn bad_value(field: &'static str, reason: impl Display) -> WireError {
    WireError::BadValue { field, reason: reason.to_string() }
}

pub(super) fn required<T>(field: &'static str, value: Option<T>) -> Result<T, WireError> {
    value.ok_or(WireError::Missing { field })
}

/// An enum's number: 0 is missing, what is not known is bad.
pub(super) fn known<T: TryFrom<i32>>(field: &'static str, number: i32) -> Result<T, WireError> {
    T::try_from(number).map_err(|_| bad_value(field, format_args!("{number} is not known")))
}

pub(super) fn write_id(value: u128) -> Bytes {
    Bytes::copy_from_slice(&value.to_be_bytes())
}

pub(super) fn id(field: &'static str, value: &[u8]) -> Result<u128, WireError> {
    let bytes = <[u8; 16]>::try_from(value).map_err(|_| bad_value(field, "must be 16 bytes long"))?;
    Ok(u128::from_be_bytes(bytes))
}

pub(super) fn text<T: FromStr<Err: Display>>(field: &'static str, value: &str) -> Result<T, WireError> {
    value.parse().map_err(|error| bad_value(field, error))
}

pub(super) fn time(field: &'static str, millis: i64) -> Result<Timestamp, WireError> {
    let time = Timestamp::from_millis(millis);
    if time.as_millis() == millis {
        Ok(time)
    } else {
        Err(bad_value(field, "is not within the years 0 to 9999"))
    }
}

/// Whole milliseconds; finer parts are cut off.
pub(super) fn write_duration(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

pub(super) fn write_position(position: Position) -> generated::Position {
    let Position { attempt, holds, deferrals } = position;
    generated::Position { attempt: attempt.number(), holds, deferrals }
}

pub(super) fn position(wire: Option<generated::Position>) -> Result<Position, WireError> {
    let generated::Position { attempt, holds, deferrals } = required("position", wire)?;
    Ok(Position { attempt: attempt_number("position.attempt", attempt)?, holds, deferrals })
}

pub(super) fn attempt_number(field: &'static str, number: u32) -> Result<AttemptNumber, WireError> {
    AttemptNumber::from_number(number).ok_or_else(|| bad_value(field, "must be 1 at least"))
}

pub(super) fn write_rendered_with(with: RenderedWith) -> generated::RenderedWith {
    generated::RenderedWith {
        webhook: with.webhook.number(),
        profile: with.profile.number(),
        tenant: with.tenant.number(),
    }
}

pub(super) fn rendered_with(wire: Option<generated::RenderedWith>) -> Result<RenderedWith, WireError> {
    let wire = required("rendered_with", wire)?;
    Ok(RenderedWith {
        webhook: Revision::from_number(wire.webhook),
        profile: Revision::from_number(wire.profile),
        tenant: Revision::from_number(wire.tenant),
    })
}

pub(super) fn write_schema_version(version: SchemaVersion) -> generated::SchemaVersion {
    generated::SchemaVersion { major: u32::from(version.major), minor: u32::from(version.minor) }
}

pub(super) fn schema_version(wire: Option<generated::SchemaVersion>) -> Result<SchemaVersion, WireError> {
    let wire = required("schema_version", wire)?;
    let part = |number: u32| u16::try_from(number).map_err(|_| bad_value("schema_version", "is above 65535"));
    Ok(SchemaVersion { major: part(wire.major)?, minor: part(wire.minor)? })
}

pub(super) fn write_kind(kind: WebhookKind) -> i32 {
    i32::from(match kind {
        WebhookKind::Webhook => generated::WebhookKind::Webhook,
        WebhookKind::Postback => generated::WebhookKind::Postback,
    })
}

pub(super) fn kind(number: i32) -> Result<WebhookKind, WireError> {
    match known("kind", number)? {
        generated::WebhookKind::Unspecified => Err(WireError::Missing { field: "kind" }),
        generated::WebhookKind::Webhook => Ok(WebhookKind::Webhook),
        generated::WebhookKind::Postback => Ok(WebhookKind::Postback),
    }
}

pub(super) fn write_origin(origin: Origin) -> i32 {
    i32::from(match origin {
        Origin::Producer => generated::Origin::Producer,
        Origin::Test => generated::Origin::Test,
        Origin::Operator => generated::Origin::Operator,
    })
}

pub(super) fn origin(number: i32) -> Result<Origin, WireError> {
    match known("origin", number)? {
        generated::Origin::Unspecified => Err(WireError::Missing { field: "origin" }),
        generated::Origin::Producer => Ok(Origin::Producer),
        generated::Origin::Test => Ok(Origin::Test),
        generated::Origin::Operator => Ok(Origin::Operator),
    }
}

pub(super) fn written_query(query: &Query) -> Option<Bytes> {
    match query {
        Query::Filled(filled) => Some(filled.clone()),
        Query::OfUrl | Query::TooLong(_) => None,
    }
}

pub(super) fn write_too_long(query: &Query) -> i32 {
    i32::from(match query {
        Query::OfUrl | Query::Filled(_) => generated::TooLong::Unspecified,
        Query::TooLong(TooLong::Query) => generated::TooLong::Query,
        Query::TooLong(TooLong::Form) => generated::TooLong::Form,
    })
}

/// Of both, that it is too long counts.
pub(super) fn query(filled: Option<Bytes>, too_long: i32) -> Result<Query, WireError> {
    Ok(match known("too_long", too_long)? {
        generated::TooLong::Query => Query::TooLong(TooLong::Query),
        generated::TooLong::Form => Query::TooLong(TooLong::Form),
        generated::TooLong::Unspecified => filled.map_or(Query::OfUrl, Query::Filled),
    })
}

pub(super) fn write_check(check: Check) -> i32 {
    i32::from(match check {
        Check::Fresh => generated::Check::Fresh,
        Check::LookUp => generated::Check::LookUp,
    })
}

pub(super) fn check(number: i32) -> Result<Check, WireError> {
    match known("check", number)? {
        generated::Check::Unspecified => Err(WireError::Missing { field: "check" }),
        generated::Check::Fresh => Ok(Check::Fresh),
        generated::Check::LookUp => Ok(Check::LookUp),
    }
}
