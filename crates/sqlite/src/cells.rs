//! How values are written in a row and read back: ids as 16 bytes, most significant first, so that they sort
//! by time; times as milliseconds; our own enums as small numbers that are never used twice.

use std::str::FromStr;

use postrider_contract::clock::Timestamp;
use postrider_contract::delivery::{Origin, RenderedWith};
use postrider_contract::outcome::DeliveryStatus;
use postrider_contract::revision::Revision;
use postrider_contract::webhook::WebhookKind;
use rusqlite::Row;
use rusqlite::types::Type;

/// A value in the file that this program does not write.
#[derive(Debug, thiserror::Error)]
#[error("a stored {what} is not valid")]
struct InvalidCell {
    what: &'static str,
}

pub(crate) fn invalid(column: usize, what: &'static str) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, Type::Null, Box::new(InvalidCell { what }))
}

/// Text that is one of our types.
pub(crate) fn parsed<T: FromStr>(row: &Row<'_>, column: usize, what: &'static str) -> rusqlite::Result<T> {
    row.get_ref(column)?.as_str()?.parse().map_err(|_| invalid(column, what))
}

pub(crate) fn parsed_or_none<T: FromStr>(
    row: &Row<'_>,
    column: usize,
    what: &'static str,
) -> rusqlite::Result<Option<T>> {
    let text = row.get_ref(column)?.as_str_or_null()?;
    text.map(str::parse).transpose().map_err(|_| invalid(column, what))
}

/// The number of an id of 128 bits.
pub(crate) fn id(row: &Row<'_>, column: usize) -> rusqlite::Result<u128> {
    row.get::<_, [u8; 16]>(column).map(u128::from_be_bytes)
}

pub(crate) fn time(row: &Row<'_>, column: usize) -> rusqlite::Result<Timestamp> {
    row.get(column).map(Timestamp::from_millis)
}

pub(crate) fn time_or_none(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<Timestamp>> {
    Ok(row.get::<_, Option<i64>>(column)?.map(Timestamp::from_millis))
}

/// A count.
pub(crate) fn count(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    row.get::<_, i64>(column).map(|number| u64::try_from(number).unwrap_or(0))
}

/// Revisions count from 1 and will not reach the sign bit.
pub(crate) fn revision_number(revision: Revision) -> i64 {
    i64::try_from(revision.number()).unwrap_or(i64::MAX)
}

pub(crate) fn revision(row: &Row<'_>, column: usize) -> rusqlite::Result<Revision> {
    row.get::<_, i64>(column).map(|number| Revision::from_number(number.unsigned_abs()))
}

/// Three columns from `column` on; `None` unless all are there.
pub(crate) fn rendered_with(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<RenderedWith>> {
    if row.get_ref(column)? == rusqlite::types::ValueRef::Null {
        return Ok(None);
    }
    let (webhook, profile) = (revision(row, column)?, revision(row, column + 1)?);
    Ok(Some(RenderedWith { webhook, profile, tenant: revision(row, column + 2)? }))
}

pub(crate) fn kind_number(kind: WebhookKind) -> i64 {
    match kind {
        WebhookKind::Webhook => 0,
        WebhookKind::Postback => 1,
    }
}

pub(crate) fn kind(row: &Row<'_>, column: usize) -> rusqlite::Result<WebhookKind> {
    match row.get::<_, i64>(column)? {
        0 => Ok(WebhookKind::Webhook),
        1 => Ok(WebhookKind::Postback),
        _ => Err(invalid(column, "kind")),
    }
}

pub(crate) fn origin_number(origin: Origin) -> i64 {
    match origin {
        Origin::Producer => 0,
        Origin::Test => 1,
        Origin::Operator => 2,
    }
}

pub(crate) fn origin(row: &Row<'_>, column: usize) -> rusqlite::Result<Origin> {
    match row.get::<_, i64>(column)? {
        0 => Ok(Origin::Producer),
        1 => Ok(Origin::Test),
        2 => Ok(Origin::Operator),
        _ => Err(invalid(column, "origin")),
    }
}

/// 3 is delivered: the day files' index of statuses leaves it out. Up to 2 is not concluded.
pub(crate) fn status_number(status: DeliveryStatus) -> i64 {
    match status {
        DeliveryStatus::Pending => 0,
        DeliveryStatus::Retrying => 1,
        DeliveryStatus::Held => 2,
        DeliveryStatus::Delivered => 3,
        DeliveryStatus::Failed => 4,
        DeliveryStatus::Canceled => 5,
        DeliveryStatus::Expired => 6,
    }
}

pub(crate) fn status(row: &Row<'_>, column: usize) -> rusqlite::Result<DeliveryStatus> {
    let number: i64 = row.get(column)?;
    let status = DeliveryStatus::ALL.into_iter().find(|status| status_number(*status) == number);
    status.ok_or_else(|| invalid(column, "status"))
}
