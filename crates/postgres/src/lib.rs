//! The PostgreSQL engine of the store: configuration, keyed requests, the delivery log, the waiting room and
//! leadership. The only crate that names tokio-postgres and deadpool.
//!
//! Promises: what is answered with `Ok` is committed with `synchronous_commit = on`; every statement is bounded
//! in time on both sides, and a connection whose answer is still owed is never used again; errors are told apart
//! by SQLSTATE, never by their text; the store recovers by itself once the server answers again.

mod configuration;
mod connect;
mod errors;
mod examine;
mod keyed;
mod leadership;
mod log;
mod migrations;
mod rest;
mod server;
mod session;
mod stored;
mod waiting_room;

pub use connect::{PostgresStore, Settings};
pub use errors::ConnectError;
pub use examine::examine;
pub use migrations::{Migrated, migrate};
pub use rest::come_to_rest;
