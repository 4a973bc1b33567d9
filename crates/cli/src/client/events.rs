//! `events`: sent one by one or in batches, listed, shown.

use bytes::Bytes;
use http::HeaderValue;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::Output;
use super::api::Call;
use super::deliveries;
use super::error::{ClientError, Problem};
use super::explain::ExplainEvent;
use super::input::{Source, TimeArgument, read_batch, read_data};
use super::listing::{Limit, show_list};
use super::session::Session;
use crate::table::{Column, excerpt, list, printable};

const COLUMNS: [Column; 5] = [
    Column::id("ID", "/id"),
    Column::text("TYPE", "/type"),
    Column::text("MATCHED", "/matched"),
    Column::time("ACCEPTED", "/accepted_at"),
    Column::text("SUMMARY", "/summary").if_room(),
];
const SHEET: [Column; 8] = [
    Column::text("id", "/id"),
    Column::text("type", "/type"),
    Column::time("accepted", "/accepted_at"),
    Column::time("timestamp", "/timestamp"),
    Column::text("schema version", "/schema_version"),
    Column::text("summary", "/summary"),
    Column::text("webhooks matched", "/matched"),
    Column::text("in doubt", "/in_doubt"),
];
const ACCEPTED: [Column; 2] = [Column::id("DELIVERY", "/id"), Column::id("WEBHOOK", "/webhook_id")];

/// What `POST /v1/events/batch` takes at once.
const MAX_EVENTS: usize = 1_000;
/// Below the server's 16 MiB, with room for separators.
const MAX_REQUEST: usize = 15 * 1024 * 1024;
/// Refusals shown for people; `--output json` has all of them.
const REFUSALS_SHOWN: usize = 20;

#[derive(clap::Subcommand)]
pub enum Events {
    /// Sends one event; its data goes out byte for byte
    ///
    /// --data takes JSON, @file, or @- for standard input.
    ///
    /// Examples:
    ///   postrider events send conversion.created --data @examples/conversion.created.json
    ///   postrider events send cap.reached --data '{"offerId":"o1","cap":100}' --idempotency-key cap-o1-100
    #[command(verbatim_doc_comment)]
    Send(Box<SendEvent>),
    /// Sends many events from a file: one JSON document to a line (NDJSON), or one JSON array
    ///
    /// Each line is a whole event: {"type":"cap.reached","data":{…}}
    /// Over 1,000 events go out in several requests. Exit code 1 if any was
    /// refused; the others are accepted all the same.
    ///
    /// Examples:
    ///   postrider events send-batch events.ndjson
    ///   generate-events | postrider events send-batch -
    #[command(verbatim_doc_comment)]
    SendBatch {
        /// A path, or - for standard input
        file: String,
    },
    /// Lists events, newest first
    List(List),
    /// Shows what would become of an event, and sends nothing
    ///
    /// For each webhook of the tenant: the request as it would be written, signed for the time of --at, which parts of it
    /// are of the moment, and when it would be tried again; or why the webhook does not get it. Credentials are masked.
    /// With --output json bodies are there to the byte.
    ///
    /// Examples:
    ///   postrider events explain conversion.created
    ///   postrider events explain conversion.created --data '{"status":"approved","payout":12.50}' --webhook wh_…
    ///   postrider events explain --event evt_… --at 2026-11-21T09:30:00Z
    #[command(verbatim_doc_comment)]
    Explain(Box<ExplainEvent>),
    /// Shows one event with its data and its deliveries
    Show {
        /// evt_…, as `events list` shows it
        id: String,
    },
}

