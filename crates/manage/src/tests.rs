//! The management routes as their callers see them, over fakes of the ports.

mod access;
mod event_types;
mod filters;
mod fixture;
mod keys;
mod newer_versions;
mod own_headers;
mod postbacks;
mod profiles;
mod racing;
mod refusals;
mod secrets;
mod signatures;
mod subscriptions;
mod templates;
mod tenants;
mod test_deliveries;
mod vectors;
