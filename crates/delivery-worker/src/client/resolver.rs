//! Names to addresses: once for each connection, fully qualified, bounded in number.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::Semaphore;

/// Each look-up holds a blocking thread of the runtime, which has 512 at most; the rest are left to others.
const MAX_LOOKUPS: usize = 128;

/// Where addresses come from.
#[async_trait]
pub trait Resolver: Send + Sync {
    /// All addresses of a name, IPv4 and IPv6. The caller bounds the time.
    ///
    /// # Errors
    /// When the name does not resolve.
    async fn resolve(&self, name: &str) -> io::Result<Vec<IpAddr>>;
}

/// The machine's own resolver, without its search domains.
#[derive(Debug)]
pub struct SystemResolver {
    lookups: Arc<Semaphore>,
}

impl Default for SystemResolver {
    fn default() -> Self {
        SystemResolver { lookups: Arc::new(Semaphore::new(MAX_LOOKUPS)) }
    }
}

#[async_trait]
impl Resolver for SystemResolver {
    async fn resolve(&self, name: &str) -> io::Result<Vec<IpAddr>> {
        // RFC 6761: these names are loopback and no resolver is asked. The address rule judges them all the same.
        if name == "localhost" || name.ends_with(".localhost") {
            return Ok(vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]);
        }
        let permit = Arc::clone(&self.lookups).acquire_owned().await.map_err(io::Error::other)?;
        let qualified = format!("{name}.");
        // A task of its own: the thread goes on after a time-out, and so must its permit.
        let lookup = tokio::spawn(async move {
            let found = tokio::net::lookup_host((qualified.as_str(), 0)).await;
            drop(permit);
            found.map(|addresses| addresses.map(|address| address.ip()).collect())
        });
        lookup.await.map_err(io::Error::other)?
    }
}
