//! The deliveries queue and the journal, as one life of a process sees them.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use postrider_contract::clock::Timestamp;
use postrider_contract::delivery::Work;
use postrider_contract::journal::{JournalBatch, JournalRecord};
use postrider_contract::ports::{
    IntakeSource, Journal, JournalSource, Lease, ProducerMessage, Publication, PublishError, QueueDepths,
    QueueError, Stray, StraySource, WorkKind, WorkQueue, WorkSource,
};
use tokio::time::{Instant, sleep, sleep_until};

use super::effect::{Effect, Mutation, Role};
use super::intake::{message_name, stray_name};
use super::life::{Life, Untold};

/// How far behind its promise a mutated role is.
const TOO_LATE: Duration = Duration::from_millis(40);

#[derive(Clone)]
pub(super) struct SimulatedQueue {
    pub(super) life: Arc<Life>,
}

impl SimulatedQueue {
    async fn publish_one(&self, publication: Publication) -> Result<(), Untold> {
        let world = &self.life.world;
        let what = format!("publishes {} by {:?}", name_of(&publication.work), publication.route);
        let inner = async {
            let published = world.queue.publish(vec![publication]).await;
            world.parked.notify_one();
            published
        };
        let told = self.life.perform(Effect::Publish, || what, inner).await;
        match told {
            Err(Untold::Returned) if world.is_mutated(Mutation::NotMandatory) => Ok(()),
            Err(untold) => Err(untold),
            Ok(result) => result.map_err(|_| Untold::Refused),
        }
    }

    /// All go out together, each meets its own fate.
    async fn publish_all(&self, publications: Vec<Publication>) -> Result<(), PublishError> {
        let (mut confirmed, mut first_error) = (0, None);
        for publication in publications {
            match self.publish_one(publication).await {
                Ok(()) => confirmed += 1,
                Err(untold) => first_error = first_error.or(Some(untold)),
            }
        }
        match first_error {
            None => Ok(()),
            // "Refused" would say that nothing has happened at all.
            Some(_) if confirmed > 0 => Err(Untold::Doubt.into()),
            Some(untold) => Err(untold.into()),
        }
    }

    async fn append_one(&self, batch: JournalBatch) -> Result<(), PublishError> {
        let records: Vec<_> = batch.records.iter().map(|record| record_name(record)).collect();
        let what = format!("journals {}", records.join(", "));
        let told = self.life.perform(Effect::Append, || what, self.life.world.queue.append(batch)).await;
        told.map_err(PublishError::from)?
    }
}

#[async_trait]
impl WorkQueue for SimulatedQueue {
    async fn publish(&self, publications: Vec<Publication>) -> Result<(), PublishError> {
        let mutation = self.life.world.scenario.mutation;
        if mutation.is_some_and(|mutation| mutation.hurries_publishes_of(self.life.role)) {
            let queue = self.clone();
            tokio::spawn(async move {
                sleep(TOO_LATE).await;
                drop(queue.publish_all(publications).await);
            });
            return Ok(());
        }
        self.publish_all(publications).await
    }

    async fn consume(&self, kind: WorkKind, prefetch: u16) -> Result<Box<dyn WorkSource>, QueueError> {
        let inner = self.life.world.queue.consume(kind, prefetch).await?;
        Ok(Box::new(Source::of(&self.life, inner)))
    }

    async fn depths(&self) -> Result<QueueDepths, QueueError> {
        self.life.while_alive().await;
        self.life.world.queue.depths().await
    }

    fn check_writable(&self) -> Result<(), QueueError> {
        if self.life.world.is_broker_away() {
            return Err(QueueError::Unavailable { reason: "away".to_owned() });
        }
        Ok(())
    }

    async fn close(&self) {}
}

#[async_trait]
impl Journal for SimulatedQueue {
    async fn append(&self, mut batch: JournalBatch) -> Result<(), PublishError> {
        let world = &self.life.world;
        if self.life.role == Role::Worker {
            if world.is_mutated(Mutation::HoldUnjournaled) {
                batch.records.retain(|record| !matches!(**record, JournalRecord::Held(_)));
            }
            if world.is_mutated(Mutation::AcknowledgeBeforeJournal) {
                let queue = self.clone();
                tokio::spawn(async move {
                    sleep(TOO_LATE).await;
                    drop(queue.append_one(batch).await);
                });
                return Ok(());
            }
        }
        self.append_one(batch).await
    }

    async fn read(&self, prefetch: u16) -> Result<Box<dyn JournalSource>, QueueError> {
        let inner = self.life.world.queue.read(prefetch).await?;
        Ok(Box::new(Source::of(&self.life, inner)))
    }

