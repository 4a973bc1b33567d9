//! The lanes that one connection publishes into: declared on first use, and stepped over where that fails.
//!
//! Promise: a lane that cannot be declared (it is there with other arguments, its user may not declare it, its
//! nodes do not answer) stops nobody: what should go into it goes into the next longer one, and the broken one is
//! tried again after [`AVOIDED_FOR`]. Only if none of the next [`LONGER`] can be had is a publish refused.
//!
//! **One lane is declared at a time on a connection.** When a question makes the broker end the connection, the client
//! library answers every question under way on it with the same error. Only the lane that was asked for is to blame;
//! those whose turn had not come know no more than that the connection was lost.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::OnceCell;
use tokio::time::Instant;

use crate::connection::Live;
use crate::error::TopologyError;
use crate::lane::{Lane, LaneQueue, lane_for};
use crate::settings::TopologyAtStart;
use crate::topology::{Topology, close, look_at_queue};

/// How many longer lanes are tried: the last of them is up to twice as long as the first. More broken ones than that are
/// no longer one lane's problem.
const LONGER: usize = 4;
/// How long one lane may take to be declared before the next is tried. A broker that is well needs some milliseconds.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long a lane that could not be declared is not tried again.
const AVOIDED_FOR: Duration = Duration::from_secs(30);

/// Lanes that could not be declared lately, on whichever connection.
#[derive(Clone, Default)]
pub(crate) struct Avoided(Arc<Mutex<HashMap<Lane, Instant>>>);

impl Avoided {
    fn add(&self, lane: Lane) {
        self.lock().insert(lane, Instant::now() + AVOIDED_FOR);
    }

    fn contains(&self, lane: Lane) -> bool {
        let mut avoided = self.lock();
        match avoided.get(&lane) {
            Some(until) if *until > Instant::now() => true,
            Some(_) => {
                avoided.remove(&lane);
                false
            }
            None => false,
        }
    }

    /// Where a delay goes, as far as is known.
    pub fn lane_for(&self, delay: Duration) -> Lane {
        let first = lane_for(delay);
        first.and_longer().take(1 + LONGER).find(|lane| !self.contains(*lane)).unwrap_or(first)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Lane, Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Who declares lanes: a connection.
trait Declaring {
    async fn declare(&self, lane: LaneQueue) -> Result<(), TopologyError>;

    /// A question was the end of the connection.
    fn give_up(&self, reason: &str);

    fn has_ended(&self) -> bool;
}

/// One connection, and how lanes are come by on it.
struct Ground<'a> {
    live: &'a Live,
    topology: &'a Topology,
    at_start: TopologyAtStart,
}

impl Declaring for Ground<'_> {
    /// Who may not declare can still use what is there.
    async fn declare(&self, lane: LaneQueue) -> Result<(), TopologyError> {
        match self.at_start {
            TopologyAtStart::Declare => {}
            TopologyAtStart::Assume => {
                let channel = self.live.open_channel().await?;
                if look_at_queue(self.live, &channel, &self.topology.lane_queue(lane)).await.is_ok() {
                    close(&channel).await;
                    return Ok(());
                }
            }
        }
        self.topology.declare_lane(self.live, lane).await
    }

    fn give_up(&self, reason: &str) {
        self.live.give_up(reason);
    }

    fn has_ended(&self) -> bool {
        self.live.has_ended()
    }
}

/// Why a lane was not declared in its turn.
enum Undeclared {
    /// Another found it out of order before the turn came.
    Avoided,
    /// No answer within [`PATIENCE`].
    Silent,
    Failed(TopologyError),
}

/// The lanes that were declared on one connection.
pub(crate) struct Lanes {
    topology: Arc<Topology>,
    at_start: TopologyAtStart,
    avoided: Avoided,
    declared: Mutex<HashMap<LaneQueue, Arc<OnceCell<()>>>>,
    turn: tokio::sync::Mutex<()>,
}

impl Lanes {
    pub fn new(topology: Arc<Topology>, at_start: TopologyAtStart, avoided: Avoided) -> Self {
        Lanes { topology, at_start, avoided, declared: Mutex::default(), turn: tokio::sync::Mutex::default() }
    }

