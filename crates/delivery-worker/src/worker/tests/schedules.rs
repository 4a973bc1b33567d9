//! Whole schedules: each built-in contract's waits, taken by a real worker through lanes on a clock that only the test
//! moves, to a receiver on loopback that always fails. The expectations are the contracts', not read from the profiles.

use super::*;

/// `Connection: close`, so that no try depends on what became of the one before.
const UNAVAILABLE: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
const NOT_FOUND: &[u8] = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
const MOVED: &[u8] =
    b"HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
/// With a wish that only some contracts obey, and none for longer than a day.
const TOO_MANY: &[u8] =
    b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 1000000000000\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

const STANDARD: &[u64] = &[5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400];
const DAY: u64 = 86_400;

/// A contract's waits in seconds, and by what part of it chance may move each.
const SCHEDULES: [(&str, &[u64], f64); 6] = [
    ("standard", STANDARD, 0.1),
    ("trcker", &[1, 5, 30, 300, 1_800, 7_200], 0.0),
    ("trackdesk", STANDARD, 0.1),
    ("trakkr", &[1, 2, 4], 0.0),
    ("track360", &[30, 120, 600, 3_600, 14_400], 0.0),
    ("tracktile", STANDARD, 0.1),
];

/// A stage of this profile, and its delivery on the way.
async fn begun(receiver: &Receiver, profile: &str) -> Stage {
    let own = Webhook { secrets: Default::default(), ..webhook(&receiver.url()) };
    let stage = Stage::with_profile(own, profile).await;
    stage.publish(Route::First, Delivery { profile: profile.parse().unwrap(), ..delivery() }).await;
    stage
}

/// Follows a delivery from try to try: each comes when its wait is over, and not a millisecond before. Answers how
/// long it waited after each try, and the record of the last.
async fn followed(stage: &mut Stage, receiver: &Receiver) -> (Vec<Duration>, AttemptedRecord) {
    let mut waited = Vec::new();
    loop {
        let record = stage.attempted().await;
        let tries = waited.len() + 1;
        assert_eq!(receiver.seen.requests().len(), tries);
        assert_eq!(usize::try_from(record.attempt.number.number()).unwrap(), tries);
        let Outcome::Retry { at, .. } = record.outcome else { return (waited, record) };
        assert_eq!(stage.queue.next_due(), Some(at), "it is in the lane of its wait");
        let wait = at.since(stage.clock.now());
        stage.pass(wait - Duration::from_millis(1));
        assert_eq!(stage.queue.next_due(), Some(at), "it came a millisecond too early");
        stage.pass(Duration::from_millis(1));
        waited.push(wait);
    }
}

fn assert_waits(waited: &[Duration], planned: &[u64], jitter: f64, place: &str) {
    assert_eq!(waited.len(), planned.len(), "{place}: {waited:?}");
    for (wait, planned) in waited.iter().zip(planned) {
        let planned = Duration::from_secs(*planned);
        let (least, most) = (planned.mul_f64(1.0 - jitter), planned.mul_f64(1.0 + jitter));
        let grain = Duration::from_millis(1);
        assert!(*wait + grain >= least && *wait <= most + grain, "{place}: {wait:?} for {planned:?}");
    }
}

#[tokio::test]
async fn every_contracts_whole_schedule_is_kept_whatever_the_failures() {
    for (profile, waits, jitter) in SCHEDULES {
        // Each connection is one try: an answer, none at all, an answer again.
        let receiver = Receiver::start(|connection, _| match connection % 2 {
            0 => vec![Step::Say(UNAVAILABLE), Step::Close],
            _ => vec![Step::Close],
        })
        .await;
        let mut stage = begun(&receiver, profile).await;
        let (waited, last) = followed(&mut stage, &receiver).await;
        assert_waits(&waited, waits, jitter, profile);
        let failed = matches!(last.outcome, Outcome::Failed { reason: FailureReason::Exhausted, .. });
        assert!(failed, "{profile}: {:?}", last.outcome);
        assert_eq!(stage.queue.next_due(), None, "{profile}: nothing comes after the last");
        let bodies: Vec<_> = receiver.seen.requests().into_iter().map(|(_, request)| request).collect();
        assert!(bodies.iter().all(|request| request.as_bytes().ends_with(BODY)), "{profile}");
        stage.drained().await.unwrap();
    }
}

#[tokio::test]
async fn a_refusal_and_a_redirect_end_a_delivery_or_are_tried_again_as_each_contract_says() {
    for (profile, waits, jitter) in SCHEDULES {
        for answer in [NOT_FOUND, MOVED] {
            let receiver = Receiver::saying(vec![Step::Say(answer), Step::Close]).await;
            let mut stage = begun(&receiver, profile).await;
            let (waited, last) = followed(&mut stage, &receiver).await;
            match profile {
                "trakkr" | "track360" => {
                    assert_waits(&waited, &[], jitter, profile);
                    let ended =
                        matches!(last.outcome, Outcome::Failed { reason: FailureReason::Permanent, .. });
                    assert!(ended, "{profile}: {:?}", last.outcome);
                }
                _ => assert_waits(&waited, waits, jitter, profile),
            }
            let elsewhere =
                receiver.seen.requests().iter().any(|(_, text)| text.starts_with("POST /elsewhere"));
            assert!(!elsewhere, "{profile}: no redirect is followed");
            stage.drained().await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_wish_without_end_is_obeyed_for_a_day_where_the_contract_looks_at_it() {
    for (profile, waits, jitter) in SCHEDULES {
        let receiver = Receiver::saying(vec![Step::Say(TOO_MANY), Step::Close]).await;
        let mut stage = begun(&receiver, profile).await;
        let (waited, last) = followed(&mut stage, &receiver).await;
        match profile {
            "trcker" => assert_waits(&waited, waits, jitter, profile),
            _ => assert_waits(&waited, &vec![DAY; waits.len()], 0.0, profile),
        }
        let failed = matches!(last.outcome, Outcome::Failed { reason: FailureReason::Exhausted, .. });
        assert!(failed, "{profile}: {:?}", last.outcome);
        stage.drained().await.unwrap();
    }
}
