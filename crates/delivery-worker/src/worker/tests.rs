//! The whole worker over the fake engine and a receiver on loopback.

mod floor;
mod former_profiles;
mod misfits;
mod postbacks;
mod requests;
mod schedules;

use postrider_contract::attempt::{AttemptResult, FailureClass, Header};
use postrider_contract::clock::ManualClock;
use postrider_contract::delivery::{AttemptNumber, Check, Delivery, FanOut};
use postrider_contract::egress::AddressRule;
use postrider_contract::fakes::{FakeLog, FakeQueue, Outage, PublishFault};
use postrider_contract::journal::{AttemptedRecord, HeldRecord, JournalRecord};
use postrider_contract::log::fold;
use postrider_contract::outcome::{CancelReason, Cause, DeliveryStatus, FailureReason, HoldReason, Outcome};
use postrider_contract::ports::{Journal, JournalSource, LogQueries, Publication, Route, WaitingRoom};
use postrider_contract::secret::Secret;
use postrider_contract::signature::{ReceivedRequest, VerifyingKey, verify};
use postrider_contract::webhook::{Authentication, CustomHeader, Webhook, WebhookState};
use postrider_service::metrics::Metrics;
use postrider_service::webhook_secrets::{SecretPlace, WebhookSecrets};
use std::collections::VecDeque;
use tokio::task::JoinHandle;

use super::*;
use crate::client::tests::receiver::{OK, Receiver, Step};
use crate::client::{ClientParts, HttpClient};
use crate::stage::{
    BODY, Counting, FakeWebhooks, SECRET, clock, delivery, entry, noon, numbered_delivery, secret_box,
    shared, webhook,
};

const ERROR: &[u8] = b"HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n";

struct Stage {
    queue: FakeQueue,
    log: FakeLog,
    clock: Arc<ManualClock>,
    webhooks: Arc<FakeWebhooks>,
    stop: Stop,
    running: JoinHandle<Result<(), WorkerError>>,
    journal: Box<dyn JournalSource>,
    unread: VecDeque<JournalRecord>,
}

/// What a worker works with, but for its queue.
fn parts_on(
    queue: Arc<dyn WorkQueue>,
    journal: impl Journal + 'static,
    log: FakeLog,
    webhooks: &Arc<FakeWebhooks>,
    clock: &Arc<ManualClock>,
) -> WorkerParts {
    let client = ClientParts::with_rule(AddressRule::default().with_loopback());
    WorkerParts {
        queue,
        journal: JournalWriter::start(Arc::new(journal), shared(clock)),
        log: Arc::new(log),
        webhooks: Arc::clone(webhooks) as Arc<dyn Webhooks>,
        secrets: secret_box(),
        transport: Arc::new(HttpClient::new(client).unwrap()),
        clock: shared(clock),
        entropy: Arc::new(Counting::default()),
        metrics: WorkerMetrics::register(&Metrics::new("0.0.0", "test").unwrap()).unwrap(),
    }
}

impl Stage {
    async fn with(webhook: Webhook) -> Self {
        Self::with_profile(webhook, "trcker").await
    }

    async fn with_profile(webhook: Webhook, profile: &str) -> Self {
        let clock = clock();
        let queue = FakeQueue::new(shared(&clock));
        let log = FakeLog::new(Arc::new(Outage::default()));
        let webhooks = FakeWebhooks::with(entry(webhook, profile, 1));
        let parts = parts_on(Arc::new(queue.clone()), queue.clone(), log.clone(), &webhooks, &clock);
        let stop = Stop::default();
        let running = tokio::spawn(Worker::new(Settings::default(), parts).run(stop.clone()));
        let journal = queue.read(100).await.unwrap();
        Stage { queue, log, clock, webhooks, stop, running, journal, unread: VecDeque::new() }
    }

    async fn publish(&self, route: Route, delivery: Delivery) {
        let publication = Publication { route, work: Work::Deliver(delivery) };
        self.queue.publish(vec![publication]).await.unwrap();
    }

