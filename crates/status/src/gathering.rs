//! What the writers of a process write together: they take turns at one source of the journal, and whoever's turn it
//! is takes all that comes within a moment, up to one statement's worth.
//!
//! An acceptance and the try that follows it come some 30 ms apart, in messages of different processes. Written
//! together they are one new row; written one after the other, a row in every index for what is pending and then
//! another one, which costs three times as much. So, while there is much to write, an acceptance that nothing
//! followed yet is kept for a later turn, some [`KEPT_AT_MOST`]. It is never lost by that: its message is acknowledged
//! once all of its records are written, by whichever writers ([`TicketShare`]). Where tries do not follow, since another process writes them or
//! their receivers are slow, nothing is kept ([`Worth`]).

mod shared_ticket;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use postrider_contract::ids::DeliveryId;
use postrider_contract::journal::{AcceptedRecord, JournalBatch, JournalRecord};
use postrider_contract::ports::{Journal, JournalSource, Lease, QueueError};
use postrider_service::lifecycle::Stop;
use tokio::sync::Mutex;
use tokio::time::Instant;

pub(crate) use self::shared_ticket::TicketShare;

/// Messages in hand, a few hundred records each: two statements' worth, and as much that is kept.
const PREFETCH: u16 = 128;
/// Messages to one statement; what more are in hand is not kept back any longer.
const MANY_MESSAGES: usize = PREFETCH as usize / 2;
/// From here on a larger statement gains nothing: 500 rows (DESIGN.md, "Numbers to know"), each made of two records.
const ENOUGH_RECORDS: usize = 1_000;
/// How long a write waits for more to come. The log may be this late; at 8,000 deliveries a second, each with two
/// records, this is what it takes to fill half a statement.
const LINGER: Duration = Duration::from_millis(30);
/// With fewer new records than this in a turn there is time for two rows, and nobody waits for a kept one.
const MUCH: usize = 50;
/// How long an acceptance is kept for the try that follows it: several times what lies between the two on a saturated
/// machine.
const KEPT_AT_MOST: Duration = Duration::from_millis(200);

/// So many kept acceptances tell whether keeping is worth it.
const SAMPLE: u32 = 200;
/// How long nothing is kept after it was not.
const REST: Duration = Duration::from_secs(10);

/// One message of the journal, or what is left of it.
struct Message {
    taken_at: Instant,
    was_kept: bool,
    records: Vec<Arc<JournalRecord>>,
    ticket: TicketShare,
}

impl Message {
    fn of(lease: Lease<JournalBatch>) -> Self {
        Message {
            taken_at: Instant::now(),
            was_kept: false,
            records: lease.message.records,
            ticket: TicketShare::whole(lease.ticket),
        }
    }
}

/// Records to write, and what is to be told once they are written.
#[derive(Default)]
pub(crate) struct Gathered {
    pub(crate) records: Vec<Arc<JournalRecord>>,
    pub(crate) tickets: Vec<TicketShare>,
}

/// One source of the journal, for all writers of a process.
pub struct Gathering {
    journal: Arc<dyn Journal>,
    turn: Mutex<Turn>,
}

#[derive(Default)]
struct Turn {
    source: Option<Box<dyn JournalSource>>,
    kept: Vec<Message>,
    worth: Worth,
}

/// Whether something usually follows what is kept. What is kept in vain costs more than it would have at once, since
/// another process may have written the try first.
#[derive(Default)]
struct Worth {
    followed: u32,
    in_vain: u32,
    resting_until: Option<Instant>,
}

impl Worth {
    fn is_there(&self) -> bool {
        self.resting_until.is_none_or(|until| until <= Instant::now())
    }

    fn note(&mut self, is_followed: bool) {
        *(if is_followed { &mut self.followed } else { &mut self.in_vain }) += 1;
        if self.followed + self.in_vain >= SAMPLE {
            let rest = self.in_vain > SAMPLE / 4;
            *self = Worth { resting_until: rest.then(|| Instant::now() + REST), ..Worth::default() };
        }
    }
}

impl Gathering {
    /// The source is opened by the first turn.
    #[must_use]
    pub fn of(journal: Arc<dyn Journal>) -> Arc<Self> {
        Arc::new(Gathering { journal, turn: Mutex::default() })
    }

    /// Waits for its turn and for something to write; `None` once no more is to be taken.
    pub(crate) async fn next(&self, stop: &Stop) -> Result<Option<Gathered>, QueueError> {
        let mut turn = self.turn.lock().await;
        let Turn { source, kept, worth } = &mut *turn;
        let source = match source {
            Some(source) => source,
            None => source.insert(self.journal.read(PREFETCH).await?),
        };
        loop {
            let fresh = take(&mut **source, kept.is_empty(), stop).await?;
            if fresh.is_empty() && kept.is_empty() {
                return Ok(None);
            }
            let new_records: usize = fresh.iter().map(|message| message.records.len()).sum();
            let mut messages = std::mem::take(kept);
            messages.extend(fresh);
            let is_busy = new_records >= MUCH && messages.len() <= MANY_MESSAGES;
            let (gathered, left) = if is_busy && worth.is_there() && !stop.is_draining() {
                part(messages, worth)
            } else {
                (all(messages, worth), Vec::new())
            };
            *kept = left;
            // A message without records has nothing to write, and is to be acknowledged all the same.
            if !gathered.tickets.is_empty() || !gathered.records.is_empty() {
                return Ok(Some(gathered));
            }
        }
    }
}

