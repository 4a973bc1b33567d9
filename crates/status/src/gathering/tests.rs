use postrider_contract::clock::Clock;
use postrider_contract::delivery::Delivery;
use postrider_contract::outcome::{DeliveryStatus, Outcome};
use postrider_contract::ports::{LogQueries, WorkQueue};
use tokio::task::JoinHandle;

use super::*;
use crate::tests::fixture::{Office, QUICK, accepted, attempted};
use crate::writing::run_writer;

/// More than what makes a turn a busy one.
const CROWD: usize = MUCH + 20;
/// After a turn, before the next but one.
const ONE_TURN: Duration = Duration::from_millis(35);

struct Writer {
    running: JoinHandle<Result<(), QueueError>>,
    stop: Stop,
}

fn start(office: &Office) -> Writer {
    let stop = Stop::default();
    let running = tokio::spawn(run_writer(
        Gathering::of(Arc::new(office.queue.clone())),
        Arc::new(office.log.clone()),
        Arc::clone(&office.parts.board),
        Arc::clone(&office.parts.metrics),
        stop.clone(),
    ));
    Writer { running, stop }
}

/// Journals that many acceptances in one message.
async fn accept(office: &Office, name: &str, count: usize) -> Vec<Delivery> {
    let (records, deliveries) = (0..count)
        .map(|number| office.delivery(&format!("{name}{number}"), 1))
        .map(|(event, delivery)| (accepted(event, &delivery, None), delivery))
        .unzip();
    office.journal(records).await;
    deliveries
}

async fn status(office: &Office, delivery: &Delivery) -> Option<DeliveryStatus> {
    let view = office.log.delivery(&delivery.reference.tenant, delivery.reference.id).await;
    view.unwrap().map(|view| view.status)
}

async fn is_settled(office: &Office) -> bool {
    let later = office.clock.now().plus(Duration::from_secs(3_600));
    office.queue.settled_until(later).await.unwrap() == later
}

#[tokio::test(start_paused = true)]
async fn while_there_is_much_an_acceptance_is_written_together_with_the_try_that_follows_it() {
    let office = Office::open().await;
    start(&office);
    let deliveries = accept(&office, "e", CROWD).await;
    tokio::time::sleep(ONE_TURN).await;
    assert_eq!(status(&office, &deliveries[0]).await, None, "it is kept");
    assert!(!is_settled(&office).await, "and its message is not acknowledged");
    office.journal(vec![attempted(&deliveries[0], 200, QUICK, Outcome::Delivered)]).await;
    tokio::time::sleep(ONE_TURN).await;
    assert_eq!(status(&office, &deliveries[0]).await, Some(DeliveryStatus::Delivered));
    assert!(is_settled(&office).await);
}

#[tokio::test(start_paused = true)]
async fn an_acceptance_is_not_kept_for_long_however_much_there_is_to_write() {
    let office = Office::open().await;
    start(&office);
    let deliveries = accept(&office, "e", CROWD).await;
    for turn in 0..8 {
        tokio::time::sleep(LINGER).await;
        accept(&office, &format!("turn{turn}-"), CROWD).await;
    }
    assert_eq!(status(&office, &deliveries[0]).await, Some(DeliveryStatus::Pending));
}

#[tokio::test(start_paused = true)]
async fn with_little_to_write_nothing_is_kept() {
    let office = Office::open().await;
    start(&office);
    let deliveries = accept(&office, "e", 1).await;
    tokio::time::sleep(ONE_TURN).await;
    assert_eq!(status(&office, &deliveries[0]).await, Some(DeliveryStatus::Pending));
    assert!(is_settled(&office).await);
}

#[tokio::test(start_paused = true)]
async fn a_message_without_records_is_acknowledged() {
    let office = Office::open().await;
    start(&office);
    office.journal(Vec::new()).await;
    tokio::time::sleep(ONE_TURN).await;
    assert!(is_settled(&office).await);
}

#[tokio::test(start_paused = true)]
async fn what_is_kept_is_written_before_a_writer_ends_as_asked() {
    let office = Office::open().await;
    let writer = start(&office);
    let deliveries = accept(&office, "e", CROWD).await;
    tokio::time::sleep(ONE_TURN).await;
    writer.stop.drain();
    writer.running.await.unwrap().unwrap();
    assert_eq!(status(&office, &deliveries[0]).await, Some(DeliveryStatus::Pending));
    assert!(is_settled(&office).await);
}