    /// Publishes a copy that is looked up, and waits until the worker has let go of it. On a clock that stands still: a
    /// machine may be so busy that the answer is late by its clock, and the try then is rightly made again.
    async fn look_up(&self, delivery: Delivery) {
        let parked = usize::from(self.queue.next_due().is_some());
        tokio::time::pause();
        self.publish(Route::Release, delivery).await;
        for _ in 0..30 {
            if self.queue.unacknowledged().work.len() == parked {
                tokio::time::resume();
                return;
            }
            // Everybody has their turn many times before the clock goes on: the answer is in time.
            for _ in 0..50 {
                tokio::task::yield_now().await;
            }
            tokio::time::advance(Duration::from_millis(1)).await;
        }
        panic!("the copy is still in hand");
    }

    /// The next record of the journal, which is acknowledged.
    async fn record(&mut self) -> JournalRecord {
        loop {
            if let Some(record) = self.unread.pop_front() {
                return record;
            }
            let next = tokio::time::timeout(Duration::from_secs(20), self.journal.next());
            let lease = next.await.expect("a record in time").expect("an open queue");
            lease.ticket.acknowledge();
            self.unread.extend(lease.message.records.into_iter().map(Arc::unwrap_or_clone));
        }
    }

    async fn attempted(&mut self) -> AttemptedRecord {
        let record = self.record().await;
        let JournalRecord::Attempted(attempted) = record else { panic!("{record:?}") };
        attempted
    }

    /// Moves the clock, and with it what is due out of its lane.
    fn pass(&self, time: Duration) {
        self.clock.advance(time);
        self.queue.tick();
    }

    async fn drained(self) -> Result<(), WorkerError> {
        self.stop.drain();
        self.running.await.expect("no panic")
    }
}

