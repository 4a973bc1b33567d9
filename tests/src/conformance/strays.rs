//! What falls off the ordinary path is told of, brought back or kept, and never lost.

use std::sync::Arc;

use bytes::Bytes;
use postrider_contract::delivery::Work;
use postrider_contract::journal::JournalBatch;
use postrider_contract::ports::{
    Lease, QueueError, Stray, StrayCause, StrayContents, StrayPlace, StraySource, WorkKind,
};
use postrider_contract::wire::{WireError, encode_journal_batch, encode_work};

use super::queue::{id_of, publish, source, take};
use super::samples::Sample;
use super::{MeantFor, QUIET, QueueUnderTest, eventually, soon, stays_quiet};

/// A message of a version that comes after ours: nothing but the version is said of it.
const NEWER: &[u8] = &[0x08, 0x02, 0x12, 0x03, 1, 2, 3];

async fn dead(engine: &dyn QueueUnderTest) -> Box<dyn StraySource> {
    engine.strays().gather(StrayPlace::Dead, 100).await.expect("strays can be read")
}

async fn next(source: &mut Box<dyn StraySource>) -> Lease<Stray> {
    soon(source.next()).await.expect("the queue is open")
}

async fn waits_for_depths(engine: &dyn QueueUnderTest, dead: u64, unreadable: u64) {
    let queue = engine.queue();
    let as_expected = || async {
        queue.depths().await.is_ok_and(|depths| (depths.dead, depths.unreadable) == (dead, unreadable))
    };
    eventually(as_expected).await;
}

pub async fn what_nobody_can_read_is_told_with_its_bytes_and_holds_up_nothing(
    engine: &mut dyn QueueUnderTest,
) {
    engine.inject_undecodable(WorkKind::First).await;
    let sample = Sample::numbered(1, engine.now());
    publish(engine, vec![sample.first()]).await;
    let mut work = source(engine, WorkKind::First).await;
    let lease = take(&mut work).await;
    assert_eq!(id_of(&lease), sample.id());
    lease.ticket.acknowledge();
    let stray = next(&mut dead(engine).await).await;
    assert!(matches!(stray.message.contents, StrayContents::Unreadable(_)), "{:?}", stray.message);
    assert!(matches!(&stray.message.cause, StrayCause::SetAside { reason } if !reason.is_empty()));
    assert!(
        stray.message.bytes.ends_with(b"not a message") || stray.message.bytes.ends_with(b"not protobuf")
    );
    assert!(stray.message.origin.contains("first"), "{}", stray.message.origin);
    stray.ticket.acknowledge();
}

pub async fn what_was_set_aside_and_can_be_read_is_told_whole(engine: &mut dyn QueueUnderTest) {
    let sample = Sample::numbered(1, engine.now());
    let work = Work::Deliver(sample.delivery());
    let batch = JournalBatch { written_at: engine.now(), records: vec![Arc::new(sample.accepted())] };
    engine.set_aside(MeantFor::FirstTries, encode_work(&work)).await;
    engine.set_aside(MeantFor::Journal, encode_journal_batch(&batch)).await;
    let mut source = dead(engine).await;
    let (one, two) = (next(&mut source).await, next(&mut source).await);
    assert_eq!(one.message.contents, StrayContents::Work(work));
    assert_eq!(two.message.contents, StrayContents::Journal(batch));
    one.ticket.acknowledge();
    two.ticket.acknowledge();
    waits_for_depths(engine, 0, 0).await;
}

pub async fn a_newer_version_is_told_from_rubbish(engine: &mut dyn QueueUnderTest) {
    engine.set_aside(MeantFor::FirstTries, Bytes::from_static(NEWER)).await;
    let lease = next(&mut dead(engine).await).await;
    let newer = StrayContents::Unreadable(WireError::UnknownVersion { version: 2 });
    assert_eq!(lease.message.contents, newer);
    lease.ticket.acknowledge();
}

pub async fn a_stray_that_is_given_back_comes_again(engine: &mut dyn QueueUnderTest) {
    engine.set_aside(MeantFor::FirstTries, Bytes::from_static(NEWER)).await;
    let mut source = dead(engine).await;
    next(&mut source).await.ticket.give_back();
    let again = next(&mut source).await;
    assert_eq!(again.message.bytes, NEWER);
    again.ticket.acknowledge();
    assert!(stays_quiet(source.next()).await, "it was the only one");
}

pub async fn no_more_strays_are_in_hand_than_the_prefetch(engine: &mut dyn QueueUnderTest) {
    for _ in 0..2 {
        engine.set_aside(MeantFor::FirstTries, Bytes::from_static(NEWER)).await;
    }
    let mut source = engine.strays().gather(StrayPlace::Dead, 1).await.expect("strays can be read");
    let one = next(&mut source).await;
    assert!(stays_quiet(source.next()).await, "one is in hand");
    one.ticket.acknowledge();
    next(&mut source).await.ticket.acknowledge();
}

