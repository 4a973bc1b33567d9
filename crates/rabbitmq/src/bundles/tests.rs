//! What goes together and what does not, and who is told what became of it.

use std::collections::VecDeque;

use tokio::task::JoinHandle;

use super::*;
use crate::lane::lane_for;
use crate::samples::{deliveries_in, retry};

/// Keeps what is sent; answers `Ok`, or what it is told to.
#[derive(Clone, Default)]
struct Sent(Arc<Mutex<SentState>>);

#[derive(Default)]
struct SentState {
    messages: Vec<(Lane, Vec<Delivery>)>,
    answers: VecDeque<Result<(), PublishError>>,
    /// How long a confirm takes.
    confirm: Duration,
}

impl Sent {
    fn lock(&self) -> MutexGuard<'_, SentState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The deliveries of each message.
    fn messages(&self) -> Vec<Vec<Delivery>> {
        self.lock().messages.iter().map(|(_, deliveries)| deliveries.clone()).collect()
    }

    fn sizes(&self) -> Vec<usize> {
        self.messages().iter().map(Vec::len).collect()
    }
}

impl Outlet for Sent {
    async fn send(&self, message: Message) -> Result<(), PublishError> {
        let Destination::Lane(queue) = message.destination else { panic!("not into a lane") };
        let confirm = {
            let mut state = self.lock();
            state.messages.push((queue.lane, deliveries_in(&message)));
            state.confirm
        };
        tokio::time::sleep(confirm).await;
        self.lock().answers.pop_front().unwrap_or(Ok(()))
    }
}

fn five_seconds() -> Lane {
    lane_for(Duration::from_secs(5))
}

type Parking = JoinHandle<Result<(), PublishError>>;

/// Parks each in a task of its own, and lets all begin.
async fn park(bundler: &Arc<Bundler<Sent>>, retries: impl IntoIterator<Item = Delivery>) -> Vec<Parking> {
    let park_one = |delivery| {
        let bundler = Arc::clone(bundler);
        tokio::spawn(async move { bundler.park(five_seconds(), delivery).await })
    };
    let parking = retries.into_iter().map(park_one).collect();
    for _ in 0..4 {
        tokio::task::yield_now().await;
    }
    parking
}

async fn answers(parking: Vec<Parking>) -> Vec<bool> {
    let mut answers = Vec::new();
    for one in parking {
        answers.push(one.await.expect("no panic").is_ok());
    }
    answers
}

#[tokio::test(start_paused = true)]
async fn a_retry_that_comes_alone_goes_out_alone_and_at_once() {
    let sent = Sent::default();
    let bundler = Bundler::new(sent.clone());
    let began = Instant::now();
    for number in 0..3 {
        bundler.park(five_seconds(), retry(number, 10)).await.expect("confirmed");
        tokio::time::advance(GATHERED_FOR).await;
    }
    assert_eq!(began.elapsed(), GATHERED_FOR * 3, "no time but what the test let pass");
    assert_eq!(sent.sizes(), [1, 1, 1]);
}

#[tokio::test(start_paused = true)]
async fn what_comes_soon_after_goes_out_together_each_with_its_own_body() {
    let sent = Sent::default();
    let bundler = Bundler::new(sent.clone());
    let retries: Vec<Delivery> = (0..6).map(|number| retry(number, number + 1)).collect();
    let began = Instant::now();
    let parking = park(&bundler, retries.clone()).await;
    assert_eq!(answers(parking).await, [true; 6]);
    assert!(began.elapsed() < GATHERED_FOR * 2);
    assert_eq!(sent.messages(), [retries[..1].to_vec(), retries[1..].to_vec()]);
}

#[tokio::test(start_paused = true)]
async fn a_full_bundle_waits_for_no_more_and_what_is_left_goes_out_after_it() {
    let sent = Sent::default();
    let bundler = Bundler::new(sent.clone());
    let parking = park(&bundler, (0..AT_MOST + 3).map(|number| retry(number, 10))).await;
    assert_eq!(sent.sizes(), [1, AT_MOST], "before any time has passed");
    assert_eq!(answers(parking).await, [true; AT_MOST + 3]);
    assert_eq!(sent.sizes(), [1, AT_MOST, 2]);
}

