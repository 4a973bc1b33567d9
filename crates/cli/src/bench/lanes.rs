//! Whether the schedule is kept: how late the next try comes after every wait of the built-in profiles.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use postrider_contract::profile::{InvalidSpan, Span, builtin_profiles};
use postrider_contract::retry::{JitterFraction, MAX_WAIT};
use tokio::task::JoinSet;

use super::ground::Ground;
use super::head::head;
use super::installation::Subscription;
use super::load::{EVENT_TYPE, Load, Pace, Until};
use super::progress;
use super::receiver::{FailingPath, Lateness};
use super::report::{Cell, Fact, Report, Table};
use super::setup::Setup;

/// Lateness of the next try after every wait of the built-in profiles, up to a longest one
///
/// The receiver fails each delivery until its profile's waits up to the longest
/// are used up, then takes it. All profiles run at once; it takes as long as
/// the waits of one profile add up to: six minutes up to 5m. Profiles with
/// jitter are left out: only Postrider knows when their tries are due.
#[derive(Args, Clone)]
#[command(verbatim_doc_comment)]
pub struct Lanes {
    /// The longest wait: 1s to 24h
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = longest_wait)]
    up_to: Span,
    /// Deliveries of each profile
    #[arg(long, value_name = "COUNT", default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    each: u32,
    /// Events per second of each profile
    #[arg(long, value_name = "RATE", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    rate: u32,
    #[command(flatten)]
    pub setup: Setup,
}

fn longest_wait(text: &str) -> Result<Span, String> {
    let span: Span = text.parse().map_err(|error: InvalidSpan| error.to_string())?;
    let is_right = (Duration::from_secs(1)..=MAX_WAIT).contains(&span.duration());
    if is_right { Ok(span) } else { Err("must be from 1s to 24h".to_owned()) }
}

/// Bytes of an event's data.
const SIZE: usize = 600;
/// Beyond the sum of the waits, how long the last may take.
const PATIENCE: Duration = Duration::from_secs(120);
const TELL_EVERY: Duration = Duration::from_secs(30);

impl Lanes {
    /// # Errors
    /// When there is nothing to measure on, or it does not answer.
    pub async fn run(self) -> anyhow::Result<Report> {
        let schedules = schedules(self.up_to.duration());
        let lateness = self.setup.on_ground(async |ground| self.measure(ground, &schedules).await).await?;
        let mut facts = head(&self.setup);
        let rate = self.rate;
        facts.push(Fact::new("events", format!("{} of each profile, {rate}/s each, all at once", self.each)));
        let mut report = Report::new("lanes", facts);
        report.faults = lateness.iter().filter_map(|one| fault(one, u64::from(self.each))).collect();
        report.notes.push(HOW_COUNTED.to_owned());
        report.tables = vec![table(&lateness)];
        Ok(report)
    }

    async fn measure(
        &self,
        ground: &mut Ground,
        schedules: &BTreeMap<String, Vec<Duration>>,
    ) -> anyhow::Result<Vec<Lateness>> {
        let mut loads = Vec::new();
        let mut failing = Vec::new();
        for (profile, waits) in schedules {
            let path = format!("/{profile}");
            let tenant = ground.installation.tenant(profile).await?;
            let subscription = Subscription::new(ground.receiver.url(&path), EVENT_TYPE);
            ground.installation.webhook(&tenant, subscription).await?;
            loads.push(Load::to(ground, &tenant, SIZE));
            failing.push(FailingPath { path, waits: waits.clone() });
        }
        ground.installation.spread_the_word().await;
        ground.receiver.forget_and_fail(&failing).await?;
        let longest = schedules.values().map(|waits| waits.iter().sum()).max().unwrap_or(Duration::ZERO);
        progress(&format!("failing every try; the last is due in {} s", longest.as_secs()));
        let mut publishing = JoinSet::new();
        let (pace, until) = (Pace::Fixed(self.rate), Until::Sent(u64::from(self.each)));
        for load in loads {
            publishing.spawn(async move { load.run(pace, until).await });
        }
        let mut expected = 0;
        while let Some(sent) = publishing.join_next().await {
            let sent = sent.context("a generator task")??;
            sent.require_all()?;
            expected += sent.accepted;
        }
        wait(ground, expected, longest + PATIENCE).await?;
        ground.receiver.lateness().await
    }
}

