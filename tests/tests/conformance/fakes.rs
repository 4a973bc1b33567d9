//! The in-memory engines: what simulations rest on must promise what the real ones do.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use postrider_contract::clock::{Clock, ManualClock, Timestamp};
use postrider_contract::fakes::{
    FakeConfiguration, FakeKeyedRequests, FakeLeadership, FakeLog, FakeQueue, Outage, PublishFault,
};
use postrider_contract::ports::{
    ConfigStore, DeliveryLog, Journal, KeyedRequests, Leadership, LogQueries, PublishError, Route,
    StrayCause, StrayPlace, Strays, WaitingRoom, WorkKind, WorkQueue,
};
use postrider_tests::conformance::samples::Sample;
use postrider_tests::conformance::{MeantFor, QueueUnderTest, StoreUnderTest, soon};
use postrider_tests::{queue_conformance, store_conformance};

struct FakeQueueUnderTest {
    clock: Arc<ManualClock>,
    queue: FakeQueue,
}

async fn queue_engine() -> FakeQueueUnderTest {
    let clock = Arc::new(ManualClock::at(start()));
    FakeQueueUnderTest { queue: FakeQueue::new(Arc::clone(&clock) as Arc<dyn Clock>), clock }
}

/// 2026-11-21T09:30:00Z.
fn start() -> Timestamp {
    Timestamp::from_millis(1_795_253_400_000)
}

#[async_trait]
impl QueueUnderTest for FakeQueueUnderTest {
    fn queue(&self) -> Arc<dyn WorkQueue> {
        Arc::new(self.queue.clone())
    }

    fn journal(&self) -> Arc<dyn Journal> {
        Arc::new(self.queue.clone())
    }

    fn strays(&self) -> Arc<dyn Strays> {
        Arc::new(self.queue.clone())
    }

    async fn set_aside(&self, meant_for: MeantFor, bytes: Bytes) {
        let cause = StrayCause::SetAside { reason: "set aside by hand".to_owned() };
        let origin = match meant_for {
            MeantFor::FirstTries => "first",
            MeantFor::Journal => "journal",
        };
        self.queue.inject_stray(StrayPlace::Dead, cause, origin, bytes);
    }

    async fn reopen(&mut self) {
        self.queue.crash();
    }

    async fn inject_undecodable(&self, kind: WorkKind) {
        self.queue.inject(kind, Bytes::from_static(b"\xff\xff not a message"));
    }

    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    fn pass(&self, by: Duration) {
        self.clock.advance(by);
        self.queue.tick();
    }
}

struct FakeStoreUnderTest {
    configuration: FakeConfiguration,
    keyed: Arc<FakeKeyedRequests>,
    log: Arc<FakeLog>,
    leadership: FakeLeadership,
    outage: Arc<Outage>,
}

async fn store_engine() -> FakeStoreUnderTest {
    let outage = Arc::new(Outage::default());
    FakeStoreUnderTest {
        configuration: FakeConfiguration::new(Arc::clone(&outage)),
        keyed: Arc::new(FakeKeyedRequests::new(Arc::clone(&outage))),
        log: Arc::new(FakeLog::new(Arc::clone(&outage))),
        leadership: FakeLeadership::new(Arc::clone(&outage)),
        outage,
    }
}

#[async_trait]
impl StoreUnderTest for FakeStoreUnderTest {
    fn configuration(&self) -> Arc<dyn ConfigStore> {
        Arc::new(self.configuration.clone())
    }

    fn keyed(&self) -> Arc<dyn KeyedRequests> {
        Arc::clone(&self.keyed) as Arc<dyn KeyedRequests>
    }

    fn log(&self) -> Arc<dyn DeliveryLog> {
        Arc::clone(&self.log) as Arc<dyn DeliveryLog>
    }

    fn queries(&self) -> Arc<dyn LogQueries> {
        Arc::clone(&self.log) as Arc<dyn LogQueries>
    }

