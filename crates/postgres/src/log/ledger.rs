//! The ledger: counts of one window, all from one snapshot.
//!
//! Deliveries are counted without reading those that are simply delivered: all of the window by an index alone,
//! those neither delivered nor pending by their partial index, those that are due by another. Delivered are the
//! rest.

use postrider_contract::clock::Timestamp;
use postrider_contract::ports::{Ledger, LedgerQuery, StoreError};
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

use crate::errors::corrupt;
use crate::session::Database;
use crate::stored::{Id, number};

/// The parameters, and what narrows deliveries and events down to the window.
struct Scope {
    parameters: Vec<Box<dyn ToSql + Sync + Send>>,
    deliveries: String,
    events: String,
}

pub(super) async fn ledger(
    database: &Database,
    query: &LedgerQuery,
    overdue_before: Timestamp,
) -> Result<Ledger, StoreError> {
    let scope = Scope::of(query, overdue_before);
    let Scope { deliveries, events, .. } = &scope;
    let sql = format!(
        "SELECT * FROM
        (SELECT count(*) AS total FROM deliveries d WHERE {deliveries}) AS everything,
        (SELECT count(*) AS replays FROM deliveries d WHERE {deliveries} AND d.replay > 0) AS replayed,
        (SELECT count(*) FILTER (WHERE d.status = 1) AS retrying, count(*) FILTER (WHERE d.status = 2) AS held,
                count(*) FILTER (WHERE d.status = 4) AS failed, count(*) FILTER (WHERE d.status = 5) AS canceled,
                count(*) FILTER (WHERE d.status = 6) AS expired
            FROM deliveries d WHERE {deliveries} AND d.status NOT IN (0, 3)) AS odd,
        (SELECT count(*) FILTER (WHERE d.status = 0) AS pending, count(*) FILTER (WHERE d.due_at < $1) AS overdue
            FROM deliveries d WHERE {deliveries} AND d.concluded_at IS NULL AND d.due_at IS NOT NULL) AS due,
        (SELECT count(*) AS accepted, count(*) FILTER (WHERE e.matched > 0) AS matched,
                COALESCE(sum(e.matched), 0)::bigint AS matches
            FROM events e WHERE {events}) AS certain,
        (SELECT count(*) AS in_doubt FROM events_in_doubt e WHERE {events} AND NOT EXISTS (
            SELECT 1 FROM events k
            WHERE k.tenant = e.tenant AND k.id = e.id AND k.accepted_at = e.accepted_at)) AS doubted,
        (SELECT count(*) AS doubtful FROM events_in_doubt e JOIN deliveries d
                ON d.tenant = e.tenant AND d.event_id = e.id AND d.replay = 0
                AND d.id >= {first} AND d.id < {after}
            WHERE {events} AND {deliveries} AND NOT EXISTS (
            SELECT 1 FROM events k
            WHERE k.tenant = e.tenant AND k.id = e.id AND k.accepted_at = e.accepted_at)) AS of_doubted",
        first = first_id_of("e.accepted_at"),
        after = first_id_of("e.accepted_at + 1"),
    );
    let parameters: Vec<&(dyn ToSql + Sync)> =
        scope.parameters.iter().map(|parameter| parameter.as_ref() as &(dyn ToSql + Sync)).collect();
    let rows = database.query(&sql, &parameters).await?;
    let Some(row) = rows.first() else { return Err(corrupt("the ledger's counts are missing")) };
    counted(row, query)
}

/// The lowest delivery id of a moment, as SQL: [`Id::first_at`].
fn first_id_of(millis: &str) -> String {
    format!("(lpad(to_hex({millis}), 12, '0') || repeat('0', 20))::uuid")
}

fn counted(row: &Row, query: &LedgerQuery) -> Result<Ledger, StoreError> {
    let count = |column| number::<u64>(row, column);
    let (accepted, matched, total) = (count("accepted")?, count("matched")?, count("total")?);
    let expected = match query.webhook {
        Some(_) => total,
        // Of an event in doubt nobody has told how many deliveries it should have: it is expected to have those it has.
        None => {
            [count("replays")?, count("doubtful")?].into_iter().fold(count("matches")?, u64::saturating_add)
        }
    };
    let mut ledger = Ledger {
        accepted,
        matched,
        unmatched: accepted.saturating_sub(matched),
        in_doubt: count("in_doubt")?,
        expected,
        pending: count("pending")?,
        retrying: count("retrying")?,
        held: count("held")?,
        delivered: 0,
        failed: count("failed")?,
        canceled: count("canceled")?,
        expired: count("expired")?,
        overdue: count("overdue")?,
    };
    let others =
        [ledger.pending, ledger.retrying, ledger.held, ledger.failed, ledger.canceled, ledger.expired];
    ledger.delivered = total.saturating_sub(others.iter().sum());
    Ok(ledger)
}

impl Scope {
    /// `$1` is always the time before which what is due is overdue.
    fn of(query: &LedgerQuery, overdue_before: Timestamp) -> Self {
        let mut scope = Scope {
            parameters: vec![Box::new(overdue_before.as_millis())],
            deliveries: "true".to_owned(),
            events: "true".to_owned(),
        };
        if let Some(tenant) = &query.tenant {
            let parameter = scope.bind(tenant.as_str().to_owned());
            scope.deliveries.push_str(&format!(" AND d.tenant = {parameter}"));
            scope.events.push_str(&format!(" AND e.tenant = {parameter}"));
        }
        if let Some(webhook) = query.webhook {
            let parameter = scope.bind(Id(webhook.as_u128()));
            scope.deliveries.push_str(&format!(" AND d.webhook = {parameter}"));
        }
        for (bound, comparison) in [(query.since, ">="), (query.until, "<")] {
            if let Some(bound) = bound {
                let parameter = scope.bind(Id::first_at(bound));
                scope.deliveries.push_str(&format!(" AND d.id {comparison} {parameter}"));
                let parameter = scope.bind(bound.as_millis());
                scope.events.push_str(&format!(" AND e.accepted_at {comparison} {parameter}"));
            }
        }
        scope
    }

    fn bind(&mut self, parameter: impl ToSql + Sync + Send + 'static) -> String {
        self.parameters.push(Box::new(parameter));
        format!("${}", self.parameters.len())
    }
}
