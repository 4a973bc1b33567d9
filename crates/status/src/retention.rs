//! Days made ready ahead, and dropped when they are old.

use std::time::Duration;

use postrider_contract::ports::StoreError;

use crate::duties::DutyParts;

/// Should the duty fail for a week, rows still find their day.
const DAYS_AHEAD: i32 = 7;
/// The longest schedule of a built-in profile is three days; late records of the day before still come.
const DAYS_BACK: i32 = 1;

/// How long things are kept.
#[derive(Clone, Copy, Debug)]
pub struct Retention {
    pub days: u16,
    /// Of the bodies of receivers' answers.
    pub body_days: u16,
    pub keys: Duration,
}

/// Idempotent: run at start and every hour.
pub(crate) async fn tidy(parts: &DutyParts) -> Result<(), StoreError> {
    let now = parts.clock.now();
    let today = now.day();
    parts.log.prepare_days(today.plus(-DAYS_BACK), today.plus(DAYS_AHEAD)).await?;
    let dropped = parts.log.drop_days_before(today.plus(-i32::from(parts.retention.days))).await?;
    for day in dropped {
        tracing::info!(day = %day, "dropped a day of the delivery log");
    }
    let dropped = parts.log.drop_bodies_before(today.plus(-i32::from(parts.retention.body_days))).await?;
    for day in dropped {
        tracing::info!(day = %day, "dropped a day of the bodies of receivers' answers");
    }
    parts.keyed.forget_before(now.minus(parts.retention.keys)).await
}
