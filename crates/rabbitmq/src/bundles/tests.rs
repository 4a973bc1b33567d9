//! What goes together and what does not, and who is told what became of it.

use std::collections::VecDeque;

use tokio::task::JoinHandle;

use super::*;
use crate::lane::{LaneQueue, Load, lane_for};
use crate::samples::{deliveries_in, delivery};
use crate::topology::QueueName;

const FIRST: Destination = Destination::Queue(QueueName::First);

/// Keeps what is sent; answers `Ok`, or what it is told to.
#[derive(Clone, Default)]
struct Sent(Arc<Mutex<SentState>>);

#[derive(Default)]
struct SentState {
    messages: Vec<(Destination, Vec<Delivery>)>,
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
        let confirm = {
            let mut state = self.lock();
            state.messages.push((message.destination, deliveries_in(&message)));
            state.confirm
        };
        tokio::time::sleep(confirm).await;
        self.lock().answers.pop_front().unwrap_or(Ok(()))
    }
}

fn lane(seconds: u64) -> Destination {
    Destination::Lane(LaneQueue { lane: lane_for(Duration::from_secs(seconds)), load: Load::Small })
}

type Publishing = JoinHandle<Result<(), PublishError>>;

/// Publishes each in a task of its own, and lets all begin.
async fn publish(
    bundler: &Arc<Bundler<Sent>>,
    destination: Destination,
    deliveries: impl IntoIterator<Item = Delivery>,
) -> Vec<Publishing> {
    let publish_one = |delivery| {
        let bundler = Arc::clone(bundler);
        tokio::spawn(async move { bundler.publish(destination, vec![delivery]).await })
    };
    let publishing = deliveries.into_iter().map(publish_one).collect();
    for _ in 0..4 {
        tokio::task::yield_now().await;
    }
    publishing
}

async fn park(bundler: &Arc<Bundler<Sent>>, retries: impl IntoIterator<Item = Delivery>) -> Vec<Publishing> {
    publish(bundler, lane(5), retries).await
}

async fn answers(parking: Vec<Publishing>) -> Vec<bool> {
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
        bundler.publish(lane(5), vec![delivery(number, 10)]).await.expect("confirmed");
        tokio::time::advance(GATHERED_FOR).await;
    }
    assert_eq!(began.elapsed(), GATHERED_FOR * 3, "no time but what the test let pass");
    assert_eq!(sent.sizes(), [1, 1, 1]);
}

#[tokio::test(start_paused = true)]
async fn what_comes_soon_after_goes_out_together_each_with_its_own_body() {
    let sent = Sent::default();
    let bundler = Bundler::new(sent.clone());
    let retries: Vec<Delivery> = (0..6).map(|number| delivery(number, number + 1)).collect();
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
    let parking = park(&bundler, (0..AT_MOST + 3).map(|number| delivery(number, 10))).await;
    assert_eq!(sent.sizes(), [1, AT_MOST], "before any time has passed");
    assert_eq!(answers(parking).await, [true; AT_MOST + 3]);
    assert_eq!(sent.sizes(), [1, AT_MOST, 2]);
}

#[tokio::test(start_paused = true)]
async fn what_follows_a_full_bundle_is_gathered_for_as_long_as_any_other() {
    let sent = Sent::default();
    let bundler = Bundler::new(sent.clone());
    let mut parking = park(&bundler, (0..AT_MOST).map(|number| delivery(number, 10))).await;
    tokio::time::advance(GATHERED_FOR / 2).await;
    parking.extend(park(&bundler, (0..4).map(|number| delivery(number, 10))).await);
    assert_eq!(sent.sizes(), [1, AT_MOST]);
    tokio::time::advance(GATHERED_FOR * 3 / 4).await;
    parking.extend(park(&bundler, (0..4).map(|number| delivery(number, 10))).await);
    assert_eq!(answers(parking).await, [true; AT_MOST + 8]);
    assert_eq!(sent.sizes(), [1, AT_MOST, 7]);
}

#[tokio::test(start_paused = true)]
async fn bodies_that_are_too_long_together_go_apart_in_the_order_they_came() {
    let sent = Sent::default();
    let bundler = Bundler::new(sent.clone());
    let parking = park(&bundler, (0..6).map(|number| delivery(number, LONGEST / 3))).await;
    answers(parking).await;
    assert_eq!(sent.sizes(), [1, 2, 2, 1]);
    let order: Vec<_> = sent.messages().concat().into_iter().map(|one| one.reference.event_id).collect();
    let expected: Vec<_> = (0..6).map(|number| delivery(number, 0).reference.event_id).collect();
    assert_eq!(order, expected);
    let longest = sent.messages().iter().map(|of| of.iter().map(length_of).sum::<usize>()).max();
    assert!(longest <= Some(LONGEST));
    assert!(!may_share(&delivery(0, LONGEST)) && may_share(&delivery(0, LONGEST - NAMES)));
}

