//! How the contract's values stand in columns, and back. What cannot be read back is [`StoreError::Corrupt`].

use std::error::Error;

use postrider_contract::clock::{Day, Timestamp};
use postrider_contract::delivery::Origin;
use postrider_contract::ids::{DeliveryId, TenantId};
use postrider_contract::outcome::{DeliveryStatus, HoldReason};
use postrider_contract::ports::StoreError;
use postrider_contract::webhook::WebhookKind;
use tokio_postgres::Row;
use tokio_postgres::types::private::BytesMut;
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, accepts, to_sql_checked};

use crate::errors::corrupt;

/// Milliseconds stand above the 80 low bits of an id.
const TIME_SHIFT: u32 = 80;

/// A 128-bit id as a `uuid`, which sorts by its bytes: as the number does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Id(pub(crate) u128);

impl Id {
    /// The lowest id of a moment. Ids know no time before 1970.
    pub(crate) fn first_at(at: Timestamp) -> Self {
        Id(u128::from(at.as_millis().max(0).unsigned_abs()) << TIME_SHIFT)
    }

    /// The lowest id after a moment's last.
    pub(crate) fn first_after(at: Timestamp) -> Self {
        Id((u128::from(at.as_millis().max(0).unsigned_abs()) + 1) << TIME_SHIFT)
    }
}

impl From<DeliveryId> for Id {
    fn from(id: DeliveryId) -> Self {
        Id(id.as_u128())
    }
}

impl ToSql for Id {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        out.extend_from_slice(&self.0.to_be_bytes());
        Ok(IsNull::No)
    }

    accepts!(UUID);
    to_sql_checked!();
}

impl<'a> FromSql<'a> for Id {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        Ok(Id(u128::from_be_bytes(raw.try_into()?)))
    }

    accepts!(UUID);
}

/// A column's value, by name.
pub(crate) fn get<'a, T: FromSql<'a>>(row: &'a Row, column: &str) -> Result<T, StoreError> {
    row.try_get(column).map_err(|error| corrupt(format!("column {column}: {error}")))
}

/// A column that holds the text of one of the contract's types.
pub(crate) fn parse<T: std::str::FromStr>(row: &Row, column: &str) -> Result<T, StoreError> {
    let text: &str = get(row, column)?;
    text.parse().map_err(|_| corrupt(format!("column {column} holds what this program would not write")))
}

pub(crate) fn time(row: &Row, column: &str) -> Result<Timestamp, StoreError> {
    get(row, column).map(Timestamp::from_millis)
}

pub(crate) fn optional_time(row: &Row, column: &str) -> Result<Option<Timestamp>, StoreError> {
    Ok(get::<Option<i64>>(row, column)?.map(Timestamp::from_millis))
}

/// A count, or a number that was a `u32` when it was written.
pub(crate) fn number<T: TryFrom<i64>>(row: &Row, column: &str) -> Result<T, StoreError> {
    T::try_from(get::<i64>(row, column)?).map_err(|_| corrupt(format!("column {column} is out of range")))
}

pub(crate) fn millis(time: Option<Timestamp>) -> Option<i64> {
    time.map(Timestamp::as_millis)
}

/// `''` stands for the installation.
pub(crate) fn tenant_word(tenant: Option<&TenantId>) -> &str {
    tenant.map_or("", TenantId::as_str)
}

/// Revisions are far below 2^63.
pub(crate) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Of the day a delivery or an attempt of it is kept under.
pub(crate) fn day_of(id: DeliveryId) -> Day {
    id.time().day()
}

pub(crate) fn status_code(status: DeliveryStatus) -> i16 {
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

pub(crate) fn status(row: &Row) -> Result<DeliveryStatus, StoreError> {
    let code: i16 = get(row, "status")?;
    let known = DeliveryStatus::ALL.into_iter().find(|status| status_code(*status) == code);
    known.ok_or_else(|| corrupt(format!("status {code} is not known")))
}

pub(crate) fn kind_code(kind: WebhookKind) -> i16 {
    match kind {
        WebhookKind::Webhook => 0,
        WebhookKind::Postback => 1,
    }
}

pub(crate) fn kind(row: &Row) -> Result<WebhookKind, StoreError> {
    match get::<i16>(row, "kind")? {
        0 => Ok(WebhookKind::Webhook),
        1 => Ok(WebhookKind::Postback),
        code => Err(corrupt(format!("kind {code} is not known"))),
    }
}

pub(crate) fn origin_code(origin: Origin) -> i16 {
    match origin {
        Origin::Producer => 0,
        Origin::Test => 1,
        Origin::Operator => 2,
    }
}

pub(crate) fn origin(row: &Row) -> Result<Origin, StoreError> {
    match get::<i16>(row, "origin")? {
        0 => Ok(Origin::Producer),
        1 => Ok(Origin::Test),
        2 => Ok(Origin::Operator),
        code => Err(corrupt(format!("origin {code} is not known"))),
    }
}

pub(crate) fn hold_code(why: HoldReason) -> i16 {
    match why {
        HoldReason::Paused => 0,
        HoldReason::RateLimited => 1,
        HoldReason::Overflow => 2,
    }
}

pub(crate) fn hold_reason(row: &Row) -> Result<HoldReason, StoreError> {
    match get::<i16>(row, "why")? {
        0 => Ok(HoldReason::Paused),
        1 => Ok(HoldReason::RateLimited),
        2 => Ok(HoldReason::Overflow),
        code => Err(corrupt(format!("hold reason {code} is not known"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_id_of_a_moment_lies_between_its_bounds() {
        let event = "evt_1".parse().expect("an id");
        let at = Timestamp::from_millis(1_795_253_400_123);
        let id =
            Id::from(DeliveryId::derive(at, &event, postrider_contract::ids::WebhookId::from_u128(7), 0));
        assert!(Id::first_at(at) <= id && id < Id::first_after(at));
        assert_eq!(Id::first_after(at), Id::first_at(Timestamp::from_millis(at.as_millis() + 1)));
        assert_eq!(Id::first_at(Timestamp::from_millis(-5)), Id(0), "ids know no time before 1970");
    }

    #[test]
    fn every_status_has_a_code_of_its_own() {
        let codes: std::collections::BTreeSet<i16> =
            DeliveryStatus::ALL.into_iter().map(status_code).collect();
        assert_eq!(codes.len(), DeliveryStatus::ALL.len());
    }
}
