//! The engine: two connections, the topology, and the ports on top.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::{join, join_all};
use postrider_contract::clock::{Clock, Entropy};
use postrider_contract::delivery::{Delivery, Work};
use postrider_contract::ports::{
    IntakeSource, Journal, Publication, PublishError, PutOffQueue, QueueDepths, QueueError, RefusedQueue,
    Route, Strays, WorkKind, WorkQueue, WorkSource,
};
use postrider_contract::wire;

use crate::apart::Apart;
use crate::bundles::{Bundler, may_share};
use crate::connection::{Endpoint, Link};
use crate::consumer::Consuming;
use crate::error::{ConnectError, TopologyError};
use crate::intake::{PutOff, RabbitIntake, Refused};
use crate::journal::RabbitJournal;
use crate::lane::{LARGE, LaneQueue, Load, lane_for};
use crate::publisher::{Destination, Message, Publisher};
use crate::settings::{Settings, TopologyAtStart};
use crate::strays::RabbitStrays;
use crate::tally::Tally;
use crate::topology::{QueueName, Topology, close, look_at_queue};
use crate::verify::{Deviation, verify};

/// Messages longer than this go there too: a fan-out of small bodies can be long by its deliveries alone. Above
/// [`LARGE`] by more than what one delivery has beside its body.
const LARGE_MESSAGE: usize = LARGE + 8 * 1024;

/// Everything that runs on one broker. Cheap to clone; all clones share the connections.
#[derive(Clone)]
pub struct RabbitEngine {
    queue: Arc<RabbitQueue>,
    journal: Arc<RabbitJournal>,
}

