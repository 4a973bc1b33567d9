//! The receivers, and the way to them: no network, but everything that a network may do.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use postrider_contract::attempt::{AttemptResult, BodyExtent, FailureClass, Phase, Response, Timings};
use postrider_contract::clock::{Clock, Timestamp};
use postrider_delivery_worker::client::{Exchange, LocalShortage, OutgoingRequest, Transport};
use tokio::time::Instant;

use super::effect::Effect;
use super::life::{Life, Untold};
use super::scenario::Answers;

/// What was called: event id and path.
pub(super) type Called = (String, String);

/// One call that arrived.
#[derive(Clone, Debug)]
pub(super) struct Arrival {
    pub(super) at: Timestamp,
    pub(super) body: Bytes,
    pub(super) status: u16,
}

/// Everything that arrived anywhere.
#[derive(Default)]
pub(super) struct Receivers(Mutex<BTreeMap<Called, Vec<Arrival>>>);

impl Receivers {
    fn note(&self, called: Called, arrival: Arrival) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(called).or_default().push(arrival);
    }

    fn calls_of(&self, called: &Called) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(called).map_or(0, Vec::len)
    }

    pub(super) fn all(&self) -> BTreeMap<Called, Vec<Arrival>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// What a receiver does with a call.
enum Answer {
    Status(u16),
    /// After so long.
    Slow(Duration, u16),
    /// It has the request, and the time limit runs out.
    Silent,
    /// It cannot be reached.
    Unreachable,
}

pub(super) struct SimulatedTransport {
    pub(super) life: Arc<Life>,
}

impl SimulatedTransport {
    fn answer(&self, called: &Called) -> Answer {
        let world = &self.life.world;
        match world.scenario.answers {
            Answers::FailFirst(count) if world.receivers.calls_of(called) < count => Answer::Status(500),
            Answers::FailFirst(_) => Answer::Status(200),
            Answers::Random(_) if !world.is_in_trouble() => Answer::Status(200),
            Answers::Random(well) if world.chance.between(1, 100) <= well => match world.chance.between(0, 9)
            {
                0 => Answer::Slow(Duration::from_millis(world.chance.between(50, 4_000)), 200),
                _ => Answer::Status(200),
            },
            Answers::Random(_) => match world.chance.between(0, 9) {
                0 => Answer::Silent,
                1 => Answer::Unreachable,
                2 => Answer::Slow(Duration::from_millis(world.chance.between(50, 4_000)), 503),
                _ => Answer::Status(500),
            },
        }
    }
}

#[async_trait]
impl Transport for SimulatedTransport {
    async fn call(&self, request: OutgoingRequest) -> Result<Exchange, LocalShortage> {
        let (life, world) = (&self.life, &self.life.world);
        let begun = Instant::now();
        let event = request.headers.get("webhook-id").and_then(|id| id.to_str().ok()).unwrap_or_default();
        let called = (event.to_owned(), request.target.path().to_owned());
        let answer = self.answer(&called);
        let arrive = async {
            let (waits, status) = match answer {
                Answer::Unreachable => return None,
                Answer::Status(status) => (Duration::ZERO, status),
                Answer::Slow(waits, status) => (waits, status),
                Answer::Silent => (Duration::MAX, 0),
            };
            let arrival = Arrival { at: world.clock.now(), body: request.body.clone(), status };
            world.receivers.note(called.clone(), arrival);
            Some((waits, status))
        };
        let what = || format!("calls {} for {}", called.1, called.0);
        let result = match life.perform(Effect::Call, what, arrive).await {
            Err(Untold::Refused | Untold::Returned) => {
                return Err(LocalShortage::Sockets(std::io::ErrorKind::AddrNotAvailable));
            }
            Err(Untold::Doubt) => failure(FailureClass::Closed),
            Ok(None) => failure(FailureClass::Connect),
            Ok(Some((waits, _))) if waits >= request.time_limit => {
                tokio::time::sleep(request.time_limit).await;
                failure(FailureClass::Timeout(Phase::Headers))
            }
            Ok(Some((waits, status))) => {
                tokio::time::sleep(waits).await;
                AttemptResult::Response(Response {
                    status,
                    headers: Vec::new(),
                    body: Bytes::new(),
                    extent: BodyExtent::Whole,
                })
            }
        };
        life.while_alive().await;
        let timings = Timings { total: begun.elapsed(), ..Timings::default() };
        Ok(Exchange { address: None, timings, result })
    }

    fn sweep(&self) {}
}

fn failure(class: FailureClass) -> AttemptResult {
    AttemptResult::Failure { class, detail: "as the simulation has it".to_owned() }
}
