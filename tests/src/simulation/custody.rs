//! Custody: who holds each delivery that was promised with a 202.
//!
//! At every moment, for each of them, one of these holds: it is concluded in the log or in the journal; it waits in
//! the room, or a record of the journal will put it there; or a message carries it that will be tried, which means
//! that no record is *past* it. The last part is the order of settling too: a record of a try implies that what
//! follows the try exists. And the event's accepted record is in the journal or in the log.
//!
//! A row of the room that is marked as released is no custody: the mark says that a message has it.
//!
//! What a producer published over AMQP was promised as soon as the broker had it. It is in its queue, or stands among
//! those refused, or the request that its name stands for was accepted, and then all of the above holds for its event.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use bytes::Bytes;
use postrider_contract::delivery::{Position, Work};
use postrider_contract::ids::{DeliveryId, EventId, TenantId};
use postrider_contract::log::{Rank, fold};
use postrider_contract::ports::{IntakeReceipt, KeyName, ProducerMessage};
use postrider_contract::wire::{decode_journal_batch, decode_work};

use super::world::World;

/// What a message of the journal says, as far as custody goes.
#[derive(Debug, Default)]
struct Told {
    ranks: Vec<(DeliveryId, Rank)>,
    holds: Vec<(DeliveryId, Position)>,
    accepted: Vec<EventId>,
}

/// What must become of a producer's message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Produced {
    /// An event, once.
    Event,
    /// Kept with the reason why it is none.
    Refusal,
}

/// What was promised, and what is known of where it is.
pub(super) struct Custody {
    tenant: TenantId,
    events: BTreeMap<EventId, Vec<DeliveryId>>,
    /// Not known to be settled for good: a concluded row never goes.
    open: Vec<DeliveryId>,
    open_events: Vec<EventId>,
    /// Producers' messages that nothing was done about yet, by their name.
    produced: BTreeMap<String, Produced>,
    /// Messages are read once.
    work: HashMap<Bytes, Arc<Vec<(DeliveryId, Position)>>>,
    journal: HashMap<Bytes, Arc<Told>>,
}

impl Custody {
    pub(super) fn new(tenant: TenantId) -> Self {
        Custody {
            tenant,
            events: BTreeMap::new(),
            open: Vec::new(),
            open_events: Vec::new(),
            produced: BTreeMap::new(),
            work: HashMap::new(),
            journal: HashMap::new(),
        }
    }

    /// A 202.
    pub(super) fn promise(&mut self, receipt: &IntakeReceipt) {
        let deliveries = receipt.deliveries.iter().map(|(delivery, _)| *delivery).collect();
        self.expect(receipt.event.clone(), deliveries);
    }

    fn expect(&mut self, event: EventId, deliveries: Vec<DeliveryId>) {
        self.open.extend(&deliveries);
        self.open_events.push(event.clone());
        self.events.insert(event, deliveries);
    }

    /// The broker has a message of this name.
    pub(super) fn produced(&mut self, name: String, kind: Produced) {
        self.produced.insert(name, kind);
    }

    /// Of messages that are let go of, that they were done with.
    fn check_produced(&mut self, world: &World) -> Result<(), String> {
        if self.produced.is_empty() {
            return Ok(());
        }
        let is_of = |message: &ProducerMessage, name: &str| message.message_id.as_deref() == Some(name);
        let (waiting, refused) = (world.intake.unacknowledged(), world.intake.refused());
        let is_gone = |name: &str| !waiting.iter().any(|message| is_of(message, name));
        let gone: Vec<(String, Produced)> = self
            .produced
            .iter()
            .filter(|(name, _)| is_gone(name))
            .map(|(name, kind)| (name.clone(), *kind))
            .collect();
        for (name, kind) in gone {
            let refusal = refused.iter().find(|(message, _)| is_of(message, &name)).map(|(_, why)| why);
            match (kind, refusal) {
                (Produced::Refusal, Some(_)) => {}
                (Produced::Refusal, None) => return Err(format!("{name} is not kept among those refused")),
                (Produced::Event, Some(why)) => return Err(format!("{name} is refused: {}", why.detail)),
                (Produced::Event, None) => {
                    let known = world.keyed.known(&self.tenant, &KeyName::Request(name.clone()));
                    let request = known.ok_or_else(|| format!("nobody holds {name}"))?;
                    let deliveries = request.matches.iter().map(|stored| stored.delivery).collect();
                    self.expect(request.event, deliveries);
                }
            }
            self.produced.remove(&name);
        }
        Ok(())
    }

