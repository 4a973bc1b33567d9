//! Strays in memory: the places of the fake queue that nobody takes work from.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;

use super::mailbox::Mailbox;
use super::queue::{FakeQueue, JOURNAL, State};
use super::watched::Watched;
use crate::ports::{
    Lease, LeaseTicket, QueueError, Settlement, Stray, StrayCause, StrayContents, StrayPlace, StraySource,
    Strays,
};

/// A stray as it lies there; whoever takes it reads it anew.
#[derive(Clone, Debug)]
pub(super) struct Fallen {
    pub(super) cause: StrayCause,
    pub(super) origin: String,
    pub(super) bytes: Bytes,
}

impl Fallen {
    fn read(self) -> Stray {
        let contents = if self.origin == JOURNAL {
            StrayContents::of_journal(&self.bytes)
        } else {
            StrayContents::of_work(&self.bytes)
        };
        Stray { cause: self.cause, origin: self.origin, contents, bytes: self.bytes }
    }
}

#[derive(Debug, Default)]
pub(super) struct FallenPlaces {
    places: HashMap<StrayPlace, Mailbox<Fallen>>,
    kept: Vec<Fallen>,
}

impl FallenPlaces {
    pub(super) fn put(&mut self, place: StrayPlace, fallen: Fallen) {
        self.place(place).put(fallen);
    }

    pub(super) fn ready(&self, place: StrayPlace) -> u64 {
        self.places.get(&place).map_or(0, Mailbox::ready)
    }

    /// What is still to be dealt with.
    pub(super) fn unacknowledged(&self) -> impl Iterator<Item = &Fallen> {
        self.places.values().flat_map(Mailbox::unacknowledged).map(|message| &message.bytes)
    }

    pub(super) fn kept(&self) -> u64 {
        self.kept.len() as u64
    }

    pub(super) fn lose_leases(&mut self) {
        self.places.values_mut().for_each(Mailbox::lose_leases);
    }

    pub(super) fn set_aside(&self) -> Vec<(Bytes, String)> {
        let dead = self.places.get(&StrayPlace::Dead).into_iter().flat_map(Mailbox::unacknowledged);
        let of = |fallen: &Fallen| match &fallen.cause {
            StrayCause::SetAside { reason } => Some((fallen.bytes.clone(), reason.clone())),
            StrayCause::Unroutable | StrayCause::GivenOutTooOften => None,
        };
        dead.map(|message| &message.bytes).chain(&self.kept).filter_map(of).collect()
    }

    fn place(&mut self, place: StrayPlace) -> &mut Mailbox<Fallen> {
        self.places.entry(place).or_default()
    }
}

#[async_trait]
impl Strays for FakeQueue {
    async fn gather(&self, place: StrayPlace, prefetch: u16) -> Result<Box<dyn StraySource>, QueueError> {
        self.state.change(|state| {
            if state.is_closed {
                return Err(QueueError::Closed);
            }
            state.sources_ever += 1;
            let (life, number) = (state.life, state.sources_ever);
            let source = Source { state: Arc::clone(&self.state), place, prefetch, life, number };
            Ok(Box::new(source) as Box<dyn StraySource>)
        })
    }

    async fn keep(&self, stray: &Stray) -> Result<(), QueueError> {
        let Stray { cause, origin, bytes, contents: _ } = stray.clone();
        let kept = self.write(|state| state.fallen.kept.push(Fallen { cause, origin, bytes }));
        kept.map_err(|error| QueueError::Unavailable { reason: error.to_string() })
    }

    async fn review(&self) -> Result<u64, QueueError> {
        let mut count = 0;
        let reviewed = self.write(|state| {
            let kept = std::mem::take(&mut state.fallen.kept);
            count = kept.len() as u64;
            kept.into_iter().for_each(|fallen| state.fallen.put(StrayPlace::Dead, fallen));
        });
        reviewed.map(|()| count).map_err(|error| QueueError::Unavailable { reason: error.to_string() })
    }
}

struct Source {
    state: Arc<Watched<State>>,
    place: StrayPlace,
    prefetch: u16,
    life: u64,
    number: u64,
}

#[async_trait]
impl StraySource for Source {
    async fn next(&mut self) -> Result<Lease<Stray>, QueueError> {
        let (number, message) = self
            .state
            .when(|state| {
                if state.is_closed || state.life != self.life {
                    return Some(Err(QueueError::Closed));
                }
                state.fallen.place(self.place).take(self.number, self.prefetch).map(Ok)
            })
            .await?;
        let settlement = StraySettlement {
            state: Arc::clone(&self.state),
            place: self.place,
            source: self.number,
            number,
        };
        Ok(Lease {
            redelivered: message.redelivered,
            message: message.bytes.read(),
            ticket: LeaseTicket::new(Box::new(settlement)),
        })
    }
}

struct StraySettlement {
    state: Arc<Watched<State>>,
    place: StrayPlace,
    source: u64,
    number: u64,
}

impl Settlement for StraySettlement {
    fn acknowledge(self: Box<Self>) {
        self.state.change(|state| state.fallen.place(self.place).acknowledge(self.source, self.number));
    }

    fn give_back(self: Box<Self>) {
        self.state.change(|state| state.fallen.place(self.place).give_back(self.source, self.number));
    }
}
