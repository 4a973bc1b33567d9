//! Every route of manage, in one table.

use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::event_types::change as event_type_change;
use crate::profiles::change as profile_change;
use crate::state::ManageState;
use crate::webhooks::{change, create, list, pause, rotate, test_delivery};
use crate::{egress, event_types, keys, profiles, tenants};

/// The management routes, with their description.
pub fn routes(state: ManageState) -> OpenApiRouter {
    stateless().with_state(state)
}

/// Their description, for the generated document.
#[must_use]
pub fn description() -> utoipa::openapi::OpenApi {
    stateless().into_openapi()
}

fn stateless() -> OpenApiRouter<ManageState> {
    OpenApiRouter::new()
        .routes(routes!(tenants::create_tenant, tenants::list_tenants))
        .routes(routes!(tenants::get_tenant, tenants::patch_tenant, tenants::delete_tenant))
        .routes(routes!(keys::create_key, keys::list_keys))
        .routes(routes!(keys::delete_key))
        .routes(routes!(create::create_webhook, list::list_webhooks))
        .routes(routes!(
            list::get_webhook,
            change::patch_webhook,
            change::put_webhook,
            change::delete_webhook
        ))
        .routes(routes!(rotate::rotate_secret))
        .routes(routes!(pause::pause_webhook))
        .routes(routes!(pause::resume_webhook))
        .routes(routes!(test_delivery::test_webhook))
        .routes(routes!(profiles::list_profiles))
        .routes(routes!(profiles::get_profile, profile_change::put_profile, profile_change::delete_profile))
        .routes(routes!(event_types::list_event_types))
        .routes(routes!(
            event_types::get_event_type,
            event_type_change::put_event_type,
            event_type_change::delete_event_type
        ))
        .routes(routes!(egress::get_egress))
}