#[tokio::test(start_paused = true)]
async fn what_follows_a_full_bundle_is_gathered_for_as_long_as_any_other() {
    let sent = Sent::default();
    let bundler = Bundler::new(sent.clone());
    let mut parking = park(&bundler, (0..AT_MOST).map(|number| retry(number, 10))).await;
    tokio::time::advance(GATHERED_FOR / 2).await;
    parking.extend(park(&bundler, (0..4).map(|number| retry(number, 10))).await);
    assert_eq!(sent.sizes(), [1, AT_MOST]);
    tokio::time::advance(GATHERED_FOR * 3 / 4).await;
    parking.extend(park(&bundler, (0..4).map(|number| retry(number, 10))).await);
    assert_eq!(answers(parking).await, [true; AT_MOST + 8]);
    assert_eq!(sent.sizes(), [1, AT_MOST, 7]);
}

#[tokio::test(start_paused = true)]
async fn bodies_that_are_too_long_together_go_apart_in_the_order_they_came() {
    let sent = Sent::default();
    let bundler = Bundler::new(sent.clone());
    let parking = park(&bundler, (0..6).map(|number| retry(number, LONGEST / 3))).await;
    answers(parking).await;
    assert_eq!(sent.sizes(), [1, 2, 2, 1]);
    let order: Vec<_> = sent.messages().concat().into_iter().map(|one| one.reference.event_id).collect();
    let expected: Vec<_> = (0..6).map(|number| retry(number, 0).reference.event_id).collect();
    assert_eq!(order, expected);
    let longest = sent.messages().iter().map(|of| of.iter().map(length_of).sum::<usize>()).max();
    assert!(longest <= Some(LONGEST));
    assert!(!may_share(&retry(0, LONGEST)) && may_share(&retry(0, LONGEST - NAMES)));
}

#[tokio::test(start_paused = true)]
async fn lanes_gather_apart() {
    let sent = Sent::default();
    let bundler = Bundler::new(sent.clone());
    let other = lane_for(Duration::from_secs(60));
    let parking = park(&bundler, (0..2).map(|number| retry(number, 10))).await;
    bundler.park(other, retry(9, 10)).await.expect("confirmed");
    assert_eq!(sent.sizes(), [1, 1], "the first of each lane");
    answers(parking).await;
    let lanes: Vec<Lane> = sent.lock().messages.iter().map(|(lane, _)| *lane).collect();
    assert_eq!(lanes, [five_seconds(), other, five_seconds()]);
}

#[tokio::test(start_paused = true)]
async fn each_is_told_what_became_of_the_message_that_it_was_in() {
    let sent = Sent::default();
    let bundler = Bundler::new(sent.clone());
    let in_doubt = PublishError::InDoubt { reason: "no confirm".to_owned() };
    sent.lock().answers = VecDeque::from([Ok(()), Err(in_doubt)]);
    let parking = park(&bundler, (0..4).map(|number| retry(number, 10))).await;
    assert_eq!(answers(parking).await, [true, false, false, false]);
    bundler.park(five_seconds(), retry(9, 10)).await.expect("the next one is confirmed");
}

#[tokio::test(start_paused = true)]
async fn a_retry_that_nobody_waits_for_any_more_is_not_sent() {
    let sent = Sent::default();
    let bundler = Bundler::new(sent.clone());
    let mut parking = park(&bundler, (0..4).map(|number| retry(number, 10))).await;
    parking.remove(2).abort();
    answers(parking).await;
    assert_eq!(sent.messages()[1], [retry(1, 10), retry(3, 10)]);
}

#[tokio::test(start_paused = true)]
async fn whoever_goes_away_before_the_confirm_takes_nobody_elses_retry_with_it() {
    let sent = Sent::default();
    sent.lock().confirm = Duration::from_millis(1);
    let bundler = Bundler::new(sent.clone());
    let mut parking = park(&bundler, (0..=AT_MOST).map(|number| retry(number, 10))).await;
    assert_eq!(sent.sizes(), [1, AT_MOST], "the last one filled the bundle");
    parking.pop().expect("the last").abort();
    assert_eq!(answers(parking).await, [true; AT_MOST]);
}