#[derive(clap::Args)]
pub struct SendEvent {
    /// The event's type, for instance conversion.created
    #[arg(value_name = "TYPE")]
    event_type: String,
    /// A JSON object, @file, or @- for standard input
    #[arg(long, value_name = "JSON|@FILE")]
    data: String,
    /// An id of your own; the same id twice counts once
    #[arg(long)]
    id: Option<String>,
    /// Repeats under the same key count once
    #[arg(long, value_name = "KEY")]
    idempotency_key: Option<String>,
    /// Only to this webhook, if it subscribes to the type; may be repeated
    #[arg(long = "webhook", value_name = "ID")]
    webhooks: Vec<String>,
    /// When it happened, if not now
    #[arg(long, value_name = "TIME")]
    timestamp: Option<TimeArgument>,
    /// The version of the type's schema: 1.0
    #[arg(long, value_name = "MAJOR.MINOR")]
    schema_version: Option<String>,
    /// A line for people
    #[arg(long)]
    summary: Option<String>,
}

#[derive(clap::Args)]
pub struct List {
    /// Of this type only
    #[arg(long = "type", value_name = "TYPE")]
    event_type: Option<String>,
    /// Accepted at or after: a time, or how long ago (15m, 24h)
    #[arg(long, value_name = "TIME")]
    since: Option<TimeArgument>,
    /// Accepted before
    #[arg(long, value_name = "TIME")]
    until: Option<TimeArgument>,
    #[command(flatten)]
    limit: Limit,
}

impl Events {
    pub(super) async fn run(self, session: &mut Session) -> Result<(), ClientError> {
        match self {
            Events::Send(send) => send.run(session).await,
            Events::SendBatch { file } => send_batch(session, &Source::of_path(&file)).await,
            Events::List(filters) => {
                let (since, until) = (session.moment(filters.since), session.moment(filters.until));
                let call = || {
                    let call = Call::get(["events"]).query("type", filters.event_type.as_ref());
                    call.query("since", since).query("until", until)
                };
                show_list(session, call, &filters.limit, &COLUMNS, "no events").await
            }
            Events::Explain(explain) => explain.run(session).await,
            Events::Show { id } => show(session, &id).await,
        }
    }
}

impl SendEvent {
    async fn run(self, session: &mut Session) -> Result<(), ClientError> {
        let data = read_data(&Source::of_data(&self.data))?;
        let mut call = Call::post(["events"]);
        if let Some(key) = &self.idempotency_key {
            let value = HeaderValue::from_str(key).map_err(|_| {
                ClientError::Usage("--idempotency-key may not hold control characters".to_owned())
            })?;
            call = call.header("idempotency-key", value);
        }
        let body = self.body(session, data.as_bytes());
        let answer = session.call(call.raw_json(body)).await?;
        if session.output() == Output::Json {
            return session.json(&answer.body);
        }
        let object: Value = answer.read()?;
        let id = printable(object.get("id").and_then(Value::as_str).unwrap_or_default());
        let deliveries = object.get("deliveries").and_then(Value::as_array).cloned().unwrap_or_default();
        let again = if answer.headers.contains_key("idempotency-replayed") {
            " already, under the same key"
        } else {
            ""
        };
        if deliveries.is_empty() {
            let event_type = printable(&self.event_type);
            return session
                .line(&format!("accepted{again}: {id}; no active webhook subscribes to {event_type}"));
        }
        session.line(&format!("accepted{again}: {id}"))?;
        let text = list(&ACCEPTED, &deliveries, session.screen().layout());
        session.line(&text)
    }

    /// The data is put between the members as it is: nothing reads and writes it on the way.
    fn body(&self, session: &Session, data: &[u8]) -> Bytes {
        let mut members = vec![("type", Value::from(self.event_type.as_str()))];
        let texts = [("id", &self.id), ("schema_version", &self.schema_version), ("summary", &self.summary)];
        members
            .extend(texts.into_iter().filter_map(|(name, text)| Some((name, Value::from(text.as_deref()?)))));
        let timestamp = session.moment(self.timestamp);
        members.extend(timestamp.map(|time| ("timestamp", Value::from(time.to_string()))));
        if !self.webhooks.is_empty() {
            members.push(("webhook_ids", Value::from(self.webhooks.clone())));
        }
        write_event(members.into_iter().map(|(name, value)| (name, value.to_string())), ("data", data))
    }
}