/// Everything that is there, and what comes within a moment, up to one statement's worth. Waits for the first as long
/// as it takes, unless something kept is waiting; none if no more is to be taken.
async fn take(
    source: &mut dyn JournalSource,
    may_wait: bool,
    stop: &Stop,
) -> Result<Vec<Message>, QueueError> {
    let mut deadline = Instant::now() + LINGER;
    let first = async {
        match may_wait {
            true => source.next().await.map(Some),
            false => tokio::time::timeout_at(deadline, source.next()).await.ok().transpose(),
        }
    };
    let first = tokio::select! {
        biased;
        () = stop.draining() => return Ok(Vec::new()),
        first = first => first,
    };
    let mut messages = match first {
        Ok(Some(lease)) => vec![Message::of(lease)],
        Ok(None) => return Ok(Vec::new()),
        Err(QueueError::Closed) if stop.is_draining() => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    if may_wait {
        deadline = Instant::now() + LINGER;
    }
    let mut records = messages[0].records.len();
    while records < ENOUGH_RECORDS && messages.len() < MANY_MESSAGES {
        // An error is met again, and handled, by the next turn.
        let Ok(Ok(more)) = tokio::time::timeout_at(deadline, source.next()).await else { break };
        records += more.message.records.len();
        messages.push(Message::of(more));
    }
    Ok(messages)
}

fn all(messages: Vec<Message>, worth: &mut Worth) -> Gathered {
    let followed = followed_in(&messages);
    let mut gathered = Gathered::default();
    for message in messages {
        if message.was_kept {
            let accepted = message.records.iter().filter_map(|record| accepted_in(record));
            accepted.for_each(|accepted| worth.note(!is_early(accepted, &followed)));
        }
        gathered.records.extend(message.records);
        gathered.tickets.push(message.ticket);
    }
    gathered
}

/// Leaves those acceptances that nothing followed yet, with the tickets of their messages.
fn part(messages: Vec<Message>, worth: &mut Worth) -> (Gathered, Vec<Message>) {
    let followed = followed_in(&messages);
    let (mut gathered, mut left) = (Gathered::default(), Vec::new());
    for mut message in messages {
        let may_be_kept = message.taken_at.elapsed() < KEPT_AT_MOST;
        let mut is_kept = |record: &JournalRecord| {
            let Some(accepted) = accepted_in(record) else { return false };
            let is_early = is_early(accepted, &followed);
            if message.was_kept && !(is_early && may_be_kept) {
                worth.note(!is_early);
            }
            is_early && may_be_kept
        };
        let kept: Vec<_> = message.records.extract_if(.., |record| is_kept(record)).collect();
        let has_others = !message.records.is_empty();
        gathered.records.append(&mut message.records);
        message.records = kept;
        message.was_kept = true;
        if message.records.is_empty() {
            gathered.tickets.push(message.ticket);
        } else {
            // Whichever of the two parts is written last, by whichever writer, acknowledges the message.
            if has_others {
                gathered.tickets.push(message.ticket.split());
            }
            left.push(message);
        }
    }
    (gathered, left)
}

fn followed_in(messages: &[Message]) -> HashSet<DeliveryId> {
    messages.iter().flat_map(|message| &message.records).filter_map(|record| follower_of(record)).collect()
}

/// Whether nothing followed it yet, and something will.
fn is_early(accepted: &AcceptedRecord, followed: &HashSet<DeliveryId>) -> bool {
    let mut deliveries = accepted.deliveries.iter();
    !accepted.deliveries.is_empty() && !deliveries.any(|expected| followed.contains(&expected.id))
}

fn accepted_in(record: &JournalRecord) -> Option<&AcceptedRecord> {
    match record {
        JournalRecord::Accepted(accepted) => Some(accepted),
        JournalRecord::Attempted(_)
        | JournalRecord::Held(_)
        | JournalRecord::Deferred(_)
        | JournalRecord::Released(_)
        | JournalRecord::Concluded(_) => None,
    }
}

/// The delivery that a record tells of, unless it only announces it.
fn follower_of(record: &JournalRecord) -> Option<DeliveryId> {
    match record {
        JournalRecord::Accepted(_) => None,
        JournalRecord::Attempted(attempted) => Some(attempted.delivery.id),
        JournalRecord::Held(held) => Some(held.delivery.reference.id),
        JournalRecord::Deferred(deferred) => Some(deferred.delivery.id),
        JournalRecord::Released(released) => Some(released.delivery.id),
        JournalRecord::Concluded(concluded) => Some(concluded.delivery.id),
    }
}

#[cfg(test)]
mod tests;
