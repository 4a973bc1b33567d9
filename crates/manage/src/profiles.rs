//! `/v1/profiles`: the delivery contracts that tenants and webhooks choose from.

pub(crate) mod change;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::header::ETAG;
use postrider_contract::profile::{Profile, ProfileName, SignatureRule};
use postrider_contract::revision::Revision;
use postrider_service::cursor::ListIdentity;
use postrider_service::directory::ProfileEntry;
use postrider_service::in_path::InPath;
use postrider_service::problem::Problem;
use postrider_service::query::{ListQuery, NoFilters};
use serde::Serialize;
use utoipa::ToSchema;

use crate::access::AnyReader;
use crate::listing::{self, ListAnswer};
use crate::precondition::entity_tag;
use crate::state::ManageState;

const LIST: ListIdentity<'_> = ListIdentity { kind: "profiles", tenant: "" };
/// Each is a contract that somebody has to know. Deleted ones count: every process keeps them in memory.
const MAX_STORED: usize = 1_000;

/// A delivery contract: all that a receiver can observe.
#[derive(Serialize, ToSchema)]
pub(crate) struct ProfileView {
    /// Always `profile`.
    object: &'static str,
    /// Built-in ones cannot be changed, only copied.
    builtin: bool,
    /// Of its last change; 0 for a built-in one.
    revision: u64,
    /// What makes its signature protect less than it could; for old receivers alone.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    weaknesses: Vec<String>,
    /// The contract itself, in the form an operator writes.
    #[serde(flatten)]
    #[schema(value_type = Object)]
    definition: Profile,
}

impl ProfileView {
    fn new(definition: Profile, revision: Revision) -> Self {
        let builtin = revision == Revision::ZERO;
        let weaknesses = definition.signature.as_ref().map(SignatureRule::weaknesses).unwrap_or_default();
        let weaknesses = weaknesses.iter().map(ToString::to_string).collect();
        ProfileView { object: "profile", builtin, revision: revision.number(), weaknesses, definition }
    }

    fn of(entry: &ProfileEntry) -> Self {
        ProfileView::new(entry.profile.definition().clone(), entry.revision)
    }
}

/// The profiles, by name.
#[utoipa::path(
    get, path = "/v1/profiles", tag = "profiles",
    params(
        ("limit" = Option<u16>, Query, description = "1 to 200; 50 if absent"),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before"),
    ),
    responses((status = 200, body = ListAnswer<ProfileView>), (status = 401, description = "no valid key"))
)]
pub(crate) async fn list_profiles(
    State(state): State<ManageState>,
    _: AnyReader,
    query: ListQuery<NoFilters>,
) -> Result<Json<ListAnswer<ProfileView>>, Problem> {
    let after = LIST.begins_after(&query.page)?;
    let is_on_page =
        |(name, _): &(ProfileName, ProfileEntry)| after.as_deref().is_none_or(|after| name.as_str() > after);
    let rest = state.directory().offered_profiles().into_iter().filter(is_on_page).collect();
    let id_of = |(name, _): &(ProfileName, _)| name.to_string();
    Ok(Json(listing::answer(LIST, &query.page, rest, id_of, |(_, entry)| ProfileView::of(&entry))))
}

/// One profile.
#[utoipa::path(
    get, path = "/v1/profiles/{name}", tag = "profiles",
    params(("name" = String, Path, description = "for instance `standard`")),
    responses(
        (status = 200, body = ProfileView),
        (status = 401, description = "no valid key"),
        (status = 404, description = "there is no such profile"),
    )
)]
pub(crate) async fn get_profile(
    State(state): State<ManageState>,
    _: AnyReader,
    InPath(name): InPath<ProfileName>,
) -> Result<Response, Problem> {
    let entry = state.directory().offered_profile(&name).ok_or_else(Problem::not_found)?;
    Ok(([(ETAG, entity_tag(entry.revision))], Json(ProfileView::of(&entry))).into_response())
}
