use std::sync::Mutex;

use async_trait::async_trait;
use postrider_contract::attempt::{Attempt, AttemptResult, FailureClass, Timings};
use postrider_contract::clock::{ManualClock, Timestamp};
use postrider_contract::delivery::{DeliveryRef, Origin, Position};
use postrider_contract::event::{Event, SchemaVersion};
use postrider_contract::fakes::sent_request;
use postrider_contract::ids::{AttemptId, DeliveryId, WebhookId};
use postrider_contract::journal::{AcceptedRecord, AttemptedRecord};
use postrider_contract::json::RawObject;
use postrider_contract::outcome::Outcome;
use postrider_contract::ports::{JournalSource, QueueError};
use postrider_contract::webhook::WebhookKind;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use super::*;

/// Confirms a batch only when the test lets it.
struct GatedJournal {
    /// How many records each message had.
    sizes: Mutex<Vec<usize>>,
    records: Mutex<Vec<Arc<JournalRecord>>>,
    gate: Semaphore,
    refuses: bool,
}

#[async_trait]
impl Journal for GatedJournal {
    async fn append(&self, batch: JournalBatch) -> Result<(), PublishError> {
        self.sizes.lock().unwrap().push(batch.records.len());
        self.records.lock().unwrap().extend(batch.records);
        self.gate.acquire().await.unwrap().forget();
        if self.refuses { Err(PublishError::InDoubt { reason: "no confirm".to_owned() }) } else { Ok(()) }
    }

    async fn read(&self, _: u16) -> Result<Box<dyn JournalSource>, QueueError> {
        Err(QueueError::Closed)
    }

    async fn settled_until(&self, now: Timestamp) -> Result<Timestamp, QueueError> {
        Ok(now)
    }
}

fn journal(permits: usize, refuses: bool) -> Arc<GatedJournal> {
    Arc::new(GatedJournal {
        sizes: Mutex::default(),
        records: Mutex::default(),
        gate: Semaphore::new(permits),
        refuses,
    })
}

fn writer(journal: &Arc<GatedJournal>) -> JournalWriter {
    JournalWriter::start(Arc::clone(journal) as Arc<dyn Journal>, Arc::new(ManualClock::at(Timestamp::EPOCH)))
}

