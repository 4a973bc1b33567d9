//! A crash at each step between a request and its 202, and between a try, its successor, the journal, the
//! acknowledgement and the log: what follows repeats work, and loses none.

use anyhow::{Result, ensure};
use postrider_tests::harness::{Api, Server, ServerOptions, eventually};
use postrider_tests::load::checking::{DELIVERY_HEADER, concluded};
use postrider_tests::load::{Ledger, Naming};
use postrider_tests::on_both_engines;
use postrider_tests::stage::{EngineKind, SOON, server_options};
use serde_json::json;

use super::trial::{DRAIN, Trial, as_in_a_trial, in_flight};

on_both_engines!(
    a_crash_at_any_step_of_a_delivery_loses_nothing,
    a_crash_between_release_and_its_mark_loses_nothing,
    a_crash_between_two_pages_of_a_fan_out_loses_nothing
);

/// Where, and at which passage: late enough that there are deliveries, retries and log rows at every stage.
const PLACES: [(&str, u32); 8] = [
    ("ingest.before_publish", 60),
    ("ingest.after_publish", 60),
    ("attempt.before_send", 100),
    ("attempt.after_send", 100),
    ("settle.after_successor", 100),
    ("settle.after_journal", 100),
    ("status.before_write", 10),
    ("status.after_write", 10),
];
/// Over 128, so that a fan-out has a second page.
const MANY: usize = 130;

/// The options of the installation under test, and of the same one with a fault.
struct Installation {
    usual: ServerOptions,
}

impl Installation {
    async fn new(engine: EngineKind) -> Result<Self> {
        Ok(Self { usual: server_options(engine).await? })
    }

    /// Stops the stage's server in order and puts one in its place that will crash there.
    async fn arm(&self, trial: &mut Trial, place: &str, passage: u32) -> Result<Armed> {
        let status = trial.stage.server.terminate().await?;
        ensure!(status.success(), "an orderly stop ended with {status}");
        let fault = format!("{place}=abort@{passage}");
        let folder = trial.stage.server.folder().to_owned();
        let options = as_in_a_trial(self.usual.clone()).folder(&folder).env("POSTRIDER_FAILPOINTS", &fault);
        let server = Server::start(options).await?;
        let api = server.api(&trial.stage.key);
        Ok(Armed { server, api, fault })
    }
}

/// A server that will crash.
struct Armed {
    server: Server,
    api: Api,
    fault: String,
}

impl Armed {
    /// Waits for the crash, and starts the stage's own server again.
    async fn wait_for_crash(mut self, trial: &mut Trial) -> Result<()> {
        let status = self.server.wait(SOON).await?;
        ensure!(self.server.log().contains("failpoint: aborting"), "{}: ended with {status}", self.fault);
        trial.stage.server.restart().await
    }
}

async fn a_crash_at_any_step_of_a_delivery_loses_nothing(engine: EngineKind) -> Result<()> {
    let installation = Installation::new(engine).await?;
    let mut trial = Trial::open("crash at each step", installation.usual.clone()).await?;
    let mut all = Ledger { seed: trial.chance.seed(), ..Ledger::default() };
    for (crashes, (place, passage)) in (1..).zip(PLACES) {
        println!("{place}");
        let armed = installation.arm(&mut trial, place, passage).await?;
        let load = trial.load_on(std::slice::from_ref(&armed.api), Naming::Mixed, all.end);
        armed.wait_for_crash(&mut trial).await?;
        load.aim_at(std::slice::from_ref(&trial.stage.api));
        load.wait_for_accepted(20, SOON).await?;
        all.add(load.finish().await?);
        trial.check_ledger(&all, crashes).await?;
    }
    Ok(())
}

async fn a_crash_between_release_and_its_mark_loses_nothing(engine: EngineKind) -> Result<()> {
    const EVENTS: usize = 20;
    let installation = Installation::new(engine).await?;
    let mut trial = Trial::open("crash after a release", installation.usual.clone()).await?;
    let paused = format!("/v1/webhooks/{}", trial.subscribers[0].id);
    trial.stage.api.post(&format!("{paused}/pause"), &json!({})).await?.require(200)?;
    let load = trial.load(Naming::Unnamed);
    load.wait_for_accepted(EVENTS, SOON).await?;
    let ledger = load.finish().await?;
    let api = trial.stage.api.clone();
    eventually("the deliveries to be held", SOON, async || {
        let counts = api.get("/v1/ledger").await?.require(200)?.json()?;
        let held = counts["deliveries"]["held"].as_u64() == Some(ledger.accepted.len() as u64);
        Ok((held && counts["deliveries"]["pending"] == 0 && counts["deliveries"]["retrying"] == 0)
            .then_some(()))
    })
    .await?;
    let armed = installation.arm(&mut trial, "release.after_publish", 1).await?;
    armed.api.post(&format!("{paused}/resume"), &json!({})).await?.require(200)?;
    armed.wait_for_crash(&mut trial).await?;
    trial.check_ledger(&ledger, 1).await?;
    Ok(())
}

async fn a_crash_between_two_pages_of_a_fan_out_loses_nothing(engine: EngineKind) -> Result<()> {
    let installation = Installation::new(engine).await?;
    let mut trial = Trial::open("crash in a fan-out", installation.usual.clone()).await?;
    let api = trial.stage.api.clone();
    for number in 0..MANY {
        let path = format!("/many/{number}");
        let webhook = json!({"url": trial.stage.receiver.url(&path), "events": ["many.event"]});
        api.post("/v1/webhooks", &webhook).await?.require(201)?;
    }
    let armed = installation.arm(&mut trial, "fan_out.after_page", 1).await?;
    let event = json!({"type": "many.event", "data": {}});
    let accepted = armed.api.post("/v1/events", &event).await?.require(202)?.json()?;
    armed.wait_for_crash(&mut trial).await?;
    let counts = concluded(&api, DRAIN).await?;
    ensure!(counts["deliveries"]["delivered"] == MANY, "{counts}");
    let requests = trial.stage.receiver.requests();
    for number in 0..MANY {
        let path = format!("/many/{number}");
        let tries: Vec<_> = requests.iter().filter(|request| request.path() == path).collect();
        ensure!(!tries.is_empty(), "nothing came to {path}");
        for request in &tries {
            ensure!(request.json()?["id"] == accepted["id"], "another event at {path}");
            ensure!(
                request.body == tries[0].body
                    && request.header(DELIVERY_HEADER) == tries[0].header(DELIVERY_HEADER)
            );
        }
    }
    // All of the first page was under way, once on its own and once from the second expansion.
    ensure!(requests.len() <= 2 * MANY + in_flight(1), "{} requests", requests.len());
    Ok(())
}
