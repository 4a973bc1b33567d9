//! The delivery worker: takes work of four kinds, gives each webhook its turn, and lets each delivery walk its
//! path. It keeps no state that matters: what it holds when it ends comes again.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use postrider_contract::clock::{Clock, Entropy};
use postrider_contract::delivery::Work;
use postrider_contract::ids::WebhookId;
use postrider_contract::ports::{DeliveryLog, Lease, QueueError, WorkKind, WorkQueue, WorkSource};
use postrider_service::journal_writer::JournalWriter;
use postrider_service::lifecycle::Stop;
use postrider_service::metrics::WorkerMetrics;
use postrider_service::secret_box::SecretBox;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::task::TaskTracker;

use crate::attempt::Attempter;
use crate::check::Checker;
use crate::client::Transport;
use crate::fair_queue::{FairQueue, Limits, Share};
use crate::gate::{Gate, Webhooks};
use crate::path::{Path, Slot};
use crate::prepared::Preparations;
use crate::settle::{Settle, Trouble, Unsettled};
use crate::taken::Taken;
use crate::tally::Tally;
use crate::windows::Pace;

/// How often waiting deliveries and idle connections are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// In looks: every five seconds.
const SWEEP_EVERY: u32 = 50;
/// Bodies over 64 KiB: with 16 of them in hand the worker holds little more than its other buffers do.
const LARGE_PREFETCH: u16 = 16;
/// Expanding more than this at once would let fan-outs crowd out first tries.
const FAN_OUTS_AT_ONCE: usize = 4;
/// How many retries or releases are begun in one go. They come in bursts, and a first try of another webhook would
/// wait behind the making of all their requests; behind so few it waits some 100 µs.
const BEGUN_AT_ONCE: u32 = 4;
/// After the queue said that it is away.
const PAUSE: Duration = Duration::from_millis(500);

/// How much a worker does at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Tries in flight at once: 60 % for first tries, 20 % each for retries and releases. More hide slow
    /// receivers, and cost a socket and some 20 KiB each. From 5 to 16,384.
    pub slots: u16,
    /// Tries in flight at once for one webhook that is well and names no window of its own. From 1 to 4,096.
    pub window: u16,
    /// How long a delivery waits for its own webhook before it goes to the waiting room. From 50 ms to 60 s.
    pub patience: Duration,
    /// With the store away, the directory is used until it is this old; then deliveries are put off.
    pub stale_after: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            slots: 1024,
            window: 256,
            patience: Duration::from_millis(500),
            // No older than 60 s while the store answers, and 10 min more when it does not.
            stale_after: Duration::from_secs(660),
        }
    }
}

/// What a worker works with.
pub struct WorkerParts {
    pub queue: Arc<dyn WorkQueue>,
    pub journal: JournalWriter,
    pub log: Arc<dyn DeliveryLog>,
    pub webhooks: Arc<dyn Webhooks>,
    pub secrets: SecretBox,
    pub transport: Arc<dyn Transport>,
    pub clock: Arc<dyn Clock>,
    pub entropy: Arc<dyn Entropy>,
    pub metrics: WorkerMetrics,
}

/// Why a worker could not go on.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    #[error("cannot take work from the queue")]
    Queue(#[from] QueueError),
    #[error("a part of the worker ended unexpectedly")]
    Ended,
}

/// Delivers, until it is told to stop.
pub struct Worker {
    settings: Settings,
    parts: WorkerParts,
}

impl Worker {
    #[must_use]
    pub fn new(settings: Settings, parts: WorkerParts) -> Self {
        Worker { settings, parts }
    }

    /// Takes work until `stop` drains, finishes what is in flight, and gives back what had not begun. When `stop`
    /// halts, the rest is given back unfinished.
    ///
    /// # Errors
    /// What will not mend itself: a queue that is not as expected.
    pub async fn run(self, stop: Stop) -> Result<(), WorkerError> {
        let floor = Floor::new(self.settings, self.parts, stop.clone());
        let mut sources = JoinSet::new();
        for kind in WorkKind::ALL {
            let source = floor.settle().queue.consume(kind, floor.prefetch(kind)).await?;
            sources.spawn(take_all(Arc::clone(&floor), kind, source));
        }
        let looking = tokio::spawn(look_around(Arc::clone(&floor)));
        let taken = finish_taking(&mut sources, &stop).await;
        // If one source failed, the others must not go on taking what will not be finished.
        sources.shutdown().await;
        drop(floor.fair().take_waiting());
        floor.tasks.close();
        tokio::select! {
            () = floor.tasks.wait() => {}
            () = stop.halted() => floor.tasks.wait().await,
        }
        looking.abort();
        taken
    }
}

