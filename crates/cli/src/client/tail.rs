//! `deliveries tail`: asks for the newest deliveries again and again, and prints what is new or changed.

use std::collections::BTreeMap;
use std::io::Write;
use std::time::Duration;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::Output;
use super::deliveries::{Filters, Tail};
use super::delivery_page::{Delivery, changed_line};
use super::error::ClientError;
use super::listing::Page;
use super::session::Session;

/// How far back changes are looked for at each turn: five pages.
const FOLLOWED: usize = 1_000;
const PAGE: u32 = 200;
/// How often all of it is looked at: every so many turns.
const TURNS_TO_ALL: usize = 5;
/// Asking more often shows nothing sooner: the log itself lags by that much.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(100);
/// What is remembered of deliveries, so that a change can be told from what is known: several times what is followed.
const REMEMBERED: usize = 10_000;

/// What tells one state of a delivery from the next.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
struct Standing {
    id: String,
    status: String,
    attempts: u32,
    next_attempt_at: Option<String>,
    reason: Option<String>,
}

/// Deliveries by id, as they were last seen. Ids sort by time, so the oldest are forgotten first.
#[derive(Default)]
pub(super) struct Follower {
    known: BTreeMap<String, Standing>,
    turns: usize,
}

impl Follower {
    /// What is new or changed since the last turn among the newest deliveries, oldest first.
    ///
    /// Most turns end at the first page without news; every few turns all that is followed is looked at, for a late
    /// retry changes a delivery that newer ones have pushed back.
    pub(super) async fn news(
        &mut self,
        session: &Session,
        filters: &Filters,
    ) -> Result<Vec<Box<RawValue>>, ClientError> {
        let looks_at_all = self.turns.is_multiple_of(TURNS_TO_ALL);
        self.turns = self.turns.wrapping_add(1);
        let (mut changed, mut cursor, mut seen) = (Vec::new(), None, 0);
        loop {
            let page = Page::fetch(session, filters.call(), PAGE, cursor.take()).await?;
            let (had, count) = (changed.len(), page.data.len());
            for item in page.data {
                if self.note(read(&item)?) {
                    changed.push(item);
                }
            }
            seen += count;
            cursor = page.next_cursor;
            let has_news = changed.len() > had;
            if cursor.is_none() || seen >= FOLLOWED || !(has_news || looks_at_all) {
                changed.reverse();
                return Ok(changed);
            }
        }
    }

    /// Whether anything about it is new.
    fn note(&mut self, standing: Standing) -> bool {
        let is_new = self.known.get(&standing.id) != Some(&standing);
        self.known.insert(standing.id.clone(), standing);
        while self.known.len() > REMEMBERED {
            self.known.pop_first();
        }
        is_new
    }
}

/// Until Ctrl-C, or until nobody reads any more.
///
/// # Errors
/// When the first question is not answered, or a later one is refused for good.
pub(super) async fn run(session: &mut Session, command: &Tail) -> Result<(), ClientError> {
    let interrupted = tokio::signal::ctrl_c();
    tokio::select! {
        followed = follow(session, command) => followed,
        _ = interrupted => Ok(()),
    }
}

async fn follow(session: &mut Session, command: &Tail) -> Result<(), ClientError> {
    let mut follower = Follower::default();
    let first = follower.news(session, &command.filters).await?;
    show(session, &first[first.len().saturating_sub(command.last)..])?;
    let interval = command.interval.duration().max(SHORTEST_INTERVAL);
    let mut is_away = false;
    loop {
        tokio::time::sleep(interval).await;
        match follower.news(session, &command.filters).await {
            Ok(news) => {
                is_away = false;
                show(session, &news)?;
            }
            Err(error) if error.is_passing() => {
                if !is_away {
                    // Standard error may be closed; the tail goes on all the same.
                    drop(writeln!(std::io::stderr(), "{error}\n(still asking)"));
                }
                is_away = true;
            }
            Err(error) => return Err(error),
        }
    }
}

pub(super) fn show(session: &mut Session, items: &[Box<RawValue>]) -> Result<(), ClientError> {
    for item in items {
        match session.output() {
            Output::Json => session.json(item.get().as_bytes())?,
            Output::Table => {
                let delivery: Delivery = read(item)?;
                let now = session.now().to_string();
                let line = changed_line(&delivery, &now, session.screen());
                session.line(&line)?;
            }
        }
    }
    Ok(())
}

fn read<'d, T: Deserialize<'d>>(item: &'d RawValue) -> Result<T, ClientError> {
    serde_json::from_str(item.get())
        .map_err(|error| ClientError::NotWell(format!("cannot read a delivery of the list: {error}")))
}
