//! When nothing goes wrong any more: everything comes to its end, and what everybody knows agrees.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use postrider_contract::clock::{Clock, Timestamp};
use postrider_contract::ids::DeliveryId;
use postrider_contract::outcome::{DeliveryStatus, Outcome};
use postrider_contract::ports::{DeliveryView, LedgerQuery, LogQueries, WaitingRoom};

use super::outside::FIRST_OVER_AMQP;
use super::receiver::{Arrival, Called};
use super::roles::{WAITS, webhook_id, webhook_path};
use super::world::World;

/// Whether nothing is left to do anywhere.
pub(super) async fn is_quiet(world: &World) -> bool {
    let messages = world.queue.unacknowledged();
    let is_room_empty = world.log.summaries().await.is_ok_and(|summaries| summaries.is_empty());
    let is_concluded = |view: &DeliveryView| view.status.is_concluded();
    messages.work.is_empty()
        && messages.journal.is_empty()
        && world.intake.unacknowledged().is_empty()
        && is_room_empty
        && world.log.all_deliveries().iter().all(is_concluded)
}

/// What is not done yet, for whoever waits in vain.
pub(super) async fn unfinished(world: &World) -> String {
    let messages = world.queue.unacknowledged();
    let open = world.log.all_deliveries().into_iter().filter(|view| !view.status.is_concluded());
    let open: Vec<_> =
        open.map(|view| format!("{} {:?} due {:?}", view.reference.id, view.status, view.due_at)).collect();
    let room = world.log.summaries().await.unwrap_or_default();
    format!(
        "{} messages of work, {} of the journal, {} of producers, {} webhooks with deliveries in the room {room:?}, not concluded: {open:?}",
        messages.work.len(),
        messages.journal.len(),
        world.intake.unacknowledged().len(),
        room.len(),
    )
}

/// Compares what was promised, what the log says and what arrived.
pub(super) async fn agree(world: &World) -> Result<()> {
    let views: BTreeMap<DeliveryId, DeliveryView> =
        world.log.all_deliveries().into_iter().map(|view| (view.reference.id, view)).collect();
    let promised = world.with_custody(|custody| custody.promised().clone());
    let arrivals = world.receivers.all();
    for (event, deliveries) in &promised {
        ensure!(
            deliveries.len() == world.scenario.webhooks.len(),
            "{event} was promised to {} webhooks",
            deliveries.len()
        );
        for delivery in deliveries {
            ensure!(views.contains_key(delivery), "the log knows nothing of {delivery} of {event}");
        }
    }
    let mut repeated = 0;
    for view in views.values() {
        let empty = Vec::new();
        let calls = arrivals.get(&called(world, view)).unwrap_or(&empty);
        repeated += compare(world, view, calls).await?;
    }
    for (event, path) in arrivals.keys() {
        let is_known = |view: &DeliveryView| called(world, view) == (event.clone(), path.clone());
        ensure!(views.values().any(is_known), "{event} arrived at {path}, and the log knows nothing of it");
    }
    each_message_is_one_event(world, arrivals.iter())?;
    // Each message that was in hand when something broke may cost a call, and where the look-up fails too, each of
    // the tries that follow.
    let bound = world.excused() * (WAITS.len() + 1);
    ensure!(repeated <= bound, "{repeated} calls were repeated, {bound} were excused");
    balance(world, promised.len()).await
}

/// However often it came, and was given out.
fn each_message_is_one_event<'a>(
    world: &World,
    arrivals: impl Iterator<Item = (&'a Called, &'a Vec<Arrival>)> + Clone,
) -> Result<()> {
    for number in (FIRST_OVER_AMQP..).take(world.scenario.messages as usize) {
        let data = format!("\"n\":{number}}}");
        let is_of_it = |call: &Arrival| String::from_utf8_lossy(&call.body).contains(&data);
        let of_it = arrivals.clone().filter(|(_, calls)| calls.iter().any(is_of_it));
        let events: BTreeSet<&str> = of_it.map(|((event, _), _)| event.as_str()).collect();
        ensure!(events.len() <= 1, "message {number} became several events: {events:?}");
    }
    Ok(())
}

fn called(world: &World, view: &DeliveryView) -> Called {
    let is_this = |number: &usize| webhook_id(*number) == view.reference.webhook;
    let number = (0..world.scenario.webhooks.len()).find(is_this).unwrap_or_default();
    (view.reference.event_id.to_string(), webhook_path(number))
}

/// Answers how many calls were more than the log's tries need.
async fn compare(world: &World, view: &DeliveryView, calls: &[Arrival]) -> Result<usize> {
    let id = view.reference.id;
    let attempts = world.log.attempts(id).await?;
    let was_recorded = attempts.iter().any(|attempt| attempt.outcome == Outcome::Delivered);
    let was_answered = calls.iter().any(|call| (200..300).contains(&call.status));
    match view.status {
        DeliveryStatus::Delivered => {
            ensure!(was_answered, "{id} is said to be delivered, and no receiver took it");
        }
        DeliveryStatus::Failed | DeliveryStatus::Canceled | DeliveryStatus::Expired => {
            ensure!(!was_recorded, "{id} is {:?} although the log has a try that delivered it", view.status);
        }
        DeliveryStatus::Pending | DeliveryStatus::Retrying | DeliveryStatus::Held => {
            bail!("{id} is still {:?}", view.status);
        }
    }
    ensure!(
        calls.windows(2).all(|two| two[0].body == two[1].body && two[0].at <= two[1].at),
        "{id} did not always have the same body"
    );
    Ok(calls.len().saturating_sub(usize::try_from(view.attempts)?))
}

async fn balance(world: &World, promised: usize) -> Result<()> {
    let overdue_before = world.clock.now().minus(Duration::from_secs(60));
    let ledger = world.log.ledger(&LedgerQuery::default(), overdue_before).await?;
    let told = format!("{ledger:?}");
    ensure!(ledger.accepted >= promised as u64, "{promised} events were promised: {told}");
    ensure!(ledger.accepted == ledger.matched + ledger.unmatched, "events do not balance: {told}");
    let concluded = ledger.delivered + ledger.failed + ledger.canceled + ledger.expired;
    ensure!(
        ledger.pending + ledger.retrying + ledger.held + ledger.overdue == 0,
        "something is open: {told}"
    );
    ensure!(ledger.expected == concluded, "deliveries do not balance: {told}");
    Ok(())
}

/// Runs until nothing is left to do, in simulated time.
pub(super) async fn settle_down(world: &World, limit: Duration) -> Result<()> {
    let until: Timestamp = world.clock.now().plus(limit);
    while !is_quiet(world).await {
        if world.over.is_cancelled() {
            return Ok(());
        }
        if world.clock.now() >= until {
            bail!(
                "after {limit:?} without a fault not everything has come to its end: {}",
                unfinished(world).await
            );
        }
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    agree(world).await.context("the end")
}
