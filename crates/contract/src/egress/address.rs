//! The address rule: may a delivery connect to this IP address?
//!
//! Total and pure. An IPv4-mapped IPv6 address (`::ffff:0:0/96`) always gets the verdict of the IPv4 address
//! it carries. Operators may lift the rule for networks of their own; nothing lifts the metadata services,
//! which hand out a machine's credentials to whoever asks.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// What an operator allows beyond public addresses. The default allows none.
///
/// Never filled from a tenant's input.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AddressRule {
    allowed_networks: Vec<IpNet>,
    nat64: Nat64,
}

/// How addresses under the NAT64 prefix `64:ff9b::/96` (RFC 6052) are judged.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Nat64 {
    /// Refused: on a network without NAT64 they lead nowhere good.
    #[default]
    Refused,
    /// Judged by the IPv4 address they carry: for workers on IPv6-only networks, whose resolver makes these
    /// addresses for every IPv4-only receiver.
    JudgedByEmbedded,
}

impl AddressRule {
    /// Public addresses, and those in `allowed_networks` (but never a metadata service).
    ///
    /// A network is matched after unmapping: `10.0.0.0/8` also admits `::ffff:10.0.0.1`, and a network inside
    /// `::ffff:0:0/96` is read as the IPv4 network it stands for.
    #[must_use]
    pub fn new(allowed_networks: Vec<IpNet>) -> Self {
        Self {
            allowed_networks: allowed_networks.into_iter().map(unmapped_network).collect(),
            nat64: Nat64::Refused,
        }
    }

    /// The same rule, and loopback (`127.0.0.0/8`, `::1`) allowed: for development on one machine.
    #[must_use]
    pub fn with_loopback(mut self) -> Self {
        self.allowed_networks.extend([IpNet::V4(LOOPBACK_V4), IpNet::V6(LOOPBACK_V6)]);
        self
    }

    /// The same rule with another reading of NAT64 addresses.
    #[must_use]
    pub fn with_nat64(mut self, nat64: Nat64) -> Self {
        self.nat64 = nat64;
        self
    }

    /// The networks allowed beyond public addresses, unmapped.
    #[must_use]
    pub fn allowed_networks(&self) -> &[IpNet] {
        &self.allowed_networks
    }

    /// Whether `address` may be connected to.
    ///
    /// # Errors
    /// The reason why not. Metadata services come first: the networks an operator allows do not lift them.
    pub fn judge(&self, address: IpAddr) -> Result<(), RefusedAddress> {
        let address = address.to_canonical();
        let refused = |class| Err(RefusedAddress { address, class });
        if reaches_metadata(address) {
            return refused(AddressClass::Metadata);
        }
        if self.allowed_networks.iter().any(|network| network.contains(&address)) {
            return Ok(());
        }
        match self.special_class(address) {
            Some(class) => refused(class),
            None => Ok(()),
        }
    }

    /// Judges the address of `target`; what comes out may be dialled.
    ///
    /// # Errors
    /// As [`AddressRule::judge`].
    pub fn vet(&self, target: SocketAddr) -> Result<VettedAddress, RefusedAddress> {
        self.judge(target.ip())?;
        // Rebuilt from address and port alone: no scope id or flow label of the caller's reaches the dial.
        Ok(VettedAddress(SocketAddr::new(target.ip().to_canonical(), target.port())))
    }

    /// Judges a resolver's whole answer. One refused address refuses all of it: a name that mixes public and
    /// private addresses is either an attack or a mistake, and falling back from one to the other is how
    /// rebinding works.
    ///
    /// # Errors
    /// The first address refused, and why.
    pub fn vet_all(
        &self,
        answer: impl IntoIterator<Item = IpAddr>,
        port: u16,
    ) -> Result<Vec<VettedAddress>, RefusedAddress> {
        answer.into_iter().map(|address| self.vet(SocketAddr::new(address, port))).collect()
    }

    /// Whether loopback, and so the name `localhost`, is allowed.
    #[must_use]
    pub fn allows_loopback(&self) -> bool {
        self.judge(IpAddr::V4(Ipv4Addr::LOCALHOST)).is_ok()
            || self.judge(IpAddr::V6(Ipv6Addr::LOCALHOST)).is_ok()
    }

