//! Settlements of one consuming channel: acknowledgements and give-backs, written without being waited for.
//!
//! Promises: each delivery is settled once; what is contiguous from the oldest open delivery on is merged into
//! one acknowledgement of many, and goes out at once; what lies beyond a delivery that is still open waits a moment
//! for it ([`PATIENCE`]) and then goes out singly; before the channel is closed in order, all that was asked for until
//! then is written and the queue has it; a settlement that comes after the channel has ended is dropped, and the message
//! comes again. Delivery tags count from 1 on each channel, and only the consumer of the channel receives on it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use lapin::Channel;
use lapin::options::{BasicAckOptions, BasicGetOptions, BasicNackOptions};
use postrider_contract::ports::Settlement;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::connection::Live;
use crate::error::TopologyError;

/// How many settlements are looked at together.
const BATCH: usize = 1_024;
/// How long an acknowledgement waits for older deliveries, to be merged with theirs: about what tries of one moment
/// end apart. A single one costs us and the broker some 15 µs, a merged one a fraction of that.
const PATIENCE: Duration = Duration::from_millis(10);
/// With a prefetch below this nothing waits: a few that do, behind one that hangs, would hold up the queue.
const ROOM_TO_WAIT: u16 = 128;
/// So many settlements of a channel the broker hands to a quorum queue unanswered; those beyond it keeps back until the
/// queue has taken some, and forgets them if the channel is closed before (`rabbit_fifo_client`, 3.8 to 4.x).
const UNANSWERED: usize = 32;
/// How long the queue may take to answer that it has them: well within the time that a close has.
const TAKEN_WITHIN: Duration = Duration::from_secs(1);

pub(crate) enum Settle {
    Acknowledge(u64),
    GiveBack(u64),
}

/// Settles one delivery of one channel.
pub(crate) struct TagSettlement {
    pub tag: u64,
    pub requests: mpsc::UnboundedSender<Settle>,
}

impl Settlement for TagSettlement {
    fn acknowledge(self: Box<Self>) {
        // Nobody listens any more: the channel has ended, and the message comes again.
        self.requests.send(Settle::Acknowledge(self.tag)).ok();
    }

    fn give_back(self: Box<Self>) {
        self.requests.send(Settle::GiveBack(self.tag)).ok();
    }
}

/// What is written to the broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Command {
    Acknowledge(u64),
    /// This and everything older.
    AcknowledgeUpTo(u64),
    GiveBack(u64),
}

/// Which deliveries of a channel are settled.
struct OpenTags {
    /// The oldest that is not.
    oldest: u64,
    /// Settled ones above it.
    ahead: BTreeSet<u64>,
    /// Those of them whose acknowledgement is not written yet.
    waiting: BTreeSet<u64>,
}

impl OpenTags {
    fn new() -> Self {
        OpenTags { oldest: 1, ahead: BTreeSet::new(), waiting: BTreeSet::new() }
    }

    fn take(&mut self, requests: impl Iterator<Item = Settle>) -> Vec<Command> {
        let (mut acknowledged, mut given_back) = (Vec::new(), Vec::new());
        for request in requests {
            match request {
                Settle::Acknowledge(tag) => acknowledged.push(tag),
                Settle::GiveBack(tag) => given_back.push(tag),
            }
        }
        self.plan(&acknowledged, &given_back)
    }

    /// What to write at once for these settlements. A merged acknowledgement names a delivery that is open until then,
    /// as the broker demands; those it covers besides are settled here as well, or were before.
    fn plan(&mut self, acknowledged: &[u64], given_back: &[u64]) -> Vec<Command> {
        let mut commands: Vec<Command> = given_back.iter().map(|tag| Command::GiveBack(*tag)).collect();
        self.ahead.extend(given_back);
        self.ahead.extend(acknowledged);
        self.waiting.extend(acknowledged);
        while self.ahead.remove(&self.oldest) {
            self.oldest += 1;
        }
        let later = self.waiting.split_off(&self.oldest);
        let merged = std::mem::replace(&mut self.waiting, later);
        match (merged.len(), merged.last()) {
            (0, _) | (_, None) => {}
            (1, Some(single)) => commands.push(Command::Acknowledge(*single)),
            (_, Some(newest)) => commands.push(Command::AcknowledgeUpTo(*newest)),
        }
        commands
    }

