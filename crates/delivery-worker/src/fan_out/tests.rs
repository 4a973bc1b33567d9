//! A fan-out of any size has a bounded part of itself in hand, and holds up nobody.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use postrider_contract::clock::ManualClock;
use postrider_contract::egress::AddressRule;
use postrider_contract::fakes::{Behind, Door, FakeLog, FakeQueue, Outage};
use postrider_contract::ids::DeliveryId;
use postrider_contract::ports::{Journal, JournalSource, PublishError, WorkKind, WorkQueue};
use postrider_service::journal_writer::JournalWriter;
use postrider_service::lifecycle::Stop;
use postrider_service::metrics::{Metrics, WorkerMetrics};
use tokio::sync::Semaphore;

use super::*;
use crate::client::tests::receiver::{OK, Receiver, Step};
use crate::client::{ClientParts, HttpClient};
use crate::gate::Webhooks;
use crate::stage::{
    BODY, Counting, FakeWebhooks, Recorder, clock, entry, numbered_delivery, secret_box, settle, shared,
    webhook,
};
use crate::worker::{Settings, Worker, WorkerParts};

fn fan_out(first: u32, count: u32, body: Bytes) -> FanOut {
    let deliveries = (first..first + count).map(numbered_delivery);
    FanOut {
        deliveries: deliveries.map(|delivery| Delivery { body: Bytes::new(), ..delivery }).collect(),
        bodies: vec![body],
        body_of: vec![0; usize::try_from(count).unwrap()],
    }
}

fn page_sizes(recorder: &Recorder) -> Vec<usize> {
    let steps = recorder.steps();
    steps.iter().filter_map(|step| step.strip_prefix("published ")?.parse().ok()).collect()
}

#[tokio::test]
async fn a_fan_out_to_thousands_is_published_in_pages_and_acknowledged_last() {
    let recorder = Recorder::default();
    let settle = settle(&recorder, shared(&clock()));
    let work = fan_out(0, 5_000, Bytes::from_static(BODY));
    settle.fanned_out(work, false, recorder.ticket()).await.unwrap();
    let pages = page_sizes(&recorder);
    assert!(pages.iter().all(|page| *page <= PAGE), "{pages:?}");
    let made: HashSet<_> = recorder.deliveries().iter().map(|(_, made)| made.reference.id).collect();
    assert_eq!((pages.iter().sum::<usize>(), made.len()), (5_000, 5_000));
    assert_eq!(recorder.steps().last().map(String::as_str), Some("acknowledged"));
}

#[tokio::test]
async fn a_page_of_long_bodies_is_short() {
    const BODY_BYTES: usize = 1024 * 1024;
    let recorder = Recorder::default();
    let settle = settle(&recorder, shared(&clock()));
    let work = fan_out(0, 100, Bytes::from(vec![b'x'; BODY_BYTES]));
    settle.fanned_out(work, false, recorder.ticket()).await.unwrap();
    let pages = page_sizes(&recorder);
    assert!(pages.iter().all(|page| *page * BODY_BYTES <= PAGE_BYTES), "{pages:?}");
    assert_eq!(pages.iter().sum::<usize>(), 100);
}

/// Confirms pages of a fan-out only while the gate is open, and counts how many are under way.
#[derive(Clone)]
struct Gated {
    queue: FakeQueue,
    gate: Arc<Semaphore>,
    under_way: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
}

#[async_trait]
impl Door for Gated {
    fn queue(&self) -> &dyn WorkQueue {
        &self.queue
    }

    async fn publish(&self, publications: Vec<Publication>) -> Result<(), PublishError> {
        let now = self.under_way.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(now, Ordering::SeqCst);
        let passed = self.gate.acquire().await.expect("it is never closed");
        self.under_way.fetch_sub(1, Ordering::SeqCst);
        drop(passed);
        self.queue.publish(publications).await
    }
}

fn parts(
    work_queue: Arc<dyn WorkQueue>,
    queue: &FakeQueue,
    clock: &Arc<ManualClock>,
    receiver: &Receiver,
) -> WorkerParts {
    let webhooks = FakeWebhooks::with(entry(webhook(&receiver.url()), "trcker", 1));
    let client = ClientParts::with_rule(AddressRule::default().with_loopback());
    WorkerParts {
        queue: work_queue,
        journal: JournalWriter::start(Arc::new(queue.clone()), shared(clock)),
        log: Arc::new(FakeLog::new(Arc::new(Outage::default()))),
        webhooks: webhooks as Arc<dyn Webhooks>,
        secrets: secret_box(),
        transport: Arc::new(HttpClient::new(client).unwrap()),
        clock: shared(clock),
        entropy: Arc::new(Counting::default()),
        metrics: WorkerMetrics::register(&Metrics::new("0.0.0", "test").unwrap()).unwrap(),
    }
}