    /// Why an unmapped address is not a public one; `None` if it is.
    fn special_class(&self, address: IpAddr) -> Option<AddressClass> {
        match address {
            IpAddr::V4(v4) => special_class_v4(v4),
            IpAddr::V6(v6) => match self.nat64 {
                Nat64::JudgedByEmbedded if NAT64.contains(&v6) => special_class_v4(low_ipv4(v6)),
                Nat64::JudgedByEmbedded | Nat64::Refused => special_class_v6(v6),
            },
        }
    }
}

/// An address and port that the rule let through, unmapped. Made by [`AddressRule::vet`] alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct VettedAddress(SocketAddr);

impl VettedAddress {
    /// What to dial.
    #[must_use]
    pub fn socket_addr(self) -> SocketAddr {
        self.0
    }

    /// Whether a connected socket's peer is the address that was vetted.
    #[must_use]
    pub fn is_peer(self, peer: SocketAddr) -> bool {
        self.0.ip() == peer.ip().to_canonical() && self.0.port() == peer.port()
    }
}

/// An address that may not be called. For logs and for the operator.
///
/// What a customer reads about a *try* must be [`RefusedAddress::CUSTOMER_TEXT`]: naming what a host resolved
/// to would map the inside of the network for them. A literal in a URL they wrote themselves may be named.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("address {address} may not be called: {class}")]
pub struct RefusedAddress {
    /// The address, unmapped.
    pub address: IpAddr,
    /// Why.
    pub class: AddressClass,
}

impl RefusedAddress {
    /// The only words about a blocked try that a customer may see.
    pub const CUSTOMER_TEXT: &str = "blocked address";
}

/// What makes an address unfit for a webhook. Sources: the IANA special-purpose address registries for IPv4
/// and IPv6, the RFCs they cite, and the cloud providers' documentation for metadata services.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AddressClass {
    /// A cloud's metadata or host service; never lifted.
    Metadata,
    /// `0.0.0.0/8`, `::`.
    Unspecified,
    /// `127.0.0.0/8`, `::1`.
    Loopback,
    /// RFC 1918, unique local (RFC 4193), site-local.
    Private,
    /// `100.64.0.0/10` (RFC 6598).
    SharedNat,
    /// `169.254.0.0/16`, `fe80::/10`.
    LinkLocal,
    /// IETF protocol assignments, such as `192.0.0.0/24` and `2001::/23` (Teredo and ORCHID included).
    Protocol,
    /// Examples in documents.
    Documentation,
    /// `198.18.0.0/15` (RFC 2544).
    Benchmarking,
    /// Carries an IPv4 address: NAT64, 6to4 and its relays, v4-compatible and the like.
    Translated,
    /// Addresses a group.
    Multicast,
    /// Reserved or never handed out.
    Reserved,
}

impl fmt::Display for AddressClass {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Metadata => "cloud metadata service",
            Self::Unspecified => "unspecified address",
            Self::Loopback => "loopback address",
            Self::Private => "private network",
            Self::SharedNat => "carrier's shared address space",
            Self::LinkLocal => "link-local address",
            Self::Protocol => "reserved for protocols",
            Self::Documentation => "reserved for documentation",
            Self::Benchmarking => "reserved for benchmarks",
            Self::Translated => "transition address that carries an ipv4 address",
            Self::Multicast => "multicast address",
            Self::Reserved => "not a public unicast address",
        })
    }
}

const fn v4(octets: [u8; 4], prefix: u8) -> Ipv4Net {
    let [a, b, c, d] = octets;
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), prefix)
}

const fn v6(head: [u16; 3], prefix: u8) -> Ipv6Net {
    let [a, b, c] = head;
    Ipv6Net::new_assert(Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0), prefix)
}

const LOOPBACK_V4: Ipv4Net = v4([127, 0, 0, 0], 8);
const LOOPBACK_V6: Ipv6Net = Ipv6Net::new_assert(Ipv6Addr::LOCALHOST, 128);
/// RFC 6052's well-known prefix.
const NAT64: Ipv6Net = v6([0x64, 0xff9b, 0], 96);
/// RFC 8215's prefix for a network's own translators.
const NAT64_LOCAL: Ipv6Net = v6([0x64, 0xff9b, 1], 48);
const SIX_TO_FOUR: Ipv6Net = v6([0x2002, 0, 0], 16);
const TEREDO: Ipv6Net = v6([0x2001, 0, 0], 32);
const MAPPED: Ipv6Net = Ipv6Net::new_assert(Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, 0, 0), 96);

