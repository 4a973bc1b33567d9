//! In-memory engines for tests and simulation: every port, the same promises as the real ones, and hooks to break
//! them at will.
//!
//! They need no runtime and take the time from the clock they are given. A clock that was moved must be told of:
//! [`FakeQueue::tick`].

mod configuration;
mod door;
mod intake;
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

use crate::attempt::SentRequest;

pub use configuration::FakeConfiguration;
pub use door::{Behind, Door};
pub use intake::FakeIntake;
pub use keyed::FakeKeyedRequests;
pub use leadership::FakeLeadership;
pub use log::FakeLog;
pub use outage::Outage;
pub use queue::{FakeQueue, PublishFault, Unacknowledged};

/// For tries of which something else matters.
#[must_use]
pub fn sent_request() -> SentRequest {
    SentRequest {
        method: "POST".to_owned(),
        url: "https://hooks.example.com/".to_owned(),
        headers: Vec::new(),
        body_sha256: [0; 32],
        body_length: 2,
    }
}
