//! The lanes that one connection publishes into: declared on first use, and stepped over where that fails.
//!
//! Promise: a lane that cannot be declared (it is there with other arguments, its user may not declare it, its
//! nodes do not answer) stops nobody: what should go into it goes into the next longer one, and the broken one is
//! tried again after [`AVOIDED_FOR`]. Only if none of the next [`LONGER`] can be had is a publish refused.

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

/// How many longer lanes are tried: the last of them is about two and a half times as long as the first. More
/// broken ones than that are no longer one lane's problem.
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

/// The lanes that were declared on one connection.
pub(crate) struct Lanes {
    topology: Arc<Topology>,
    at_start: TopologyAtStart,
    avoided: Avoided,
    declared: Mutex<HashMap<LaneQueue, Arc<OnceCell<()>>>>,
}

impl Lanes {
    pub fn new(topology: Arc<Topology>, at_start: TopologyAtStart, avoided: Avoided) -> Self {
        Lanes { topology, at_start, avoided, declared: Mutex::default() }
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
        let mut reason = "it and the next longer ones could not be declared a moment ago".to_owned();
        // That a lane is silent is its own fault only if another one answers: else it is the broker's.
        let mut silent = Vec::new();
        for lane in wanted.lane.and_longer().take(1 + LONGER) {
            if self.avoided.contains(lane) {
                continue;
            }
            let queue = LaneQueue { lane, ..wanted };
            let cell = Arc::clone(self.lock().entry(queue).or_default());
            let declaring = cell.get_or_try_init(|| self.declare(live, queue));
            let limit = deadline.min(Instant::now() + PATIENCE);
            let error = match tokio::time::timeout_at(limit, declaring).await {
                Ok(Ok(())) => {
                    for lane in silent {
                        self.avoided.add(lane);
                    }
                    return Ok(queue);
                }
                Ok(Err(TopologyError::Failed(reason))) => return Err(self.describe(wanted, &reason)),
                // The connection goes with it: the next one must not be lost by the same question.
                Ok(Err(TopologyError::Stumbled(reason))) => {
                    self.avoided.add(lane);
                    return Err(self.describe(wanted, &reason));
                }
                Ok(Err(
                    error @ (TopologyError::Mismatch(_)
                    | TopologyError::Missing(_)
                    | TopologyError::NoAnswer(_)),
                )) => error.to_string(),
                Err(_) if Instant::now() >= deadline => {
                    return Err(self.describe(wanted, "the broker did not answer in time"));
                }
                Err(_) => {
                    reason = format!("no answer within {PATIENCE:?}");
                    silent.push(lane);
                    continue;
                }
            };
            tracing::error!(
                lane = self.topology.lane_queue(queue),
                error,
                "a lane cannot be declared; using longer ones"
            );
            self.avoided.add(lane);
            reason = error;
        }
        Err(self.describe(wanted, &reason))
    }

    /// One of them is gone: each is declared again before its next use.
    pub fn forget_all(&self) {
        self.lock().clear();
    }

    /// Who may not declare can still use what is there.
    async fn declare(&self, live: &Live, lane: LaneQueue) -> Result<(), TopologyError> {
        match self.at_start {
            TopologyAtStart::Declare => {}
            TopologyAtStart::Assume => {
                let channel = live.open_channel().await?;
                if look_at_queue(live, &channel, &self.topology.lane_queue(lane)).await.is_ok() {
                    close(&channel).await;
                    return Ok(());
                }
            }
        }
        self.topology.declare_lane(live, lane).await
    }

    fn describe(&self, lane: LaneQueue, reason: &str) -> String {
        let advice = match self.at_start {
            TopologyAtStart::Declare => "",
            TopologyAtStart::Assume => {
                "; after an upgrade `postrider topology declare` makes what is missing"
            }
        };
        format!("cannot declare lane {}: {reason}{advice}", self.topology.lane_queue(lane))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<LaneQueue, Arc<OnceCell<()>>>> {
        self.declared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