/// Waits until so many were taken, and says from time to time how many are.
async fn wait(ground: &Ground, expected: u64, within: Duration) -> anyhow::Result<()> {
    let rounds = within.as_secs() / TELL_EVERY.as_secs() + 1;
    for _ in 0..rounds {
        let arrivals = ground.receiver.wait_for(expected, TELL_EVERY).await?;
        if arrivals.distinct >= expected {
            break;
        }
        progress(&format!("{} of {expected} are through", arrivals.distinct));
    }
    Ok(())
}

/// The waits, no longer than this, with which each profile without jitter begins.
fn schedules(longest: Duration) -> BTreeMap<String, Vec<Duration>> {
    let mut schedules = BTreeMap::new();
    for profile in builtin_profiles() {
        let rule = &profile.definition().retry;
        let waits: Vec<Duration> =
            rule.waits.waits().iter().copied().take_while(|wait| *wait <= longest).collect();
        if rule.jitter == JitterFraction::NONE && !waits.is_empty() {
            schedules.insert(profile.name().as_str().to_owned(), waits);
        }
    }
    schedules
}

pub const HOW_COUNTED: &str = "Late is counted by the receiver: from its answer to the failed try plus the wait, to the \
arrival of the next try.";

/// What must hold however busy the machine is: every try comes, and none before its time.
pub fn fault(lateness: &Lateness, expected: u64) -> Option<String> {
    let Lateness { path, wait, tries, early, .. } = lateness;
    if *tries < expected {
        return Some(format!("{path}: {tries} of {expected} tries came after a wait of {wait:?}"));
    }
    (*early > 0).then(|| format!("{path}: {early} tries came before the wait of {wait:?} was over"))
}

pub fn table(lateness: &[Lateness]) -> Table {
    let columns = ["wait", "profile", "tries", "p50 ms", "p95 ms", "p99 ms", "max ms"];
    let mut table = Table::new("How late the next try came", &columns);
    for one in lateness {
        let wait = Span::new(one.wait).map_or_else(|_| format!("{:?}", one.wait), |span| span.to_string());
        let words = [Cell::Text(wait), Cell::from(one.path.trim_matches('/')), Cell::Count(one.tries)];
        table.row(words.into_iter().chain(Cell::percentiles(one.late)).collect());
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn every_wait_of_the_profiles_without_jitter_is_measured() {
        let all = schedules(300 * SECOND);
        assert_eq!(all["trcker"], [SECOND, 5 * SECOND, 30 * SECOND, 300 * SECOND]);
        assert_eq!(all["trakkr"], [SECOND, 2 * SECOND, 4 * SECOND]);
        assert_eq!(all["track360"], [30 * SECOND, 120 * SECOND]);
        assert_eq!(all.len(), 3, "those with jitter are left out: {all:?}");
        let short = schedules(5 * SECOND);
        assert_eq!(short["trcker"], [SECOND, 5 * SECOND]);
        assert_eq!(short.len(), 2, "one that begins with a longer wait is left out: {short:?}");
    }

    #[test]
    fn a_try_that_is_missing_or_early_is_a_fault() {
        let (path, late) = ("/trcker".to_owned(), [1, 1, 1, 1]);
        let right = Lateness { path, wait: SECOND, tries: 20, early: 0, late, due_within: SECOND };
        assert_eq!(fault(&right, 20), None);
        let missing = fault(&right, 21).expect("a fault");
        assert!(missing.contains("20 of 21"), "{missing}");
        let early = fault(&Lateness { early: 1, ..right.clone() }, 20).expect("a fault");
        assert!(early.contains("1 tries came before"), "{early}");
        assert!(table(&[right]).to_string().contains("1s    trcker"));
    }
}
