//! How late retries are when very many are due at the same time.

use std::time::Duration;

use anyhow::Context;
use clap::Args;

use postrider_contract::profile::builtin_profiles;
use postrider_contract::retry::JitterFraction;

use super::ground::Ground;
use super::head::head;
use super::installation::Subscription;
use super::lanes::{HOW_COUNTED, fault, table};
use super::load::{EVENT_TYPE, Load, Pace, Until};
use super::progress;
use super::receiver::{FailingPath, Lateness};
use super::report::{Cost, Fact, Report, Table};
use super::setup::Setup;

/// Lateness of 10,000 retries that are due together
///
/// The receiver fails the first try of each, as fast as they come, and takes
/// the second, 30 s later. They are due within as long as the first tries took.
#[derive(Args, Clone)]
#[command(verbatim_doc_comment)]
pub struct DueAtOnce {
    /// Retries
    #[arg(long, value_name = "COUNT", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(10..=1_000_000))]
    retries: u32,
    /// Webhooks that every event matches
    #[arg(long, value_name = "COUNT", default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..=60))]
    fan_out: u16,
    #[command(flatten)]
    pub setup: Setup,
}

/// Long enough that every first try is over before the first retry is due, and no longer than one wants to wait.
const WAIT: Duration = Duration::from_secs(30);
/// Bytes of an event's data.
const SIZE: usize = 600;
/// Connections of the generator.
const CONNECTIONS: u16 = 64;
/// How long all of it may take beyond the wait.
const PATIENCE: Duration = Duration::from_secs(300);

impl DueAtOnce {
    /// # Errors
    /// When there is nothing to measure on, or it does not answer.
    pub async fn run(self) -> anyhow::Result<Report> {
        let (expected, lateness, cost) =
            self.setup.on_ground(async |ground| self.measure(ground).await).await?;
        let mut facts = head(&self.setup);
        let (size, fan_out) = (SIZE, self.fan_out);
        let profile = profile()?;
        facts
            .push(Fact::new("events", format!("{size} bytes of data, profile {profile}, fan-out {fan_out}")));
        let mut report = Report::new("due-at-once", facts);
        report.faults = lateness.iter().filter_map(|one| fault(one, expected)).collect();
        let spread = lateness.iter().map(|one| one.due_within).max().unwrap_or_default();
        report.notes.push(HOW_COUNTED.to_owned());
        report.notes.push(format!("All were due within {:.1} s.", spread.as_secs_f64()));
        let each = [("first try and retry", &cost, expected)];
        report.tables = vec![table(&lateness), Table::of_costs(&each)];
        Ok(report)
    }

    async fn measure(&self, ground: &mut Ground) -> anyhow::Result<(u64, Vec<Lateness>, Cost)> {
        // One path for all webhooks: what is late is late, whomever it was for. A query tells them apart.
        let profile = profile()?;
        let tenant = ground.installation.tenant(profile).await?;
        for number in 0..self.fan_out {
            let url = ground.receiver.url(&format!("/{profile}?{number}"));
            ground.installation.webhook(&tenant, Subscription::new(url, EVENT_TYPE)).await?;
        }
        ground.installation.spread_the_word().await;
        let failing = [FailingPath { path: format!("/{profile}"), waits: vec![WAIT] }];
        ground.receiver.forget_and_fail(&failing).await?;
        let events = u64::from(self.retries / u32::from(self.fan_out)).max(1);
        progress(&format!("failing {} first tries; their retries are due 30 s later", self.retries));
        let load = Load::to(ground, &tenant, SIZE);
        let work = async {
            let sent = load.run(Pace::Saturating(CONNECTIONS), Until::Sent(events)).await?;
            sent.require_all()?;
            let expected = sent.accepted * u64::from(self.fan_out);
            ground.receiver.wait_for(expected, WAIT + PATIENCE).await?;
            Ok((expected, ground.receiver.lateness().await?))
        };
        let ((expected, lateness), cost) = ground.account_for(work).await?;
        Ok((expected, lateness, cost))
    }
}

/// One whose first wait is [`WAIT`], without jitter.
fn profile() -> anyhow::Result<&'static str> {
    let found = builtin_profiles().iter().find(|profile| {
        let rule = &profile.definition().retry;
        rule.jitter == JitterFraction::NONE && rule.waits.waits().first() == Some(&WAIT)
    });
    Ok(found.context("no built-in profile waits 30 s first")?.name().as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_a_profile_that_waits_as_long_as_is_said() {
        assert_eq!(profile().expect("one of the built-in profiles"), "track360");
    }
}
