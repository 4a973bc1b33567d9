//! The wire contract: what is written can be read by every later version, and nothing that arrives does harm.

#[path = "wire/generated.rs"]
mod generated;
#[path = "wire/golden.rs"]
mod golden;
#[path = "wire/properties.rs"]
mod properties;
#[path = "wire/refusals.rs"]
mod refusals;
#[path = "wire/values.rs"]
mod values;

/// The folder of the wire contract.
const PROTO: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../proto");
