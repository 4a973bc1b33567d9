//! Three nodes that form one broker, each a process of its own that can be killed, stopped, frozen and restarted.
//!
//! A minority of nodes pauses (`pause_minority`), as docs/operations.md advises; every queue that is declared while all
//! nodes run has a member on each.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use futures_util::future::try_join_all;

use super::super::deadline::eventually;
use super::config::{self, Membership};
use super::{Knobs, PortMapper, RabbitMq};

/// Virtual hosts for tests; each costs processes on every node.
const VIRTUAL_HOSTS: usize = 4;
/// How long the nodes may take to find each other after the last has started.
const JOIN: Duration = Duration::from_secs(120);
/// Known to these nodes alone.
const COOKIE_LENGTH: usize = 20;

/// A broker of three nodes. Dropping it ends them.
#[derive(Debug)]
pub struct RabbitMqCluster {
    pub(super) nodes: Vec<RabbitMq>,
}

impl RabbitMqCluster {
    /// How many nodes there are: the fewest of which one can be lost.
    pub const NODES: usize = 3;

    /// Starts the nodes and waits until they are one broker.
    pub async fn start() -> Result<Self> {
        let mapper = PortMapper::start()?;
        let mut nodes = Vec::new();
        for _ in 0..Self::NODES {
            nodes.push(RabbitMq::prepare(Arc::clone(&mapper))?);
        }
        let names: Vec<String> = nodes.iter().map(RabbitMq::node).collect();
        let cookie = cookie_of(nodes[0].folder());
        let membership = Membership::Among { nodes: names, cookie };
        for node in &nodes {
            node.configure(&Knobs::default(), &membership, VIRTUAL_HOSTS)?;
        }
        // The first makes the definitions, the others find them there.
        let (first, others) = nodes.split_at_mut(1);
        first[0].launch().await?;
        try_join_all(others.iter_mut().map(RabbitMq::launch)).await?;
        let cluster = Self { nodes };
        cluster.wait_until_whole().await?;
        Ok(cluster)
    }

    /// The URL of a virtual host that no test was given before, with all nodes.
    pub fn vhost(&self) -> Result<String> {
        let number = self.nodes[0].next_virtual_host.fetch_add(1, Ordering::Relaxed);
        ensure!(number < VIRTUAL_HOSTS, "only {VIRTUAL_HOSTS} virtual hosts were made");
        let hosts: Vec<String> =
            self.nodes.iter().map(|node| format!("127.0.0.1:{}", node.ports.amqp.number())).collect();
        Ok(format!("amqp://guest:guest@{}/{}", hosts.join(","), config::virtual_host(number)))
    }

    /// The URLs of each node alone for the virtual host at `url`.
    pub fn node_urls(&self, url: &str) -> Vec<String> {
        let virtual_host = url.rsplit('/').next().unwrap_or_default();
        self.nodes.iter().map(|node| node.url_of(virtual_host)).collect()
    }

    /// One node: to kill, stop, freeze or restart it.
    pub fn node(&mut self, number: usize) -> &mut RabbitMq {
        &mut self.nodes[number]
    }

    /// Starts every node that does not run, together, since one may wait for another; and waits until all are one again.
    pub async fn restart_stopped(&mut self) -> Result<()> {
        let stopped = self.nodes.iter_mut().filter(|node| node.broker.is_none());
        try_join_all(stopped.map(RabbitMq::launch)).await?;
        self.wait_until_whole().await
    }

    /// Runs `rabbitmqctl` on some node that runs.
    pub async fn ctl(&self, arguments: &[&str]) -> Result<String> {
        let node = self.nodes.iter().find(|node| node.broker.is_some()).context("no node runs")?;
        node.ctl(arguments).await
    }

    /// The number of the node that leads this queue of the virtual host at `url`.
    pub async fn leader_of(&self, url: &str, queue: &str) -> Result<usize> {
        let leader = self.column(url, queue, "leader").await?;
        let found = self.nodes.iter().position(|node| node.node() == leader);
        found.with_context(|| format!("{leader:?} leads {queue}, which is no node of ours"))
    }

    /// Makes the node lead this queue that the connection with these words in its name is on, and answers its number.
    pub async fn move_leader_to_connection(&self, url: &str, queue: &str, name: &str) -> Result<usize> {
        let virtual_host = url.rsplit('/').next().unwrap_or_default();
        let listed = self
            .ctl(&["list_connections", "--no-table-headers", "pid", "vhost", "client_properties"])
            .await?;
        let of_it = |line: &&str| line.contains(name) && line.split('\t').nth(1) == Some(virtual_host);
        let connection = listed.lines().find(of_it).with_context(|| format!("no {name} in {listed}"))?;
        let number = self.nodes.iter().position(|node| connection.contains(&node.node()));
        let number = number.with_context(|| format!("{connection} is on no node of ours"))?;
        let member = |node: &str| format!("{{'{virtual_host}_{queue}','{node}'}}");
        let leader = self.leader_of(url, queue).await?;
        if leader == number {
            return Ok(number);
        }
        let (leader, next) = (member(&self.nodes[leader].node()), member(&self.nodes[number].node()));
        self.ctl(&["eval", &format!("ra:transfer_leadership({leader}, {next}).")]).await?;
        eventually("the queue to be led by another node", JOIN, async || {
            Ok((self.leader_of(url, queue).await? == number).then_some(number))
        })
        .await
    }

    /// How many nodes have a member of this queue.
    pub async fn members_of(&self, url: &str, queue: &str) -> Result<usize> {
        let members = self.column(url, queue, "members").await?;
        Ok(self.nodes.iter().filter(|node| members.contains(&node.node())).count())
    }

    /// Waits until all nodes run and see each other.
    pub async fn wait_until_whole(&self) -> Result<()> {
        eventually("the nodes to be one broker", JOIN, async || {
            // Nodes that are still starting, or pausing, are what is being waited out.
            let counted = self.ctl(&["eval", "length(rabbit_nodes:all_running())."]).await;
            Ok(counted.ok().filter(|seen| seen.trim() == Self::NODES.to_string()).map(drop))
        })
        .await
    }

    /// Waits until these queues of the virtual host at `url` would survive the end of any node: see
    /// [`RabbitMq::wait_until_kept`]. A node that was killed before makes its member of the queue anew when it is back, and
    /// that one does not know how to speak to the helper that moves messages out of a lane: once it leads, nothing leaves.
    pub async fn wait_until_kept(&self, url: &str, queues: &[impl AsRef<str>]) -> Result<()> {
        for node in &self.nodes {
            node.wait_until_kept(url, queues).await?;
        }
        Ok(())
    }

    async fn column(&self, url: &str, queue: &str, column: &str) -> Result<String> {
        let virtual_host = url.rsplit('/').next().unwrap_or_default();
        let listed =
            self.ctl(&["list_queues", "--no-table-headers", "-p", virtual_host, "name", column]).await?;
        let row = listed.lines().find_map(|line| line.split_once('\t').filter(|(name, _)| *name == queue));
        let (_, value) = row.with_context(|| format!("no {column} of {queue} in {listed}"))?;
        Ok(value.trim().to_owned())
    }
}

/// Any word will do that no other broker of this machine has: the folder's own.
fn cookie_of(folder: &Path) -> String {
    let name = folder.to_string_lossy();
    let letters: Vec<char> = name.chars().filter(char::is_ascii_alphanumeric).collect();
    letters[letters.len().saturating_sub(COOKIE_LENGTH)..].iter().collect()
}
