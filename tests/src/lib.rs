//! The tests that need more than one crate, and the harness that they run on.

pub mod bench_servers;
pub mod conformance;
pub mod harness;
pub mod load;
pub mod performance_page;
pub mod simulation;
pub mod stage;
