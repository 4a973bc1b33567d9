//! Look-ups of names: one for each name at a time, shared by all who ask meanwhile, and bounded in number.
//!
//! It promises: a name that hangs holds one look-up however many tries wait for it; nothing is remembered past
//! the look-up itself; who gets no turn is told that it was our bound, and not the name, that it waited for.

use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use postrider_contract::attempt::FailureClass;
use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, timeout_at};

use super::failure::{CallFailure, LocalShortage};
use super::resolver::Resolver;

/// Each look-up may hold a blocking thread of the runtime, which has 512 at most; the rest are left to others.
pub(super) const MAX_LOOKUPS: usize = 128;

/// How long a turn is waited for. After that it is cheaper to wait in a delay lane than in a worker's slot.
const MAX_WAIT: Duration = Duration::from_secs(2);

/// How far one look-up is.
#[derive(Clone, Debug)]
enum Stage {
    /// It waits for its turn.
    Queued,
    /// The resolver was asked.
    Asked,
    Answered(Result<Arc<[IpAddr]>, Arc<io::Error>>),
}

type UnderWay = Arc<watch::Sender<Stage>>;

/// All look-ups of a client.
pub(super) struct Lookups {
    shared: Arc<Shared>,
}

struct Shared {
    resolver: Arc<dyn Resolver>,
    turns: Semaphore,
    under_way: Mutex<HashMap<Arc<str>, UnderWay>>,
}

impl Lookups {
    pub(super) fn new(resolver: Arc<dyn Resolver>, at_once: usize) -> Self {
        let (turns, under_way) = (Semaphore::new(at_once), Mutex::default());
        Lookups { shared: Arc::new(Shared { resolver, turns, under_way }) }
    }

    /// All addresses of a name. The caller ends it at `deadline`; a turn is waited for during half of the time at
    /// most, so that a resolver which then says nothing was given the other half.
    pub(super) async fn resolve(&self, name: &str, deadline: Instant) -> Result<Arc<[IpAddr]>, CallFailure> {
        let mut stage = self.join(name);
        let now = Instant::now();
        let until = now + (deadline.saturating_duration_since(now) / 2).min(MAX_WAIT);
        let asked = stage.wait_for(|stage| !matches!(stage, Stage::Queued));
        if timeout_at(until, asked).await.is_err() {
            return Err(CallFailure::NotMade(LocalShortage::Lookups));
        }
        let answered = stage.wait_for(|stage| matches!(stage, Stage::Answered(_))).await;
        match answered.map(|stage| stage.clone()) {
            Ok(Stage::Answered(Ok(addresses))) => Ok(addresses),
            Ok(Stage::Answered(Err(error))) => Err(CallFailure::of_lookup(&error)),
            Ok(Stage::Queued | Stage::Asked) | Err(_) => {
                Err(CallFailure::counted(FailureClass::Dns, "the look-up broke off"))
            }
        }
    }

    /// The look-up of this name that is under way, or a new one.
    fn join(&self, name: &str) -> watch::Receiver<Stage> {
        let mut under_way = self.shared.under_way();
        if let Some(lookup) = under_way.get(name) {
            return lookup.subscribe();
        }
        let (sender, receiver) = watch::channel(Stage::Queued);
        let (name, stage): (Arc<str>, UnderWay) = (name.into(), Arc::new(sender));
        under_way.insert(Arc::clone(&name), Arc::clone(&stage));
        drop(under_way);
        let entry = Entry { shared: Arc::clone(&self.shared), name, stage };
        // A task of its own: a resolver's thread goes on after the try has ended, and so must its turn.
        tokio::spawn(async move { entry.look_up().await });
        receiver
    }
}

impl Shared {
    fn under_way(&self) -> MutexGuard<'_, HashMap<Arc<str>, UnderWay>> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A look-up's place among those under way, left when this is dropped, also by a panic.
struct Entry {
    shared: Arc<Shared>,
    name: Arc<str>,
    stage: UnderWay,
}

impl Entry {
    async fn look_up(self) {
        let Ok(_turn) = self.shared.turns.acquire().await else { return };
        if self.leave_if_unwanted() {
            return;
        }
        self.stage.send_replace(Stage::Asked);
        let answer = self.shared.resolver.resolve(&self.name).await;
        // Left before the answer is told: who asks after it is told starts anew.
        self.leave();
        self.stage.send_replace(Stage::Answered(answer.map(Arc::from).map_err(Arc::new)));
    }

    /// Those who asked may have given up while it waited. Judged where nobody can join meanwhile.
    fn leave_if_unwanted(&self) -> bool {
        let mut under_way = self.shared.under_way();
        let is_unwanted = self.stage.receiver_count() == 0;
        if is_unwanted {
            self.remove_from(&mut under_way);
        }
        is_unwanted
    }

    fn leave(&self) {
        self.remove_from(&mut self.shared.under_way());
    }

    /// The name may be under way again by now: that one stays.
    fn remove_from(&self, under_way: &mut HashMap<Arc<str>, UnderWay>) {
        if under_way.get(&self.name).is_some_and(|stage| Arc::ptr_eq(stage, &self.stage)) {
            under_way.remove(&self.name);
        }
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.leave();
    }
}

#[cfg(test)]
mod tests;