    /// What still waits for an older delivery, singly.
    fn give_up_waiting(&mut self) -> Vec<Command> {
        std::mem::take(&mut self.waiting).into_iter().map(Command::Acknowledge).collect()
    }
}

/// How long acknowledgements of a channel with this prefetch wait for older ones.
pub(crate) fn patience(prefetch: u16) -> Duration {
    if prefetch < ROOM_TO_WAIT { Duration::ZERO } else { PATIENCE }
}

/// Writes the settlements of one channel.
pub(crate) struct SettlementWriter {
    pub channel: Channel,
    pub live: Arc<Live>,
    /// Which queue is consumed on the channel.
    pub queue: String,
    pub requests: mpsc::UnboundedReceiver<Settle>,
    pub patience: Duration,
    /// From then on nothing is asked for that has to be written.
    pub closing: CancellationToken,
}

impl SettlementWriter {
    /// Until every delivery of the channel is settled, the channel has ended, or all is to be closed.
    pub async fn run(mut self) {
        let live = Arc::clone(&self.live);
        tokio::select! {
            biased;
            () = live.ended() => {}
            written = self.write_all() => match written {
                Ok(commands) => self.close(commands).await,
                // The channel has ended: what it held comes again, and its consumer notices by itself.
                Err(error) => {
                    tracing::warn!(%error, "settlements were lost with their channel; the messages come again");
                }
            }
        }
    }

    /// Answers how many commands it took.
    async fn write_all(&mut self) -> Result<usize, lapin::Error> {
        let mut open = OpenTags::new();
        // Moved when something begins to wait.
        let mut waited_enough = std::pin::pin!(tokio::time::sleep(self.patience));
        let mut writes = FuturesUnordered::new();
        let mut count = 0;
        let mut batch = Vec::with_capacity(BATCH);
        loop {
            let is_waiting = !open.waiting.is_empty();
            let commands = tokio::select! {
                biased;
                Some(written) = writes.next(), if !writes.is_empty() => {
                    written?;
                    continue;
                }
                () = waited_enough.as_mut(), if is_waiting => open.give_up_waiting(),
                taken = self.requests.recv_many(&mut batch, BATCH) => {
                    if taken == 0 {
                        break;
                    }
                    self.take_more(&mut batch).await;
                    let mut commands = open.take(batch.drain(..));
                    if self.patience.is_zero() {
                        commands.extend(open.give_up_waiting());
                    } else if !is_waiting {
                        waited_enough.as_mut().reset(Instant::now() + self.patience);
                    }
                    commands
                }
                () = self.closing.cancelled() => break,
            };
            count += commands.len();
            writes.extend(commands.into_iter().map(|command| write(self.channel.clone(), command)));
        }
        let last = open.give_up_waiting();
        count += last.len();
        writes.extend(last.into_iter().map(|command| write(self.channel.clone(), command)));
        while let Some(written) = writes.next().await {
            written?;
        }
        Ok(count)
    }

    /// One confirm of the journal wakes many that acknowledge: lets those run first, and takes theirs too.
    async fn take_more(&mut self, batch: &mut Vec<Settle>) {
        tokio::task::yield_now().await;
        while batch.len() < BATCH
            && let Ok(more) = self.requests.try_recv()
        {
            batch.push(more);
        }
    }

    async fn close(&self, commands: usize) {
        if commands > UNANSWERED {
            let taken = tokio::time::timeout(TAKEN_WITHIN, self.wait_until_taken()).await;
            if !matches!(taken, Ok(Ok(()))) {
                tracing::warn!(
                    queue = self.queue,
                    "the queue did not say that it has what was settled last; some of it may come again"
                );
            }
        }
        crate::topology::close(&self.channel).await;
    }

    /// A settlement has no answer. A message that is asked for has one, which the queue gives after all that was handed to
    /// it before; by then the broker has handed it the rest as well. What comes is given back.
    async fn wait_until_taken(&self) -> Result<(), TopologyError> {
        let options = BasicGetOptions { no_ack: false };
        let getting = self.channel.basic_get(self.queue.as_str().into(), options);
        if let Some(found) = self.live.answer(getting).await? {
            write(self.channel.clone(), Command::GiveBack(found.delivery.delivery_tag)).await?;
        }
        Ok(())
    }
}

