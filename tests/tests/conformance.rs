//! The conformance suite, run on every engine. Each engine is a module: how it is started, and what it is made
//! to promise.

#[path = "conformance/fakes.rs"]
mod fakes;
#[path = "conformance/postgres.rs"]
mod postgres;
#[path = "conformance/rabbitmq.rs"]
mod rabbitmq;
#[path = "conformance/sqlite.rs"]
mod sqlite;
