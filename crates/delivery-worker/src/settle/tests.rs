use std::net::SocketAddr;

use postrider_contract::attempt::{AttemptResult, FailureClass, SentRequest, Timings};
use postrider_contract::clock::Timestamp;
use postrider_contract::delivery::{AttemptNumber, Check, FanOut};
use postrider_contract::ids::AttemptId;
use postrider_contract::outcome::{CancelReason, Cause, FailureReason};

use super::*;
use crate::stage::{Recorder, clock, delivery, noon, numbered_delivery, settle, shared, taken};

fn attempt() -> Attempt {
    Attempt {
        id: AttemptId::from_u128(1),
        number: AttemptNumber::FIRST,
        started_at: noon(),
        request: SentRequest {
            method: "POST".to_owned(),
            url: "https://a.example/".to_owned(),
            headers: Vec::new(),
            body_sha256: [0; 32],
            body_length: 0,
        },
        address: Some(SocketAddr::from(([127, 0, 0, 1], 1))),
        timings: Timings::default(),
        result: AttemptResult::Failure { class: FailureClass::Closed, detail: String::new() },
    }
}

fn retry_at(at: Timestamp) -> Outcome {
    Outcome::Retry { at, cause: Cause::Status(500) }
}

#[tokio::test(start_paused = true)]
async fn a_retry_is_confirmed_before_its_record_and_its_record_before_the_lease_is_let_go() {
    let (recorder, clock) = (Recorder::default(), clock());
    let settle = settle(&recorder, shared(&clock));
    let at = noon().plus(Duration::from_secs(30));
    settle.attempted(taken(&recorder, delivery()), attempt(), retry_at(at)).await.unwrap();
    assert_eq!(recorder.steps(), ["published 1", "journaled 1", "acknowledged"]);
    let (route, next) = recorder.deliveries().remove(0);
    assert_eq!(route, Route::Retry { delay: Duration::from_secs(30) });
    assert_eq!((next.position.attempt.number(), next.due_at, next.check), (2, at, Check::Fresh));
    assert_eq!(next.body, delivery().body);
}

#[tokio::test(start_paused = true)]
async fn what_needs_no_successor_is_journaled_and_let_go() {
    for outcome in [Outcome::Delivered, Outcome::Failed { reason: FailureReason::Exhausted, cause: None }] {
        let (recorder, clock) = (Recorder::default(), clock());
        let settle = settle(&recorder, shared(&clock));
        settle.attempted(taken(&recorder, delivery()), attempt(), outcome).await.unwrap();
        assert_eq!(recorder.steps(), ["journaled 1", "acknowledged"]);
    }
}

/// Whose clock is wrong nobody knows: a lane that is early again and again would keep it for ever.
#[tokio::test(start_paused = true)]
async fn what_went_back_for_being_early_is_taken_as_it_comes_the_next_time() {
    let (recorder, clock) = (Recorder::default(), clock());
    let (parked_for, rest) = (Duration::from_secs(3_600), Duration::from_secs(1_800));
    let early = Delivery { due_at: noon().plus(rest), parked_for, ..delivery() };
    settle(&recorder, shared(&clock)).parked_again(taken(&recorder, early.clone()), rest).await.unwrap();
    assert_eq!(recorder.steps(), ["published 1", "acknowledged"]);
    let as_it_comes = Delivery { parked_for: Duration::ZERO, ..early };
    assert_eq!(recorder.deliveries(), [(Route::Retry { delay: rest }, as_it_comes)]);
}

#[tokio::test(start_paused = true)]
async fn what_is_not_confirmed_is_tried_again_and_nothing_is_sent_meanwhile() {
    let (recorder, clock) = (Recorder::default(), clock());
    recorder.fail_publishes(3);
    recorder.fail_appends(2);
    let settle = settle(&recorder, shared(&clock));
    let trouble = settle.trouble.clone();
    let settling = tokio::spawn({
        let taken = taken(&recorder, delivery());
        async move { settle.attempted(taken, attempt(), retry_at(noon())).await }
    });
    while !trouble.is_there() {
        tokio::task::yield_now().await;
    }
    assert!(!recorder.steps().contains(&"acknowledged".to_owned()));
    settling.await.unwrap().unwrap();
    assert!(!trouble.is_there());
    let doubt = |what: &str, count| vec![format!("{what} in doubt"); count];
    let expected = [
        doubt("publish", 3),
        vec!["published 1".to_owned()],
        doubt("journal", 2),
        vec!["journaled 1".to_owned(), "acknowledged".to_owned()],
    ];
    assert_eq!(recorder.steps(), expected.concat());
}

