//! What fell off the ordinary path is let go of once what is done about it stands: a crash before or after that has it
//! come again. Nothing is lost, and what is written down of it is there once.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use postrider_rabbitmq::QueueName;
use postrider_tests::harness::{
    Server, ServerOptions, Stranger, eventually, shared_postgres, shared_rabbitmq,
};
use postrider_tests::load::checking::{Window, concluded};
use postrider_tests::stage::{SOON, Stage, text};
use serde_json::{Value, json};

use super::crashing::{FAILPOINTS, crash_at};
use super::trial::RECOVERY;

mod cluster {
    #[tokio::test(flavor = "multi_thread")]
    async fn a_crash_while_deliveries_given_out_too_often_are_concluded_concludes_each_once()
    -> anyhow::Result<()> {
        super::a_crash_while_deliveries_given_out_too_often_are_concluded_concludes_each_once().await
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_crash_while_deliveries_without_a_queue_are_published_again_loses_none() -> anyhow::Result<()> {
        super::a_crash_while_deliveries_without_a_queue_are_published_again_loses_none().await
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_crash_while_a_journal_that_was_set_aside_is_written_down_loses_nothing_of_it()
    -> anyhow::Result<()> {
        super::a_crash_while_a_journal_that_was_set_aside_is_written_down_loses_nothing_of_it().await
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_crash_while_unreadable_messages_are_kept_keeps_them_all() -> anyhow::Result<()> {
        super::a_crash_while_unreadable_messages_are_kept_keeps_them_all().await
    }
}

const STRAYS: usize = 10;
/// A passage at which some of them are done with, and others are not.
const PASSAGE: usize = STRAYS / 2;
const ROLES: &str = "POSTRIDER_SERVER_ROLES";
/// Where a process dies after something was done about a stray, and before it is let go of.
const BEFORE_ACKNOWLEDGE: &str = "stray.before_acknowledge";
/// Where strays are, and where some come from again at every start.
const PLACES: [QueueName; 3] = [QueueName::Dead, QueueName::CatchAll, QueueName::Unreadable];
/// How often these tests make a process die.
const CRASHES: usize = 2;

/// An installation whose accepted events stay in the queues, and then ends: so many events with one delivery each.
struct Fallen {
    stage: Stage,
    broker: Stranger,
    deliveries: Vec<String>,
}

impl Fallen {
    async fn open() -> Result<Self> {
        let queue = shared_rabbitmq().await?.vhost().await?;
        let store = shared_postgres().await?.create_database().await?;
        let options = ServerOptions::cluster(&queue, &store).env(ROLES, "ingest,manage");
        let mut stage = Stage::open_with(options, "standard").await?;
        stage.webhook("/hook", "*", json!({})).await?;
        let mut deliveries = Vec::new();
        for number in 0..STRAYS {
            let accepted = stage.publish("a.b", json!({"number": number})).await?;
            deliveries.push(text(&accepted["deliveries"][0], "id")?);
        }
        ensure!(stage.server.terminate().await?.success());
        deliveries.sort();
        Ok(Fallen { stage, broker: Stranger::connect(&queue).await?, deliveries })
    }

    /// One process after the other with these roles dies: where the effect is about to be, and where it has been, with one
    /// stray in hand whose effect has failed so far. The next lives, and has dealt with every stray there was when this
    /// comes back.
    async fn crash_around(&mut self, effect: &str, roles: &str) -> Result<()> {
        let server = &mut self.stage.server;
        server.set_env(ROLES, roles);
        crash_at(server, &format!("{effect}=abort@{PASSAGE}")).await?;
        crash_at(server, &format!("{effect}=error@1;{BEFORE_ACKNOWLEDGE}=abort@{PASSAGE}")).await?;
        let mut waiting = 0;
        for queue in PLACES {
            waiting += u64::from(self.broker.abandoned(queue, SOON).await?);
        }
        server.set_env(FAILPOINTS, "");
        server.restart().await?;
        eventually("all strays to be dealt with", RECOVERY, async || {
            Ok((strays_dealt_with(server).await? >= waiting).then_some(()))
        })
        .await
    }

    /// Waits until every delivery has ended in this status, and checks that the log has each once and nothing else.
    async fn all_end_as(&self, status: &str) -> Result<Vec<Value>> {
        let api = &self.stage.api;
        let counts = concluded(api, Window::until_now(), RECOVERY).await?;
        ensure!(counts["deliveries"][status] == STRAYS, "{counts}");
        ensure!(
            counts["deliveries"]["expected"] == STRAYS && counts["events"]["accepted"] == STRAYS,
            "{counts}"
        );
        let list = api.get("/v1/deliveries?limit=200").await?.require(200)?.json()?;
        let rows = list["data"].as_array().context("not a list")?.clone();
        let mut ids = rows.iter().map(|row| text(row, "id")).collect::<Result<Vec<_>>>()?;
        ids.sort();
        ensure!(ids == self.deliveries, "{rows:?}");
        Ok(rows)
    }

    /// Nothing is left of the strays once the process has ended, which gives back what it has in hand.
    async fn none_is_left(&mut self) -> Result<()> {
        ensure!(self.stage.server.terminate().await?.success());
        let (dead, catch_all) = (QueueName::Dead, QueueName::CatchAll);
        let left = (self.broker.abandoned(dead, SOON).await?, self.broker.abandoned(catch_all, SOON).await?);
        ensure!(left == (0, 0), "left over: {left:?}");
        Ok(())
    }
}

/// By this process, of every kind.
async fn strays_dealt_with(server: &Server) -> Result<u64> {
    let answer = server.admin().get("/metrics").await?.require(200)?;
    let text = String::from_utf8_lossy(&answer.body).into_owned();
    let series = text.lines().filter(|line| line.starts_with("postrider_strays_total{"));
    let counts = series.filter_map(|line| line.rsplit(' ').next()).map(|count| Ok(count.parse::<u64>()?));
    counts.sum()
}

async fn a_crash_while_deliveries_given_out_too_often_are_concluded_concludes_each_once() -> Result<()> {
    let mut fallen = Fallen::open().await?;
    eventually("deliveries to be given out too often", SOON, async || {
        fallen.broker.give_back(QueueName::First).await?;
        Ok((fallen.broker.ready(QueueName::Dead).await? as usize == STRAYS).then_some(()))
    })
    .await?;
    fallen.crash_around("stray.before_conclusion", "ingest,status,manage").await?;
    for row in fallen.all_end_as("failed").await? {
        ensure!(row["reason"] == "internal" && row["attempts"] == 0, "{row}");
    }
    ensure!(fallen.stage.receiver.count() == 0, "a delivery that is taken to end its worker was tried");
    fallen.none_is_left().await
}

async fn a_crash_while_deliveries_without_a_queue_are_published_again_loses_none() -> Result<()> {
    let mut fallen = Fallen::open().await?;
    for message in fallen.broker.take(QueueName::First).await? {
        fallen.broker.put(QueueName::CatchAll, &message.body).await?;
    }
    ensure!(fallen.broker.ready(QueueName::CatchAll).await? as usize == STRAYS);
    fallen.crash_around("stray.before_publish", "ingest,worker,status,manage").await?;
    fallen.all_end_as("delivered").await?;
    let mut tries: BTreeMap<String, Vec<Bytes>> = BTreeMap::new();
    for request in fallen.stage.receiver.requests() {
        let event = request.header("webhook-id").context("no webhook-id")?.to_owned();
        tries.entry(event).or_default().push(request.body);
    }
    // A process publishes what it cannot know to be published, and may die in the middle of a try of each copy there is
    // by then: the first of one, the second of two, and so on to the one that lives.
    let most = (1..=1 + CRASHES).sum();
    let is_bounded =
        |bodies: &Vec<Bytes>| bodies.len() <= most && bodies.iter().all(|body| *body == bodies[0]);
    ensure!(tries.len() == STRAYS && tries.values().all(is_bounded), "{tries:?}");
    fallen.none_is_left().await
}

async fn a_crash_while_a_journal_that_was_set_aside_is_written_down_loses_nothing_of_it() -> Result<()> {
    let mut fallen = Fallen::open().await?;
    let journal = fallen.broker.topology.queue(QueueName::Journal);
    let batches = fallen.broker.take(QueueName::Journal).await?;
    ensure!(batches.len() >= STRAYS, "each event's record was confirmed before the next was sent");
    let headers = [
        ("postrider-reason", "it could not be read"),
        ("postrider-queue", journal.as_str()),
        ("postrider-cause", "unread"),
    ];
    for batch in batches {
        fallen.broker.put_with(QueueName::Dead, &headers, &batch.body).await?;
    }
    fallen.crash_around("stray.before_write", "ingest,status,manage").await?;
    ensure!(fallen.stage.server.terminate().await?.success());
    fallen.stage.server.set_env(ROLES, "ingest,worker,status,manage");
    fallen.stage.server.restart().await?;
    fallen.all_end_as("delivered").await?;
    ensure!(fallen.stage.receiver.count() == STRAYS, "{} requests", fallen.stage.receiver.count());
    fallen.none_is_left().await
}

async fn a_crash_while_unreadable_messages_are_kept_keeps_them_all() -> Result<()> {
    let mut fallen = Fallen::open().await?;
    let rubbish = |number: usize| Bytes::from(format!("message {number} of nobody"));
    for number in 0..STRAYS {
        fallen.broker.put(QueueName::Dead, &rubbish(number)).await?;
    }
    fallen.crash_around("stray.before_keep", "ingest,worker,status,manage").await?;
    fallen.all_end_as("delivered").await?;
    fallen.none_is_left().await?;
    let mut copies: BTreeMap<Bytes, u32> = BTreeMap::new();
    for message in fallen.broker.take(QueueName::Unreadable).await? {
        ensure!(message.header("postrider-reason").is_some(), "kept without a reason: {message:?}");
        *copies.entry(message.body).or_default() += 1;
    }
    // A crash between the copy that is kept and the end of the other makes two of each that there was.
    let most = 2_u32.pow(u32::try_from(CRASHES)?);
    let is_kept = |number: usize| copies.get(&rubbish(number)).is_some_and(|copies| *copies <= most);
    ensure!(copies.len() == STRAYS && (0..STRAYS).all(is_kept), "{copies:?}");
    Ok(())
}
