//! What comes over AMQP, and what fell off its path, as one life of a process sees them.

use std::sync::Arc;

use async_trait::async_trait;
use postrider_contract::ports::{
    IntakeSource, ProducerMessage, PutOffQueue, QueueError, Refusal, RefusedQueue, Stray, StrayContents,
    StrayPlace, StraySource, Strays,
};

use super::effect::Effect;
use super::life::{Life, Untold};
use super::queue::{Source, name_of};

/// The queues that producers' messages are put into.
#[derive(Clone)]
pub(super) struct SimulatedIntake {
    pub(super) life: Arc<Life>,
}

impl SimulatedIntake {
    pub(super) fn take_in(&self, prefetch: u16) -> Box<dyn IntakeSource> {
        let inner = self.life.world.intake.take_in(prefetch);
        Box::new(Source::of(&self.life, inner))
    }
}

impl From<Untold> for QueueError {
    fn from(_: Untold) -> Self {
        QueueError::Unavailable { reason: "no confirm".to_owned() }
    }
}

pub(super) fn message_name(message: &ProducerMessage) -> String {
    format!("a producer's {}", message.message_id.as_deref().unwrap_or("message"))
}

#[async_trait]
impl RefusedQueue for SimulatedIntake {
    async fn refuse(&self, message: &ProducerMessage, refusal: &Refusal) -> Result<(), QueueError> {
        let what = || format!("refuses {}: {}", message_name(message), refusal.code);
        let refused = self.life.world.intake.refuse(message, refusal);
        self.life.perform(Effect::Publish, what, refused).await?
    }
}

#[async_trait]
impl PutOffQueue for SimulatedIntake {
    async fn put_off(&self, message: &ProducerMessage) -> Result<(), QueueError> {
        let what = || format!("puts off {}", message_name(message));
        self.life.perform(Effect::Publish, what, self.life.world.intake.put_off(message)).await?
    }
}

#[derive(Clone)]
pub(super) struct SimulatedStrays {
    pub(super) life: Arc<Life>,
}

pub(super) fn stray_name(stray: &Stray) -> String {
    let contents = match &stray.contents {
        StrayContents::Work(work) => name_of(work),
        StrayContents::Journal(batch) => format!("a batch of {} records", batch.records.len()),
        StrayContents::Produced(message) => message_name(message),
        StrayContents::Unreadable(_) => "what cannot be read".to_owned(),
    };
    format!("a stray ({:?}), {contents}", stray.cause)
}

#[async_trait]
impl Strays for SimulatedStrays {
    async fn gather(&self, place: StrayPlace, prefetch: u16) -> Result<Box<dyn StraySource>, QueueError> {
        let inner = self.life.world.queue.gather(place, prefetch).await?;
        Ok(Box::new(Source::of(&self.life, inner)))
    }

    async fn keep(&self, stray: &Stray) -> Result<(), QueueError> {
        let what = || format!("keeps {}", stray_name(stray));
        self.life.perform(Effect::Publish, what, self.life.world.queue.keep(stray)).await?
    }

    async fn review(&self) -> Result<u64, QueueError> {
        let what = || "looks at what is kept".to_owned();
        self.life.perform(Effect::Read, what, self.life.world.queue.review()).await?
    }
}
