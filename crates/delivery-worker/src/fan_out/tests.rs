//! A fan-out of any size has a bounded part of itself in hand, and holds up nobody.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use postrider_contract::egress::AddressRule;
use postrider_contract::fakes::{FakeLog, FakeQueue, Outage};
use postrider_contract::ids::DeliveryId;
use postrider_contract::ports::{
    Journal, JournalSource, PublishError, QueueDepths, QueueError, WorkKind, WorkQueue, WorkSource,
};
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
impl WorkQueue for Gated {
    async fn publish(&self, publications: Vec<Publication>) -> Result<(), PublishError> {
        let now = self.under_way.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(now, Ordering::SeqCst);
        let passed = self.gate.acquire().await.expect("it is never closed");
        self.under_way.fetch_sub(1, Ordering::SeqCst);
        drop(passed);
        self.queue.publish(publications).await
    }

    async fn consume(&self, kind: WorkKind, prefetch: u16) -> Result<Box<dyn WorkSource>, QueueError> {
        self.queue.consume(kind, prefetch).await
    }

    async fn depths(&self) -> Result<QueueDepths, QueueError> {
        self.queue.depths().await
    }

    fn check_writable(&self) -> Result<(), QueueError> {
        self.queue.check_writable()
    }

    async fn close(&self) {
        self.queue.close().await;
    }
}

#[tokio::test]
async fn fan_outs_that_wait_for_their_turn_hold_up_no_first_try() {
    const MANY: u32 = 10;
    let receiver = Receiver::saying(vec![Step::Say(OK)]).await;
    let clock = clock();
    let (queue, webhooks) =
        (FakeQueue::new(shared(&clock)), FakeWebhooks::with(entry(webhook(&receiver.url()), "trcker", 1)));
    let gated = Gated {
        queue: queue.clone(),
        gate: Arc::new(Semaphore::new(0)),
        under_way: Arc::default(),
        most: Arc::default(),
    };
    let client = ClientParts::with_rule(AddressRule::default().with_loopback());
    let parts = WorkerParts {
        queue: Arc::new(gated.clone()),
        journal: JournalWriter::start(Arc::new(queue.clone()), shared(&clock)),
        log: Arc::new(FakeLog::new(Arc::new(Outage::default()))),
        webhooks: Arc::clone(&webhooks) as Arc<dyn Webhooks>,
        secrets: secret_box(),
        transport: Arc::new(HttpClient::new(client).unwrap()),
        clock: shared(&clock),
        entropy: Arc::new(Counting::default()),
        metrics: WorkerMetrics::register(&Metrics::new("0.0.0", "test").unwrap()).unwrap(),
    };
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
                if let JournalRecord::Attempted(attempted) = record {
                    made.insert(attempted.delivery.id);
                }
            }
            lease.ticket.acknowledge();
        }
    };
    tokio::time::timeout(Duration::from_secs(20), reading).await.expect("they are tried in time");
}
