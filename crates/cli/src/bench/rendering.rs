//! What a body and its signature cost: the pure part of a delivery, alone, for each built-in profile.
//!
//! No installation, one thread. An event is rendered as ingest does it, and the headers of a try are made and signed as
//! a worker does it, many times over; the kernel tells how much CPU the thread used. Rounds go over everything in turn,
//! so that a moment in which the machine was slow is no one profile's, and the median of the rounds counts.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use clap::Args;
use postrider_contract::catalogue::SchemaCheck;
use postrider_contract::clock::Timestamp;
use postrider_contract::egress::UrlRule;
use postrider_contract::event::{Event, SchemaVersion};
use postrider_contract::ids::{TenantId, WebhookId};
use postrider_contract::json::RawObject;
use postrider_contract::profile::{CompiledProfile, ProfileOverride, SecretRule, builtin_profiles};
use postrider_contract::provider::Provider;
use postrider_contract::rendering::render_for;
use postrider_contract::signature::{Covered, RequestContext, SigningKey, signed_request};
use postrider_contract::template::{LoneVariables, Template};
use postrider_contract::tenant::Tenant;
use postrider_contract::webhook::Webhook;
use postrider_service::system::SystemEntropy;
use rustix::time::{ClockId, clock_gettime};

use super::head::head_without_installation;
use super::progress;
use super::report::{Cell, Fact, Report, Table};
use super::setup::Reporting;

/// What a body and its signature cost, by profile, in CPU per delivery
///
/// Measures rendering and signing alone, in this process: no installation is
/// started. Only a release build says anything.
#[derive(Args, Clone)]
#[command(verbatim_doc_comment)]
pub struct Rendering {
    /// Bytes of an event's data
    #[arg(long, value_name = "BYTES", default_value_t = 600, value_parser = clap::value_parser!(u32).range(200..=1_000_000))]
    size: u32,
    /// Rounds; the median of them counts
    #[arg(long, value_name = "COUNT", default_value_t = 9, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    rounds: u32,
    /// Deliveries of each kind in a round
    #[arg(long, value_name = "COUNT", default_value_t = 20_000, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    each: u32,
    #[command(flatten)]
    pub reporting: Reporting,
}

/// What a delivery may cost, in µs: of a profile's envelope, and of a template.
const ENVELOPE_TARGET: f64 = 5.0;
const TEMPLATE_TARGET: f64 = 20.0;
/// 2026-01-01T00:00:00.123Z, in milliseconds.
const SENT_AT: i64 = 1_767_225_600_123;
/// Eight variables, as a chat's message has them.
const TEMPLATE: &str = r#"{"text":"{{brand.name}}: {{event.type}} of {{event.data.partnerId}}","id":"{{event.id}}","at":"{{timestamp}}",
"fields":[{"name":"payout","value":"{{event.data.payoutCents}}"},{"name":"offer","value":"{{event.data.offer.name}}"}],"note":"{{event.data.note}}"}"#;

/// One kind of delivery.
struct Kind {
    name: String,
    webhook: Webhook,
    profile: Arc<CompiledProfile>,
    keys: Vec<SigningKey>,
    /// In µs; `None` where nothing was promised.
    target: Option<f64>,
    body: Bytes,
    rounds: Vec<Round>,
}

/// CPU µs per delivery in one round.
#[derive(Clone, Copy)]
struct Round {
    rendering: f64,
    signing: f64,
}

/// What every delivery is made from.
struct Sample {
    event: Event,
    tenant: Tenant,
}

impl Rendering {
    /// # Errors
    /// When a built-in profile does not take the sample.
    pub fn run(&self) -> anyhow::Result<Report> {
        let sample = Sample::of_size(self.size)?;
        let mut kinds = sample.kinds()?;
        for round in 1..=self.rounds {
            progress(&format!("round {round} of {}", self.rounds));
            for kind in &mut kinds {
                let (rendering, signing) = (kind.render(&sample, self.each)?, kind.sign(&sample, self.each));
                kind.rounds.push(Round { rendering, signing });
            }
        }
        let mut facts = head_without_installation(&self.reporting);
        let size = sample.event.data.as_bytes().len();
        facts.push(Fact::new("events", format!("{size} bytes of data, one secret")));
        facts.push(Fact::new("rounds", format!("{} of {} deliveries of each kind", self.rounds, self.each)));
        let mut report = Report::new("rendering", facts);
        report.tables = vec![table(&kinds)];
        report.notes.push(HOW_COUNTED.to_owned());
        Ok(report)
    }
}