/// An event as it is published: these members, one at least, each a name and JSON, and its `data` or `versions` as they
/// are.
pub(super) fn write_event(
    members: impl IntoIterator<Item = (&'static str, String)>,
    (name_of_data, data): (&'static str, &[u8]),
) -> Bytes {
    let mut body = Vec::with_capacity(data.len() + 256);
    for (name, value) in members {
        body.extend_from_slice(if body.is_empty() { b"{\"" } else { b",\"" });
        body.extend_from_slice(name.as_bytes());
        body.extend_from_slice(b"\":");
        body.extend_from_slice(value.as_bytes());
    }
    body.extend_from_slice(b",\"");
    body.extend_from_slice(name_of_data.as_bytes());
    body.extend_from_slice(b"\":");
    body.extend_from_slice(data);
    body.push(b'}');
    Bytes::from(body)
}

/// What the server said of one request of a batch; over several requests, of all of them.
#[derive(Default, Deserialize)]
struct BatchAnswer {
    accepted: usize,
    rejected: usize,
    results: Vec<Box<RawValue>>,
}

#[derive(Deserialize)]
struct BatchResult {
    error: Option<Problem>,
}

async fn send_batch(session: &mut Session, source: &Source<'_>) -> Result<(), ClientError> {
    let bytes = read_batch(source)?;
    let requests = split(&bytes)?;
    if requests.is_empty() {
        return Err(ClientError::Usage("there are no events in it".to_owned()));
    }
    let mut all = BatchAnswer::default();
    let mut failure = None;
    for request in requests {
        let call = Call::post(["events", "batch"]);
        let call = match request {
            Request::Array(body) => call.raw_json(body),
            Request::Lines(body) => call.lines(body),
        };
        match session.call(call).await {
            Ok(answer) => {
                let answer: BatchAnswer = answer.read()?;
                all.accepted += answer.accepted;
                all.rejected += answer.rejected;
                all.results.extend(answer.results);
            }
            Err(error) => {
                failure = Some(error);
                break;
            }
        }
    }
    // What went before a failure was accepted, and must be told.
    if failure.is_none() || !all.results.is_empty() {
        show_batch(session, &all)?;
    }
    match failure {
        Some(failure) => Err(failure),
        None if all.rejected > 0 => {
            Err(ClientError::NotWell(format!("not all events were accepted: {} refused", all.rejected)))
        }
        None => Ok(()),
    }
}

fn show_batch(session: &mut Session, all: &BatchAnswer) -> Result<(), ClientError> {
    if session.output() == Output::Json {
        let results: Vec<&str> = all.results.iter().map(|result| result.get()).collect();
        let (accepted, rejected) = (all.accepted, all.rejected);
        let document = format!(
            "{{\"accepted\":{accepted},\"rejected\":{rejected},\"results\":[{}]}}",
            results.join(",")
        );
        return session.json(document.as_bytes());
    }
    session.line(&format!("accepted {}, refused {}", all.accepted, all.rejected))?;
    let mut refusals = all.results.iter().enumerate().filter_map(|(index, result)| {
        let result: BatchResult = serde_json::from_str(result.get()).ok()?;
        Some((index + 1, result.error?))
    });
    for (number, problem) in refusals.by_ref().take(REFUSALS_SHOWN) {
        session.line(&format!("  event {number}: {}", printable(&problem.detail)))?;
    }
    let rest = refusals.count();
    if rest > 0 {
        session.line(&format!("  … and {rest} more (--output json shows all)"))?;
    }
    Ok(())
}

/// The body of one request.
enum Request {
    Array(Bytes),
    Lines(Bytes),
}

/// Events as they stand in the file, in requests that the server takes.
fn split(bytes: &Bytes) -> Result<Vec<Request>, ClientError> {
    if bytes.trim_ascii_start().starts_with(b"[") {
        let unreadable = |error| ClientError::Usage(format!("not a JSON array of events: {error}"));
        let items: Vec<&RawValue> = serde_json::from_slice(bytes).map_err(unreadable)?;
        let chunks = chunked(items.into_iter().map(|item| item.get().as_bytes()));
        let array = |events: Vec<&[u8]>| [b"[".as_slice(), &events.join(b",".as_slice()), b"]"].concat();
        return Ok(chunks.into_iter().map(|events| Request::Array(Bytes::from(array(events)))).collect());
    }
    let lines = bytes.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).filter(|line| !line.is_empty());
    Ok(chunked(lines)
        .into_iter()
        .map(|events| Request::Lines(Bytes::from(events.join(b"\n".as_slice()))))
        .collect())
}

fn chunked<'b>(events: impl Iterator<Item = &'b [u8]>) -> Vec<Vec<&'b [u8]>> {
    let mut chunks: Vec<Vec<&[u8]>> = Vec::new();
    let mut size = 0;
    for event in events {
        size += event.len() + 1;
        match chunks.last_mut() {
            Some(chunk) if chunk.len() < MAX_EVENTS && size <= MAX_REQUEST => chunk.push(event),
            Some(_) | None => {
                size = event.len() + 1;
                chunks.push(vec![event]);
            }
        }
    }
    chunks
}

