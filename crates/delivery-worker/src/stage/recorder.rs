//! Queue, journal and leases that write down, in order, what they were asked.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use postrider_contract::clock::{Clock, Timestamp};
use postrider_contract::delivery::{Delivery, Work};
use postrider_contract::journal::{JournalBatch, JournalRecord};
use postrider_contract::ports::{
    Journal, JournalSource, LeaseTicket, Publication, PublishError, QueueDepths, QueueError, Route,
    Settlement, WorkKind, WorkQueue, WorkSource,
};
use postrider_service::journal_writer::JournalWriter;
use postrider_service::lifecycle::Stop;

use crate::settle::{Settle, Trouble};
use crate::taken::Taken;

/// Clones share one record.
#[derive(Clone, Default)]
pub struct Recorder(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    steps: Vec<String>,
    published: Vec<Publication>,
    journaled: Vec<JournalRecord>,
    failing_publishes: usize,
    failing_appends: usize,
}

impl Recorder {
    pub fn steps(&self) -> Vec<String> {
        self.0.lock().unwrap().steps.clone()
    }

    pub fn published(&self) -> Vec<Publication> {
        self.0.lock().unwrap().published.clone()
    }

    /// The deliveries that were published, each with its route.
    pub fn deliveries(&self) -> Vec<(Route, Delivery)> {
        let published = self.published().into_iter();
        let delivered = published.map(|publication| match publication.work {
            Work::Deliver(delivery) => (publication.route, delivery),
            Work::FanOut(_) => panic!("nobody publishes a fan-out here"),
        });
        delivered.collect()
    }

    pub fn journaled(&self) -> Vec<JournalRecord> {
        self.0.lock().unwrap().journaled.clone()
    }

    pub fn fail_publishes(&self, count: usize) {
        self.0.lock().unwrap().failing_publishes = count;
    }

    pub fn fail_appends(&self, count: usize) {
        self.0.lock().unwrap().failing_appends = count;
    }

    fn note(&self, step: &str) {
        self.0.lock().unwrap().steps.push(step.to_owned());
    }

    pub fn ticket(&self) -> LeaseTicket {
        LeaseTicket::new(Box::new(self.clone()))
    }
}

impl Settlement for Recorder {
    fn acknowledge(self: Box<Self>) {
        self.note("acknowledged");
    }

    fn give_back(self: Box<Self>) {
        self.note("given back");
    }
}

fn in_doubt() -> PublishError {
    PublishError::InDoubt { reason: "the connection broke".to_owned() }
}

#[async_trait]
impl WorkQueue for Recorder {
    async fn publish(&self, publications: Vec<Publication>) -> Result<(), PublishError> {
        let mut state = self.0.lock().unwrap();
        if state.failing_publishes > 0 {
            state.failing_publishes -= 1;
            state.steps.push("publish in doubt".to_owned());
            return Err(in_doubt());
        }
        state.steps.push(format!("published {}", publications.len()));
        state.published.extend(publications);
        Ok(())
    }

    async fn consume(&self, _: WorkKind, _: u16) -> Result<Box<dyn WorkSource>, QueueError> {
        Err(QueueError::Closed)
    }

    async fn depths(&self) -> Result<QueueDepths, QueueError> {
        Ok(QueueDepths::default())
    }

    fn check_writable(&self) -> Result<(), QueueError> {
        Ok(())
    }

    async fn close(&self) {}
}

#[async_trait]
impl Journal for Recorder {
    async fn append(&self, batch: JournalBatch) -> Result<(), PublishError> {
        let mut state = self.0.lock().unwrap();
        if state.failing_appends > 0 {
            state.failing_appends -= 1;
            state.steps.push("journal in doubt".to_owned());
            return Err(in_doubt());
        }
        state.steps.push(format!("journaled {}", batch.records.len()));
        state.journaled.extend(batch.records.into_iter().map(Arc::unwrap_or_clone));
        Ok(())
    }

    async fn read(&self, _: u16) -> Result<Box<dyn JournalSource>, QueueError> {
        Err(QueueError::Closed)
    }

    async fn settled_until(&self, now: Timestamp) -> Result<Timestamp, QueueError> {
        Ok(now)
    }
}

/// Settles into the record. Runs on the current runtime.
pub fn settle(recorder: &Recorder, clock: Arc<dyn Clock>) -> Settle {
    Settle {
        queue: Arc::new(recorder.clone()),
        journal: JournalWriter::start(Arc::new(recorder.clone()), Arc::clone(&clock)),
        clock,
        trouble: Trouble::default(),
        stop: Stop::default(),
    }
}

pub fn taken(recorder: &Recorder, delivery: Delivery) -> Taken {
    let kind = if delivery.parked_for > Duration::ZERO { WorkKind::Retry } else { WorkKind::First };
    Taken { delivery, kind, redelivered: false, ticket: recorder.ticket() }
}
