//! A seeded simulation: the code of ingest (over HTTP and AMQP), the delivery worker and status (strays too) over the
//! contract's fakes, in one thread and on simulated time, with everything going wrong that may go wrong between any two effects.
//!
//! * **Deterministic**: one seed, one run, to the letter; nothing here asks the machine for time or chance.
//! * **Custody after every step** ([`custody`]), which is safety; once nothing goes wrong any more, everything must
//!   come to its end and agree ([`ending`]), which is liveness. The two are told apart.
//! * A process dies by having no effect any more ([`life`]); what it had in hand comes again.
//! * [`Mutation`]s are bugs, put between a role and its ports: the checks must notice each.

mod custody;
mod effect;
mod ending;
mod intake;
mod life;
mod outside;
mod queue;
mod receiver;
mod roles;
mod scenario;
mod store;
mod time;
mod world;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::runtime::Builder;

pub use effect::{Effect, Fate, Mutation, Role};
pub use scenario::{Answers, Faults, Intensity, Scenario, WebhookKind};

use ending::settle_down;
use outside::{be_moody, produce, produce_over_amqp};
use roles::{Door, keep_running, put, tenant, tenant_id, webhook};
use world::World;

/// Simulated time after the last fault: a lost release is found after ten minutes, an overdue delivery after one.
const SETTLING: Duration = Duration::from_secs(1_200);
/// Simulated time for all producers to hear their 202.
const PRODUCING: Duration = Duration::from_secs(600);

/// How a run went wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    Fine,
    /// At some step nobody held a delivery that was promised.
    Unsafe(String),
    /// Nothing was lost on the way, but the end is not as it must be.
    Unfinished(String),
}

/// What became of a run.
#[derive(Clone, Debug)]
pub struct Report {
    pub seed: u64,
    pub verdict: Verdict,
    /// Effects that could meet a fault.
    pub steps: u64,
    pub faults: usize,
    /// Of the whole trace.
    pub fingerprint: u64,
    /// Its last lines.
    pub trace: Vec<String>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in &self.trace {
            writeln!(f, "  {line}")?;
        }
        writeln!(f, "{:?} after {} steps and {} faults", self.verdict, self.steps, self.faults)?;
        write!(f, "again: make simulate SEED={}", self.seed)
    }
}

/// Runs a scenario to its end.
///
/// # Errors
/// Only when it could not be run at all.
pub fn run(scenario: Scenario) -> Result<Report> {
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build()?;
    let seed = scenario.seed;
    runtime.block_on(async move {
        let world = World::new(scenario, tenant_id());
        let ended = play(&world).await.with_context(|| format!("seed {seed} cannot be run"))?;
        let verdict = match (world.broken(), ended) {
            (Some(broken), _) => Verdict::Unsafe(broken),
            (None, Err(error)) => Verdict::Unfinished(format!("{error:#}")),
            (None, Ok(())) => Verdict::Fine,
        };
        Ok(Report {
            seed,
            verdict,
            steps: world.steps(),
            faults: world.faults(),
            fingerprint: world.fingerprint(),
            trace: world.trace(),
        })
    })
}

/// The inner result is how it ended.
async fn play(world: &Arc<World>) -> Result<Result<()>> {
    put(world, &tenant()).await?;
    for (number, kind) in world.scenario.webhooks.iter().enumerate() {
        put(world, &webhook(number, *kind)).await?;
    }
    tokio::spawn(Arc::clone(world).run_lanes());
    let door = Door::default();
    let start = |role, index| tokio::spawn(keep_running(Arc::clone(world), role, index, door.clone()));
    start(Role::Ingest, 0);
    (0..world.scenario.workers).for_each(|index| drop(start(Role::Worker, index as u64)));
    (0..world.scenario.statuses).for_each(|index| drop(start(Role::Status, index as u64)));
    for (number, kind) in world.scenario.webhooks.iter().enumerate() {
        if *kind == WebhookKind::Moody {
            tokio::spawn(be_moody(Arc::clone(world), number));
        }
    }
    let over_http = (0..world.scenario.events)
        .map(|number| tokio::spawn(produce(Arc::clone(world), door.clone(), number)));
    let over_amqp =
        (0..world.scenario.messages).map(|number| tokio::spawn(produce_over_amqp(Arc::clone(world), number)));
    let producers: Vec<_> = over_http.chain(over_amqp).collect();
    let produced = async {
        for producer in producers {
            producer.await.context("a producer ended")?;
        }
        anyhow::Ok(())
    };
    let all_sent = tokio::select! {
        biased;
        () = world.over.cancelled() => return Ok(Ok(())),
        all_sent = tokio::time::timeout(PRODUCING, produced) => all_sent,
    };
    match all_sent {
        Ok(sent) => sent?,
        Err(_) => return Ok(Err(anyhow::anyhow!("not every event was accepted in {PRODUCING:?}"))),
    }
    while world.is_in_trouble() && !world.over.is_cancelled() {
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    Ok(settle_down(world, SETTLING).await)
}