#[tokio::test(start_paused = true)]
async fn what_was_kept_comes_again_when_its_writer_crashes() {
    let office = Office::open().await;
    let writer = start(&office);
    let deliveries = accept(&office, "e", CROWD).await;
    // One that something followed is written at once; its message is acknowledged only with the others.
    office.journal(vec![attempted(&deliveries[0], 200, QUICK, Outcome::Delivered)]).await;
    tokio::time::sleep(ONE_TURN).await;
    assert_eq!(status(&office, &deliveries[0]).await, Some(DeliveryStatus::Delivered));
    assert_eq!(status(&office, &deliveries[1]).await, None, "kept");
    writer.running.abort();
    drop(writer.running.await);
    assert_eq!(office.queue.depths().await.unwrap().journal, 1);
    start(&office);
    tokio::time::sleep(Duration::from_secs(30)).await;
    for delivery in &deliveries[1..] {
        assert_eq!(status(&office, delivery).await, Some(DeliveryStatus::Pending));
    }
    assert_eq!(status(&office, &deliveries[0]).await, Some(DeliveryStatus::Delivered), "as it was");
    assert!(is_settled(&office).await);
}

#[tokio::test(start_paused = true)]
async fn where_nothing_follows_nothing_is_kept_any_more() {
    let office = Office::open().await;
    start(&office);
    for turn in 0..10 {
        accept(&office, &format!("turn{turn}-"), CROWD).await;
        tokio::time::sleep(LINGER).await;
    }
    // Whatever is kept still is written.
    tokio::time::sleep(KEPT_AT_MOST + ONE_TURN).await;
    let deliveries = accept(&office, "e", CROWD).await;
    tokio::time::sleep(ONE_TURN).await;
    assert_eq!(status(&office, &deliveries[0]).await, Some(DeliveryStatus::Pending));
    tokio::time::sleep(REST).await;
    let deliveries = accept(&office, "later", CROWD).await;
    tokio::time::sleep(ONE_TURN).await;
    assert_eq!(status(&office, &deliveries[0]).await, None, "it is tried again after a while");
}

/// Two turns of one message: the try of its first acceptance came with the second. What each writer has in hand.
async fn in_two_hands(office: &Office) -> [Gathered; 2] {
    let gathering = Gathering::of(Arc::new(office.queue.clone()));
    let stop = Stop::default();
    let (event, kept) = office.delivery("kept", 1);
    let mut records = vec![accepted(event, &kept, None)];
    for number in 0..CROWD {
        let (_, delivery) = office.delivery(&format!("tried{number}"), 1);
        records.push(attempted(&delivery, 200, QUICK, Outcome::Delivered));
    }
    office.journal(records).await;
    let first = gathering.next(&stop).await.unwrap().unwrap();
    assert_eq!(first.records.len(), CROWD, "all but the acceptance");
    office.journal(vec![attempted(&kept, 200, QUICK, Outcome::Delivered)]).await;
    let second = gathering.next(&stop).await.unwrap().unwrap();
    assert_eq!(second.records.len(), 2, "the acceptance and its try");
    [first, second]
}

fn written(gathered: Gathered) {
    gathered.tickets.into_iter().for_each(TicketShare::written);
}

#[tokio::test(start_paused = true)]
async fn a_message_in_two_writers_hands_is_acknowledged_by_whoever_writes_last() {
    for slower in [0, 1] {
        let office = Office::open().await;
        let mut hands = Vec::from(in_two_hands(&office).await);
        let slow = hands.remove(slower);
        hands.into_iter().for_each(written);
        assert!(!is_settled(&office).await, "the other one has not written its part");
        written(slow);
        assert!(is_settled(&office).await);
    }
}

#[tokio::test(start_paused = true)]
async fn a_message_in_two_writers_hands_comes_again_when_one_of_them_cannot_write() {
    for failing in [0, 1] {
        let office = Office::open().await;
        let mut hands = Vec::from(in_two_hands(&office).await);
        let failing = hands.remove(failing);
        hands.into_iter().for_each(written);
        drop(failing);
        assert!(!is_settled(&office).await);
        assert!(office.queue.depths().await.unwrap().journal > 0, "it is there for another writer");
    }
}
