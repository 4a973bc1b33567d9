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
}

#[derive(Deserialize)]
struct Catalogued {
    example: Box<RawValue>,
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
        let data = event.data.ok_or_else(gone)?;
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
        Ok((write_event(members.chain(workflow), data.get().as_bytes()), Some(event.accepted_at)))
    }

    async fn sample(&self, session: &Session) -> Result<Bytes, ClientError> {
        let event_type = self.event_type.as_deref().unwrap_or_default();
        let data = match &self.data {
            Some(data) => read_data(&Source::of_data(data))?,
            None => example(session, event_type).await?,
        };
        let id = self.id.as_deref().map(|id| ("id", Value::from(id)));
        let members = [("type", Value::from(event_type))].into_iter().chain(id).chain(self.named());
        Ok(write_event(members.map(|(name, value)| (name, value.to_string())), data.as_bytes()))
    }

    fn named(&self) -> Option<(&'static str, Value)> {
        (!self.webhooks.is_empty()).then(|| ("webhook_ids", Value::from(self.webhooks.clone())))
    }
}

async fn example(session: &Session, event_type: &str) -> Result<RawObject, ClientError> {
    let found = session.call(Call::get(["event-types", event_type])).await.map_err(|error| {
        if !error.is_not_found() {
            return error;
        }
        let event_type = printable(event_type);
        ClientError::Usage(format!("the catalogue has no example of {event_type}: give --data"))
    })?;
    let Catalogued { example } = found.read()?;
    let unusable =
        |error| ClientError::NotWell(format!("the catalogue's example is no event's data: {error}"));
    RawObject::parse(Bytes::from(example.get().to_owned())).map_err(unusable)
}
