//! The broker of a trial, as far as the trial asks it something.

use anyhow::Result;
use postrider_tests::harness::{RabbitMq, RabbitMqCluster};
use tokio::sync::MutexGuard;

/// Its broker, and the URL of the virtual host there.
pub enum Broker {
    /// None, or one that is not asked.
    Untold,
    Node(&'static RabbitMq, String),
    Nodes(MutexGuard<'static, RabbitMqCluster>, String),
}

impl Broker {
    /// What it says of its queues.
    pub async fn post_mortem(&self) -> String {
        match self {
            Broker::Untold => String::new(),
            Broker::Node(broker, url) => broker.post_mortem(url).await,
            Broker::Nodes(broker, url) => broker.post_mortem(url).await,
        }
    }

    /// The lanes of which it gives nothing back, now or ever, until another node leads them.
    pub async fn withheld(&self) -> Result<Vec<String>> {
        match self {
            Broker::Untold | Broker::Node(..) => Ok(Vec::new()),
            Broker::Nodes(broker, url) => broker.withheld_lanes(url).await,
        }
    }
}
