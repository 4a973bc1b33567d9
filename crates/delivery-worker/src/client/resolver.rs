//! Names to addresses, fully qualified.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use async_trait::async_trait;

/// Where addresses come from.
#[async_trait]
pub trait Resolver: Send + Sync {
    /// All addresses of a name, IPv4 and IPv6. However long it takes, it is asked for a name once at a time, and
    /// for a bounded number of names at once.
    ///
    /// # Errors
    /// When the name does not resolve.
    async fn resolve(&self, name: &str) -> io::Result<Vec<IpAddr>>;
}

/// The machine's own resolver, without its search domains.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemResolver;

#[async_trait]
impl Resolver for SystemResolver {
    async fn resolve(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        // RFC 6761: these names are loopback and no resolver is asked. The address rule judges them all the same.
        if name == "localhost" || name.ends_with(".localhost") {
            return Ok(vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]);
        }
        let qualified = format!("{name}.");
        let found = tokio::net::lookup_host((qualified.as_str(), 0)).await?;
        Ok(found.map(|address| address.ip()).collect())
    }
}