impl RabbitEngine {
    /// Connects, checks the broker's version, and declares the topology unless told not to. From then on broken
    /// connections are replaced without a word to the callers.
    ///
    /// # Errors
    /// What is wrong with the URL, the broker, the rights of its user, or the objects that are there. Only here:
    /// later the ports say *unavailable*.
    pub async fn connect(
        settings: Settings,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Result<RabbitEngine, ConnectError> {
        let endpoint = Endpoint::new(&settings)?;
        endpoint.check_version().await?;
        let topology = Arc::new(settings.describe_topology());
        // Publishes must not hold up acknowledgements, nor a blocked publisher the consumers.
        let publishing = Arc::new(Link::start(endpoint.clone(), "publishing", Arc::clone(&entropy)).await?);
        let consuming = Arc::new(Link::start(endpoint.clone(), "consuming", entropy).await?);
        match settings.topology {
            TopologyAtStart::Declare => declare(&endpoint, &topology, &consuming).await?,
            TopologyAtStart::Assume => {}
        }
        let (at_start, timings) = (settings.topology, settings.timings);
        let opening = Publisher::start(
            Arc::clone(&topology),
            Arc::clone(&clock),
            at_start,
            timings,
            publishing.watch(),
        );
        let publisher = opening.await;
        let publisher = Arc::new(publisher);
        let bundler = Bundler::new(Arc::clone(&publisher));
        let sources =
            Arc::new(Consuming::new(topology, at_start, timings.renew_idle, publisher, consuming.watch()));
        let journal = Arc::new(RabbitJournal::new(Arc::clone(&sources), Arc::clone(&consuming), clock));
        let queue = Arc::new(RabbitQueue { endpoint, sources, bundler, publishing, consuming });
        Ok(RabbitEngine { queue, journal })
    }

    #[must_use]
    pub fn work_queue(&self) -> Arc<dyn WorkQueue> {
        Arc::clone(&self.queue) as Arc<dyn WorkQueue>
    }

    #[must_use]
    pub fn journal(&self) -> Arc<dyn Journal> {
        Arc::clone(&self.journal) as Arc<dyn Journal>
    }

    /// Begins to take what producers publish, at most `prefetch` messages at once.
    ///
    /// # Errors
    /// [`QueueError::Closed`] after the queue was closed.
    pub fn intake(&self, prefetch: u16) -> Result<Box<dyn IntakeSource>, QueueError> {
        Ok(Box::new(RabbitIntake::open(&self.queue.sources, prefetch)?))
    }

    /// Where what producers published and nobody can accept is kept.
    #[must_use]
    pub fn refused_queue(&self) -> Arc<dyn RefusedQueue> {
        Arc::new(Refused(Arc::clone(&self.queue.sources.publisher)))
    }

    /// Where what producers published waits until it can be accepted.
    #[must_use]
    pub fn put_off_queue(&self) -> Arc<dyn PutOffQueue> {
        Arc::new(PutOff(Arc::clone(&self.queue.sources.publisher)))
    }

    /// What fell off the ordinary path.
    #[must_use]
    pub fn strays(&self) -> Arc<dyn Strays> {
        let (consuming, link) = (Arc::clone(&self.queue.sources), Arc::clone(&self.queue.consuming));
        Arc::new(RabbitStrays::new(consuming, link))
    }

    /// Declares everything but the lanes, which come on first use. What is there and equal stays as it is.
    ///
    /// # Errors
    /// [`ConnectError::Mismatch`] names the object and the argument that differ.
    pub async fn declare_topology(&self) -> Result<(), ConnectError> {
        declare(&self.queue.endpoint, self.topology(), &self.queue.consuming).await
    }

    /// What is missing or different on the broker; changes nothing. Connect with [`TopologyAtStart::Assume`]
    /// first, else everything missing has just been declared.
    ///
    /// # Errors
    /// When the broker does not answer.
    pub async fn verify_topology(&self) -> Result<Vec<Deviation>, ConnectError> {
        let live = self.queue.consuming.live().map_err(|reason| self.queue.failed(reason))?;
        let found = verify(self.topology(), &live).await;
        found.map_err(|error| name_problem(&self.queue.endpoint, error))
    }

    /// What would be declared, for people to read.
    #[must_use]
    pub fn print_topology(&self) -> String {
        self.topology().print()
    }

    /// Deletes every object of this installation, with all messages. For tests and for taking one down.
    ///
    /// # Errors
    /// When the broker does not answer or does not allow it.
    pub async fn tear_down_topology(&self) -> Result<(), ConnectError> {
        let live = self.queue.consuming.live().map_err(|reason| self.queue.failed(reason))?;
        let torn_down = self.topology().tear_down(&live).await;
        torn_down.map_err(|error| name_problem(&self.queue.endpoint, error))
    }

    fn topology(&self) -> &Topology {
        &self.queue.sources.topology
    }
}

async fn declare(endpoint: &Endpoint, topology: &Topology, link: &Link) -> Result<(), ConnectError> {
    let address = endpoint.address();
    let live = link.live().map_err(|reason| ConnectError::Failed { address, reason })?;
    topology.declare(&live).await.map_err(|error| name_problem(endpoint, error))
}

fn name_problem(endpoint: &Endpoint, error: TopologyError) -> ConnectError {
    match error {
        TopologyError::Mismatch(reason) | TopologyError::Missing(reason) => ConnectError::Mismatch { reason },
        error @ (TopologyError::Failed(_) | TopologyError::Stumbled(_) | TopologyError::NoAnswer(_)) => {
            ConnectError::Failed { address: endpoint.address(), reason: error.to_string() }
        }
    }
}

struct RabbitQueue {
    endpoint: Endpoint,
    sources: Arc<Consuming>,
    bundler: Arc<Bundler<Arc<Publisher>>>,
    publishing: Arc<Link>,
    consuming: Arc<Link>,
}

impl RabbitQueue {
    fn failed(&self, reason: String) -> ConnectError {
        ConnectError::Failed { address: self.endpoint.address(), reason }
    }

    async fn count_ready(&self) -> Result<QueueDepths, TopologyError> {
        let live = self.consuming.live().map_err(TopologyError::Failed)?;
        let mut channel = live.open_channel().await?;
        let published = self.sources.publisher.published();
        let mut depths = QueueDepths { published, ..QueueDepths::default() };
        for queue in QueueName::ALL {
            let depth = match queue {
                QueueName::First => &mut depths.first,
                QueueName::Large => &mut depths.large,
                QueueName::Retry | QueueName::RetryLarge => &mut depths.retry,
                QueueName::Release => &mut depths.release,
                QueueName::Journal => &mut depths.journal,
                QueueName::Dead => &mut depths.dead,
                QueueName::CatchAll => &mut depths.catch_all,
                QueueName::Unreadable => &mut depths.unreadable,
                QueueName::EventsLater => &mut depths.put_off,
                QueueName::Events | QueueName::EventsRefused => continue,
            };
            let name = self.sources.topology.queue(queue);
            match look_at_queue(&live, &channel, &name).await {
                Ok(found) => *depth += u64::from(found.message_count()),
                Err(TopologyError::Missing(_)) => {
                    depths.missing.push(name);
                    // The broker has closed the other one for it.
                    channel = live.open_channel().await?;
                }
                Err(
                    error @ (TopologyError::Mismatch(_)
                    | TopologyError::Failed(_)
                    | TopologyError::Stumbled(_)
                    | TopologyError::NoAnswer(_)),
                ) => return Err(error),
            }
        }
        close(&channel).await;
        Ok(depths)
    }
}

#[async_trait]
impl WorkQueue for RabbitQueue {
    fn parked_for(&self, delay: Duration) -> Duration {
        if delay.is_zero() { delay } else { self.sources.publisher.parked_for(delay) }
    }