    fn room(&self) -> Arc<dyn WaitingRoom> {
        Arc::clone(&self.log) as Arc<dyn WaitingRoom>
    }

    fn leadership(&self) -> Arc<dyn Leadership> {
        Arc::new(self.leadership.clone())
    }

    async fn leadership_elsewhere(&self) -> Option<Arc<dyn Leadership>> {
        Some(Arc::new(self.leadership.clone()))
    }

    /// What is in memory stays there.
    async fn reopen(&mut self) {}

    fn now(&self) -> Timestamp {
        start()
    }
}

queue_conformance!(queue_engine);
store_conformance!(store_engine);

/// What only the fakes can do: stand still, and fail on demand.
mod at_will {
    use super::*;

    #[tokio::test]
    async fn a_parked_delivery_is_ready_at_its_very_millisecond() {
        let engine = queue_engine().await;
        let queue = engine.queue();
        let delay = Duration::from_millis(300);
        let sample = Sample::numbered(1, engine.now());
        queue.publish(vec![sample.publication(Route::Retry { delay })]).await.expect("it is confirmed");
        assert_eq!(engine.queue.next_due(), Some(engine.now().plus(delay)));
        engine.pass(delay - Duration::from_millis(1));
        assert_eq!(queue.depths().await.expect("it answers").retry, 0);
        engine.pass(Duration::from_millis(1));
        assert_eq!(queue.depths().await.expect("it answers").retry, 1);
        assert_eq!(engine.queue.next_due(), None);
    }

    #[tokio::test]
    async fn a_refused_publish_does_nothing_and_a_lost_confirm_may_have_done_it() {
        let engine = queue_engine().await;
        let queue = engine.queue();
        let sample = Sample::numbered(1, engine.now());
        let reason = || "asked for".to_owned();
        for (fault, published) in [
            (PublishFault::Refused { reason: reason() }, 0),
            (PublishFault::LostBefore { reason: reason() }, 0),
            (PublishFault::LostAfter { reason: reason() }, 1),
            (PublishFault::None, 2),
        ] {
            engine.queue.fail_publishes(fault.clone());
            let result = queue.publish(vec![sample.first()]).await;
            let is_as_asked = match fault {
                PublishFault::None => result.is_ok(),
                PublishFault::Refused { .. } => matches!(result, Err(PublishError::Refused { .. })),
                PublishFault::LostBefore { .. } | PublishFault::LostAfter { .. } => {
                    matches!(result, Err(PublishError::InDoubt { .. }))
                }
            };
            assert!(is_as_asked, "{result:?}");
            assert_eq!(queue.depths().await.expect("it answers").first, published);
        }
    }

    #[tokio::test]
    async fn a_crash_ends_sources_and_loses_leases() {
        let engine = queue_engine().await;
        let queue = engine.queue();
        let sample = Sample::numbered(1, engine.now());
        queue.publish(vec![sample.first()]).await.expect("it is confirmed");
        let mut before = queue.consume(WorkKind::First, 10).await.expect("work can be taken");
        let lease = soon(before.next()).await.expect("it is open");
        engine.queue.crash();
        assert!(soon(before.next()).await.is_err());
        let mut after = queue.consume(WorkKind::First, 10).await.expect("work can be taken");
        let again = soon(after.next()).await.expect("it is open");
        lease.ticket.acknowledge();
        again.ticket.give_back();
        assert!(
            soon(after.next()).await.expect("it comes again").redelivered,
            "the old lease counts for nothing"
        );
    }

    #[tokio::test]
    async fn a_store_that_is_away_says_so() {
        let engine = store_engine().await;
        engine.outage.begin("asked for");
        assert!(engine.room().summaries().await.is_err());
        assert!(engine.leadership().try_lead("any").await.is_err());
        engine.outage.end();
        assert!(engine.room().summaries().await.is_ok());
    }
}
