//! What the deliveries queue promises when a process ends, in good order or not.

use std::collections::HashMap;
use std::time::Duration;

use postrider_contract::ids::DeliveryId;
use postrider_contract::ports::{QueueError, Route, WorkKind};

use super::queue::{id_of, publish, source, take};
use super::samples::Sample;
use super::{QueueUnderTest, soon, stays_quiet};

pub async fn what_was_not_acknowledged_survives_a_kill(engine: &mut dyn QueueUnderTest) {
    let now = engine.now();
    let samples: Vec<Sample> = (1..=3).map(|number| Sample::numbered(number, now)).collect();
    publish(engine, samples.iter().map(Sample::first).collect()).await;
    let mut before = source(engine, WorkKind::First).await;
    let in_hand = take(&mut before).await;
    let taken = id_of(&in_hand);
    engine.reopen().await;
    let mut after = source(engine, WorkKind::First).await;
    let mut redelivered: HashMap<DeliveryId, bool> = HashMap::new();
    while redelivered.len() < samples.len() {
        let lease = take(&mut after).await;
        redelivered.insert(id_of(&lease), lease.redelivered);
        lease.ticket.acknowledge();
    }
    assert_eq!(redelivered.get(&taken), Some(&true), "it was in other hands");
    in_hand.ticket.acknowledge();
}

pub async fn a_parked_delivery_survives_a_kill(engine: &mut dyn QueueUnderTest) {
    let delay = Duration::from_millis(300);
    let sample = Sample::numbered(1, engine.now());
    publish(engine, vec![sample.publication(Route::Retry { delay })]).await;
    engine.reopen().await;
    engine.pass(delay);
    let lease = take(&mut source(engine, WorkKind::Retry).await).await;
    assert_eq!(id_of(&lease), sample.id());
    lease.ticket.acknowledge();
}

pub async fn what_is_acknowledged_before_the_close_never_comes_again(engine: &mut dyn QueueUnderTest) {
    let now = engine.now();
    let (done, marker) = (Sample::numbered(1, now), Sample::numbered(2, now));
    publish(engine, vec![done.first()]).await;
    let mut before = source(engine, WorkKind::First).await;
    take(&mut before).await.ticket.acknowledge();
    soon(engine.queue().close()).await;
    engine.reopen().await;
    publish(engine, vec![marker.first()]).await;
    let mut after = source(engine, WorkKind::First).await;
    let lease = take(&mut after).await;
    assert_eq!(id_of(&lease), marker.id());
    lease.ticket.acknowledge();
    assert!(stays_quiet(after.next()).await, "nothing else is there");
}

pub async fn closing_ends_every_source(engine: &mut dyn QueueUnderTest) {
    let queue = engine.queue();
    let mut idle = source(engine, WorkKind::First).await;
    let mut waiting = source(engine, WorkKind::Retry).await;
    let waiter = tokio::spawn(async move { waiting.next().await.map(|_| ()) });
    tokio::task::yield_now().await;
    soon(queue.close()).await;
    let ended = soon(waiter).await.expect("it does not panic");
    assert!(matches!(ended, Err(QueueError::Closed)), "{ended:?}");
    let ended = soon(idle.next()).await.map(|_| ());
    assert!(matches!(ended, Err(QueueError::Closed)), "{ended:?}");
    let refused = soon(queue.consume(WorkKind::First, 1)).await.map(|_| ());
    assert!(matches!(refused, Err(QueueError::Closed)), "{refused:?}");
}

pub async fn nothing_is_confirmed_after_the_close(engine: &mut dyn QueueUnderTest) {
    let queue = engine.queue();
    soon(queue.close()).await;
    assert!(queue.check_writable().is_err());
    let publication = Sample::numbered(1, engine.now()).first();
    assert!(soon(queue.publish(vec![publication])).await.is_err());
    soon(queue.close()).await;
}

pub async fn settling_after_the_close_is_harmless(engine: &mut dyn QueueUnderTest) {
    let now = engine.now();
    let publications = (1..=3).map(|number| Sample::numbered(number, now).first()).collect();
    publish(engine, publications).await;
    let mut before = source(engine, WorkKind::First).await;
    let (one, two, three) = (take(&mut before).await, take(&mut before).await, take(&mut before).await);
    soon(engine.queue().close()).await;
    one.ticket.acknowledge();
    two.ticket.give_back();
    engine.reopen().await;
    drop(three);
    let mut after = source(engine, WorkKind::First).await;
    let again = take(&mut after).await;
    assert!(again.redelivered);
}

#[macro_export]
macro_rules! queue_end_promises {
    ($start:ident) => {
        $crate::promises! {
            $start,
            queue_end:
            what_was_not_acknowledged_survives_a_kill,
            a_parked_delivery_survives_a_kill,
            what_is_acknowledged_before_the_close_never_comes_again,
            closing_ends_every_source,
            nothing_is_confirmed_after_the_close,
            settling_after_the_close_is_harmless,
        }
    };
}
