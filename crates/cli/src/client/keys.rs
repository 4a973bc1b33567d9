//! `keys`: who may act for a tenant, and for what.

use http::Method;
use serde_json::{Value, json};

use super::Output;
use super::api::Call;
use super::error::ClientError;
use super::input::TimeArgument;
use super::listing::{Limit, show_list};
use super::session::Session;
use crate::table::{Column, Hue, printable};

const COLUMNS: [Column; 6] = [
    Column::id("ID", "/id"),
    Column::text("NAME", "/name"),
    Column::text("SCOPES", "/scopes"),
    Column::text("HINT", "/hint").if_room(),
    Column::time("EXPIRES", "/expires_at").if_room(),
    Column::time("CREATED", "/created_at").if_room(),
];
const SHEET: [Column; 5] = [
    Column::text("id", "/id"),
    Column::text("name", "/name"),
    Column::text("scopes", "/scopes"),
    Column::time("expires", "/expires_at"),
    Column::time("created", "/created_at"),
];

#[derive(clap::Subcommand)]
pub enum Keys {
    /// Makes a key for the tenant named by --tenant, and shows it once
    ///
    /// publish: send events. read: see events, deliveries and webhooks. manage: make and change webhooks.
    ///
    /// Example:
    ///   postrider keys create --tenant acme --name backend --scopes publish,read,manage
    #[command(verbatim_doc_comment)]
    Create(Create),
    /// Lists the tenant's keys (not their text, which is not kept)
    List(Limit),
    /// Ends a key at once
    Revoke {
        /// key_…, as `keys list` shows it
        id: String,
    },
}

#[derive(clap::Args)]
pub struct Create {
    /// For people: who or what uses it
    #[arg(long)]
    name: String,
    /// What it may do
    #[arg(long, value_enum, value_delimiter = ',', required = true)]
    scopes: Vec<Scope>,
    /// When it ends by itself (RFC 3339); never if absent
    #[arg(long, value_name = "TIME")]
    expires_at: Option<TimeArgument>,
}

#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
enum Scope {
    Publish,
    Read,
    Manage,
}

impl Scope {
    fn as_str(self) -> &'static str {
        match self {
            Scope::Publish => "publish",
            Scope::Read => "read",
            Scope::Manage => "manage",
        }
    }
}

impl Keys {
    pub(super) async fn run(self, session: &mut Session) -> Result<(), ClientError> {
        let tenant = session.tenant()?;
        let path = ["tenants", tenant.as_str(), "keys"];
        match self {
            Keys::Create(create) => create.run(session, Call::post(path).of_installation()).await,
            Keys::List(limit) => {
                let nothing = "no keys yet: postrider keys create --name NAME --scopes publish,read,manage";
                show_list(session, || Call::get(path).of_installation(), &limit, &COLUMNS, nothing).await
            }
            Keys::Revoke { id } => {
                let path = ["tenants", tenant.as_str(), "keys", id.as_str()];
                let call = Call::new(Method::DELETE, path).of_installation();
                session.done(call, &format!("revoked {id}: it does not work any more")).await
            }
        }
    }
}

impl Create {
    async fn run(self, session: &mut Session, call: Call) -> Result<(), ClientError> {
        let scopes: Vec<&str> = self.scopes.into_iter().map(Scope::as_str).collect();
        let mut body = json!({"name": self.name, "scopes": scopes});
        if let Some(end) = session.moment(self.expires_at) {
            body["expires_at"] = Value::String(end.to_string());
        }
        let answer = session.call(call.json(&body)).await?;
        if session.output() == Output::Json {
            return session.json(&answer.body);
        }
        let object: Value = answer.read()?;
        session.sheet(&SHEET, &object)?;
        let key = object.get("key").and_then(Value::as_str).unwrap_or_default();
        let once =
            session.screen().paint(Some(Hue::Yellow), "shown once: only its hash is kept, so store it now");
        session.line(&format!("key      {}\n         {once}", printable(key)))?;
        session.line(&format!("\nexport POSTRIDER_KEY={}", printable(key)))
    }
}
