//! One life of a process. When it ends, nothing that it still does reaches the world, and what it had in hand goes
//! back to the queue, marked as redelivered.

use std::collections::BTreeMap;
use std::fmt;
use std::future::{Future, pending};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use postrider_contract::ports::{LeaseTicket, PublishError, Settlement, StoreError};
use postrider_service::lifecycle::Stop;
use tokio_util::sync::CancellationToken;

use super::effect::{Effect, Fate, Mutation, Role};
use super::world::World;

/// What a role is told instead of a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Untold {
    /// It may have happened.
    Doubt,
    /// It has not happened.
    Refused,
    /// It has not happened: no queue took it.
    Returned,
}

impl From<Untold> for PublishError {
    fn from(untold: Untold) -> Self {
        match untold {
            Untold::Doubt => PublishError::InDoubt { reason: "no confirm".to_owned() },
            Untold::Refused => PublishError::Refused { reason: "no connection".to_owned() },
            Untold::Returned => PublishError::Refused { reason: "no queue took it".to_owned() },
        }
    }
}

impl From<Untold> for StoreError {
    fn from(_: Untold) -> Self {
        StoreError::Unavailable { reason: "no answer".to_owned() }
    }
}

#[derive(Default)]
struct Hands {
    leases: BTreeMap<u64, LeaseTicket>,
    taken_ever: u64,
}

pub(super) struct Life {
    pub(super) world: Arc<World>,
    pub(super) role: Role,
    pub(super) number: u64,
    pub(super) dead: CancellationToken,
    /// Ends the tasks of a dead process, which could do nothing but turn.
    pub(super) stop: Stop,
    hands: Mutex<Hands>,
}

impl fmt::Display for Life {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}", World::describe(self.role), self.number)
    }
}

impl Life {
    pub(super) fn begin(world: &Arc<World>, role: Role, number: u64) -> Arc<Self> {
        Arc::new(Life {
            world: Arc::clone(world),
            role,
            number,
            dead: CancellationToken::new(),
            stop: Stop::default(),
            hands: Mutex::default(),
        })
    }

    fn hands(&self) -> MutexGuard<'_, Hands> {
        self.hands.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is_alive(&self) -> bool {
        !self.dead.is_cancelled()
    }

    /// Never comes back to the dead.
    pub(super) async fn while_alive(&self) {
        if !self.is_alive() {
            pending::<()>().await;
        }
    }

    /// Its end: at once, wherever it is.
    pub(super) fn crash(&self, when: &str) {
        if !self.is_alive() {
            return;
        }
        self.dead.cancel();
        self.lose_leases();
        self.world.step(&format!("{self}: dies {when}"));
        self.stop.halt();
    }

    /// The messages go back to the queue, and what is settled from now on counts for nothing.
    pub(super) fn lose_leases(&self) {
        let lost = std::mem::take(&mut self.hands().leases);
        self.world.excuse(lost.len());
    }

    /// A lease as the role sees it. With the bug that makes light of such leases, it is let go of at once.
    pub(super) fn hold(
        self: &Arc<Self>,
        ticket: LeaseTicket,
        what: String,
        made_light_of: Option<Mutation>,
    ) -> LeaseTicket {
        let mut hands = self.hands();
        hands.taken_ever += 1;
        let number = hands.taken_ever;
        hands.leases.insert(number, ticket);
        drop(hands);
        let held = Held { life: Arc::clone(self), number, what };
        if made_light_of.is_some_and(|mutation| self.world.is_mutated(mutation)) {
            held.let_go();
            self.world.step(&format!("{self}: lets go of {} at once", held.what));
        }
        LeaseTicket::new(Box::new(held))
    }

    /// Does one thing to the world, as its fate has it. Does not come back where the process dies.
    pub(super) async fn perform<T>(
        &self,
        effect: Effect,
        what: impl FnOnce() -> String,
        inner: impl Future<Output = T>,
    ) -> Result<T, Untold> {
        self.while_alive().await;
        let fate = self.world.fate(self, effect);
        // What only reads is not worth a line, as long as nothing comes of it.
        if effect == Effect::Read && fate == Fate::Happens {
            return Ok(inner.await);
        }
        let what = what();
        let say = |how: &str| self.world.step(&format!("{self}: {what}{how}"));
        match fate {
            Fate::Happens | Fate::Cut | Fate::Doubled | Fate::Misrouted | Fate::GivenUp => {
                let result = inner.await;
                say("");
                Ok(result)
            }
            Fate::ToldLate(silence) => {
                let result = inner.await;
                say(", and is told late");
                tokio::time::sleep(silence).await;
                self.while_alive().await;
                Ok(result)
            }
            Fate::HappensLate(silence) => {
                tokio::time::sleep(silence).await;
                self.while_alive().await;
                let result = inner.await;
                say(", late");
                Ok(result)
            }
            Fate::DoubtBefore => {
                say(" – in doubt, it did not happen");
                Err(Untold::Doubt)
            }
            Fate::DoubtAfter => {
                inner.await;
                say(" – in doubt, it happened");
                Err(Untold::Doubt)
            }
            Fate::Refused => {
                say(" – refused");
                Err(Untold::Refused)
            }
            Fate::Returned => {
                say(" – sent back");
                Err(Untold::Returned)
            }
            Fate::CrashBefore => {
                self.crash(&format!("before: {what}"));
                pending().await
            }
            Fate::CrashAfter => {
                inner.await;
                self.crash(&format!("after: {what}"));
                pending().await
            }
        }
    }
}

/// A message in the hands of one life.
struct Held {
    life: Arc<Life>,
    number: u64,
    what: String,
}

impl Held {
    fn let_go(&self) {
        let ticket = self.life.hands().leases.remove(&self.number);
        if let Some(ticket) = ticket {
            ticket.acknowledge();
        }
    }
}

impl Settlement for Held {
    fn acknowledge(self: Box<Self>) {
        let life = &self.life;
        if !life.is_alive() {
            return;
        }
        match life.world.fate(life, Effect::Acknowledge) {
            Fate::Happens
            | Fate::ToldLate(_)
            | Fate::HappensLate(_)
            | Fate::Cut
            | Fate::Doubled
            | Fate::Misrouted
            | Fate::GivenUp => {
                self.let_go();
                life.world.step(&format!("{life}: lets go of {}", self.what));
            }
            Fate::DoubtBefore | Fate::Refused | Fate::Returned | Fate::DoubtAfter => {
                // The connection breaks with the acknowledgement on its way: the message comes again.
                drop(life.hands().leases.remove(&self.number));
                life.world.step(&format!("{life}: lets go of {} – lost on the way", self.what));
            }
            Fate::CrashBefore => life.crash(&format!("before it lets go of {}", self.what)),
            Fate::CrashAfter => {
                self.let_go();
                life.crash(&format!("after it let go of {}", self.what));
            }
        }
    }

    fn give_back(self: Box<Self>) {
        drop(self.life.hands().leases.remove(&self.number));
    }
}