    async fn publish(&self, publications: Vec<Publication>) -> Result<(), PublishError> {
        let (shared, alone) = split(publications);
        let (bundler, tally) = (&self.bundler, &Arc::new(Tally::default()));
        let bundling = join_all(shared.into_iter().map(|(destination, deliveries)| async move {
            tally.ticket().settle(bundler.publish(destination, deliveries).await);
        }));
        let publishing = async {
            if !alone.is_empty() {
                tally.ticket().settle(self.sources.publisher.publish(alone).await);
            }
        };
        join(bundling, publishing).await;
        tally.wait().await
    }

    async fn consume(&self, kind: WorkKind, prefetch: u16) -> Result<Box<dyn WorkSource>, QueueError> {
        Ok(Box::new(Apart::open(&self.sources, kind, prefetch)?))
    }

    async fn depths(&self) -> Result<QueueDepths, QueueError> {
        Ok(self.count_ready().await?)
    }

    fn check_writable(&self) -> Result<(), QueueError> {
        if self.sources.is_closed() {
            return Err(QueueError::Closed);
        }
        self.sources.publisher.check_writable().map_err(|reason| QueueError::Unavailable { reason })
    }

    async fn close(&self) {
        self.sources.close().await;
        self.publishing.close().await;
        self.consuming.close().await;
    }
}

/// What may share a message, by where it goes, and what may not.
fn split(publications: Vec<Publication>) -> (Vec<(Destination, Vec<Delivery>)>, Vec<Message>) {
    let (mut shared, mut alone) = (Vec::<(Destination, Vec<Delivery>)>::new(), Vec::new());
    for Publication { route, work } in publications {
        let gathered_at = match route {
            Route::First => Some(Destination::Queue(QueueName::First)),
            Route::Retry { delay } if !delay.is_zero() => Some(lane_of(delay, Load::Small)),
            Route::Retry { .. } | Route::Release => None,
        };
        match (work, gathered_at) {
            (Work::Deliver(delivery), Some(destination)) if may_share(&delivery) => {
                match shared.iter_mut().find(|(other, _)| *other == destination) {
                    Some((_, deliveries)) => deliveries.push(delivery),
                    None => shared.push((destination, vec![delivery])),
                }
            }
            (work, _) => alone.push(address(Publication { route, work })),
        }
    }
    (shared, alone)
}

fn lane_of(delay: Duration, load: Load) -> Destination {
    Destination::Lane(LaneQueue { lane: lane_for(delay), load })
}

fn address(publication: Publication) -> Message {
    let Publication { route, work } = publication;
    let encoded = wire::encode_work(&work);
    let load =
        if body_bytes(&work) > LARGE || encoded.len() > LARGE_MESSAGE { Load::Large } else { Load::Small };
    let destination = match (route, load) {
        (Route::Retry { delay }, load) if !delay.is_zero() => lane_of(delay, load),
        (Route::Retry { .. }, Load::Small) => Destination::Queue(QueueName::Retry),
        (Route::Retry { .. }, Load::Large) => Destination::Queue(QueueName::RetryLarge),
        (Route::First | Route::Release, Load::Large) => Destination::Queue(QueueName::Large),
        (Route::First, Load::Small) => Destination::Queue(QueueName::First),
        (Route::Release, Load::Small) => Destination::Queue(QueueName::Release),
    };
    Message::new(destination, encoded)
}

fn body_bytes(work: &Work) -> usize {
    match work {
        Work::Deliver(delivery) => delivery.body.len(),
        Work::FanOut(fan_out) => fan_out.bodies.iter().map(bytes::Bytes::len).sum(),
    }
}
