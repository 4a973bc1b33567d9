//! The ledger: what was accepted, and where all of it is.

use axum::Json;
use axum::extract::State;
use postrider_contract::clock::Timestamp;
use postrider_contract::ids::{TenantId, WebhookId};
use postrider_contract::key::Scope;
use postrider_contract::ports::{DeliveryFilter, Ledger, LedgerQuery, PageOf};
use postrider_service::authentication::Caller;
use postrider_service::directory::Found;
use postrider_service::problem::{Code, Problem, RETRY_SOON};
use postrider_service::query::Query;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{StatusState, checked_window, unavailable};

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct LedgerWindow {
    /// Accepted at or after this time (RFC 3339); from the beginning of the log if absent.
    #[param(value_type = Option<String>)]
    since: Option<Timestamp>,
    /// Accepted before this time; now if absent.
    #[param(value_type = Option<String>)]
    until: Option<Timestamp>,
    /// Of one webhook only.
    #[param(value_type = Option<String>)]
    webhook_id: Option<WebhookId>,
}

/// `accepted = matched + unmatched`, and `expected` = the sum of the seven states.
#[derive(Serialize, ToSchema)]
pub(super) struct LedgerAnswer {
    events: EventCounts,
    deliveries: DeliveryCounts,
    /// What is younger than this may not be in the log yet; absent if nothing is on its way.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    settling_since: Option<Timestamp>,
    /// Something within the window may not be in the log yet.
    settling: bool,
    /// Everything adds up, and nothing is overdue.
    balanced: bool,
}

#[derive(Serialize, ToSchema)]
struct EventCounts {
    accepted: u64,
    matched: u64,
    unmatched: u64,
    /// Known from their deliveries only; not counted as accepted yet.
    in_doubt: u64,
}

#[derive(Serialize, ToSchema)]
struct DeliveryCounts {
    expected: u64,
    delivered: u64,
    pending: u64,
    retrying: u64,
    held: u64,
    failed: u64,
    canceled: u64,
    expired: u64,
    overdue: u64,
}

/// The ledger of a tenant, or of all tenants for the admin key without a tenant.
#[utoipa::path(
    get, path = "/v1/ledger", tag = "ledger", params(LedgerWindow),
    responses((status = 200, body = LedgerAnswer), (status = 400, description = "a parameter is wrong"))
)]
pub(super) async fn get_ledger(
    State(state): State<StatusState>,
    caller: Caller,
    Query(window): Query<LedgerWindow>,
) -> Result<Json<LedgerAnswer>, Problem> {
    checked_window(window.since, window.until)?;
    let tenant = match &caller {
        Caller::Admin { acts_for: None } => None,
        Caller::Admin { acts_for: Some(_) } | Caller::Tenant(_) => {
            Some(caller.tenant_with(Scope::Read, state.authenticator.directory())?)
        }
    };
    if let Some(webhook) = window.webhook_id {
        check_webhook(&state, tenant.as_ref(), webhook).await?;
    }
    let now = state.clock.now();
    let settled_until = state.journal.settled_until(now).await.map_err(|error| {
        tracing::warn!(%error, "cannot ask how far the journal is read");
        Problem::new(Code::Unavailable, "the journal does not answer; try again").with_retry_after(RETRY_SOON)
    })?;
    let query = LedgerQuery { tenant, webhook: window.webhook_id, since: window.since, until: window.until };
    let overdue_before = now.minus(state.healing.overdue_after);
    let ledger = state.queries.ledger(&query, overdue_before).await.map_err(|error| unavailable(&error))?;
    // Nothing of the future is on its way yet.
    let until = window.until.map_or(now, |until| until.min(now));
    let settling_since = (settled_until < until).then_some(settled_until);
    Ok(Json(LedgerAnswer::new(&ledger, settling_since)))
}

/// A webhook that this caller can see: of its tenant, or a deleted one whose deliveries are still in the tenant's log.
async fn check_webhook(
    state: &StatusState,
    tenant: Option<&TenantId>,
    webhook: WebhookId,
) -> Result<(), Problem> {
    let found = state.authenticator.directory().webhook(webhook);
    let is_there = match (found, tenant) {
        (Found::Known(entry), Some(tenant)) => entry.webhook.tenant == *tenant,
        (Found::Known(_) | Found::Deleted, None) => true,
        (Found::Unknown, None) => false,
        (Found::Deleted | Found::Unknown, Some(tenant)) => {
            let filter = DeliveryFilter { webhook: Some(webhook), ..DeliveryFilter::default() };
            let one = PageOf { before: None, limit: 1 };
            let found = state.queries.deliveries(tenant, &filter, one).await;
            !found.map_err(|error| unavailable(&error))?.is_empty()
        }
    };
    if is_there { Ok(()) } else { Err(Problem::not_found()) }
}

impl LedgerAnswer {
    fn new(ledger: &Ledger, settling_since: Option<Timestamp>) -> Self {
        LedgerAnswer {
            events: EventCounts {
                accepted: ledger.accepted,
                matched: ledger.matched,
                unmatched: ledger.unmatched,
                in_doubt: ledger.in_doubt,
            },
            deliveries: DeliveryCounts {
                expected: ledger.expected,
                delivered: ledger.delivered,
                pending: ledger.pending,
                retrying: ledger.retrying,
                held: ledger.held,
                failed: ledger.failed,
                canceled: ledger.canceled,
                expired: ledger.expired,
                overdue: ledger.overdue,
            },
            settling: settling_since.is_some(),
            settling_since,
            balanced: is_balanced(ledger),
        }
    }
}

fn is_balanced(ledger: &Ledger) -> bool {
    let states = ledger.delivered
        + ledger.pending
        + ledger.retrying
        + ledger.held
        + ledger.failed
        + ledger.canceled
        + ledger.expired;
    let all_expected_are_there = ledger.expected == states;
    ledger.accepted == ledger.matched + ledger.unmatched && all_expected_are_there && ledger.overdue == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ledger_balances_only_if_every_delivery_is_somewhere_and_none_is_overdue() {
        let whole = Ledger { accepted: 3, matched: 2, unmatched: 1, expected: 4, ..Ledger::default() };
        let balanced = Ledger { delivered: 1, retrying: 1, held: 1, failed: 1, ..whole };
        assert!(is_balanced(&balanced));
        assert!(!is_balanced(&Ledger { delivered: 0, ..balanced }));
        assert!(!is_balanced(&Ledger { delivered: 2, ..balanced }));
        assert!(!is_balanced(&Ledger { overdue: 1, ..balanced }));
        assert!(!is_balanced(&Ledger { unmatched: 0, ..balanced }));
    }
}