/// What a page of a fan-out may go into: full queues refuse it, as `reject-publish` does.
#[derive(Clone)]
struct Full {
    queue: FakeQueue,
    first: Arc<AtomicBool>,
    lanes: Arc<AtomicBool>,
}

impl Full {
    fn of(queue: &FakeQueue) -> Self {
        let full = || Arc::new(AtomicBool::new(true));
        Full { queue: queue.clone(), first: full(), lanes: full() }
    }
}

#[async_trait]
impl Door for Full {
    fn queue(&self) -> &dyn WorkQueue {
        &self.queue
    }

    async fn publish(&self, publications: Vec<Publication>) -> Result<(), PublishError> {
        let is_refused = |publication: &Publication| match publication.route {
            Route::First => self.first.load(Ordering::SeqCst),
            Route::Retry { .. } => self.lanes.load(Ordering::SeqCst),
            Route::Release => false,
        };
        if publications.iter().any(is_refused) {
            return Err(PublishError::Refused { reason: "the queue is full".to_owned() });
        }
        self.queue.publish(publications).await
    }
}

#[tokio::test]
async fn a_page_that_finds_no_room_does_not_stop_the_tries_that_make_room() {
    let receiver = Receiver::saying(vec![Step::Say(OK)]).await;
    let clock = clock();
    let queue = FakeQueue::new(shared(&clock));
    let full = Full::of(&queue);
    let parts = parts(Arc::new(Behind(full.clone())), &queue, &clock, &receiver);
    let first = |work| Publication { route: Route::First, work };
    queue.publish(vec![first(Work::FanOut(fan_out(0, 10, Bytes::from_static(BODY))))]).await.unwrap();
    let stop = Stop::default();
    let running = tokio::spawn(Worker::new(Settings::default(), parts).run(stop.clone()));
    let mut journal = queue.read(1_000).await.unwrap();
    // One after the other, so that the page has been refused by the time of most.
    for number in 100..110 {
        let delivery = numbered_delivery(number);
        let id = delivery.reference.id;
        queue.publish(vec![first(Work::Deliver(delivery))]).await.unwrap();
        attempted_until(&mut *journal, |made| made.contains(&id)).await;
    }
    full.first.store(false, Ordering::SeqCst);
    attempted_until(&mut *journal, |made| made.len() == 10).await;
    stop.drain();
    running.await.unwrap().unwrap();
}

/// As many as a worker may have in hand could be fan-outs that wait for room which only tries behind them make.
#[tokio::test(start_paused = true)]
async fn what_is_left_of_a_fan_out_without_room_leaves_the_hand_by_a_lane() {
    let (clock, recorder) = (clock(), Recorder::default());
    let queue = FakeQueue::new(shared(&clock));
    let full = Full::of(&queue);
    full.lanes.store(false, Ordering::SeqCst);
    let settle = Settle { queue: Arc::new(Behind(full.clone())), ..settle(&recorder, shared(&clock)) };
    let work = fan_out(0, 300, Bytes::from_static(BODY));
    let placed = settle.fanned_out(work, false, recorder.ticket());
    tokio::time::timeout(Duration::from_secs(60), placed).await.expect("it is let go of").unwrap();
    assert_eq!(recorder.steps(), ["acknowledged"]);
    assert!(!settle.trouble.is_there());

    clock.advance(UNTIL_ROOM);
    full.first.store(false, Ordering::SeqCst);
    let mut retries = queue.consume(WorkKind::Retry, 10).await.unwrap();
    let lease = retries.next().await.unwrap();
    let Work::FanOut(left) = lease.message else { panic!("the rest of the fan-out") };
    settle.fanned_out(left, lease.redelivered, lease.ticket).await.unwrap();
    let mut firsts = queue.consume(WorkKind::First, 1_000).await.unwrap();
    let mut made = HashSet::new();
    for _ in 0..300 {
        let lease = firsts.next().await.unwrap();
        let Work::Deliver(delivery) = lease.message else { panic!("a delivery") };
        assert_eq!((delivery.check, &delivery.body[..]), (Check::LookUp, BODY));
        made.insert(delivery.reference.id);
        lease.ticket.acknowledge();
    }
    assert_eq!(made.len(), 300);
}

/// A queue of first tries that is nearly full: of each call it takes half, and answers as the engines do then.
#[derive(Clone)]
struct HalfFull {
    queue: FakeQueue,
    is_nearly_full: Arc<AtomicBool>,
}

#[async_trait]
impl Door for HalfFull {
    fn queue(&self) -> &dyn WorkQueue {
        &self.queue
    }

