//! The bodies of answers, in days that several writers come upon at once.

use super::*;

/// Each writer comes upon days that nobody has made, while the others, too, read anew which there are: what one has read
/// meanwhile must not take a day for one whose bodies are gone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_are_kept_of_days_that_are_made_while_others_read_which_there_are() {
    const WRITERS: usize = 4;
    const DAYS: u32 = 80;
    let engine = start().await;
    let log = engine.log();
    let samples: Vec<Sample> =
        (1..=DAYS).map(|number| Sample::numbered(number, engine.now().minus(DAY * number))).collect();
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let own: Vec<Sample> = samples.iter().skip(writer).step_by(WRITERS).cloned().collect();
            let log = Arc::clone(&log);
            tokio::spawn(async move {
                for sample in own {
                    let records = vec![sample.accepted(), sample.delivered(position(1, 0))];
                    log.apply(&fold(records)).await.expect("it is written");
                }
            })
        })
        .collect();
    for writer in writers {
        soon(writer).await.expect("it does not panic");
    }
    for sample in &samples {
        let attempts = soon(engine.queries().attempts(sample.id())).await.expect("it answers");
        assert_eq!(attempts[0].body, AnswerBody::Kept, "of {}", sample.accepted_at.day());
    }
}

/// What this process knows of the day is no longer so: the server has no place for its bodies.
#[tokio::test]
async fn a_try_is_written_without_its_body_where_another_process_dropped_the_bodies_of_its_day() {
    let engine = start().await;
    let elsewhere = connect(&engine.url).await;
    let at = engine.now().minus(DAY * 20);
    let (before, after) = (Sample::numbered(1, at), Sample::numbered(2, at));
    let whole = |sample: &Sample| vec![sample.accepted(), sample.delivered(position(1, 0))];
    apply(&engine.store, whole(&before)).await.expect("it is written");
    let dropped = soon(elsewhere.delivery_log().drop_bodies_before(engine.now().day())).await;
    assert_eq!(dropped.expect("it answers"), [at.day()]);
    apply(&engine.store, whole(&after)).await.expect("it is written");
    assert_eq!(status_of(&engine.store, &after).await, Some(DeliveryStatus::Delivered));
    let attempts = soon(engine.queries().attempts(after.id())).await.expect("it answers");
    assert_eq!(attempts[0].body, AnswerBody::Expired);
    assert_eq!(count(&engine.url, "SELECT count(*) FROM log_refused").await, 0);
}
