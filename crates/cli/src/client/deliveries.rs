//! `deliveries`: one event on its way to one webhook, with every try.

use postrider_contract::profile::Span;

use super::Output;
use super::api::Call;
use super::delivery_page::{Bodies, Delivery};
use super::error::ClientError;
use super::input::TimeArgument;
use super::listing::{Limit, show_list};
use super::session::Session;
use super::tail;
use crate::table::Column;

const COLUMNS: [Column; 8] = [
    Column::id("ID", "/id"),
    Column::status("STATUS", "/status"),
    Column::text("TRIES", "/attempts"),
    Column::text("LAST", "/last_code"),
    Column::text("EVENT TYPE", "/event_type").if_room(),
    Column::time("ACCEPTED", "/accepted_at").if_room(),
    Column::id("WEBHOOK", "/webhook_id").if_room(),
    Column::time("NEXT TRY", "/next_attempt_at").if_room(),
];
/// With the event known, the webhook tells them apart.
pub(super) const COLUMNS_OF_EVENT: [Column; 6] = [
    Column::id("DELIVERY", "/id"),
    Column::status("STATUS", "/status"),
    Column::text("TRIES", "/attempts"),
    Column::text("LAST", "/last_code"),
    Column::id("WEBHOOK", "/webhook_id").if_room(),
    Column::time("NEXT TRY", "/next_attempt_at").if_room(),
];

#[derive(clap::Subcommand)]
pub enum Deliveries {
    /// Lists deliveries, newest first
    ///
    /// Examples:
    ///   postrider deliveries list --status failed --since 24h
    ///   postrider deliveries list --webhook wh_… --code 500
    #[command(verbatim_doc_comment)]
    List(List),
    /// Shows one delivery as a timeline: each try with its answer, how long it took and what comes next
    Show {
        /// dlv_…
        id: String,
        /// Also what was sent, as far as it can be rendered again
        #[arg(long)]
        body: bool,
    },
    /// Prints deliveries as they come and change, until Ctrl-C
    ///
    /// Follows the newest 1,000. With --output json each line is one delivery's JSON.
    ///
    /// Examples:
    ///   postrider deliveries tail
    ///   postrider deliveries tail --webhook wh_… --last 0
    #[command(verbatim_doc_comment)]
    Tail(Tail),
}

/// Which deliveries.
#[derive(clap::Args, Clone, Debug)]
pub(super) struct Filters {
    /// To this webhook only
    #[arg(long, value_name = "ID")]
    webhook: Option<String>,
    /// Of this event only
    #[arg(long, value_name = "ID")]
    event: Option<String>,
    /// Of this event type only
    #[arg(long = "type", value_name = "TYPE")]
    event_type: Option<String>,
    /// To webhooks of this kind only
    #[arg(long, value_name = "KIND", value_parser = ["webhook", "postback"])]
    kind: Option<String>,
}

impl Filters {
    pub(super) fn call(&self) -> Call {
        let call = Call::get(["deliveries"]).query("webhook_id", self.webhook.as_ref());
        let call = call.query("event_id", self.event.as_ref()).query("event_type", self.event_type.as_ref());
        call.query("kind", self.kind.as_ref())
    }
}

#[derive(clap::Args)]
pub struct List {
    #[command(flatten)]
    filters: Filters,
    /// In this state only
    #[arg(long, value_enum)]
    status: Option<Status>,
    /// Whose last try was answered with this status code
    #[arg(long, value_name = "CODE", value_parser = clap::value_parser!(u16).range(100..=599))]
    code: Option<u16>,
    /// Accepted at or after: a time, or how long ago (15m, 24h)
    #[arg(long, value_name = "TIME")]
    since: Option<TimeArgument>,
    /// Accepted before
    #[arg(long, value_name = "TIME")]
    until: Option<TimeArgument>,
    #[command(flatten)]
    limit: Limit,
}

#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
enum Status {
    Pending,
    Retrying,
    Held,
    Delivered,
    Failed,
    Canceled,
    Expired,
}

impl Status {
    fn as_str(self) -> &'static str {
        match self {
            Status::Pending => "pending",
            Status::Retrying => "retrying",
            Status::Held => "held",
            Status::Delivered => "delivered",
            Status::Failed => "failed",
            Status::Canceled => "canceled",
            Status::Expired => "expired",
        }
    }
}

#[derive(clap::Args)]
pub struct Tail {
    #[command(flatten)]
    pub(super) filters: Filters,
    /// How many of those that are there already to begin with
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub(super) last: usize,
    /// How often to ask
    #[arg(long, value_name = "DURATION", default_value = "1s")]
    pub(super) interval: Span,
}

impl Deliveries {
    pub(super) async fn run(self, session: &mut Session) -> Result<(), ClientError> {
        match self {
            Deliveries::List(list) => list.run(session).await,
            Deliveries::Show { id, body } => {
                let bodies = if body { Bodies::Both } else { Bodies::Response };
                show(session, &id, bodies).await
            }
            Deliveries::Tail(command) => tail::run(session, &command).await,
        }
    }
}

impl List {
    async fn run(self, session: &mut Session) -> Result<(), ClientError> {
        let (since, until) = (session.moment(self.since), session.moment(self.until));
        let call = || {
            let call = self.filters.call().query("status", self.status.map(Status::as_str));
            call.query("code", self.code).query("since", since).query("until", until)
        };
        show_list(session, call, &self.limit, &COLUMNS, "no deliveries").await
    }
}

async fn show(session: &mut Session, id: &str, bodies: Bodies) -> Result<(), ClientError> {
    let answer = session.call(Call::get(["deliveries", id])).await?;
    if session.output() == Output::Json {
        return session.json(&answer.body);
    }
    let delivery: Delivery = answer.read()?;
    for line in delivery.lines(session.screen(), bodies) {
        session.line(&line)?;
    }
    Ok(())
}
