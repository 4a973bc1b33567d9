//! `GET /v1/profiles`: the delivery contracts that tenants and webhooks choose from.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use postrider_contract::ports::ConfigKind;
use postrider_contract::profile::{CompiledProfile, Profile, ProfileName, builtin_profile, builtin_profiles};
use postrider_service::cursor::ListIdentity;
use postrider_service::in_path::InPath;
use postrider_service::problem::Problem;
use postrider_service::query::{ListQuery, NoFilters};
use serde::Serialize;
use utoipa::ToSchema;

use crate::access::AnyReader;
use crate::listing::{self, ListAnswer};
use crate::state::ManageState;

const LIST: ListIdentity<'_> = ListIdentity { kind: "profiles", tenant: "" };
/// An installation's own; each is a contract that somebody has to know.
const MAX_STORED: usize = 1_000;

/// A delivery contract: all that a receiver can observe.
#[derive(Serialize, ToSchema)]
pub(crate) struct ProfileView {
    /// Always `profile`.
    object: &'static str,
    /// Built-in ones cannot be changed, only copied.
    builtin: bool,
    /// The contract itself, in the form an operator writes.
    #[serde(flatten)]
    #[schema(value_type = Object)]
    definition: Profile,
}

impl ProfileView {
    fn of(profile: &Arc<CompiledProfile>) -> Self {
        let definition = profile.definition().clone();
        ProfileView { object: "profile", builtin: builtin_profile(&definition.name).is_some(), definition }
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
    let mut profiles: BTreeMap<String, Arc<CompiledProfile>> = BTreeMap::new();
    for profile in builtin_profiles() {
        profiles.insert(profile.name().to_string(), Arc::clone(profile));
    }
    for record in state.documents().records(ConfigKind::Profile, None, None, MAX_STORED).await? {
        let name = record.key.id.parse::<ProfileName>();
        if let Some(entry) = name.ok().and_then(|name| state.directory().profile(&name)) {
            profiles.insert(record.key.id, entry.profile);
        }
    }
    let is_on_page =
        |(name, _): &(String, Arc<CompiledProfile>)| after.as_ref().is_none_or(|after| name > after);
    let rest = profiles.into_iter().filter(is_on_page).collect();
    let id_of = |(name, _): &(String, _)| name.clone();
    Ok(Json(listing::answer(LIST, &query.page, rest, id_of, |(_, profile)| ProfileView::of(&profile))))
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
) -> Result<Json<ProfileView>, Problem> {
    let entry = state.directory().profile(&name).ok_or_else(Problem::not_found)?;
    Ok(Json(ProfileView::of(&entry.profile)))
}
