//! A producer over AMQP. It is told nothing but that the broker has a message, and relies on it: of each there is one
//! accepted event in the end, however often the message was given out, and however often it was published.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use serde_json::Value;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;

use super::checking::{Window, concluded, number_in, read_log};
use super::{Accepted, EVENT_TYPE, Ledger, data};
use crate::harness::{Api, Received, Receiver, Stranger, eventually_at_its_pace};

/// One in so many messages is published twice, as by a producer that is not sure of its first.
const TWICE: u64 = 5;
/// How long nothing may come out: a crash leaves a key in progress for 10 s, the rest is for a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// What is published, and how fast.
#[derive(Debug, Clone)]
pub struct AmqpPlan {
    pub tenant: String,
    /// Events a second.
    pub rate: u32,
    /// So many events are on their way at most: published, and nothing of them seen at the receiver.
    pub at_once: usize,
    /// In every event's data.
    pub seed: u64,
}

/// A running producer.
#[derive(Debug)]
pub struct AmqpLoad {
    seed: u64,
    is_over: Arc<AtomicBool>,
    published: watch::Receiver<u64>,
    running: JoinHandle<Result<()>>,
    started: Instant,
}

impl AmqpLoad {
    /// Starts to publish events whose deliveries come to this receiver.
    pub fn start(stranger: Stranger, receiver: &Receiver, plan: AmqpPlan) -> Self {
        let (seed, is_over, receiver) = (plan.seed, Arc::new(AtomicBool::new(false)), receiver.clone());
        let (publishing, published) = watch::channel(0);
        let is_over_too = Arc::clone(&is_over);
        let running = tokio::spawn(async move {
            let mut ticks = tokio::time::interval(Duration::from_secs(1) / plan.rate);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            let mut arrived = Arrived::default();
            for number in 0.. {
                ticks.tick().await;
                if is_over_too.load(Ordering::Relaxed) {
                    break;
                }
                arrived.wait_until_under(&receiver, number, plan.at_once).await?;
                publish(&stranger, &plan, number).await?;
                publishing.send_replace(number + 1);
            }
            Ok(())
        });
        AmqpLoad { seed, is_over, published, running, started: Instant::now() }
    }

    /// Waits until so many more events are published.
    pub async fn wait_for_published(&mut self, more: u64, within: Duration) -> Result<()> {
        let goal = *self.published.borrow() + more;
        let waiting = tokio::time::timeout(within, self.published.wait_for(|published| *published >= goal));
        let ended = waiting.await.map(|reached| reached.is_err());
        match ended {
            Ok(false) => Ok(()),
            Ok(true) => Err(self.failure().await),
            Err(_) => Err(anyhow!("waited {within:?} in vain for {more} more events to be published")),
        }
    }

    /// Why it ended by itself.
    async fn failure(&mut self) -> anyhow::Error {
        match (&mut self.running).await {
            Ok(Err(error)) => error,
            Ok(Ok(())) => anyhow!("the producer ended"),
            Err(error) => error.into(),
        }
    }

    /// Publishes nothing more, waits until every message was taken in and its deliveries have ended, and answers what is
    /// then known of each: what the log says of its event. Which ids an event has that its producer gave none is asked of
    /// the receiver.
    pub async fn finish(mut self, receiver: &Receiver, api: &Api, within: Duration) -> Result<Ledger> {
        self.is_over.store(true, Ordering::Relaxed);
        (&mut self.running).await??;
        let (seed, end, lasted) = (self.seed, *self.published.borrow(), self.started.elapsed());
        all_taken_in(api, end, within).await?;
        concluded(api, Window::until_now(), within).await?;
        let mut deliveries_of: BTreeMap<String, BTreeSet<(String, String)>> = BTreeMap::new();
        for (delivery, row) in read_log(api).await? {
            let text = |member: &str| row[member].as_str().map(str::to_owned).context("not a delivery");
            deliveries_of.entry(text("event_id")?).or_default().insert((delivery, text("webhook_id")?));
        }
        let seen = events_by_number(&receiver.requests());
        let event_of = |number: u64| own_id(seed, number).or_else(|| seen.get(&number).cloned());
        let mut ledger = Ledger { seed, end, requests: end, lasted, ..Ledger::default() };
        for number in 0..end {
            let event = event_of(number).unwrap_or_default();
            let deliveries = deliveries_of.get(&event).cloned().unwrap_or_default();
            ledger.accepted.insert(number, Accepted { event, deliveries });
        }
        Ok(ledger)
    }
}

impl Drop for AmqpLoad {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
    }
}

/// Every other event has an id of its own; the others are known again by their message alone.
fn own_id(seed: u64, number: u64) -> Option<String> {
    (!number.is_multiple_of(2)).then(|| format!("load-{seed}-{number}"))
}

async fn publish(stranger: &Stranger, plan: &AmqpPlan, number: u64) -> Result<()> {
    let id = own_id(plan.seed, number).map_or_else(String::new, |id| format!(r#""id":"{id}","#));
    let body = format!(r#"{{"type":"{EVENT_TYPE}",{id}"data":{}}}"#, data(plan.seed, number));
    let message = format!("message-{}-{number}", plan.seed);
    for _ in 0..if number.is_multiple_of(TWICE) { 2 } else { 1 } {
        stranger.produce(&plan.tenant, Some(&message), body.as_bytes()).await?;
    }
    Ok(())
}

/// The numbers of events of which anything has arrived.
#[derive(Debug, Default)]
struct Arrived {
    numbers: BTreeSet<u64>,
    /// Requests that were looked at.
    read: usize,
}

impl Arrived {
    async fn wait_until_under(&mut self, receiver: &Receiver, published: u64, most: usize) -> Result<()> {
        let published = usize::try_from(published)?;
        let waited = receiver.wait_until("events on their way to arrive", PATIENCE, |seen| {
            let news = seen.requests.iter().skip(self.read);
            self.numbers.extend(news.filter_map(|request| number_in(&request.body)));
            self.read = seen.requests.len();
            published < self.numbers.len() + most
        });
        waited.await.with_context(|| {
            let missing = (0..published as u64).filter(|number| !self.numbers.contains(number));
            format!("of {published} these never came: {:?}", missing.collect::<Vec<_>>())
        })
    }
}

async fn all_taken_in(api: &Api, published: u64, within: Duration) -> Result<()> {
    let what = format!("{published} messages to be taken in");
    let waited = eventually_at_its_pace(&what, within, async || {
        // Not answering for a moment is part of what is being waited out.
        let Ok(answer) = api.get("/v1/ledger").await else { return Ok(ControlFlow::Continue(None)) };
        let accepted = answer.json().unwrap_or(Value::Null)["events"]["accepted"].as_u64();
        let is_done = accepted >= Some(published);
        Ok(if is_done { ControlFlow::Break(()) } else { ControlFlow::Continue(accepted) })
    });
    waited.await.with_context(|| format!("{published} were published"))
}

/// The id that an event has at the receiver; if it has several, the check says so.
fn events_by_number(requests: &[Received]) -> BTreeMap<u64, String> {
    let mut events = BTreeMap::new();
    for request in requests {
        let event = request.json().ok().and_then(|body| body["id"].as_str().map(str::to_owned));
        if let (Some(number), Some(event)) = (number_in(&request.body), event) {
            events.entry(number).or_insert(event);
        }
    }
    events
}
