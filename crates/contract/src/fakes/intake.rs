//! What producers publish over AMQP, in memory: the queue of it, and what of it is refused or put off.

use std::sync::Arc;

use async_trait::async_trait;

use super::mailbox::Mailbox;
use super::watched::Watched;
use crate::ports::{
    IntakeSource, Lease, LeaseTicket, ProducerMessage, PutOffQueue, QueueError, Refusal, RefusedQueue,
    Settlement,
};

#[derive(Debug, Default)]
struct State {
    events: Mailbox<ProducerMessage>,
    put_off: Vec<ProducerMessage>,
    refused: Vec<(ProducerMessage, Refusal)>,
    sources_ever: u64,
}

/// Clones share one queue.
#[derive(Clone, Debug)]
pub struct FakeIntake {
    state: Arc<Watched<State>>,
}

impl Default for FakeIntake {
    fn default() -> Self {
        FakeIntake { state: Arc::new(Watched::new(State::default())) }
    }
}

impl FakeIntake {
    /// The broker has it from now on.
    pub fn produce(&self, message: ProducerMessage) {
        self.state.change(|state| state.events.put(message));
    }

    /// Begins to take what comes in, at most `prefetch` messages at once.
    #[must_use]
    pub fn take_in(&self, prefetch: u16) -> Box<dyn IntakeSource> {
        let number = self.state.change(|state| {
            state.sources_ever += 1;
            state.sources_ever
        });
        Box::new(Source { state: Arc::clone(&self.state), prefetch, number })
    }

    /// What was put off comes in again.
    pub fn come_in_again(&self) {
        self.state.change(|state| {
            std::mem::take(&mut state.put_off).into_iter().for_each(|message| state.events.put(message));
        });
    }

    /// Everything that nothing was done about: ready, in hand or put off; in no order that means anything.
    #[must_use]
    pub fn unacknowledged(&self) -> Vec<ProducerMessage> {
        self.state.read(|state| {
            let waiting = state.events.unacknowledged().map(|message| &message.bytes);
            waiting.chain(&state.put_off).cloned().collect()
        })
    }

    #[must_use]
    pub fn refused(&self) -> Vec<(ProducerMessage, Refusal)> {
        self.state.read(|state| state.refused.clone())
    }
}

#[async_trait]
impl RefusedQueue for FakeIntake {
    async fn refuse(&self, message: &ProducerMessage, refusal: &Refusal) -> Result<(), QueueError> {
        self.state.change(|state| state.refused.push((message.clone(), refusal.clone())));
        Ok(())
    }
}

#[async_trait]
impl PutOffQueue for FakeIntake {
    async fn put_off(&self, message: &ProducerMessage) -> Result<(), QueueError> {
        self.state.change(|state| state.put_off.push(message.clone()));
        Ok(())
    }
}

struct Source {
    state: Arc<Watched<State>>,
    prefetch: u16,
    number: u64,
}

#[async_trait]
impl IntakeSource for Source {
    async fn next(&mut self) -> Result<Lease<ProducerMessage>, QueueError> {
        let (number, message) = self.state.when(|state| state.events.take(self.number, self.prefetch)).await;
        let settlement = Taken { state: Arc::clone(&self.state), source: self.number, number };
        Ok(Lease {
            redelivered: message.redelivered,
            message: message.bytes,
            ticket: LeaseTicket::new(Box::new(settlement)),
        })
    }
}

struct Taken {
    state: Arc<Watched<State>>,
    source: u64,
    number: u64,
}

impl Settlement for Taken {
    fn acknowledge(self: Box<Self>) {
        self.state.change(|state| state.events.acknowledge(self.source, self.number));
    }

    fn give_back(self: Box<Self>) {
        self.state.change(|state| state.events.give_back(self.source, self.number));
    }
}
