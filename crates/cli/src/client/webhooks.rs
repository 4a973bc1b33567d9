//! `webhooks`: which URL gets which events.

use http::Method;
use postrider_contract::profile::Span;
use serde_json::{Value, json};

use super::Output;
use super::api::Call;
use super::error::ClientError;
use super::listing::{Limit, show_list};
use super::session::Session;
use super::webhook_options::Settings;
use super::webhook_test;
use crate::table::{Column, Hue, printable};

const COLUMNS: [Column; 7] = [
    Column::id("ID", "/id"),
    Column::status("STATUS", "/status"),
    Column::text("URL", "/url"),
    Column::text("EVENTS", "/events"),
    Column::text("NAME", "/name").if_room(),
    Column::text("WAITING", "/waiting/count").if_room(),
    Column::time("CREATED", "/created_at").if_room(),
];
const SHEET: [Column; 31] = [
    Column::text("id", "/id"),
    Column::text("name", "/name"),
    Column::status("status", "/status"),
    Column::text("reason", "/status_reason"),
    Column::text("url", "/url"),
    Column::text("events", "/events"),
    Column::text("filter", "/filter"),
    Column::text("profile", "/profile"),
    Column::text("kind", "/kind"),
    Column::text("method", "/method"),
    Column::text("form", "/form"),
    Column::text("arrived when", "/success"),
    Column::text("provider", "/provider"),
    Column::text("template", "/template"),
    Column::text("template typed", "/template_typed"),
    Column::text("waiting", "/waiting/count"),
    Column::time("oldest waiting since", "/waiting/oldest"),
    Column::text("headers", "/headers"),
    Column::text("authentication", "/auth_type"),
    Column::text("user name", "/auth_username"),
    Column::text("key header", "/api_key_header"),
    Column::text("rate limit per second", "/rate_limit_per_second"),
    Column::text("at once at most", "/max_in_flight"),
    Column::text("time limit (ms)", "/timeout_ms"),
    Column::text("secret hint", "/secret_hint"),
    Column::text("public keys", "/public_keys"),
    Column::text("description", "/description"),
    Column::text("metadata", "/metadata"),
    Column::text("revision", "/revision"),
    Column::time("created", "/created_at"),
    Column::time("updated", "/updated_at"),
];

#[derive(clap::Subcommand)]
pub enum Webhooks {
    /// Registers a URL for events, and shows its signing secret once
    ///
    /// --on takes exact types and prefixes: conversion.created, conversion.*, *
    ///
    /// Examples:
    ///   postrider webhooks register --name shop --on 'conversion.*' --url https://shop.example/hooks
    ///   postrider webhooks register --on cap.reached --url https://shop.example/hooks --secret @secret.txt \
    ///       --header 'X-Team: growth' --rate-limit 20
    ///   postrider webhooks register --on conversion.approved --url https://shop.example/large \
    ///       --filter '{"field": "payout", "at_least": 100}'
    ///
    /// A postback calls a URL with values of the event in its query: {name} and {data.path} from the data, {event.id},
    /// {event.type}, {timestamp}, {event.unix_timestamp}. They are percent-encoded, numbers digit for digit; what an
    /// event does not hold is empty.
    ///
    ///   postrider webhooks register --postback --on conversion.approved \
    ///       --url 'https://partner.example/pb?cid={click_id}&payout={payout}&txid={externalTxnId}'
    ///   postrider webhooks register --postback --on conversion.approved --url https://partner.example/pb \
    ///       --method POST --form 'cid={click_id}&order={order.id}' --success-status 200 --success-body OK
    #[command(verbatim_doc_comment, visible_alias = "create")]
    Register(Box<Register>),
    /// Lists the tenant's webhooks
    List(Limit),
    /// Shows one webhook, and how much waits for it
    Show {
        /// wh_…, as `webhooks list` shows it
        id: String,
    },
    /// Changes a webhook; what is not named stays as it is
    ///
    /// Example:
    ///   postrider webhooks update wh_… --on 'conversion.*' --on cap.reached --timeout 5s
    #[command(verbatim_doc_comment)]
    Update(Box<Update>),
    /// Stops sending: deliveries are held, and wait for `resume` (some profiles skip them instead)
    Pause {
        /// wh_…, as `webhooks list` shows it
        id: String,
    },
    /// Sends what waits, then goes on as usual
    Resume {
        /// wh_…, as `webhooks list` shows it
        id: String,
        /// At most so many a second until nothing waits any more
        #[arg(long, value_name = "N")]
        rate: Option<u32>,
    },
    /// Makes a new secret and shows it once
    ///
    /// The old one ends at once, or signs beside the new one for the time of --overlap.
    ///
    /// Example:
    ///   postrider webhooks rotate wh_… --overlap 24h
    #[command(verbatim_doc_comment)]
    Rotate {
        /// wh_…, as `webhooks list` shows it
        id: String,
        /// How long the old secret goes on signing too
        #[arg(long, value_name = "DURATION")]
        overlap: Option<Span>,
        /// Which kind of secret is made: shared, or ed25519, of which the receiver knows the public half
        #[arg(long = "type", value_name = "TYPE", value_parser = ["shared", "ed25519"])]
        secret_type: Option<String>,
    },
    /// Sends an example event by the ordinary path, and shows the answer; exit code 1 if it is not 2xx
    Test {
        /// wh_…, as `webhooks list` shows it
        id: String,
    },
    /// Deletes a webhook; what waits for it is not sent any more
    Delete {
        /// wh_…, as `webhooks list` shows it
        id: String,
    },
}

