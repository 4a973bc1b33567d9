//! `ledger`: everything accepted is somewhere, or this says that it is not.

use serde::Deserialize;

use super::Output;
use super::api::Call;
use super::error::ClientError;
use super::input::TimeArgument;
use super::session::Session;
use crate::table::{Hue, Screen, to_the_second};

/// Shows that everything accepted is somewhere; exit code 1 if it does not add up
///
/// Events:     accepted = matched + unmatched
/// Deliveries: expected = delivered + pending + retrying + held + failed
///                        + canceled + expired, and none overdue
///
/// Examples:
///   postrider ledger
///   postrider ledger --since 24h --webhook wh_…
///   postrider ledger --all            (admin key: over all tenants)
#[derive(clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Ledger {
    /// Accepted at or after: a time, or how long ago (24h, 7d); the whole log if absent
    #[arg(long, value_name = "TIME")]
    since: Option<TimeArgument>,
    /// Accepted before; now if absent
    #[arg(long, value_name = "TIME")]
    until: Option<TimeArgument>,
    /// One webhook's deliveries only
    #[arg(long, value_name = "ID")]
    webhook: Option<String>,
    /// Over all tenants (admin key), whatever --tenant says
    #[arg(long)]
    all: bool,
}

#[derive(Deserialize)]
struct Answer {
    events: Events,
    deliveries: Deliveries,
    #[serde(default)]
    settling: bool,
    #[serde(default)]
    settling_since: Option<String>,
    balanced: bool,
}

#[derive(Deserialize)]
struct Events {
    accepted: u64,
    matched: u64,
    unmatched: u64,
    in_doubt: u64,
}

#[derive(Deserialize)]
struct Deliveries {
    expected: u64,
    delivered: u64,
    pending: u64,
    retrying: u64,
    held: u64,
    failed: u64,
    canceled: u64,
    expired: u64,
    overdue: u64,
}

impl Deliveries {
    fn states(&self) -> [(&'static str, u64, &'static str); 7] {
        [
            ("delivered", self.delivered, ""),
            ("pending", self.pending, "before the first try"),
            ("retrying", self.retrying, "between two tries"),
            ("held", self.held, "paused, rate-limited, or too slow"),
            ("failed", self.failed, "given up"),
            ("canceled", self.canceled, ""),
            ("expired", self.expired, ""),
        ]
    }

    fn accounted(&self) -> u64 {
        self.states().iter().fold(0, |sum: u64, (_, count, _)| sum.saturating_add(*count))
    }
}

impl Ledger {
    pub(super) async fn run(self, session: &mut Session) -> Result<(), ClientError> {
        let call = Call::get(["ledger"])
            .query("since", session.moment(self.since))
            .query("until", session.moment(self.until))
            .query("webhook_id", self.webhook);
        let call = if self.all { call.of_installation() } else { call };
        let answer = session.call(call).await?;
        let ledger: Answer = answer.read()?;
        match session.output() {
            Output::Json => session.json(&answer.body)?,
            Output::Table => {
                let text = ledger.text(session.screen());
                session.line(&text)?;
            }
        }
        if ledger.balanced {
            return Ok(());
        }
        Err(ClientError::NotWell("the ledger does not balance".to_owned()))
    }
}

impl Answer {
    fn text(&self, screen: &Screen) -> String {
        let Events { accepted, matched, unmatched, in_doubt } = self.events;
        let mut text = "events\n".to_owned();
        text.push_str(&count("accepted", accepted, ""));
        text.push_str(&count("matched", matched, "at least one webhook wanted them"));
        text.push_str(&count("unmatched", unmatched, "no webhook subscribed to their type"));
        if in_doubt > 0 {
            text.push_str(&count("in doubt", in_doubt, "known by their deliveries only"));
        }
        text.push_str("deliveries\n");
        text.push_str(&count("expected", self.deliveries.expected, "one for each match, and replays"));
        for (name, number, note) in self.deliveries.states() {
            text.push_str(&count(name, number, note));
        }
        if self.deliveries.overdue > 0 {
            text.push_str(&count("overdue", self.deliveries.overdue, "their next try is long past its time"));
        }
        text.push('\n');
        text.push_str(&self.judgement(screen));
        text
    }

    fn judgement(&self, screen: &Screen) -> String {
        let mut text = if self.balanced {
            let word = screen.paint(Some(Hue::Green), "balanced");
            format!("{word}: every accepted event and every expected delivery is accounted for")
        } else {
            let word = screen.paint(Some(Hue::Red), "NOT BALANCED");
            format!("{word}: {}", self.differences().join("; "))
        };
        if self.settling {
            let since = self.settling_since.as_deref().map(to_the_second).unwrap_or_else(|| "now".to_owned());
            text.push_str(&format!(
                "\nsettling: what came after {since} UTC may not be in the log yet; ask again soon"
            ));
        }
        text
    }

    fn differences(&self) -> Vec<String> {
        let mut differences = Vec::new();
        let Events { accepted, matched, unmatched, in_doubt: _ } = self.events;
        let known = matched.saturating_add(unmatched);
        if accepted != known {
            differences.push(format!("{accepted} events accepted, but {known} matched or unmatched"));
        }
        let (expected, accounted) = (self.deliveries.expected, self.deliveries.accounted());
        if expected != accounted {
            differences.push(format!("{expected} deliveries expected, but {accounted} in the log"));
        }
        if self.deliveries.overdue > 0 {
            differences.push(format!("{} deliveries overdue", self.deliveries.overdue));
        }
        if differences.is_empty() {
            differences.push("the server says so".to_owned());
        }
        differences
    }
}

fn count(name: &str, number: u64, note: &str) -> String {
    let line = format!("  {name:<10}{number:>12}  {note}");
    format!("{}\n", line.trim_end())
}
