//! The port rule: a webhook may not be aimed at a well-known service.
//!
//! 80, 443 and everything from 1024 up, minus [`SERVICE_PORTS`]; what else an operator needs is opened by
//! number. Port 0 is never opened. An HTTP request sent to a mail server, a database or a cluster's control
//! port is how a dispatcher is made to talk for somebody else.

use std::collections::BTreeSet;

/// The first port that needs no privilege to listen on. Below it only 80 and 443 are open: the rest are
/// assigned to services (22 ssh, 25 smtp, 53 dns, 389 ldap, 445 smb, 636 ldaps …).
const FIRST_UNPRIVILEGED: u16 = 1024;

/// Refused above 1023: default ports of databases, brokers, caches, cluster control and remote access, and
/// those that browsers refuse (the Fetch standard's "bad ports"). All below 32768, where systems take
/// ephemeral ports from. Common HTTP ports (3000, 5000, 8000, 8080, 8443, 8888, 9000, 9443) are not in it.
/// Sorted, for the search.
const SERVICE_PORTS: &[u16] = &[
    1080, // socks
    1099, // java rmi
    1433, 1434, // sql server
    1521, // oracle
    1719, 1720, 1723, // h.323, pptp
    1883, // mqtt
    2049, // nfs
    2181, // zookeeper
    2375, 2376, 2377, // docker, swarm
    2379, 2380, // etcd
    3128, // squid
    3268, 3269, // active directory's global catalogue
    3306, // mysql
    3389, // remote desktop
    3659, // apple sasl
    4045, // nfs lock manager
    4190, // sieve
    4222, // nats
    4369, // erlang port mapper
    5060, 5061, // sip
    5432, 5433, // postgres
    5601, // kibana
    5671, 5672, // amqp
    5900, 5901, // vnc
    5984, 5985, 5986, // couchdb, windows remote management
    6000, // x11
    6379, 6380, // redis
    6432, // pgbouncer
    6443, // kubernetes api
    6566, // sane
    6665, 6666, 6667, 6668, 6669, 6679, 6697, // irc
    7000, 7001, // cassandra between nodes, weblogic
    7199, // cassandra jmx
    7474, 7687, // neo4j
    8086, // influxdb
    8125, // statsd
    8200, // vault
    8300, 8301, 8302, 8500, 8600, // consul
    8883, // mqtt over tls
    9042, // cassandra
    9090, 9091, 9092, 9093, 9094, // prometheus and its push gateway, kafka, alertmanager
    9100, // printers, node exporter
    9160, // cassandra thrift
    9200, 9300,  // elasticsearch
    9418,  // git
    10080, // amanda
    10248, 10249, 10250, 10255, 10256, 10257, 10259, // kubernetes nodes and controllers
    11211, // memcached
    15671, 15672, 15692, // rabbitmq management, metrics
    16379, // redis cluster bus
    25672, // rabbitmq between nodes
    26257, // cockroachdb
    26379, // redis sentinel
    27017, 27018, 27019, // mongodb
    28015, // rethinkdb
];

/// Which ports a webhook's URL may name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PortRule {
    opened: BTreeSet<u16>,
}

impl PortRule {
    /// The default rule, and the ports the operator opens; 0 among them has no effect.
    #[must_use]
    pub fn opening(ports: impl IntoIterator<Item = u16>) -> Self {
        Self { opened: ports.into_iter().collect() }
    }

    /// Whether a URL may name `port`.
    ///
    /// # Errors
    /// Port 0, or a service's port that the operator has not opened.
    pub fn judge(&self, port: u16) -> Result<(), RefusedPort> {
        if port == 0 {
            return Err(RefusedPort::Zero);
        }
        let is_web = matches!(port, 80 | 443);
        let is_free = port >= FIRST_UNPRIVILEGED && SERVICE_PORTS.binary_search(&port).is_err();
        if is_web || is_free || self.opened.contains(&port) {
            Ok(())
        } else {
            Err(RefusedPort::Service(port))
        }
    }
}

/// A port that a URL may not name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RefusedPort {
    /// Nothing listens on it.
    #[error("port 0 cannot be connected to")]
    Zero,
    /// A well-known service's, or below 1024.
    #[error(
        "port {0} belongs to a well-known service; use 443, 80 or another port from 1024 up, or ask the operator to open it"
    )]
    Service(u16),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_service_ports_are_sorted_unique_and_outside_the_ephemeral_range() {
        assert!(SERVICE_PORTS.is_sorted_by(|left, right| left < right));
        assert!(SERVICE_PORTS.iter().all(|port| (FIRST_UNPRIVILEGED..32_768).contains(port)));
    }

    #[test]
    fn web_ports_and_common_http_ports_are_open() {
        let rule = PortRule::default();
        for port in [80, 443, 1024, 3000, 4000, 5000, 8000, 8080, 8081, 8443, 8888, 9000, 9443, 10443, 65535]
        {
            assert_eq!(rule.judge(port), Ok(()), "{port}");
        }
    }

    #[test]
    fn well_known_services_are_closed_until_the_operator_opens_them() {
        let rule = PortRule::default();
        let services = [
            1, 21, 22, 23, 25, 53, 69, 79, 81, 110, 111, 119, 135, 139, 143, 161, 389, 444, 445, 465, 514,
            515, 587, 631, 636, 873, 993, 995, 1023, 1433, 1521, 2049, 2375, 2376, 2379, 2380, 3306, 3389,
            4369, 5432, 5601, 5671, 5672, 5984, 6379, 6443, 7001, 8086, 9042, 9092, 9200, 9300, 10250, 11211,
            15672, 25672, 27017,
        ];
        for port in services {
            assert_eq!(rule.judge(port), Err(RefusedPort::Service(port)));
            assert_eq!(PortRule::opening([port]).judge(port), Ok(()));
        }
    }

    #[test]
    fn port_zero_is_never_opened() {
        assert_eq!(PortRule::opening([0]).judge(0), Err(RefusedPort::Zero));
    }
}