/// One that a producer waits for, with so many bytes of data.
fn awaited(bytes: usize) -> Arc<JournalRecord> {
    let data = format!(r#"{{"text":"{}"}}"#, "x".repeat(bytes));
    Arc::new(JournalRecord::Accepted(AcceptedRecord {
        event: Event {
            id: "evt_1".parse().unwrap(),
            tenant: "tnt_1".parse().unwrap(),
            event_type: "a.b".parse().unwrap(),
            schema_version: SchemaVersion::FIRST,
            timestamp: Timestamp::EPOCH,
            accepted_at: Timestamp::EPOCH,
            data: RawObject::parse(data.into()).unwrap(),
            summary: None,
            workflow: None,
        },
        origin: Origin::Producer,
        deliveries: Vec::new(),
    }))
}

/// A try, for which nobody waits.
fn record() -> Arc<JournalRecord> {
    let delivery = DeliveryRef {
        id: DeliveryId::from_u128(1),
        tenant: "tnt_1".parse().unwrap(),
        event_id: "evt_1".parse().unwrap(),
        event_type: "a.b".parse().unwrap(),
        webhook: WebhookId::from_u128(1),
        kind: WebhookKind::Webhook,
        accepted_at: Timestamp::EPOCH,
        replay: 0,
    };
    let attempt = Attempt {
        id: AttemptId::from_u128(1),
        number: Position::START.attempt,
        started_at: Timestamp::EPOCH,
        request: sent_request(),
        address: None,
        timings: Timings::default(),
        result: AttemptResult::Failure { class: FailureClass::Connect, detail: String::new() },
    };
    let outcome = Outcome::Delivered;
    Arc::new(JournalRecord::Attempted(AttemptedRecord {
        delivery,
        position: Position::START,
        attempt,
        outcome,
    }))
}

fn entered(writer: &JournalWriter, record: Arc<JournalRecord>) -> JoinHandle<Result<(), PublishError>> {
    let writer = writer.clone();
    tokio::spawn(async move { writer.record(record).await })
}

#[tokio::test(start_paused = true)]
async fn a_lone_record_that_a_producer_waits_for_leaves_at_once() {
    let journal = journal(1, false);
    let began = Instant::now();
    writer(&journal).record(awaited(1)).await.unwrap();
    assert_eq!(began.elapsed(), Duration::ZERO);
    assert_eq!(*journal.sizes.lock().unwrap(), [1]);
}

#[tokio::test(start_paused = true)]
async fn what_nobody_waits_for_waits_for_company() {
    let journal = journal(3, false);
    let writer = writer(&journal);
    let began = Instant::now();
    let first = entered(&writer, record());
    tokio::time::sleep(LONG_LINGER / 2).await;
    writer.record(record()).await.unwrap();
    first.await.unwrap().unwrap();
    assert_eq!(began.elapsed(), LONG_LINGER, "no longer than the first of them may wait");
    let waiting = entered(&writer, record());
    tokio::time::sleep(LONG_LINGER / 2).await;
    writer.record(awaited(1)).await.unwrap();
    waiting.await.unwrap().unwrap();
    assert_eq!(began.elapsed(), LONG_LINGER + LONG_LINGER / 2, "it goes along with one that leaves at once");
    assert_eq!(*journal.sizes.lock().unwrap(), [2, 2]);
}

#[tokio::test(start_paused = true)]
async fn a_record_is_written_behind_what_it_rests_on_in_the_same_message() {
    let journal = journal(1, false);
    let (held, accepted) = (awaited(1), awaited(2));
    writer(&journal).record_after(vec![Arc::clone(&held)], Arc::clone(&accepted)).await.unwrap();
    assert_eq!(*journal.records.lock().unwrap(), [held, accepted]);
    assert_eq!(*journal.sizes.lock().unwrap(), [2]);
}

#[tokio::test(start_paused = true)]
async fn a_record_waits_until_what_it_rests_on_is_durable_where_one_message_does_not_hold_both() {
    let half = MAX_BATCH_BYTES / 2;
    for before in [vec![awaited(half), awaited(half)], vec![awaited(1); MAX_RECORDS]] {
        let (journal, last) = (journal(0, false), awaited(7));
        let writer = writer(&journal);
        let count = before.len();
        let call = tokio::spawn({
            let last = Arc::clone(&last);
            async move { writer.record_after(before, last).await }
        });
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(!journal.records.lock().unwrap().contains(&last), "nothing is durable yet");
        journal.gate.add_permits(count + 1);
        call.await.unwrap().unwrap();
        assert_eq!(journal.records.lock().unwrap().iter().position(|record| *record == last), Some(count));
    }
}

#[tokio::test(start_paused = true)]
async fn records_that_come_while_batches_are_under_way_travel_together() {
    let journal = journal(0, false);
    let writer = writer(&journal);
    let calls: Vec<_> = (0..500).map(|_| entered(&writer, record())).collect();
    tokio::time::sleep(Duration::from_millis(10)).await;
    journal.gate.add_permits(500);
    for call in calls {
        call.await.unwrap().unwrap();
    }
    let sizes = journal.sizes.lock().unwrap();
    assert_eq!(sizes.iter().sum::<usize>(), 500);
    assert!(sizes.len() < 10, "{sizes:?}");
    assert!(sizes.iter().all(|size| *size <= MAX_RECORDS), "{sizes:?}");
}

#[tokio::test]
async fn every_caller_of_a_batch_hears_that_it_was_not_confirmed() {
    let journal = journal(2, true);
    let writer = writer(&journal);
    let (first, second) = tokio::join!(writer.record(record()), writer.record(record()));
    assert!(matches!(first, Err(PublishError::InDoubt { .. })));
    assert!(matches!(second, Err(PublishError::InDoubt { .. })));
}

#[tokio::test]
async fn what_was_given_is_written_although_the_last_handle_is_gone() {
    let journal = journal(1, false);
    let writer = writer(&journal);
    let call = tokio::spawn(async move { writer.record(record()).await });
    call.await.unwrap().unwrap();
    assert_eq!(journal.sizes.lock().unwrap().len(), 1);
}
