//! `events explain`: asks what would become of an event, of a sample or of one in the log.

use bytes::Bytes;
use postrider_contract::json::RawObject;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::Output;
use super::api::Call;
use super::error::ClientError;
use super::events::write_event;
use super::explanation_page::Explained;
use super::input::{Source, TimeArgument, read_data};
use super::session::Session;
use crate::table::printable;

#[derive(clap::Args)]
pub struct ExplainEvent {
    /// The event's type, for instance conversion.created
    #[arg(value_name = "TYPE", required_unless_present = "event", conflicts_with = "event")]
    event_type: Option<String>,
    /// A JSON object, @file, or @- for standard input; the catalogue's example of the type if never given
    #[arg(long, value_name = "JSON|@FILE", conflicts_with = "event")]
    data: Option<String>,
    /// An event that was accepted, as it stands in the log
    #[arg(long, value_name = "ID")]
    event: Option<String>,
    /// An id of your own: without one, each event has another
    #[arg(long, conflicts_with = "event")]
    id: Option<String>,
    /// Only to this webhook, if it subscribes to the type; may be repeated
    #[arg(long = "webhook", value_name = "ID")]
    webhooks: Vec<String>,
    /// When the first try begins, if not now: signatures and times are of this moment
    #[arg(long, value_name = "TIME")]
    at: Option<TimeArgument>,
}

/// An event of the log; its data and workflow as its producer wrote them.
#[derive(Deserialize)]
struct Logged {
    id: String,
    r#type: String,
    timestamp: Option<String>,
    accepted_at: String,
    schema_version: Option<String>,
    summary: Option<String>,
    workflow: Option<Box<RawValue>>,
    data: Option<Box<RawValue>>,
    /// In its place, where there are several.
    versions: Option<Box<RawValue>>,
}

/// A type of event by its newest major.
#[derive(Deserialize)]
struct Catalogued {
    version: Option<String>,
    example: Option<Box<RawValue>>,
}

impl ExplainEvent {
    pub(super) async fn run(self, session: &mut Session) -> Result<(), ClientError> {
        let (body, accepted_at) = match &self.event {
            Some(id) => self.logged(session, id).await?,
            None => (self.sample(session).await?, None),
        };
        let call = Call::post(["events", "explain"]).query("at", session.moment(self.at));
        let answer = session.call(call.query("accepted_at", accepted_at).raw_json(body)).await?;
        if session.output() == Output::Json {
            return session.json(&answer.body);
        }
        let explained: Explained = answer.read()?;
        for line in explained.lines(session.screen()) {
            session.line(&line)?;
        }
        Ok(())
    }

    /// With when it was accepted, since envelopes may hold that.
    async fn logged(&self, session: &Session, id: &str) -> Result<(Bytes, Option<String>), ClientError> {
        let event: Logged = session.call(Call::get(["events", id])).await?.read()?;
        let gone = || ClientError::NotWell(format!("the data of {} is not in the log", printable(id)));
        let data = event.data.as_ref().map(|data| ("data", data));
        let versions = event.versions.as_ref().map(|versions| ("versions", versions));
        let (name, written) = data.or(versions).ok_or_else(gone)?;
        let texts = [
            ("id", Some(event.id)),
            ("type", Some(event.r#type)),
            ("timestamp", event.timestamp),
            ("schema_version", event.schema_version),
            ("summary", event.summary),
        ];
        let texts = texts.into_iter().filter_map(|(name, text)| Some((name, Value::from(text?))));
        let members = texts.chain(self.named()).map(|(name, value)| (name, value.to_string()));
        let workflow = event.workflow.map(|workflow| ("workflow", workflow.get().to_owned()));
        let body = write_event(members.chain(workflow), (name, written.get().as_bytes()));
        Ok((body, Some(event.accepted_at)))
    }

    async fn sample(&self, session: &Session) -> Result<Bytes, ClientError> {
        let event_type = self.event_type.as_deref().unwrap_or_default();
        let (data, version) = match &self.data {
            Some(data) => (read_data(&Source::of_data(data))?, None),
            None => example(session, event_type).await?,
        };
        let id = self.id.as_deref().map(|id| ("id", Value::from(id)));
        let version = version.map(|version| ("schema_version", Value::from(version)));
        let members =
            [("type", Value::from(event_type))].into_iter().chain(id).chain(version).chain(self.named());
        let members = members.map(|(name, value)| (name, value.to_string()));
        Ok(write_event(members, ("data", data.as_bytes())))
    }

    fn named(&self) -> Option<(&'static str, Value)> {
        (!self.webhooks.is_empty()).then(|| ("webhook_ids", Value::from(self.webhooks.clone())))
    }
}

/// With the version that it is of.
async fn example(session: &Session, event_type: &str) -> Result<(RawObject, Option<String>), ClientError> {
    let none = || {
        let event_type = printable(event_type);
        ClientError::Usage(format!("the catalogue has no example of {event_type}: give --data"))
    };
    let found = session.call(Call::get(["event-types", event_type])).await;
    let found = found.map_err(|error| if error.is_not_found() { none() } else { error })?;
    let Catalogued { version, example } = found.read()?;
    let example = example.ok_or_else(none)?;
    let unusable =
        |error| ClientError::NotWell(format!("the catalogue's example is no event's data: {error}"));
    let data = RawObject::parse(Bytes::from(example.get().to_owned())).map_err(unusable)?;
    Ok((data, version))
}