/// An event with its data as the producer wrote it.
#[derive(Deserialize)]
struct WithData {
    data: Option<Box<RawValue>>,
}

async fn show(session: &mut Session, id: &str) -> Result<(), ClientError> {
    let answer = session.call(Call::get(["events", id])).await?;
    if session.output() == Output::Json {
        return session.json(&answer.body);
    }
    let object: Value = answer.read()?;
    let WithData { data } = answer.read()?;
    session.sheet(&SHEET, &object)?;
    if let Some(data) = data {
        let (lines, is_whole) = excerpt(data.get(), 100, 2_000);
        session.line(&format!("\ndata\n  {}", lines.join("\n  ")))?;
        if !is_whole {
            session.line("  … (--output json shows all of it)")?;
        }
    }
    let deliveries = object.get("deliveries").and_then(Value::as_array).cloned().unwrap_or_default();
    if deliveries.is_empty() {
        return session.line("\nno deliveries: no webhook subscribed to it when it came");
    }
    let text = list(&deliveries::COLUMNS_OF_EVENT, &deliveries, session.screen().layout());
    session.line(&format!("\n{text}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_events_is_sent_as_it_is_in_requests_that_the_server_takes() {
        let lines = Bytes::from("{\"a\": 1}\n\n{\"b\":12345678901234567890123}\r\n".to_owned());
        let requests = split(&lines).expect("lines");
        assert!(
            matches!(&requests[..], [Request::Lines(body)] if body == "{\"a\": 1}\n{\"b\":12345678901234567890123}")
        );
        let array = Bytes::from_static(b" [ {\"a\": 1} , {\"a\":1,\"a\":2}]");
        let requests = split(&array).expect("an array");
        assert!(matches!(&requests[..], [Request::Array(body)] if body == "[{\"a\": 1},{\"a\":1,\"a\":2}]"));
        assert!(split(&Bytes::from_static(b"[{]")).is_err());
    }

    #[test]
    fn over_a_thousand_events_go_out_in_several_requests() {
        let sizes: Vec<usize> =
            chunked(std::iter::repeat_n(b"{}".as_slice(), 2_500)).iter().map(Vec::len).collect();
        assert_eq!(sizes, [1_000, 1_000, 500]);
        let large = vec![b'x'; 8 * 1024 * 1024];
        assert_eq!(chunked([large.as_slice(), &large].into_iter()).len(), 2);
    }
}
