//! In-memory engines for tests and simulation: every port, the same promises as the real ones, and hooks to break
//! them at will.
//!
//! They need no runtime and take the time from the clock they are given. A clock that was moved must be told of:
//! [`FakeQueue::tick`].

mod configuration;
mod door;
mod keyed;
mod leadership;
mod log;
mod log_queries;
mod mailbox;
mod outage;
mod queue;
mod strays;
mod waiting_room;
mod watched;

pub use configuration::FakeConfiguration;
pub use door::{Behind, Door};
pub use keyed::FakeKeyedRequests;
pub use leadership::FakeLeadership;
pub use log::FakeLog;
pub use outage::Outage;
pub use queue::{FakeQueue, PublishFault, Unacknowledged};
