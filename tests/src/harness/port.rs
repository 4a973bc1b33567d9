//! Ports for servers that must know theirs before they start, and keep it over a restart.
//!
//! A port that the kernel hands out may be taken between asking and use, and while a killed server is away an
//! outgoing connection may take it. So ports come from below the range used for outgoing connections, and are
//! reserved among test processes by an abstract socket's name, which the kernel frees with its process.

use std::net::{Ipv4Addr, SocketAddrV4, TcpListener};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::sync::atomic::{AtomicU16, Ordering};

use anyhow::{Result, bail};

/// The first port considered; above what is registered for common services.
const FIRST: u16 = 15_000;
/// How many are considered. They end below 32,768, where Linux begins to take ports for outgoing connections.
const COUNT: u16 = 17_000;

/// A loopback port that no other test process takes for as long as this value lives.
#[derive(Debug)]
pub struct PortLease {
    port: u16,
    _reservation: UnixListener,
}

impl PortLease {
    /// Takes one that nobody listens on.
    pub fn take() -> Result<Self> {
        static NEXT: AtomicU16 = AtomicU16::new(0);
        // Test processes begin at different places, so that they seldom meet.
        let beginning = std::process::id().wrapping_mul(101) % u32::from(COUNT);
        for _ in 0..COUNT {
            let step = u32::from(NEXT.fetch_add(1, Ordering::Relaxed));
            let Ok(offset) = u16::try_from((beginning + step) % u32::from(COUNT)) else { continue };
            let port = FIRST + offset;
            let name = SocketAddr::from_abstract_name(format!("postrider-tests-port-{port}"))?;
            let Ok(reservation) = UnixListener::bind_addr(&name) else { continue };
            if TcpListener::bind(SocketAddrV4::new(Ipv4Addr::LOCALHOST, port)).is_ok() {
                return Ok(Self { port, _reservation: reservation });
            }
        }
        bail!("no port from {FIRST} on is free")
    }

    /// The port's number.
    pub fn number(&self) -> u16 {
        self.port
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_port_is_leased_twice() {
        let leases: Vec<_> = (0..50).map(|_| PortLease::take().unwrap()).collect();
        let distinct: std::collections::BTreeSet<_> = leases.iter().map(PortLease::number).collect();
        assert_eq!(distinct.len(), leases.len());
    }
}
