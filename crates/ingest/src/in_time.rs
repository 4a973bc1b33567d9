//! An answer in time, whatever the servers behind it do.
//!
//! Promise: a request to publish is answered within [`ANSWER_WITHIN`] of its arrival. What has begun by then goes on
//! by itself to its own end, since half of it may have happened; its producer is told that it is in doubt.

use std::future::Future;
use std::time::Duration;

use postrider_contract::ports::{IntakeError, IntakeReceipt};
use tokio::sync::Semaphore;
use tokio::time::Instant;

/// Five seconds are promised; the rest is for the way here and back on a busy machine. Each single write has a limit
/// of its own, but one request makes up to four in a row, and may wait for those of others.
pub(crate) const ANSWER_WITHIN: Duration = Duration::from_secs(3);

/// How many events may go on after their answer: four batches' worth. Each holds its body, rendered; beyond these the work
/// is dropped, which is what a crash would do to it: its producer was told that it is in doubt.
const MOST_LEFT_OVER: usize = 1_024;

static LEFT_OVER: Semaphore = Semaphore::const_new(MOST_LEFT_OVER);

/// What `work` answers, if that is known by then.
///
/// # Errors
/// Those of `work`; [`IntakeError::InDoubt`] when it is not finished by then, [`IntakeError::Unavailable`] when there
/// is no time left to begin it.
pub(crate) async fn answer_by(
    deadline: Instant,
    work: impl Future<Output = Result<IntakeReceipt, IntakeError>> + Send + 'static,
) -> Result<IntakeReceipt, IntakeError> {
    answer_or_leave(deadline, work, &LEFT_OVER).await
}

async fn answer_or_leave(
    deadline: Instant,
    work: impl Future<Output = Result<IntakeReceipt, IntakeError>> + Send + 'static,
    left_over: &'static Semaphore,
) -> Result<IntakeReceipt, IntakeError> {
    if Instant::now() >= deadline {
        let reason = format!("not begun within {ANSWER_WITHIN:?}");
        return Err(IntakeError::Unavailable { reason });
    }
    let mut work = Box::pin(work);
    if let Ok(answer) = tokio::time::timeout_at(deadline, &mut work).await {
        return answer;
    }
    if let Ok(place) = left_over.try_acquire() {
        tokio::spawn(async move {
            let _place = place;
            work.await
        });
    }
    Err(IntakeError::InDoubt { reason: format!("not finished within {ANSWER_WITHIN:?}") })
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;

    fn receipt() -> IntakeReceipt {
        let event = "evt_given-by-the-producer".parse().expect("an id");
        IntakeReceipt { event, deliveries: Vec::new(), replayed: false }
    }

    #[tokio::test(start_paused = true)]
    async fn what_takes_too_long_is_in_doubt_and_goes_on() {
        // Of its own: other tests of this process leave work over too.
        static ROOM: Semaphore = Semaphore::const_new(1);
        let (begin, begun) = oneshot::channel::<()>();
        let (end, ended) = oneshot::channel();
        let work = async move {
            begun.await.ok();
            end.send(()).ok();
            Ok(receipt())
        };
        let answer = answer_or_leave(Instant::now() + ANSWER_WITHIN, work, &ROOM).await;
        assert!(matches!(answer, Err(IntakeError::InDoubt { .. })), "{answer:?}");
        begin.send(()).expect("the work is still there");
        ended.await.expect("it goes on to its end");
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_goes_on_than_there_is_room_for() {
        static ROOM: Semaphore = Semaphore::const_new(1);
        let (begin, begun) = oneshot::channel::<()>();
        let goes_on = async move {
            begun.await.ok();
            Ok(receipt())
        };
        let (dropped, is_dropped) = oneshot::channel::<()>();
        let too_much = async move {
            std::future::pending::<()>().await;
            drop(dropped);
            Ok(receipt())
        };
        let deadline = Instant::now() + ANSWER_WITHIN;
        let first = answer_or_leave(deadline, goes_on, &ROOM).await;
        let second = answer_or_leave(deadline + ANSWER_WITHIN, too_much, &ROOM).await;
        for answer in [first, second] {
            assert!(matches!(answer, Err(IntakeError::InDoubt { .. })), "{answer:?}");
        }
        is_dropped.await.expect_err("it is dropped, with all it holds");
        begin.send(()).expect("the first goes on");
    }

    #[tokio::test(start_paused = true)]
    async fn what_has_no_time_left_is_not_begun() {
        let work = async { panic!("begun all the same") };
        let answer = answer_by(Instant::now(), work).await;
        assert!(matches!(answer, Err(IntakeError::Unavailable { .. })), "{answer:?}");
    }

    #[tokio::test]
    async fn what_is_ready_is_answered_as_it_is() {
        let answer = answer_by(Instant::now() + ANSWER_WITHIN, async { Ok(receipt()) }).await;
        assert_eq!(answer.expect("accepted"), receipt());
    }
}