const HOW_COUNTED: &str = "Rendering is from the event to the body, once for all tries; signing is from the body to the \
headers of one try. CPU of the thread, as the kernel counts it.";

fn table(kinds: &[Kind]) -> Table {
    let columns =
        ["of", "body bytes", "rendering µs", "signing µs", "together µs", "slowest round µs", "target µs"];
    let mut table = Table::new("CPU of a body and its signature", &columns);
    for kind in kinds {
        let together = |round: &Round| round.rendering + round.signing;
        table.row(vec![
            Cell::Text(kind.name.clone()),
            Cell::Count(u64::try_from(kind.body.len()).unwrap_or(u64::MAX)),
            Cell::Number(kind.median(|round| round.rendering)),
            Cell::Number(kind.median(|round| round.signing)),
            Cell::Number(kind.median(together)),
            Cell::Number(kind.rounds.iter().map(together).fold(0.0, f64::max)),
            kind.target.map_or_else(|| Cell::from(""), Cell::Number),
        ]);
    }
    table
}

impl Kind {
    fn median(&self, of: impl Fn(&Round) -> f64) -> f64 {
        let mut values: Vec<f64> = self.rounds.iter().map(of).collect();
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).copied().unwrap_or_default()
    }

    fn render(&self, sample: &Sample, times: u32) -> anyhow::Result<f64> {
        let begun = cpu_of_this_thread();
        for _ in 0..times {
            let (webhook, event, tenant) = black_box((&self.webhook, &sample.event, &sample.tenant));
            black_box(render_for(webhook, &self.profile, event, tenant)?);
        }
        Ok(each(cpu_of_this_thread().saturating_sub(begun), times))
    }

    fn sign(&self, sample: &Sample, times: u32) -> f64 {
        let context = sample.context(self.webhook.id);
        let overrides = ProfileOverride::default();
        let begun = cpu_of_this_thread();
        for _ in 0..times {
            let (context, body, keys) = black_box((&context, &self.body, &self.keys));
            let covered = Covered { query: "", body };
            black_box(signed_request(&self.profile, &overrides, context, covered, keys));
        }
        each(cpu_of_this_thread().saturating_sub(begun), times)
    }
}

impl Sample {
    fn of_size(bytes: u32) -> anyhow::Result<Self> {
        let begin = r#"{"conversionId":"cnv_01J9Z6QK4V8M2T","partnerId":"prt_8821","offer":{"id":17,"name":"Summer \"sale\""},"revenueCents":12900,"payoutCents":1935,"currency":"EUR","note":""#;
        let room = usize::try_from(bytes).unwrap_or(usize::MAX).saturating_sub(begin.len() + "\"}".len());
        let data = format!("{begin}{}\"}}", "x".repeat(room));
        let sent_at = Timestamp::from_millis(SENT_AT);
        let tenant = Tenant {
            id: "acme".parse::<TenantId>()?,
            name: "Acme".to_owned(),
            website: Some("https://acme.example".to_owned()),
            profile: default_profile()?.name().clone(),
            schema_check: SchemaCheck::Off,
            created_at: sent_at,
            updated_at: sent_at,
        };
        let event = Event {
            id: "evt_01k0c8v6y3w2n5t7r9q1m4x8z6".parse()?,
            tenant: tenant.id.clone(),
            event_type: "conversion.created".parse()?,
            schema_version: SchemaVersion::FIRST,
            timestamp: sent_at,
            accepted_at: sent_at,
            data: RawObject::parse(Bytes::from(data))?,
            summary: Some("A conversion of 129.00 EUR".to_owned()),
            workflow: None,
        };
        Ok(Sample { event, tenant })
    }