#[tokio::test(start_paused = true)]
async fn lanes_gather_apart() {
    let sent = Sent::default();
    let bundler = Bundler::new(sent.clone());
    let parking = park(&bundler, (0..2).map(|number| delivery(number, 10))).await;
    bundler.publish(lane(60), vec![delivery(9, 10)]).await.expect("confirmed");
    assert_eq!(sent.sizes(), [1, 1], "the first of each lane");
    answers(parking).await;
    let lanes: Vec<Destination> = sent.lock().messages.iter().map(|(lane, _)| *lane).collect();
    assert_eq!(lanes, [lane(5), lane(60), lane(5)]);
}

#[tokio::test(start_paused = true)]
async fn each_is_told_what_became_of_the_message_that_it_was_in() {
    let sent = Sent::default();
    let bundler = Bundler::new(sent.clone());
    let in_doubt = PublishError::InDoubt { reason: "no confirm".to_owned() };
    sent.lock().answers = VecDeque::from([Ok(()), Err(in_doubt)]);
    let parking = park(&bundler, (0..4).map(|number| delivery(number, 10))).await;
    assert_eq!(answers(parking).await, [true, false, false, false]);
    bundler.publish(lane(5), vec![delivery(9, 10)]).await.expect("the next one is confirmed");
}

#[tokio::test(start_paused = true)]
async fn a_retry_that_nobody_waits_for_any_more_is_not_sent() {
    let sent = Sent::default();
    let bundler = Bundler::new(sent.clone());
    let mut parking = park(&bundler, (0..4).map(|number| delivery(number, 10))).await;
    parking.remove(2).abort();
    answers(parking).await;
    assert_eq!(sent.messages()[1], [delivery(1, 10), delivery(3, 10)]);
}

#[tokio::test(start_paused = true)]
async fn whoever_goes_away_before_the_confirm_takes_nobody_elses_retry_with_it() {
    let sent = Sent::default();
    sent.lock().confirm = Duration::from_millis(1);
    let bundler = Bundler::new(sent.clone());
    let mut parking = park(&bundler, (0..=AT_MOST).map(|number| delivery(number, 10))).await;
    assert_eq!(sent.sizes(), [1, AT_MOST], "the last one filled the bundle");
    parking.pop().expect("the last").abort();
    assert_eq!(answers(parking).await, [true; AT_MOST]);
}

#[tokio::test(start_paused = true)]
async fn what_is_published_together_goes_out_together_and_at_once() {
    for destination in [FIRST, lane(5)] {
        let sent = Sent::default();
        let bundler = Bundler::new(sent.clone());
        let began = Instant::now();
        let together = (0..AT_MOST + 3).map(|number| delivery(number, 10)).collect();
        bundler.publish(destination, together).await.expect("confirmed");
        assert_eq!(began.elapsed(), Duration::ZERO);
        assert_eq!(sent.sizes(), [AT_MOST, 3]);
    }
}

#[tokio::test(start_paused = true)]
async fn first_tries_go_out_one_by_one_until_the_broker_is_busy_and_then_with_its_next_answer() {
    let sent = Sent::default();
    sent.lock().confirm = GATHERED_FOR / 5;
    let bundler = Bundler::new(sent.clone());
    let began = Instant::now();
    let publishing = publish(&bundler, FIRST, (0..BUSY + 5).map(|number| delivery(number, 10))).await;
    assert_eq!(sent.sizes(), [1; BUSY], "before any is answered");
    assert_eq!(answers(publishing).await, [true; BUSY + 5]);
    assert_eq!(sent.sizes()[BUSY..], [5]);
    assert!(began.elapsed() < GATHERED_FOR);
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_answers_nothing_holds_back_no_first_try_for_long() {
    let sent = Sent::default();
    sent.lock().confirm = Duration::from_secs(5);
    let bundler = Bundler::new(sent.clone());
    let began = Instant::now();
    let publishing = publish(&bundler, FIRST, (0..BUSY + 5).map(|number| delivery(number, 10))).await;
    assert_eq!(answers(publishing).await, [true; BUSY + 5]);
    assert_eq!(sent.sizes()[BUSY..], [5]);
    assert!(began.elapsed() < Duration::from_secs(5) + GATHERED_FOR * 2);
}

#[tokio::test(start_paused = true)]
async fn of_what_is_published_together_one_refusal_is_told_as_what_it_is() {
    let (refused, ok) = (PublishError::Refused { reason: "full".to_owned() }, Ok(()));
    for (answers, is_refused) in
        [([Err(refused.clone()), ok.clone()], false), ([Err(refused.clone()), Err(refused)], true)]
    {
        let sent = Sent::default();
        sent.lock().answers = VecDeque::from(answers);
        let together = (0..=AT_MOST).map(|number| delivery(number, 10)).collect();
        let told =
            Bundler::new(sent.clone()).publish(FIRST, together).await.expect_err("not all are confirmed");
        assert_eq!(matches!(told, PublishError::Refused { .. }), is_refused, "{told}");
    }
}