    async fn publish(&self, mut publications: Vec<Publication>) -> Result<(), PublishError> {
        let is_first = publications.iter().all(|publication| publication.route == Route::First);
        if !is_first || !self.is_nearly_full.load(Ordering::SeqCst) {
            return self.queue.publish(publications).await;
        }
        publications.truncate(publications.len() / 2);
        self.queue.publish(publications).await?;
        Err(PublishError::InDoubt { reason: "some were confirmed, others not".to_owned() })
    }
}

#[tokio::test(start_paused = true)]
async fn a_queue_that_is_nearly_full_is_fed_few_copies_of_a_fan_out() {
    const ALL: usize = 300;
    const ROUNDS: usize = 10;
    let (clock, recorder) = (clock(), Recorder::default());
    let queue = FakeQueue::new(shared(&clock));
    let is_nearly_full = Arc::new(AtomicBool::new(true));
    let half_full = HalfFull { queue: queue.clone(), is_nearly_full: Arc::clone(&is_nearly_full) };
    let settle = Settle { queue: Arc::new(Behind(half_full)), ..settle(&recorder, shared(&clock)) };
    let mut work = fan_out(0, u32::try_from(ALL).unwrap(), Bytes::from_static(BODY));
    let mut ticket = recorder.ticket();
    let mut retries = queue.consume(WorkKind::Retry, 10).await.unwrap();
    for _ in 0..ROUNDS {
        let placed = settle.fanned_out(work, false, ticket);
        tokio::time::timeout(Duration::from_secs(60), placed).await.expect("it is let go of").unwrap();
        clock.advance(UNTIL_ROOM);
        let lease = retries.next().await.unwrap();
        let Work::FanOut(left) = lease.message else { panic!("the rest of the fan-out") };
        (work, ticket) = (left, lease.ticket);
    }
    let fed = usize::try_from(queue.depths().await.unwrap().first).unwrap();
    assert!(fed < PAGE + (ROUNDS + 1) * SMALL_PAGE, "{fed} copies");

    is_nearly_full.store(false, Ordering::SeqCst);
    settle.fanned_out(work, false, ticket).await.unwrap();
    let mut firsts = queue.consume(WorkKind::First, 1_000).await.unwrap();
    let mut made = HashSet::new();
    for _ in 0..fed + ALL {
        let lease = firsts.next().await.unwrap();
        let Work::Deliver(delivery) = lease.message else { panic!("a delivery") };
        made.insert(delivery.reference.id);
        lease.ticket.acknowledge();
    }
    assert_eq!(made.len(), ALL);
}

#[tokio::test]
async fn fan_outs_that_wait_for_their_turn_hold_up_no_first_try() {
    const MANY: u32 = 10;
    let receiver = Receiver::saying(vec![Step::Say(OK)]).await;
    let clock = clock();
    let queue = FakeQueue::new(shared(&clock));
    let gated = Gated {
        queue: queue.clone(),
        gate: Arc::new(Semaphore::new(0)),
        under_way: Arc::default(),
        most: Arc::default(),
    };
    let parts = parts(Arc::new(Behind(gated.clone())), &queue, &clock, &receiver);
    let first = |work| Publication { route: Route::First, work };
    let fan_outs =
        (0..MANY).map(|number| first(Work::FanOut(fan_out(number * 100, 100, Bytes::from_static(BODY)))));
    queue.publish(fan_outs.collect()).await.unwrap();
    queue.publish(vec![first(Work::Deliver(numbered_delivery(999_999)))]).await.unwrap();

    let stop = Stop::default();
    let running = tokio::spawn(Worker::new(Settings::default(), parts).run(stop.clone()));
    let mut journal = queue.read(1_000).await.unwrap();
    attempted_until(&mut *journal, |made| made.contains(&numbered_delivery(999_999).reference.id)).await;
    gated.gate.add_permits(1_000);
    let all = usize::try_from(MANY).unwrap() * 100;
    attempted_until(&mut *journal, |made| made.len() == all).await;
    stop.drain();
    running.await.unwrap().unwrap();
    assert_eq!(gated.most.load(Ordering::SeqCst), 4, "so many are expanded at once");
}

/// Reads the journal until the deliveries attempted since the call are enough.
async fn attempted_until(journal: &mut dyn JournalSource, is_enough: impl Fn(&HashSet<DeliveryId>) -> bool) {
    let mut made = HashSet::new();
    let reading = async {
        while !is_enough(&made) {
            let lease = journal.next().await.unwrap();
            for record in lease.message.records {
                if let JournalRecord::Attempted(attempted) = &*record {
                    made.insert(attempted.delivery.id);
                }
            }
            lease.ticket.acknowledge();
        }
    };
    tokio::time::timeout(Duration::from_secs(60), reading).await.expect("they are tried in time");
}
