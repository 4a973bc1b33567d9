//! `tenants`: each is one brand.

use http::Method;
use serde_json::{Map, Value};

use super::api::Call;
use super::error::ClientError;
use super::listing::{Limit, show_list};
use super::session::Session;
use crate::table::Column;

const COLUMNS: [Column; 5] = [
    Column::id("ID", "/id"),
    Column::text("NAME", "/name"),
    Column::text("PROFILE", "/profile"),
    Column::time("CREATED", "/created_at").if_room(),
    Column::text("WEBSITE", "/website").if_room(),
];
const SHEET: [Column; 7] = [
    Column::text("id", "/id"),
    Column::text("name", "/name"),
    Column::text("profile", "/profile"),
    Column::text("website", "/website"),
    Column::text("schema check", "/schema_check"),
    Column::time("created", "/created_at"),
    Column::time("updated", "/updated_at"),
];

#[derive(clap::Subcommand)]
pub enum Tenants {
    /// Makes a tenant
    ///
    /// Its profile is the delivery contract of its webhooks: envelope, headers,
    /// signature, retries. `standard` is Standard Webhooks.
    ///
    /// Example:
    ///   postrider tenants create --name "Acme" --id acme --profile trcker
    #[command(verbatim_doc_comment)]
    Create(Create),
    /// Lists all tenants
    List(Limit),
    /// Shows one tenant
    Show {
        /// As `tenants list` shows it, or your own
        id: String,
    },
    /// Changes a tenant; what is not named stays as it is
    Update(Update),
    /// Deletes a tenant: its keys stop working and its webhooks stop receiving
    Delete {
        /// As `tenants list` shows it, or your own
        id: String,
    },
}

#[derive(clap::Args)]
pub struct Create {
    /// For people; may be changed later
    #[arg(long)]
    name: String,
    /// An id of your own; made by the server if absent
    #[arg(long)]
    id: Option<String>,
    #[command(flatten)]
    settings: Settings,
}

#[derive(clap::Args)]
pub struct Update {
    /// As `tenants list` shows it, or your own
    id: String,
    /// For people
    #[arg(long)]
    name: Option<String>,
    #[command(flatten)]
    settings: Settings,
}

#[derive(clap::Args)]
struct Settings {
    /// The delivery contract, as `profiles list` shows it: standard, trcker, cloudevents, or your own
    #[arg(long)]
    profile: Option<String>,
    /// The brand's website, for envelopes that carry it
    #[arg(long, value_name = "URL")]
    website: Option<String>,
    /// What becomes of events that are not as the catalogue says: off, warn or enforce
    #[arg(long, value_name = "CHOICE", value_parser = ["off", "warn", "enforce"])]
    schema_check: Option<String>,
}

impl Settings {
    fn into_members(self) -> Map<String, Value> {
        let members =
            [("profile", self.profile), ("website", self.website), ("schema_check", self.schema_check)];
        members
            .into_iter()
            .filter_map(|(name, value)| Some((name.to_owned(), Value::String(value?))))
            .collect()
    }
}

impl Tenants {
    pub(super) async fn run(self, session: &mut Session) -> Result<(), ClientError> {
        match self {
            Tenants::Create(create) => {
                let mut body = create.settings.into_members();
                body.insert("name".to_owned(), Value::String(create.name));
                body.extend(create.id.map(|id| ("id".to_owned(), Value::String(id))));
                session
                    .show(Call::post(["tenants"]).of_installation().json(&Value::Object(body)), &SHEET)
                    .await
            }
            Tenants::List(limit) => {
                let nothing = "no tenants yet: postrider tenants create --name NAME";
                show_list(session, || Call::get(["tenants"]).of_installation(), &limit, &COLUMNS, nothing)
                    .await
            }
            Tenants::Show { id } => {
                session.show(Call::get(["tenants", id.as_str()]).of_installation(), &SHEET).await
            }
            Tenants::Update(update) => {
                let mut body = update.settings.into_members();
                body.extend(update.name.map(|name| ("name".to_owned(), Value::String(name))));
                if body.is_empty() {
                    return Err(ClientError::Usage(
                        "say what to change: --name, --profile, --website or --schema-check".to_owned(),
                    ));
                }
                let call = Call::new(Method::PATCH, ["tenants", update.id.as_str()]).of_installation();
                session.show(call.json(&Value::Object(body)), &SHEET).await
            }
            Tenants::Delete { id } => {
                let call = Call::new(Method::DELETE, ["tenants", id.as_str()]).of_installation();
                session.done(call, &format!("deleted {id}")).await
            }
        }
    }
}
