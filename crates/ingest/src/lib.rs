//! Ingest: takes events in, over HTTP and AMQP, and answers 202 only when every delivery they cause is durable.
//!
//! An event is matched against its tenant's webhooks, rendered once for each distinct contract, and published:
//! one delivery per match and one journal record, all confirms awaited together ([`Intake`]).

mod amqp;
mod backlog;
mod batch;
mod breaker;
mod explaining;
mod explanation;
mod http;
mod in_hand;
mod in_time;
mod intake;
mod key;
mod keyed_gate;
mod matching;
mod publishing;
mod refusals;
mod room_watch;
mod schema_check;

pub use amqp::{Asides, run_amqp_intake};
pub use backlog::{Backlog, BacklogBound};
pub use explaining::{Explainer, ExplainerParts};
pub use http::{IngestState, description, routes};
pub use intake::{Intake, IntakeParts};
pub use key::IdempotencyKey;
pub use keyed_gate::KeyedGate;
pub use room_watch::RoomWatch;

#[cfg(test)]
mod tests;
