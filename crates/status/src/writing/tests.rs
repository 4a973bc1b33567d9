use std::sync::Mutex;

use async_trait::async_trait;
use postrider_contract::clock::{Clock, Day, Timestamp};
use postrider_contract::delivery::Position;
use postrider_contract::fakes::FakeLog;
use postrider_contract::ids::DeliveryId;
use postrider_contract::outcome::{DeliveryStatus, Outcome};
use postrider_contract::ports::{Journal, OverdueDelivery, StoreError, WorkQueue};
use tokio::task::JoinHandle;

use super::*;
use crate::tests::fixture::{Office, QUICK, accepted, attempted};

/// Counts the statements that succeeded.
struct Counting {
    log: FakeLog,
    statements: Mutex<Vec<usize>>,
}

#[async_trait]
impl DeliveryLog for Counting {
    async fn apply(&self, writes: &LogWrites) -> Result<(), StoreError> {
        self.log.apply(writes).await?;
        self.statements.lock().unwrap().push(writes.deliveries.len());
        Ok(())
    }

    async fn is_recorded(&self, tries: &[(DeliveryId, Position)]) -> Result<Vec<bool>, StoreError> {
        self.log.is_recorded(tries).await
    }

    async fn has_moved_on(&self, id: DeliveryId, from: Position) -> Result<bool, StoreError> {
        self.log.has_moved_on(id, from).await
    }

    async fn overdue(&self, before: Timestamp, limit: u32) -> Result<Vec<OverdueDelivery>, StoreError> {
        self.log.overdue(before, limit).await
    }

    async fn prepare_days(&self, first: Day, last: Day) -> Result<(), StoreError> {
        self.log.prepare_days(first, last).await
    }

    async fn first_day(&self) -> Result<Option<Day>, StoreError> {
        self.log.first_day().await
    }

    async fn drop_days_before(&self, day: Day) -> Result<Vec<Day>, StoreError> {
        self.log.drop_days_before(day).await
    }

    async fn drop_bodies_before(&self, day: Day) -> Result<Vec<Day>, StoreError> {
        self.log.drop_bodies_before(day).await
    }
}

struct Writer {
    log: Arc<Counting>,
    stop: Stop,
    running: JoinHandle<Result<(), QueueError>>,
}

fn start(office: &Office) -> Writer {
    let log = Arc::new(Counting { log: office.log.clone(), statements: Mutex::default() });
    let stop = Stop::default();
    let running = tokio::spawn(run_writer(
        Gathering::of(Arc::new(office.queue.clone())),
        Arc::clone(&log) as Arc<dyn DeliveryLog>,
        Arc::clone(&office.parts.board),
        Arc::clone(&office.parts.metrics),
        stop.clone(),
    ));
    Writer { log, stop, running }
}

/// All that can happen by itself has happened afterwards.
async fn settle() {
    tokio::time::sleep(Duration::from_secs(30)).await;
}

async fn is_settled(office: &Office) -> bool {
    let later = office.clock.now().plus(Duration::from_secs(3_600));
    office.queue.settled_until(later).await.unwrap() == later
}

#[tokio::test(start_paused = true)]
async fn a_batch_is_acknowledged_only_after_it_is_written() {
    let office = Office::open().await;
    let (event, delivery) = office.delivery("e", 1);
    office.log_outage.begin("gone");
    let writer = start(&office);
    office.journal(vec![accepted(event, &delivery, None)]).await;
    settle().await;
    assert!(!is_settled(&office).await, "the lease is kept while the store is away");
    assert_eq!(office.queue.depths().await.unwrap().journal, 0, "and the batch is in hand");
    office.log_outage.end();
    settle().await;
    assert!(is_settled(&office).await);
    assert_eq!(office.view(delivery.reference.id).await.status, DeliveryStatus::Pending);
    assert_eq!(*writer.log.statements.lock().unwrap(), [1]);
}

#[tokio::test(start_paused = true)]
async fn what_has_come_together_is_written_with_one_statement() {
    let office = Office::open().await;
    for number in 0..20 {
        let (event, delivery) = office.delivery(&format!("e{number}"), 1);
        office.journal(vec![accepted(event, &delivery, None)]).await;
        office.journal(vec![attempted(&delivery, 200, QUICK, Outcome::Delivered)]).await;
    }
    let writer = start(&office);
    settle().await;
    assert_eq!(*writer.log.statements.lock().unwrap(), [20]);
    assert!(is_settled(&office).await);
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_was_written_but_not_acknowledged_changes_nothing_when_it_comes_again() {
    let office = Office::open().await;
    let (event, delivery) = office.delivery("e", 1);
    let records =
        vec![accepted(event, &delivery, None), attempted(&delivery, 200, QUICK, Outcome::Delivered)];
    office.log(records.clone()).await;
    let before = office.view(delivery.reference.id).await;
    office.journal(records).await;
    start(&office);
    settle().await;
    assert!(is_settled(&office).await);
    assert_eq!(office.view(delivery.reference.id).await, before);
}

#[tokio::test(start_paused = true)]
async fn a_writer_that_is_let_go_before_it_wrote_gives_its_batches_back() {
    let office = Office::open().await;
    let (event, delivery) = office.delivery("e", 1);
    office.log_outage.begin("gone");
    let writer = start(&office);
    office.journal(vec![accepted(event, &delivery, None)]).await;
    settle().await;
    writer.stop.drain();
    settle().await;
    assert!(!writer.running.is_finished(), "what is in hand is written if it can be");
    writer.stop.halt();
    writer.running.await.unwrap().unwrap();
    assert_eq!(office.queue.depths().await.unwrap().journal, 1);
}

#[tokio::test(start_paused = true)]
async fn a_journal_that_ends_by_itself_is_an_error_and_an_end_that_was_asked_for_is_not() {
    let office = Office::open().await;
    let writer = start(&office);
    settle().await;
    office.queue.close().await;
    assert!(matches!(writer.running.await.unwrap(), Err(QueueError::Closed)));
    let office = Office::open().await;
    let writer = start(&office);
    settle().await;
    writer.stop.drain();
    writer.running.await.unwrap().unwrap();
}