fn headers_of(request: &str) -> Vec<(String, String)> {
    let head = request.split("\r\n\r\n").next().unwrap();
    let pairs = head.lines().skip(1).filter_map(|line| line.split_once(": "));
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

fn names_of(request: &str) -> Vec<String> {
    headers_of(request).into_iter().map(|(name, _)| name).collect()
}

#[tokio::test]
async fn a_delivery_arrives_signed_as_its_profile_says_and_is_journaled() {
    let receiver = Receiver::saying(vec![Step::Say(OK)]).await;
    let mut stage = Stage::with(webhook(&receiver.url())).await;
    stage.publish(Route::First, delivery()).await;
    let record = stage.attempted().await;
    assert_eq!((record.outcome, record.attempt.number), (Outcome::Delivered, AttemptNumber::FIRST));
    assert_eq!(record.attempt.address, Some(receiver.address));
    assert_eq!(record.attempt.request.url, format!("http://{}/…", receiver.address));

    let request = receiver.seen.requests().remove(0).1;
    assert!(request.as_bytes().ends_with(BODY));
    assert_eq!(
        names_of(&request),
        [
            "Host",
            "Content-Type",
            "User-Agent",
            "X-Trcker-Event",
            "X-Trcker-Webhook-Id",
            "X-Trcker-Signature",
            "Content-Length"
        ]
    );
    let headers: Vec<_> = headers_of(&request)
        .into_iter()
        .map(|(name, value)| Header { name: name.into(), value: value.into_bytes().into() })
        .collect();
    let profile = postrider_contract::profile::builtin_profile(&"trcker".parse().unwrap()).unwrap();
    let key = VerifyingKey::parse(SECRET, profile.definition().secret.as_ref().unwrap()).unwrap();
    let received = ReceivedRequest { headers: &headers, query: "", body: BODY };
    let overrides = Default::default();
    assert_eq!(verify(&profile, &overrides, received, &[key], noon()), Ok(()));
    stage.drained().await.unwrap();
}

#[tokio::test]
async fn a_failed_try_is_retried_with_the_same_body_until_it_succeeds() {
    let receiver = Receiver::start(|_, number| vec![Step::Say(if number < 2 { ERROR } else { OK })]).await;
    let mut stage = Stage::with(webhook(&receiver.url())).await;
    stage.publish(Route::First, delivery()).await;
    for (number, wait) in [(1, 1), (2, 5)] {
        let record = stage.attempted().await;
        assert_eq!(record.attempt.number.number(), number);
        let at = stage.clock.now().plus(Duration::from_secs(wait));
        assert_eq!(record.outcome, Outcome::Retry { at, cause: Cause::Status(500) });
        stage.pass(Duration::from_secs(wait));
    }
    assert_eq!(stage.attempted().await.outcome, Outcome::Delivered);
    let requests = receiver.seen.requests();
    assert_eq!(requests.len(), 3);
    assert!(requests.iter().all(|(_, request)| request.as_bytes().ends_with(BODY)));
    stage.drained().await.unwrap();
}

#[tokio::test]
async fn after_the_last_wait_a_delivery_has_failed() {
    let mut stage = Stage::with(webhook("http://169.254.169.254/")).await;
    let mut last = delivery();
    last.position.attempt = AttemptNumber::from_number(7).unwrap();
    stage.publish(Route::First, last).await;
    let record = stage.attempted().await;
    let cause = Some(Cause::Failure(FailureClass::Blocked));
    assert_eq!(record.outcome, Outcome::Failed { reason: FailureReason::Exhausted, cause });
    assert!(matches!(record.attempt.result, AttemptResult::Failure { class: FailureClass::Blocked, .. }));
    stage.drained().await.unwrap();
}

#[tokio::test]
async fn a_webhooks_own_headers_and_authentication_are_sent_and_masked_in_the_log() {
    let receiver = Receiver::saying(vec![Step::Say(OK)]).await;
    let mut own = webhook(&receiver.url());
    let secrets = secret_box();
    let tenant = own.tenant.clone();
    let places = WebhookSecrets::new(&secrets, &tenant, own.id);
    let seal = |place, text: &str| places.seal(place, &Secret::new(text.to_owned()), &Counting::default());
    own.authentication = Authentication::Bearer { token: seal(SecretPlace::BearerToken, "t0ken") };
    let name = "X-Partner-Key".to_owned();
    own.headers = vec![CustomHeader { value: seal(SecretPlace::Header(&name), "k3y"), name }];
    let mut stage = Stage::with(own).await;
    stage.publish(Route::First, delivery()).await;
    let shown = format!("{:?}", stage.attempted().await.attempt.request);
    assert!(shown.contains("Bearer ***") && shown.contains("X-Partner-Key"), "{shown}");
    assert!(!shown.contains("t0ken") && !shown.contains("k3y"), "{shown}");
    let sent = headers_of(&receiver.seen.requests()[0].1);
    assert!(sent.contains(&("Authorization".to_owned(), "Bearer t0ken".to_owned())), "{sent:?}");
    assert!(sent.contains(&("X-Partner-Key".to_owned(), "k3y".to_owned())), "{sent:?}");
    stage.drained().await.unwrap();
}

#[tokio::test]
async fn a_webhook_that_does_not_receive_is_sent_nothing() {
    let receiver = Receiver::saying(vec![Step::Say(OK)]).await;
    let paused = WebhookState::Paused { since: noon() };
    let mut held = webhook(&receiver.url());
    held.state = paused.clone();
    let mut stage = Stage::with(held).await;
    stage.publish(Route::First, delivery()).await;
    let JournalRecord::Held(record) = stage.record().await else { panic!("a hold") };
    assert_eq!((record.why, record.delivery.position.holds), (HoldReason::Paused, 1));
    stage.webhooks.delete(crate::stage::webhook_id());
    stage.publish(Route::Release, record.delivery).await;
    let JournalRecord::Concluded(record) = stage.record().await else { panic!("a conclusion") };
    let expected = postrider_contract::journal::Conclusion::Canceled(CancelReason::WebhookDeleted);
    assert_eq!(record.conclusion, expected);
    assert!(receiver.seen.requests().is_empty());
    stage.drained().await.unwrap();
}

#[tokio::test]
async fn a_webhook_nobody_knows_is_put_off_and_not_given_up() {
    let receiver = Receiver::saying(vec![Step::Say(OK)]).await;
    let stranger = Webhook { id: WebhookId::from_u128(1234), ..webhook(&receiver.url()) };
    let mut stage = Stage::with(stranger).await;
    stage.publish(Route::First, delivery()).await;
    let JournalRecord::Deferred(record) = stage.record().await else { panic!("a deferral") };
    assert_eq!((record.position.deferrals, record.position.attempt), (1, AttemptNumber::FIRST));
    stage.webhooks.put(entry(webhook(&receiver.url()), "trcker", 2));
    stage.pass(Duration::from_secs(1));
    assert_eq!(stage.attempted().await.outcome, Outcome::Delivered);
    stage.drained().await.unwrap();
}

#[tokio::test]
async fn a_try_that_is_in_the_log_is_not_made_again() {
    let receiver = Receiver::saying(vec![Step::Say(OK)]).await;
    let mut stage = Stage::with(webhook(&receiver.url())).await;
    stage.publish(Route::First, delivery()).await;
    let record = stage.attempted().await;
    stage.log.apply(&fold([JournalRecord::Attempted(record)])).await.unwrap();
    stage.look_up(Delivery { check: Check::LookUp, ..delivery() }).await;
    stage.publish(Route::First, numbered_delivery(2)).await;
    assert_eq!(stage.attempted().await.delivery.event_id.as_str(), "evt_2");
    stage.drained().await.unwrap();
    assert_eq!(receiver.seen.requests().len(), 2);
}

/// A worker dies between the record of a hold and its lease: the lease is tried, and the row it left in the room
/// must not hold a place in the window for ever.
#[tokio::test]
async fn a_released_copy_of_what_was_tried_already_leaves_the_room() {
    let receiver = Receiver::saying(vec![Step::Say(OK)]).await;
    let mut stage = Stage::with(webhook(&receiver.url())).await;
    let held = delivery().held();
    let hold = HeldRecord { delivery: held.clone(), why: HoldReason::Overflow, since: noon() };
    stage.log.apply(&fold([JournalRecord::Held(hold)])).await.unwrap();
    stage.publish(Route::First, delivery()).await;
    let tried = stage.attempted().await;
    stage.log.apply(&fold([JournalRecord::Attempted(tried)])).await.unwrap();
    assert_eq!(stage.log.summaries().await.unwrap().len(), 1);

    stage.look_up(held.clone().published_again(noon())).await;
    let left = stage.record().await;
    assert!(matches!(left, JournalRecord::Deferred(_)), "{left:?}");
    stage.log.apply(&fold([left])).await.unwrap();
    assert_eq!(stage.log.summaries().await.unwrap(), []);
    let view = stage.log.delivery(&held.reference.tenant, held.reference.id).await.unwrap().unwrap();
    assert_eq!(view.status, DeliveryStatus::Delivered);
    stage.drained().await.unwrap();
    assert_eq!(receiver.seen.requests().len(), 1);
}

#[tokio::test]
async fn a_retry_to_a_rate_limited_webhook_waits_in_the_room() {
    let receiver = Receiver::saying(vec![Step::Say(ERROR)]).await;
    let limited = Webhook { rate_limit_per_second: std::num::NonZeroU32::new(5), ..webhook(&receiver.url()) };
    let mut stage = Stage::with(limited).await;
    stage.publish(Route::Release, delivery().held().published_again(noon())).await;
    let first = stage.attempted().await;
    assert_eq!(first.attempt.number, AttemptNumber::FIRST);
    stage.log.apply(&fold([JournalRecord::Attempted(first)])).await.unwrap();
    stage.pass(Duration::from_secs(1));
    let record = stage.record().await;
    let JournalRecord::Held(held) = record else { panic!("{record:?}") };
    assert_eq!((held.why, held.delivery.position.attempt.number()), (HoldReason::RateLimited, 2));
    stage.drained().await.unwrap();
    assert_eq!(receiver.seen.requests().len(), 1);
}

#[tokio::test]
async fn what_follows_a_record_is_not_taken_for_what_was_recorded() {
    let receiver = Receiver::saying(vec![Step::Say(ERROR)]).await;
    let mut stage = Stage::with(webhook(&receiver.url())).await;
    stage.publish(Route::First, delivery()).await;
    let first = stage.attempted().await;
    stage.log.apply(&fold([JournalRecord::Attempted(first)])).await.unwrap();
    // The first try comes again, as after a crash before its lease was let go; the second comes from its lane.
    stage.look_up(Delivery { check: Check::LookUp, ..delivery() }).await;
    stage.pass(Duration::from_secs(1));
    let second = stage.attempted().await;
    assert_eq!(second.attempt.number.number(), 2);
    stage.log.apply(&fold([JournalRecord::Attempted(second)])).await.unwrap();
    // Held, released, and put off: still the third try, made once.
    let paused = Webhook { state: WebhookState::Paused { since: noon() }, ..webhook(&receiver.url()) };
    stage.webhooks.put(entry(paused, "trcker", 2));
    stage.pass(Duration::from_secs(5));
    let held = stage.record().await;
    let JournalRecord::Held(held_record) = &held else { panic!("{held:?}") };
    let released = held_record.delivery.clone().published_again(stage.clock.now());
    stage.log.apply(&fold([held])).await.unwrap();
    stage.webhooks.put(entry(webhook(&receiver.url()), "trcker", 3));
    stage.publish(Route::Release, released).await;
    assert_eq!(stage.attempted().await.attempt.number.number(), 3);
    stage.drained().await.unwrap();
    assert_eq!(receiver.seen.requests().len(), 3);
}

#[tokio::test]
async fn what_comes_out_of_its_lane_far_too_early_goes_back_once() {
    let receiver = Receiver::saying(vec![Step::Say(OK)]).await;
    let mut stage = Stage::with(webhook(&receiver.url())).await;
    let hour = Duration::from_secs(3600);
    let early = Delivery { due_at: noon().plus(hour), parked_for: hour, ..delivery() };
    stage.publish(Route::Retry { delay: Duration::ZERO }, early.clone()).await;
    while stage.queue.next_due().is_none() {
        assert!(receiver.seen.requests().is_empty(), "it was tried");
        tokio::task::yield_now().await;
    }
    assert_eq!(stage.queue.next_due(), Some(noon().plus(hour)));
    stage.pass(hour);
    assert_eq!(stage.attempted().await.outcome, Outcome::Delivered);
    let a_little =
        Delivery { parked_for: hour, due_at: stage.clock.now().plus(hour / 10), ..numbered_delivery(2) };
    stage.publish(Route::Retry { delay: Duration::ZERO }, a_little).await;
    assert_eq!(stage.attempted().await.outcome, Outcome::Delivered);
    stage.drained().await.unwrap();
}

#[tokio::test]
async fn a_fan_out_becomes_deliveries() {
    let receiver = Receiver::saying(vec![Step::Say(OK)]).await;
    let mut stage = Stage::with(webhook(&receiver.url())).await;
    let deliveries =
        (0..200).map(|number| Delivery { body: Default::default(), ..numbered_delivery(number) });
    let bodies = vec![BODY.into()];
    let work = FanOut { deliveries: deliveries.collect(), bodies, body_of: vec![0; 200] };
    let publication = Publication { route: Route::First, work: Work::FanOut(work) };
    stage.queue.publish(vec![publication]).await.unwrap();
    for _ in 0..200 {
        assert_eq!(stage.attempted().await.outcome, Outcome::Delivered);
    }
    assert_eq!(receiver.seen.requests().len(), 200);
    let depths = stage.queue.depths().await.unwrap();
    assert_eq!((depths.first, depths.dead), (0, 0));
    stage.drained().await.unwrap();
}

#[tokio::test]
async fn a_receiver_that_is_silent_does_not_delay_the_others() {
    let silent = Receiver::saying(vec![Step::Silence]).await;
    let well = Receiver::saying(vec![Step::Say(OK)]).await;
    let other = WebhookId::from_u128(8);
    let mut stage = Stage::with(webhook(&silent.url())).await;
    let unsigned = Webhook { id: other, secrets: Default::default(), ..webhook(&well.url()) };
    stage.webhooks.put(entry(unsigned, "trcker", 2));
    for number in 0..500 {
        stage.publish(Route::First, numbered_delivery(number)).await;
    }
    for number in 500..550 {
        let mut delivery = numbered_delivery(number);
        delivery.reference.webhook = other;
        stage.publish(Route::First, delivery).await;
    }
    for _ in 0..50 {
        let record = stage.attempted().await;
        assert_eq!((record.delivery.webhook, record.outcome), (other, Outcome::Delivered));
    }
    assert!(silent.seen.requests().len() <= 16, "it got no more than the window it began with");
    stage.stop.halt();
    stage.drained().await.unwrap();
}

#[tokio::test]
async fn a_worker_that_could_not_record_does_not_send() {
    let receiver = Receiver::saying(vec![Step::Say(OK)]).await;
    let mut stage = Stage::with(webhook(&receiver.url())).await;
    for number in 0..10 {
        stage.publish(Route::First, numbered_delivery(number)).await;
    }
    let refused = PublishFault::Refused { reason: "no space".to_owned() };
    stage.queue.fail_publishes(refused);
    // Nothing has run since the publish: this test is one thread.
    assert!(receiver.seen.requests().is_empty());
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
    assert!(receiver.seen.requests().is_empty());
    stage.queue.fail_publishes(PublishFault::None);
    for _ in 0..10 {
        assert_eq!(stage.attempted().await.outcome, Outcome::Delivered);
    }
    stage.drained().await.unwrap();
}

#[tokio::test]
async fn a_drained_worker_finishes_what_is_in_flight_and_gives_back_the_rest() {
    let open = Arc::new(Semaphore::new(0));
    let receiver = Receiver::saying(vec![Step::Wait(Arc::clone(&open)), Step::Say(OK)]).await;
    let one_at_a_time = Webhook { max_in_flight: std::num::NonZeroU16::new(1), ..webhook(&receiver.url()) };
    let mut stage = Stage::with(one_at_a_time).await;
    for number in 0..5 {
        stage.publish(Route::First, numbered_delivery(number)).await;
    }
    while receiver.seen.requests().is_empty() {
        tokio::task::yield_now().await;
    }
    stage.stop.drain();
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
    open.add_permits(100);
    assert_eq!(stage.attempted().await.outcome, Outcome::Delivered);
    let queue = stage.queue.clone();
    stage.drained().await.unwrap();
    assert_eq!(queue.depths().await.unwrap().first, 4);
    assert_eq!(receiver.seen.requests().len(), 1);
}

#[tokio::test]
async fn a_halted_worker_lets_go_of_everything_at_once() {
    let receiver = Receiver::saying(vec![Step::Silence]).await;
    let stage = Stage::with(webhook(&receiver.url())).await;
    stage.publish(Route::First, delivery()).await;
    while receiver.seen.requests().is_empty() {
        tokio::task::yield_now().await;
    }
    stage.stop.halt();
    let queue = stage.queue.clone();
    stage.drained().await.unwrap();
    assert_eq!(queue.depths().await.unwrap().first, 1);
}

#[tokio::test]
async fn a_permanent_answer_to_an_old_url_is_tried_again_at_the_new_one() {
    let gone = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n";
    let old = Receiver::saying(vec![Step::Say(gone)]).await;
    let new = Receiver::saying(vec![Step::Say(OK)]).await;
    let mut stage = Stage::with_profile(webhook(&old.url()), "trakkr").await;
    stage.webhooks.grow_old(Duration::from_secs(30));
    stage.webhooks.put_in_store(entry(webhook(&new.url()), "trakkr", 2));
    stage.publish(Route::First, Delivery { profile: "trakkr".parse().unwrap(), ..delivery() }).await;
    assert!(matches!(stage.attempted().await.outcome, Outcome::Retry { cause: Cause::Status(404), .. }));
    stage.pass(Duration::from_secs(1));
    assert_eq!(stage.attempted().await.outcome, Outcome::Delivered);
    assert_eq!(new.seen.requests().len(), 1);
    stage.drained().await.unwrap();
}
