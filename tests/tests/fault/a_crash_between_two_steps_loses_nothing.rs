//! A crash at each step between a request and its 202, and between a try, its successor, the journal, the
//! acknowledgement and the log: what follows repeats work, and loses none. The same where a step fails and the process
//! lives: what was done before it is then written out, as a crash right after it would not have let it be.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use postrider_tests::harness::{Behaviour, Gate, Received, eventually};
use postrider_tests::load::checking::{DELIVERY_HEADER, Window, concluded};
use postrider_tests::load::{Load, Naming};
use postrider_tests::on_both_engines;
use postrider_tests::stage::{EngineKind, SOON, server_options};
use serde_json::json;

use super::crashing::{FAILPOINTS, crash_at, crash_at_each};
use super::trial::{DRAIN, RECOVERY, SLOTS, Trial, in_flight};

on_both_engines!(
    a_crash_at_any_step_of_a_delivery_loses_nothing,
    a_failure_at_any_step_of_a_delivery_loses_nothing,
    a_crash_at_any_step_into_and_out_of_the_waiting_room_loses_nothing,
    a_crash_at_any_step_of_healing_loses_nothing,
    a_crash_between_two_pages_of_a_fan_out_loses_nothing
);

/// Where, and at which passage: late enough that there are deliveries, retries and log rows at every stage.
const PLACES: [(&str, u32); 19] = [
    ("ingest.before_publish", 60),
    ("ingest.before_deliveries", 60),
    ("ingest.after_deliveries", 60),
    ("ingest.after_publish", 60),
    ("ingest.after_key_insert", 40),
    ("ingest.before_key_confirm", 40),
    ("ingest.after_key_confirm", 40),
    ("attempt.before_send", 100),
    ("attempt.after_send", 100),
    ("settle.before_successor", 60),
    ("settle.after_successor", 100),
    ("settle.after_journal", 100),
    ("settle.after_acknowledge", 100),
    ("journal.before_append", 20),
    ("journal.after_append", 20),
    ("status.before_write", 8),
    ("status.after_write", 8),
    ("status.after_acknowledge", 8),
    ("ingest.before_republish", 1),
];
/// Where a delivery goes into the waiting room and comes out of it.
const ROOM_PLACES: [(&str, u32); 6] = [
    ("hold.before_journal", 10),
    ("hold.after_journal", 10),
    ("hold.after_acknowledge", 10),
    ("release.before_publish", 3),
    ("release.after_publish", 3),
    ("release.after_mark", 3),
];
/// Over 128, so that a fan-out has a second page.
const MANY: usize = 130;
/// What a page holds.
const PAGE: usize = 128;
/// Slots for first tries: what the two other kinds, with a fifth each, leave.
const FIRST_SLOTS: usize = SLOTS - 2 * (SLOTS / 5);

async fn a_crash_at_any_step_of_a_delivery_loses_nothing(engine: EngineKind) -> Result<()> {
    let mut trial = Trial::open("crash at each step", server_options(engine).await?).await?;
    let load = trial.load(Naming::Mixed);
    trial.some_time(&load).await?;
    let crashes = crash_at_each(&mut trial.stage.server, &PLACES).await?;
    trial.some_time(&load).await?;
    trial.check(load, in_flight(crashes)).await?;
    Ok(())
}

async fn a_failure_at_any_step_of_a_delivery_loses_nothing(engine: EngineKind) -> Result<()> {
    let failing = PLACES.map(|(place, passage)| format!("{place}=error@{passage}")).join(";");
    let options = server_options(engine).await?.env(FAILPOINTS, &failing);
    let mut trial = Trial::open("failure at each step", options).await?;
    let load = trial.load(Naming::Mixed);
    load.wait_for_accepted(1_000, RECOVERY).await?;
    // Of each event that a failure concerns, every delivery may come twice.
    let repeats = PLACES.len() * trial.subscribers.len();
    trial.check(load, repeats).await?;
    Ok(())
}

/// The deliveries of a webhook with a rate limit go through the waiting room, before each try.
async fn a_crash_at_any_step_into_and_out_of_the_waiting_room_loses_nothing(
    engine: EngineKind,
) -> Result<()> {
    let mut trial = Trial::open_empty("crash around the room", server_options(engine).await?).await?;
    let limited = json!({"rate_limit_per_second": 400});
    trial.subscribe("/rationed", (1, Behaviour::status(500)), limited).await?;
    let load: Load = trial.load_at(100, std::slice::from_ref(&trial.stage.api), Naming::Mixed);
    trial.some_time(&load).await?;
    let crashes = crash_at_each(&mut trial.stage.server, &ROOM_PLACES).await?;
    trial.some_time(&load).await?;
    trial.check(load, in_flight(crashes)).await?;
    Ok(())
}

