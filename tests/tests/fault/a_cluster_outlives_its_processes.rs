//! Two processes of each role: any of them may die or be replaced at any time.

use std::convert::Infallible;
use std::time::Duration;

use anyhow::{Result, ensure};
use http::StatusCode;
use postrider_tests::harness::{Api, Server, ServerOptions, shared_postgres, shared_rabbitmq};
use postrider_tests::load::{Load, Naming, is_long};

use super::broker::Broker;
use super::trial::{Trial, as_in_a_trial, in_flight};

mod cluster {
    #[tokio::test(flavor = "multi_thread")]
    async fn a_killed_process_of_any_role_is_made_up_for() -> anyhow::Result<()> {
        super::a_killed_process_of_any_role_is_made_up_for().await
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_clock_two_hours_ahead_in_one_process_loses_and_contradicts_nothing() -> anyhow::Result<()> {
        super::a_clock_two_hours_ahead_in_one_process_loses_and_contradicts_nothing().await
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn replacing_one_process_after_another_loses_and_repeats_nothing_and_answers_all()
    -> anyhow::Result<()> {
        super::replacing_one_process_after_another_loses_and_repeats_nothing_and_answers_all().await
    }
}

/// Beside the trial's own server, which is one of the two that manage; two of each role.
const OTHERS: [&str; 7] = ["manage", "ingest", "ingest", "worker", "worker", "status", "status"];

/// Two of each role. The processes stand in the trial, in the order of [`OTHERS`].
async fn start(test: &str) -> Result<Trial> {
    start_with(test, |_, options| options).await
}

/// The same, where `change` may set the options of each of the others, by its place.
async fn start_with(test: &str, change: impl Fn(usize, ServerOptions) -> ServerOptions) -> Result<Trial> {
    let broker = shared_rabbitmq().await?;
    let queue = broker.vhost().await?;
    let store = shared_postgres().await?.create_database().await?;
    let options = |role: &str| ServerOptions::cluster(&queue, &store).roles(role);
    let mut trial = Trial::open(test, options("manage")).await?;
    trial.broker = Broker::Node(broker, queue.clone());
    let starting = OTHERS
        .iter()
        .enumerate()
        .map(|(place, role)| Server::start(change(place, as_in_a_trial(options(role)))));
    trial.others = futures_util::future::try_join_all(starting).await?;
    Ok(trial)
}

fn load(trial: &Trial) -> Load {
    trial.load_on(&ingest(trial), Naming::Mixed)
}

fn ingest(trial: &Trial) -> Vec<Api> {
    let ingest = OTHERS.iter().zip(&trial.others).filter(|(role, _)| **role == "ingest");
    ingest.map(|(_, server)| server.api(&trial.stage.key)).collect()
}

async fn a_killed_process_of_any_role_is_made_up_for() -> Result<()> {
    let rounds = if is_long() { 100 } else { 7 };
    let mut trial = start("one of two killed").await?;
    let load = load(&trial);
    let first = usize::try_from(trial.chance.between(0, 6))?;
    for round in 0..rounds {
        trial.some_time(&load).await?;
        // Each in turn from a random one on, so that a short run meets every role; then any.
        let victim = if round < OTHERS.len() {
            (first + round) % OTHERS.len()
        } else {
            usize::try_from(trial.chance.between(0, 6))?
        };
        trial.others[victim].kill()?;
        // The other one of its role goes on alone.
        trial.some_time(&load).await?;
        trial.wait_for_more_requests(100).await?;
        trial.others[victim].restart().await?;
    }
    trial.check(load, in_flight(rounds)).await?;
    Ok(())
}

/// One process of a role is two hours ahead of all others, the broker and the store.
async fn a_clock_two_hours_ahead_in_one_process_loses_and_contradicts_nothing() -> Result<()> {
    const AHEAD: Duration = Duration::from_secs(2 * 3600);
    // The first of each role; a worker if only one is tried.
    let places = if is_long() { vec![0, 1, 3, 5] } else { vec![3] };
    for place in places {
        println!("ahead: {}", OTHERS[place]);
        let mut trial = start_with("clock ahead", |at, options| {
            if at == place { options.env("POSTRIDER_CLOCK_AHEAD", "2h") } else { options }
        })
        .await?;
        trial.ahead = AHEAD;
        let load = load(&trial);
        for _ in 0..5 {
            trial.some_time(&load).await?;
        }
        trial.check(load, 0).await?;
    }
    Ok(())
}

/// All of the others, the producers behind a balancer that asks who is ready.
async fn replacing_one_process_after_another_loses_and_repeats_nothing_and_answers_all() -> Result<()> {
    let delay = |place: usize, options: ServerOptions| match OTHERS[place] {
        "ingest" => options.env("POSTRIDER_SERVER_DRAIN_DELAY", "5s"),
        _ => options,
    };
    let mut trial = start_with("rolling restart", delay).await?;
    let ingest = ingest(&trial);
    let load = load(&trial);
    tokio::select! {
        replaced = replace_all(&mut trial, &load) => replaced?,
        never = balance(&load, &ingest) => match never {},
    }
    let ledger = load.finish().await?;
    trial.check_ledger(&ledger, 0).await?;
    ensure!(ledger.unanswered == 0, "{} requests were not answered", ledger.unanswered);
    Ok(())
}

async fn replace_all(trial: &mut Trial, load: &Load) -> Result<()> {
    for victim in 0..OTHERS.len() {
        trial.some_time(load).await?;
        let server = &mut trial.others[victim];
        let ended = server.terminate().await?;
        ensure!(ended.success(), "an orderly stop ended with {ended}:\n{}", server.log());
        server.restart().await?;
    }
    trial.some_time(load).await
}

/// As balancers do: the load goes to those that say that they are ready, as long as any does.
async fn balance(load: &Load, ingest: &[Api]) -> Infallible {
    let mut probes = tokio::time::interval(Duration::from_millis(50));
    loop {
        probes.tick().await;
        let mut ready = Vec::new();
        for api in ingest {
            if api.get("/readyz").await.is_ok_and(|answer| answer.status == StatusCode::OK) {
                ready.push(api.clone());
            }
        }
        if !ready.is_empty() {
            load.aim_at(&ready);
        }
    }
}
