//! Manage: the only writer of configuration. Tenants, keys and webhooks, with the profiles and event types they
//! choose from.
//!
//! Every answer is made of what the store holds, never of what the caller sent; every secret is sealed before it is
//! stored and shown once, in the answer that made it.

mod access;
mod disabling;
mod documents;
mod egress;
mod event_types;
mod field_change;
mod keys;
mod listing;
mod names;
mod precondition;
mod profiles;
mod routes;
mod state;
mod tenants;
mod waiting;
mod webhooks;
mod whole_number;

pub use disabling::Disabler;
pub use profiles::change::put_at_start;
pub use routes::{description, routes};
pub use state::{ManageLimits, ManageParts, ManageState};
pub use webhooks::{DescribedWebhook, read_described};

#[cfg(test)]
mod tests;
