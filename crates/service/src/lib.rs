//! What every role of Postrider needs around its own work: a life that ends in order, an HTTP server with
//! limits, refusals in one form, health, metrics, logs, secrets at rest.
//!
//! Nothing here knows an engine or a role.

pub mod authentication;
pub mod config_object;
mod connection_phase;
pub mod cursor;
pub mod directory;
pub mod failpoint;
pub mod file_limit;
mod guarded_stream;
pub mod health;
pub mod http_server;
pub mod in_path;
pub mod journal_writer;
pub mod json_body;
pub mod key_text;
pub mod lifecycle;
pub mod master_key;
pub mod metrics;
pub mod problem;
pub mod query;
pub mod raw_body;
mod request_rules;
pub mod secret_box;
pub mod sparing;
pub mod system;
pub mod telemetry;
mod timed_body;
mod unknown_members;
pub mod webhook_requests;
pub mod webhook_secrets;