/// IPv4: everything not listed is public.
const SPECIAL_V4: [(Ipv4Net, AddressClass); 15] = [
    (v4([0, 0, 0, 0], 8), AddressClass::Unspecified),
    (v4([10, 0, 0, 0], 8), AddressClass::Private),
    (v4([100, 64, 0, 0], 10), AddressClass::SharedNat),
    (LOOPBACK_V4, AddressClass::Loopback),
    (v4([169, 254, 0, 0], 16), AddressClass::LinkLocal),
    (v4([172, 16, 0, 0], 12), AddressClass::Private),
    (v4([192, 0, 0, 0], 24), AddressClass::Protocol),
    (v4([192, 0, 2, 0], 24), AddressClass::Documentation),
    (v4([192, 88, 99, 0], 24), AddressClass::Translated),
    (v4([192, 168, 0, 0], 16), AddressClass::Private),
    (v4([198, 18, 0, 0], 15), AddressClass::Benchmarking),
    (v4([198, 51, 100, 0], 24), AddressClass::Documentation),
    (v4([203, 0, 113, 0], 24), AddressClass::Documentation),
    (v4([224, 0, 0, 0], 4), AddressClass::Multicast),
    (v4([240, 0, 0, 0], 4), AddressClass::Reserved),
];

/// The only IPv6 space handed out for public unicast. What lies outside is refused, listed or not.
const GLOBAL_UNICAST: Ipv6Net = v6([0x2000, 0, 0], 3);

/// IPv6 inside [`GLOBAL_UNICAST`] that is refused all the same.
const SPECIAL_WITHIN_GLOBAL: [(Ipv6Net, AddressClass); 4] = [
    (v6([0x2001, 0, 0], 23), AddressClass::Protocol),
    (v6([0x2001, 0xdb8, 0], 32), AddressClass::Documentation),
    (SIX_TO_FOUR, AddressClass::Translated),
    (v6([0x3fff, 0, 0], 20), AddressClass::Documentation),
];

/// IPv6 outside [`GLOBAL_UNICAST`] that deserves a better word than "reserved". Decides the text only.
const NAMED_OUTSIDE_GLOBAL: [(Ipv6Net, AddressClass); 9] = [
    (Ipv6Net::new_assert(Ipv6Addr::UNSPECIFIED, 128), AddressClass::Unspecified),
    (LOOPBACK_V6, AddressClass::Loopback),
    (v6([0, 0, 0], 64), AddressClass::Translated),
    (NAT64, AddressClass::Translated),
    (NAT64_LOCAL, AddressClass::Translated),
    (v6([0xfc00, 0, 0], 7), AddressClass::Private),
    (v6([0xfe80, 0, 0], 10), AddressClass::LinkLocal),
    (v6([0xfec0, 0, 0], 10), AddressClass::Private),
    (v6([0xff00, 0, 0], 8), AddressClass::Multicast),
];

/// Metadata and host services over IPv4, each from its provider's documentation.
const METADATA_V4: [Ipv4Addr; 12] = [
    // AWS, Azure, Google Cloud, Oracle, OpenStack, DigitalOcean, Hetzner, Linode, IBM: instance metadata
    Ipv4Addr::new(169, 254, 169, 254),
    // AWS: the VPC's resolver
    Ipv4Addr::new(169, 254, 169, 253),
    // AWS ECS: task metadata and credentials
    Ipv4Addr::new(169, 254, 170, 2),
    // AWS EKS: pod identity credentials
    Ipv4Addr::new(169, 254, 170, 23),
    // Tencent Cloud: instance metadata, both of its addresses
    Ipv4Addr::new(169, 254, 0, 23),
    Ipv4Addr::new(169, 254, 10, 10),
    // Scaleway: instance metadata
    Ipv4Addr::new(169, 254, 42, 42),
    // Rancher: metadata service
    Ipv4Addr::new(169, 254, 169, 250),
    // Azure: the host's wire server; looks public
    Ipv4Addr::new(168, 63, 129, 16),
    // Alibaba Cloud: instance metadata
    Ipv4Addr::new(100, 100, 100, 200),
    // Volcano Engine: instance metadata
    Ipv4Addr::new(100, 96, 0, 96),
    // Oracle Cloud classic: instance metadata
    Ipv4Addr::new(192, 0, 0, 192),
];