    /// Makes sure of this lane or, if it cannot be had, of the next longer one that can.
    ///
    /// # Errors
    /// With the reason, if there is none before the deadline. Nothing was published then.
    pub async fn ready(
        &self,
        live: &Live,
        wanted: LaneQueue,
        deadline: Instant,
    ) -> Result<LaneQueue, String> {
        let ground = Ground { live, topology: &self.topology, at_start: self.at_start };
        self.ready_on(&ground, wanted, deadline).await
    }

    async fn ready_on(
        &self,
        ground: &impl Declaring,
        wanted: LaneQueue,
        deadline: Instant,
    ) -> Result<LaneQueue, String> {
        let mut reason = "it and the next longer ones could not be declared a moment ago".to_owned();
        // That a lane is silent is its own fault only if another one answers: else it is the broker's.
        let mut silent = Vec::new();
        for lane in wanted.lane.and_longer().take(1 + LONGER) {
            if self.avoided.contains(lane) {
                continue;
            }
            let queue = LaneQueue { lane, ..wanted };
            let cell = Arc::clone(self.lock().entry(queue).or_default());
            let declaring = cell.get_or_try_init(|| self.declare_in_turn(ground, queue));
            let error = match tokio::time::timeout_at(deadline, declaring).await {
                Ok(Ok(())) => {
                    for lane in silent {
                        self.avoided.add(lane);
                    }
                    return Ok(queue);
                }
                Ok(Err(Undeclared::Avoided)) => continue,
                Ok(Err(Undeclared::Silent)) => {
                    reason = format!("no answer within {PATIENCE:?}");
                    silent.push(lane);
                    continue;
                }
                Ok(Err(Undeclared::Failed(error))) => error,
                Err(_) => return Err(self.describe(wanted, "the broker did not answer in time")),
            };
            reason = match error {
                TopologyError::Failed(reason) => return Err(self.describe(wanted, &reason)),
                // The connection goes with it: the next one must not be lost by the same question.
                TopologyError::Stumbled(reason) => {
                    self.avoided.add(lane);
                    return Err(self.describe(wanted, &reason));
                }
                TopologyError::Mismatch(reason) | TopologyError::Missing(reason) => {
                    format!("{reason}{}", self.advice())
                }
                error @ TopologyError::NoAnswer(_) => error.to_string(),
            };
            tracing::error!(
                lane = self.topology.lane_queue(queue),
                error = reason,
                "a lane cannot be declared; using longer ones"
            );
            self.avoided.add(lane);
        }
        Err(self.describe(wanted, &reason))
    }

    /// Patience begins with the turn: having waited for others is nobody's fault.
    async fn declare_in_turn(&self, ground: &impl Declaring, lane: LaneQueue) -> Result<(), Undeclared> {
        let _turn = self.turn.lock().await;
        if ground.has_ended() {
            let reason = "the connection to the broker ended".to_owned();
            return Err(Undeclared::Failed(TopologyError::Failed(reason)));
        }
        if self.avoided.contains(lane.lane) {
            return Err(Undeclared::Avoided);
        }
        let Ok(declared) = tokio::time::timeout(PATIENCE, ground.declare(lane)).await else {
            return Err(Undeclared::Silent);
        };
        if let Err(TopologyError::Stumbled(reason)) = &declared {
            // Before the turn ends: whoever is next would be told the same reason by the client library.
            let name = self.topology.lane_queue(lane);
            ground.give_up(&format!("the broker stumbled over lane {name}: {reason}"));
        }
        declared.map_err(Undeclared::Failed)
    }

    /// One of them is gone: each is declared again before its next use.
    pub fn forget_all(&self) {
        self.lock().clear();
    }

    /// Who may not declare them finds no lane that a newer version uses.
    fn advice(&self) -> &'static str {
        match self.at_start {
            TopologyAtStart::Declare => "",
            TopologyAtStart::Assume => {
                "; after an upgrade `postrider topology declare` makes what is missing"
            }
        }
    }

    fn describe(&self, lane: LaneQueue, reason: &str) -> String {
        format!("cannot declare lane {}: {reason}", self.topology.lane_queue(lane))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<LaneQueue, Arc<OnceCell<()>>>> {
        self.declared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