/// Waits until every source has ended, which is right only while draining.
async fn finish_taking(
    sources: &mut JoinSet<Result<(), QueueError>>,
    stop: &Stop,
) -> Result<(), WorkerError> {
    while let Some(ended) = sources.join_next().await {
        match ended {
            Ok(Ok(())) if stop.is_draining() => {}
            Ok(Err(error)) => return Err(error.into()),
            Ok(Ok(())) | Err(_) => return Err(WorkerError::Ended),
        }
    }
    Ok(())
}

/// Where tries are made: what all tasks of one worker share.
struct Floor {
    settings: Settings,
    limits: Limits,
    path: Path,
    fair: Mutex<FairQueue<Taken>>,
    fan_outs: Semaphore,
    tasks: TaskTracker,
}

impl Floor {
    fn new(settings: Settings, parts: WorkerParts, stop: Stop) -> Arc<Self> {
        let limits = Limits::of(usize::from(settings.slots), settings.patience);
        let WorkerParts { queue, journal, log, webhooks, secrets, transport, clock, entropy, metrics } =
            parts;
        let path = Path {
            checker: Checker::start(log),
            gate: Gate::new(webhooks, settings.stale_after),
            preparations: Preparations::new(secrets),
            attempter: Attempter::new(transport, Arc::clone(&clock), Arc::clone(&entropy)),
            settle: Settle { queue, journal, clock: Arc::clone(&clock), trouble: Trouble::default(), stop },
            clock,
            entropy,
            tally: Tally::new(metrics),
        };
        Arc::new(Floor {
            settings,
            limits,
            path,
            fair: Mutex::new(FairQueue::new(limits)),
            fan_outs: Semaphore::new(FAN_OUTS_AT_ONCE),
            tasks: TaskTracker::new(),
        })
    }

    fn settle(&self) -> &Settle {
        &self.path.settle
    }

    fn fair(&self) -> MutexGuard<'_, FairQueue<Taken>> {
        self.fair.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Twice the slots: while one half is in flight, the other waits for its turn and hides the queue's latency.
    fn prefetch(&self, kind: WorkKind) -> u16 {
        let slots = match kind {
            WorkKind::First => self.limits.slots[0],
            WorkKind::Retry => self.limits.slots[1],
            WorkKind::Release => self.limits.slots[2],
            WorkKind::Large => return LARGE_PREFETCH,
        };
        u16::try_from(slots * 2).unwrap_or(u16::MAX)
    }

    async fn accept(self: &Arc<Self>, kind: WorkKind, lease: Lease<Work>) {
        let Lease { message, redelivered, ticket } = lease;
        match message {
            Work::Deliver(delivery) => {
                let webhook = delivery.reference.webhook;
                let cap = self.path.gate.window_of(webhook).unwrap_or(usize::from(self.settings.window));
                let waited = self.path.clock.now().since(delivery.due_at);
                let taken = Taken { delivery, kind, redelivered, ticket };
                let now = Instant::now();
                let mut fair = self.fair();
                if kind == WorkKind::First {
                    fair.note_arrival(webhook, waited, now);
                }
                let given_up = fair.push(taken.share(), webhook, cap, taken, now);
                drop(fair);
                match given_up {
                    Some(taken) => self.put_away(taken),
                    None => self.start_ready(),
                }
            }
            Work::FanOut(work) => {
                let floor = Arc::clone(self);
                // It waits for its place here and not in the way of what came behind it; the prefetch bounds how
                // many do.
                self.tasks.spawn(async move {
                    let permit = tokio::select! {
                        biased;
                        // The ticket goes with this: what has not begun is given back.
                        () = floor.settle().stop.draining() => return,
                        permit = floor.fan_outs.acquire() => permit,
                    };
                    floor.to_the_end(Box::pin(floor.settle().fanned_out(work, redelivered, ticket))).await;
                    drop(permit);
                });
            }
        }
    }

