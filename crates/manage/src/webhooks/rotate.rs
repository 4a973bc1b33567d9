//! `POST /v1/webhooks/{id}/rotate`: a new signing secret.

use std::ops::RangeInclusive;
use std::time::Duration;

use axum::extract::State;
use axum::response::Response;
use http::StatusCode;
use postrider_contract::ids::WebhookId;
use postrider_contract::secret::Secret;
use postrider_contract::webhook::Webhook;
use postrider_service::config_object::webhook_key;
use postrider_service::in_path::InPath;
use postrider_service::json_body::JsonBody;
use postrider_service::problem::Problem;
use serde::Deserialize;
use utoipa::ToSchema;

use super::apply::{Sealing, profile_of};
use super::change::changed;
use super::secrets::{self, Rotation, SecretKind};
use super::view::{self, WebhookAnswer};
use crate::access::Manager;
use crate::documents::Stored;
use crate::precondition::IfMatch;
use crate::state::ManageState;
use crate::whole_number::GivenNumber;

/// Up to a week: longer than any receiver's deployment should take, and a leaked secret must end some day.
const OVERLAP_SECONDS: RangeInclusive<u64> = 0..=7 * 86_400;

/// How the secret is to be replaced.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RotateRequest {
    /// For so long the old secret signs beside the new one, new first; at most seven days. 0 ends it at once.
    #[schema(value_type = Option<u64>, maximum = 604_800)]
    #[serde(default)]
    overlap_seconds: Option<GivenNumber>,
    /// The new secret, if the subscriber brings one; made here if absent.
    #[schema(value_type = Option<String>, write_only)]
    #[serde(default)]
    secret: Option<Secret>,
    /// Of a secret that is made here: `shared`, or `ed25519` where the profile takes such keys. Of these the answer
    /// shows the public half, in `public_keys`, and nobody the other.
    #[schema(value_type = Option<String>)]
    #[serde(default)]
    secret_type: Option<SecretKind>,
}

/// Replaces the signing secret. A secret made here is in this answer alone.
#[utoipa::path(
    post, path = "/v1/webhooks/{id}/rotate", tag = "webhooks", request_body = Option<RotateRequest>,
    params(
        ("id" = String, Path, description = "`wh_…`"),
        ("If-Match" = Option<String>, Header, description = "rotate only at this revision"),
    ),
    responses(
        (status = 200, body = WebhookAnswer),
        (status = 401, description = "no valid key"),
        (status = 403, description = "the key may not manage"),
        (status = 404, description = "there is no such webhook"),
        (status = 409, description = "too many secrets would sign at once"),
        (status = 412, description = "it is at another revision"),
        (status = 422, description = "a field is wrong, or the profile does not sign with several secrets"),
    )
)]
pub(crate) async fn rotate_secret(
    State(state): State<ManageState>,
    Manager(tenant): Manager,
    InPath(id): InPath<WebhookId>,
    if_match: IfMatch,
    body: Option<JsonBody<RotateRequest>>,
) -> Result<Response, Problem> {
    let request = body.map(|JsonBody(request)| request).unwrap_or_default();
    let overlap =
        request.overlap_seconds.as_ref().map(|given| given.within::<u64>(OVERLAP_SECONDS)).transpose();
    let overlap = overlap.map_err(|error| Problem::invalid_field("/overlap_seconds", error.to_string()))?;
    let overlap = Duration::from_secs(overlap.unwrap_or_default());
    let change = |before: &Stored<Webhook>| {
        if_match.check(before.revision)?;
        let profile = profile_of(&state, &tenant, before.object.profile.as_ref())?;
        let rotation = Rotation {
            given: request.secret.as_ref(),
            kind: request.secret_type,
            overlap,
            now: state.parts().clock.now(),
        };
        let sealing = Sealing::new(&state, &tenant, id);
        let settled = secrets::rotate(&before.object.secrets, &rotation, &profile, &sealing)?;
        let after = Webhook { secrets: settled.secrets, ..before.object.clone() };
        Ok((changed(&state, &before.object, after), settled.made))
    };
    let (stored, made) =
        state.documents().change::<Webhook, Option<Secret>>(&webhook_key(&tenant, id), change).await?;
    Ok(view::answer(&state, StatusCode::OK, stored, made).await)
}
