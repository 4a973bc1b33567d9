//! Days made ready ahead, and dropped when they are old; and with them the states of configuration that they named.

use std::time::Duration;

use postrider_contract::clock::Day;
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
    parts.keyed.forget_before(now.minus(parts.retention.keys)).await?;
    forget_configuration(parts, today).await
}

/// Drops the states of configuration that nothing can name any more. A delivery names those that were newest when it was
/// accepted, or a little before, where its process had not heard of a change; its day stays for as long as it is under
/// way, and so do its key and its place in the log.
async fn forget_configuration(parts: &DutyParts, today: Day) -> Result<(), StoreError> {
    let of_keys = parts.clock.now().minus(parts.retention.keys).day();
    let of_retention = today.plus(-i32::from(parts.retention.days));
    let first = parts.log.first_day().await?.unwrap_or(today).min(of_retention).min(of_keys);
    let forgotten = parts.configuration.forget_superseded_before(first.plus(-DAYS_BACK), today).await?;
    if forgotten > 0 {
        tracing::info!(forgotten, "dropped states of configuration that nothing was rendered with any more");
    }
    Ok(())
}

#[cfg(test)]
mod tests;
