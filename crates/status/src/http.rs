//! The answers to "where is my event?": events, deliveries with their tries, the ledger.

mod deliveries;
mod delivery_page;
mod events;
mod ledger;
mod response_code;

use std::sync::Arc;

use axum::extract::FromRef;
use postrider_contract::clock::{Clock, Timestamp};
use postrider_contract::ports::{Journal, LogQueries, StoreError};
use postrider_service::authentication::Authenticator;
use postrider_service::problem::{Code, Problem, RETRY_SOON};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::healing::HealingBounds;
use crate::rerendering::Rerendering;

/// What the query routes need.
#[derive(Clone, FromRef)]
pub struct StatusState {
    pub queries: Arc<dyn LogQueries>,
    pub journal: Arc<dyn Journal>,
    pub authenticator: Arc<Authenticator>,
    pub rerendering: Arc<Rerendering>,
    pub clock: Arc<dyn Clock>,
    pub healing: HealingBounds,
}

/// The query routes.
pub fn routes(state: StatusState) -> OpenApiRouter {
    stateless().with_state(state)
}

/// Their description, for the generated document.
#[must_use]
pub fn description() -> utoipa::openapi::OpenApi {
    stateless().into_openapi()
}

fn stateless() -> OpenApiRouter<StatusState> {
    OpenApiRouter::new()
        .routes(routes!(events::list_events))
        .routes(routes!(events::get_event))
        .routes(routes!(deliveries::list_deliveries))
        .routes(routes!(deliveries::get_delivery))
        .routes(routes!(deliveries::list_webhook_deliveries))
        .routes(routes!(deliveries::list_webhook_executions))
        .routes(routes!(ledger::get_ledger))
}

/// The cause goes to the log; the client learns that it may come back.
fn unavailable(error: &StoreError) -> Problem {
    tracing::warn!(%error, "a query of the log was not answered");
    Problem::new(Code::Unavailable, "the log does not answer; try again").with_retry_after(RETRY_SOON)
}

fn checked_window(since: Option<Timestamp>, until: Option<Timestamp>) -> Result<(), Problem> {
    match (since, until) {
        (Some(since), Some(until)) if since >= until => {
            Err(Problem::new(Code::InvalidQuery, "since: must be before until"))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