pub async fn what_is_kept_is_counted_and_not_told_again(engine: &mut dyn QueueUnderTest) {
    engine.set_aside(MeantFor::FirstTries, Bytes::from_static(NEWER)).await;
    let mut source = dead(engine).await;
    let lease = next(&mut source).await;
    soon(engine.strays().keep(&lease.message)).await.expect("it is confirmed");
    lease.ticket.acknowledge();
    waits_for_depths(engine, 0, 1).await;
    assert!(stays_quiet(source.next()).await, "it is kept");
    let later = Sample::numbered(1, engine.now());
    engine.set_aside(MeantFor::FirstTries, encode_work(&Work::Deliver(later.delivery()))).await;
    let lease = next(&mut source).await;
    assert_eq!(lease.message.contents, StrayContents::Work(Work::Deliver(later.delivery())));
    lease.ticket.acknowledge();
}

pub async fn what_is_kept_survives_a_kill_and_is_told_again_after_a_review(engine: &mut dyn QueueUnderTest) {
    engine.set_aside(MeantFor::Journal, Bytes::from_static(NEWER)).await;
    let lease = next(&mut dead(engine).await).await;
    soon(engine.strays().keep(&lease.message)).await.expect("it is confirmed");
    lease.ticket.acknowledge();
    waits_for_depths(engine, 0, 1).await;
    engine.reopen().await;
    soon(engine.strays().review()).await.expect("it is moved");
    let mut source = dead(engine).await;
    let mut copies = vec![next(&mut source).await];
    // The kill may have come before the acknowledgement of the first one was written: then it comes again as well.
    if let Ok(first) = tokio::time::timeout(QUIET, source.next()).await {
        copies.push(first.expect("it can be read"));
    }
    for again in copies {
        assert_eq!(again.message.bytes, NEWER);
        assert!(again.message.origin.contains("journal"), "{}", again.message.origin);
        again.ticket.acknowledge();
    }
    waits_for_depths(engine, 0, 0).await;
}

pub async fn a_stray_in_hand_survives_a_kill(engine: &mut dyn QueueUnderTest) {
    engine.set_aside(MeantFor::FirstTries, Bytes::from_static(NEWER)).await;
    let in_hand = next(&mut dead(engine).await).await;
    engine.reopen().await;
    let mut source = dead(engine).await;
    let again = next(&mut source).await;
    assert_eq!(again.message.bytes, in_hand.message.bytes);
    again.ticket.acknowledge();
    in_hand.ticket.acknowledge();
    assert!(stays_quiet(source.next()).await, "it was the only one");
}

pub async fn closing_ends_every_source_of_strays(engine: &mut dyn QueueUnderTest) {
    let mut waiting = Vec::new();
    for place in StrayPlace::ALL {
        let mut source = engine.strays().gather(place, 10).await.expect("strays can be read");
        waiting.push(tokio::spawn(async move { source.next().await.map(|_| ()) }));
    }
    tokio::task::yield_now().await;
    soon(engine.queue().close()).await;
    for waiter in waiting {
        let ended = soon(waiter).await.expect("it does not panic");
        assert!(matches!(ended, Err(QueueError::Closed)), "{ended:?}");
    }
    let refused = soon(engine.strays().gather(StrayPlace::Dead, 1)).await.map(|_| ());
    assert!(matches!(refused, Err(QueueError::Closed)), "{refused:?}");
}

pub async fn large_work_is_counted_apart(engine: &mut dyn QueueUnderTest) {
    let large = Sample { body: vec![b'x'; 70 * 1024].into(), ..Sample::numbered(1, engine.now()) };
    let small = Sample::numbered(2, engine.now());
    publish(engine, vec![large.first(), small.first()]).await;
    let queue = engine.queue();
    eventually(|| async {
        queue.depths().await.is_ok_and(|depths| {
            (depths.first, depths.large, depths.tries(), depths.published) == (1, 1, 2, 2)
        })
    })
    .await;
}

#[macro_export]
macro_rules! strays_promises {
    ($start:ident) => {
        $crate::promises! {
            $start,
            strays:
            what_nobody_can_read_is_told_with_its_bytes_and_holds_up_nothing,
            what_was_set_aside_and_can_be_read_is_told_whole,
            a_newer_version_is_told_from_rubbish,
            a_stray_that_is_given_back_comes_again,
            no_more_strays_are_in_hand_than_the_prefetch,
            what_is_kept_is_counted_and_not_told_again,
            what_is_kept_survives_a_kill_and_is_told_again_after_a_review,
            a_stray_in_hand_survives_a_kill,
            closing_ends_every_source_of_strays,
            large_work_is_counted_apart,
        }
    };
}
