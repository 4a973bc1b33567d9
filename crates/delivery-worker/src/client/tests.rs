//! The client against raw sockets on loopback: every outcome class, bounds, reuse, TLS and the address rule.

mod outcomes;
pub(crate) mod receiver;
mod reuse;
mod secured;
mod vectors;
