//! The RabbitMQ engine: the queue, journal and intake ports on quorum queues.
//!
//! It promises what the ports promise, on a broker of version 3.10 or newer without any plugin: a publish is
//! `Ok` only after a positive confirm of a message that was not returned; a source outlives broken
//! connections, closed channels and deleted queues; a settlement that comes too late is harmless; a message
//! nobody can read is set aside with its reason, never dropped. No other crate names the client library.

mod apart;
mod bundles;
mod connection;
mod consumer;
mod engine;
mod error;
mod examine;
mod intake;
mod journal;
mod lane;
mod lanes;
mod line;
mod nodes;
mod probe;
mod publisher;
#[cfg(test)]
mod samples;
mod settings;
mod settlement;
mod settling;
mod strays;
mod tally;
mod topology;
mod verify;
mod version;

pub use engine::RabbitEngine;
pub use error::ConnectError;
pub use examine::{Examination, examine};
pub use lane::{LANES, Lane, lane_for};
pub use settings::{QueueLimits, Settings, Timings, TlsSettings, TopologyAtStart};
pub use topology::{QueueName, Topology};
pub use verify::Deviation;
pub use version::Version;