    fn context(&self, webhook: WebhookId) -> RequestContext<'_> {
        RequestContext::of_event(&self.event, &self.tenant.id, webhook, self.event.accepted_at)
    }

    /// Every built-in profile; then, with the default one, a template and the providers with a form of their own.
    fn kinds(&self) -> anyhow::Result<Vec<Kind>> {
        let mut kinds = Vec::new();
        for profile in builtin_profiles() {
            kinds.push(self.kind(profile.name().as_str(), profile, Some(ENVELOPE_TARGET), |_| ())?);
        }
        let profile = default_profile()?;
        let template = Template::parse(TEMPLATE, LoneVariables::Typed)?;
        let with_template = |webhook: &mut Webhook| webhook.template = Some(template.clone());
        kinds.push(self.kind("a template of 8 variables", &profile, Some(TEMPLATE_TARGET), with_template)?);
        for provider in Provider::ALL.into_iter().filter(|provider| provider.has_own_format()) {
            let of_provider = |webhook: &mut Webhook| webhook.named_provider = Some(provider);
            kinds.push(self.kind(&format!("provider {provider}"), &profile, None, of_provider)?);
        }
        Ok(kinds)
    }

    fn kind(
        &self,
        name: &str,
        profile: &Arc<CompiledProfile>,
        target: Option<f64>,
        change: impl FnOnce(&mut Webhook),
    ) -> anyhow::Result<Kind> {
        let url = UrlRule::default().check("https://receiver.example/hook")?;
        let id = WebhookId::from_u128(1);
        let mut webhook = Webhook::new(self.tenant.id.clone(), id, url, self.event.accepted_at);
        change(&mut webhook);
        let key = |rule: &SecretRule| SigningKey::parse(rule.generate(&SystemEntropy).reveal(), rule);
        let keys = profile.definition().secret.iter().map(key).collect::<Result<_, _>>()?;
        let rendered = render_for(&webhook, profile, &self.event, &self.tenant);
        let body = rendered.with_context(|| format!("rendering of {name}"))?.body;
        let profile = Arc::clone(profile);
        Ok(Kind { name: name.to_owned(), webhook, profile, keys, target, body, rounds: Vec::new() })
    }
}

fn default_profile() -> anyhow::Result<Arc<CompiledProfile>> {
    builtin_profiles().first().cloned().context("there are built-in profiles, the default first")
}

fn cpu_of_this_thread() -> Duration {
    let used = clock_gettime(ClockId::ThreadCPUTime);
    let nanos = u32::try_from(used.tv_nsec).unwrap_or_default();
    Duration::new(u64::try_from(used.tv_sec).unwrap_or_default(), nanos)
}

/// In µs.
fn each(used: Duration, times: u32) -> f64 {
    used.as_secs_f64() * 1e6 / f64::from(times.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_built_in_profile_is_measured_with_a_body_of_the_size_asked_for() {
        let sample = Sample::of_size(600).expect("a sample");
        assert_eq!(sample.event.data.as_bytes().len(), 600);
        let kinds = sample.kinds().expect("every kind");
        for profile in builtin_profiles() {
            let kind = kinds.iter().find(|kind| kind.name == profile.name().as_str()).expect("measured");
            assert!(kind.body.len() >= 600 - "{}".len(), "{}", kind.name);
            assert_eq!(kind.keys.is_empty(), profile.definition().signature.is_none(), "{}", kind.name);
        }
        let template = kinds.iter().find(|kind| kind.webhook.template.is_some()).expect("measured");
        let filled = String::from_utf8(template.body.to_vec()).expect("text");
        assert!(filled.contains(r#"{"name":"payout","value":1935}"#), "typed, and found: {filled}");
    }

    #[test]
    fn the_median_counts_and_the_slowest_round_is_shown() {
        let sample = Sample::of_size(600).expect("a sample");
        let mut kinds = sample.kinds().expect("every kind");
        kinds.truncate(1);
        let rounds = [(1.0, 2.0), (9.0, 30.0), (2.0, 2.5)];
        kinds[0].rounds = rounds.map(|(rendering, signing)| Round { rendering, signing }).to_vec();
        let row = table(&kinds).rows.remove(0);
        let shown: Vec<String> = row.iter().skip(2).map(Cell::to_string).collect();
        assert_eq!(shown, ["2.00", "2.50", "4.50", "39.0", "5.00"]);
    }
}
