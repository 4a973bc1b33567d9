//! `/v1/webhooks`: a tenant's subscriptions.
//!
//! A request body is read into [`fields::WebhookFields`], applied to a webhook by [`apply`], checked against its
//! profile by [`fit`], and shown by [`view`]. A route file holds its routes alone.

mod apply;
mod authentication;
pub(crate) mod change;
pub(crate) mod create;
mod described;
mod fields;
mod filter;
pub(crate) mod fit;
mod headers;
pub(crate) mod list;
pub(crate) mod pause;
mod postback;
pub(crate) mod rotate;
mod secrets;
mod template;
pub(crate) mod test_delivery;
mod text_quota;
mod view;

pub use described::{DescribedWebhook, read_described};