    async fn settled_until(&self, now: Timestamp) -> Result<Timestamp, QueueError> {
        self.life.while_alive().await;
        self.life.world.queue.settled_until(now).await
    }
}

/// What all kinds of source have in common.
#[async_trait]
pub(super) trait Giving<T>: Send {
    /// The bug by which a lease of it is let go of as soon as it is taken.
    const MADE_LIGHT_OF: Option<Mutation>;

    async fn give(&mut self) -> Result<Lease<T>, QueueError>;
}

macro_rules! gives {
    ($($source:ident gives $message:ty, named by $name:expr, made light of by $mutation:expr;)+) => {$(
        #[async_trait]
        impl Giving<$message> for Box<dyn $source> {
            const MADE_LIGHT_OF: Option<Mutation> = $mutation;

            async fn give(&mut self) -> Result<Lease<$message>, QueueError> {
                self.next().await
            }
        }

        #[async_trait]
        impl $source for Source<$message, Box<dyn $source>> {
            async fn next(&mut self) -> Result<Lease<$message>, QueueError> {
                self.take($name).await
            }
        }
    )+};
}

gives! {
    WorkSource gives Work, named by name_of, made light of by Some(Mutation::AcknowledgeAtTake);
    JournalSource gives JournalBatch, named by batch_name, made light of by None;
    IntakeSource gives ProducerMessage, named by message_name,
        made light of by Some(Mutation::AcknowledgeBeforeAccepted);
    StraySource gives Stray, named by stray_name, made light of by Some(Mutation::AcknowledgeStrayAtTake);
}

pub(super) struct Source<T, S> {
    life: Arc<Life>,
    inner: S,
    /// What was redelivered and is overtaken by what came later.
    overtaken: Vec<(Instant, Lease<T>)>,
}

impl<T: Send, S: Giving<T>> Source<T, S> {
    pub(super) fn of(life: &Arc<Life>, inner: S) -> Self {
        Source { life: Arc::clone(life), inner, overtaken: Vec::new() }
    }

    /// Safe to cancel: what is overtaken stays in the source.
    async fn take(&mut self, name: fn(&T) -> String) -> Result<Lease<T>, QueueError> {
        loop {
            let next = self.overtaken.iter().enumerate().min_by_key(|(_, (at, _))| *at);
            let next = next.map(|(index, (at, _))| (index, *at));
            let until = async {
                match next {
                    Some((index, at)) => {
                        sleep_until(at).await;
                        index
                    }
                    None => std::future::pending().await,
                }
            };
            let lease = tokio::select! {
                biased;
                () = self.life.dead.cancelled() => std::future::pending().await,
                index = until => {
                    let (_, lease) = self.overtaken.swap_remove(index);
                    return Ok(lease);
                }
                lease = self.inner.give() => lease?,
            };
            let what = name(&lease.message);
            let ticket = self.life.hold(lease.ticket, what, S::MADE_LIGHT_OF);
            let lease = Lease { message: lease.message, redelivered: lease.redelivered, ticket };
            let world = &self.life.world;
            if lease.redelivered && world.is_in_trouble() && world.chance.between(0, 2) == 0 {
                let at = Instant::now() + Duration::from_millis(world.chance.between(1, 3_000));
                self.overtaken.push((at, lease));
                continue;
            }
            return Ok(lease);
        }
    }
}

fn batch_name(batch: &JournalBatch) -> String {
    format!("a batch of {} records", batch.records.len())
}

pub(super) fn name_of(work: &Work) -> String {
    match work {
        Work::Deliver(delivery) => {
            let position = delivery.position;
            format!(
                "{} at try {} (hold {}, deferral {}, {:?})",
                delivery.reference.id,
                position.attempt.number(),
                position.holds,
                position.deferrals,
                delivery.check
            )
        }
        Work::FanOut(work) => format!("a fan-out of {}", work.deliveries.len()),
    }
}

fn record_name(record: &JournalRecord) -> String {
    match record {
        JournalRecord::Accepted(record) => format!("{} accepted", record.event.id),
        JournalRecord::Attempted(record) => {
            format!("try {} of {}: {:?}", record.attempt.number.number(), record.delivery.id, record.outcome)
        }
        JournalRecord::Held(record) => {
            let reference = &record.delivery.reference;
            format!(
                "{} held for the {}. time: {:?}",
                reference.id, record.delivery.position.holds, record.why
            )
        }
        JournalRecord::Deferred(record) => format!("{} put off to {}", record.delivery.id, record.due_at),
        JournalRecord::Released(record) => format!("{} released", record.delivery.id),
        JournalRecord::Concluded(record) => {
            format!("{} concluded: {:?}", record.delivery.id, record.conclusion)
        }
    }
}