#[derive(clap::Args)]
pub struct Register {
    /// Where events are sent
    #[arg(long = "url", value_name = "URL")]
    target: String,
    /// An event type or a prefix with *; may be repeated
    #[arg(long = "on", value_name = "TYPE", required = true)]
    events: Vec<String>,
    /// Makes it a postback: the query of --url, and --form, hold macros such as {click_id}. It stays what it was made as
    #[arg(long)]
    postback: bool,
    #[command(flatten)]
    settings: Settings,
}

#[derive(clap::Args)]
pub struct Update {
    /// wh_…, as `webhooks list` shows it
    id: String,
    /// Where events are sent
    #[arg(long = "url", value_name = "URL")]
    target: Option<String>,
    /// The event types, in place of those it has; may be repeated
    #[arg(long = "on", value_name = "TYPE")]
    events: Vec<String>,
    #[command(flatten)]
    settings: Settings,
}

impl Webhooks {
    pub(super) async fn run(self, session: &mut Session) -> Result<(), ClientError> {
        match self {
            Webhooks::Register(register) => register.run(session).await,
            Webhooks::List(limit) => {
                let nothing = "no webhooks yet: postrider webhooks register --on TYPE --url URL";
                show_list(session, || Call::get(["webhooks"]), &limit, &COLUMNS, nothing).await
            }
            Webhooks::Show { id } => session.show(Call::get(["webhooks", id.as_str()]), &SHEET).await,
            Webhooks::Update(update) => update.run(session).await,
            Webhooks::Pause { id } => {
                session.show(Call::post(["webhooks", id.as_str(), "pause"]), &SHEET).await
            }
            Webhooks::Resume { id, rate } => {
                let call = Call::post(["webhooks", id.as_str(), "resume"]);
                let body = rate.map_or_else(|| json!({}), |rate| json!({"rate_per_second": rate}));
                session.show(call.json(&body), &SHEET).await
            }
            Webhooks::Rotate { id, overlap, secret_type } => {
                let call = Call::post(["webhooks", id.as_str(), "rotate"]);
                let mut body = json!({});
                if let Some(span) = overlap {
                    body["overlap_seconds"] = span.duration().as_secs().into();
                }
                if let Some(secret_type) = secret_type {
                    body["secret_type"] = secret_type.into();
                }
                show_with_secret(session, call.json(&body)).await
            }
            Webhooks::Test { id } => webhook_test::run(session, &id).await,
            Webhooks::Delete { id } => {
                let call = Call::new(Method::DELETE, ["webhooks", id.as_str()]);
                session.done(call, &format!("deleted {id}")).await
            }
        }
    }
}

impl Register {
    async fn run(self, session: &mut Session) -> Result<(), ClientError> {
        let mut body = self.settings.into_members()?;
        body.insert("url".to_owned(), Value::String(self.target));
        body.insert("events".to_owned(), Value::from(self.events));
        if self.postback {
            body.insert("kind".to_owned(), Value::from("postback"));
        }
        show_with_secret(session, Call::post(["webhooks"]).json(&Value::Object(body))).await
    }
}

impl Update {
    async fn run(self, session: &mut Session) -> Result<(), ClientError> {
        let mut body = self.settings.into_members()?;
        body.extend(self.target.map(|url| ("url".to_owned(), Value::String(url))));
        if !self.events.is_empty() {
            body.insert("events".to_owned(), Value::from(self.events));
        }
        if body.is_empty() {
            return Err(ClientError::Usage("say what to change, for instance --url or --on".to_owned()));
        }
        let call = Call::new(Method::PATCH, ["webhooks", self.id.as_str()]);
        show_with_secret(session, call.json(&Value::Object(body))).await
    }
}

/// A webhook's object, and its secret if the answer holds one: it never will again.
async fn show_with_secret(session: &mut Session, call: Call) -> Result<(), ClientError> {
    let answer = session.call(call).await?;
    if session.output() == Output::Json {
        return session.json(&answer.body);
    }
    let object: Value = answer.read()?;
    session.sheet(&SHEET, &object)?;
    let Some(secret) = object.get("secret").and_then(Value::as_str) else { return Ok(()) };
    let once = session.screen().paint(Some(Hue::Yellow), "shown once: give it to the receiver now");
    session.line(&format!("\nsecret  {}\n        {once}", printable(secret)))
}
