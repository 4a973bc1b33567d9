//! Which addresses and URLs may be called.
//!
//! Two rules, both pure. [`UrlRule`] judges the text a customer registers and turns it into a
//! [`WebhookUrl`], the one parsed form that is stored, shown and sent to. [`AddressRule`] judges an IP
//! address. The URL rule is early feedback; the address rule decides, in the connector, on every try:
//! names resolve anew, and what was public at registration may be private a second later. A connector
//! dials a [`VettedAddress`] and nothing else, and only [`AddressRule`] makes one.
//!
//! Literal addresses never reach a resolver, so the connector must pass [`Host::Address`] through the same
//! rule as resolved ones.

mod address;
mod host_name;
mod port;
mod url_rule;
mod webhook_url;

pub use address::{AddressClass, AddressRule, Nat64, RefusedAddress, VettedAddress};
pub use host_name::{InternalNames, RefusedName};
pub use port::{PortRule, RefusedPort};
pub use url_rule::{MAX_URL_BYTES, RefusedUrl, Schemes, UrlRule};
pub use webhook_url::{Host, WebhookUrl};

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
