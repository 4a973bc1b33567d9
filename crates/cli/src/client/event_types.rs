//! `event-types`: what events carry, and what they must look like.

use http::{HeaderValue, Method};
use postrider_contract::event::SchemaVersion;
use postrider_contract::json::Node;
use postrider_contract::schema::Schema;
use serde_json::Value;
use serde_json::value::RawValue;

use super::Output;
use super::api::Call;
use super::error::ClientError;
use super::input::{Source, TimeArgument, read_text};
use super::listing::{Limit, show_list};
use super::session::Session;
use crate::table::Column;

const COLUMNS: [Column; 5] = [
    Column::id("TYPE", "/type"),
    Column::text("VERSION", "/version"),
    Column::text("SOURCE", "/source"),
    Column::time("SUNSET", "/sunset_at").if_room(),
    Column::text("DESCRIPTION", "/description").if_room(),
];

#[derive(clap::Subcommand)]
pub enum EventTypes {
    /// Lists the types of event in the tenant's catalogue; with the admin key and no tenant, the installation's own
    List(Limit),
    /// Prints a type with the schema and the example of each of its majors, as JSON
    Show {
        /// For instance conversion.created
        event_type: String,
    },
    /// Describes one major of a type, in place of what was said of it before
    ///
    /// With a tenant it is for that tenant; with the admin key and no tenant,
    /// for all of them. The other majors of the type stay as they are.
    ///
    /// Example:
    ///   postrider event-types put order.paid --schema order.paid.json \
    ///     --example @paid.json --description "An order was paid in full"
    #[command(verbatim_doc_comment)]
    Put(Put),
    /// Takes one's own description of a type out of the catalogue
    Delete {
        /// For instance order.paid
        event_type: String,
    },
    /// Says whether data is as a schema says, without a server; exit code 1 if it is not
    ///
    /// Example:
    ///   postrider event-types check order.paid.json --data @paid.json
    #[command(verbatim_doc_comment)]
    Check {
        /// A JSON Schema; - for standard input
        schema: String,
        /// Data as JSON, or @FILE
        #[arg(long)]
        data: Option<String>,
    },
}

#[derive(clap::Args)]
pub struct Put {
    /// For instance order.paid
    event_type: String,
    /// major.minor; the major says which one is described
    #[arg(long, default_value = "1.0")]
    version: SchemaVersion,
    /// For people
    #[arg(long)]
    description: Option<String>,
    /// A file with the JSON Schema (draft 2020-12) of the data; - for standard input
    #[arg(long, value_name = "FILE")]
    schema: Option<String>,
    /// Data that satisfies it: JSON, or @FILE
    #[arg(long, value_name = "DATA")]
    example: Option<String>,
    /// When this major ends: a time
    #[arg(long, value_name = "TIME")]
    sunset_at: Option<TimeArgument>,
    /// Only if it is still at this revision
    #[arg(long, value_name = "REVISION")]
    if_match: Option<u64>,
}

impl EventTypes {
    pub(super) async fn run(self, session: &mut Session) -> Result<(), ClientError> {
        match self {
            EventTypes::List(limit) => {
                show_list(session, || Call::get(["event-types"]), &limit, &COLUMNS, "no event types").await
            }
            EventTypes::Show { event_type } => {
                let answer = session.call(Call::get(["event-types", event_type.as_str()])).await?;
                session.json(&answer.body)
            }
            EventTypes::Put(form) => put(session, form).await,
            EventTypes::Delete { event_type } => {
                let call = Call::new(Method::DELETE, ["event-types", event_type.as_str()]);
                session.done(call, &format!("deleted {event_type}")).await
            }
            EventTypes::Check { schema, data } => check(session, &schema, data.as_deref()),
        }
    }
}

async fn put(session: &mut Session, form: Put) -> Result<(), ClientError> {
    let mut members = vec![format!("\"version\":\"{}\"", form.version)];
    let text = |text: &str| Value::String(text.to_owned()).to_string();
    members.extend(form.description.map(|words| format!("\"description\":{}", text(&words))));
    if let Some(path) = &form.schema {
        members.push(format!("\"schema\":{}", read_json(&Source::of_path(path))?));
    }
    if let Some(example) = &form.example {
        members.push(format!("\"example\":{}", read_json(&Source::of_data(example))?));
    }
    let sunset = session.moment(form.sunset_at);
    members.extend(sunset.map(|at| format!("\"sunset_at\":\"{at}\"")));
    let body = format!("{{{}}}", members.join(","));
    let mut call = Call::new(Method::PUT, ["event-types", form.event_type.as_str()]).raw_json(body.into());
    if let Some(revision) = form.if_match {
        let tag = HeaderValue::from_str(&format!("\"{revision}\""));
        call = call.header("if-match", tag.map_err(|error| ClientError::Usage(error.to_string()))?);
    }
    let answer = session.call(call).await?;
    match session.output() {
        Output::Json => session.json(&answer.body),
        Output::Table => session.line(&format!("{} is described in {}", form.event_type, form.version)),
    }
}

fn check(session: &mut Session, schema: &str, data: Option<&str>) -> Result<(), ClientError> {
    let text = read_text(&Source::of_path(schema))?;
    let read = Schema::parse(&text).map_err(|error| ClientError::NotWell(format!("{schema}: {error}")))?;
    let Some(data) = data else { return session.line(&format!("{schema} is well")) };
    let text = read_json(&Source::of_data(data))?;
    let node = Node::parse(&text).map_err(|error| ClientError::NotWell(error.to_string()))?;
    let broken = read.check(&node);
    for violation in &broken {
        session.line(&format!("{}: {}", violation.pointer, violation.detail))?;
    }
    match broken.len() {
        0 => session.line(&format!("the data is as {schema} says")),
        count => Err(ClientError::NotWell(format!("the data is not as {schema} says: {count} found"))),
    }
}

/// JSON, as it was written.
fn read_json(source: &Source<'_>) -> Result<String, ClientError> {
    let text = read_text(source)?;
    match serde_json::from_str::<&RawValue>(&text) {
        Ok(value) => Ok(value.get().to_owned()),
        Err(error) => Err(ClientError::Usage(format!("not valid JSON: {error}"))),
    }
}
