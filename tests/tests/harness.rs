//! What the harness promises to the tests that stand on it.

#[path = "harness/chaos.rs"]
mod chaos;
#[path = "harness/postrider.rs"]
mod postrider;
#[path = "harness/receiver.rs"]
mod receiver;
#[path = "harness/servers.rs"]
mod servers;
