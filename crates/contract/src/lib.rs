//! The contract of Postrider: its types, its decisions and its ports.
//!
//! Everything here is pure: no IO, no runtime, no clock and no randomness of its own. What happens to a
//! delivery is decided here ([`decide()`]), what receivers see is rendered and signed here, and what an
//! engine must be able to do is stated here ([`ports`]). The adapters implement the ports; the roles use them.

pub mod attempt;
pub mod catalogue;
pub mod clock;
pub mod data_path;
pub mod decide;
pub mod delivery;
pub mod egress;
pub mod event;
pub mod fakes;
pub mod filter;
pub mod finding;
pub mod ids;
pub mod journal;
pub mod json;
pub mod key;
pub mod log;
pub mod outcome;
pub mod own_header;
pub mod pattern;
pub mod ports;
pub mod postback;
pub mod profile;
pub mod provider;
pub mod query_string;
pub mod rendering;
pub mod retry;
pub mod revision;
#[cfg(test)]
pub(crate) mod samples;
pub mod schema;
pub mod secret;
pub mod signature;
pub mod submission;
pub mod subscription;
pub mod template;
pub mod tenant;
pub mod webhook;
pub mod wire;

pub use decide::decide;
