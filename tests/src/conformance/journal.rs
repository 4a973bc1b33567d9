//! What the journal promises.

use std::sync::Arc;
use std::time::Duration;

use postrider_contract::clock::Timestamp;
use postrider_contract::journal::{Conclusion, JournalBatch};
use postrider_contract::outcome::{CancelReason, HoldReason};
use postrider_contract::ports::{JournalSource, Lease, QueueError};

use super::samples::{Sample, position};
use super::{QueueUnderTest, eventually, soon, stays_quiet};

async fn take(source: &mut Box<dyn JournalSource>) -> Lease<JournalBatch> {
    soon(source.next()).await.expect("the journal is open")
}

async fn source(engine: &dyn QueueUnderTest) -> Box<dyn JournalSource> {
    engine.journal().read(100).await.expect("the journal can be read")
}

async fn append(engine: &dyn QueueUnderTest, batch: &JournalBatch) {
    soon(engine.journal().append(batch.clone())).await.expect("it is confirmed");
}

/// One record of every kind.
fn batch(number: u32, written_at: Timestamp) -> JournalBatch {
    let sample = Sample::numbered(number, written_at);
    let later = written_at.plus(Duration::from_secs(60));
    let records = vec![
        sample.accepted(),
        sample.retried(position(1, 0), later),
        sample.unreached(position(2, 0), later),
        sample.held(position(3, 1), HoldReason::RateLimited, later),
        sample.released(position(3, 1), later),
        sample.deferred(position(3, 1), later),
        sample.exhausted(position(3, 1)),
        sample.concluded(Conclusion::Canceled(CancelReason::Requested), later),
    ];
    JournalBatch { written_at, records: records.into_iter().map(Arc::new).collect() }
}

pub async fn a_batch_is_read_as_it_was_appended(engine: &mut dyn QueueUnderTest) {
    let written = batch(1, engine.now());
    append(engine, &written).await;
    let lease = take(&mut source(engine).await).await;
    assert_eq!(lease.message, written);
    assert!(!lease.redelivered);
    lease.ticket.acknowledge();
}

pub async fn batches_of_one_writer_come_in_their_order(engine: &mut dyn QueueUnderTest) {
    let now = engine.now();
    for number in 1..=20 {
        append(engine, &batch(number, now)).await;
    }
    let mut source = source(engine).await;
    for number in 1..=20 {
        let lease = take(&mut source).await;
        assert_eq!(lease.message, batch(number, now));
        lease.ticket.acknowledge();
    }
}

pub async fn a_batch_that_is_not_acknowledged_comes_again(engine: &mut dyn QueueUnderTest) {
    let written = batch(1, engine.now());
    append(engine, &written).await;
    let mut before = source(engine).await;
    take(&mut before).await.ticket.give_back();
    let in_hand = take(&mut before).await;
    assert!(in_hand.redelivered);
    engine.reopen().await;
    let again = take(&mut source(engine).await).await;
    assert!(again.redelivered);
    assert_eq!(again.message, written);
    in_hand.ticket.acknowledge();
    again.ticket.acknowledge();
}

pub async fn an_acknowledged_batch_never_comes_again(engine: &mut dyn QueueUnderTest) {
    append(engine, &batch(1, engine.now())).await;
    let mut before = source(engine).await;
    take(&mut before).await.ticket.acknowledge();
    soon(engine.queue().close()).await;
    engine.reopen().await;
    let mut after = source(engine).await;
    assert!(stays_quiet(after.next()).await);
}

pub async fn the_journal_is_settled_when_all_is_acknowledged(engine: &mut dyn QueueUnderTest) {
    let journal = engine.journal();
    let now = engine.now();
    assert_eq!(soon(journal.settled_until(now)).await.expect("it answers"), now, "nothing waits");
    append(engine, &batch(1, now)).await;
    let later = now.plus(Duration::from_secs(3600));
    let settled = soon(journal.settled_until(later)).await.expect("it answers");
    assert!(settled <= now, "unread: {settled} is after {now}");
    let mut source = source(engine).await;
    let lease = take(&mut source).await;
    let settled = soon(journal.settled_until(later)).await.expect("it answers");
    assert!(settled <= now, "unacknowledged: {settled} is after {now}");
    lease.ticket.acknowledge();
    eventually(|| async { journal.settled_until(later).await.is_ok_and(|settled| settled == later) }).await;
}

/// There is always a batch in hand: nobody ever sees the journal empty.
pub async fn what_is_read_under_constant_load_is_settled(engine: &mut dyn QueueUnderTest) {
    let (journal, mut source) = (engine.journal(), source(engine).await);
    let now = engine.now();
    let at = |number: u32| now.plus(Duration::from_secs(60) * number);
    append(engine, &batch(1, at(1))).await;
    let mut in_hand = take(&mut source).await;
    for number in 2..=10 {
        append(engine, &batch(number, at(number))).await;
        let next = take(&mut source).await;
        std::mem::replace(&mut in_hand, next).ticket.acknowledge();
        let journal = &journal;
        eventually(|| async move {
            let settled = journal.settled_until(at(number)).await.expect("it answers");
            assert!(settled <= at(number), "{settled} is after what is in hand");
            settled > at(number - 1)
        })
        .await;
    }
    in_hand.ticket.acknowledge();
}

pub async fn closing_the_queue_ends_the_journal(engine: &mut dyn QueueUnderTest) {
    let mut source = source(engine).await;
    soon(engine.queue().close()).await;
    let ended = soon(source.next()).await.map(|_| ());
    assert!(matches!(ended, Err(QueueError::Closed)), "{ended:?}");
    assert!(soon(engine.journal().append(batch(1, engine.now()))).await.is_err());
}

#[macro_export]
macro_rules! journal_promises {
    ($start:ident) => {
        $crate::promises! {
            $start,
            journal:
            a_batch_is_read_as_it_was_appended,
            batches_of_one_writer_come_in_their_order,
            a_batch_that_is_not_acknowledged_comes_again,
            an_acknowledged_batch_never_comes_again,
            the_journal_is_settled_when_all_is_acknowledged,
            what_is_read_under_constant_load_is_settled,
            closing_the_queue_ends_the_journal,
        }
    };
}