#[tokio::test(start_paused = true)]
async fn a_worker_that_is_halted_gives_back_what_it_could_not_settle() {
    for (publishes, appends) in [(usize::MAX, 0), (0, usize::MAX)] {
        let (recorder, clock) = (Recorder::default(), clock());
        recorder.fail_publishes(publishes);
        recorder.fail_appends(appends);
        let settle = settle(&recorder, shared(&clock));
        let stop = settle.stop.clone();
        let taken = taken(&recorder, delivery());
        let settling =
            tokio::spawn(async move { settle.attempted(taken, attempt(), retry_at(noon())).await });
        while recorder.steps().len() < 3 {
            tokio::time::sleep(FIRST_PAUSE).await;
        }
        stop.halt();
        assert_eq!(settling.await.unwrap(), Err(Unsettled::Halted));
        assert_eq!(recorder.steps().last().unwrap(), "given back");
        assert!(recorder.journaled().is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn a_hold_is_its_record() {
    let (recorder, clock) = (Recorder::default(), clock());
    let settle = settle(&recorder, shared(&clock));
    settle.held(taken(&recorder, delivery()), HoldReason::Paused).await.unwrap();
    assert_eq!(recorder.steps(), ["journaled 1", "acknowledged"]);
    let JournalRecord::Held(held) = recorder.journaled().remove(0) else { panic!("a hold") };
    assert_eq!((held.delivery.position.holds, held.why, held.since), (1, HoldReason::Paused, noon()));
    assert_eq!(held.delivery.body, delivery().body);
}

#[tokio::test(start_paused = true)]
async fn a_deferral_costs_no_try_and_is_counted_for_itself() {
    let (recorder, clock) = (Recorder::default(), clock());
    let settle = settle(&recorder, shared(&clock));
    settle.deferred(taken(&recorder, delivery()), Duration::from_secs(5)).await.unwrap();
    assert_eq!(recorder.steps(), ["published 1", "journaled 1", "acknowledged"]);
    let (route, next) = recorder.deliveries().remove(0);
    assert_eq!(route, Route::Retry { delay: Duration::from_secs(5) });
    assert_eq!((next.position.attempt, next.position.deferrals), (AttemptNumber::FIRST, 1));
    let JournalRecord::Deferred(deferred) = recorder.journaled().remove(0) else { panic!("a deferral") };
    assert_eq!((deferred.position, deferred.due_at), (next.position, noon().plus(Duration::from_secs(5))));
}

#[tokio::test(start_paused = true)]
async fn an_end_without_a_try_is_journaled() {
    let (recorder, clock) = (Recorder::default(), clock());
    let settle = settle(&recorder, shared(&clock));
    let conclusion = Conclusion::Canceled(CancelReason::WebhookDeleted);
    settle.concluded(taken(&recorder, delivery()), conclusion).await.unwrap();
    assert_eq!(recorder.steps(), ["journaled 1", "acknowledged"]);
}

fn fan_out(count: u32) -> FanOut {
    let bodies = vec![b"one".as_slice().into(), b"two".as_slice().into()];
    let bodiless = |number| Delivery { body: Default::default(), ..numbered_delivery(number) };
    FanOut {
        deliveries: (0..count).map(bodiless).collect(),
        bodies,
        body_of: (0..count).map(|number| number % 2).collect(),
    }
}

#[tokio::test(start_paused = true)]
async fn a_fan_out_is_let_go_after_its_last_page() {
    let (recorder, clock) = (Recorder::default(), clock());
    let settle = settle(&recorder, shared(&clock));
    settle.fanned_out(fan_out(300), false, recorder.ticket()).await.unwrap();
    assert_eq!(recorder.steps(), ["published 128", "published 128", "published 44", "acknowledged"]);
    for (number, (route, delivery)) in recorder.deliveries().into_iter().enumerate() {
        assert_eq!((route, delivery.check), (Route::First, Check::Fresh));
        assert_eq!(delivery.body, if number % 2 == 0 { "one" } else { "two" });
    }
}

#[tokio::test(start_paused = true)]
async fn a_fan_out_that_comes_again_marks_what_it_publishes() {
    let (recorder, clock) = (Recorder::default(), clock());
    let settle = settle(&recorder, shared(&clock));
    settle.fanned_out(fan_out(3), true, recorder.ticket()).await.unwrap();
    assert!(recorder.deliveries().iter().all(|(_, delivery)| delivery.check == Check::LookUp));
}

#[tokio::test(start_paused = true)]
async fn a_fan_out_that_names_no_body_ends_that_delivery_where_it_can_be_seen() {
    let (recorder, clock) = (Recorder::default(), clock());
    let settle = settle(&recorder, shared(&clock));
    let mut work = fan_out(2);
    work.body_of[0] = 9;
    settle.fanned_out(work, false, recorder.ticket()).await.unwrap();
    assert_eq!(recorder.deliveries().len(), 1);
    let JournalRecord::Concluded(concluded) = recorder.journaled().remove(0) else { panic!("a conclusion") };
    assert_eq!(concluded.conclusion, Conclusion::Failed(FailureReason::Internal));
    assert_eq!(recorder.steps().last().unwrap(), "acknowledged");
}