    pub(super) fn promised(&self) -> &BTreeMap<EventId, Vec<DeliveryId>> {
        &self.events
    }

    /// What nobody holds, if anything.
    pub(super) fn check(&mut self, world: &World) -> Result<(), String> {
        self.check_produced(world)?;
        let (queue, log) = (&world.queue, &world.log);
        self.open.retain(|delivery| !log.rank(*delivery).is_some_and(Rank::is_concluded));
        self.open_events.retain(|event| !log.is_accepted(&self.tenant, event));
        if self.open.is_empty() && self.open_events.is_empty() {
            return Ok(());
        }
        let messages = queue.unacknowledged();
        let work: Vec<_> = messages.work.into_iter().map(|bytes| self.work_of(bytes)).collect();
        let journal: Vec<_> = messages.journal.into_iter().map(|bytes| self.told_by(bytes)).collect();
        for event in &self.open_events {
            if !journal.iter().any(|told| told.accepted.contains(event)) {
                return Err(format!("nobody knows that {event} was accepted"));
            }
        }
        for delivery in &self.open {
            let of_this = |(id, rank): &(DeliveryId, Rank)| (id == delivery).then_some(*rank);
            let told = journal.iter().flat_map(|told| told.ranks.iter().filter_map(of_this)).max();
            let rank = log.rank(*delivery).max(told);
            if rank.is_some_and(Rank::is_concluded) || log.is_waiting(*delivery) {
                continue;
            }
            let is_past = |position: Position| rank.is_some_and(|rank| rank.is_past(position));
            let will_wait = |(id, position): &(DeliveryId, Position)| {
                id == delivery && rank.is_none_or(|rank| Rank::held(*position) >= rank)
            };
            let is_carried = work
                .iter()
                .flat_map(|carried| carried.iter())
                .any(|(id, position)| id == delivery && !is_past(*position));
            if !is_carried && !journal.iter().any(|told| told.holds.iter().any(will_wait)) {
                return Err(format!("nobody holds delivery {delivery}, last known at {rank:?}"));
            }
        }
        Ok(())
    }

    fn work_of(&mut self, bytes: Bytes) -> Arc<Vec<(DeliveryId, Position)>> {
        let read = |bytes: &Bytes| match decode_work(bytes.clone()) {
            Ok(Work::Deliver(delivery)) => vec![(delivery.reference.id, delivery.position)],
            Ok(Work::FanOut(work)) => {
                work.deliveries.iter().map(|delivery| (delivery.reference.id, delivery.position)).collect()
            }
            Err(_) => Vec::new(),
        };
        Arc::clone(self.work.entry(bytes).or_insert_with_key(|bytes| Arc::new(read(bytes))))
    }

    fn told_by(&mut self, bytes: Bytes) -> Arc<Told> {
        let read = |bytes: &Bytes| {
            let Ok(batch) = decode_journal_batch(bytes.clone()) else { return Told::default() };
            let writes = fold(batch.records.into_iter().map(Arc::unwrap_or_clone));
            let hold = |position: &postrider_contract::delivery::Delivery| {
                (position.reference.id, position.position)
            };
            Told {
                ranks: writes.deliveries.iter().map(|row| (row.reference.id, row.rank)).collect(),
                holds: writes.holds.iter().map(|held| hold(&held.delivery)).collect(),
                accepted: writes.events.into_iter().map(|row| row.event.id).collect(),
            }
        };
        Arc::clone(self.journal.entry(bytes).or_insert_with_key(|bytes| Arc::new(read(bytes))))
    }
}
