//! What a producer has published over AMQP is the broker's until Postrider has done something about it: accepted it, or
//! put it aside with its reason. A crash at any step of that, or anywhere, has the message come again; each event counts
//! once, whether it has an id of its own or is known by its message alone.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use postrider_contract::ports::{ConfigKey, ConfigKind, ConfigStore, ConfigWrite, Expected};
use postrider_postgres::{PostgresStore, Settings};
use postrider_rabbitmq::QueueName;
use postrider_tests::harness::{ServerOptions, Stranger, eventually, shared_postgres, shared_rabbitmq};
use postrider_tests::load::checking::{Window, concluded};
use postrider_tests::load::is_long;
use postrider_tests::load::over_amqp::{AmqpLoad, AmqpPlan};
use postrider_tests::stage::{SOON, text};
use serde_json::{Value, json};

use super::crashing::{FAILPOINTS, crash_at, crash_at_each};
use super::trial::{CONNECTIONS, DRAIN, RATE, RECOVERY, Trial, in_flight};

mod cluster {
    #[tokio::test(flavor = "multi_thread")]
    async fn a_crash_at_any_step_of_taking_events_in_over_amqp_loses_nothing() -> anyhow::Result<()> {
        super::a_crash_at_any_step_of_taking_events_in_over_amqp_loses_nothing().await
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_failure_at_any_step_of_taking_events_in_over_amqp_loses_nothing() -> anyhow::Result<()> {
        super::a_failure_at_any_step_of_taking_events_in_over_amqp_loses_nothing().await
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn every_message_becomes_an_event_although_the_server_is_killed_at_random() -> anyhow::Result<()> {
        super::every_message_becomes_an_event_although_the_server_is_killed_at_random().await
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_crash_while_messages_are_refused_keeps_each_with_its_reason() -> anyhow::Result<()> {
        super::a_crash_while_messages_are_refused_keeps_each_with_its_reason().await
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_crash_while_messages_are_put_off_takes_each_in_once() -> anyhow::Result<()> {
        super::a_crash_while_messages_are_put_off_takes_each_in_once().await
    }
}

/// Where, and at which passage: between a message and its acknowledgement.
const PLACES: [(&str, u32); 8] = [
    ("amqp.before_accept", 60),
    ("ingest.after_key_insert", 40),
    ("ingest.before_deliveries", 40),
    ("ingest.after_deliveries", 40),
    ("ingest.after_publish", 40),
    ("ingest.before_key_confirm", 40),
    ("ingest.after_key_confirm", 40),
    ("amqp.after_accept", 60),
];
const REFUSING: [&str; 2] = ["amqp.before_refuse", "amqp.after_refuse"];
const PUTTING_OFF: [&str; 2] = ["amqp.before_put_off", "amqp.after_put_off"];
/// Messages that are refused, or put off.
const MESSAGES: usize = 20;
/// A passage at which some of them are done with, and others are not.
const PASSAGE: usize = MESSAGES / 2;

async fn cluster_options() -> Result<(String, String, ServerOptions)> {
    let queue = shared_rabbitmq().await?.vhost().await?;
    let store = shared_postgres().await?.create_database().await?;
    let options = ServerOptions::cluster(&queue, &store);
    Ok((queue, store, options))
}

/// A trial, and load over AMQP in place of HTTP: as many events on their way as there are requests then.
async fn open_loaded(test: &str, failpoints: &str) -> Result<(Trial, AmqpLoad)> {
    let (queue, _, options) = cluster_options().await?;
    let trial = Trial::open(test, options.env(FAILPOINTS, failpoints)).await?;
    let plan = AmqpPlan {
        tenant: trial.stage.tenant.clone(),
        rate: RATE,
        at_once: usize::try_from(CONNECTIONS)?,
        seed: trial.chance.seed(),
    };
    let load = AmqpLoad::start(Stranger::connect(&queue).await?, &trial.stage.receiver, plan);
    Ok((trial, load))
}

async fn some_time(trial: &Trial, load: &mut AmqpLoad) -> Result<()> {
    load.wait_for_published(trial.chance.between(20, 100), RECOVERY).await
}

/// With so many more deliveries as may be repeats: otherwise their bound would say nothing.
async fn check(trial: &mut Trial, mut load: AmqpLoad, repeats: usize) -> Result<()> {
    load.wait_for_published(u64::try_from(repeats / trial.subscribers.len())?, RECOVERY).await?;
    let ledger = load.finish(&trial.stage.receiver, &trial.stage.api, RECOVERY).await?;
    trial.check_ledger(&ledger, repeats).await?;
    Ok(())
}

async fn a_crash_at_any_step_of_taking_events_in_over_amqp_loses_nothing() -> Result<()> {
    let (mut trial, mut load) = open_loaded("crash while taking in", "").await?;
    some_time(&trial, &mut load).await?;
    let crashes = crash_at_each(&mut trial.stage.server, &PLACES).await?;
    check(&mut trial, load, in_flight(crashes)).await
}

async fn a_failure_at_any_step_of_taking_events_in_over_amqp_loses_nothing() -> Result<()> {
    let failing = PLACES.map(|(place, passage)| format!("{place}=error@{passage}")).join(";");
    let (mut trial, mut load) = open_loaded("failure while taking in", &failing).await?;
    load.wait_for_published(200, RECOVERY).await?;
    // Of each event that a failure concerns, every delivery may come twice.
    let repeats = PLACES.len() * trial.subscribers.len();
    check(&mut trial, load, repeats).await
}

async fn every_message_becomes_an_event_although_the_server_is_killed_at_random() -> Result<()> {
    let rounds = if is_long() { 100 } else { 8 };
    let (mut trial, mut load) = open_loaded("kill while taking in", "").await?;
    for _ in 0..rounds {
        some_time(&trial, &mut load).await?;
        trial.stage.server.kill()?;
        trial.stage.server.restart().await?;
    }
    check(&mut trial, load, in_flight(rounds)).await
}

/// Of three kinds: no event, of no tenant, without a name. By their bodies they are told apart.
fn unacceptable(number: usize, tenant: &str) -> (String, Option<String>, String, &'static str) {
    let (name, event) = (Some(format!("m-{number}")), format!(r#"{{"type":"a.b","data":{{"n":{number}}}}}"#));
    match number % 3 {
        0 => (tenant.to_owned(), name, format!("not json: {number}"), "malformed_json"),
        1 => ("nobody".to_owned(), name, event, "not_found"),
        _ => (tenant.to_owned(), None, event, "invalid_request"),
    }
}

async fn a_crash_while_messages_are_refused_keeps_each_with_its_reason() -> Result<()> {
    let (queue, _, options) = cluster_options().await?;
    let mut trial = Trial::open("crash while refusing", options).await?;
    let stranger = Stranger::connect(&queue).await?;
    ensure!(trial.stage.server.terminate().await?.success());
    let mut expected = BTreeMap::new();
    for number in 0..MESSAGES {
        let (tenant, name, body, code) = unacceptable(number, &trial.stage.tenant);
        stranger.produce(&tenant, name.as_deref(), body.as_bytes()).await?;
        expected.insert(Bytes::from(body), (name, code));
    }
    for place in REFUSING {
        crash_at(&mut trial.stage.server, &format!("{place}=abort@{PASSAGE}")).await?;
    }
    trial.stage.server.set_env(FAILPOINTS, "");
    trial.stage.server.restart().await?;
    let mut copies: BTreeMap<Bytes, usize> = BTreeMap::new();
    eventually("every message to be refused", SOON, async || {
        for refused in stranger.take(QueueName::EventsRefused).await? {
            let code = refused.header("postrider-code").context("refused without a code")?;
            let (name, due) = expected.get(&refused.body).context("a message that nobody published")?;
            ensure!((&refused.message_id, code.as_str()) == (name, *due), "{refused:?}");
            ensure!(refused.header("postrider-detail").is_some(), "{refused:?}");
            *copies.entry(refused.body).or_default() += 1;
        }
        Ok((copies.len() == MESSAGES).then_some(()))
    })
    .await?;
    // What was put aside is let go of: an orderly end gives nothing back.
    ensure!(trial.stage.server.terminate().await?.success());
    let left =
        (stranger.ready(QueueName::Events).await?, stranger.take(QueueName::EventsRefused).await?.len());
    let most = copies.values().max().copied().unwrap_or(0);
    // Once more for each crash that found it in hand.
    ensure!(left == (0, 0) && most <= 1 + REFUSING.len(), "{left:?} are left, {copies:?}");
    ensure!(trial.stage.receiver.count() == 0, "a refused message was delivered");
    Ok(())
}

/// What a newer version wrote of a webhook; until it is as it was, events that may be for it are put off.
async fn set_profile(store: &dyn ConfigStore, key: &ConfigKey, profile: Value) -> Result<()> {
    let record = store.read(key).await?.context("no such webhook")?;
    let mut document: Value = serde_json::from_slice(&record.document.context("it is deleted")?)?;
    document["profile"] = profile;
    let (expected, document) = (Expected::At(record.revision), Some(serde_json::to_vec(&document)?.into()));
    store.write(vec![ConfigWrite { key: key.clone(), expected, document }]).await?;
    Ok(())
}

async fn a_crash_while_messages_are_put_off_takes_each_in_once() -> Result<()> {
    let (queue, store, options) = cluster_options().await?;
    let mut trial = Trial::open_empty("crash while putting off", options).await?;
    let webhook = trial.stage.webhook("/put-off", "*", json!({})).await?;
    let stranger = Stranger::connect(&queue).await?;
    let store = PostgresStore::connect(Settings::new(store)).await?.configuration();
    let tenant = trial.stage.tenant.parse().context("a tenant's id")?;
    let key = ConfigKey { kind: ConfigKind::Webhook, tenant: Some(tenant), id: text(&webhook, "id")? };
    ensure!(trial.stage.server.terminate().await?.success());
    set_profile(&*store, &key, json!("of-a-newer-version")).await?;
    for number in 0..MESSAGES {
        let event = json!({"type": "a.b", "data": {"number": number}}).to_string();
        let name = format!("m-{number}");
        stranger.produce(&trial.stage.tenant, Some(&name), event.as_bytes()).await?;
    }
    for place in PUTTING_OFF {
        crash_at(&mut trial.stage.server, &format!("{place}=abort@{PASSAGE}")).await?;
    }
    trial.stage.server.set_env(FAILPOINTS, "");
    trial.stage.server.restart().await?;
    ensure!(trial.stage.receiver.count() == 0, "an event that cannot be read was delivered");
    set_profile(&*store, &key, Value::Null).await?;
    trial.stage.receiver.wait_for_requests("/put-off", MESSAGES, SOON).await?;
    let counts = concluded(&trial.stage.api, Window::until_now(), DRAIN).await?;
    let numbers: BTreeSet<String> = trial
        .stage
        .receiver
        .requests()
        .iter()
        .map(|request| Ok(request.json()?["data"]["number"].to_string()))
        .collect::<Result<_>>()?;
    ensure!((numbers.len(), trial.stage.receiver.count()) == (MESSAGES, MESSAGES), "{numbers:?}");
    let (accepted, delivered) = (&counts["events"]["accepted"], &counts["deliveries"]["delivered"]);
    ensure!(accepted == MESSAGES && delivered == MESSAGES, "{counts}");
    Ok(())
}
