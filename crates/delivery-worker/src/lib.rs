//! The delivery worker: take → gate → attempt → decide → settle.
//!
//! [`worker::Worker`] takes deliveries from the queue and lets each webhook have its turn ([`fair_queue`]); one
//! delivery then walks its [`path`]: was it made already ([`check`]), what does its webhook's state say
//! ([`gate`]), sign and send ([`attempt`], [`client`]), decide (in the contract), write it down ([`settle`]).

pub mod attempt;
pub mod check;
pub mod client;
pub mod fair_queue;
mod fan_out;
pub mod gate;
pub mod path;
pub mod prepared;
pub mod settle;
#[cfg(test)]
mod stage;
pub mod taken;
pub mod tally;
pub mod windows;
pub mod worker;

pub use worker::{Settings, Worker, WorkerError, WorkerParts};
