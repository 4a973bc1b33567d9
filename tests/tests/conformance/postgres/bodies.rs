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