    /// Starts every try that has a slot, a window and its turn. A worker that could not write down what becomes
    /// of a try does not begin it.
    fn start_ready(self: &Arc<Self>) {
        let settle = self.settle();
        let may_send = !settle.stop.is_draining() && !settle.trouble.is_there();
        if !may_send || settle.queue.check_writable().is_err() {
            return;
        }
        loop {
            let Some(started) = self.fair().start_next(Instant::now()) else { return };
            self.path.tally.note_started();
            let slot = HeldSlot(Some((Arc::clone(self), started.webhook, started.share)));
            let (floor, taken) = (Arc::clone(self), started.item);
            self.tasks.spawn(async move { floor.to_the_end(Box::pin(floor.path.walk(taken, slot))).await });
        }
    }

    /// Puts away what waited too long for its own webhook.
    fn put_away_overflow(self: &Arc<Self>) {
        let overflowing = self.fair().overflowing(Instant::now());
        overflowing.into_iter().for_each(|taken| self.put_away(taken));
    }

    fn put_away(self: &Arc<Self>, taken: Taken) {
        let floor = Arc::clone(self);
        self.tasks.spawn(async move { floor.to_the_end(Box::pin(floor.path.put_away(taken))).await });
    }

    /// Runs a delivery's path to its end, or lets go of it when the worker is halted. A path takes kilobytes; boxed, it
    /// is made in its place, where a task made of it would be moved a dozen times.
    async fn to_the_end(&self, path: Pin<Box<impl Future<Output = Result<(), Unsettled>>>>) {
        tokio::select! {
            biased;
            () = self.settle().stop.halted() => {}
            ended = path => if let Err(error) = ended {
                tracing::warn!(%error, "a delivery was given back");
            }
        }
    }
}

/// A slot, free again when this goes, at the latest.
struct HeldSlot(Option<(Arc<Floor>, WebhookId, Share)>);

impl HeldSlot {
    fn release(&mut self, pace: Pace) {
        let Some((floor, webhook, share)) = self.0.take() else { return };
        floor.path.tally.note_ended();
        floor.fair().end(webhook, share, pace, Instant::now());
        floor.start_ready();
    }
}

impl Slot for HeldSlot {
    fn free(mut self, pace: Pace) {
        self.release(pace);
    }
}

impl Drop for HeldSlot {
    fn drop(&mut self) {
        self.release(Pace::NotSent);
    }
}

/// Takes what one source gives until the worker drains. Dropping the source gives back what it had fetched.
async fn take_all(
    floor: Arc<Floor>,
    kind: WorkKind,
    mut source: Box<dyn WorkSource>,
) -> Result<(), QueueError> {
    let stop = floor.settle().stop.clone();
    let mut begun: u32 = 0;
    loop {
        let next = tokio::select! {
            biased;
            () = stop.draining() => return Ok(()),
            next = source.next() => next,
        };
        match next {
            Ok(lease) => {
                floor.accept(kind, lease).await;
                begun = begun.wrapping_add(1);
                if kind != WorkKind::First && begun.is_multiple_of(BEGUN_AT_ONCE) {
                    tokio::task::yield_now().await;
                }
            }
            Err(QueueError::Unavailable { reason }) => {
                tracing::warn!(reason, "the queue is away");
                tokio::time::sleep(PAUSE).await;
            }
            Err(QueueError::Closed) if stop.is_draining() => return Ok(()),
            Err(error @ (QueueError::Closed | QueueError::Mismatch { .. })) => return Err(error),
        }
    }
}

/// Looks after what nobody else notices: deliveries that wait too long, a queue that can be written to again,
/// connections that grow old.
async fn look_around(floor: Arc<Floor>) {
    let mut ticks = tokio::time::interval(LOOK_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for look in 0_u32.. {
        ticks.tick().await;
        floor.put_away_overflow();
        floor.start_ready();
        if look % SWEEP_EVERY == 0 {
            floor.path.attempter.transport().sweep();
        }
    }
}

#[cfg(test)]
mod tests;
