//! Room for connections: a bound on how many are open, and who leaves when it is reached.
//!
//! A client that only holds connections must not keep others out. When all places are taken and somebody waits,
//! the connection that has been idle for longest is closed in order: what it asked before is answered, and a
//! request that comes just then still is. Connections that are busy are never asked to leave; their own time
//! limits end them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::TROUBLE_EVERY;
use crate::connection_phase::ConnectionPhase;
use crate::sparing::Sparing;

/// While somebody waits for a place: how often it is looked who has become idle.
const LOOK_EVERY: Duration = Duration::from_millis(50);

#[derive(Debug)]
pub(super) struct Room {
    places: Arc<Semaphore>,
    /// Who has been idle for less is not asked to leave: its next request may be on the way.
    least_idle: Duration,
    full: Sparing,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    next: u64,
    guests: HashMap<u64, Guest>,
}

#[derive(Debug)]
struct Guest {
    phase: Arc<ConnectionPhase>,
    leave: Arc<Notify>,
}

/// One connection's place, given back when it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    room: Arc<Room>,
    number: u64,
    phase: Arc<ConnectionPhase>,
    leave: Arc<Notify>,
    _place: OwnedSemaphorePermit,
}

impl Room {
    pub(super) fn new(places: usize, least_idle: Duration) -> Arc<Self> {
        Arc::new(Room {
            places: Arc::new(Semaphore::new(places)),
            least_idle,
            full: Sparing::new(1, TROUBLE_EVERY),
            taken: Mutex::default(),
        })
    }

    /// Waits for a place, and makes one if it can.
    pub(super) async fn enter(self: &Arc<Self>) -> Place {
        let mut place = Arc::clone(&self.places).try_acquire_owned().ok();
        loop {
            if let Some(place) = place {
                return self.seat(place);
            }
            self.ask_one_to_leave();
            let freed = timeout(LOOK_EVERY, Arc::clone(&self.places).acquire_owned()).await;
            place = freed.ok().and_then(Result::ok);
        }
    }

    fn seat(self: &Arc<Self>, place: OwnedSemaphorePermit) -> Place {
        let (phase, leave) = (Arc::new(ConnectionPhase::default()), Arc::new(Notify::new()));
        let mut taken = self.taken();
        let number = taken.next;
        taken.next += 1;
        taken.guests.insert(number, Guest { phase: Arc::clone(&phase), leave: Arc::clone(&leave) });
        drop(taken);
        Place { room: Arc::clone(self), number, phase, leave, _place: place }
    }

    /// The one that has been idle for longest. It is asked once: whoever waits on asks the next.
    fn ask_one_to_leave(&self) {
        let mut taken = self.taken();
        if self.full.tell().is_some() {
            tracing::warn!(
                connections = taken.guests.len(),
                "all connections are taken; the longest idle are closed for new ones"
            );
        }
        let idle = taken.guests.iter().filter_map(|(number, guest)| Some((guest.phase.idle_for()?, *number)));
        let longest = idle.max().filter(|(idle, _)| *idle >= self.least_idle);
        if let Some((_, number)) = longest
            && let Some(guest) = taken.guests.remove(&number)
        {
            guest.leave.notify_one();
        }
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    pub(super) fn phase(&self) -> Arc<ConnectionPhase> {
        Arc::clone(&self.phase)
    }

    /// Comes when the connection should close as soon as it is idle.
    pub(super) async fn asked_to_leave(&self) {
        self.leave.notified().await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.room.taken().guests.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_longest_idle_is_asked_to_leave_and_the_busy_never() {
        let room = Room::new(3, Duration::from_secs(1));
        let busy = room.enter().await;
        busy.phase().note_request();
        let (longest, other) = (room.enter().await, room.enter().await);
        tokio::time::advance(Duration::from_secs(2)).await;
        other.phase().note_request();
        other.phase().note_answered();
        let mut waiting = std::pin::pin!(room.enter());
        assert!(waiting.as_mut().now_or_never().is_none(), "all places are taken");
        longest.asked_to_leave().now_or_never().expect("it is asked at once");
        tokio::time::timeout(Duration::from_millis(500), waiting.as_mut()).await.expect_err("nobody left");
        assert!(other.asked_to_leave().now_or_never().is_none(), "it was idle for less than a second");
        tokio::time::timeout(Duration::from_secs(2), waiting.as_mut()).await.expect_err("nobody left");
        other.asked_to_leave().now_or_never().expect("then it is its turn");
        assert!(busy.asked_to_leave().now_or_never().is_none());
        drop(longest);
        waiting.await;
    }
}