/// An event whose accepted record is there and whose deliveries are not is healed, however often that is interrupted.
async fn a_crash_at_any_step_of_healing_loses_nothing(engine: EngineKind) -> Result<()> {
    let mut trial = Trial::open("crash while healing", server_options(engine).await?).await?;
    let server = &mut trial.stage.server;
    server.set_env("POSTRIDER_STATUS_OVERDUE_AFTER", "10s");
    server.set_env(FAILPOINTS, "ingest.before_deliveries=error@1;heal.before_publish=abort@1");
    server.restart().await?;
    let event = json!({"type": "load.event", "data": {}});
    let refused = trial.stage.api.post("/v1/events", &event).await?.require(503)?.json()?;
    ensure!(refused["code"] == "in_doubt", "{refused}");
    trial.stage.server.wait(RECOVERY).await?;
    crash_at(&mut trial.stage.server, "heal.after_publish=abort@1").await?;
    trial.stage.server.set_env(FAILPOINTS, "");
    trial.stage.server.restart().await?;
    let counts = concluded(&trial.stage.api, Window::until_now(), DRAIN).await?;
    ensure!(counts["deliveries"]["delivered"] == trial.subscribers.len(), "{counts}");
    let requests = trial.stage.receiver.requests();
    for subscriber in &trial.subscribers {
        let came = requests.iter().filter(|request| request.path() == subscriber.path).count();
        // Published by the second round, which did not get to say so, and by the third: the later is checked.
        let most = 2 * (subscriber.failures + 1);
        ensure!((subscriber.failures + 1..=most).contains(&came), "{came} requests to {}", subscriber.path);
    }
    Ok(())
}

/// How many deliveries of a fan-out were published before each crash.
const FAN_OUT_PLACES: [(&str, usize); 3] =
    [("fan_out.before_page", 0), ("fan_out.after_page", PAGE), ("fan_out.before_acknowledge", MANY)];

async fn a_crash_between_two_pages_of_a_fan_out_loses_nothing(engine: EngineKind) -> Result<()> {
    let mut trial = Trial::open_empty("crash in a fan-out", server_options(engine).await?).await?;
    let api = trial.stage.api.clone();
    let gate = Gate::closed();
    for number in 0..MANY {
        let path = format!("/many/{number}");
        trial.stage.receiver.script(&path, Behaviour::ok().behind(&gate));
        let webhook = json!({"url": trial.stage.receiver.url(&path), "events": ["many.event"]});
        api.post("/v1/webhooks", &webhook).await?.require(201)?;
    }
    let mut expected = 0;
    for (place, published) in FAN_OUT_PLACES {
        // No try ends before the crash, so that no more have begun than there are slots.
        gate.close();
        trial.stage.server.set_env(FAILPOINTS, &format!("{place}=abort@1"));
        trial.stage.server.restart().await?;
        let before = trial.stage.receiver.count();
        let event = json!({"type": "many.event", "data": {"place": place}});
        // The crash may come before the answer: the message that is expanded is durable before that.
        if let Ok(answer) = api.post("/v1/events", &event).await {
            answer.require(202)?;
        }
        trial.stage.server.wait(SOON).await?;
        // Those that had been sent by then; some may not have been read by the receiver yet.
        let begun = FIRST_SLOTS.min(published);
        let seen = trial.stage.receiver.count() - before;
        ensure!(seen <= begun, "{place}: {seen} tries had begun");
        gate.open();
        trial.stage.server.set_env(FAILPOINTS, "");
        trial.stage.server.restart().await?;
        expected += MANY;
        // An event in doubt counts for the deliveries it has: the ledger balances before the last page is out as well.
        let all = eventually("all of the fan-out to be delivered", DRAIN, async || {
            let counts = concluded(&api, Window::until_now(), DRAIN).await?;
            Ok((counts["deliveries"]["delivered"] == expected).then_some(counts))
        });
        let counts = all.await.with_context(|| format!("{place}: {expected} are expected"))?;
        ensure!(counts["deliveries"]["expected"] == expected, "{place}: {counts}");
        let came = check_fan_out(&trial, place, published)?;
        let most = begun + published + MANY;
        println!("{place}: {came} requests, {seen} of them before the crash; {most} may be");
        ensure!(came <= most, "{place}: {came} requests, {most} may be");
    }
    Ok(())
}

/// What comes how often: a delivery that was published before the crash comes by that copy and by the second
/// expansion's, which is marked, but may be looked up before the first copy's try is in the log; and its first copy may
/// have been under way when the crash came. One that was not comes by the second expansion alone. Answers how many came.
fn check_fan_out(trial: &Trial, place: &str, published: usize) -> Result<usize> {
    let requests = trial.stage.receiver.requests();
    let mut tries: BTreeMap<&str, Vec<&Received>> = BTreeMap::new();
    for request in &requests {
        if request.json()?["data"]["place"] == place {
            tries.entry(request.path()).or_default().push(request);
        }
    }
    ensure!(tries.len() == MANY, "{} of {MANY} were reached", tries.len());
    let mut repeated = 0;
    for (path, tries) in &tries {
        let header = |index: usize| tries[index].header(DELIVERY_HEADER);
        let same = (1..tries.len()).all(|at| tries[at].body == tries[0].body && header(at) == header(0));
        ensure!(same, "a repeat that differs at {path}");
        ensure!(tries.len() <= 3, "{} requests to {path}", tries.len());
        repeated += usize::from(tries.len() > 1);
    }
    ensure!(repeated <= published, "{repeated} came more than once, {published} had been published");
    Ok(tries.values().map(Vec::len).sum())
}