/// Resolves once the frame is on the socket. A channel that has ended answers with an error: it never comes
/// back to life, since connections are replaced and not repaired.
async fn write(channel: Channel, command: Command) -> Result<(), lapin::Error> {
    match command {
        Command::Acknowledge(tag) => channel.basic_ack(tag, BasicAckOptions { multiple: false }).await,
        Command::AcknowledgeUpTo(tag) => channel.basic_ack(tag, BasicAckOptions { multiple: true }).await,
        Command::GiveBack(tag) => {
            channel.basic_nack(tag, BasicNackOptions { multiple: false, requeue: true }).await
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_contiguous_is_merged_and_the_rest_waits_for_what_lies_between() {
        let mut open = OpenTags::new();
        assert_eq!(open.plan(&[2, 1, 3, 6], &[]), [Command::AcknowledgeUpTo(3)]);
        assert_eq!(open.plan(&[5], &[]), []);
        assert_eq!(open.plan(&[4], &[]), [Command::AcknowledgeUpTo(6)]);
        assert_eq!(open.plan(&[7], &[]), [Command::Acknowledge(7)]);
    }

    #[test]
    fn what_has_waited_long_enough_goes_out_singly_and_is_not_written_again() {
        let mut open = OpenTags::new();
        assert_eq!(open.plan(&[2, 4], &[]), []);
        assert_eq!(open.give_up_waiting(), [Command::Acknowledge(2), Command::Acknowledge(4)]);
        assert_eq!(open.plan(&[1], &[]), [Command::Acknowledge(1)], "2 is settled already");
        assert_eq!(open.plan(&[3, 5], &[]), [Command::AcknowledgeUpTo(5)]);
        assert_eq!(open.give_up_waiting(), []);
    }

    #[test]
    fn a_merged_acknowledgement_never_covers_what_is_given_back_with_it() {
        let mut open = OpenTags::new();
        let commands = open.plan(&[1, 3], &[2]);
        assert_eq!(commands, [Command::GiveBack(2), Command::AcknowledgeUpTo(3)]);
    }

    proptest! {
        /// Plays the broker: a tag that is not open, or a merged acknowledgement of a tag that is not open, or
        /// of one that nobody settled, would close the channel or lose a message.
        #[test]
        fn the_broker_sees_each_delivery_settled_once_and_as_asked(
            order in Just((1..=60_u64).collect::<Vec<_>>()).prop_shuffle(),
            sizes in proptest::collection::vec(1..12_usize, 60),
            returns in proptest::collection::vec(any::<bool>(), 60),
            out_of_patience in proptest::collection::vec(any::<bool>(), 60),
        ) {
            let mut open = OpenTags::new();
            let mut at_broker: BTreeSet<u64> = (1..=60).collect();
            let mut asked = BTreeSet::new();
            let mut rest = order.as_slice();
            for (size, is_out_of_patience) in sizes.into_iter().zip(out_of_patience) {
                let (batch, later) = rest.split_at(size.min(rest.len()));
                rest = later;
                let is_return = |tag: &u64| returns[usize::try_from(*tag).expect("small") - 1] && tag.is_multiple_of(5);
                let (back, acks): (Vec<u64>, Vec<u64>) = batch.iter().copied().partition(is_return);
                asked.extend(acks.iter().copied());
                let mut commands = open.plan(&acks, &back);
                if is_out_of_patience || rest.is_empty() {
                    commands.extend(open.give_up_waiting());
                }
                for command in commands {
                    match command {
                        Command::GiveBack(tag) => prop_assert!(at_broker.remove(&tag) && back.contains(&tag)),
                        Command::Acknowledge(tag) => prop_assert!(at_broker.remove(&tag) && asked.contains(&tag)),
                        Command::AcknowledgeUpTo(newest) => {
                            prop_assert!(at_broker.contains(&newest));
                            let covered: Vec<u64> = at_broker.range(..=newest).copied().collect();
                            for tag in covered {
                                prop_assert!(at_broker.remove(&tag) && asked.contains(&tag), "{tag}");
                            }
                        }
                    }
                }
            }
            prop_assert!(at_broker.is_empty());
        }
    }
}
