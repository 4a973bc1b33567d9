//! The embedded engine: the queue and store ports on SQLite, in one process, with nothing to install.
//!
//! `queue.db` holds the work queue, the journal's outbox, configuration, keyed requests and the waiting room.
//! One thread writes it, many requests to a transaction ([`writer`]); leases live in memory ([`shelf`]). The
//! delivery log is one file a UTC day ([`log`]), written apart. No transaction spans files: the outbox row goes
//! only after the day's commit, and applying a batch twice changes nothing.
//!
//! What is answered as done is on disk (`synchronous=FULL`). Blocking work never runs on the runtime's threads.

mod cells;
mod configuration;
mod deadline;
mod engine;
mod error;
mod examine;
mod journal;
mod keyed;
mod lanes;
mod leadership;
mod loader;
mod log;
mod mailbox;
mod mutex;
mod private_files;
mod reader;
mod schema;
mod shelf;
#[cfg(test)]
mod statements;
mod strays;
mod waiting_room;
mod work_queue;
mod writer;

pub use engine::{Settings, SqliteEngine};
pub use error::OpenError;
pub use examine::examine;
