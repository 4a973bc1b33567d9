//! The ledger: counts of what the log holds, day by day.

use postrider_contract::clock::Timestamp;
use postrider_contract::outcome::DeliveryStatus;
use postrider_contract::ports::{Ledger, LedgerQuery, StoreError};
use rusqlite::types::Value;
use rusqlite::{Connection, params_from_iter};

use super::reading::Reading;
use super::upkeep::{add_count, first_id_at};
use crate::cells;

pub(crate) fn ledger(
    reading: &Reading<'_>,
    query: &LedgerQuery,
    overdue_before: Timestamp,
) -> Result<Ledger, StoreError> {
    let mut ledger = Ledger::default();
    for day in reading.days_between(query.since, query.until) {
        reading.read(day, |connection| {
            count_events(connection, query, &mut ledger)?;
            count_deliveries(connection, query, overdue_before, &mut ledger)
        })?;
    }
    Ok(ledger)
}

/// Of an event in doubt nobody has told how many deliveries it should have: it is expected to have those it has.
const EXPECTED: &str = "CASE WHEN in_doubt THEN (SELECT count(*) FROM delivery WHERE delivery.event_id = event.id \
                        AND +delivery.tenant = event.tenant AND delivery.replay = 0) ELSE matched END";

/// For one webhook: the events that it was given a delivery of.
fn count_events(connection: &Connection, query: &LedgerQuery, ledger: &mut Ledger) -> rusqlite::Result<()> {
    let mut conditions = Conditions::default();
    if let Some(tenant) = &query.tenant {
        conditions.add("tenant =", Value::Text(tenant.as_str().to_owned()));
    }
    if let Some(since) = query.since {
        conditions.add("accepted_at >=", Value::Integer(since.as_millis()));
    }
    if let Some(until) = query.until {
        conditions.add("accepted_at <", Value::Integer(until.as_millis()));
    }
    if let Some(webhook) = query.webhook {
        let given = "EXISTS (SELECT 1 FROM delivery WHERE delivery.event_id = event.id \
                     AND +delivery.tenant = event.tenant AND +delivery.webhook =";
        conditions.add_closed(given, Value::Blob(webhook.as_u128().to_be_bytes().to_vec()));
    }
    let sql = format!(
        "SELECT {}, {}, {}, {}, {} FROM event {}",
        sum("in_doubt = 0"),
        sum("in_doubt = 0 AND matched > 0"),
        sum("in_doubt = 0 AND matched = 0"),
        sum("in_doubt"),
        sum(EXPECTED),
        conditions.clause()
    );
    connection.prepare_cached(&sql)?.query_row(params_from_iter(&conditions.values), |row| {
        add_count(row, 0, &mut ledger.accepted)?;
        add_count(row, 1, &mut ledger.matched)?;
        add_count(row, 2, &mut ledger.unmatched)?;
        add_count(row, 3, &mut ledger.in_doubt)?;
        if query.webhook.is_none() {
            add_count(row, 4, &mut ledger.expected)?;
        }
        Ok(())
    })
}

/// One webhook is expected to have the deliveries it has; for all of them the accepted records say how many, and
/// each replay adds one.
fn count_deliveries(
    connection: &Connection,
    query: &LedgerQuery,
    overdue_before: Timestamp,
    ledger: &mut Ledger,
) -> rusqlite::Result<()> {
    let mut conditions = Conditions::default();
    conditions.values.push(Value::Integer(overdue_before.as_millis()));
    if let Some(tenant) = &query.tenant {
        let column = if query.webhook.is_some() { "+tenant =" } else { "tenant =" };
        conditions.add(column, Value::Text(tenant.as_str().to_owned()));
    }
    if let Some(webhook) = query.webhook {
        conditions.add("webhook =", Value::Blob(webhook.as_u128().to_be_bytes().to_vec()));
    }
    if let Some(since) = query.since {
        conditions.add("id >=", Value::Blob(first_id_at(since).to_vec()));
    }
    if let Some(until) = query.until {
        conditions.add("id <", Value::Blob(first_id_at(until).to_vec()));
    }
    let expected = if query.webhook.is_some() { "count(*)".to_owned() } else { sum("replay > 0") };
    let sql = format!(
        "SELECT status, count(*), {expected}, {} FROM delivery {} GROUP BY status",
        sum("status < 2 AND due_at < ?1"),
        conditions.clause()
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query(params_from_iter(&conditions.values))?;
    while let Some(row) = rows.next()? {
        let of_status = match cells::status(row, 0)? {
            DeliveryStatus::Pending => &mut ledger.pending,
            DeliveryStatus::Retrying => &mut ledger.retrying,
            DeliveryStatus::Held => &mut ledger.held,
            DeliveryStatus::Delivered => &mut ledger.delivered,
            DeliveryStatus::Failed => &mut ledger.failed,
            DeliveryStatus::Canceled => &mut ledger.canceled,
            DeliveryStatus::Expired => &mut ledger.expired,
        };
        add_count(row, 1, of_status)?;
        add_count(row, 2, &mut ledger.expected)?;
        add_count(row, 3, &mut ledger.overdue)?;
    }
    Ok(())
}

/// How many rows a condition is true of, or the total of a column.
fn sum(expression: &str) -> String {
    format!("coalesce(sum({expression}), 0)")
}

#[derive(Default)]
struct Conditions {
    conditions: Vec<String>,
    values: Vec<Value>,
}

impl Conditions {
    fn add(&mut self, condition: &str, value: Value) {
        self.values.push(value);
        self.conditions.push(format!("{condition} ?{}", self.values.len()));
    }

    /// A condition that opens a parenthesis.
    fn add_closed(&mut self, condition: &str, value: Value) {
        self.values.push(value);
        self.conditions.push(format!("{condition} ?{})", self.values.len()));
    }

    fn clause(&self) -> String {
        if self.conditions.is_empty() {
            String::new()
        } else {
            format!("WHERE {}", self.conditions.join(" AND "))
        }
    }
}
