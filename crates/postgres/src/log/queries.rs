//! What the API asks of the log: single rows and pages, newest first.
//!
//! Every list walks an index backwards from the page's key: of the webhook where one is given, else of the
//! tenant, or of its event type; for any status but delivered, the partial index of that status; for an odd
//! status code, the one of those. What remains (the kind; a type besides a webhook or a status) is compared row by row
//! on the way, and the statement's time limit bounds it. An event's deliveries are found by its accept time, with which their ids
//! begin, and its replays by an index of their own.

use std::collections::BTreeMap;

use postrider_contract::clock::Timestamp;
use postrider_contract::ids::{DeliveryId, EventId, TenantId, WebhookId};
use postrider_contract::outcome::DeliveryStatus;
use postrider_contract::ports::{
    AttemptView, DeliveryFilter, DeliveryView, EventFilter, EventView, PageOf, StoreError,
};
use tokio_postgres::types::ToSql;

use super::views::{self, DELIVERY_COLUMNS, DOUBT_COLUMNS, EVENT_COLUMNS};
use crate::session::Database;
use crate::stored::{Id, get, kind_code, status_code, time};

/// Conditions joined by AND, with their parameters.
#[derive(Default)]
struct Conditions {
    sql: Vec<String>,
    parameters: Vec<Box<dyn ToSql + Sync + Send>>,
}

impl Conditions {
    /// `?` stands for the parameter.
    fn add(&mut self, condition: &str, parameter: impl ToSql + Sync + Send + 'static) {
        self.parameters.push(Box::new(parameter));
        self.sql.push(condition.replace('?', &format!("${}", self.parameters.len())));
    }

    fn add_fixed(&mut self, condition: &str) {
        self.sql.push(condition.to_owned());
    }

    async fn page(
        mut self,
        database: &Database,
        select: &str,
        order: &str,
        limit: u32,
    ) -> Result<Vec<tokio_postgres::Row>, StoreError> {
        self.parameters.push(Box::new(i64::from(limit)));
        let conditions = self.sql.join(" AND ");
        let sql = format!("{select} WHERE {conditions} ORDER BY {order} LIMIT ${}", self.parameters.len());
        let parameters: Vec<&(dyn ToSql + Sync)> =
            self.parameters.iter().map(|parameter| parameter.as_ref() as &(dyn ToSql + Sync)).collect();
        database.query(&sql, &parameters).await
    }
}

pub(super) async fn event(
    database: &Database,
    tenant: &TenantId,
    id: &EventId,
) -> Result<Option<EventView>, StoreError> {
    let parameters: [&(dyn ToSql + Sync); 2] = [&tenant.as_str(), &id.as_str()];
    let sql = format!(
        "SELECT {EVENT_COLUMNS} FROM events WHERE tenant = $1 AND id = $2 ORDER BY accepted_at DESC LIMIT 1"
    );
    if let Some(row) = database.query(&sql, &parameters).await?.first() {
        return views::accepted_event(row).map(Some);
    }
    let sql = format!("SELECT {DOUBT_COLUMNS} FROM events_in_doubt WHERE tenant = $1 AND id = $2");
    database.query(&sql, &parameters).await?.first().map(views::doubted_event).transpose()
}

pub(super) async fn events(
    database: &Database,
    tenant: &TenantId,
    filter: &EventFilter,
    page: PageOf<(Timestamp, EventId)>,
) -> Result<Vec<EventView>, StoreError> {
    let order = "accepted_at DESC, id DESC";
    let select = format!("SELECT {EVENT_COLUMNS} FROM events");
    let conditions = event_conditions(tenant, filter, &page);
    let accepted = conditions.page(database, &select, order, page.limit).await?;
    let select = format!("SELECT {DOUBT_COLUMNS} FROM events_in_doubt");
    let conditions = event_conditions(tenant, filter, &page);
    let doubted = conditions.page(database, &select, order, page.limit).await?;
    // By place in the list; an event that was just accepted takes that of its doubt.
    let mut found: BTreeMap<(Timestamp, EventId), EventView> = BTreeMap::new();
    for row in &doubted {
        let view = views::doubted_event(row)?;
        found.insert((view.accepted_at, view.id.clone()), view);
    }
    for row in &accepted {
        let view = views::accepted_event(row)?;
        found.insert((view.accepted_at, view.id.clone()), view);
    }
    Ok(found.into_values().rev().take(usize::try_from(page.limit).unwrap_or(usize::MAX)).collect())
}

fn event_conditions(
    tenant: &TenantId,
    filter: &EventFilter,
    page: &PageOf<(Timestamp, EventId)>,
) -> Conditions {
    let mut conditions = Conditions::default();
    conditions.add("tenant = ?", tenant.as_str().to_owned());
    if let Some(event_type) = &filter.event_type {
        conditions.add("event_type = ?", event_type.as_str().to_owned());
    }
    if let Some(since) = filter.since {
        conditions.add("accepted_at >= ?", since.as_millis());
    }
    if let Some(until) = filter.until {
        conditions.add("accepted_at < ?", until.as_millis());
    }
    if let Some((at, id)) = &page.before {
        conditions.add("accepted_at <= ?", at.as_millis());
        let number = conditions.parameters.len();
        conditions.add(&format!("(accepted_at, id) < (${number}, ?)"), id.as_str().to_owned());
    }
    conditions
}