/// Metadata services over IPv6.
const METADATA_V6: [Ipv6Addr; 8] = [
    // AWS: instance metadata, the VPC's resolver, ECS and EKS credentials
    Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254),
    Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x253),
    Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x2),
    Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x23),
    // Google Cloud
    Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254),
    // OpenStack
    Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0xa9fe, 0xa9fe),
    // Linode
    Ipv6Addr::new(0xfd00, 0xa9fe, 0xa9fe, 0, 0, 0, 0, 0x1),
    // Scaleway
    Ipv6Addr::new(0xfd00, 0x42, 0, 0, 0, 0, 0, 0x42),
];

fn special_class_v4(address: Ipv4Addr) -> Option<AddressClass> {
    SPECIAL_V4.iter().find(|(network, _)| network.contains(&address)).map(|(_, class)| *class)
}

fn special_class_v6(address: Ipv6Addr) -> Option<AddressClass> {
    let class_in = |table: &[(Ipv6Net, AddressClass)]| {
        table.iter().find(|(network, _)| network.contains(&address)).map(|(_, class)| *class)
    };
    if GLOBAL_UNICAST.contains(&address) {
        class_in(&SPECIAL_WITHIN_GLOBAL)
    } else {
        Some(class_in(&NAMED_OUTSIDE_GLOBAL).unwrap_or(AddressClass::Reserved))
    }
}

/// Whether an unmapped address is a metadata service, or a transition address that carries one: an operator
/// who allows a NAT64 or 6to4 prefix does not open the metadata service behind it.
fn reaches_metadata(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => METADATA_V4.contains(&v4),
        IpAddr::V6(v6) => {
            METADATA_V6.contains(&v6)
                || carried_ipv4(v6).into_iter().flatten().any(|v4| METADATA_V4.contains(&v4))
        }
    }
}

/// The IPv4 addresses an IPv6 address may stand for, by each transition scheme whose shape it has.
fn carried_ipv4(address: Ipv6Addr) -> [Option<Ipv4Addr>; 3] {
    let [_, second, third, fourth, fifth, sixth, seventh, eighth] = address.segments();
    let low = low_ipv4(address);
    // ISATAP (RFC 5214): interface id 0000:5efe or 0200:5efe under any prefix
    let is_isatap = matches!(fifth, 0 | 0x200) && sixth == 0x5efe;
    // v4-compatible, and SIIT's ::ffff:0:a.b.c.d
    let is_plain = address.segments().iter().take(4).all(|segment| *segment == 0);
    let is_low = is_isatap || is_plain || NAT64.contains(&address) || NAT64_LOCAL.contains(&address);
    let middle = if SIX_TO_FOUR.contains(&address) {
        Some(ipv4_of(second, third))
    } else if NAT64_LOCAL.contains(&address) {
        // RFC 6052 §2.2 with a /48 prefix: bits 64 to 71 are zero and the address goes around them
        let [_, upper] = fifth.to_be_bytes();
        let [lower, _] = sixth.to_be_bytes();
        Some(ipv4_of(fourth, u16::from_be_bytes([upper, lower])))
    } else if TEREDO.contains(&address) {
        // RFC 4380: the server's address; the client's own is kept inverted
        Some(ipv4_of(third, fourth))
    } else {
        None
    };
    let inverted = TEREDO.contains(&address).then(|| ipv4_of(!seventh, !eighth));
    [is_low.then_some(low), middle, inverted]
}

fn low_ipv4(address: Ipv6Addr) -> Ipv4Addr {
    let [.., seventh, eighth] = address.segments();
    ipv4_of(seventh, eighth)
}

fn ipv4_of(high: u16, low: u16) -> Ipv4Addr {
    let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
    Ipv4Addr::new(a, b, c, d)
}

/// A network inside `::ffff:0:0/96` as the IPv4 network it means; any other as it is.
fn unmapped_network(network: IpNet) -> IpNet {
    match network {
        IpNet::V6(v6) if MAPPED.contains(&v6) => {
            let prefix = v6.prefix_len().saturating_sub(MAPPED.prefix_len());
            Ipv4Net::new(low_ipv4(v6.addr()), prefix).map_or(network, IpNet::V4)
        }
        IpNet::V4(_) | IpNet::V6(_) => network,
    }
}
