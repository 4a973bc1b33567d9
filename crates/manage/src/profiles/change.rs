//! `PUT` and `DELETE /v1/profiles/{name}`: an installation's own delivery contracts, kept by the admin.
//!
//! A change must leave every webhook fit for its profile, and only what nobody uses can be deleted: both are looked up
//! in the directory of that moment. Another process may decide something beside it at the same time. A webhook that chose
//! a profile in the moment of its deletion goes on with it. One that changed in the moment of its profile's change may not
//! fit it: where header names meet, the profile's is sent; without a secret or a credential that fits, its deliveries wait
//! at no cost of a try until it is put right, and after a day fail, which the worker's log says with the reason.

use axum::Json;
use axum::extract::{FromRequest, Request, State};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::ETAG;
use postrider_contract::catalogue::builtin_catalogue_names;
use postrider_contract::profile::{CompiledProfile, InvalidProfile, Profile, ProfileName};
use postrider_service::config_object::{StoredProfile, profile_key};
use postrider_service::directory::ProfileUse;
use postrider_service::in_path::InPath;
use postrider_service::json_body;
use postrider_service::problem::{Code, Problem};
use postrider_service::raw_body::{DocumentForm, RawDocument};

use super::{MAX_STORED, ProfileView};
use crate::access::Admin;
use crate::documents::{Stored, unavailable};
use crate::precondition::{IfMatch, entity_tag};
use crate::state::ManageState;
use crate::webhooks::fit;

/// A profile's form as a caller writes it, in JSON or TOML: well-formed, not yet judged as a whole.
pub(crate) struct WrittenProfile(Profile);

impl FromRequest<ManageState> for WrittenProfile {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &ManageState) -> Result<Self, Problem> {
        let document = RawDocument::from_request(request, state).await?;
        let profile = match document.form {
            DocumentForm::Json => json_body::parse(document.text.as_bytes())?,
            DocumentForm::Toml => Profile::from_toml(&document.text).map_err(|error| refused(&error))?,
        };
        Ok(WrittenProfile(profile))
    }
}

fn refused(error: &InvalidProfile) -> Problem {
    Problem::invalid_field(error.pointer(), error.detail.clone())
}

/// What a `PUT` came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Written {
    Made,
    Changed,
    /// It was so before.
    Nothing,
}

/// Makes a profile, or replaces it as a whole.
#[utoipa::path(
    put, path = "/v1/profiles/{name}", tag = "profiles",
    request_body(
        description = "The form of docs/profiles.md; `name` may be left out",
        content((Object = "application/json"), (String = "application/toml")),
    ),
    params(
        ("name" = String, Path, description = "1 to 64 lower-case letters, digits and `-`, beginning with a letter"),
        ("If-Match" = Option<String>, Header, description = "change it only at this revision"),
    ),
    responses(
        (status = 200, body = ProfileView, description = "changed, or the same as before"),
        (status = 201, body = ProfileView, description = "made"),
        (status = 401, description = "no valid key"),
        (status = 403, description = "not the admin key"),
        (status = 409, description = "the name is that of a built-in profile, there are too many, or others keep changing it"),
        (status = 412, description = "it is at another revision, or not there"),
        (status = 422, description = "the form is wrong, or a webhook does not fit it"),
    )
)]
pub(crate) async fn put_profile(
    State(state): State<ManageState>,
    _: Admin,
    InPath(name): InPath<ProfileName>,
    if_match: IfMatch,
    WrittenProfile(form): WrittenProfile,
) -> Result<Response, Problem> {
    let (stored, written) = put(&state, &name, &if_match, form).await?;
    let status = match written {
        Written::Made => StatusCode::CREATED,
        Written::Changed | Written::Nothing => StatusCode::OK,
    };
    let view = ProfileView::new(stored.object.definition().clone(), stored.revision);
    Ok((status, [(ETAG, entity_tag(stored.revision))], Json(view)).into_response())
}

/// Makes a profile, or replaces it as a whole, for whoever starts the process.
///
/// # Errors
/// What `PUT /v1/profiles/{name}` would answer.
pub async fn put_at_start(state: &ManageState, profile: Profile) -> Result<(), Problem> {
    let name = profile.name.clone();
    put(state, &name, &IfMatch::Any, profile).await.map(drop)
}

