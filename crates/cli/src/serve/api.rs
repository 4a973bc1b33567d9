//! The routes of one process, and their description.

use std::num::NonZeroU32;
use std::sync::Arc;

use axum::Router;
use axum::response::{Html, IntoResponse};
use axum::routing::get;
use http::header;
use postrider_contract::ports::EventIntake;
use postrider_ingest::IngestState;
use postrider_manage::{ManageLimits, ManageParts, ManageState};
use postrider_service::in_path::InPath;
use postrider_service::metrics::HttpMetrics;
use postrider_service::problem::Problem;
use postrider_status::StatusState;
use utoipa::OpenApi;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa_axum::router::OpenApiRouter;

use super::Foundation;
use super::roles::{Running, TakingIn, healing, url_rule};
use crate::api_page;
use crate::api_refusals::{FieldProblemBody, ProblemBody, describe_refusals};
use crate::config::Settings;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Postrider",
        description = "Delivers webhooks: at least once, signed, retried by the receiver's own contract. Every refusal is \
                       `application/problem+json` with a stable `code`.",
        license(name = "MIT OR Apache-2.0")
    ),
    components(schemas(ProblemBody, FieldProblemBody)),
    modifiers(&BearerKeys),
    security(("key" = []))
)]
struct Description;

struct BearerKeys;

impl utoipa::Modify for BearerKeys {
    fn modify(&self, openapi: &mut utoipa::openapi::OpenApi) {
        let scheme = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
        openapi.components.get_or_insert_default().add_security_scheme("key", scheme);
    }
}

/// Publish routes for `ingest`; every route for `manage`; health and metrics for all.
pub(super) fn router(foundation: &Foundation, running: Running) -> anyhow::Result<Router> {
    let roles = foundation.settings.server.roles;
    let mut routes = OpenApiRouter::with_openapi(Description::openapi());
    if let Some(TakingIn { intake, explainer, metrics }) = running.intake {
        let authenticator = Arc::clone(&foundation.authenticator);
        let state = IngestState { intake: Arc::clone(&intake), explainer, authenticator, metrics };
        routes = routes.merge(postrider_ingest::routes(state));
        if roles.manage {
            routes = routes.merge(postrider_manage::routes(manage_state(foundation, intake)));
        }
    }
    if roles.manage {
        routes = routes.merge(postrider_status::routes(StatusState {
            queries: Arc::clone(&foundation.engine.queries),
            journal: Arc::clone(&foundation.engine.journal),
            authenticator: Arc::clone(&foundation.authenticator),
            rerendering: running.rerendering,
            clock: Arc::clone(&foundation.clock),
            healing: healing(&foundation.settings),
        }));
    }
    let (router, mut description) = routes.split_for_parts();
    describe_refusals(&mut description);
    let text: Arc<str> = description.to_pretty_json()?.into();
    let described =
        get(move || async move { ([(header::CONTENT_TYPE, "application/json")], text.to_string()) });
    let router = router
        .route("/openapi.json", described)
        .route("/docs", get(async || (api_page::HEADERS, Html(api_page::PAGE))))
        .route("/docs/page.js", get(async || ([(header::CONTENT_TYPE, "text/javascript")], api_page::SCRIPT)))
        .route("/docs/errors/{code}", get(error_page))
        .merge(foundation.health.routes())
        .merge(foundation.metrics.routes());
    // The last layer: it must see every route.
    Ok(HttpMetrics::register(&foundation.metrics)?.observe(router))
}

async fn error_page(InPath(code): InPath<String>) -> Result<impl IntoResponse, Problem> {
    let page = api_page::error_page(&code).ok_or_else(Problem::not_found)?;
    Ok(([(header::CONTENT_TYPE, "text/markdown; charset=utf-8")], page))
}

pub(super) fn manage_state(foundation: &Foundation, intake: Arc<dyn EventIntake>) -> ManageState {
    ManageState::new(ManageParts {
        store: Arc::clone(&foundation.engine.configuration),
        authenticator: Arc::clone(&foundation.authenticator),
        secret_box: foundation.secrets.clone(),
        url_rule: url_rule(&foundation.settings),
        intake,
        log: Arc::clone(&foundation.engine.queries),
        waiting_room: Arc::clone(&foundation.engine.room),
        clock: Arc::clone(&foundation.clock),
        entropy: Arc::clone(&foundation.entropy),
        egress_addresses: foundation
            .settings
            .egress
            .published_addresses
            .iter()
            .map(ToString::to_string)
            .collect(),
        limits: limits(&foundation.settings),
    })
}

/// The description of every route, as `proto/openapi.json` holds it.
///
/// # Errors
/// When it cannot be written as JSON.
pub fn api_description() -> anyhow::Result<String> {
    let mut description = Description::openapi();
    description.merge(postrider_ingest::description());
    description.merge(postrider_manage::description());
    description.merge(postrider_status::description());
    describe_refusals(&mut description);
    Ok(description.to_pretty_json()?)
}

fn limits(settings: &Settings) -> ManageLimits {
    let number = |setting: NonZeroU32| usize::try_from(setting.get()).unwrap_or(usize::MAX);
    ManageLimits {
        webhooks_per_tenant: number(settings.manage.webhooks_per_tenant),
        keys_per_tenant: number(settings.manage.keys_per_tenant),
        template_bytes_per_tenant: number(settings.manage.template_bytes_per_tenant),
    }
}
