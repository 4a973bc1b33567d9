//! `GET /v1/egress`: where deliveries come from, for receivers that filter by address.

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use crate::access::AnyReader;
use crate::state::ManageState;

/// The addresses that deliveries come from.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct EgressAnswer {
    /// Addresses and networks, as the operator states them; empty where nothing is stated.
    addresses: Vec<String>,
}

/// The addresses that deliveries come from, as configured.
#[utoipa::path(
    get, path = "/v1/egress", tag = "installation",
    responses((status = 200, body = EgressAnswer), (status = 401, description = "no valid key"))
)]
pub(crate) async fn get_egress(State(state): State<ManageState>, _: AnyReader) -> Json<EgressAnswer> {
    Json(EgressAnswer { addresses: state.parts().egress_addresses.clone() })
}