async fn put(
    state: &ManageState,
    name: &ProfileName,
    if_match: &IfMatch,
    form: Profile,
) -> Result<(Stored<StoredProfile>, Written), Problem> {
    // What was decided elsewhere until now counts.
    state.directory().refresh().await.map_err(unavailable)?;
    refuse_builtin(state, name)?;
    let profile = form.named(name).and_then(Profile::compile).map_err(|error| refused(&error))?;
    profile.check_verifiable().map_err(|error| refused(&error))?;
    check_catalogue(&profile)?;
    let apply = |before: Option<&Stored<StoredProfile>>| {
        let offered = before.filter(|before| !before.object.is_withdrawn());
        if_match.check_present(offered.map(|before| before.revision))?;
        let after = StoredProfile::Offered(profile.definition().clone());
        let Some(before) = offered else {
            // One that was deleted comes again in its place.
            if before.is_none() {
                check_count(state)?;
            }
            fit::check_profile(state, &profile)?;
            return Ok((Some(after), Written::Made));
        };
        if before.object == after {
            return Ok((None, Written::Nothing));
        }
        fit::check_profile(state, &profile)?;
        Ok((Some(after), Written::Changed))
    };
    state.documents().put::<StoredProfile, Written>(&profile_key(name), apply).await
}

/// Deletes a profile that no tenant and no webhook uses. Deliveries under way go on by it.
#[utoipa::path(
    delete, path = "/v1/profiles/{name}", tag = "profiles",
    params(
        ("name" = String, Path, description = "for instance `acme`"),
        ("If-Match" = Option<String>, Header, description = "delete it only at this revision"),
    ),
    responses(
        (status = 204, description = "deleted"),
        (status = 401, description = "no valid key"),
        (status = 403, description = "not the admin key"),
        (status = 404, description = "there is no such profile"),
        (status = 409, description = "it is built in, or a tenant or webhook uses it"),
        (status = 412, description = "it is at another revision"),
    )
)]
pub(crate) async fn delete_profile(
    State(state): State<ManageState>,
    _: Admin,
    InPath(name): InPath<ProfileName>,
    if_match: IfMatch,
) -> Result<StatusCode, Problem> {
    state.directory().refresh().await.map_err(unavailable)?;
    refuse_builtin(&state, &name)?;
    let apply = |before: &Stored<StoredProfile>| match &before.object {
        StoredProfile::Withdrawn { .. } => Err(Problem::not_found()),
        StoredProfile::Offered(definition) => {
            if_match.check(before.revision)?;
            refuse_used(&state, &name)?;
            Ok((Some(StoredProfile::Withdrawn { withdrawn: definition.clone() }), ()))
        }
    };
    state.documents().change::<StoredProfile, ()>(&profile_key(&name), apply).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// An operator's own profile that had the name first is no built-in one, until it is deleted.
fn refuse_builtin(state: &ManageState, name: &ProfileName) -> Result<(), Problem> {
    if state.directory().offered_profile(name).is_none_or(|entry| !entry.is_builtin()) {
        return Ok(());
    }
    let detail = format!("the profile {name} is built in: copy it, and put the copy under another name");
    Err(Problem::new(Code::Conflict, detail))
}

fn refuse_used(state: &ManageState, name: &ProfileName) -> Result<(), Problem> {
    let uses = state.directory().profile_uses(name);
    let first = match uses.first() {
        None => return Ok(()),
        Some(ProfileUse::Tenant(tenant)) => format!("tenant {tenant}"),
        Some(ProfileUse::Webhook(entry)) => {
            format!("webhook {} of tenant {}", entry.webhook.id, entry.webhook.tenant)
        }
    };
    let others = match uses.len() - 1 {
        0 => String::new(),
        others => format!(" and {others} more"),
    };
    let detail = format!("the profile {name} is used by {first}{others}: give each of them another first");
    Err(Problem::new(Code::Conflict, detail))
}

fn check_catalogue(profile: &CompiledProfile) -> Result<(), Problem> {
    let Some(name) = profile.definition().catalogue.as_deref() else { return Ok(()) };
    let known: Vec<&str> = builtin_catalogue_names().collect();
    if known.contains(&name) {
        return Ok(());
    }
    Err(Problem::invalid_field("/catalogue", format!("must be one of {}", known.join(", "))))
}

/// Deleted ones stay where they are, for what goes on by them, so they count.
fn check_count(state: &ManageState) -> Result<(), Problem> {
    if state.directory().own_profile_count() < MAX_STORED {
        return Ok(());
    }
    let detail = format!(
        "there have been {MAX_STORED} profiles, those counted that were deleted: use the name of one of these again"
    );
    Err(Problem::new(Code::Conflict, detail))
}