pub(super) async fn delivery(
    database: &Database,
    tenant: &TenantId,
    id: DeliveryId,
) -> Result<Option<DeliveryView>, StoreError> {
    let sql = format!("SELECT {DELIVERY_COLUMNS} FROM deliveries WHERE id = $1 AND tenant = $2");
    let rows = database.query(&sql, &[&Id::from(id), &tenant.as_str()]).await?;
    rows.first().map(views::delivery).transpose()
}

pub(super) async fn attempts(database: &Database, id: DeliveryId) -> Result<Vec<AttemptView>, StoreError> {
    let sql = "SELECT t.attempt, b.body FROM (
            SELECT id AS delivery, first_attempt_id AS id, first_attempt AS attempt FROM deliveries
                WHERE id = $1 AND first_attempt_id IS NOT NULL
            UNION ALL SELECT delivery, id, attempt FROM attempts WHERE delivery = $1
        ) AS t LEFT JOIN response_bodies b ON b.delivery = $1 AND b.attempt = t.id";
    let rows = database.query(sql, &[&Id::from(id)]).await?;
    let mut attempts = BTreeMap::new();
    for row in &rows {
        let view = views::attempt(get(row, "attempt")?, get(row, "body")?)?;
        attempts.insert((view.attempt.number, view.attempt.started_at, view.attempt.id), view);
    }
    Ok(attempts.into_values().collect())
}

pub(super) async fn deliveries(
    database: &Database,
    tenant: &TenantId,
    filter: &DeliveryFilter,
    page: PageOf<DeliveryId>,
) -> Result<Vec<DeliveryView>, StoreError> {
    let select = format!("SELECT {DELIVERY_COLUMNS} FROM deliveries");
    let mut found: BTreeMap<DeliveryId, DeliveryView> = BTreeMap::new();
    let mut searches = Vec::new();
    match &filter.event {
        None => searches.push(delivery_conditions(tenant, filter, &page)),
        Some(event) => {
            for accepted_at in accept_times(database, tenant, event).await? {
                let mut own = delivery_conditions(tenant, filter, &page);
                own.add("id >= ?", Id::first_at(accepted_at));
                own.add("id < ?", Id::first_after(accepted_at));
                searches.push(own);
            }
            let mut replays = delivery_conditions(tenant, filter, &page);
            replays.add_fixed("replay > 0");
            searches.push(replays);
        }
    }
    for search in searches {
        for row in &search.page(database, &select, "id DESC", page.limit).await? {
            let view = views::delivery(row)?;
            found.insert(view.reference.id, view);
        }
    }
    Ok(found.into_values().rev().take(usize::try_from(page.limit).unwrap_or(usize::MAX)).collect())
}

/// The condition on the status is said as in the index, whose next entry is the answer.
pub(super) async fn has_delivered_since(
    database: &Database,
    webhook: WebhookId,
    since: Timestamp,
) -> Result<bool, StoreError> {
    let sql = "SELECT EXISTS (
        SELECT 1 FROM deliveries WHERE webhook = $1 AND concluded_at >= $2 AND status = 3) AS has_delivered";
    let parameters: [&(dyn ToSql + Sync); 2] = [&Id(webhook.as_u128()), &since.as_millis()];
    database.query(sql, &parameters).await?.first().map_or(Ok(false), |row| get(row, "has_delivered"))
}

/// When an event was accepted: once, but a key that was forgotten lets an id be used again.
async fn accept_times(
    database: &Database,
    tenant: &TenantId,
    event: &EventId,
) -> Result<Vec<Timestamp>, StoreError> {
    let sql = "SELECT accepted_at FROM events WHERE tenant = $1 AND id = $2
        UNION SELECT accepted_at FROM events_in_doubt WHERE tenant = $1 AND id = $2";
    let rows = database.query(sql, &[&tenant.as_str(), &event.as_str()]).await?;
    rows.iter().map(|row| time(row, "accepted_at")).collect()
}

fn delivery_conditions(tenant: &TenantId, filter: &DeliveryFilter, page: &PageOf<DeliveryId>) -> Conditions {
    let mut conditions = Conditions::default();
    conditions.add("tenant = ?", tenant.as_str().to_owned());
    if let Some(webhook) = filter.webhook {
        conditions.add("webhook = ?", Id(webhook.as_u128()));
    }
    if let Some(status) = filter.status {
        conditions.add("status = ?", status_code(status));
        match status {
            DeliveryStatus::Pending => conditions.add_fixed("status = 0"),
            DeliveryStatus::Delivered => {}
            DeliveryStatus::Retrying
            | DeliveryStatus::Held
            | DeliveryStatus::Failed
            | DeliveryStatus::Canceled
            | DeliveryStatus::Expired => conditions.add_fixed("status NOT IN (0, 3)"),
        }
    }
    if let Some(event) = &filter.event {
        conditions.add("event_id = ?", event.as_str().to_owned());
    }
    if let Some(event_type) = &filter.event_type {
        conditions.add("event_type = ?", event_type.as_str().to_owned());
    }
    if let Some(kind) = filter.kind {
        conditions.add("kind = ?", kind_code(kind));
    }
    if let Some(code) = filter.code {
        conditions.add("last_code = ?", i32::from(code));
        if !(200..=299).contains(&code) {
            conditions.add_fixed("(last_code < 200 OR last_code > 299)");
        }
    }
    if let Some(since) = filter.since {
        conditions.add("id >= ?", Id::first_at(since));
    }
    if let Some(until) = filter.until {
        conditions.add("id < ?", Id::first_at(until));
    }
    if let Some(before) = page.before {
        conditions.add("id < ?", Id::from(before));
    }
    conditions
}
