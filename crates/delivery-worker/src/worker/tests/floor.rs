//! The floor by itself, over a queue that can be written to and confirms nothing.

use super::*;
use crate::stage::Recorder;

fn floor_on(queue: &Recorder) -> Arc<Floor> {
    let webhooks = FakeWebhooks::with(entry(webhook("http://127.0.0.1:9/"), "trcker", 1));
    let log = FakeLog::new(Arc::new(Outage::default()));
    let parts = parts_on(Arc::new(queue.clone()), queue.clone(), log, &webhooks, &clock());
    Floor::new(Settings { window: 1, ..Settings::default() }, parts, Stop::default())
}

async fn accept(floor: &Arc<Floor>, queue: &Recorder, number: u32) {
    let message = Work::Deliver(numbered_delivery(number));
    floor.accept(WorkKind::First, Lease { message, redelivered: false, ticket: queue.ticket() }).await;
}

/// Begins to settle something that is not confirmed.
async fn begin_trouble(floor: &Arc<Floor>, queue: &Recorder) -> JoinHandle<Result<(), Unsettled>> {
    queue.fail_publishes(usize::MAX);
    let settling = Arc::clone(floor);
    let publication = Publication { route: Route::Release, work: Work::Deliver(numbered_delivery(1)) };
    let settling = tokio::spawn(async move { settling.settle().publish(vec![publication]).await });
    while !floor.settle().trouble.is_there() {
        tokio::task::yield_now().await;
    }
    settling
}

/// A queue that is full refuses, and its connection is well all the same: only what is in hand tells.
#[tokio::test(start_paused = true)]
async fn while_one_settlement_is_not_confirmed_no_other_try_is_begun() {
    let queue = Recorder::default();
    let floor = floor_on(&queue);
    let settling = begin_trouble(&floor, &queue).await;
    accept(&floor, &queue, 2).await;
    assert_eq!(floor.fair().running(), 0);

    queue.fail_publishes(0);
    settling.await.unwrap().unwrap();
    floor.start_ready();
    assert_eq!(floor.fair().running(), 1);
}

/// No try of its webhook ends, so nothing else would look at it.
#[tokio::test(start_paused = true)]
async fn what_waits_too_long_for_its_webhook_goes_to_the_waiting_room() {
    let queue = Recorder::default();
    let floor = floor_on(&queue);
    let _settling = begin_trouble(&floor, &queue).await;
    accept(&floor, &queue, 2).await;
    accept(&floor, &queue, 3).await;
    let begun = floor.fair().start_next(Instant::now()).expect("a place is free");
    let looking = tokio::spawn(look_around(Arc::clone(&floor)));
    let put_away = async {
        while queue.journaled().is_empty() {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), put_away).await.expect("it is put away");
    let [JournalRecord::Held(HeldRecord { why: HoldReason::Overflow, delivery, .. })] =
        &queue.journaled()[..]
    else {
        panic!("{:?}", queue.journaled())
    };
    assert_eq!(delivery.reference.id, numbered_delivery(3).reference.id);
    looking.abort();
    drop(begun);
}
